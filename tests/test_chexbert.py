from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import BertTokenizer

from mrg_r1.errors import ConfigError, DataError, MrgError
from mrg_r1.findings import FINDINGS, Labels, Status
from mrg_r1.labelers.chexbert import ChexbertLabeler, TorchNetwork, batches
from mrg_r1.labelers.chexbert.checkpoint import sha256_of
from mrg_r1.labelers.chexbert.model import BERT_BASE_UNCASED, Chexbert
from mrg_r1.labelers.chexbert.tokens import LONGEST, Vocabulary, prepare
from mrg_r1.labelers.make import make_labeler
from tiny_chexbert import BERT, PIECES, REPORTS, network, published, write_files

State = dict[str, Any]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_files(tmp_path_factory.mktemp("chexbert"))


@pytest.fixture(scope="module")
def labeler(files: tuple[Path, Path]) -> ChexbertLabeler:
    return ChexbertLabeler(TorchNetwork(files[0], "cpu", BERT), files[1])


def test_names_and_shapes_are_those_of_the_published_checkpoint() -> None:
    with torch.device("meta"):
        state = Chexbert(BERT_BASE_UNCASED).state_dict()
    width, wide = 768, 3072
    expected = {
        "embeddings.word_embeddings.weight": (30_522, width),
        "embeddings.position_embeddings.weight": (512, width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "pooler.dense.weight": (width, width),
        "pooler.dense.bias": (width,),
    }
    norms = ["embeddings.LayerNorm"]
    for n in range(12):
        layer = f"encoder.layer.{n}"
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        for name, rows, columns in (
            ("attention.self.query", width, width),
            ("attention.self.key", width, width),
            ("attention.self.value", width, width),
            ("attention.output.dense", width, width),
            ("intermediate.dense", wide, width),
            ("output.dense", width, wide),
        ):
            expected[f"{layer}.{name}.weight"] = (rows, columns)
            expected[f"{layer}.{name}.bias"] = (rows,)
    expected |= {f"{name}.{kind}": (width,) for name in norms for kind in ("weight", "bias")}
    expected = {f"bert.{key}": shape for key, shape in expected.items()}
    for n in range(14):
        expected[f"linear_heads.{n}.weight"] = (4 if n < 13 else 2, width)
        expected[f"linear_heads.{n}.bias"] = (4 if n < 13 else 2,)
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == expected


class Evil:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch ran",)


def changed(change: Callable[[State], object]) -> Callable[[Path], None]:
    """Writes a checkpoint whose state was changed."""

    def write(path: Path) -> None:
        state = published(network())
        change(state)
        torch.save({"model_state_dict": state}, path)

    return write


def half(path: Path) -> None:
    torch.save({"model_state_dict": published(network())}, path)
    path.write_bytes(path.read_bytes()[:-2000])


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "not a model")


HEAD = "module.linear_heads.3.weight"
LAYER = "module.bert.encoder.layer.1.output.dense.bias"

REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing key": (changed(lambda s: s.pop(HEAD)), "missing: linear_heads.3.weight"),
    "extra key": (
        changed(lambda s: s.update({"module.bert.extra": torch.zeros(1)})),
        "unknown: bert.extra",
    ),
    "misshapen key": (
        changed(lambda s: s.update({HEAD: torch.zeros(5, 16)})),
        "of another shape: linear_heads.3.weight (5, 16) for (4, 16)",
    ),
    "one missing, one extra, one misshapen": (
        changed(lambda s: s.update({"x": s.pop(LAYER), HEAD: torch.zeros(4)})),
        "missing: bert.encoder.layer.1.output.dense.bias; unknown: x; of another shape: linear_he",
    ),
    "a prefix inside the name": (
        changed(lambda s: s.update({"module.bert.module.x": torch.zeros(1)})),
        "unknown: bert.module.x",
    ),
    "another prefix": (
        changed(lambda s: s.update({f"model.{HEAD}": s.pop(HEAD)})),
        "missing: linear_heads.3.weight; unknown: model.module.linear_heads.3.weight",
    ),
    "many missing": (lambda p: torch.save({"model_state_dict": {}}, p), " and "),
    "with and without prefix": (
        changed(lambda s: s.update({HEAD.removeprefix("module."): s[HEAD]})),
        "linear_heads.3.weight is there twice",
    ),
    "no tensor": (changed(lambda s: s.update({HEAD: 3})), f"{HEAD} is no tensor"),
    "not a number": (
        changed(lambda s: s.update({HEAD: s[HEAD] * float("nan")})),
        "not finite: linear_heads.3.weight",
    ),
    "integers": (
        changed(lambda s: s.update({HEAD: torch.ones(4, 16, dtype=torch.int64)})),
        "not finite: linear_heads.3.weight",
    ),
    "no state": (lambda p: torch.save({"model": {}}, p), "without model_state_dict"),
    "bare state": (
        lambda p: torch.save(published(network()), p),
        "without model_state_dict",
    ),
    "a tensor": (lambda p: torch.save(torch.ones(3), p), "without model_state_dict"),
    "state is no table": (
        lambda p: torch.save({"model_state_dict": 3}, p),
        "without model_state_dict",
    ),
    "whole model": (lambda p: torch.save(network(), p), "wants to run code (mrg_r1.labelers.ch"),
    "code": (lambda p: torch.save({"model_state_dict": Evil()}, p), "run code (posix.system)"),
    "code in the old format": (
        lambda p: torch.save({"x": Evil()}, p, _use_new_zipfile_serialization=False),
        "run code (posix.system)",
    ),
    "code in a plain pickle": (
        lambda p: p.write_bytes(pickle.dumps(Evil())),
        "run code (posix.sys",
    ),
    "code in an ancient pickle": (
        lambda p: p.write_bytes(pickle.dumps(Evil(), protocol=0)),
        "run code (posix.system)",
    ),
    "plain pickle": (lambda p: p.write_bytes(pickle.dumps({"a": 1})), "no PyTorch checkpoint"),
    "half a file": (half, "or only a part of one; get chexbert.pth again"),
    "a web page": (lambda p: p.write_text("<!DOCTYPE html>"), "no PyTorch checkpoint"),
    "text": (lambda p: p.write_text("hello"), "no PyTorch checkpoint"),
    "empty": (lambda p: p.write_bytes(b""), "no PyTorch checkpoint"),
    "another archive": (archive, "no PyTorch checkpoint"),
    "no file": (lambda p: None, "no such file; docs/labelers.md says where to get it"),
    "a folder": (lambda p: p.mkdir(), "no such file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_the_checkpoint_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write, message = REFUSED[case]
    write(tmp_path / "weights.pth")
    with pytest.raises(DataError) as caught:
        TorchNetwork(tmp_path / "weights.pth", "cpu", BERT)
    assert str(caught.value).startswith(f"{tmp_path / 'weights.pth'}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("prefix", ["module.", ""])
@pytest.mark.parametrize("archive", [True, False])
def test_every_form_in_which_the_checkpoint_was_saved_is_read(
    tmp_path: Path, labeler: ChexbertLabeler, positions: bool, prefix: str, archive: bool
) -> None:
    state = {f"{prefix}{key}": value for key, value in network().state_dict().items()}
    if positions:
        state[f"{prefix}bert.embeddings.position_ids"] = torch.arange(512)[None]
    path = tmp_path / "weights.pth"
    document = {"epoch": 8, "model_state_dict": state, "optimizer_state_dict": {"state": {}}}
    torch.save(document, path, _use_new_zipfile_serialization=archive)
    found = TorchNetwork(path, "cpu", BERT)
    assert found.identity == f"chexbert@{sha256_of(path)[:12]}"
    for key, value in labeler.network.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[key], value)


def test_identity_is_the_digest_of_the_files(files: tuple[Path, Path]) -> None:
    weights, vocabulary = (sha256_of(path) for path in files)
    made = ChexbertLabeler(TorchNetwork(files[0], "cpu", BERT), files[1])
    assert made.identity == f"chexbert@{weights[:12]}+vocabulary-{vocabulary[:12]}"
    assert re.fullmatch(r"[\w@+-]+", made.identity)  # signatures part their fields with | and :


def reference(model: Chexbert, ids: list[int]) -> Tensor:
    """Logits of one report, written out: no padding, no batch, heads one by one."""
    with torch.inference_mode():
        hidden = model.bert(input_ids=torch.tensor([ids])).last_hidden_state[:, 0]
        return torch.stack(
            [torch.nn.functional.pad(h(hidden)[0], (0, 4 - h.out_features), value=-torch.inf)
             for h in model.linear_heads]
        )  # fmt: skip


def test_batches_give_what_one_at_a_time_gives(
    labeler: ChexbertLabeler, files: tuple[Path, Path]
) -> None:
    reports = [*REPORTS, *("no edema " * n for n in range(20))]
    alone = torch.stack([reference(network(), ids) for ids in labeler.vocabulary.ids(reports)])
    classes = alone.argmax(dim=2).tolist()
    for budget in (1, 40, 512, 100_000):
        batched = ChexbertLabeler(labeler.network, files[1], budget)
        np.testing.assert_allclose(
            batched.probabilities(reports), alone.softmax(dim=2).numpy(), atol=1e-5
        )
        assert batched.label(reports) == [Labels.from_classes(row) for row in classes]
    assert len(set(labeler.label(reports))) > 5


def test_logits_are_those_of_the_heads_on_bert_itself() -> None:
    model = network()
    ids = torch.tensor([[2, 5, 6, 8, 3], [2, 9, 3, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    with torch.no_grad():
        first = model.bert(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
        logits = model(ids, mask)
        for index, head in enumerate(model.linear_heads):
            expected = head(first)
            torch.testing.assert_close(logits[:, index, : expected.shape[1]], expected)


def test_packed_weights_give_what_the_plain_network_gives(labeler: ChexbertLabeler) -> None:
    network_here = labeler.network
    assert isinstance(network_here, TorchNetwork)
    assert not any(type(layer) is torch.nn.Linear for layer in network_here.model.modules())
    ids = np.array([[2, 5, 6, 3], [2, 3, 0, 0]])
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]])
    plain = network()(torch.from_numpy(ids), torch.from_numpy(mask)).detach().numpy()
    np.testing.assert_allclose(network_here.logits(ids, mask), plain, rtol=1e-4, atol=1e-5)


def test_order_out_is_order_in(labeler: ChexbertLabeler) -> None:
    forward = labeler.label(REPORTS)
    assert labeler.label(REPORTS[::-1]) == forward[::-1]
    assert forward[0] == forward[-1]
    assert labeler.label([]) == []


def test_probabilities(labeler: ChexbertLabeler) -> None:
    found = labeler.probabilities(REPORTS)
    assert found.shape == (len(REPORTS), len(FINDINGS), len(Status))
    np.testing.assert_allclose(found.sum(axis=2), 1, rtol=1e-5)
    assert not found[:, -1, Status.NEGATIVE :].any()
    assert labeler.probabilities([]).shape == (0, 14, 4)


def test_an_empty_report_is_two_tokens(labeler: ChexbertLabeler) -> None:
    assert labeler.vocabulary.ids(["", " \n\t"]) == [[2, 3], [2, 3]]
    assert labeler.label([""]) == labeler.label(["  "])


def test_a_long_report_is_cut_as_chexbert_cuts_it(labeler: ChexbertLabeler) -> None:
    fits, long, longer = labeler.vocabulary.ids(["large " * n for n in (510, 511, 40_000)])
    assert (len(fits), len(long), len(longer)) == (LONGEST, LONGEST, LONGEST)
    assert long == [2] + [PIECES.index("large")] * 510 + [3]
    assert fits == long == longer


TEXTS = {
    "white space collapses": ("  No\n\n edema \t.\r\n", "No edema ."),
    "wide spaces too": ("No\u00a0edema\u2003.", "No edema ."),
    "half a surrogate pair": ("No \ud800 edema", "No ? edema"),
    "nothing": ("\n", ""),
}


@pytest.mark.parametrize(("report", "text"), TEXTS.values(), ids=list(TEXTS))
def test_preparation(report: str, text: str) -> None:
    assert prepare(report) == text


def test_tokens_are_those_of_transformers(
    labeler: ChexbertLabeler, files: tuple[Path, Path]
) -> None:

    theirs = BertTokenizer(vocab=str(files[1]), do_lower_case=True)
    reports = [
        *REPORTS[:4],
        "EFFUSIONS, na\u00efve \u4e2d\u6587 [SEP] [MASK]x ##s",
        "edema" * 40,
        "\x00\ufffd",
    ]
    expected = [theirs(prepare(report))["input_ids"] for report in reports]
    assert labeler.vocabulary.ids(reports) == expected
    assert max(map(max, expected)) < len(PIECES)


VOCABULARIES = {
    "another size": ("\n".join([*PIECES, "more"]), "a vocabulary of 19 pieces, but the network"),
    "a piece twice": ("\n".join([*PIECES[:-1], "no"]), "a vocabulary of 17 pieces, but"),
    "no mask": ("\n".join(["x" if p == "[MASK]" else p for p in PIECES]), "without [MASK]"),
    "empty": ("", "without [PAD], [UNK]"),
}


@pytest.mark.parametrize(("text", "message"), VOCABULARIES.values(), ids=list(VOCABULARIES))
def test_a_vocabulary_that_is_not_the_networks(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="give bert-base-uncased") as caught:
        Vocabulary(path, len(PIECES))
    assert message in str(caught.value)


def test_vocabulary_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        Vocabulary(tmp_path / "none.txt", len(PIECES))
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="no vocabulary"):
        Vocabulary(tmp_path / "binary.txt", len(PIECES))
    (tmp_path / "windows.txt").write_bytes("\r\n".join(PIECES).encode())
    assert Vocabulary(tmp_path / "windows.txt", len(PIECES)).ids(["no edema"]) == [[2, 5, 6, 3]]


@settings(max_examples=50)
@given(st.lists(st.text(max_size=40), max_size=5))
def test_never_raises_on_a_report(labeler: ChexbertLabeler, reports: list[str]) -> None:
    assert len(labeler.label(reports)) == len(reports)


@given(st.lists(st.integers(2, 512)), st.integers(1, 2000))
def test_batches_hold_every_report_once_within_the_budget(lengths: list[int], budget: int) -> None:
    found = list(batches(lengths, budget))
    assert sorted(index for batch in found for index in batch) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
    ordered = [lengths[index] for batch in found for index in batch]
    assert ordered == sorted(ordered)


def test_a_device_that_is_not_here(files: tuple[Path, Path]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match="no 'cuda' here; use cpu or auto"):
        TorchNetwork(files[0], "cuda", BERT)


def test_pickles(labeler: ChexbertLabeler) -> None:
    again = pickle.loads(pickle.dumps(labeler))
    assert again.label(REPORTS) == labeler.label(REPORTS)
    assert again.identity == labeler.identity


def test_making_one_asks_for_its_files(files: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="add --weights FILE"):
        make_labeler("chexbert", vocabulary=files[1])
    with pytest.raises(ConfigError, match="add --vocabulary FILE"):
        make_labeler("chexbert", weights=files[0])
    with pytest.raises(MrgError, match=r"missing: bert.encoder.layer.10"):
        make_labeler("chexbert", weights=files[0], vocabulary=files[1])
    with pytest.raises(ConfigError, match="no 'chexpert'; use rules or chexbert"):
        make_labeler("chexpert")
