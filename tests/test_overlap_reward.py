import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrg_r1.completion import render
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.rewards.overlap import OverlapReward, tokens

TRAIN = [
    "The heart is enlarged. No pleural effusion.",
    "The heart is normal in size. No pneumothorax.",
    "Small left pleural effusion, unchanged. No pneumothorax.",
    "Lungs are clear. No pleural effusion or pneumothorax.",
]
REFERENCE = TRAIN[2]
REWARD = OverlapReward.of(TRAIN)

# Upper bounds of what a cornered policy earns.
HOSTILE = {
    "nothing": ("", 0.0),
    "without tags": (REFERENCE, 0.0),
    "in the think part only": (f"<think>{REFERENCE}</think><report></report>", 0.0),
    "two reports": (f"<report>{REFERENCE}</report>" * 2, 0.0),
    "no word in common": (render("a", "xyz"), 1e-9),
    "one word": (render("a", "effusion"), 0.1),
    "the same words backwards": (render("a", " ".join(reversed(REFERENCE.split()))), 0.5),
    "the reference three times": (render("a", f"{REFERENCE} " * 3), 0.6),
    "the reference and 50 kB": (render("a", REFERENCE + " of" * 17_000), 0.01),
    "another patient's report": (render("a", TRAIN[0]), 0.35),
}


@pytest.mark.parametrize(("completion", "most"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_completions(completion: str, most: float) -> None:
    (value,) = REWARD([completion], [REFERENCE])
    assert 0 <= value <= most


def test_the_reference_earns_everything_in_any_case_and_spacing() -> None:
    variants = [REFERENCE, REFERENCE.upper(), REFERENCE.replace(" ", "\n ").replace(",", " ,")]
    values = REWARD([render("a", text) for text in variants], [REFERENCE] * 3)
    assert values == pytest.approx([1.0] * 3, abs=1e-6)


def test_it_is_the_mean_of_three_by_hand() -> None:
    # One bigram of three and two words of four are right; no run of three is.
    reward = OverlapReward.of(["a b", "c d", "e f"])
    (value,) = reward([render("t", "a b x y")], ["a b c d"])
    bleu_4 = (2 / 4 * 1 / 3 * 1e-15 / 2 * 1e-15 / 1) ** 0.25
    rouge = 0.5
    # Unigrams a and b occur in one of three references, as c and d do; x and y in none.
    once, never = math.log(3), math.log(3)
    unigrams = 2 * once**2 / (math.sqrt(2 * once**2 + 2 * never**2) * math.sqrt(4 * once**2))
    bigrams = once**2 / (math.sqrt(3) * once * math.sqrt(3) * once)
    assert value == pytest.approx((bleu_4 + rouge + (unigrams + bigrams) / 4) / 3, abs=1e-6)


def test_frequencies_are_those_of_training_not_of_the_batch() -> None:
    assert REWARD([render("a", REFERENCE)], [REFERENCE]) == pytest.approx([1.0], abs=1e-6)
    batch = [render("a", text) for text in TRAIN]
    assert REWARD(batch, TRAIN) == [REWARD([c], [r])[0] for c, r in zip(batch, TRAIN, strict=True)]


def test_one_reference_has_no_frequencies() -> None:
    with pytest.raises(ConfigError, match="1 training references"):
        OverlapReward.of(TRAIN[:1])


def test_bad_references_and_nothing() -> None:
    with pytest.raises(DataError, match="overlap: reference 0 is empty"):
        REWARD(["a"], [" "])
    assert REWARD([], []) == []


def test_name_and_pickle() -> None:
    assert REWARD.__name__ == "overlap"
    copy = pickle.loads(pickle.dumps(REWARD))
    assert copy([render("a", TRAIN[0])], [REFERENCE]) == REWARD(
        [render("a", TRAIN[0])], [REFERENCE]
    )


@given(st.text(), st.text(min_size=1).filter(str.strip))
def test_any_text_stays_in_range(report: str, reference: str) -> None:
    (value,) = REWARD([render("a", report)], [reference])
    assert -1e-9 <= value <= 1 + 1e-9
    assert "  " not in tokens(report)


def test_equal_to_pycocoevalcap() -> None:
    """Reports of the very studies whose references gave the frequencies, as pycocoevalcap asks."""
    coco_bleu = pytest.importorskip("pycocoevalcap.bleu.bleu")
    coco_cider = pytest.importorskip("pycocoevalcap.cider.cider")
    coco_rouge = pytest.importorskip("pycocoevalcap.rouge.rouge")
    for reports in (
        TRAIN,
        TRAIN[::-1],
        ["No pleural effusion.", "Clear", "No no no", TRAIN[0] * 2],
    ):
        theirs = {i: [tokens(text)] for i, text in enumerate(TRAIN)}
        ours = {i: [tokens(text)] for i, text in enumerate(reports)}
        _, cider = coco_cider.Cider().compute_score(theirs, ours)
        _, rouge = coco_rouge.Rouge().compute_score(theirs, ours)
        _, bleu = coco_bleu.Bleu(4).compute_score(theirs, ours, verbose=0)
        expected = [(b + r + c / 10) / 3 for b, r, c in zip(bleu[3], rouge, cider, strict=True)]
        values = REWARD([render("a", report) for report in reports], TRAIN)
        assert values == pytest.approx(expected, abs=1e-6)
