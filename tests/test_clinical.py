import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mrg_r1.findings import DISEASES, FINDINGS, FIVE, Finding, Labels, Status
from mrg_r1.metrics.clinical import clinical_measures, finding_scores, positives, rates
from mrg_r1.metrics.constant import best_for_ccs, best_for_f1
from mrg_r1.metrics.cosine import ccs, signed
from mrg_r1.metrics.score import score
from mrg_r1.records import Score

F, S = Finding, Status
NORMAL = Labels.of({F.NO_FINDING: S.POSITIVE})
BLANK = Labels.of({})

SETS = {14: FINDINGS, 13: DISEASES, 5: FIVE}
STATUSES = st.sampled_from(Status)
LABELS = st.builds(
    lambda thirteen, normal: Labels((*thirteen, normal)),
    st.tuples(*[STATUSES] * len(DISEASES)),
    st.sampled_from([S.BLANK, S.POSITIVE]),
)


def scores_of(generated: Sequence[Labels], reference: Sequence[Labels]) -> list[Score]:
    studies = [str(i) for i in range(len(generated))]
    return list(score(clinical_measures(generated, reference, "golden@1"), studies, resamples=20))


def pick(scores: Iterable[Score], metric: str, *parts: str) -> float:
    (found,) = [
        s for s in scores if s.metric == metric and set(parts) <= set(s.signature.split("|"))
    ]
    return found.value


def ce(scores: Iterable[Score], *parts: str) -> list[float]:
    scores = list(scores)
    return [pick(scores, f"ce_{rate}", *parts) for rate in ("precision", "recall", "f1")]


# Worked by hand. Three reports:
#   1 reference Edema+ Pneumonia-           generated Edema+ Fracture+
#   2 reference Edema? Atelectasis+         generated Atelectasis+
#   3 reference No Finding+                 generated No Finding+ Edema?
REFERENCE = [
    Labels.of({F.EDEMA: S.POSITIVE, F.PNEUMONIA: S.NEGATIVE}),
    Labels.of({F.EDEMA: S.UNCERTAIN, F.ATELECTASIS: S.POSITIVE}),
    NORMAL,
]
GENERATED = [
    Labels.of({F.EDEMA: S.POSITIVE, F.FRACTURE: S.POSITIVE}),
    Labels.of({F.ATELECTASIS: S.POSITIVE}),
    Labels.of({F.EDEMA: S.UNCERTAIN, F.NO_FINDING: S.POSITIVE}),
]
# Uncertain as positive: Edema tp 1 fp 1 fn 1 (P R F .5); Atelectasis tp 1; Fracture fp 1;
# No Finding tp 1. Uncertain as negative: Edema tp 1 and nothing else wrong but Fracture fp 1.
GOLDEN = {
    ("positive", 14, "micro"): (3 / 5, 3 / 4, 2 / 3),
    ("positive", 13, "micro"): (2 / 4, 2 / 3, 4 / 7),
    ("positive", 5, "micro"): (2 / 3, 2 / 3, 2 / 3),
    ("positive", 14, "macro"): (2.5 / 14, 2.5 / 14, 2.5 / 14),
    ("positive", 13, "macro"): (1.5 / 13, 1.5 / 13, 1.5 / 13),
    ("positive", 5, "macro"): (1.5 / 5, 1.5 / 5, 1.5 / 5),
    ("positive", 14, "weighted"): (3 / 4, 3 / 4, 3 / 4),
    ("positive", 13, "weighted"): (2 / 3, 2 / 3, 2 / 3),
    ("positive", 5, "weighted"): (2 / 3, 2 / 3, 2 / 3),
    # by report: (1/2, 1, 2/3), (1, 1/2, 2/3), (1/2, 1, 2/3)
    ("positive", 14, "example"): (2 / 3, 2.5 / 3, 2 / 3),
    # the third has nothing to find among the 13: precision 0 of 1, recall 0/0, both 0
    ("positive", 13, "example"): (1.5 / 3, 1.5 / 3, 4 / 9),
    # the first is perfect among the five
    ("positive", 5, "example"): (2 / 3, 1.5 / 3, 5 / 9),
    ("negative", 14, "micro"): (3 / 4, 1.0, 6 / 7),
    ("negative", 13, "micro"): (2 / 3, 1.0, 4 / 5),
    ("negative", 5, "micro"): (1.0, 1.0, 1.0),
    ("negative", 14, "macro"): (3 / 14, 3 / 14, 3 / 14),
    ("negative", 5, "macro"): (2 / 5, 2 / 5, 2 / 5),
    ("negative", 13, "weighted"): (1.0, 1.0, 1.0),
    ("negative", 14, "example"): (2.5 / 3, 1.0, 8 / 9),
    ("negative", 13, "example"): (1.5 / 3, 2 / 3, 5 / 9),
}


