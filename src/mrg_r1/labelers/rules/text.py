"""Reports to sentences, sentences to words, all in characters of the text as given."""

from __future__ import annotations

import itertools
import re
import string
from collections import deque
from collections.abc import Iterator

_BREAK = re.compile(
    r"""
    (?<!\b[vV][sS])(?<!\b[dD][rR])(?<!\be\.g)(?<!\bi\.e) \. (?=\s|$)  # a full stop, not 'vs.'
    | (?<=[a-z]) \. (?=[A-Z])                                     # a full stop without its space
    | (?<!\S) \d{1,2} \) (?=\s)                                    # an item of a list in a line
    | [!?;\u2022\u3002\uff01\uff1f\uff1b]
    | [\n\r\u2028\u2029\x0b\x0c\x85] (?=                          # a line that starts afresh
        [ \t]{0,20} (?: [\n\r\-*#+\u2013\u2014\u00b7] | \d{1,2}[.)] | [A-Z][a-z] | [A-Z ]{3,30}: )
      )
    """,
    re.VERBOSE,
)
_HEADING = re.compile(
    r"""
    (?: ^ | (?<=[.\n\r*]) | (?<=[.?][ ]) | (?<=[ ]{2}) | (?= [A-Z]{4} ) )
    (?i: (?P<context>
        (?: clinical[ ] )? (?: indications? | history | information )
        | comparisons? | technique | procedure | (?: reason[ ]for[ ] )? exam (?: ination )?
      ) | findings? | impressions? | conclusions? | opinion | lungs? | heart | pleura )
    [ ]? :
    """,
    re.VERBOSE,
)
_WORD = re.compile(
    r"""
    [a-z0-9]+ (?: ' [a-z]+ )?
    | [,?]
    | (?<=[a-z\s]) / (?=[a-z\s])
    | (?<=\s) --? (?=\s)
    """,
    re.VERBOSE,
)
_FOLD = str.maketrans(
    string.ascii_uppercase + "\u2019\u2013\u2014()[]", string.ascii_lowercase + "',,,,,,"
)


def sentences(report: str) -> Iterator[tuple[int, int]]:
    """Spans of the sentences that describe this exam.

    What stands under INDICATION, HISTORY, TECHNIQUE or COMPARISON is not a finding of this exam
    and is left out, up to the next heading; without a next heading, only its first sentence.
    """
    headings = list(_HEADING.finditer(report)) if ":" in report else []
    context = deque(_context(headings))
    ends = [m.end() for m in _BREAK.finditer(report)] + [m.start() for m in headings]
    start = 0
    for end in [*sorted(ends), len(report)]:
        while context and context[0][1] <= start:
            context.popleft()
        if start < end and not (context and context[0][0] < end):
            yield start, end
        start = end


def _context(headings: list[re.Match[str]]) -> Iterator[tuple[int, int]]:
    for heading, following in itertools.zip_longest(headings, headings[1:]):
        if heading["context"]:
            yield heading.start(), heading.end() if following is None else following.start()


def fold(report: str) -> str:
    """The report in lower case, commas for dashes and brackets, as long as it was.

    Only ASCII letters change: the lower case of some other letters is two characters long.
    """
    return report.translate(_FOLD)


def words(folded: str, start: int, end: int) -> tuple[str, ...]:
    """The words, commas, question marks, lone dashes and slashes of `folded[start:end]`."""
    return tuple(_WORD.findall(folded, start, end))


def word_spans(folded: str, start: int, end: int) -> list[tuple[int, int]]:
    """Where each of `words` stands in the report."""
    return [m.span() for m in _WORD.finditer(folded, start, end)]
