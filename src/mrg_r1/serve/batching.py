"""Single calls in, batches to a scorer, answers back to whoever still waits."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mrg_r1.rewards.total import Scorer

Rows = list[dict[str, float]]


class Busy(Exception):
    """As many samples wait as may."""


class ScoringFailed(Exception):
    """The scorer raised; the message is the kind of its error, never a text."""


@dataclass
class Tally:
    """What a batcher has done since it was made."""

    samples: int = 0
    batches: int = 0
    refused: int = 0
    failed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    completions: Sequence[str]
    references: Sequence[str]
    answer: asyncio.Future[Rows]


class Batcher:
    """Coalesces calls: while one batch is scored, the next one gathers.

    No call waits for others to come: alone, it is a batch of one. Scoring runs in one thread,
    since a labeler reads one batch at a time.

    Args:
        scorer: gives the rewards of a batch.
        waiting: how many samples may wait before calls are refused.
        batch: how many samples are scored at once, unless one call has more.
    """

    def __init__(self, scorer: Scorer, *, waiting: int = 4096, batch: int = 256) -> None:
        self.scorer = scorer
        self.limit = waiting
        self.batch = batch
        self.waiting = 0
        self.tally = Tally()
        self._jobs: deque[_Job] = deque()
        self._called = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")

    async def score(self, completions: Sequence[str], references: Sequence[str]) -> Rows:
        """The components of each completion, in order.

        Raises:
            Busy: too many samples wait already.
            ScoringFailed: the scorer raised on these samples.
        """
        if self.waiting + len(completions) > self.limit:
            self.tally.refused += 1
            raise Busy
        answer: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        self._jobs.append(_Job(completions, references, answer))
        self.waiting += len(completions)
        self._called.set()
        return await answer

    async def run(self) -> None:
        """Scores what is called for, until it is cancelled."""
        while True:
            await self._called.wait()
            self._called.clear()
            while self._jobs:
                jobs = self._take()
                self.waiting -= sum(len(job.completions) for job in jobs)
                await self._answer(jobs)

    def _take(self) -> list[_Job]:
        """The next jobs that fit into a batch, at least one."""
        jobs = [self._jobs.popleft()]
        size = len(jobs[0].completions)
        while self._jobs and size + len(self._jobs[0].completions) <= self.batch:
            jobs.append(self._jobs.popleft())
            size += len(jobs[-1].completions)
        return jobs

    async def _answer(self, jobs: Sequence[_Job]) -> None:
        try:
            rows = await self._rows(jobs)
        except Exception as error:
            if len(jobs) > 1:  # one job must not spoil the others'
                for job in jobs:
                    await self._answer([job])
                return
            self.tally.failed += 1
            if not jobs[0].answer.done():
                jobs[0].answer.set_exception(ScoringFailed(type(error).__name__))
            return
        for job in jobs:
            size = len(job.completions)
            if not job.answer.done():  # whoever asked may have gone
                job.answer.set_result(rows[:size])
            rows = rows[size:]

    async def _rows(self, jobs: Sequence[_Job]) -> Rows:
        completions = [text for job in jobs for text in job.completions]
        references = [text for job in jobs for text in job.references]
        start = time.perf_counter()
        loop = asyncio.get_running_loop()
        rows = await loop.run_in_executor(
            self._thread, self.scorer.components, completions, references
        )
        self.tally.seconds += time.perf_counter() - start
        self.tally.batches += 1
        self.tally.samples += len(rows)
        return rows
