"""The format reward of section III-B1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mrg_r1.completion import parse
from mrg_r1.rewards import Completion, check_lengths, texts_of


@dataclass(frozen=True)
class FormatReward:
    """Whether a completion is `<think>...</think><report>...</report>`, in [0, 1].

    1 for full compliance, 0 for any major violation; exactly one minor violation earns 0.5, two
    or more 0.25. The paper gives partial credit for minor violations and leaves open how much
    and for which: the grades are ours, the list of violations is `completion.Violation`.

    Attributes:
        prefill: what the chat template already wrote of each completion (some open `<think>`).
    """

    prefill: str = ""

    __name__ = "format"

    def __call__(
        self,
        completions: Sequence[Completion],
        reference: Sequence[str] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Rewards of the completions, in order; the references are not read.

        Raises:
            DataError: the references are not as many as the completions.
        """
        if reference is not None:
            check_lengths(completions, reference)
        return [format_score(text, prefill=self.prefill) for text in texts_of(completions)]


def format_score(completion: str, *, prefill: str = "") -> float:
    """The format reward of one raw completion: 0, 0.25, 0.5 or 1."""
    violations = parse(completion, prefill=prefill).violations
    if not all(violation.minor for violation in violations):
        return 0.0
    return {0: 1.0, 1: 0.5}.get(len(violations), 0.25)
