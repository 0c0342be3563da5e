from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrg_r1.data.context import KINDS, WORDS, prompt_of, readable, words_of
from mrg_r1.data.samples import samples, without_context
from mrg_r1.data.study import Position, Prior, Study, View
from mrg_r1.errors import ConfigError

FRONTAL = View(Path("f.png"), Position.FRONTAL)
LATERAL = View(Path("l.png"), Position.LATERAL)
OLD_LATERAL = View(Path("old/l.png"), Position.LATERAL)
OLD_FRONTAL = View(Path("old/f.png"), Position.FRONTAL)
PRIOR = Prior("s0", "Old  findings.", "Old\nimpression.", (OLD_LATERAL, OLD_FRONTAL))


def study(name: str = "s1", **changes: Any) -> Study:
    given: dict[str, Any] = {"findings": "The answer.", "indication": "___F with cough."}
    return Study(name, (LATERAL, FRONTAL), "train", **{**given, "prior": PRIOR, **changes})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("___F with  cough\n// eval for infection ", "___F with cough // eval for infection"),
        ("___ ___ year old, seen by ______", "___ year old, seen by ___"),
        ("___-year-old", "___-year-old"),
        ("XXXX-year-old", "XXXX-year-old"),
        ("s/p CABG _ clip", "s/p CABG _ clip"),
        ("X-ray", "X-ray"),
        ("___", ""),
        ("___ // ___.", ""),
        ("XXXX", ""),
        ("XXXX XXXX, XX.", ""),
        ("___, XXXX", ""),
        (" \n", ""),
        ("?", ""),
        ("", ""),
    ],
)
def test_de_identified_words_are_shown_and_are_nothing_by_themselves(text: str, shown: str):
    assert readable(text) == shown


@given(st.text(alphabet="_X a1.\n"))
def test_what_is_readable_stays_so(text: str):
    shown = readable(text)
    assert readable(shown) == shown
    assert "\n" not in shown
    assert "____" not in shown


def test_words_are_those_that_policies_were_trained_on():
    # Frozen: a change here asks whoever saved no words of their own in other ones.
    assert prompt_of(
        "Report.", {}, {"prior-images": "2", "indication": "Cough.", "prior-report": "Old."}
    ) == (
        "Report.\n"
        "Indication: Cough.\n"
        "Report of the previous study: Old.\n"
        "Images of the previous study, after those of this one: 2"
    )
    assert list(WORDS) == list(KINDS) == list(words_of(reversed(KINDS)))


def test_saved_words_come_first_and_nothing_given_is_only_the_instruction():
    saved = {"indication": "Why: {}", "later-kind": "Also {}"}
    context = {"indication": "a {} brace", "prior-report": "Old.", "later-kind": "x"}
    assert prompt_of("Report.", saved, context) == (
        "Report.\nWhy: a {} brace\nReport of the previous study: Old.\nAlso x"
    )
    assert prompt_of("Report.", saved, {}) == "Report."


def test_samples_hold_what_was_asked_for():
    (plain,), _ = samples([study()], views="frontal")
    assert (plain.context, plain.images) == ({}, (FRONTAL.path,))
    (given,), _ = samples([study()], views="frontal", context=KINDS)
    assert given.context == {
        "indication": "___F with cough.",
        "prior-report": "Old findings. Old impression.",
        "prior-images": "1",
    }
    assert given.images == (FRONTAL.path, OLD_FRONTAL.path)
    (text,), _ = samples([study()], views="frontal", context=["prior-report"])
    assert (list(text.context), text.images) == (["prior-report"], (FRONTAL.path,))


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        ("each", [(LATERAL, OLD_FRONTAL), (FRONTAL, OLD_FRONTAL)]),
        ("frontal", [(FRONTAL, OLD_FRONTAL)]),
        ("first", [(LATERAL, OLD_FRONTAL)]),
        ("all", [(LATERAL, FRONTAL, OLD_LATERAL, OLD_FRONTAL)]),
    ],
)
def test_images_of_the_previous_study_come_last(views: Any, expected: list[tuple[View, ...]]):
    found, _ = samples([study()], views=views, context=["prior-images"])
    assert [sample.images for sample in found] == [
        tuple(view.path for view in group) for group in expected
    ]
    assert {sample.context["prior-images"] for sample in found} == {"2" if views == "all" else "1"}


def test_a_prior_without_a_frontal_view_shows_its_first():
    found, _ = samples(
        [study(prior=Prior(views=(OLD_LATERAL, LATERAL)))],
        views="frontal",
        context=["prior-images"],
    )
    assert found[0].images == (FRONTAL.path, OLD_LATERAL.path)


def test_what_is_not_there_is_left_out_and_counted():
    bare = study(indication="___", prior=None)
    text = study("s2", prior=Prior("s0", "Old."))
    found, left = samples([bare, text], views="frontal", context=KINDS)
    assert [sample.context for sample in found] == [
        {},
        {"indication": "___F with cough.", "prior-report": "Old."},
    ]
    assert without_context(found, KINDS) == {
        "indication": 1,
        "prior-report": 1,
        "prior-images": 2,
    }
    assert without_context(found, []) == {}
    assert left == []


def test_unknown_context_names_what_there_is():
    with pytest.raises(ConfigError, match="context 'prior'; use one of indication, prior-report"):
        samples([], context=["prior"])  # type: ignore[list-item]
