"""Compares two label files: how far they agree, on which reports they do not, and why.

The evidence is the rules': what they find in the text for the finding in dispute, whoever made
the labels.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrg_r1.data.label_pairs import Pair, Pairs, read_pairs
from mrg_r1.errors import ConfigError
from mrg_r1.findings import FINDINGS, Finding, Status
from mrg_r1.label import mention_document
from mrg_r1.labelers.rules import Mention, RulesLabeler
from mrg_r1.metrics.agreement import Agreement, agreements, confusion
from mrg_r1.records import replacing

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_CLAIMS = (Status.POSITIVE, Status.UNCERTAIN)
_KINDS = 12
_IN = ("p/u\nin a", "p/u\nin b")


@dataclass(frozen=True, slots=True)
class Difference:
    """A report of which two files say something else of a finding."""

    finding: Finding
    ours: Status
    theirs: Status
    pair: Pair


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two label files, row beside row, with the figures of their agreement."""

    pairs: Pairs
    agreements: tuple[Agreement, ...]


def compare(
    a: Path, b: Path, *, id_column: str | None = None, column: str = "report"
) -> Comparison:
    """Compares two label files; see `read_pairs` for how their rows are paired.

    Raises:
        DataError: as for `read_pairs`.
    """
    pairs = read_pairs(a, b, id_column=id_column, column=column)
    cells = confusion([p.ours for p in pairs.rows], [p.theirs for p in pairs.rows])
    return Comparison(pairs, agreements(cells))


def remarks(pairs: Pairs, column: str) -> list[str]:
    """How the rows were paired, and what could not be looked at."""
    how = f"joined by '{pairs.joined_by}'" if pairs.joined_by else "paired by their order"
    found = [f"{len(pairs.rows):,} reports, {how}"]
    if not pairs.joined_by and not pairs.checked:
        found.append("nothing to check the order by: not both files hold ids or reports")
    if not pairs.with_reports:
        found.append(f"no evidence: neither file has a column '{column}'; name it with --column")
    if pairs.other_texts:
        found.append(
            f"{pairs.other_texts:,} reports are worded otherwise in the second file; the evidence "
            "is from the first"
        )
    return found


def differences(pairs: Sequence[Pair], finding: Finding | None = None) -> list[Difference]:
    """Where two files differ, the most frequent kind of difference first.

    Args:
        pairs: the rows of both files.
        finding: leave out all others.
    """
    found = [
        Difference(each, pair.ours[each], pair.theirs[each], pair)
        for each in (FINDINGS if finding is None else (finding,))
        for pair in pairs
        if pair.ours[each] is not pair.theirs[each]
    ]
    kinds = Counter(map(_kind, found))
    return sorted(found, key=lambda d: (-kinds[_kind(d)], FINDINGS.index(d.finding), _kind(d)[1:]))


def _kind(difference: Difference) -> tuple[Finding, Status, Status]:
    return difference.finding, difference.ours, difference.theirs


def evidence(difference: Difference, labeler: RulesLabeler) -> list[Mention]:
    """What the rules find in the report for the finding in dispute, in the order of the text.

    For No Finding that is whatever keeps it blank: all that is positive or uncertain, and
    abnormalities outside the 13 findings.
    """
    mentions = labeler.mentions(difference.pair.report)
    if difference.finding is Finding.NO_FINDING:
        return [m for m in mentions if _is_abnormal(m)]
    return [m for m in mentions if m.finding is difference.finding]


def _is_abnormal(mention: Mention) -> bool:
    """Whether this mention keeps No Finding blank; a device does not."""
    claimed = mention.status in _CLAIMS and mention.finding is not Finding.SUPPORT_DEVICES
    return claimed or mention.finding is Finding.NO_FINDING


def write(out: Path, found: Sequence[Difference], labeler: RulesLabeler) -> None:
    """Writes each difference with its evidence as a line of JSON.

    A line holds `finding`, `a` and `b` (the statuses), `id` or null, `line_a` and `line_b`,
    `report` and `evidence`: mentions as `label_file` writes them.

    Raises:
        ConfigError: the file is not named as JSON lines.
    """
    if out.suffix.lower() != ".jsonl":
        raise ConfigError(f"{out}: written as JSON lines; name the file {out.stem}.jsonl")
    with replacing(out) as file:
        for difference in found:
            document = _document(difference, labeler)
            file.write(json.dumps(document, ensure_ascii=False) + "\n")


