"""The one grammar of a completion: `<think>...</think><report>...</report>`.

Rewards, generation, serving and the audit all call `parse`. The paper (section III-B1) asks that
tags be present, ordered, balanced and non-empty; which violations count as minor is left open
there and decided here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

INSTRUCTION = (
    "Write the radiology report of this chest X-ray. First note what you see inside "
    "<think></think>, then write the report inside <report></report>."
)
"""The default prompt. The paper does not print its own; recipes can replace this one."""


class Violation(Enum):
    """What is wrong with a completion's form.

    A minor violation stands before the report and leaves one unmistakable report. Whatever
    blurs which text is the report, or where it ends, is major: a policy must never be paid for
    two answers, a tail of junk, or text without tags.
    """

    NO_THINK = "no think part"
    EMPTY_THINK = "empty think part"
    TEXT_BEFORE_THINK = "text before the think part"
    TEXT_BETWEEN = "text between think and report"
    NO_REPORT = "no report part"
    EMPTY_REPORT = "empty report part"
    UNCLOSED_REPORT = "report part not closed"
    TEXT_AFTER_REPORT = "text after the report part"
    REPEATED_TAG = "a tag occurs twice"
    WRONG_ORDER = "tags out of order or unbalanced"

    @property
    def minor(self) -> bool:
        """Whether the completion still earns partial credit (ours: the paper leaves it open)."""
        return self in _MINOR


_MINOR = frozenset(
    {
        Violation.NO_THINK,
        Violation.EMPTY_THINK,
        Violation.TEXT_BEFORE_THINK,
        Violation.TEXT_BETWEEN,
    }
)

_TAG = re.compile(r"<(/?)(think|report)>")
_ORDER = ("<think>", "</think>", "<report>", "</report>")


@dataclass(frozen=True, slots=True)
class ParsedCompletion:
    """A completion taken apart.

    `report` is empty when no text is unmistakably the report; when only its closing tag is
    missing (a completion cut by the length limit) it is the text so far.
    """

    think: str
    report: str
    violations: tuple[Violation, ...]


def render(think: str, report: str) -> str:
    """The completion that parses to these two parts without a violation."""
    return f"<think>{think}</think><report>{report}</report>"


def parse(completion: str, *, prefill: str = "") -> ParsedCompletion:
    """Takes a completion apart and names every violation of the form.

    Args:
        completion: the raw text the policy produced, any string.
        prefill: what the chat template already wrote of it (some open `<think>` themselves).
    """
    text = prefill + completion
    tags = [(m.group(), m.start(), m.end()) for m in _TAG.finditer(text)]
    names = [name for name, _, _ in tags]
    if "<report>" not in names:
        return ParsedCompletion(_between(text, tags, "think"), "", (Violation.NO_REPORT,))
    if len(set(names)) < len(names):
        return ParsedCompletion("", "", (Violation.REPEATED_TAG,))
    expected = [tag for tag in _ORDER if tag in names]
    if names != expected or ("<think>" in names) != ("</think>" in names):
        return ParsedCompletion("", "", (Violation.WRONG_ORDER,))
    return _parse_ordered(text, {name: (start, end) for name, start, end in tags})


def _parse_ordered(text: str, at: dict[str, tuple[int, int]]) -> ParsedCompletion:
    """Parses a text whose tags are unique, balanced and in order, and include `<report>`."""
    violations: list[Violation] = []
    report_start, report_open = at["<report>"]
    if "<think>" in at:
        think = text[at["<think>"][1] : at["</think>"][0]].strip()
        if _says_nothing(think):
            violations.append(Violation.EMPTY_THINK)
        if text[: at["<think>"][0]].strip():
            violations.append(Violation.TEXT_BEFORE_THINK)
        if text[at["</think>"][1] : report_start].strip():
            violations.append(Violation.TEXT_BETWEEN)
    else:
        think = ""
        violations.append(Violation.NO_THINK)
        if text[:report_start].strip():
            violations.append(Violation.TEXT_BETWEEN)
    report_close, end = at.get("</report>", (len(text), len(text)))
    report = text[report_open:report_close].strip()
    if "</report>" not in at:
        violations.append(Violation.UNCLOSED_REPORT)
    if _says_nothing(report):
        violations.append(Violation.EMPTY_REPORT)
    if text[end:].strip():
        violations.append(Violation.TEXT_AFTER_REPORT)
    return ParsedCompletion(think, report, tuple(violations))


def _says_nothing(part: str) -> bool:
    """Whether a part has no letter or digit: '.' or a zero-width space fills no part."""
    return not any(map(str.isalnum, part))


def _between(text: str, tags: list[tuple[str, int, int]], part: str) -> str:
    """The text between the first opening and the last closing tag of a part, or ''."""
    opening = next((end for name, _, end in tags if name == f"<{part}>"), None)
    closing = next((start for name, start, _ in reversed(tags) if name == f"</{part}>"), None)
    if opening is None or closing is None or closing < opening:
        return ""
    return text[opening:closing].strip()
