"""Who writes the completions that a server is asked for: a policy here, or a server elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from mrg_r1.policy.asks import Ask, Written
from mrg_r1.serve.batching import Batcher

Rows = tuple[tuple[str, str, str, float], ...]
"""Metrics: name, kind, meaning and value, as `serve.http.exposition` takes them."""


class Writer(Protocol):
    """Writes completions for several who ask at once."""

    @property
    def name(self) -> str:
        """Which policy it is."""
        ...

    @property
    def waiting(self) -> int:
        """How many completions wait to be begun."""
        ...

    def submit(self, asks: Sequence[Ask]) -> asyncio.Future[list[Written]]:
        """The completions to come, in order; cancel the future to leave.

        Raises:
            Busy: too many wait already.
        """
        ...

    def problem(self, instruction: str) -> str:
        """Why these words cannot be asked; empty if they can."""
        ...

    def metrics(self) -> Rows:
        """Counters since the start."""
        ...

    async def run(self) -> None:
        """Works until it is cancelled."""
        ...


class LocalWriter:
    """A policy in this process.

    Args:
        name: which policy it is.
        answer: writes one batch; `mrg_r1.policy.answering.answer` of a policy.
        spelled: the control token of the policy that a text spells; empty if none.
        batch: how many completions are written at once.
        waiting: how many may wait.
    """

    def __init__(
        self,
        name: str,
        answer: Callable[[Sequence[Ask]], Sequence[Written]],
        *,
        spelled: Callable[[str], str] = lambda _: "",
        batch: int = 32,
        waiting: int = 128,
    ) -> None:
        self.name = name
        self._batcher = Batcher(self._answer, waiting=waiting, batch=batch)
        self._write = answer
        self._spelled = spelled
        self._tokens = 0

    @property
    def waiting(self) -> int:
        """How many completions wait to be begun."""
        return self._batcher.waiting

    def submit(self, asks: Sequence[Ask]) -> asyncio.Future[list[Written]]:
        """The completions to come, in order; cancel the future to leave.

        Raises:
            Busy: too many wait already.
        """
        answer = self._batcher.submit(asks)
        leave_with(answer, asks)
        return answer

    def problem(self, instruction: str) -> str:
        """Why these words cannot be asked; empty if they can."""
        token = self._spelled(instruction)
        return f"holds the control token {token}" if token else ""

    def metrics(self) -> Rows:
        """Counters since the start."""
        tally = self._batcher.tally
        return (
            ("completions_total", "counter", "Completions written.", tally.items),
            ("batches_total", "counter", "Batches written.", tally.batches),
            ("tokens_total", "counter", "Tokens of completions.", self._tokens),
            ("writing_seconds_total", "counter", "Seconds spent writing.", tally.seconds),
            ("refused_total", "counter", "Requests that found the queue full.", tally.refused),
            ("failed_total", "counter", "Requests the policy failed on.", tally.failed),
            ("waiting_completions", "gauge", "Completions that wait.", self.waiting),
        )

    async def run(self) -> None:
        """Works until it is cancelled."""
        await self._batcher.run()

    def _answer(self, asks: Sequence[Ask]) -> Sequence[Written]:
        written = self._write(asks)
        self._tokens += sum(row.tokens for row in written)
        return written


def leave_with(answer: asyncio.Future[list[Written]], asks: Sequence[Ask]) -> None:
    """Tells whoever writes them that nobody waits once the answer is given or cancelled."""

    def leave(_: object) -> None:
        for ask in asks:
            ask.gone.set()

    answer.add_done_callback(leave)
