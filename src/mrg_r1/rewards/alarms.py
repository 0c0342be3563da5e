"""When figures of a training mean that its reward is gamed or teaches nothing, in plain words.

Pure functions of what `metrics.jsonl` holds, so that a resumed run warns as if it had not stopped.
The limits are ours: wide of what honest reports show (docs/rewards.md), and judged on the mean of
twenty recorded steps, since a step has few groups.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pvariance

WINDOW = 20
"""Recorded steps whose mean is judged."""

_SLACK = 0.75
"""A warning stays until its figure is a quarter inside the limit, lest it come and go."""

_ERRORS = 3.0
"""Standard errors by which the reward must outrun the second judge: a sample of few is noisy."""

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure must not rise above (or fall below) `plus + times` what it stands beside.

    Attributes:
        kind: of the warning; of several limits of a kind the first that is passed speaks.
        figure: the name in `metrics.jsonl`.
        says: the sentence; `{value}` is the figure and `{beside}` what it stands beside.
        plus: the limit, or what it adds to the other figure.
        times: factor of the other figure.
        beside: the other figure, if there is one.
        below: whether the figure must not fall below.
        also: another figure that must be above a number too, for the sentence to be true.
        share: whether figures are printed in percent.
        of_reports: whether the figure is of completions with a report, and so is not judged where
            most have none.
    """

    kind: str
    figure: str
    says: str
    plus: float = 0.0
    times: float = 1.0
    beside: str = ""
    below: bool = False
    also: tuple[str, float] | None = None
    share: bool = True
    of_reports: bool = False

    def sentence(self, now: Figures, slack: float) -> str | None:
        """What is wrong with these figures; None if nothing is, or they are not there."""
        value, beside = now.get(self.figure), now.get(self.beside, 0.0)
        if value is None or (self.beside and self.beside not in now):
            return None
        if self.of_reports and now.get("health/no_report", 0.0) > 0.5:
            return None
        limit = self.plus + self.times * beside
        passed = value < limit / slack if self.below else value > limit * slack
        if not passed or (self.also and now.get(self.also[0], 0.0) <= self.also[1]):
            return None
        return self.says.format(value=self._shown(value), beside=self._shown(beside))

    def _shown(self, value: float) -> str:
        return f"{100 * value:.0f} %" if self.share else f"{value:.1f}"


