"""What a run tells on a terminal, and elsewhere."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from transformers import TrainerState

from mrg_r1.trainers import progress as shown
from mrg_r1.trainers.callbacks import Reporter
from mrg_r1.trainers.progress import duration, progress, say


class Clock:
    """Time as a test wants it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(shown.time, "monotonic", lambda: self.now)


def test_elsewhere_than_on_a_terminal_a_line_is_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    with progress("SRL", "steps") as report:
        reporter = Reporter(report, {"reward": "reward", "completions/mean_length": "length"})
        nothing: Any = None
        reporter.on_train_begin(nothing, TrainerState(global_step=20, max_steps=40), nothing)
        for step in range(21, 41):
            clock.now += 6
            state = TrainerState(global_step=step, max_steps=40)
            reporter.on_step_end(nothing, state, nothing)
            logs = {"reward": step / 100, "completions/mean_length": 61.25, "kl": 1.0}
            reporter.on_log(nothing, state, nothing, logs)
    assert capsys.readouterr().err.splitlines() == [
        "SRL: 24 of 40, 1 min 36 s left  reward 0.23  length 61.2",
        "SRL: 28 of 40, 1 min 12 s left  reward 0.27  length 61.2",
        "SRL: 32 of 40, 48 s left  reward 0.31  length 61.2",
        "SRL: 36 of 40, 24 s left  reward 0.35  length 61.2",
        "SRL: 20 steps in 2 min 0 s  reward 0.4  length 61.2",
    ]


def test_what_is_done_at_once_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("drawing", "studies") as report:
        for done in range(101):
            report(done, 100)
    assert capsys.readouterr().err == "drawing: 100 studies in 0 s\n"


def test_nothing_done_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("drawing", "studies") as report:
        report(0, 100)
    assert capsys.readouterr().err == ""


def test_there_may_be_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reports", "reports") as report:
        report(0, 0)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(shown, "console", terminal)
    with progress("SRL", "steps") as report:
        report(0, 4)
        report(1, 4, "reward 0.5")
        report(2, 4)
    last_drawn = screen.getvalue().split("\r")
    assert any("SRL" in bar and "2/4" in bar and "reward 0.5" in bar for bar in last_drawn)
    assert screen.getvalue().endswith("SRL: 2 steps in 0 s  reward 0.5\n")


def test_remarks_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    say("left out: [red]12[/red] " + "x" * 200)
    assert capsys.readouterr().err == "left out: [red]12[/red] " + "x" * 200 + "\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (192, "3 min 12 s"), (7500, "2 h 5 min")],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
