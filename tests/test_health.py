"""Signs of a gamed reward, computed on batches made for it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from literal_labeler import LiteralLabeler
from mrg_r1.completion import render
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.rewards.ce_f1 import CeF1Reward
from mrg_r1.rewards.health import MEASURES, Facts, Readers, health, joined, observe, sampled
from mrg_r1.rewards.penalties import ContradictionPenalty

NAN = math.nan
CARDIO = "Cardiomegaly+."
BOTH = "Cardiomegaly+. Edema-."


def readers(judge: bool = True) -> Readers:
    labeler = LiteralLabeler()
    return Readers(
        labeler, ContradictionPenalty(labeler), CeF1Reward(labeler, labels=13) if judge else None
    )


def measured(
    reports: Sequence[str],
    rewards: Sequence[float] | None = None,
    *,
    references: Sequence[str] | None = None,
    form: Sequence[float] | None = None,
    group: int = 2,
) -> dict[str, float]:
    """Health of reports with MCCS and format rewards, all of them sampled."""
    n = len(reports)
    clinical, form = rewards or [0.0] * n, form or [1.0] * n
    facts = observe(
        [render("a", report) if report else "" for report in reports],
        references or [CARDIO] * n,
        [clinical, form],
        [0.75, 0.25],
        readers(),
        range(n),
    )
    return health(facts, ["mccs", "format"], group, "ce_f1")


# Rewards of groups of two by MCCS and by format, then what is expected.
GROUPS: dict[str, tuple[list[float], list[float] | None, dict[str, float]]] = {
    "all differ": ([0, 1, 0, 1], None, {"no_variance": 0, "unpaid/mccs": 0, "form_only": 0}),
    "all equal": ([0.5] * 4, None, {"no_variance": 1, "unpaid/mccs": 0, "form_only": 0}),
    "nothing is paid": ([0] * 4, None, {"no_variance": 1, "unpaid/mccs": 1, "form_only": 0}),
    "one group is not": ([0, 0, 0, 1], None, {"no_variance": 0.5, "unpaid/mccs": 0.5}),
    "form differs": ([0.5] * 4, [0, 1, 0, 1], {"no_variance": 0, "form_only": 1}),
    "form of one differs": ([0, 0, 1, 0], [0, 1, 1, 1], {"no_variance": 0, "form_only": 0.5}),
    "by component": ([0, 1, 0, 1], None, {"no_variance/mccs": 0, "no_variance/format": 1}),
    "as good as equal": ([0.5, 0.5 + 1e-9, 0, 1], None, {"no_variance": 0.5}),
    "hardly different": ([0.5, 0.50001, 0, 1], None, {"no_variance": 0}),
    "differs between groups": ([0, 0, 1, 1], None, {"no_variance": 1}),
    "sums that cancel": ([0, 1 / 3], [1, 0], {"no_variance": 1, "no_variance/mccs": 0}),
    "one is no number": ([NAN, 1, 0, 1], None, {"no_variance": 0.5, "unpaid/mccs": 0}),
    "none is a number": ([NAN] * 4, None, {"no_variance": 1, "unpaid/mccs": 1}),
    "endless": ([math.inf, 1, 0, 1], None, {"no_variance": 0.5}),
    "below 0": ([-1, 0, -1, -1], None, {"no_variance": 0.5, "unpaid/mccs": 1}),
}


@pytest.mark.parametrize(("rewards", "form", "expected"), GROUPS.values(), ids=GROUPS)
def test_groups(rewards: list[float], form: list[float] | None, expected: dict[str, float]) -> None:
    figures = measured([f"r{i}." for i in range(len(rewards))], rewards, form=form)
    assert {name: figures[f"health/{name}"] for name in expected} == pytest.approx(expected)


# Reports and their references, then what is expected.
TEXTS: dict[str, tuple[list[str], list[str] | None, dict[str, float]]] = {
    "all different": (["a b.", "c d."], None, {"distinct": 1, "copied": 0, "repeated": 0}),
    "all the same": (["a b."] * 4, None, {"distinct": 0.25, "copied": 1}),
    "the same in each group": (["a.", "a.", "b.", "b."], None, {"distinct": 0.5, "copied": 1}),
    "the same across groups": (["a.", "b.", "a.", "b."], None, {"distinct": 0.5, "copied": 0}),
    "half without a report": (["", "a."], None, {"no_report": 0.5, "distinct": 1, "words": 1}),
    "a long sentence again": (["a b c d e. a b c d e.", "a."], None, {"repeated": 0.5}),
    "a short sentence again": (["No edema. Clear. No edema.", "a."], None, {"repeated": 0.5}),
    "in capitals again": (["No edema. NO EDEMA.", "a."], None, {"repeated": 0.5}),
    "words again, no sentence": (["a b c d a b c d", "a."], None, {"repeated": 0.5}),
    "words": (["a b c.", "a."], ["a b", "a b c d"], {"words": 2, "words_reference": 3}),
    "affirmed": ([BOTH, "Edema+. Fracture+."], None, {"positive": 1.5, "positive_reference": 1}),
    "hedged": (["Edema?. Fracture+.", "Edema?."], None, {"hedged": 2 / 3, "hedged_reference": 0}),
    "No Finding": (["No Finding+.", CARDIO], None, {"no_finding": 0.5, "no_finding_reference": 0}),
    "No Finding is no finding": (["No Finding+."] * 2, None, {"positive": 0}),
    "contradiction": (["Edema+. Edema-.", BOTH], None, {"contradicted": 0.5}),
    "what is not there is not counted": (["", "Edema?."], None, {"hedged": 1, "positive": 0}),
}


@pytest.mark.parametrize(("reports", "references", "expected"), TEXTS.values(), ids=TEXTS)
def test_texts(
    reports: list[str], references: list[str] | None, expected: dict[str, float]
) -> None:
    figures = measured(reports, references=references)
    assert {name: figures[f"health/{name}"] for name in expected} == pytest.approx(expected)


JUDGED: dict[str, tuple[list[str], float]] = {
    "right": ([CARDIO, CARDIO], 1.0),
    "half right": ([CARDIO, "Edema+."], 0.5),
    "no report counts as wrong": ([CARDIO, ""], 0.5),
    "a template of negatives": (["Edema-. Fracture-."] * 2, 0.0),
}


@pytest.mark.parametrize(("reports", "expected"), JUDGED.values(), ids=JUDGED)
def test_the_second_judge(reports: list[str], expected: float) -> None:
    assert measured(reports)["judge/ce_f1"] == pytest.approx(expected)


LEFT_OUT: dict[str, tuple[list[str], set[str]]] = {
    "an empty batch": ([], {f"health/{name}" for name in ("no_variance", "distinct", "words")}),
    "no report at all": (["", ""], {f"health/{n}" for n in ("distinct", "repeated", "positive")}),
    "nothing affirmed": (["Edema-.", "Fracture-."], {"health/hedged"}),
}


@pytest.mark.parametrize(("reports", "missing"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_cannot_be_computed_is_left_out(reports: list[str], missing: set[str]) -> None:
    figures = measured(reports)
    assert not missing & figures.keys()
    assert all(map(math.isfinite, figures.values()))


def test_an_empty_batch_has_no_figures() -> None:
    assert measured([]) == {}


def test_nothing_sampled_leaves_texts_and_groups() -> None:
    facts = observe([render("a", CARDIO)] * 2, [CARDIO] * 2, [[1.0, 0.5]], [1.0], readers(), [])
    figures = health(facts, ["mccs"], 2, "ce_f1")
    assert figures["health/no_variance"] == 0
    assert not {name for name in figures if name.startswith(("judge/", "health/positive"))}


def test_without_a_second_judge_there_is_no_figure_of_it() -> None:
    facts = observe(
        [render("a", CARDIO)] * 2, [CARDIO] * 2, [[1.0, 0.5]], [1.0], readers(judge=False), [0, 1]
    )
    assert not {name for name in health(facts, ["mccs"], 2) if name.startswith("judge/")}


def test_rewards_without_medicine_have_no_clinical_figures() -> None:
    facts = observe(["a"] * 2, [CARDIO] * 2, [[1.0, 0.5]], [1.0], readers(), [0])
    figures = health(facts, ["format"], 2)
    assert not {"health/form_only", "health/unpaid/format"} & figures.keys()


def test_messages_are_read_as_texts_are() -> None:
    text = render("a", BOTH)
    told = [[{"role": "assistant", "content": text}], [{"role": "assistant", "content": ""}]]
    both = (
        observe(completions, [CARDIO] * 2, [[1.0, 0.0]], [1.0], readers(), [0, 1])
        for completions in (told, [text, ""])
    )
    one, other = (health(facts, ["mccs"], 2, "ce_f1") for facts in both)
    assert one == other


def test_every_figure_is_described() -> None:
    described = {name.replace("NAME", part) for name in MEASURES for part in ("mccs", "format")}
    figures = measured([CARDIO, "Edema?."], [0.1, 0.2])
    for name in figures.keys() - {"judge/ce_f1"}:
        assert name.removeprefix("health/").removesuffix("_reference") in described


@pytest.mark.parametrize(
    ("n", "most", "indices"),
    [
        (8, 4, [0, 2, 4, 6]),
        (8, 3, [0, 3, 6]),
        (8, 8, list(range(8))),
        (8, 99, list(range(8))),
        (8, 1, [0]),
        (8, 0, []),
        (0, 4, []),
    ],
)
def test_a_sample_is_spread_evenly(n: int, most: int, indices: list[int]) -> None:
    assert sampled(n, most) == indices


REPORTS = st.sampled_from(["", CARDIO, BOTH, "Edema?.", "Edema+. Edema-.", "a b. a b."])
ROWS = st.lists(st.tuples(REPORTS, st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5)


@given(ROWS, st.integers(0, 12))
def test_processes_together_find_what_one_would(
    rows: list[tuple[str, float, float]], cut: int
) -> None:
    rows = rows * 4  # groups of 4, whatever their number
    completions = [render("a", report) if report else "" for report, _, _ in rows]

    def facts(part: slice) -> Facts:
        chosen = rows[part]
        return observe(
            completions[part],
            [CARDIO] * len(chosen),
            [[clinical for _, clinical, _ in chosen], [form for _, _, form in chosen]],
            [0.75, 0.25],
            readers(),
            range(len(chosen)),
        )

    whole = facts(slice(None))
    parts = joined([facts(slice(0, cut)), facts(slice(cut, None))])
    names = ["mccs", "format"]
    assert health(whole, names, 4, "ce_f1") == health(parts, names, 4, "ce_f1")


@given(st.lists(st.text(max_size=60), min_size=2, max_size=6), st.floats(0, 1))
def test_any_text_has_figures_in_range(texts: list[str], reward: float) -> None:
    rules = RulesLabeler()
    facts = observe(
        [render("a", text) for text in texts],
        [CARDIO] * len(texts),
        [[reward] * len(texts)],
        [1.0],
        Readers(rules, ContradictionPenalty(rules), CeF1Reward(rules)),
        range(len(texts)),
    )
    for name, value in health(facts, ["mccs"], len(texts), "ce_f1").items():
        assert value >= 0
        assert value <= 1 or name.startswith(("health/words", "health/positive"))


def test_arguments_are_left_as_they_are() -> None:
    rewards = [[0.5, 0.25], [1.0, 0.0]]
    completions: list[Any] = [render("a", CARDIO), ""]
    before = random.getstate()
    observe(completions, [CARDIO] * 2, rewards, [0.75, 0.25], readers(), [0, 1])
    assert rewards == [[0.5, 0.25], [1.0, 0.0]]
    assert completions == [render("a", CARDIO), ""]
    assert random.getstate() == before
