import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrg_r1.errors import ConfigError
from mrg_r1.metrics.text import PREPARATIONS, TextPreparation, clean

CLEANED = {
    "sentences": ("Heart is normal. Lungs are clear.", "heart is normal . lungs are clear ."),
    "without a full stop": ("Lungs clear", "lungs clear ."),
    "nothing": ("", "."),
    "blanks": ("  \t ", "."),
    "a decimal loses its point": ("A 1.5 cm nodule.", "a 15 cm nodule ."),
    "a hyphen stays": ("Right-sided; x-ray: ok?", "right-sided x-ray ok ."),
    "quotes and slashes": ("\"A\" 'b' c/d \\e.", "a b cd e ."),
    "numbered list": ("1. Heart big. 2. No edema. 3. Clear.", "heart big . no edema . clear ."),
    "the sixth number stays": ("5. A. 6. B.", "5 . a . 6 . b ."),
    "a level loses a digit and the next word its blank": (
        "Fracture of T11. Clear.",
        "fracture of t1clear .",
    ),
    "numbers up to five": ("See figure 2. Clear.", "see figure . clear ."),
    "three dots": ("Clear... Normal.", "clear . normal ."),
    "a long row of dots is not all collapsed": ("A" + "." * 20 + " B.", "a . b ."),
    "space before the stop": ("Clear . Normal .", "clear . normal ."),
    "empty sentence": ("Clear. . Normal.", "clear . . normal ."),
    "characters of a range": ("A@B=<C>", "abc ."),
    "what the class leaves": ("5~6 $ | # é", "5~6 $ | # é ."),
    "IU's blanked words": ("XXXX is normal.", "xxxx is normal ."),
}


@pytest.mark.parametrize(("text", "expected"), CLEANED.values(), ids=CLEANED.keys())
def test_cleaning_with_its_surprises(text: str, expected: str) -> None:
    assert " ".join(clean("r2gen-iu", text).split()) == expected


BY_DATA_SET = {
    "no sentence ends at a line break in IU": ("A.\nB.", "a b .", "a . b ."),
    "blanked words of MIMIC": ("___ is big.", "is big .", "is big ."),
    "blanks before a number": ("A.  2. B.", "a . . b .", "a . b ."),
}


@pytest.mark.parametrize(("text", "iu", "mimic"), BY_DATA_SET.values(), ids=BY_DATA_SET.keys())
def test_the_two_cleanings_differ(text: str, iu: str, mimic: str) -> None:
    assert " ".join(clean("r2gen-iu", text).split()) == iu
    assert " ".join(clean("r2gen-mimic", text).split()) == mimic


TRAIN = ["The heart is big. No edema."] * 2 + ["The heart is small."]
"""Seen three times: the, heart, is and the full stop."""


def test_rare_words_become_unknown() -> None:
    preparation = TextPreparation.of("r2gen-iu", TRAIN)
    assert preparation.vocabulary == {"the", "heart", "is", "."}
    assert preparation.reference("The heart is BIG!") == "the heart is <unk> ."


@pytest.mark.parametrize(("name", "length"), [("r2gen-iu", 59), ("r2gen-mimic", 99)])
def test_references_are_cut(name: str, length: int) -> None:
    preparation = TextPreparation.of(name, TRAIN)
    cut = preparation.reference("The heart is. " * 100).split()
    assert len(cut) == length
    assert cut[:5] == ["the", "heart", "is", ".", "the"]


def test_a_prediction_of_free_text_is_prepared_like_a_reference() -> None:
    preparation = TextPreparation.of("r2gen-iu", TRAIN)
    for text in ("The heart is big.", "The heart is.", "edema . " * 80):
        assert preparation.prediction(text) == preparation.reference(text)


@pytest.mark.parametrize(
    "text", ["the heart is", "the <unk> is . the", "heart " * 60, "", ". .", "the heart is ."]
)
def test_a_prediction_of_known_words_stays_as_its_system_scores_it(text: str) -> None:
    assert TextPreparation.of("r2gen-iu", TRAIN).prediction(text) == text.strip()


@given(st.text(alphabet="ab1. <unk>-\n", max_size=40))
def test_prepared_references_stay_prepared(text: str) -> None:
    preparation = TextPreparation.of("r2gen-iu", ["a. b. a. b. ab. ab. a b ab 1"] * 2)
    once = preparation.reference(text)
    assert preparation.reference(once) == preparation.prediction(once) == once


def test_raw_changes_nothing_and_needs_nothing() -> None:
    preparation = TextPreparation.of("raw")
    for text in ("A.\n b  .", "", " "):
        assert preparation.reference(text) == preparation.prediction(text) == text


@pytest.mark.parametrize("name", PREPARATIONS[1:])
def test_words_can_only_be_counted_in_training_references(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' counts .* --train-references FILE"):
        TextPreparation.of(name)


def test_an_unknown_preparation_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'r2gen'; use one of raw, r2gen-iu, r2gen-mimic"):
        TextPreparation.of("r2gen")


def test_the_vocabulary_of_iu_xray(iu_xray_root: Path) -> None:
    """R2Gen's IU X-Ray model has 760 words, `<unk>` among them."""
    rows = json.loads((iu_xray_root / "annotation.json").read_text(encoding="utf-8"))
    preparation = TextPreparation.of("r2gen-iu", [row["report"] for row in rows["train"]])
    assert len(preparation.vocabulary | {"<unk>"}) == 760
    longest = max(preparation.reference(row["report"]).split().__len__() for row in rows["test"])
    assert longest == 59
