import json
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import SHARED_DATA
from mrg_r1.metrics.overlap import (
    BLEU,
    DocumentFrequencies,
    References,
    bleu,
    bleu_terms,
    cider,
    ngrams,
    overlap_measures,
    rouge_l,
)
from mrg_r1.metrics.score import score
from mrg_r1.metrics.text import TextPreparation

METRICS = (*BLEU, "rouge-l", "cider")

CANDIDATES = ["a b c d", "a a a", "", "c b a", "x y", "a b  c"]
REFERENCES = ["a b c d", "a b", "a b", "a b c", "a b c d e", "a  b c"]


def pycocoevalcap(
    candidates: Sequence[str], references: Sequence[str]
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The reference implementation's scores of the set and of each pair."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    ours = {i: [text] for i, text in enumerate(candidates)}
    theirs = {i: [text] for i, text in enumerate(references)}
    whole, each = Bleu(4).compute_score(theirs, ours, verbose=0)
    rouge, rouges = Rouge().compute_score(theirs, ours)
    consensus, consensuses = Cider().compute_score(theirs, ours)
    return (
        dict(zip(METRICS, [*whole, rouge, consensus], strict=True)),
        dict(zip(METRICS, map(np.array, [*each, rouges, consensuses]), strict=True)),
    )


def ours(candidates: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    measures = overlap_measures(candidates, References.of(references), "raw")
    return {s.metric: s.value for s in score(measures, list(map(str, range(len(candidates)))))}


def each_of_ours(candidates: Sequence[str], references: Sequence[str]) -> dict[str, np.ndarray]:
    prepared = References.of(references)
    grams = ngrams(candidates)
    rows = bleu(bleu_terms(grams, prepared.grams)).T
    consensus = cider(grams, prepared.grams, prepared.frequencies)
    return dict(zip(METRICS, [*rows, rouge_l(candidates, references), consensus], strict=True))


def assert_alike(candidates: Sequence[str], references: Sequence[str]) -> None:
    whole, each = pycocoevalcap(candidates, references)
    assert ours(candidates, references) == pytest.approx(whole, abs=1e-9)
    for metric, values in each_of_ours(candidates, references).items():
        np.testing.assert_allclose(values, each[metric], atol=1e-9, err_msg=metric)


def test_hand_made_pairs_score_as_the_reference_implementation_scores_them() -> None:
    assert_alike(CANDIDATES, REFERENCES)


TEXTS = st.text(alphabet="ab cd\n", max_size=14)


@settings(max_examples=60)
@given(st.lists(st.tuples(TEXTS, TEXTS.filter(str.strip)), min_size=1, max_size=6))
def test_any_texts_score_as_the_reference_implementation_scores_them(
    pairs: list[tuple[str, str]],
) -> None:
    candidates, references = zip(*pairs, strict=True)
    assert_alike(candidates, references)


def test_reference_numbers_by_hand() -> None:
    found = each_of_ours(["a b c d", "a a a"], ["a b c d", "a b"])
    assert found["bleu-4"][0] == pytest.approx(1.0)
    assert found["bleu-1"][1] == pytest.approx(1 / 3)
    # One of three words and one of two: P 1/3, R 1/2.
    beta = 1.44
    assert found["rouge-l"][1] == pytest.approx((1 + beta) / 6 / (1 / 2 + beta / 3))
    # 'a', 'b' and 'a b' are in both references and weigh nothing; 'c', 'd' and all else log 2.
    assert found["cider"] == pytest.approx([10.0, 0.0])


def test_words_of_two_blanks_count_for_rouge_alone() -> None:
    found = each_of_ours(["a b", "a b"], ["a  b", "a b"])
    assert found["bleu-2"] == pytest.approx([1.0, 1.0])
    assert found["rouge-l"][0] < found["rouge-l"][1] == 1.0


@pytest.mark.parametrize("system", ["template", "ranker"])
def test_shipped_scores_of_published_systems(system: str) -> None:
    folder = SHARED_DATA / "predictions" / system
    if not folder.is_dir():
        pytest.skip(f"no predictions at {folder}")
    predictions, references, expected = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("predictions", "references", "expected")
    )
    raw = TextPreparation.of("raw")
    found = ours(
        [raw.prediction(predictions[i][0]) for i in references],
        [raw.reference(references[i][0]) for i in references],
    )
    names = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr")
    assert list(found.values()) == pytest.approx([expected[n] for n in names], abs=1e-9)


def test_real_reports_score_as_the_reference_implementation_scores_them(
    iu_xray_root: Path,
) -> None:
    splits = json.loads((iu_xray_root / "annotation.json").read_text(encoding="utf-8"))
    train = [row["report"] for row in splits["train"]]
    prepared = TextPreparation.of("r2gen-iu", train)
    test = [prepared.reference(row["report"]) for row in splits["test"][:100]]
    assert_alike([prepared.prediction(text) for text in train[:100]], test)


def test_document_frequencies_of_other_texts() -> None:
    """A reward's: with N training references, and words that none of them has."""
    train = DocumentFrequencies.of(ngrams(["a b", "a c", "a d"]))
    one, other = (cider(ngrams([t]), ngrams([t]), train)[0] for t in ("a", "new words only here"))
    assert one == 0.0  # in every document, so it weighs nothing
    assert other == pytest.approx(10.0)
    # 'b' is in one of three, 'x' in none and counted as one: both weigh log 3.
    half = cider(ngrams(["a b"]), ngrams(["x b"]), train)[0]
    assert half == pytest.approx(10 / 4 * 1 / np.sqrt(2))


def test_a_single_document_gives_no_credit() -> None:
    alone = DocumentFrequencies.of(ngrams(["a b c d"]))
    assert cider(ngrams(["a b c d"]), ngrams(["a b c d"]), alone).tolist() == [0.0]


def test_pairs_do_not_depend_on_their_batch() -> None:
    frequencies = DocumentFrequencies.of(ngrams(REFERENCES))
    together = cider(ngrams(CANDIDATES), ngrams(REFERENCES), frequencies)
    alone = [
        cider(ngrams([c]), ngrams([r]), frequencies)[0]
        for c, r in zip(CANDIDATES, REFERENCES, strict=True)
    ]
    assert alone == pytest.approx(together.tolist())


def test_frequencies_can_be_sent_to_another_process() -> None:
    frequencies = DocumentFrequencies.of(ngrams(REFERENCES))
    copy = pickle.loads(pickle.dumps(frequencies))
    grams = ngrams(CANDIDATES), ngrams(REFERENCES)
    assert cider(*grams, copy).tolist() == cider(*grams, frequencies).tolist()


HOSTILE: Mapping[str, tuple[list[str], list[str]]] = {
    "all empty": ([""], [""]),
    "empty candidate": (["", "a"], ["a b", "a b"]),
    "a lone surrogate": (["\ud800 a"], ["\ud800 a"]),
    "another script": (["胸片 正常"], ["胸片 正常"]),
    "one word a thousand times": (["a " * 1000], ["a " * 1000]),
    "line breaks": (["a\nb\tc"], ["a b c"]),
}


@pytest.mark.parametrize(("candidates", "references"), HOSTILE.values(), ids=HOSTILE.keys())
def test_no_text_gives_anything_but_a_number_in_range(
    candidates: list[str], references: list[str]
) -> None:
    found = ours(candidates, references)
    assert all(0 <= found[metric] <= 1 + 1e-9 for metric in METRICS[:-1])
    assert 0 <= found["cider"] <= 10 + 1e-9


def test_resampling_sums_is_scoring_the_resampled_set() -> None:
    drawn = [0, 0, 3, 5]
    sums = bleu_terms(ngrams(CANDIDATES), ngrams(REFERENCES))[drawn].sum(axis=0)
    again = bleu_terms(
        ngrams([CANDIDATES[i] for i in drawn]), ngrams([REFERENCES[i] for i in drawn])
    ).sum(axis=0)
    assert bleu(sums).tolist() == bleu(again).tolist()


def test_signatures_name_the_preparation() -> None:
    measures = overlap_measures(CANDIDATES, References.of(REFERENCES), "r2gen-iu")
    scores = score(measures, list("abcdef"), resamples=5)
    assert [s.metric for s in scores] == list(METRICS)
    assert all(s.signature.startswith("text:r2gen-iu|n:6|v:") for s in scores)


@pytest.mark.slow
@pytest.mark.parametrize("of", [lambda t: ngrams(t), lambda t: rouge_l(t, t)])
def test_three_thousand_reports_take_less_than_a_second(
    of: Callable[[Sequence[str]], object],
) -> None:
    words = np.random.default_rng(0).integers(800, size=(3000, 50)).astype(str)
    texts = [" ".join(row) for row in words]
    start = time.perf_counter()
    of(texts)
    assert time.perf_counter() - start < 3
