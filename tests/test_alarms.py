"""Every warning speaks when it should, is silent when it should be, and stays until it is over."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mrg_r1.rewards.alarms import LIMITS, TRENDS, WINDOW, Limit, warnings_of
from mrg_r1.rewards.health import MEASURES

HONEST: dict[str, float] = {
    "reward": 0.5,
    "judge/ce_f1": 0.4,
    "health/no_variance": 0.1,
    "health/form_only": 0.05,
    "health/copied": 0.05,
    "health/unpaid/mccs": 0.05,
    "health/no_report": 0.01,
    "completions/clipped_ratio": 0.02,
    "health/distinct": 0.9,
    "health/positive": 1.1,
    "health/positive_reference": 1.2,
    "health/uncertain": 0.3,
    "health/hedged": 0.1,
    "health/hedged_reference": 0.08,
    "health/no_finding": 0.4,
    "health/no_finding_reference": 0.38,
    "health/repeated": 0.03,
    "health/contradicted": 0.02,
    "health/words": 34.0,
    "health/words_reference": 33.0,
}

# What is wrong with one figure or two, the kind of the warning, and the sentence.
SPEAKS: dict[str, tuple[dict[str, float], str, str]] = {
    "no reports to compare": (
        {"health/no_variance": 0.9, "health/no_report": 0.94, "health/unpaid/mccs": 0.9},
        "no_variance",
        "90 % of groups have no variance: hardly a completion has a report part yet",
    ),
    "margin": (
        {"health/no_variance": 0.87, "health/unpaid/mccs": 0.8},
        "no_variance",
        "87 % of groups have no variance: the margin is too high for this policy; "
        "lower reward.margin",
    ),
    "one text a group": (
        {"health/no_variance": 0.6, "health/copied": 0.55},
        "no_variance",
        "60 % of groups have no variance: the policy says the same whatever",
    ),
    "alike for another cause": (
        {"health/no_variance": 0.51},
        "no_variance",
        "51 % of groups have no variance, and nothing is learnt from them",
    ),
    "form": ({"health/form_only": 0.4}, "form_only", "in 40 % of groups every clinical reward"),
    "no report": ({"health/no_report": 0.3}, "no_report", "30 % of completions have no report"),
    "cut": ({"completions/clipped_ratio": 0.5}, "cut", "50 % of completions run into the length"),
    "one report": ({"health/distinct": 0.06}, "one_report", "only 6 % of reports are distinct"),
    "negatives": (
        {"health/positive": 0.2},
        "too_few",
        "0.2 findings affirmed a report, 1.2 in the references: a template of negatives",
    ),
    "everything": (
        {"health/positive": 5.0},
        "too_many",
        "5.0 findings affirmed a report, 1.2 in the references: asserting",
    ),
    "hedges": (
        {"health/hedged": 0.45},
        "hedged",
        "45 % of the findings named are hedged, 8 % in the references",
    ),
    "normal": (
        {"health/no_finding": 0.9},
        "normal",
        "90 % of reports find nothing, 38 % of the references",
    ),
    "repeats": ({"health/repeated": 0.3}, "repeated", "30 % of reports say a sentence again"),
    "contradicts": ({"health/contradicted": 0.3}, "contradicted", "30 % of reports affirm and"),
    "long": ({"health/words": 90.0}, "long", "reports have 90.0 words, their references 33.0"),
    "short": ({"health/words": 9.0}, "short", "reports have 9.0 words, their references 33.0"),
}


def steps(*changes: dict[str, float], each: int = WINDOW) -> list[dict[str, float]]:
    return [{**HONEST, **change} for change in changes for _ in range(each)]


def test_an_honest_training_is_not_warned_of() -> None:
    assert warnings_of(steps({}, {})) == {}


@pytest.mark.parametrize("case", SPEAKS)
def test_each_warning_speaks(case: str) -> None:
    change, kind, sentence = SPEAKS[case]
    found = warnings_of(steps(change))
    assert list(found.keys() - {"no_report"} if kind == "no_variance" else found) == [kind]
    assert found[kind].startswith(sentence)


@pytest.mark.parametrize(
    "limit", [limit for limit in LIMITS if limit.of_reports], ids=lambda limit: limit.kind
)
def test_a_few_reports_are_not_judged(limit: Limit) -> None:
    change = next(change for change, kind, _ in SPEAKS.values() if kind == limit.kind)
    assert list(warnings_of(steps({**change, "health/no_report": 0.94}))) == ["no_report"]


def test_every_limit_is_tried() -> None:
    assert {kind for _, kind, _ in SPEAKS.values()} == {limit.kind for limit in LIMITS}
    assert len(SPEAKS) == len(LIMITS)


@pytest.mark.parametrize("case", SPEAKS)
def test_each_warning_needs_its_figures(case: str) -> None:
    change, kind, _ = SPEAKS[case]
    assert warnings_of([{name: change[name] for name in list(change)[:1]}] * (WINDOW - 1)) == {}
    unknown = [{name: 0.5 for name in HONEST if name not in change}] * WINDOW
    assert kind not in warnings_of(unknown)


def test_limits_speak_of_figures_that_there_are() -> None:
    known = {f"health/{name}" for name in MEASURES} | {"completions/clipped_ratio", ""}
    for limit in LIMITS:
        names = (limit.figure, limit.beside, limit.also[0] if limit.also else "")
        for name in names:
            assert name.removesuffix("_reference").replace("/mccs", "/NAME") in known


@pytest.mark.parametrize(
    ("values", "spoken"),
    [
        ([0.5], False),
        ([0.51], True),
        ([0.46], False),
        # The mean of twenty steps counts, not the last.
        ([0.4] * 19 + [0.9], False),
        ([0.9] * 19 + [0.0], True),
        # Older steps do not.
        ([0.9] * 20 + [0.1] * 20, False),
    ],
)
def test_the_mean_of_twenty_steps_is_judged(values: list[float], spoken: bool) -> None:
    values = values * WINDOW if len(values) == 1 else values
    history = [{"health/no_variance": value} for value in values]
    assert ("no_variance" in warnings_of(history)) is spoken


@pytest.mark.parametrize(
    ("figure", "inside", "kind"),
    [("health/no_variance", 0.47, "no_variance"), ("health/distinct", 0.21, "one_report")],
)
def test_a_warning_stays_until_its_figure_is_well_inside(
    figure: str, inside: float, kind: str
) -> None:
    history = steps({figure: inside})
    assert kind not in warnings_of(history)
    assert kind in warnings_of(history, {kind})
    assert kind not in warnings_of(steps({}), {kind})


# The reward and the second judge in the first and the last twenty steps.
JUDGED: dict[str, tuple[tuple[float, float], tuple[float, float], bool]] = {
    "both rise": ((0.3, 0.2), (0.6, 0.4), False),
    "the reward alone": ((0.35, 0.0), (0.61, 0.0), True),
    "the judge falls": ((0.3, 0.3), (0.6, 0.1), True),
    "neither": ((0.3, 0.2), (0.35, 0.2), False),
    "the reward falls": ((0.6, 0.2), (0.3, 0.2), False),
    "the judge a little": ((0.3, 0.2), (0.6, 0.215), True),
}


@pytest.mark.parametrize(("then", "now", "spoken"), JUDGED.values(), ids=JUDGED)
@pytest.mark.parametrize("judge", [trend.judge for trend in TRENDS])
def test_the_second_judge(
    then: tuple[float, float], now: tuple[float, float], spoken: bool, judge: str
) -> None:
    history: list[dict[str, Any]] = [
        {"reward": reward, judge: judged} for reward, judged in (then, now) for _ in range(WINDOW)
    ]
    found = warnings_of(history)
    assert ("judge" in found) is spoken
    if spoken:
        assert found["judge"].startswith(f"the reward rose from {then[0]:.2f} to {now[0]:.2f}")
        assert judge.removeprefix("judge/") in found["judge"]
    # Not before the first and the last twenty steps are apart.
    assert warnings_of(history[1:]) == {}


@pytest.mark.parametrize(("noise", "spoken"), [(0.0, True), (0.05, True), (0.4, False)])
def test_a_judge_of_few_reports_is_not_believed(noise: float, spoken: bool) -> None:
    history = [
        {"reward": reward, "judge/ce_f1": 0.4 + noise * (-1) ** step}
        for reward in (0.4, 0.6)
        for step in range(WINDOW)
    ]
    assert ("judge" in warnings_of(history)) is spoken


def test_a_figure_that_some_steps_lack() -> None:
    history = steps({"health/hedged": 0.6})
    for step in history[::2]:
        del step["health/hedged"]
    assert list(warnings_of(history)) == ["hedged"]


def test_a_single_hedge_among_hardly_any_findings_is_no_habit() -> None:
    change = {"health/hedged": 1.0, "health/uncertain": 0.05}
    assert "hedged" not in warnings_of(steps(change))


def test_nothing_recorded() -> None:
    assert warnings_of([]) == {}
    assert warnings_of([{}] * 60) == {}
    assert warnings_of([{"health/no_variance": math.nan}] * 60) == {}