@pytest.mark.parametrize(("variant", "expected"), GOLDEN.items())
def test_hand_computed_cases(
    variant: tuple[str, int, str], expected: tuple[float, float, float]
) -> None:
    uncertain, labels, average = variant
    found = scores_of(GENERATED, REFERENCE)
    parts = (f"uncertain:{uncertain}", f"labels:{labels}", f"avg:{average}")
    assert ce(found, *parts) == pytest.approx(expected)


def test_every_variant_is_there_once_under_its_signature() -> None:
    found = scores_of(GENERATED, REFERENCE)
    keys = [(s.metric, s.signature) for s in found]
    assert len(set(keys)) == len(keys) == 3 * 4 * 3 * 2 + 6
    first = found[0]
    assert first.signature.startswith(
        "labeler:golden@1|uncertain:positive|labels:14|avg:micro|n:3|v:"
    )
    macro = {s.signature for s in found if "avg:macro" in s.signature}
    assert all("|avg:macro|absent:0|n:3|" in signature for signature in macro)


def test_scores_that_are_means_over_reports() -> None:
    found = scores_of(GENERATED, REFERENCE)
    cosines = [1 / 2, 1 / np.sqrt(2), 0.0]
    thirteen = ("labeler:golden@1", "uncertain:positive", "labels:13")
    assert pick(found, "ccs", *thirteen) == pytest.approx(np.mean(cosines), abs=1e-7)
    shaped = [max((c - 0.3) / 0.7, 0) for c in cosines]
    assert pick(found, "mccs", *thirteen, "margin:0.3") == pytest.approx(np.mean(shaped), abs=1e-7)
    assert pick(found, "positive_rate", *thirteen) == pytest.approx(4 / 3)


def test_counts_per_finding() -> None:
    found = {s.finding: s for s in finding_scores(GENERATED, REFERENCE)}
    assert list(found) == [finding.value for finding in FINDINGS]
    edema, fracture, absent = (found[f.value] for f in (F.EDEMA, F.FRACTURE, F.LUNG_LESION))
    assert (edema.tp, edema.fp, edema.fn) == (1, 1, 1)
    assert (edema.precision, edema.recall, edema.f1) == (0.5, 0.5, 0.5)
    assert (fracture.tp, fracture.fp, fracture.fn, fracture.f1) == (0, 1, 0, 0.0)
    assert (absent.tp, absent.fp, absent.fn, absent.precision, absent.f1) == (0, 0, 0, 0.0, 0.0)
    strict = {s.finding: s for s in finding_scores(GENERATED, REFERENCE, "negative")}
    assert (strict["Edema"].tp, strict["Edema"].fp, strict["Edema"].fn) == (1, 0, 0)


