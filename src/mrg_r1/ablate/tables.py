"""A grid for a terminal: scores beside the paper's, agreement with its order, and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from mrg_r1.ablate.summary import Ablation, Mean, Place, RankAgreement, Row
from mrg_r1.metrics.clinical import CE
from mrg_r1.records import Score

if TYPE_CHECKING:
    from rich.table import Table

Number = TypeVar("Number", Score, Mean)

VARIANTS = (("micro", 14), ("macro", 14), ("micro", 13), ("macro", 13))
"""Averaging and number of findings of what is shown, uncertain as positive."""


def score_table(ablation: Ablation) -> Table:
    """Precision, recall and F1 of rows and baselines, each row beside the paper's figures.

    Under a score stands its 95 % interval, or with several seeds their standard deviation. Of
    the paper's data sets, the first that the grid is compared with.
    """
    from rich.text import Text

    paper = ablation.paper(ablation.data_sets[0])
    shown = _table(
        "row", "over", "precision", "recall", "F1", *(f"paper\n{name}" for name in ["P", "R", "F1"])
    )
    for row in (*ablation.rows, *ablation.baselines):
        printed = paper.get(row.name)
        figures = (printed.precision, printed.recall, printed.f1) if printed else ()
        for number, (average, labels) in enumerate(VARIANTS):
            parts = _parts(average, labels)
            cells = [row.name if number == 0 else "", f"{average}-{labels}"]
            cells += [_cell(row, metric, parts) for metric in CE]
            cells += [f"{figure:.3f}" for figure in figures] if number == 0 else []
            shown.add_row(*map(Text, cells), end_section=number + 1 == len(VARIANTS))
    return shown


def rank_table(ablation: Ablation) -> Table:
    """How far each variant of F1 orders the rows as the paper's does (means over seeds)."""
    shown = _table("the paper's order on", "our F1", "Kendall", "Spearman")
    for data_set in ablation.data_sets:
        for number, (average, labels) in enumerate(VARIANTS):
            parts = _parts(average, labels)
            for found in ablation.rank_agreement:
                if (found.data_set, found.seed) == (data_set, None) and _has(found, parts):
                    cells = (_coefficient(found.kendall), _coefficient(found.spearman))
                    name = data_set if number == 0 else ""
                    shown.add_row(name, f"{average}-{labels}", *cells)
    return shown


def lines(ablation: Ablation) -> Iterator[str]:
    """A line per row: where its place in our order contradicts the paper's."""
    (average, labels), data_set = VARIANTS[0], ablation.data_sets[0]
    yield f"by F1 {average}-{labels}, against the paper's F1 on {data_set}:"
    for place in ablation.places:
        if place.data_set == data_set and _has(place, _parts(average, labels)):
            yield _line(place)


def remarks(ablation: Ablation) -> Iterator[str]:
    """What a reader must know who compares the figures."""
    under = "the standard deviation over seeds" if len(ablation.seeds) > 1 else "95 % intervals"
    yield (
        f"under our figures: {under}; the paper's (Table II, {ablation.data_sets[0]}) are over 14 "
        "findings, with neither averaging nor intervals named"
    )


def _line(place: Place) -> str:
    told = f"{place.row}: place {place.rank} here, {place.paper_rank} in the paper"
    if not place.above + place.below:
        return f"{told}; no other row is on the other side of it"
    for word, others in (("above", place.above), ("below", place.below)):
        if others:
            told += f"; here {word} {', '.join(others)}"
    if place.clear:
        return f"{told}; beyond the intervals: {', '.join(place.clear)}"
    return f"{told}; all within the intervals"


def _parts(average: str, labels: int) -> set[str]:
    return {f"avg:{average}", f"labels:{labels}", "uncertain:positive"}


def _has(found: Score | Mean | RankAgreement | Place, parts: set[str]) -> bool:
    return parts <= set(found.signature.split("|"))


def _cell(row: Row, metric: str, parts: set[str]) -> str:
    mean = _find(row.means, metric, parts)
    if mean.sd is not None:
        return f"{mean.value:.3f}\n± {mean.sd:.3f}"
    (only,) = row.seeds.values()
    score = _find(only.scores, metric, parts)
    low, high = (f"{bound:.3f}".replace("0.", ".", 1) for bound in (score.low, score.high))
    return f"{score.value:.3f}\n{low} {high}"


def _find(numbers: Sequence[Number], metric: str, parts: set[str]) -> Number:
    return next(found for found in numbers if found.metric == metric and _has(found, parts))


def _coefficient(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _table(*columns: str) -> Table:
    from rich.box import SIMPLE
    from rich.table import Column, Table

    rest = [Column(name, no_wrap=True) for name in columns[1:]]
    return Table(
        Column(columns[0], overflow="fold"),
        *rest,
        box=SIMPLE,
        padding=0,
    )
