"""Systems set side by side in a few plain sentences, each computed from their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mrg_r1.audit.load import Run
from mrg_r1.audit.scores import Variant, ce_variants, choices, in_order, kind
from mrg_r1.audit.text import number, signed
from mrg_r1.audit.verdict import Verdict, interval, variant_name
from mrg_r1.records import Difference, FindingScore, Score

_MOST = 4
"""Systems named in the headline and compared in words; the tables have all."""


def judge_comparison(run: Run) -> Verdict:
    """The F1 of each system, what differs from the first, and the best baseline."""
    variants = ce_variants(run.evaluation)
    if not variants:
        return Verdict("none", "There are no CE scores to compare.", (), "")
    default = choices(variants).default
    variant = next(variant for variant in variants if variant.key == default)
    ours = [(r.system, r.f1) for r in variant.rows if r.kind != "baseline" and r.f1]
    theirs = [(r.system, r.f1) for r in variant.rows if r.kind == "baseline" and r.f1]
    if not ours:
        return Verdict("none", "No system is scored under this variant.", (), "")
    named = [f"{system} {interval(score)}" for system, score in ours[:_MOST]]
    rest = f", and {len(ours) - _MOST} more below" if len(ours) > _MOST else ""
    signatures = dict.fromkeys(score.signature for _, score in ours)
    return Verdict(
        tone="none",
        headline=f"{variant_name(variant)}: {', '.join(named)}{rest}.",
        sentences=(*_differences(run, variant), *_baseline(ours, theirs)),
        signature=next(iter(signatures)) if len(signatures) == 1 else "",
    )


def _differences(run: Run, variant: Variant) -> list[str]:
    signatures = {row.system: row.f1.signature for row in variant.rows if row.f1}
    found = [
        (system.name, difference)
        for system in in_order(run.evaluation)
        if kind(system.name) != "baseline"
        for difference in system.differences
        if difference.metric == "ce_f1" and difference.signature == signatures.get(system.name)
    ]
    return [_difference(name, difference) for name, difference in found[:_MOST]]


def _difference(name: str, found: Difference) -> str:
    sure = found.p < 0.05 and (found.low > 0 or found.high < 0)
    verb = "differs from" if sure else "is not told apart from"
    return (
        f"{name} {verb} {found.baseline}: {signed(found.value)} "
        f"[{signed(found.low)}, {signed(found.high)}], p {number(found.p, 3)}, on the same samples."
    )


def _baseline(
    ours: Sequence[tuple[str, Score]], theirs: Sequence[tuple[str, Score]]
) -> tuple[str, ...]:
    """The best report made without a look at the image, for a score says little without it."""
    alike = {score.signature for _, score in ours}
    same = [(name, score) for name, score in theirs if score.signature in alike]
    if not same:
        return ("No baseline was scored under this signature to compare with.",)
    name, best = max(same, key=lambda row: row[1].value)
    below = [system for system, score in ours if score.value <= best.value]
    relation = f"; {', '.join(below)} no more" if below else ""
    return (f"The best of the baselines, {name}, scores {interval(best)}{relation}.",)


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One finding in every system of the evaluation, in the order of its tables."""

    finding: str
    scores: tuple[FindingScore | None, ...]

    @property
    def in_references(self) -> int:
        """References that affirm it, as the counts have it."""
        return next((score.tp + score.fn for score in self.scores if score), 0)


def compared_findings(run: Run) -> tuple[FindingRow, ...]:
    """Counts and rates of each finding that the evaluation has, for all systems."""
    counts = [
        {score.finding: score for score in system.findings} for system in in_order(run.evaluation)
    ]
    names = dict.fromkeys(name for found in counts for name in found)
    return tuple(FindingRow(name, tuple(found.get(name) for found in counts)) for name in names)
