"""What a run tells: a bar on a terminal, a line now and then elsewhere, and how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mrg_r1.trainers.processes import is_main

# In a log nothing bounds the width of a table; rich would assume 80 columns.
console = Console(stderr=True, width=None if sys.stderr.isatty() else 120)
"""Where a run tells; standard output is left to results."""

_PAUSE = 5.0
"""Seconds between two lines, at least: what is done at once needs no progress."""


class Report(Protocol):
    """Takes how much is done of how much, and the figures that matter now.

    The first call says where the work begins, which is not at 0 where it was resumed.
    """

    def __call__(self, done: int, total: int, figures: str = "") -> None:
        """Shows them; empty figures leave the last ones."""
        ...


def say(text: str) -> None:
    """A line on standard error, once however many processes run."""
    if is_main():
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def warn(text: str) -> None:
    """As `say`, for what a person should not overlook."""
    if is_main():
        console.print(
            f"warning: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True
        )


@contextmanager
def progress(title: str, unit: str) -> Generator[Report]:
    """Units done, time left and figures while the block runs; then the time it took."""
    began = time.monotonic()
    last = _Last(at=began)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    bar = Progress(
        *columns,
        console=console,
        transient=True,
        # Steps may take longer than the half minute over which rich would average.
        speed_estimate_period=600,
        disable=not (console.is_terminal and is_main()),
    )
    task = bar.add_task(title, total=None, figures="")

    def report(done: int, total: int, figures: str = "") -> None:
        now = time.monotonic()
        if bar.disable and last.is_due(now, done, total):
            left = (now - began) / max(done - last.first, 1) * (total - done)
            say(f"{title}: {done} of {total}, {duration(left)} left  {last.figures}".rstrip())
            last.told, last.at = done, now
        last.update(done, figures)
        bar.update(task, completed=done, total=total, figures=last.figures)

    with bar:
        yield report
    if last.done > last.first:
        took = duration(time.monotonic() - began)
        say(f"{title}: {last.done - last.first} {unit} in {took}  {last.figures}".rstrip())


@dataclass
class _Last:
    """What was reported last, and when a line last told of it."""

    at: float
    first: int = -1
    done: int = -1
    told: int = 0
    figures: str = ""

    def update(self, done: int, figures: str) -> None:
        if self.first < 0:
            self.first = self.told = done
        self.done = done
        self.figures = figures or self.figures

    def is_due(self, now: float, done: int, total: int) -> bool:
        """Whether another tenth is done, not at once; the end has a line of its own."""
        if self.first < 0 or done >= total:
            return False
        tenths = done * 10 // total - self.told * 10 // total
        return tenths > 0 and now - self.at > _PAUSE


def duration(seconds: float) -> str:
    """Seconds as people say them: '42 s', '3 min 12 s', '2 h 5 min'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
