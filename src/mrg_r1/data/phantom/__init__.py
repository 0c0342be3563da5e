"""Drawn chest radiographs with reports: the data set that comes with the program.

Every study is drawn from geometry and worded by a grammar, so that what it shows and what its
report says of each finding are known by construction. See `draw`.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mrg_r1.data.phantom.cases import Case, sample_case
from mrg_r1.data.phantom.raster import Map
from mrg_r1.data.phantom.signs import render
from mrg_r1.data.phantom.wording import Report, write
from mrg_r1.data.study import Position, Studies, Study, View
from mrg_r1.errors import DataError
from mrg_r1.findings import Finding, Labels, Status
from mrg_r1.records import read_json, read_jsonl, write_json, write_jsonl

DRAWING = 5
"""Raised whenever the same seed would give other images or reports."""

_SPLITS = ("train", "val", "test")
_DONE, _STUDIES = "settings.json", "studies.jsonl"
_BATCH = 50
_MANY = 400
"""From this many studies on, two processes draw: below, starting them takes longer."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A drawn study; a line of `studies.jsonl`.

    `statuses` holds what the findings section says, by finding, blank ones left out; `signs` what
    was drawn: finding, severity in (0, 1], the patient's side, zone and kind.
    """

    id: str
    split: str
    findings: str
    impression: str
    indication: str
    frontal: str
    lateral: str
    statuses: dict[str, str]
    signs: tuple[dict[str, Any], ...]


def draw(
    directory: Path,
    *,
    train: int,
    val: int,
    test: int,
    seed: int = 0,
    size: int = 128,
    on_progress: Callable[[int, int], None] | None = None,
) -> Studies:
    """Draws studies into a directory, or reads them back where they were drawn before.

    Study i of a split depends on the seed, the split and i alone. Large counts are drawn by two
    processes. A drawing that was interrupted is started again.

    Args:
        directory: receives `images/`, `studies.jsonl` and, once all is there, `settings.json`.
        train: number of training studies; `val` and `test` likewise.
        val: number of validation studies.
        test: number of test studies.
        seed: another seed, other patients.
        size: height and width of the images in pixels, 64 or more.
        on_progress: called with studies done and studies in all.

    Raises:
        DataError: the directory holds a drawing with other settings, or a number is out of range.
    """
    counts = {"train": train, "val": val, "test": test}
    settings = {"drawing": DRAWING, **counts, "seed": seed, "size": size}
    if min(counts.values()) < 0 or sum(counts.values()) == 0 or size < 64 or seed < 0:
        raise DataError(
            f"phantom: cannot draw {settings}; ask for one study or more, "
            "a size of 64 or more and a seed of 0 or more"
        )
    if (directory / _DONE).exists():
        _check_same(directory, settings)
        return read(directory)
    try:
        (directory / "images").mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise DataError(f"{directory}: a file; name a directory to draw into") from None
    drawn: list[Drawn] = []
    for batch in _in_order(partial(_draw_batch, directory, seed, size), _batches(counts)):
        drawn += batch
        if on_progress:
            on_progress(len(drawn), sum(counts.values()))
    write_jsonl(directory / _STUDIES, drawn)
    write_json(directory / _DONE, settings)
    return read(directory)


def read(directory: Path) -> Studies:
    """The studies drawn into a directory.

    Raises:
        DataError: nothing was drawn there, or the drawing was interrupted.
    """
    return Studies(
        tuple(
            Study(
                id=drawn.id,
                views=(
                    View(directory / drawn.frontal, Position.FRONTAL),
                    View(directory / drawn.lateral, Position.LATERAL),
                ),
                split=drawn.split,
                findings=drawn.findings,
                impression=drawn.impression,
                indication=drawn.indication,
                patient=drawn.id,
            )
            for drawn in read_drawn(directory)
        )
    )


def truth(directory: Path) -> dict[str, Labels]:
    """What the findings section of each study says by construction, by study id."""
    return {
        drawn.id: Labels.of(
            {Finding(name): Status[status.upper()] for name, status in drawn.statuses.items()}
        )
        for drawn in read_drawn(directory)
    }


def read_drawn(directory: Path) -> list[Drawn]:
    """The lines of `studies.jsonl`, with what was drawn and what was written.

    Raises:
        DataError: nothing was drawn there, or the drawing was interrupted.
    """
    if not (directory / _DONE).exists():
        raise DataError(
            f"{directory}: no finished drawing; type 'mrg-r1 data phantom --root {directory}'"
        )
    return read_jsonl(directory / _STUDIES, Drawn)


def draw_study(seed: int, split: str, index: int, size: int) -> tuple[Drawn, Map, Map]:
    """Study `index` of a split, and its frontal and lateral view: (size, size), in [0, 1]."""
    case, report = _told(seed, split, index)
    name = f"{split}-{index:05d}"
    drawn = Drawn(
        id=name,
        split=split,
        findings=report.findings,
        impression=report.impression,
        indication=report.indication,
        frontal=f"images/{name}-frontal.png",
        lateral=f"images/{name}-lateral.png",
        statuses={
            finding.value: status.name.lower()
            for finding, status in report.labels.items()
            if status
        },
        signs=tuple(
            {**asdict(sign), "finding": sign.finding.value, "severity": round(sign.severity, 3)}
            for sign in case.signs
        ),
    )
    return drawn, *render(case, size)


def told(seed: int, split: str, n: int) -> Studies:
    """The studies that `draw` would make of a split, with their reports and without images."""
    reports = [_told(seed, split, index)[1] for index in range(n)]
    return Studies(
        tuple(
            Study(
                id=f"{split}-{index:05d}",
                views=(),
                split=split,
                findings=report.findings,
                impression=report.impression,
                indication=report.indication,
            )
            for index, report in enumerate(reports)
        )
    )


def _told(seed: int, split: str, index: int) -> tuple[Case, Report]:
    """What a study shows and what is said of it, each from random numbers of its own."""
    stream = np.random.SeedSequence((seed, _SPLITS.index(split), index))
    of_case, of_report = (np.random.default_rng(child) for child in stream.spawn(2))
    case = sample_case(of_case)
    return case, write(of_report, case)


def _check_same(directory: Path, settings: dict[str, int]) -> None:
    """Refuses a directory that holds a drawing with other settings."""
    found = read_json(directory / _DONE)
    if found == settings:
        return
    other = "another kind of settings"
    if isinstance(found, dict) and settings.keys() == found.keys():
        other = ", ".join(f"{k}={found[k]} not {v}" for k, v in settings.items() if found[k] != v)
    raise DataError(
        f"{directory}: holds {other}; name another directory or type 'rm -r {directory}'"
    )


def _batches(counts: dict[str, int]) -> list[tuple[str, range]]:
    return [
        (split, range(start, min(start + _BATCH, count)))
        for split, count in counts.items()
        for start in range(0, count, _BATCH)
    ]


def _draw_batch(directory: Path, seed: int, size: int, batch: tuple[str, range]) -> list[Drawn]:
    split, indices = batch
    lines: list[Drawn] = []
    for index in indices:
        drawn, frontal, lateral = draw_study(seed, split, index, size)
        for path, view in ((drawn.frontal, frontal), (drawn.lateral, lateral)):
            grey = (view * 255 + 0.5).astype(np.uint8)
            # Huffman coding alone: on noise the rest of zlib takes long and gains nothing.
            Image.fromarray(grey).save(directory / path, compress_level=1, compress_type=2)
        lines.append(drawn)
    return lines


def _in_order(
    work: Callable[[tuple[str, range]], list[Drawn]], batches: list[tuple[str, range]]
) -> Iterator[list[Drawn]]:
    """The batches' results in order, from two processes when there are many."""
    if sum(len(indices) for _, indices in batches) < _MANY:
        yield from map(work, batches)
        return
    # Spawned, not forked: the caller may hold torch's threads.
    spawn = multiprocessing.get_context("spawn")
    with _one_thread_each(), ProcessPoolExecutor(2, mp_context=spawn) as pool:
        yield from pool.map(work, batches)


@contextmanager
def _one_thread_each() -> Generator[None]:
    """Processes started meanwhile compute on one thread: two that each take both cores spin."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
