"""Learning curves: step metrics to SVG paths, drawn here so that the page needs no library."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mrg_r1.audit.health import WATCHED
from mrg_r1.audit.text import count, short
from mrg_r1.records import StepMetrics

WIDTH, HEIGHT = 380, 196
"""The view box of a panel, in SVG units; the plot lies inside the four margins."""
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 10, 34

_MOST_DOTS = 400
"""Raw points drawn in one panel; longer runs are thinned evenly, and the panel says so."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A quantity worth a panel: what it is called, its unit, and how to read it."""

    title: str
    unit: str
    meaning: str
    share: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where, in SVG units, and what it says."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One curve: SVG path data for raw dots and smoothed line, axes, and the curve in words."""

    key: str
    measure: Measure
    dots: str
    line: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    first: float
    last: float
    end: tuple[float, float]
    description: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """The curves of one stage of training, and the recorded values that have none."""

    key: str
    title: str
    steps: int
    panels: tuple[Panel, ...]
    undrawn: tuple[str, ...]


_TITLES = {"sft": "Supervised start (SFT)", "srl": "Reinforcement (SRL)"}
_CLINICAL = Measure(
    "Clinical reward", "0 to 1", "MCCS: agreement of the findings with the reference", share=True
)
_FORMAT = Measure("Format reward", "0 to 1", "1 for the form asked for, less for slips", share=True)
_MEASURES = {
    "reward": Measure("Total reward", "0 to 1", "weighted sum of the components", share=True),
    "rewards/mccs/mean": _CLINICAL,
    "rewards/format/mean": _FORMAT,
    "completions/mean_length": Measure(
        "Completion length", "tokens", "a falling length can hide a reward that is being gamed"
    ),
    "completions/clipped_ratio": Measure(
        "Cut completions", "share", "completions that ran into the length limit", share=True
    ),
    "frac_reward_zero_std": Measure(
        "Groups without signal", "share", "groups whose rewards are all equal", share=True
    ),
    "kl": Measure("KL to the reference policy", "nats", "how far the policy has moved"),
    "entropy": Measure("Entropy", "nats per token", "near 0 the policy has stopped exploring"),
    "mean_token_accuracy": Measure(
        "Token accuracy", "share", "next tokens of the references guessed right", share=True
    ),
    "loss": Measure("Loss", "nats per token", "cross-entropy on reference reports"),
}
# A policy gradient's loss hovers about 0, whatever the policy learns.
_UNTELLING = {("srl", "loss")}
_COMPONENT = re.compile(r"rewards/(.+)/mean")


def draw_stages(metrics: Sequence[StepMetrics]) -> tuple[Stage, ...]:
    """The stages in order of appearance, each with a panel for every measure it recorded."""
    keys = dict.fromkeys(entry.stage for entry in metrics)
    return tuple(_stage(key, [entry for entry in metrics if entry.stage == key]) for key in keys)


def _stage(key: str, metrics: Sequence[StepMetrics]) -> Stage:
    recorded = dict.fromkeys(name for entry in metrics for name in entry.values)
    worth = [name for name in _in_order(recorded) if (key, name) not in _UNTELLING]
    drawn = {name: panel for name in worth if (panel := _panel(name, metrics))}
    return Stage(
        key=key,
        title=_TITLES.get(key, key),
        steps=len({entry.step for entry in metrics}),
        panels=tuple(drawn.values()),
        undrawn=tuple(n for n in recorded if n not in drawn and not n.startswith(WATCHED)),
    )


def _in_order(names: dict[str, None]) -> list[str]:
    """Total reward first, then its components, then what else is known."""
    components = [name for name in names if _COMPONENT.fullmatch(name)]
    order = ["reward", "rewards/mccs/mean", *components, *_MEASURES]
    return [name for name in dict.fromkeys(order) if name in names]


def _measure(name: str) -> Measure:
    component = _COMPONENT.fullmatch(name)
    if component and name not in _MEASURES:
        return Measure(f"Reward: {component[1]}", "0 to 1", "mean over the step", share=True)
    return _MEASURES[name]


