"""What a cornered policy does to a report, each priced in [-1, 0]. None of them is the paper's.

They are rewards like the others, so each shows in the log under its own name, and a weight of 0
leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mrg_r1.errors import ConfigError
from mrg_r1.findings import DISEASES, Labels, Status
from mrg_r1.labelers import Labeler
from mrg_r1.labelers.cached import CachedLabeler
from mrg_r1.labelers.rules.text import fold, sentences, words
from mrg_r1.metrics.arrays import classes_of
from mrg_r1.rewards import Completion, reports_beside, reports_of

_GRAM = 4
"""Words in a row that count as a repetition: honest reports repeat shorter runs all the time."""


@dataclass(frozen=True)
class RepetitionPenalty:
    """Minus the share of a report's runs of four words that it has said before.

    A label vector does not change when a sentence is said again, so clinical rewards pay a report
    that repeats itself in full. Case and punctuation are not read.
    """

    prefill: str = ""

    __name__ = "repetition"

    def __call__(
        self,
        completions: Sequence[Completion],
        reference: Sequence[str] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Penalties of the completions, in order; the references are not read."""
        return [-_repeated(report) for report in reports_of(completions, self.prefill)]


@dataclass(frozen=True)
class ContradictionPenalty:
    """Minus the share of the findings a report states that it both affirms and denies.

    A labeler settles on one status a finding, so a report that says both is paid as if it had
    said one. Each sentence is labelled by itself, which with CheXbert costs about as many more
    forward passes as a report has sentences.
    """

    labeler: Labeler
    prefill: str = ""
    _cached: CachedLabeler = field(init=False, repr=False, compare=False)

    __name__ = "contradiction"

    def __post_init__(self) -> None:
        object.__setattr__(self, "_cached", CachedLabeler(self.labeler))

    def __call__(
        self,
        completions: Sequence[Completion],
        reference: Sequence[str] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Penalties of the completions, in order; the references are not read."""
        split = [list(_sentences(r)) for r in reports_of(completions, self.prefill)]
        read = iter(self._cached.label([sentence for report in split for sentence in report]))
        return [-_contradicted([next(read) for _ in report]) for report in split]


@dataclass(frozen=True)
class LengthPenalty:
    """What a report's length in words, relative to its reference's, is outside of [low, high].

    0 inside; falling to -1 at no words and at twice `high`. Rewards that count what is right
    shorten reports (one published RadGraph reward from 207 to 93 characters), those that are
    blind to what was said before let them grow.

    Attributes:
        low: the shortest length that is free, in (0, 1].
        high: the longest length that is free, 1 or more.
        prefill: what the chat template already wrote of each completion (some open `<think>`).
    """

    low: float = 0.5
    high: float = 2.0
    prefill: str = ""

    __name__ = "length"

    def __post_init__(self) -> None:
        if not 0 < self.low <= 1 <= self.high:
            raise ConfigError(f"length: {self.low} to {self.high} is free; use such as 0.5 to 2.0")

    def __call__(
        self, completions: Sequence[Completion], reference: Sequence[str], **columns: Any
    ) -> list[float]:
        """Penalties of the completions, in order; a completion without a report has length 0.

        Raises:
            DataError: a reference is empty or not text (with its index), or the references are
                not as many as the completions.
        """
        reports = reports_beside(reference, completions, name=self.__name__, prefill=self.prefill)
        return [
            -self._excess(len(report.split()) / len(expected.split()))
            for report, expected in zip(reports, reference, strict=True)
        ]

    def _excess(self, ratio: float) -> float:
        return min(max(1 - ratio / self.low, ratio / self.high - 1, 0.0), 1.0)


def _sentences(report: str) -> Iterator[str]:
    """The sentences that speak of findings."""
    return (report[start:end] for start, end in sentences(report))


def _repeated(report: str) -> float:
    """The share of runs of four words that occurred before, in [0, 1)."""
    said = [word for word in words(fold(report), 0, len(report)) if word not in (",", "?")]
    grams = [tuple(said[i : i + _GRAM]) for i in range(len(said) - _GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _contradicted(labels: Sequence[Labels]) -> float:
    """The share of stated findings that are positive in one sentence and negative in another."""
    if not labels:
        return 0.0
    classes = classes_of(labels)[:, : len(DISEASES)]  # (sentences, 13)
    affirmed = (classes == Status.POSITIVE).any(axis=0)
    denied = (classes == Status.NEGATIVE).any(axis=0)
    stated = int((affirmed | denied).sum())
    return float(np.sum(affirmed & denied)) / stated if stated else 0.0
