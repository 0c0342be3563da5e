"""The embedded labeler: phrases, cues and their scope, in pure Python.

What is a mention, a negation or a hedge stands in `findings.toml` and `cues.toml`, which a
radiologist can read and correct; how they combine stands in `reading.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from mrg_r1.errors import ConfigError
from mrg_r1.findings import Finding, Labels, Status
from mrg_r1.labelers.rules.lexicon import PRESETS, lexicon
from mrg_r1.labelers.rules.reading import Reading, read
from mrg_r1.labelers.rules.text import fold, sentences, word_spans, words

__all__ = ["Mention", "RulesLabeler"]

VERSION = "0.2"
"""Goes up whenever a phrase, a cue or a rule changes what some report is labelled."""

_STRENGTH = {Status.BLANK: 0, Status.NEGATIVE: 1, Status.UNCERTAIN: 2, Status.POSITIVE: 3}


@dataclass(frozen=True, slots=True)
class Mention:
    """One piece of evidence: `report[start:end]` speaks of a finding.

    `cue` is the text that made it negative or uncertain (or decided on a structure), with its
    span; both are None where the bare mention decides.
    """

    finding: Finding
    status: Status
    start: int
    end: int
    cue: str | None
    cue_span: tuple[int, int] | None


class RulesLabeler:
    """Reads the 14 findings by rule; deterministic, picklable, no model and no network.

    Args:
        preset: whose conventions to follow where the two published labelers differ: 'chexbert'
            (the paper's reward) or 'chexpert' (the older rule-based standard).

    Raises:
        ConfigError: no such preset.
    """

    def __init__(self, preset: str = "chexbert") -> None:
        if preset not in PRESETS:
            nearest = difflib.get_close_matches(preset, PRESETS, n=1, cutoff=0.0)[0]
            raise ConfigError(f"rules: no preset '{preset}'; did you mean '{nearest}'?")
        self.preset = preset

    @property
    def identity(self) -> str:
        """Name and version, as signatures show it."""
        name = "rules" if self.preset == PRESETS[0] else f"rules-{self.preset}"
        return f"{name}@{VERSION}"

    def label(self, reports: Sequence[str]) -> list[Labels]:
        """Labels of each report, in order. Never raises on a report's content."""
        return [self._aggregate(self._read(report)) for report in reports]

    def mentions(self, report: str) -> list[Mention]:
        """The evidence in the order of the text, in characters of the report as given.

        A mention of No Finding is negative: an abnormality outside the 13 findings (a hernia,
        say) that keeps No Finding blank.
        """
        folded = fold(report)
        found: list[Mention] = []
        for span in sentences(report):
            spans = word_spans(folded, *span)
            readings = read(words(folded, *span), lexicon(self.preset))
            found += [_mention(r, spans, report) for r in readings if not _beside_the_point(r)]
        return found

    def _read(self, report: str) -> list[Reading]:
        known, folded = lexicon(self.preset), fold(report)
        return [r for span in sentences(report) for r in read(words(folded, *span), known)]

    def _aggregate(self, readings: list[Reading]) -> Labels:
        """Positive beats uncertain beats negative; No Finding is what is left.

        The CheXpert labeler resolves a negative beside an uncertain mention to uncertain even
        where a third mention is positive; its preset does the same.
        """
        seen: dict[Finding, set[Status]] = {}
        for reading in readings:
            seen.setdefault(reading.finding, set()).add(reading.status)
        abnormal = seen.pop(Finding.NO_FINDING, set()) - {Status.NEGATIVE}
        statuses = {
            finding: max(found, key=_STRENGTH.__getitem__) for finding, found in seen.items()
        }
        if self.preset == "chexpert":
            hedged = {Status.NEGATIVE, Status.UNCERTAIN}
            statuses |= {f: Status.UNCERTAIN for f, found in seen.items() if hedged <= found}
        if not abnormal and not any(
            status in (Status.POSITIVE, Status.UNCERTAIN)
            for finding, status in statuses.items()
            if finding is not Finding.SUPPORT_DEVICES
        ):
            statuses[Finding.NO_FINDING] = Status.POSITIVE
        return Labels.of(statuses)


def _mention(reading: Reading, spans: list[tuple[int, int]], report: str) -> Mention:
    """A reading in characters of the report."""
    start, end = _characters(reading.span, spans)
    cue = None if reading.cue is None else _characters(reading.cue, spans)
    text = None if cue is None else report[slice(*cue)]
    status = Status.NEGATIVE if reading.finding is Finding.NO_FINDING else reading.status
    return Mention(reading.finding, status, start, end, text, cue)


def _beside_the_point(reading: Reading) -> bool:
    """Whether an abnormality outside the 13 findings was denied."""
    return reading.finding is Finding.NO_FINDING and reading.status is Status.NEGATIVE


def _characters(words: tuple[int, int], spans: list[tuple[int, int]]) -> tuple[int, int]:
    return spans[words[0]][0], spans[words[1] - 1][1]
