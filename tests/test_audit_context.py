"""What the prompts of shown studies said stands on the page."""

from __future__ import annotations

from pathlib import Path

import audit_run
from mrg_r1.audit import write_audit
from mrg_r1.evaluate import evaluate
from mrg_r1.evaluate.kept import keep
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.records import Prediction


def page(folder: Path, context: dict[str, str], images: int) -> str:
    paths = tuple(str(folder / f"{number}.png") for number in range(images))
    for number, path in enumerate(paths):
        audit_run.draw_chest(Path(path), audit_run.NORMAL, audit_run.random.Random(number))
    predictions = [Prediction("1", "1", "", "", "Edema.", "Edema.", paths, context=context)]
    evaluation = evaluate({"a": predictions}, RulesLabeler(), resamples=1)
    keep(folder, {"a": predictions}, evaluation, RulesLabeler())
    return write_audit(folder).read_text("utf-8")


def test_the_page_shows_what_was_given(tmp_path: Path) -> None:
    context = {"indication": "Cough <b>.", "prior-report": "Old effusion.", "prior-images": "2"}
    html = page(tmp_path, context, 3)
    assert "<summary>In the prompt: indication, prior-report, prior-images</summary>" in html
    assert "Cough &lt;b&gt;." in html
    assert "Old effusion." in html
    assert "Of the images the last 2 are of the previous study." in html


def test_the_page_says_nothing_where_nothing_was_given(tmp_path: Path) -> None:
    html = page(tmp_path, {}, 1)
    assert "In the prompt" not in html
    assert "previous study" not in html
