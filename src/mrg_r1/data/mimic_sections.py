"""The sections of a MIMIC-CXR report: findings, impression, indication."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

_SECTIONS = {
    "findings": ("FINDINGS", "FINDING", "FINDINGS AND IMPRESSION", "FINDINGS/IMPRESSION"),
    "impression": ("IMPRESSION", "IMPRESSIONS", "CONCLUSION", "CONCLUSIONS"),
    "indication": (
        "INDICATION",
        "INDICATIONS",
        "HISTORY",
        "CLINICAL HISTORY",
        "CLINICAL INFORMATION",
        "CLINICAL INDICATION",
        "PATIENT HISTORY",
        "REASON FOR EXAM",
        "REASON FOR EXAMINATION",
        "REASON FOR THE EXAM",
        "REASON FOR THIS EXAMINATION",
        "REASON FOR STUDY",
    ),
    "": (
        "EXAMINATION",
        "EXAM",
        "STUDY",
        "TECHNIQUE",
        "COMPARISON",
        "COMPARISONS",
        "RECOMMENDATION",
        "RECOMMENDATIONS",
        "NOTIFICATION",
        "ADDENDUM",
        "WET READ",
    ),
}
_SECTION_OF = {name: section for section, names in _SECTIONS.items() for name in names}
_NAMES = "|".join(re.escape(name) for name in sorted(_SECTION_OF, key=len, reverse=True))
_HEADING = re.compile(rf"^[ \t]*(?=[A-Z])((?i:{_NAMES}))(?:\(S\))?[ \t]*:", re.MULTILINE)
_FINAL = re.compile(r"^[ \t]*FINAL REPORT\s*?$", re.MULTILINE)
_PARAGRAPH = re.compile(r"\n\s*\n")
_RULE = re.compile(r"_{10,}")


@dataclass(frozen=True, slots=True)
class Sections:
    """The sections of a report that studies hold, each on one line, '' where there is none."""

    findings: str
    impression: str
    indication: str


def sections(report: str) -> Sections:
    """Takes the sections out of a MIMIC-CXR report.

    - What stands before the last line 'FINAL REPORT' (a wet read, say) is not read.
    - A section begins at the start of a line with one of the names in this module and a colon,
      in capitals or with a capital first letter, and ends at the next of them. Other headings
      ('RIGHT LUNG:') belong to the section they stand in.
    - 'FINDINGS AND IMPRESSION' is findings. A section that occurs twice is joined.
    - The indication ends at its first empty line: what follows without a heading is often the
      findings, which nobody who is shown the indication may see.
    - Text under no heading is no section; such reports have no findings (ours; the official
      code takes the last paragraph).
    - White space is collapsed, ruled lines are dropped; '___' stays, it stands for a word.
    """
    final = list(_FINAL.finditer(report))
    text = report[final[-1].end() :] if final else report
    headings = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    parts: dict[str, list[str]] = defaultdict(list)
    for heading, end in zip(headings, ends, strict=False):
        section = _SECTION_OF[heading[1].upper()]
        part = _RULE.sub(" ", text[heading.end() : end]).strip()
        if section == "indication":
            part = _PARAGRAPH.split(part)[0]
        parts[section].append(" ".join(part.split()))
    return Sections(*(" ".join(filter(None, parts[f])) for f in Sections.__slots__))
