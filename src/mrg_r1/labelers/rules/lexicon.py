"""The phrase files, compiled to one dictionary from word tuples to what they mean."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

from mrg_r1.findings import Finding

PRESETS = ("chexbert", "chexpert")


class Kind(StrEnum):
    """What a phrase does in a sentence; the values are the names used in the data files."""

    ABNORMAL = "abnormal"
    STRUCTURE = "structure"
    ONLY_NEGATED = "only_negated"
    ONLY_ASSERTED = "only_asserted"
    NEVER_HEDGED = "never_hedged"
    HEDGED = "hedged"
    NEGATION_BEFORE = "negation_before"
    NEGATION_AFTER = "negation_after"
    HEDGE_BEFORE = "hedge_before"
    HEDGE_AFTER = "hedge_after"
    VERSUS = "versus"
    OR = "or"
    AND = "and"
    COMMA = "comma"
    STOP = "stop"
    VERB = "verb"
    FRESH = "fresh"
    SKIP = "skip"
    IGNORE = "ignore"
    NORMAL = "normal"
    ENLARGED = "enlarged"
    STABLE = "stable"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Entry:
    """The meaning of a phrase; `finding` is None for cues."""

    kind: Kind
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Phrases by their words; `longest` is the most words of a phrase by its first word.

    `openers` are the first words of phrases for findings: a sentence without one says nothing.
    `fresh` and `skip` are single words that matter only after a comma or 'and'.
    """

    entries: dict[tuple[str, ...], tuple[Entry, ...]]
    longest: dict[str, int]
    openers: frozenset[str]
    fresh: frozenset[str]
    skip: frozenset[str]


@cache
def lexicon(preset: str) -> Lexicon:
    """The compiled phrase files of a preset."""
    entries: dict[tuple[str, ...], tuple[Entry, ...]] = {}
    longest: dict[str, int] = {}
    single: dict[Kind, set[str]] = {Kind.FRESH: set(), Kind.SKIP: set()}
    for phrase, entry in _phrases(preset):
        if entry.kind in single:
            single[entry.kind].add(phrase[0])
            continue
        known = entries.get(phrase, ())
        if entry not in known:
            entries[phrase] = (*known, entry)
        longest[phrase[0]] = max(longest.get(phrase[0], 0), len(phrase))
    openers = {phrase[0] for phrase, known in entries.items() if any(e.finding for e in known)}
    return Lexicon(
        entries,
        longest,
        frozenset(openers),
        frozenset(single[Kind.FRESH]),
        frozenset(single[Kind.SKIP]),
    )


def _phrases(preset: str) -> Iterator[tuple[tuple[str, ...], Entry]]:
    """Every phrase with its meaning; cues first, since the first meaning rules scope."""
    cues, findings = _load("cues.toml"), _load("findings.toml")
    macros: dict[str, str] = cues.pop("words") | findings.pop("words")
    for name, table in [*cues.items(), *findings.items()]:
        finding = Finding(name) if name in findings else None
        for kind, pattern in _of_preset(table, preset):
            for phrase in expand(pattern, macros):
                yield phrase, Entry(kind, finding)


def _of_preset(table: dict[str, Any], preset: str) -> Iterator[tuple[Kind, str]]:
    """The patterns of a table, and those its sub-table for this preset adds."""
    for key, value in table.items():
        if key == preset:
            yield from _of_preset(value, preset)
        elif key not in PRESETS:
            yield from ((Kind(key), pattern) for pattern in value)


def _load(name: str) -> dict[str, Any]:
    return tomllib.loads((files("mrg_r1.labelers.rules") / name).read_text(encoding="utf-8"))


_CLOSING = {"(": ")", "[": "]"}


def expand(pattern: str, macros: dict[str, str]) -> list[tuple[str, ...]]:
    """All phrases of a pattern: `(a|b)` is one of them, `[c]` may be missing, `{m}` is a macro.

    Raises:
        ValueError: the brackets are unbalanced.
    """
    while "{" in pattern:
        pattern = re.sub(r"\{(\w+)\}", lambda m: f"({macros[m[1]]})", pattern)
    try:
        return [tuple(text.split()) for text in _alternatives(iter(pattern), "")]
    except ValueError:
        raise ValueError(f"unbalanced brackets in '{pattern}'") from None


def _alternatives(chars: Iterator[str], closing: str) -> list[str]:
    """The texts of a pattern up to its closing bracket, or to its end where that is ''."""
    done: list[str] = []
    current = [""]
    for char in chars:
        if char == closing:
            return done + current
        if char in ")]":
            raise ValueError
        if char == "|":
            done, current = done + current, [""]
            continue
        texts = _alternatives(chars, _CLOSING[char]) if char in _CLOSING else [char]
        if char == "[":
            texts.append("")
        current = [head + tail for head in current for tail in texts]
    if closing:
        raise ValueError
    return done + current
