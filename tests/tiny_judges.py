"""Tiny models of the very form that RadEval loads, where it looks for them.

    python tests/tiny_judges.py CACHE

RadEval must be installed. The encoders know a few words; the entity taggers call every word an
entity, so a text agrees with itself and not with one of other words.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

REVISION = "0123456789abcdef0123456789abcdef01234567"
WORDS = ["the", "heart", "is", "big", "small", "normal", "no", "edema", "effusion", ".", "1", "2"]
SIZE = {"vocab_size": 64, "max_position_embeddings": 512}
ENCODER = "judges/encoder"


def in_hub(cache: Path, name: str) -> Path:
    """The folder of a model's files in the hub's cache."""
    home = cache / "huggingface" / "hub" / f"models--{name.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(REVISION)
    files = home / "snapshots" / REVISION
    files.mkdir(parents=True)
    return files


def bert(kind: str, **more: Any) -> Any:
    """A tiny BERT of a class of transformers."""
    import transformers as hf

    config = hf.BertConfig(
        **SIZE, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    for name, value in more.items():
        setattr(config, name, value)
    return getattr(hf, kind)(config)


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Writes both where the hub's cache has them."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def tokenizer(cache: Path) -> Any:
    """BERT's tokenizer of a few words."""
    from transformers import BertTokenizer

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    path = cache / "vocab.txt"
    path.write_text("\n".join([*special, *WORDS]))
    return BertTokenizer(str(path), model_max_length=512)


def bertscore(cache: Path) -> None:
    """DistilBERT of six layers, of which RadEval takes five."""
    from transformers import DistilBertConfig, DistilBertModel

    config = DistilBertConfig(**SIZE, dim=32, hidden_dim=32, n_layers=6, n_heads=2)
    save(DistilBertModel(config), tokenizer(cache), in_hub(cache, "distilbert-base-uncased"))


def ratescore(cache: Path) -> None:
    """A tagger to which every word is an abnormality, and an encoder of words."""
    labels = {0: "O", 1: "B-ABNORMALITY", 2: "I-ABNORMALITY"}
    tagger = bert(
        "BertForTokenClassification", id2label=labels, label2id={v: k for k, v in labels.items()}
    )
    tagger.classifier.weight.data.zero_()
    tagger.classifier.bias.data = tagger.classifier.bias.new_tensor([0.0, 1.0, 0.0])
    save(tagger, tokenizer(cache), in_hub(cache, "Angelakeke/RaTE-NER-Deberta"))
    save(bert("BertModel"), tokenizer(cache), in_hub(cache, "FremyCompany/BioLORD-2023-C"))


def green(cache: Path) -> None:
    """A Llama of one layer, which judges nothing it could be quoted with."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(["<unk>", "</s>", *WORDS])}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        eos_token_id=1,
    )
    made = PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>", eos_token="</s>")
    save(LlamaForCausalLM(config), made, in_hub(cache, "StanfordAIMI/GREEN-radllama2-7b"))


def radgraph(cache: Path) -> None:
    """DyGIE on a tiny BERT, unpacked where RadEval unpacks its archive."""
    import radeval
    import torch

    sys.modules["RadEval"] = radeval
    save(bert("BertModel"), tokenizer(cache), in_hub(cache, ENCODER))
    folder = cache / "radgraph" / "0.1.18" / "radgraph-xl"
    (folder / "vocabulary").mkdir(parents=True)
    (folder / "vocabulary" / "non_padded_namespaces.txt").write_text("*labels\n*tags\n")
    for name, labels in (("ner", "Observation::definitely present"), ("relation", "modify")):
        text = f"\n{labels}\n"
        (folder / "vocabulary" / f"radgraph-xl__{name}_labels.txt").write_text(text)
    read = {"bert": {"model_name": ENCODER, "max_length": 512}}
    model = {
        "type": "dygie",
        "initializer": {},
        "module_initializer": {},
        "embedder": {"token_embedders": read},
        "modules": {
            "ner": {},
            "coref": {"spans_per_word": 0.3, "max_antecedents": 10},
            "relation": {"spans_per_word": 0.5},
            "events": {"trigger_spans_per_word": 0.3, "argument_spans_per_word": 0.8},
        },
        "feature_size": 4,
        "max_span_width": 2,
        "target_task": "relation",
        "feedforward_params": {"num_layers": 1, "hidden_dims": 8, "dropout": 0.1},
        "loss_weights": {"ner": 1.0, "relation": 1.0, "coref": 0.0, "events": 0.0},
    }
    reader = {"max_span_width": 2, "token_indexers": read}
    config = {"dataset_reader": reader, "model": model}
    (folder / "config.json").write_text(json.dumps(config))
    torch.save({}, folder / "weights.th")
    from radeval.metrics.radgraph._vendor import core

    core.dygie.DyGIE.load_state_dict = lambda *_, **__: None
    made = core.RadGraph(model_type="radgraph-xl").model
    torch.save(made.state_dict(), folder / "weights.th")


def main(cache: Path) -> None:
    """Writes the models of all metrics."""
    import torch

    torch.manual_seed(0)
    for build in (bertscore, ratescore, green, radgraph):
        build(cache)


if __name__ == "__main__":
    folder = Path(sys.argv[1]).resolve()
    os.environ |= {"HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(folder)}
    os.environ |= {"HF_HOME": str(folder / "huggingface")}
    main(folder)