def _document(difference: Difference, labeler: RulesLabeler) -> dict[str, Any]:
    pair = difference.pair
    return {
        "finding": difference.finding.value,
        "a": difference.ours.name.lower(),
        "b": difference.theirs.name.lower(),
        "id": pair.id,
        "line_a": pair.lines[0],
        "line_b": pair.lines[1],
        "report": pair.report,
        "evidence": [mention_document(m, pair.report) for m in evidence(difference, labeler)],
    }


def summary(comparison: Comparison, found: Sequence[Difference]) -> dict[str, Any]:
    """The figures, and how often each kind of difference was found, for a program."""
    kinds = Counter(map(_kind, found))
    return {
        "n": len(comparison.pairs.rows),
        "joined_by": comparison.pairs.joined_by,
        "agreement": [dataclasses.asdict(each) for each in comparison.agreements],
        "differences": [
            {"finding": f.value, "a": a.name.lower(), "b": b.name.lower(), "n": n}
            for (f, a, b), n in kinds.items()
        ],
    }


def table(comparison: Comparison) -> Table:
    """The figures for a terminal of 80 columns; '-' where one is not known.

    F1 of positive, negative, uncertain, and of positive or uncertain (p/u), with how often
    either file says the last.
    """
    from rich.box import SIMPLE
    from rich.table import Column, Table

    names = ("differ", "equal", "kappa", "F1\npos", "F1\nneg", "F1\nunc", "F1\np/u", *_IN)
    columns = [Column(name, justify="right", no_wrap=True) for name in names]
    shown = Table("", *columns, box=SIMPLE, padding=0)
    for each in comparison.agreements:
        figures = (each.agreement, each.kappa, *each.f1.values())
        shown.add_row(
            each.over,
            f"{each.differ:,}",
            *("-" if figure is None else f"{figure:.3f}" for figure in figures),
            *(f"{count:,}" for count in each.counts["positive or uncertain"][:2]),
            end_section=each.over == FINDINGS[-1].value,
        )
    return shown


def kinds_table(found: Sequence[Difference]) -> Table:
    """The most frequent kinds of difference, and how many others there are."""
    from rich.box import SIMPLE
    from rich.table import Column, Table

    kinds = Counter(map(_kind, found))
    shown = Table(
        "where they differ", "a", "b", Column("n", justify="right"), box=SIMPLE, pad_edge=False
    )
    for (finding, ours, theirs), count in list(kinds.items())[:_KINDS]:
        shown.add_row(finding.value, ours.name.lower(), theirs.name.lower(), f"{count:,}")
    if len(kinds) > _KINDS:
        rest = sum(list(kinds.values())[_KINDS:])
        shown.add_row(f"{len(kinds) - _KINDS} other kinds", "", "", f"{rest:,}")
    return shown


def lines(difference: Difference, labeler: RulesLabeler) -> Iterator[Text]:
    """A difference for a terminal: what is in dispute, the evidence, and the report.

    The report is hostile text: what is not printable, such as an escape sequence, is shown as a
    space.
    """
    from rich.text import Text

    pair = difference.pair
    name = f"{pair.id}, " if pair.id else ""
    ours, theirs = difference.ours.name.lower(), difference.theirs.name.lower()
    place = f"{name}lines {pair.lines[0]} and {pair.lines[1]}"
    yield Text(_printable(f"{place}: {difference.finding.value} {ours} / {theirs}"), "bold")
    if not pair.report:
        return
    report = Text(_printable(pair.report))
    mentions = evidence(difference, labeler)
    for mention in mentions:
        report.stylize("bold underline", mention.start, mention.end)
        if mention.cue_span:
            report.stylize("underline", *mention.cue_span)
        yield Text(f"  {_printable(_in_words(mention, pair.report))}")
    if not mentions:
        yield Text("  the rules find no mention of it")
    yield report


def _in_words(mention: Mention, report: str) -> str:
    by = f" by '{mention.cue}'" if mention.cue else ""
    text = report[mention.start : mention.end]
    if mention.finding is Finding.NO_FINDING:
        return f"'{text}' is no normal study{by}"
    return f"{mention.finding.value} {mention.status.name.lower()}: '{text}'{by}"


def _printable(text: str) -> str:
    """The text at the same places, without characters that move a terminal's cursor."""
    return "".join(char if char.isprintable() else " " for char in text)
