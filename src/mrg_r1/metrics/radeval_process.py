"""RadEval at work: `python -m mrg_r1.metrics.radeval_process`, a question in, an answer out.

The question is JSON on standard input: a metric, pairs of report and reference, and whether models
may be fetched. The answer is JSON on standard output: the scores of each pair and who made them,
or which model is missing. Whatever RadEval prints goes to standard error.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

_MODELS = {
    "radgraph": (),
    "ratescore": ("Angelakeke/RaTE-NER-Deberta", "FremyCompany/BioLORD-2023-C"),
    "green": ("StanfordAIMI/GREEN-radllama2-7b",),
    "bertscore": ("distilbert-base-uncased",),
}
"""What RadEval asks the hub for. RadGraph's weights are an archive, and name their encoder."""

_DIGITS = 7  # of a revision, as git shows it
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")


def answer(metric: str, pairs: Sequence[tuple[str, str]], download: bool) -> dict[str, Any]:
    """The scores of each pair by RadEval's names; what is missing, or without pairs nothing is."""
    lacking = "" if download else missing(metric)
    if lacking or not pairs:
        return {"missing": lacking}
    if not download:
        # It asks for word lists as it is imported, which none of these metrics reads.
        vars(import_module("nltk"))["download"] = _nothing
    radeval = import_module("radeval")
    # RadEval 2.2.1 imports its RadGraph under the name it had before (its issue 27, closed by pull
    # request 24 for the release after it).
    sys.modules.setdefault("RadEval", radeval)
    scorer = radeval.RadEval(metrics=[metric], per_sample=True, show_progress=False)
    reports, references = ([_clean(pair[side]) for pair in pairs] for side in (0, 1))
    if metric == "ratescore":
        values = [_rate(scorer, *pair) for pair in zip(reports, references, strict=True)]
        return {"values": {"ratescore": values}, "by": by(metric)}
    return {"values": scorer(refs=references, hyps=reports), "by": by(metric)}


def _nothing(*_: object, **__: object) -> bool:
    return False


def _rate(scorer: Any, report: str, reference: str) -> float:
    """RaTEScore of one pair.

    It leaves out a text without a sentence of three letters: alone it breaks off, and in a list
    every later pair takes its neighbour's entities. One at a time costs no more, as it works so.
    """
    if not (_says_something(report) and _says_something(reference)):
        return 0.5  # What it gives where a text has no entity.
    (value,) = scorer(refs=[reference], hyps=[report])["ratescore"]
    return float(value)


def _says_something(text: str) -> bool:
    return any(len(sentence.strip()) > 2 for sentence in _SENTENCE.findall(text))


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode().strip()


def missing(metric: str) -> str:
    """What is not in the cache and what to type; '' if all is there."""
    from huggingface_hub.constants import HF_HUB_CACHE

    names = list(_MODELS[metric])
    if metric == "radgraph":
        folder = _radgraph()
        if not (folder / "weights.th").is_file():
            return (
                f"no {folder / 'weights.th'}; unpack StanfordAIMI/RRG_scorers' radgraph-xl.tar.gz "
                "there, name another --model-cache, or add --download-models"
            )
        names.append(_encoder(folder))
    for name in names:
        if not _revision(name):
            return (
                f"no {name} in {HF_HUB_CACHE}; type: hf download {name}, name another "
                "--model-cache, or add --download-models"
            )
    return ""


def by(metric: str) -> str:
    """RadEval and its version, and the models with their revisions."""
    models = [f"{name}@{_revision(name)[:_DIGITS]}" for name in _MODELS[metric]]
    if metric == "radgraph":
        with open(_radgraph() / "weights.th", "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        models = [f"radgraph-xl@{digest[:_DIGITS]}"]
    return "+".join([f"radeval@{metadata.version('radeval')}", *models])


def _revision(name: str) -> str:
    """The revision of a model in the hub's cache; '' if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json")
    return Path(found).parent.name if isinstance(found, str) else ""


def _radgraph() -> Path:
    """Where RadEval keeps RadGraph-XL."""
    cache: str = import_module("appdirs").user_cache_dir("radgraph")
    return Path(cache) / "0.1.18" / "radgraph-xl"


def _encoder(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config["model"]["embedder"]["token_embedders"]["bert"]["model_name"]


def main() -> None:
    """Answers the question on standard input."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    found = answer(**json.load(sys.stdin))
    json.dump(found, out, default=float)
    out.close()


if __name__ == "__main__":
    main()
