import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from literal_labeler import LiteralLabeler
from mrg_r1.completion import render
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.rewards.penalties import ContradictionPenalty, LengthPenalty, RepetitionPenalty

HONEST = (
    "The heart is enlarged. There is a small left pleural effusion. No pneumothorax is seen. "
    "The right lung is clear. There is no acute bony abnormality."
)

REPEATED = {
    "honest": (HONEST, 0.0),
    "shorter than a run": ("No acute disease", 0.0),
    "nothing": ("", 0.0),
    "twice": (f"{HONEST} {HONEST}", 1 - 26 / 49),
    "in another case and other punctuation": (f"{HONEST}; {HONEST.upper()}", 1 - 26 / 49),
    "one word for ever": ("effusion " * 100, 1 - 1 / 97),
    "two words for ever": ("no effusion " * 50, 1 - 2 / 97),
    "punctuation": ("... !!! " * 50, 0.0),
}


@pytest.mark.parametrize(("report", "share"), REPEATED.values(), ids=REPEATED.keys())
def test_repetition(report: str, share: float) -> None:
    assert RepetitionPenalty()([render("a", report)]) == pytest.approx([-share])


CONTRADICTED = {
    "consistent": ("Edema+. Fracture-.", 0.0),
    "said twice": ("Edema+. Edema+.", 0.0),
    "affirmed and denied": ("Edema+. Edema-.", 1.0),
    "one of two": ("Edema+. Fracture-. Edema-.", 0.5),
    "hedged and denied": ("Edema?. Edema-.", 0.0),
    "No Finding is no finding": ("No Finding+. Edema+.", 0.0),
    "nothing": ("see above", 0.0),
    "no report": ("", 0.0),
}


@pytest.mark.parametrize(("report", "share"), CONTRADICTED.values(), ids=CONTRADICTED.keys())
def test_contradiction(report: str, share: float) -> None:
    assert ContradictionPenalty(LiteralLabeler())([render("a", report)]) == pytest.approx([-share])


def test_contradictions_of_real_wording() -> None:
    reports = [HONEST, f"{HONEST} There is no pleural effusion."]
    free, caught = ContradictionPenalty(RulesLabeler())([render("a", r) for r in reports])
    assert free == 0.0
    assert caught < 0


def test_a_batch_is_labelled_in_one_call() -> None:
    labeler = LiteralLabeler()
    completions = [render("a", report) for report, _ in CONTRADICTED.values()]
    values = ContradictionPenalty(labeler)(completions)
    assert values == pytest.approx([-share for _, share in CONTRADICTED.values()])
    assert len(labeler.asked) == 1


TEN = " ".join(["word"] * 10)
LENGTHS = {
    "the same": (10, 0.0),
    "half": (5, 0.0),
    "double": (20, 0.0),
    "two in ten": (2, 0.6),
    "nothing": (0, 1.0),
    "three times": (30, 0.5),
    "four times": (40, 1.0),
    "a thousand times": (10_000, 1.0),
}


@pytest.mark.parametrize(("words", "penalty"), LENGTHS.values(), ids=LENGTHS.keys())
def test_length(words: int, penalty: float) -> None:
    completion = render("a", " ".join(["word"] * words))
    assert LengthPenalty()([completion], [TEN]) == pytest.approx([-penalty])


def test_a_completion_without_a_report_has_no_length() -> None:
    assert LengthPenalty()(["", TEN, f"<think>{TEN}</think>"], [TEN] * 3) == [-1.0] * 3


@pytest.mark.parametrize("bounds", [(0.0, 2.0), (1.5, 2.0), (0.5, 0.9), (float("nan"), 2.0)])
def test_bounds_that_free_nothing(bounds: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="is free"):
        LengthPenalty(*bounds)


def test_length_needs_references() -> None:
    with pytest.raises(DataError, match="length: reference 0 is empty"):
        LengthPenalty()(["a"], [""])


@given(st.text(), st.text(min_size=1).filter(str.strip))
def test_every_penalty_stays_in_range(text: str, reference: str) -> None:
    for penalty in (RepetitionPenalty(), ContradictionPenalty(RulesLabeler()), LengthPenalty()):
        (value,) = penalty([render("a", text)], reference=[reference])
        assert -1 <= value <= 0
        assert type(value) is float


@pytest.mark.parametrize(
    "penalty", [RepetitionPenalty(), ContradictionPenalty(LiteralLabeler()), LengthPenalty()]
)
def test_pickle_and_nothing(penalty: LengthPenalty) -> None:
    assert pickle.loads(pickle.dumps(penalty)) == penalty
    assert penalty([], []) == []
