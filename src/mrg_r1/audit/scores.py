"""The evaluation as tables: CE scores by variant, other scores, counts per finding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mrg_r1.audit.load import REFERENCE, SRL, START, Read
from mrg_r1.findings import DISEASES, Finding, Status
from mrg_r1.records import Evaluation, FindingScore, Score, SystemScores

LABEL_SETS = {"14": "14 observations", "13": "13 findings", "5": "5 findings"}
AVERAGES = {"micro": "Micro", "macro": "Macro", "weighted": "Weighted", "example": "By example"}
MAPPINGS = {"positive": "as positive", "negative": "as negative"}
METRICS = {
    "ccs": "mean agreement of findings, \u22121 to 1 (eq. 5)",
    "mccs": "the same above the margin, 0 to 1 (eq. 6)",
    "positive_rate": "findings affirmed a report",
    "polarity_errors": "findings a report that say the opposite",
    "omissions": "findings a report that it leaves out",
    "inventions": "findings a report that the reference leaves out",
    "format": "share of completions in form",
    "distinct": "share of different reports",
}
NAMES = {START: "Before", SRL: "After"}

_TAKEN = ("random-train", "nearest-train")
"""Baselines that hand over a training report."""

_CE = ("ce_precision", "ce_recall", "ce_f1")


@dataclass(frozen=True, slots=True)
class Row:
    """Precision, recall and F1 of one system; `kind` is start, srl, other or baseline."""

    system: str
    kind: str
    n: int
    precision: Score | None
    recall: Score | None
    f1: Score | None


@dataclass(frozen=True, slots=True)
class Variant:
    """The CE scores of all systems under one averaging, label set and uncertain mapping."""

    average: str
    labels: str
    uncertain: str
    rows: tuple[Row, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """Averaging, label set and uncertain mapping, as signatures write them."""
        return self.average, self.labels, self.uncertain


@dataclass(frozen=True, slots=True)
class Choices:
    """What the reader can select from, in order, and what is selected at first."""

    average: tuple[str, ...]
    labels: tuple[str, ...]
    uncertain: tuple[str, ...]
    default: tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class OtherRow:
    """A metric that is not CE, under one signature, for each system that has it."""

    metric: str
    signature: str
    scores: tuple[Score | None, ...]


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One finding before and after; `denied` counts positives under which the report says no."""

    finding: str
    before: FindingScore | None
    after: FindingScore | None
    denied_before: int | None
    denied_after: int | None

    @property
    def change(self) -> float | None:
        """After minus before, of F1; None where either is 0/0 or not there."""
        if self.before is None or self.after is None:
            return None
        if not (defined(self.before) and defined(self.after)):
            return None
        return self.after.f1 - self.before.f1


def parse_signature(signature: str) -> dict[str, str]:
    """A signature's keys and values; parts without a colon are left out."""
    parts = (part.partition(":") for part in signature.split("|"))
    return {key: value for key, separator, value in parts if separator}


def kind(system: str) -> str:
    """The role of a system: start, srl, other, or a baseline, which did not learn from it."""
    if system in NAMES:
        return system
    return "baseline" if is_constant(system) or system in _TAKEN else "other"


def is_constant(system: str) -> bool:
    """Whether a system is a constant report, as `evaluate` names them."""
    return system.startswith("constant-")


def in_order(evaluation: Evaluation) -> list[SystemScores]:
    """Before, after, other systems, then the baselines; otherwise as evaluated."""
    ranks = {START: 0, SRL: 1, "other": 2, "baseline": 3}
    return sorted(evaluation.systems, key=lambda system: ranks[kind(system.name)])


def ce_variants(evaluation: Evaluation) -> tuple[Variant, ...]:
    """CE scores by averaging, label set and uncertain mapping, in the order of the choices."""
    rows: dict[tuple[str, str, str], list[Row]] = {}
    for system in in_order(evaluation):
        for signature, scores in _by_signature(system.scores).items():
            rows.setdefault(_variant_key(signature), []).append(
                Row(system.name, kind(system.name), system.n, *map(scores.get, _CE))
            )
    keys = sorted(rows, key=lambda key: (_rank(AVERAGES, key[0]), _rank(LABEL_SETS, key[1]), key))
    return tuple(Variant(*key, tuple(rows[key])) for key in keys)


