"""Tables of an evaluation: every row, and nothing cut off."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from literal_labeler import LiteralLabeler
from mrg_r1.evaluate import complete_table, difference_table, evaluate, overlap_table, table
from mrg_r1.metrics.presets import PRESETS
from mrg_r1.records import Evaluation
from test_evaluate import GOOD, POOR


def shown(evaluation: Evaluation, width: int, draw: Callable[..., object] = table) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(draw(evaluation))
    return capture.get()


def test_the_other_tables_cut_nothing_off_in_80_columns() -> None:
    found = evaluate({"mine": GOOD, "poor": POOR}, LiteralLabeler(), resamples=50)
    words = shown(found, 80, overlap_table)
    assert {"bleu-4", "rouge-l", "cider", "polarity", "omitted", "invented"} <= {*words.split()}
    against = shown(found, 80, difference_table)
    assert "minus mine" in against
    assert "-1.000" in against
    assert "…" not in words + against


def test_a_system_alone_is_compared_with_the_baselines() -> None:
    found = evaluate({"mine": GOOD}, LiteralLabeler(), resamples=5)
    assert "constant-normal" in shown(found, 80, difference_table)
    assert difference_table(Evaluation(found.systems[:1])) is None


def test_the_complete_table_has_every_score_with_its_signature() -> None:
    found = evaluate({"mine": GOOD}, LiteralLabeler(), resamples=5)
    text = shown(found, 240, complete_table)
    assert all(s.signature in text for s in found.systems[0].scores)
    assert text.count("ce_f1") == 24 * len(found.systems)


def test_a_table_of_a_convention() -> None:
    found = evaluate({"mine": GOOD}, LiteralLabeler(), resamples=5)
    convention = PRESETS["promptmrg"]
    text = shown(found, 80, lambda e: table(e, convention.variants, convention.uncertain))
    assert "example-14" in text
    assert "micro-13" not in text


def test_the_table_shows_systems_beside_the_constant_rows() -> None:
    found = evaluate({"[bold]mine[/bold]": GOOD, "poor": POOR}, LiteralLabeler(), resamples=50)
    text = shown(found, 120)
    names = ("[bold]mine[/bold]", "poor", "constant-normal", "constant-best-f1-oracle")
    for name in (*names, "constant-best-ccs-oracle"):
        assert name in text
    assert text.count("micro-13") == text.count("macro-14") == 5
    lines = text.splitlines()
    row = next(i for i, line in enumerate(lines) if "constant-best-f1-oracle" in line)
    assert "0.857" in lines[row]
    assert ".667 1.000" in lines[row + 1]


def test_the_table_cuts_nothing_off_in_80_columns() -> None:
    text = shown(evaluate({"mine": GOOD, "poor": POOR}, LiteralLabeler(), resamples=50), 80)
    assert "…" not in text
    assert {"precision", "recall", "F1", "ccs", "format", "distinct"} <= {*text.split()}
    assert text.count("macro-14") == 5
