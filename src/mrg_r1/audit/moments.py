"""Completions seen in training: the best and the worst rewarded of a few steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mrg_r1.completion import parse
from mrg_r1.records import SampledCompletion

_LONGEST = 2000
"""Characters of one completion on the page."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A completion as shown, what was left out at its end, and what is wrong with its form."""

    sample: SampledCompletion
    shown: str
    left_out: int
    violations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of training: how many of its completions were kept, and two of them."""

    step: int
    kept: int
    samples: tuple[Sampled, ...]


def moments(completions: Sequence[SampledCompletion]) -> tuple[Moment, ...]:
    """The first, the middle and the last step that has completions."""
    steps = sorted({sample.step for sample in completions})
    chosen = dict.fromkeys(steps[i] for i in (0, len(steps) // 2, -1)) if steps else {}
    return tuple(_moment(step, [s for s in completions if s.step == step]) for step in chosen)


def _moment(step: int, samples: Sequence[SampledCompletion]) -> Moment:
    ranked = sorted(samples, key=lambda sample: -sample.reward)
    ends = ranked if len(ranked) < 3 else [ranked[0], ranked[-1]]
    return Moment(step, len(samples), tuple(map(_sampled, ends)))


def _sampled(sample: SampledCompletion) -> Sampled:
    text = sample.completion
    slips = tuple(violation.value for violation in parse(text).violations)
    return Sampled(sample, text[:_LONGEST], max(0, len(text) - _LONGEST), slips)