# Reference, report, and what of it is wrong; No Finding is not among the 13.
WRONG = [
    ({F.EDEMA: S.POSITIVE}, {F.EDEMA: S.NEGATIVE}, (1, 0, 0)),
    ({F.EDEMA: S.NEGATIVE}, {F.EDEMA: S.POSITIVE}, (1, 0, 0)),
    ({F.EDEMA: S.POSITIVE}, {}, (0, 1, 0)),
    ({}, {F.EDEMA: S.POSITIVE}, (0, 0, 1)),
    ({F.EDEMA: S.NEGATIVE}, {}, (0, 0, 0)),
    ({}, {F.EDEMA: S.NEGATIVE}, (0, 0, 0)),
    ({F.EDEMA: S.UNCERTAIN}, {F.EDEMA: S.NEGATIVE}, (0, 0, 0)),
    ({F.EDEMA: S.POSITIVE}, {F.EDEMA: S.UNCERTAIN}, (0, 0, 0)),
    ({F.EDEMA: S.UNCERTAIN}, {}, (0, 0, 0)),
    ({F.NO_FINDING: S.POSITIVE}, {F.FRACTURE: S.POSITIVE}, (0, 0, 1)),
    ({F.EDEMA: S.POSITIVE, F.FRACTURE: S.POSITIVE}, {F.NO_FINDING: S.POSITIVE}, (0, 2, 0)),
]


@pytest.mark.parametrize(("reference", "report", "expected"), WRONG)
def test_polarity_errors_and_omissions_are_counted_apart(
    reference: dict[Finding, Status], report: dict[Finding, Status], expected: tuple[int, int, int]
) -> None:
    pair = [Labels.of(report)], [Labels.of(reference)]
    found = scores_of(*pair)
    names = ("polarity_errors", "omissions", "inventions")
    assert tuple(pick(found, name, "labels:13") for name in names) == expected
    per_finding = [f for f in finding_scores(*pair) if f.finding != "No Finding"]
    assert tuple(sum(getattr(f, name) for f in per_finding) for name in names) == expected


def test_negative_is_never_positive_and_blank_is_not_negative() -> None:
    row = Labels.of({F.EDEMA: S.NEGATIVE, F.FRACTURE: S.UNCERTAIN, F.PNEUMONIA: S.POSITIVE})
    lenient, strict = (positives([row], mapping)[0] for mapping in ("positive", "negative"))
    assert [f for f, yes in zip(FINDINGS, lenient, strict=True) if yes] == [F.PNEUMONIA, F.FRACTURE]
    assert [f for f, yes in zip(FINDINGS, strict, strict=True) if yes] == [F.PNEUMONIA]


@pytest.mark.parametrize("labels", [14, 13, 5])
def test_silence_and_nothing_to_find_score_zero_without_a_nan(labels: int) -> None:
    found = scores_of([BLANK] * 3, [BLANK, BLANK, BLANK])
    assert all(np.isfinite([s.value, s.low, s.high]).all() for s in found)
    for average in ("micro", "macro", "weighted", "example"):
        parts = (f"labels:{labels}", f"avg:{average}", "uncertain:positive")
        assert ce(found, *parts) == [0.0, 0.0, 0.0]


def plain_ce(
    generated: Sequence[Labels], reference: Sequence[Labels], uncertain: str, labels: int, avg: str
) -> tuple[float, float, float]:
    """The definitions written as loops over sets, for one variant."""
    counted = {S.POSITIVE, S.UNCERTAIN} if uncertain == "positive" else {S.POSITIVE}

    def of(row: Labels) -> set[Finding]:
        return {f for f in SETS[labels] if row[f] in counted}

    def rate(tp: float, fp: float, fn: float) -> tuple[float, float, float]:
        return (
            tp / (tp + fp) if tp + fp else 0.0,
            tp / (tp + fn) if tp + fn else 0.0,
            2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0,
        )

    pairs = [(of(g), of(r)) for g, r in zip(generated, reference, strict=True)]
    by_report = [(len(g & r), len(g - r), len(r - g)) for g, r in pairs]
    by_class = [
        tuple(sum(f in cell for cell in cells) for cells in zip(*rows, strict=True))
        for f in SETS[labels]
        for rows in [[(g & r, g - r, r - g) for g, r in pairs]]
    ]
    if avg == "micro":
        return rate(*(sum(column) for column in zip(*by_report, strict=True)))
    if avg == "weighted":
        support = [tp + fn for tp, _, fn in by_class]
        weights = [s / (sum(support) or 1) for s in support]
        rows = [rate(*counts) for counts in by_class]
    else:
        counts = by_class if avg == "macro" else by_report
        weights = [1 / len(counts)] * len(counts)
        rows = [rate(*count) for count in counts]
    return tuple(  # type: ignore[return-value]
        sum(w * row[i] for w, row in zip(weights, rows, strict=True)) for i in range(3)
    )


