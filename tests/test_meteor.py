import subprocess
from pathlib import Path

import numpy as np
import pytest

from mrg_r1.errors import MissingExtra
from mrg_r1.metrics import meteor as module
from mrg_r1.metrics.meteor import absent, meteor, meteor_measure, statistics
from mrg_r1.metrics.score import score

CANDIDATES = [
    "heart is normal . no pleural effusion",
    "lungs clear bilaterally .",
    "x",
    "the heart",
]
REFERENCES = ["the heart is normal . no effusions", "the lungs are clear .", "a b", "the heart"]

# The counts and scores that the jar gives for these pairs, the last score of all together.
COUNTS = """
7 7 3 4 2 2 3 3 0 0 0 0 0 0 0 0 0 0 0 0 1 5 5
4 5 1 3 2 2 1 1 0 0 0 0 0 0 0 0 0 0 0 0 3 3 3
0 2 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
1 2 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
2 2 1 1 1 1 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 2 2
"""
SCORES = [0.3824202869278529, 0.30601092896174864, 0.0, 0.0, 1.0]
TOGETHER = 0.2970136946936951


def test_scores_of_counts_are_the_jars() -> None:
    counts = np.array([line.split() for line in COUNTS.split("\n") if line], dtype=float)
    assert meteor(counts)[:, 0] == pytest.approx(SCORES, abs=1e-12)
    assert meteor(counts.sum(axis=0)) == pytest.approx([TOGETHER], abs=1e-12)


def test_without_java_or_jar_it_is_absent_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    monkeypatch.setattr(module, "_jar", lambda: Path("x.jar"))
    assert "install a Java runtime" in absent()
    monkeypatch.setattr(module, "_jar", lambda: None)
    assert "pip install 'mrg-r1[meteor]'" in absent()
    with pytest.raises(MissingExtra, match="meteor: pycocoevalcap is not installed"):
        statistics(["a"], ["a"])


def test_java_that_stops_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 1, "", "Error\nno memory\n")
    monkeypatch.setattr(module, "absent", lambda: "")
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(MissingExtra, match=r"java stopped \(no memory\)"):
        statistics(["a"], ["a"])


@pytest.mark.slow
def test_scores_of_texts_are_pycocoevalcaps() -> None:
    if reason := absent():
        pytest.skip(reason)
    from pycocoevalcap.meteor.meteor import Meteor

    theirs = Meteor()
    whole, each = theirs.compute_score(
        {i: [text] for i, text in enumerate(REFERENCES)},
        {i: [text] for i, text in enumerate(CANDIDATES)},
    )
    found = statistics(CANDIDATES, REFERENCES)
    assert meteor(found)[:, 0] == pytest.approx(each, abs=1e-9)
    (value,) = score([meteor_measure(CANDIDATES, REFERENCES, "raw")], list("abcd"), resamples=5)
    assert value.value == pytest.approx(whole, abs=1e-9)
    assert value.signature.startswith("text:raw|n:4|v:")
    for stream in (theirs.meteor_p.stdout, theirs.meteor_p.stderr):
        stream.close()


@pytest.mark.slow
def test_hostile_texts_do_not_shift_the_lines() -> None:
    if reason := absent():
        pytest.skip(reason)
    texts = ["a\nb ||| c", "", "\ud800", "d e"]
    assert meteor(statistics([*texts], ["d e"] * 4))[:, 0] == pytest.approx([0, 0, 0, 1])
