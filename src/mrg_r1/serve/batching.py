"""Single calls in, batches to a worker, answers back to whoever still waits."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Busy(Exception):
    """As many items wait as may."""


class WorkFailed(Exception):
    """The work raised; the message is the kind of its error, never a text."""


@dataclass
class Tally:
    """What a batcher has done since it was made."""

    items: int = 0
    batches: int = 0
    refused: int = 0
    failed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Job(Generic[Item, Result]):
    items: Sequence[Item]
    answer: asyncio.Future[list[Result]]


class Batcher(Generic[Item, Result]):
    """Coalesces calls: while one batch is worked on, the next one gathers.

    No call waits for others to come: alone, it is a batch of one. Work runs in one thread,
    since a labeler or a model reads one batch at a time. Whoever cancels an answer leaves the
    queue.

    Args:
        work: gives the results of a batch, in order.
        waiting: how many items may wait before calls are refused.
        batch: how many items are worked on at once, unless one call has more.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        waiting: int = 4096,
        batch: int = 256,
    ) -> None:
        self.work = work
        self.limit = waiting
        self.batch = batch
        self.tally = Tally()
        self._jobs: deque[_Job[Item, Result]] = deque()
        self._called = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batcher")

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return sum(len(job.items) for job in self._jobs if not job.answer.done())

    def submit(self, items: Sequence[Item]) -> asyncio.Future[list[Result]]:
        """The results to come, in order; cancel it to leave.

        The future raises WorkFailed where the work raised on these items.

        Raises:
            Busy: too many items wait already.
        """
        if self.waiting + len(items) > self.limit:
            self.tally.refused += 1
            raise Busy
        answer: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self._jobs.append(_Job(items, answer))
        self._called.set()
        return answer

    async def run(self) -> None:
        """Works on what is called for, until it is cancelled."""
        while True:
            await self._called.wait()
            self._called.clear()
            while jobs := self._take():
                await self._answer(jobs)

    def _take(self) -> list[_Job[Item, Result]]:
        """The next jobs that fit into a batch, at least one if any waits."""
        jobs: list[_Job[Item, Result]] = []
        size = 0
        while self._jobs and (not jobs or size + len(self._jobs[0].items) <= self.batch):
            job = self._jobs.popleft()
            if not job.answer.done():  # whoever asked may have gone
                jobs.append(job)
                size += len(job.items)
        return jobs

    async def _answer(self, jobs: Sequence[_Job[Item, Result]]) -> None:
        try:
            results = await self._results(jobs)
        except Exception as error:
            if len(jobs) > 1:  # one job must not spoil the others'
                for job in jobs:
                    await self._answer([job])
                return
            self.tally.failed += 1
            if not jobs[0].answer.done():
                jobs[0].answer.set_exception(WorkFailed(type(error).__name__))
            return
        for job in jobs:
            size = len(job.items)
            if not job.answer.done():
                job.answer.set_result(list(results[:size]))
            results = results[size:]

    async def _results(self, jobs: Sequence[_Job[Item, Result]]) -> Sequence[Result]:
        items = [item for job in jobs for item in job.items]
        start = time.perf_counter()
        loop: Any = asyncio.get_running_loop()
        results = await loop.run_in_executor(self._thread, self.work, items)
        self.tally.seconds += time.perf_counter() - start
        self.tally.batches += 1
        self.tally.items += len(items)
        return results
