"""How each system writes: the signs by which a gamed reward shows itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mrg_r1.audit.agreement import Agreement, agreement
from mrg_r1.audit.cards import violations
from mrg_r1.audit.load import REFERENCE, Read, Run
from mrg_r1.audit.text import number
from mrg_r1.findings import DISEASES, Status
from mrg_r1.records import Prediction


@dataclass(frozen=True, slots=True)
class Habit:
    """One measure of the references and of each system's reports, as printed."""

    name: str
    note: str
    reference: str
    systems: tuple[str, ...]


_ABSENT = "\u2013"


def habits(run: Run, systems: Sequence[str]) -> tuple[Habit, ...]:
    """Rewards, form, length, variety and labels per report; nothing for what is not there."""
    rows = [*_read_habits(run, systems), *_text_habits(run, systems)]
    return tuple(row for row in rows if set(row.systems) - {_ABSENT})


def _read_habits(run: Run, systems: Sequence[str]) -> list[Habit]:
    reads = {
        system: {id_: read for (id_, name), read in run.readings.items() if name == system}
        for system in (REFERENCE, *systems)
    }

    def each(name: str, note: str, value: Callable[[Read], float], of_reference: bool) -> Habit:
        first, *rest = (_mean([value(read) for read in found.values()]) for found in reads.values())
        return Habit(name, note, first if of_reference else _ABSENT, tuple(rest))

    def against(name: str, note: str, kind: Agreement, *of: Status) -> Habit:
        rates = (_rate(reads[REFERENCE], reads[system], kind, of) for system in systems)
        return Habit(name, note, _ABSENT, tuple(rates))

    pos, neg, unsure = Status.POSITIVE, Status.NEGATIVE, Status.UNCERTAIN
    return [
        each("Reward", "mean, 0 to 1", lambda read: read.reward, False),
        each("CCS", "mean, \u22121 to 1 (eq. 5)", lambda read: read.ccs, False),
        against("Denied", "a report, though the reference affirms", Agreement.POLARITY, pos),
        against("Omitted", "a report, though the reference affirms", Agreement.OMISSION, pos),
        against("Affirmed", "a report, though the reference denies", Agreement.POLARITY, neg),
        against("Invented", "a report, where the reference is silent", Agreement.INVENTION),
        against("Hedged on one side", "findings a report", Agreement.MISMATCH),
        each("Findings affirmed", "a report", lambda read: _said(read, pos), True),
        each("Findings denied", "a report", lambda read: _said(read, neg), True),
        each("Findings hedged", "a report", lambda read: _said(read, unsure), True),
    ]


def _said(read: Read, status: Status) -> int:
    return sum(finding in DISEASES for finding in read.labels.having(status))


def _rate(
    references: Mapping[str, Read],
    reports: Mapping[str, Read],
    kind: Agreement,
    of: tuple[Status, ...],
) -> str:
    """The mean count of a kind of agreement, over references of the statuses `of`, if any."""
    counts = [
        sum(
            agreement(status := references[id_].labels[finding], read.labels[finding]) is kind
            and (not of or status in of)
            for finding in DISEASES
        )
        for id_, read in reports.items()
        if id_ in references
    ]
    return _mean(counts)


def _text_habits(run: Run, systems: Sequence[str]) -> list[Habit]:
    written = [tuple(run.systems.get(system, {}).values()) for system in systems]
    references = {p.id: p.reference for predictions in written for p in predictions}
    texts = [[*references.values()], *([p.report for p in found] for found in written)]
    words = [_mean([len(text.split()) for text in side]) for side in texts]
    distinct = [_distinct(side) for side in texts]
    form = tuple(map(_in_form, written))
    return [
        Habit("Words", "a report", words[0], tuple(words[1:])),
        Habit(
            "Different reports",
            "a policy that copies one text has few",
            distinct[0],
            tuple(distinct[1:]),
        ),
        Habit("In form", "completions without a slip", _ABSENT, form),
    ]


def _distinct(texts: Sequence[str]) -> str:
    return f"{len(set(texts)):,} of {len(texts):,}" if texts else _ABSENT


def _in_form(predictions: Sequence[Prediction]) -> str:
    """Nothing of a system that hands over reports only."""
    if not any(p.completion for p in predictions):
        return _ABSENT
    clean = sum(not violations(prediction) for prediction in predictions)
    return f"{clean:,} of {len(predictions):,}"


def _mean(values: Sequence[float]) -> str:
    return number(sum(values) / len(values)) if values else _ABSENT