@settings(max_examples=30)
@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=6))
def test_arrays_equal_the_definitions(pairs: list[tuple[Labels, Labels]]) -> None:
    generated, reference = zip(*pairs, strict=True)
    found = scores_of(generated, reference)
    for uncertain in ("positive", "negative"):
        for labels in SETS:
            for average in ("micro", "macro", "weighted", "example"):
                parts = (f"uncertain:{uncertain}", f"labels:{labels}", f"avg:{average}")
                expected = plain_ce(generated, reference, uncertain, labels, average)
                assert ce(found, *parts) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("uncertain", ["positive", "negative"])
@pytest.mark.parametrize("labels", SETS)
@pytest.mark.parametrize("average", ["micro", "macro", "weighted", "example"])
@pytest.mark.parametrize("seed", [0, 1])
def test_scores_are_those_of_scikit_learn(
    uncertain: str, labels: int, average: str, seed: int
) -> None:
    """precision_recall_fscore_support with zero_division=0; 'example' is its 'samples'.

    Seed 0 has every status everywhere; seed 1 has reports and findings without any positive.
    """
    from sklearn.metrics import precision_recall_fscore_support

    rng = np.random.default_rng(seed)
    share = [0.4, 0.2, 0.2, 0.2] if seed == 0 else [0.9, 0.04, 0.03, 0.03]
    drawn = rng.choice(4, size=(2, 40, 14), p=share)
    drawn[..., -1] %= 2
    if seed == 1:
        drawn[:, :, [3, 7]] = 0
        drawn[0, :5] = 0
    generated, reference = ([Labels.from_classes(row) for row in side] for side in drawn.tolist())
    columns = [FINDINGS.index(finding) for finding in SETS[labels]]
    counted = (1, 3) if uncertain == "positive" else (1,)
    ours, theirs = np.isin(drawn[..., columns], counted).astype(int)
    expected = precision_recall_fscore_support(
        theirs, ours, average={"example": "samples"}.get(average, average), zero_division=0
    )[:3]
    parts = (f"uncertain:{uncertain}", f"labels:{labels}", f"avg:{average}")
    assert ce(scores_of(generated, reference), *parts) == pytest.approx(list(expected), abs=1e-12)


@given(st.lists(LABELS, min_size=1, max_size=10))
def test_a_copy_of_the_reference_is_perfect_where_there_is_something_to_find(
    reference: list[Labels],
) -> None:
    found = scores_of(reference, reference)
    something = positives(reference, "positive")[:, :13].any()
    assert ce(found, "avg:micro", "labels:13", "uncertain:positive") == [float(something)] * 3


def test_rates_keep_any_shape() -> None:
    counts = np.arange(24.0).reshape(2, 3, 4)
    assert rates(counts, counts, counts).shape == (3, 2, 3, 4)


def all_subsets(value: Callable[[Labels], float]) -> float:
    """The best of all 2 ** 6 constant positive labels over six findings."""
    return max(
        value(Labels.of({FINDINGS[j]: S.POSITIVE for j in range(6) if mask >> j & 1}))
        for mask in range(1, 64)
    )


@settings(max_examples=20)
@given(st.lists(LABELS, min_size=1, max_size=8))
def test_best_constant_for_f1_is_the_best_there_is(references: list[Labels]) -> None:
    few = [Labels((*row.statuses[:6], *[S.BLANK] * 8)) for row in references]

    def f1(labels: Labels) -> float:
        return plain_ce([labels] * len(few), few, "positive", 13, "micro")[2]

    assert f1(best_for_f1(few)) == pytest.approx(all_subsets(f1))


def _five(*statuses: S) -> Labels:
    return Labels((*statuses, *[S.BLANK] * 9))