LIMITS = (
    Limit(
        "no_variance",
        "health/no_variance",
        "{value} of groups have no variance: hardly a completion has a report part yet; train the "
        "supervised start longer",
        plus=0.5,
        also=("health/no_report", 0.5),
    ),
    Limit(
        "no_variance",
        "health/no_variance",
        "{value} of groups have no variance: the margin is too high for this policy; "
        "lower reward.margin",
        plus=0.5,
        also=("health/unpaid/mccs", 0.25),
    ),
    Limit(
        "no_variance",
        "health/no_variance",
        "{value} of groups have no variance: the policy says the same whatever it is asked; "
        "raise srl.beta or srl.temperature",
        plus=0.5,
        also=("health/copied", 0.25),
    ),
    Limit(
        "no_variance",
        "health/no_variance",
        "{value} of groups have no variance, and nothing is learnt from them; raise "
        "srl.num_generations or srl.temperature",
        plus=0.5,
    ),
    Limit(
        "form_only",
        "health/form_only",
        "in {value} of groups every clinical reward is the same, so that form alone is learnt "
        "there; lower reward.margin, or raise srl.num_generations",
        plus=0.3,
    ),
    Limit(
        "no_report",
        "health/no_report",
        "{value} of completions have no report part; train a supervised start longer, or raise "
        "srl.max_completion_length",
        plus=0.2,
    ),
    Limit(
        "cut",
        "completions/clipped_ratio",
        "{value} of completions run into the length limit; raise srl.max_completion_length",
        plus=0.2,
    ),
    Limit(
        "one_report",
        "health/distinct",
        "only {value} of reports are distinct: one text for many images; raise srl.beta",
        plus=0.2,
        below=True,
        of_reports=True,
    ),
    Limit(
        "too_few",
        "health/positive",
        "{value} findings affirmed a report, {beside} in the references: a template of negatives "
        "pays; lower reward.negative_weight",
        times=0.25,
        beside="health/positive_reference",
        below=True,
        share=False,
        of_reports=True,
    ),
    Limit(
        "too_many",
        "health/positive",
        "{value} findings affirmed a report, {beside} in the references: asserting at random pays",
        plus=0.5,
        times=2.0,
        beside="health/positive_reference",
        share=False,
        of_reports=True,
    ),
    Limit(
        "hedged",
        "health/hedged",
        "{value} of the findings named are hedged, {beside} in the references: a hedge is paid as "
        "much as an assertion; lower reward.uncertain",
        plus=0.2,
        beside="health/hedged_reference",
        also=("health/uncertain", 0.2),
        of_reports=True,
    ),
    Limit(
        "normal",
        "health/no_finding",
        "{value} of reports find nothing, {beside} of the references: the normal report pays",
        plus=0.3,
        beside="health/no_finding_reference",
        of_reports=True,
    ),
    Limit(
        "repeated",
        "health/repeated",
        "{value} of reports say a sentence again; set reward.repetition_penalty",
        plus=0.15,
        of_reports=True,
    ),
    Limit(
        "contradicted",
        "health/contradicted",
        "{value} of reports affirm and deny the same finding; set reward.contradiction_penalty",
        plus=0.15,
        of_reports=True,
    ),
    Limit(
        "long",
        "health/words",
        "reports have {value} words, their references {beside}; set reward.length_penalty",
        times=2.0,
        beside="health/words_reference",
        share=False,
        of_reports=True,
    ),
    Limit(
        "short",
        "health/words",
        "reports have {value} words, their references {beside}; set reward.length_penalty",
        times=0.5,
        beside="health/words_reference",
        below=True,
        share=False,
        of_reports=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Trend:
    """While the reward rises, a second judge must rise too.

    Attributes:
        kind: of the warning.
        judge: the judge's name in `metrics.jsonl`.
        says: the sentence, with the means of the first and the last twenty steps.
        rise: of the reward, from which on it counts.
        least: the judge's, below which it is no rise.
    """

    kind: str
    judge: str
    says: str = (
        "the reward rose from {was:.2f} to {now:.2f}, but the second judge ({judge}) went from "
        "{judged_was:.2f} to {judged_now:.2f}: what is learnt pleases the reward alone"
    )
    rise: float = 0.1
    least: float = 0.02

    def sentence(self, then: Sequence[Figures], now: Sequence[Figures], slack: float) -> str | None:
        """What is wrong from then to now; None if nothing is, or a figure is not there."""
        before, after = self._pairs(then), self._pairs(now)
        if not before or not after:
            return None
        was, judged_was = map(fmean, zip(*before, strict=True))
        became, judged = map(fmean, zip(*after, strict=True))
        ahead = (became - was) - (judged - judged_was)
        if ahead <= _ERRORS * math.hypot(_error(before), _error(after)) * slack:
            return None
        if became - was <= self.rise * slack or judged - judged_was >= self.least / slack:
            return None
        return self.says.format(
            was=was,
            now=became,
            judge=self.judge.removeprefix("judge/"),
            judged_was=judged_was,
            judged_now=judged,
        )

    def _pairs(self, steps: Sequence[Figures]) -> list[tuple[float, float]]:
        """Reward and judge of the steps that have both."""
        return [(s["reward"], s[self.judge]) for s in steps if {"reward", self.judge} <= s.keys()]


def _error(pairs: Sequence[tuple[float, float]]) -> float:
    """Standard error of the mean of what the reward is above the judge."""
    return math.sqrt(pvariance([reward - judged for reward, judged in pairs]) / len(pairs))


TRENDS = (Trend("judge", "judge/ce_f1"), Trend("judge", "judge/mccs"))


def warnings_of(history: Sequence[Figures], active: Collection[str] = ()) -> dict[str, str]:
    """The warnings after the last of these steps, by kind; none before twenty are recorded.

    Args:
        history: the figures of a stage's recorded steps, in order.
        active: kinds that the step before warned of.
    """
    if len(history) < WINDOW:
        return {}
    then, last = history[:WINDOW], history[-WINDOW:]
    now = _means(last)
    apart = len(history) >= 2 * WINDOW
    said = [
        *((limit.kind, limit.sentence(now, _slack(limit.kind, active))) for limit in LIMITS),
        *((t.kind, t.sentence(then, last, _slack(t.kind, active))) for t in TRENDS if apart),
    ]
    found: dict[str, str] = {}
    for kind, sentence in said:
        if sentence:
            found.setdefault(kind, sentence)
    return found


def _slack(kind: str, active: Collection[str]) -> float:
    return _SLACK if kind in active else 1.0


def _means(steps: Sequence[Figures]) -> dict[str, float]:
    """The mean of each figure over the steps that have it."""
    names = dict.fromkeys(name for step in steps for name in step)
    found = {name: [step[name] for step in steps if name in step] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items()}
