"""Dataclasses from tables that a person wrote: keys, types and ranges checked, nothing guessed."""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

Rule = tuple[Callable[[Any], bool], str]
"""What a value must be: a test, and the words for it ('above 0')."""


def override(table: dict[str, Any], text: str) -> str:
    """Sets 'dotted.key=value' in a table; returns what is wrong with it, or ''."""
    key, separator, value = text.partition("=")
    *parents, last = [part.strip() for part in key.split(".")]
    if not separator or not all((*parents, last)):
        return f"--set {text}: write it as dotted.key=value"
    for parent in parents:
        inner = table.setdefault(parent, {})
        if not isinstance(inner, dict):
            return f"--set {text}: '{parent}' is a value, not a table"
        table = cast("dict[str, Any]", inner)
    table[last] = _toml_value(value)
    return ""


def _toml_value(text: str) -> Any:
    """The text as a TOML value; the text itself when it is none."""
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return document["value"] if len(document) == 1 else text


def build(
    cls: type[Any],
    table: Mapping[str, Any],
    rules: Mapping[str, Rule],
    problems: list[str],
    where: str = "",
) -> Any:
    """A dataclass from a table; appends every problem found, and returns None if any was.

    Args:
        cls: the dataclass; its fields may be dataclasses.
        table: values as `tomllib` reads them.
        rules: by dotted key, counted from the outermost table.
        problems: where they are appended to, a line each.
        where: the dotted key of `table`, with a dot behind it.
    """
    hints = typing.get_type_hints(cls)
    before = len(problems)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in hints:
            values[key] = _value(hints[key], value, rules, problems, f"{where}{key}")
        else:
            problems.append(f"unknown key '{where}{key}'{nearest(key, hints, where)}")
    return cls(**values) if len(problems) == before else None


def _value(
    hint: Any, value: Any, rules: Mapping[str, Rule], problems: list[str], where: str
) -> Any:
    """A value of a field, converted where TOML and Python differ; appends what is wrong."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    expected = next(option for option in options if option is not types.NoneType)
    if dataclasses.is_dataclass(expected) and isinstance(value, dict):
        inner = cast("dict[str, Any]", value)
        return build(cast("type[Any]", expected), inner, rules, problems, f"{where}.")
    if not _fits(expected, value):
        problems.append(f"{where}: {_shown(value)} is not {_described(expected)}")
    elif where in rules and not rules[where][0](value):
        problems.append(f"{where}: {_shown(value)} is not {rules[where][1]}")
    elif expected is float:
        return float(value)
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value


def _fits(expected: Any, value: Any) -> bool:
    """Whether a TOML value can be a field of this type; numbers must be finite."""
    arguments = typing.get_args(expected)
    match typing.get_origin(expected):
        case typing.Literal:
            return isinstance(value, str) and value in arguments
        case builtin if builtin is tuple:
            return isinstance(value, list) and all(
                _fits(arguments[0], item) for item in cast("list[Any]", value)
            )
        case builtin if builtin is dict:
            return isinstance(value, dict)
        case _ if expected is float:
            return type(value) in (int, float) and math.isfinite(value)
        case _:
            return type(value) is expected


def _described(expected: Any) -> str:
    arguments = typing.get_args(expected)
    match typing.get_origin(expected):
        case typing.Literal:
            return f"{'one of ' if len(arguments) > 1 else ''}{', '.join(arguments)}"
        case builtin if builtin is tuple:
            return f"a list, each item {_described(arguments[0])}"
        case _:
            return _TYPE_NAMES.get(expected, "a table")


_TYPE_NAMES = {
    int: "an integer",
    float: "a number",
    str: "a string (in quotes)",
    bool: "true or false",
}


def _shown(value: Any) -> str:
    """A value as a recipe writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)


def nearest(name: str, known: Iterable[str], where: str = "") -> str:
    """' (did you mean ...?)', or nothing when no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{where}{close[0]}'?)" if close else ""
