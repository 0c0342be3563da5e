"""The run in a few plain sentences, each computed from its numbers and none beyond them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mrg_r1.audit.load import REFERENCE, SRL, START, Read, Run
from mrg_r1.audit.scores import (
    AVERAGES,
    LABEL_SETS,
    NAMES,
    Row,
    Variant,
    ce_variants,
    choices,
    denials,
    is_constant,
)
from mrg_r1.audit.text import count, number
from mrg_r1.findings import DISEASES, Finding, Status
from mrg_r1.records import Score


@dataclass(frozen=True, slots=True)
class Verdict:
    """A headline with its tone (rose, fell, unclear or none), what qualifies it, its signature."""

    tone: str
    headline: str
    sentences: tuple[str, ...]
    signature: str


def judge(run: Run) -> Verdict:
    """What the run's scores say; says so where they do not allow a comparison."""
    denied = _denial_sentences(run.readings)
    variants = ce_variants(run.evaluation)
    if not variants:
        return Verdict("none", "This run has no CE scores yet.", denied, "")
    default = choices(variants).default
    variant = next(variant for variant in variants if variant.key == default)
    before = _f1(variant, START)
    after = _f1(variant, SRL, before)
    if before is None or after is None:
        return _half(variant, before, after, denied)
    if before.signature != after.signature:
        return Verdict(
            "none",
            "Before and after were scored under different signatures, so they are not compared.",
            (f"Before: {before.signature}.", f"After: {after.signature}.", *denied),
            "",
        )
    return _compared(variant, before, after, denied)


def _f1(variant: Variant, system: str, like: Score | None = None) -> Score | None:
    """A system's F1, if it has several the one with the signature of `like`."""
    found = [row.f1 for row in variant.rows if row.system == system and row.f1]
    alike = [score for score in found if like and score.signature == like.signature]
    return next(iter(alike or found), None)


def _half(
    variant: Variant, before: Score | None, after: Score | None, denied: tuple[str, ...]
) -> Verdict:
    score, there, absent = (before, START, SRL) if before else (after, SRL, START)
    if score is None:
        return Verdict("none", "Neither before nor after is scored yet.", denied, "")
    there, absent = NAMES[there].lower(), NAMES[absent].lower()
    name = variant_name(variant)
    headline = f"{name} {there} SRL is {interval(score)}; there is no score {absent} it yet."
    return Verdict("none", headline, denied, score.signature)


def _compared(variant: Variant, before: Score, after: Score, denied: tuple[str, ...]) -> Verdict:
    apart = before.high < after.low or after.high < before.low
    tone = "unclear" if not apart else "rose" if after.value > before.value else "fell"
    verb = {"rose": "rose", "fell": "fell", "unclear": "went"}[tone]
    headline = f"{variant_name(variant)} {verb} from {interval(before)} to {interval(after)}."
    overlap = (
        "The 95 % intervals do not overlap."
        if apart
        else "The 95 % intervals overlap: this run alone does not show a change."
    )
    constant = _constant_sentence(variant, after)
    return Verdict(tone, headline, (overlap, *constant, *denied), after.signature)


def _constant_sentence(variant: Variant, after: Score) -> tuple[str, ...]:
    """How the best constant report compares, for a score without it says little."""
    rows = [row for row in variant.rows if is_constant(row.system) and _same(row, after)]
    if not rows:
        return ("No constant report was scored under this signature to compare with.",)
    name, best = max(((row.system, row.f1) for row in rows if row.f1), key=lambda x: x[1].value)
    relation = (
        "no less than the trained policy"
        if best.value >= after.value
        else "with an interval that overlaps the trained policy's"
        if best.high >= after.low
        else "below the trained policy"
    )
    return (f"The best constant report ({name}) scores {interval(best)}, {relation}.",)


def _same(row: Row, score: Score) -> bool:
    return row.f1 is not None and row.f1.signature == score.signature


def _denial_sentences(readings: Mapping[tuple[str, str], Read]) -> tuple[str, ...]:
    """How often reports say no where the reference says yes, and where that changed most."""
    before, after = denials(readings, START), denials(readings, SRL)
    if before is None or after is None:
        return ()
    positives = sum(
        len([f for f in read.labels.having(Status.POSITIVE) if f in DISEASES])
        for (_, system), read in readings.items()
        if system == REFERENCE
    )
    whole = (
        f"Of {count(positives, 'finding')} that the references affirm, "
        f"the reports deny {before:,} before and {after:,} after."
    )
    changes = {f: _change(readings, f) for f in DISEASES}
    most = max(changes, key=lambda finding: abs(changes[finding]))
    if changes[most] == 0:
        return (whole,)
    then, now = denials(readings, START, most) or 0, denials(readings, SRL, most) or 0
    times = f"{count(then, 'time')} before, {now:,} after"
    return (whole, f"The largest change is in {most.value}: denied {times}.")


def _change(readings: Mapping[tuple[str, str], Read], finding: Finding) -> int:
    return (denials(readings, SRL, finding) or 0) - (denials(readings, START, finding) or 0)


def variant_name(variant: Variant) -> str:
    """'Micro-F1 over 13 findings', as far as the signature says."""
    average = AVERAGES.get(variant.average, variant.average)
    name = "Example-based F1" if variant.average == "example" else f"{average}-F1".lstrip("-")
    if not variant.labels:
        return name
    return f"{name} over {LABEL_SETS.get(variant.labels, variant.labels + ' labels')}"


def interval(score: Score) -> str:
    """A score with its 95 % interval: .48 [.45, .51]."""
    return f"{number(score.value)} [{number(score.low)}, {number(score.high)}]"