@settings(max_examples=20)
@given(st.lists(LABELS, min_size=1, max_size=8))
# Two constants are as good but for the epsilon of eq. 5.
@example(
    [
        _five(S.BLANK, S.POSITIVE, S.POSITIVE, S.NEGATIVE, S.POSITIVE),
        _five(S.POSITIVE, S.POSITIVE, S.POSITIVE, S.POSITIVE, S.NEGATIVE),
        _five(S.NEGATIVE, S.POSITIVE, S.NEGATIVE, S.POSITIVE, S.POSITIVE),
    ]
)
def test_best_constant_for_ccs_is_the_best_there_is(references: list[Labels]) -> None:
    few = [Labels((*row.statuses[:5], *[S.BLANK] * 9)) for row in references]
    digits = np.stack(np.meshgrid(*[[-1.0, 0.0, 1.0]] * 5), axis=-1).reshape(-1, 5)  # (243, 5)
    candidates = np.pad(digits, ((0, 0), (0, 8)))
    means = [ccs(candidate, signed(few)).mean() for candidate in candidates]
    best = ccs(signed([best_for_ccs(few)]), signed(few)).mean()
    assert best == pytest.approx(max(means), abs=1e-9)


def test_best_constants_of_references_without_labels_say_nothing() -> None:
    assert best_for_f1([BLANK, NORMAL]) == best_for_ccs([BLANK, NORMAL]) == BLANK


@pytest.fixture(scope="module")
def chexbert_labels(iu_xray_root: Path) -> list[Labels]:
    with open(iu_xray_root / "labels" / "chexbert_labels.csv", newline="") as file:
        return [Labels.from_csv(row) for row in csv.DictReader(file)]


def test_constant_normal_at_the_published_counts() -> None:
    """IU X-Ray test split, CheXbert labels: 318 of 590 normal, 587 positives of all kinds.

    The literature's constant normal report: micro 53.9/54.2/54.0, macro 3.9/7.1/5.0 (percent),
    close to the row 'Base + SFT' of the paper's Table II, 3.86/7.09/4.99.
    """
    ill = [Labels.of({F.CARDIOMEGALY: S.POSITIVE})] * 269
    reference = [NORMAL] * 318 + ill + [BLANK] * 3
    found = scores_of([NORMAL] * 590, reference)
    micro = ce(found, "avg:micro", "labels:14", "uncertain:positive")
    macro = ce(found, "avg:macro", "labels:14", "uncertain:positive")
    assert [round(100 * value, 1) for value in micro] == [53.9, 54.2, 54.0]
    assert [round(100 * value, 2) for value in macro] == [3.85, 7.14, 5.0]


def test_constant_normal_on_real_chexbert_labels(chexbert_labels: list[Labels]) -> None:
    """Train and val have fewer normal studies (852 of 2,365) than the test split."""
    found = scores_of([NORMAL] * len(chexbert_labels), chexbert_labels)
    positive = sum(len(row.having(S.POSITIVE, S.UNCERTAIN)) for row in chexbert_labels)
    micro = ce(found, "avg:micro", "labels:14", "uncertain:positive")
    macro = ce(found, "avg:macro", "labels:14", "uncertain:positive")
    share = 852 / 2365
    assert micro == pytest.approx([share, 852 / positive, 2 * 852 / (2365 + positive)])
    assert macro == pytest.approx([share / 14, 1 / 14, 2 * share / (1 + share) / 14])
    assert ce(found, "avg:micro", "labels:13", "uncertain:positive") == [0.0] * 3


def test_constant_template_on_real_chexbert_labels(chexbert_labels: list[Labels]) -> None:
    """Four negatives earn a mean CCS of .62 (.66 on the test split) without a look at the image."""
    template = Labels.of(
        {
            F.PNEUMOTHORAX: S.NEGATIVE,
            F.PLEURAL_EFFUSION: S.NEGATIVE,
            F.ENLARGED_CARDIOMEDIASTINUM: S.NEGATIVE,
            F.CARDIOMEGALY: S.NEGATIVE,
        }
    )
    found = scores_of([template] * len(chexbert_labels), chexbert_labels)
    assert pick(found, "ccs") == pytest.approx(0.62, abs=0.001)
    best = signed([best_for_ccs(chexbert_labels)])
    assert ccs(best, signed(chexbert_labels)).mean() >= pick(found, "ccs") - 1e-12