def _panel(name: str, metrics: Sequence[StepMetrics]) -> Panel | None:
    found = [(entry.step, entry.values[name]) for entry in metrics if name in entry.values]
    points = sorted((step, float(value)) for step, value in found if _drawable(value))
    if not points:
        return None
    measure = _measure(name)
    smooth = smoothed([value for _, value in points])
    line = list(zip([step for step, _ in points], smooth, strict=True))
    x_scale, y_scale = _x_axis(points), _y_axis([value for _, value in points], measure.share)
    dots, thin_line = thinned(points), thinned(line)
    notes = [measure.meaning[0].upper() + measure.meaning[1:]]
    if len(dots) < len(points):
        notes.append(f"{len(dots)} of {len(points)} points drawn")
    if len(points) < len(found):
        notes.append(f"{count(len(found) - len(points), 'value')} not finite, not drawn")
    return Panel(
        key=name,
        measure=measure,
        dots="".join(f"M{x_scale.px(x)} {y_scale.px(y)}h0" for x, y in dots),
        line="M" + "L".join(f"{x_scale.px(x)} {y_scale.px(y)}" for x, y in thin_line),
        x_ticks=x_scale.ticks(),
        y_ticks=y_scale.ticks(),
        first=smooth[0],
        last=smooth[-1],
        end=(x_scale.px(line[-1][0]), y_scale.px(line[-1][1])),
        description=_in_words(measure, line),
        notes=tuple(notes),
    )


def _drawable(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and abs(value) < 1e100


def _in_words(measure: Measure, line: Sequence[tuple[int, float]]) -> str:
    values = [value for _, value in line]
    return (
        f"{count(len(line), 'point')} from step {line[0][0]} to {line[-1][0]}. Smoothed, it goes "
        f"from {short(values[0])} to {short(values[-1])} ({measure.unit}), "
        f"lowest {short(min(values))}, highest {short(max(values))}."
    )


def smoothed(values: Sequence[float]) -> list[float]:
    """The centred moving mean over about an eighth of the series, narrower at its two ends."""
    half = min(len(values) // 16, 50)
    means: list[float] = []
    for index in range(len(values)):
        window = values[max(0, index - half) : index + half + 1]
        means.append(math.fsum(window) / len(window))
    return means


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most 400 points evenly spaced in the series, the first and the last among them."""
    if len(points) <= _MOST_DOTS:
        return list(points)
    last = len(points) - 1
    return [points[round(i * last / (_MOST_DOTS - 1))] for i in range(_MOST_DOTS)]


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps values in [low, high] to SVG units; `values` are where the axis is marked."""

    low: float
    high: float
    start: float
    end: float
    values: tuple[float, ...]

    def px(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> tuple[Tick, ...]:
        return tuple(Tick(self.px(value), tick_text(value)) for value in self.values)


def _x_axis(points: Sequence[tuple[int, float]]) -> _Scale:
    low, high = points[0][0], points[-1][0]
    if low == high:
        low, high = low - 1, high + 1
    inside = [value for value in round_values(low, high, 4) if low <= value <= high]
    whole = tuple(value for value in inside if value == int(value))
    return _Scale(low, high, LEFT, WIDTH - RIGHT, whole)


def _y_axis(values: Sequence[float], share: bool) -> _Scale:
    """Shares and rewards all get the axis from 0 to 1, so that panels compare at a glance."""
    low, high = min(values), max(values)
    if share and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0:
        low = 0.0
    if low == high:
        low, high = low - 0.5, high + 0.5
    marks = round_values(low, high, 4)
    return _Scale(marks[0], marks[-1], HEIGHT - BOTTOM, TOP, tuple(marks))


def round_values(low: float, high: float, most: int) -> list[float]:
    """Evenly spaced round numbers that enclose [low, high], `low` < `high`."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10, 20) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = 2 - math.floor(math.log10(step))
    return [round(index * step, digits) for index in range(first, last + 1)]


def tick_text(value: float) -> str:
    """An axis label, short: 0, .25, 120, 2.5e-05."""
    text = f"{value:.4g}"
    return re.sub(r"^(-?)0\.", r"\1.", text).replace("-", "\u2212", 1 if value < 0 else 0)
