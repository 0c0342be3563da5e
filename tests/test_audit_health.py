"""The audit's section on the health of the reward."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import audit_run
from mrg_r1.audit import write_audit
from mrg_r1.audit.health import Episode, health
from mrg_r1.records import StepMetrics, read_jsonl, write_jsonl

SENTENCE = "87 % of groups have no variance: the margin is too high for this policy"


def step(number: int, value: float = 0.25, **warnings: str) -> StepMetrics:
    values = {
        "loss": 0.1,
        "health/no_variance": value,
        "health/no_variance/mccs": value,
        "health/positive": 0.5,
        "health/positive_reference": 1.5,
        "judge/ce_f1": 0.125,
    }
    return StepMetrics("srl", number, values, warnings)


def test_nothing_recorded_is_nothing_shown() -> None:
    assert health([]) is None
    assert health([StepMetrics("srl", 1, {"loss": 1.0, "reward": 0.5})]) is None


def test_figures_are_means_of_both_ends() -> None:
    found = health([step(n, 0.75 if n < 20 else 0.25) for n in range(60)])
    assert found
    assert (found.steps, found.episodes) == (60, ())
    shown = {f.name: (f.before, f.after, f.reference) for f in found.figures}
    assert shown == {
        "No variance": (".75", ".25", "\u2013"),
        "No variance, mccs": (".75", ".25", "\u2013"),
        "Positive": (".50", ".50", "1.50"),
        "Second judge, ce_f1": (".12", ".12", "\u2013"),
    }
    assert all(figure.note for figure in found.figures)


def test_warnings_in_a_row_are_one_episode() -> None:
    warned = [
        step(n, no_variance=f"at {n}", **({"long": "long"} if n == 12 else {})) for n in (11, 12)
    ]
    again = [step(n, no_variance=f"at {n}") for n in (15, 16, 17)]
    found = health([step(10), *warned, step(13), *again])
    assert found
    assert found.episodes == (
        Episode("no_variance", 11, 12, "at 12"),
        Episode("long", 12, 12, "long"),
        Episode("no_variance", 15, 17, "at 17"),
    )


def test_the_page_shows_it_and_the_curves_do_not_list_it(tmp_path: Path) -> None:
    run = audit_run.write_run(tmp_path, studies=2, steps=12)
    without = write_audit(run).read_text("utf-8")
    assert 'id="health"' not in without
    lines = read_jsonl(run / "metrics.jsonl", StepMetrics)
    hostile = {"no_variance": f"{SENTENCE} <script>"}
    watched = [
        dataclasses.replace(line, values=line.values | step(0).values, warnings=hostile)
        if line.stage == "srl"
        else line
        for line in lines
    ]
    write_jsonl(run / "metrics.jsonl", watched)
    page = write_audit(run).read_text("utf-8")
    assert f"Steps 1 to 11: {SENTENCE} &lt;script&gt;" in page
    assert "share of groups whose completions all earn the same" in page
    assert "<code>health/no_variance</code>" not in page
    assert "watched in 11 recorded steps of SRL" in page
