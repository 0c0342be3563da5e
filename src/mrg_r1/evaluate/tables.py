"""Evaluations as tables that a person can read in a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from mrg_r1.metrics.clinical import CE
from mrg_r1.metrics.published import Published
from mrg_r1.records import Difference, Evaluation, Score

if TYPE_CHECKING:
    from rich.table import Table

Number = TypeVar("Number", Score, Difference)
Variants = Sequence[tuple[str, int]]
"""Averaging and number of findings."""

HEADLINES: Variants = (("micro", 13), ("macro", 13), ("micro", 14), ("macro", 14))
_WHOLE = ("ccs", "format", "distinct")
_WORDS = ("bleu-4", "rouge-l", "cider", "meteor")
_JUDGED = {
    "radgraph-simple": "RG simple",
    "radgraph-partial": "RG partial",
    "radgraph-complete": "RG complete",
    **{metric: metric for metric in ("ratescore", "green", "bertscore")},
}
_WRONG = {"polarity_errors": "polarity", "omissions": "omitted", "inventions": "invented"}
_COMPARED = {
    "F1 micro-13": ("ce_f1", "avg:micro", "labels:13", "uncertain:positive"),
    "F1 macro-14": ("ce_f1", "avg:macro", "labels:14", "uncertain:positive"),
    "ccs": ("ccs",),
    "bleu-4": ("bleu-4",),
}


PUBLISHED_REMARK = (
    "* in the paper's table I, run by its authors; ** quoted there. It names neither averaging nor "
    "mapping of uncertain, and its rows differ: their conventions are not those of the rows above"
)


def table(
    evaluation: Evaluation,
    variants: Variants = HEADLINES,
    uncertain: str = "positive",
    *,
    published: Sequence[Published] = (),
) -> Table:
    """Headline CE scores, CCS and form: systems beside baselines, each score above its interval.

    Args:
        evaluation: what to show.
        variants: averaging and number of findings, a line each.
        uncertain: what an uncertain finding counts as, in precision, recall and F1.
        published: rows to show below; their conventions differ, see `PUBLISHED_REMARK`.
    """
    from rich.text import Text

    shown = _table("over", "precision", "recall", "F1", *_WHOLE)
    for system in evaluation.systems:
        whole = [_find(system.scores, metric) for metric in _WHOLE]
        for row, (average, labels) in enumerate(variants):
            parts = (f"avg:{average}", f"labels:{labels}", f"uncertain:{uncertain}")
            cells = [_cell(_find(system.scores, metric, *parts)) for metric in CE]
            cells += [_cell(score) for score in whole] if row == 0 else []
            cells = [system.name if row == 0 else "", f"{average}-{labels}", *cells]
            shown.add_row(*map(Text, cells), end_section=row + 1 == len(variants))
    for row in published:
        mark = "*" if row.reproduced else "**"
        numbers = (f"{value:.3f}" for value in (row.precision, row.recall, row.f1))
        shown.add_row(f"{row.name}{mark}", "unnamed", *numbers)
    return shown


def overlap_table(evaluation: Evaluation) -> Table:
    """Word overlap, and wrong findings per report, of systems and baselines."""
    from rich.text import Text

    there = {score.metric for system in evaluation.systems for score in system.scores}
    metrics = [*(metric for metric in _WORDS if metric in there), *_WRONG]
    shown = _table(*(_WRONG.get(metric, metric) for metric in metrics))
    for system in evaluation.systems:
        cells = [_cell(_find(system.scores, metric)) for metric in metrics]
        shown.add_row(*map(Text, (system.name, *cells)))
    return shown


def judged_table(evaluation: Evaluation) -> Table | None:
    """Scores by models of other packages, with p against the row compared to; None without any."""
    from rich.text import Text

    there = {score.metric for system in evaluation.systems for score in system.scores}
    metrics = [metric for metric in _JUDGED if metric in there]
    if not metrics:
        return None
    shown = _table(*(_JUDGED[metric] for metric in metrics))
    for system in evaluation.systems:
        cells = [_cell(_find(system.scores, metric)) for metric in metrics]
        found = [_find(system.differences, metric) for metric in metrics]
        tested = [
            cell if difference is None else f"{cell}\np {difference.p:.3f}"
            for cell, difference in zip(cells, found, strict=True)
        ]
        shown.add_row(*map(Text, (system.name, *tested)))
    return shown


def difference_table(evaluation: Evaluation) -> Table | None:
    """What each row differs from the one it is compared to, with p; None without a comparison."""
    from rich.text import Text

    compared = [system for system in evaluation.systems if system.differences]
    if not compared:
        return None
    shown = _table(*_COMPARED, first=f"minus {compared[0].differences[0].baseline}")
    for system in compared:
        found = [_find(system.differences, *wanted) for wanted in _COMPARED.values()]
        shown.add_row(*map(Text, (system.name, *map(_difference_cell, found))))
    return shown


def complete_table(evaluation: Evaluation) -> Table:
    """Every score with its signature, a line each."""
    from rich.text import Text

    shown = _table("metric", "value", "low", "high", "signature")
    for system in evaluation.systems:
        for row, score in enumerate(system.scores):
            numbers = (f"{value:.4f}" for value in (score.value, score.low, score.high))
            cells = (system.name if row == 0 else "", score.metric, *numbers, score.signature)
            shown.add_row(*map(Text, cells), end_section=score is system.scores[-1])
    return shown


def _table(*columns: str, first: str = "system") -> Table:
    from rich.box import SIMPLE
    from rich.table import Column, Table

    rest = [Column(name, no_wrap=name != "signature") for name in columns]
    return Table(
        Column(first, overflow="fold"), *rest, box=SIMPLE, collapse_padding=True, pad_edge=False
    )


def _find(numbers: Sequence[Number], metric: str, *parts: str) -> Number | None:
    """The number of a metric whose signature has all these parts."""
    for found in numbers:
        if found.metric == metric and set(parts) <= set(found.signature.split("|")):
            return found
    return None


def _cell(found: Score | None) -> str:
    if found is None:
        return ""
    if found.low == found.high:
        return f"{found.value:.3f}"
    low, high = (_short(f"{bound:.3f}") for bound in (found.low, found.high))
    return f"{found.value:.3f}\n{low} {high}"


def _difference_cell(found: Difference | None) -> str:
    if found is None:
        return ""
    low, high = (_short(f"{bound:+.3f}") for bound in (found.low, found.high))
    return f"{found.value:+.3f}\n{low} {high}\np {found.p:.3f}"


def _short(number: str) -> str:
    return number.replace("0.", ".", 1)