def _by_signature(scores: Iterable[Score]) -> Mapping[str, Mapping[str, Score]]:
    found: dict[str, dict[str, Score]] = {}
    for score in scores:
        if score.metric in _CE:
            found.setdefault(score.signature, {})[score.metric] = score
    return found


def _variant_key(signature: str) -> tuple[str, str, str]:
    parts = parse_signature(signature)
    return parts.get("avg", ""), parts.get("labels", ""), parts.get("uncertain", "")


def _rank(known: Mapping[str, str], value: str) -> int:
    return list(known).index(value) if value in known else len(known)


def choices(variants: Sequence[Variant]) -> Choices:
    """What can be selected; micro over 13 with uncertain as positive is shown first if there."""
    keys = [variant.key for variant in variants]
    wished = ("micro", "13", "positive")
    default = max(keys, key=lambda key: sum(a == b for a, b in zip(key, wished, strict=True)))
    return Choices(
        average=tuple(dict.fromkeys(key[0] for key in keys)),
        labels=tuple(dict.fromkeys(key[1] for key in keys)),
        uncertain=tuple(sorted({key[2] for key in keys}, reverse=True)),
        default=default,
    )


def other_scores(evaluation: Evaluation) -> tuple[tuple[str, ...], tuple[OtherRow, ...]]:
    """System names, and every score that is not CE in one row per metric and signature."""
    systems = in_order(evaluation)
    found: dict[tuple[str, str], dict[str, Score]] = {}
    for system in systems:
        for score in system.scores:
            if score.metric not in _CE:
                found.setdefault((score.metric, score.signature), {})[system.name] = score
    names = tuple(system.name for system in systems)
    rows = tuple(OtherRow(*key, tuple(map(scores.get, names))) for key, scores in found.items())
    return names, rows


def finding_rows(
    evaluation: Evaluation, readings: Mapping[tuple[str, str], Read]
) -> tuple[FindingRow, ...]:
    """The findings in CheXbert's order, with counts and F1 before and after."""
    counts = {
        system.name: {score.finding: score for score in system.findings}
        for system in evaluation.systems
    }
    before, after = counts.get(START, {}), counts.get(SRL, {})
    return tuple(
        FindingRow(
            finding=finding.value,
            before=before.get(finding.value),
            after=after.get(finding.value),
            denied_before=denials(readings, START, finding),
            denied_after=denials(readings, SRL, finding),
        )
        for finding in Finding
        if finding.value in before.keys() | after.keys()
    )


def defined(score: FindingScore) -> bool:
    """Whether F1 is not 0/0: a reference or a report has the finding."""
    return score.tp + score.fp + score.fn > 0


def counted_mapping(evaluation: Evaluation, readings: Mapping[tuple[str, str], Read]) -> str:
    """What uncertain counted as in the counts per finding, found by counting again; else ''."""
    counted = {
        (system.name, score.finding): (score.tp, score.fp, score.fn)
        for system in evaluation.systems
        for score in system.findings
        if system.name in NAMES
    }
    mappings = {
        "positive": {Status.POSITIVE, Status.UNCERTAIN},
        "negative": {Status.POSITIVE},
    }
    for name, claims in mappings.items():
        again = {
            (system, finding): _counts(readings, system, Finding(finding), claims)
            for system, finding in counted
        }
        if counted and counted == again:
            return name
    return ""


def _counts(
    readings: Mapping[tuple[str, str], Read], system: str, finding: Finding, claims: set[Status]
) -> tuple[int, int, int]:
    """True positives, false positives and false negatives."""
    cells = [
        (reference.labels[finding] in claims, read.labels[finding] in claims)
        for (id_, name), read in readings.items()
        if name == system and (reference := readings.get((id_, REFERENCE)))
    ]
    return cells.count((True, True)), cells.count((False, True)), cells.count((True, False))


def denials(
    readings: Mapping[tuple[str, str], Read], system: str, *findings: Finding
) -> int | None:
    """How often a report says no where its reference says yes; None without readings."""
    pairs = [
        (readings[id_, REFERENCE].labels, read.labels)
        for (id_, name), read in readings.items()
        if name == system and (id_, REFERENCE) in readings
    ]
    if not pairs:
        return None
    return sum(
        reference[finding] is Status.POSITIVE and report[finding] is Status.NEGATIVE
        for reference, report in pairs
        for finding in findings or DISEASES
    )
