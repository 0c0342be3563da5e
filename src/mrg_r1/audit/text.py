"""How the page prints numbers, and text that may be hostile."""

from __future__ import annotations

import math
import re

# Each could hide, reorder or break the text around it: C0 and C1 controls save tab and newline,
# soft hyphen, zero-width and directional marks, line separators, tags, and lone surrogates
# (which UTF-8 cannot carry). U+200C and U+200D stay: scripts need them to join letters.
_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Text whose invisible and direction-changing characters are spelt out as [U+202E]."""
    text = text.replace("\r\n", "\n")
    return _INVISIBLE.sub(lambda match: f"[U+{ord(match.group()):04X}]", text)


def number(value: float, digits: int = 2) -> str:
    """A number as journals print scores: .48, 1.00, \u2212.12 (a true minus sign)."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    text = f"{abs(value):.{digits}f}"
    if abs(value) < 1 and digits > 0:
        text = text.removeprefix("0")
    negative = value < 0 and float(f"{value:.{digits}f}") != 0
    return "\u2212" + text if negative else text


def short(value: float) -> str:
    """A number of any size in about three digits: 1,024, 70.7, .48, .0083."""
    size = abs(value)
    if size >= 100:
        return ("\u2212" if value < 0 else "") + f"{size:,.0f}"
    if size >= 10:
        return number(value, 1)
    if 0 < size < 0.1:
        return number(value, min(2 - math.floor(math.log10(size)), 12) - 1)
    return number(value)


def signed(value: float, digits: int = 2) -> str:
    """A change, with its sign: +.15, \u2212.03, or \u00b1.00 where it rounds to nothing."""
    if math.isfinite(value) and float(f"{value:.{digits}f}") == 0:
        return "\u00b1" + number(0.0, digits)
    return "+" + number(value, digits) if value > 0 else number(value, digits)


def count(value: int, noun: str, plural: str = "") -> str:
    """A count with its noun: '1 sample', '24 samples', '1,024 samples'."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"
