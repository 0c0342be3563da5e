"""Labelers that say how sure they are, for rewards that do not round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from mrg_r1.errors import ConfigError
from mrg_r1.labelers import Labeler
from mrg_r1.metrics.arrays import Floats


@runtime_checkable
class ProbabilisticLabeler(Labeler, Protocol):
    """A labeler that also gives the probability of each status."""

    def probabilities(self, reports: Sequence[str]) -> Floats:
        """Probabilities (n, 14, 4) by report, finding and status, in CheXbert's orders.

        They sum to 1 over the statuses; No Finding has only blank and positive.
        """
        ...


def probabilities_of(labeler: Any) -> Callable[[Sequence[str]], Floats]:
    """The probabilities of a labeler, or of the one that caches wrap.

    Raises:
        ConfigError: it has none.
    """
    inner = labeler
    while not isinstance(inner, ProbabilisticLabeler):
        if not hasattr(inner, "inner"):
            raise ConfigError(
                f"soft: labeler {labeler.identity} gives no probabilities; "
                "use CheXbert, or leave reward.soft out"
            )
        inner = inner.inner
    return inner.probabilities
