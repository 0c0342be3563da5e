"""OpenRLHF: a file with `reward_func`, given by `--reward.remote_url FILE.py`.

The reference is the row's `--data.label_key`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mrg_r1.errors import DataError
from mrg_r1.rewards.total import TOTAL, Scorer, TotalReward

_END = re.compile(r"(?:\s*(?:<\|[^<>|]*\|>|</s>|<eos>|<end_of_turn>))+\s*\Z")
"""Tokens that end a turn: queries are decoded with them."""

_TAILS = (64, 32, 16)
"""How much of a prompt's end is looked for, in characters, where images make the rest longer."""


def make(scorer: Scorer) -> Callable[..., dict[str, Any]]:
    """The function that OpenRLHF calls, once a sample and from threads.

    'rewards' is the total, 'scores' the total cut to [0, 1] for its dynamic filtering,
    'extra_logs' the components. Of one sample they are numbers, of several lists.
    """

    def reward_func(
        queries: Sequence[str], prompts: Sequence[str], labels: Sequence[str], **_: Any
    ) -> dict[str, Any]:
        completions = [completion_of(*pair) for pair in zip(queries, prompts, strict=True)]
        return answer(scorer.components(completions, list(labels)))

    return reward_func


def answer(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """What OpenRLHF takes, from the components of each completion."""
    totals = [row[TOTAL] for row in rows]
    names = [name for name in (rows[0] if rows else ()) if name != TOTAL]
    return {
        "rewards": _one_or_all(totals),
        "scores": _one_or_all([min(max(total, 0.0), 1.0) for total in totals]),
        "extra_logs": {name: _one_or_all([row[name] for row in rows]) for name in names},
    }


def completion_of(query: str, prompt: str) -> str:
    """What the policy wrote of a query, which is the decoded prompt, completion and end tokens.

    The prompt may stand there changed: cut from its beginning, or with the tokens of its images.

    Raises:
        DataError: the query does not hold the end of its prompt.
    """
    if query.startswith(prompt):
        return _END.sub("", query[len(prompt) :])
    for length in _TAILS:
        _, found, completion = query.partition(prompt[-length:])
        if found:
            return _END.sub("", completion)
    raise DataError(
        f"openrlhf: a query without the end of its prompt, '{prompt[-_TAILS[-1] :]}'; "
        "the prompt of a VLM should end with the words after its image"
    )


def _one_or_all(values: list[float]) -> float | list[float]:
    return values[0] if len(values) == 1 else values


reward_func = make(TotalReward.paper())
