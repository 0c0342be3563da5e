"""Learning curves, numbers and hostile text as the audit page prints them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mrg_r1.audit.curves import draw_stages, round_values, smoothed, thinned, tick_text
from mrg_r1.audit.text import count, number, short, signed, visible
from mrg_r1.records import StepMetrics

# --- hostile text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with\ttab\nand line", "plain, with\ttab\nand line"),
        ("two\r\nlines", "two\nlines"),
        ("\u202etxt", "[U+202E]txt"),
        ("a\u200bb\ufeff", "a[U+200B]b[U+FEFF]"),
        ("\x00\x1b", "[U+0000][U+001B]"),
        ("\ud800", "[U+D800]"),
        ("\U000e0041", "[U+E0041]"),
        (
            "\u0633\u0644\u0627\u0645 \u00e9 \u6c17\u80f8",
            "\u0633\u0644\u0627\u0645 \u00e9 \u6c17\u80f8",
        ),
        ("\u0645\u06cc\u200c\u0631\u0648\u0645", "\u0645\u06cc\u200c\u0631\u0648\u0645"),
    ],
)
def test_invisible_characters_are_spelt_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters(exclude_categories=[])))
def test_visible_text_is_a_fixed_point_that_utf8_can_carry(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    shown.encode("utf-8")


# --- numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.483, ".48"),
        (1, "1.00"),
        (0, ".00"),
        (-0.12, "\u2212.12"),
        (-0.001, ".00"),
        (0.999, "1.00"),
    ],
)
def test_numbers_as_journals_print_them(value: float, text: str) -> None:
    assert number(value) == text


def test_other_ways_to_print_a_number() -> None:
    assert [signed(v) for v in (0.15, -0.03, 0.001, -0.004)] == [
        "+.15",
        "\u2212.03",
        "\u00b1.00",
        "\u00b1.00",
    ]
    assert [number(v) for v in (math.nan, math.inf)] == ["not a number", "infinite"]
    assert [short(v) for v in (1234.5, -250, 70.66, 0.48, 0.00834, 0.0, 1e-300)] == [
        "1,234",
        "\u2212250",
        "70.7",
        ".48",
        ".0083",
        ".00",
        ".00000000000",
    ]
    assert [count(n, "sample") for n in (1, 2, 1024)] == ["1 sample", "2 samples", "1,024 samples"]
    assert [tick_text(v) for v in (0, 0.25, -0.5, 120, 2.5e-5)] == [
        "0",
        ".25",
        "\u2212.5",
        "120",
        "2.5e-05",
    ]


# --- learning curves


def _series(values: Iterable[float], key: str = "reward") -> list[StepMetrics]:
    return [StepMetrics("srl", step, {key: value}) for step, value in enumerate(values, start=1)]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300))
def test_smoothed_line_stays_within_the_dots(values: list[float]) -> None:
    line = smoothed(values)
    assert len(line) == len(values)
    assert min(values) - 1e-6 <= min(line)
    assert max(line) <= max(values) + 1e-6


def test_short_series_are_not_smoothed_and_long_ones_are() -> None:
    assert smoothed([0, 1, 0, 1]) == [0, 1, 0, 1]
    assert smoothed([0.0, 1.0] * 32)[30] == pytest.approx(0.5, abs=0.06)


@given(st.integers(1, 3000))
def test_thinned_series_keeps_its_ends(size: int) -> None:
    points = [(step, float(step)) for step in range(size)]
    kept = thinned(points)
    assert len(kept) == min(size, 400)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert kept == sorted(set(kept))


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
@example(-100000000.25, 1.0)
def test_axis_marks_are_even_and_enclose_the_data(low: float, width: float) -> None:
    high = low + width
    if high - low < 1e-9 * abs(low):
        return
    marks = round_values(low, high, 4)
    slack = 1e-6 * (high - low)
    assert marks[0] <= low + slack
    assert marks[-1] >= high - slack
    assert 2 <= len(marks) <= 7


def test_panels_come_in_order_and_the_rest_is_named() -> None:
    values = {
        "lr": 1.0,
        "kl": 0.1,
        "rewards/format/mean": 1.0,
        "rewards/mccs/mean": 0.5,
        "reward": 0.6,
    }
    values |= {"rewards/brevity/mean": 0.2, "loss": 0.0}
    (stage,) = draw_stages([StepMetrics("srl", 1, values)])
    assert [panel.key for panel in stage.panels] == [
        "reward",
        "rewards/mccs/mean",
        "rewards/format/mean",
        "rewards/brevity/mean",
        "kl",
    ]
    assert set(stage.undrawn) == {"lr", "loss"}


def test_values_that_cannot_be_drawn_are_counted() -> None:
    (stage,) = draw_stages(_series([0.1, math.nan, 0.3, math.inf, 0.5]))
    (panel,) = stage.panels
    assert panel.dots.count("M") == 3
    assert "2 values not finite, not drawn" in panel.notes
    (stage,) = draw_stages(_series([math.nan]))
    assert (stage.panels, stage.undrawn) == ((), ("reward",))


@pytest.mark.parametrize(
    "values",
    [[0.5], [0.0, 0.0], [7.0] * 5, [-3.0, 5.0], [1e-12, 2e-12], [1e90, -1e90], [2.0] * 1000],
)
def test_any_finite_series_stays_inside_its_panel(values: list[float]) -> None:
    (panel,) = draw_stages(_series(values))[0].panels
    numbers = [float(text) for text in re.findall(r"-?[\d.]+", panel.line + panel.dots)]
    assert all(0 <= value <= 380 for value in numbers)
    assert len(panel.y_ticks) >= 2


def test_curve_is_also_told_in_words() -> None:
    (panel,) = draw_stages(_series([0.1, 0.2, 0.4]))[0].panels
    assert panel.description == (
        "3 points from step 1 to 3. Smoothed, it goes from .10 to .40 (0 to 1), "
        "lowest .10, highest .40."
    )
