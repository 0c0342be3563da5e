"""How the policy writes, before and after: the signs by which a gamed reward shows itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mrg_r1.audit.agreement import Agreement, agreement
from mrg_r1.audit.load import REFERENCE, SRL, START, Read, Run
from mrg_r1.audit.studies import violations
from mrg_r1.audit.text import number
from mrg_r1.findings import DISEASES, Status
from mrg_r1.records import Prediction


@dataclass(frozen=True, slots=True)
class Habit:
    """One measure of the references, the reports before and the reports after, as printed."""

    name: str
    note: str
    reference: str
    before: str
    after: str


_ABSENT = "\u2013"


def habits(run: Run) -> tuple[Habit, ...]:
    """Rewards, form, length, variety and labels per report; nothing for what is not there."""
    rows = [*_read_habits(run), *_text_habits(run)]
    return tuple(row for row in rows if {row.before, row.after} != {_ABSENT})


def _read_habits(run: Run) -> list[Habit]:
    reads = {
        system: {id_: read for (id_, name), read in run.readings.items() if name == system}
        for system in (REFERENCE, START, SRL)
    }

    def each(name: str, note: str, value: Callable[[Read], float], of_reference: bool) -> Habit:
        means = [_mean([value(read) for read in reads[s].values()]) for s in reads]
        return Habit(name, note, means[0] if of_reference else _ABSENT, *means[1:])

    def against(name: str, note: str, kind: Agreement, *of: Status) -> Habit:
        rates = [_rate(reads[REFERENCE], reads[s], kind, of) for s in (START, SRL)]
        return Habit(name, note, _ABSENT, *rates)

    pos, neg, unsure = Status.POSITIVE, Status.NEGATIVE, Status.UNCERTAIN
    return [
        each("Reward", "mean, 0 to 1", lambda read: read.reward, False),
        each("CCS", "mean, \u22121 to 1 (eq. 5)", lambda read: read.ccs, False),
        against("Denied", "a report, though the reference affirms", Agreement.FLIPPED, pos),
        against("Missed", "a report, though the reference affirms", Agreement.MISSED, pos),
        against("Affirmed", "a report, though the reference denies", Agreement.FLIPPED, neg),
        against("Invented", "a report, where the reference is silent", Agreement.INVENTED),
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


def _text_habits(run: Run) -> list[Habit]:
    start, srl = tuple(run.start.values()), tuple(run.srl.values())
    references = [prediction.reference for prediction in srl or start]
    texts = [references, [p.report for p in start], [p.report for p in srl]]
    return [
        Habit("Words", "a report", *(_mean([len(t.split()) for t in side]) for side in texts)),
        Habit("Different reports", "a policy that copies one text has few", *map(_distinct, texts)),
        Habit("In form", "completions without a slip", _ABSENT, _in_form(start), _in_form(srl)),
    ]


def _distinct(texts: Sequence[str]) -> str:
    return f"{len(set(texts)):,} of {len(texts):,}" if texts else _ABSENT


def _in_form(predictions: Sequence[Prediction]) -> str:
    clean = sum(not violations(prediction) for prediction in predictions)
    return f"{clean:,} of {len(predictions):,}" if predictions else _ABSENT


def _mean(values: Sequence[float]) -> str:
    return number(sum(values) / len(values)) if values else _ABSENT
