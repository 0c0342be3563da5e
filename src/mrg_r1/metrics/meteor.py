"""METEOR 1.5 through its own jar, which pycocoevalcap brings and java runs.

The jar counts matches; the score is put together here from their sums, so that a bootstrap does
not run java again. nltk's METEOR is another metric and must not carry the name.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mrg_r1.errors import MissingExtra
from mrg_r1.metrics.arrays import Floats
from mrg_r1.metrics.score import Measure, Signature

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
"""The jar's for English: weight of recall, shape and weight of the penalty, content words."""

STAGES = (1.0, 0.6, 0.8, 0.6)
"""Weights of exact, stem, synonym and paraphrase matches."""

_NUMBERS = 23  # of a line of the jar's statistics


def absent() -> str:
    """Why METEOR cannot be computed and what to type; '' if it can."""
    if _jar() is None:
        return "pycocoevalcap is not installed; type: pip install 'mrg-r1[meteor]'"
    if shutil.which("java") is None:
        return "java is not installed; install a Java runtime, version 8 or newer"
    return ""


def meteor_measure(
    candidates: Sequence[str], references: Sequence[str], preparation: str
) -> Measure:
    """METEOR of prepared texts, for `metrics.score`.

    Args:
        candidates: n prepared predictions.
        references: their prepared references.
        preparation: how both were prepared, for the signature.

    Raises:
        MissingExtra: java or the jar is not there, or java stopped.
    """
    signature = Signature(text=preparation, n=len(candidates))
    return Measure((("meteor", signature),), statistics(candidates, references), meteor)


def statistics(candidates: Sequence[str], references: Sequence[str]) -> Floats:
    """The jar's counts of each pair, (n, 23).

    In order, of candidate and reference: words; function words; for each stage content and
    function words matched; then chunks; words matched.
    """
    if reason := absent():
        raise MissingExtra(f"meteor: {reason}")
    lines = [
        f"SCORE ||| {_line(reference)} ||| {_line(candidate)}\n"
        for candidate, reference in zip(candidates, references, strict=True)
    ]
    command = ["java", "-Xmx2G", "-jar", str(_jar()), "-", "-", "-stdio", "-l", "en", "-norm"]
    done = subprocess.run(
        command, input="".join(lines), capture_output=True, encoding="utf-8", check=False
    )
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()]
    if done.returncode or len(rows) != len(lines) or any(len(r) != _NUMBERS for r in rows):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise MissingExtra(f"meteor: java stopped ({last}); leave out --meteor")
    counts = np.array(rows, dtype=np.float64)
    # A candidate that is its reference has no chunk: nothing in it is torn apart.
    whole = (counts[:, 20] == 1) & (counts[:, [0, 1, 22]] == counts[:, [21]]).all(axis=1)
    counts[whole, 20] = 0
    return counts


def meteor(sums: Floats) -> Floats:
    """METEOR of sums of `statistics`, (..., 23) to (..., 1); of single rows per pair.

    Denkowski and Lavie, WMT 2014.
    """
    stages = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4) * np.array(STAGES)[:, None]
    matched = stages.sum(axis=-2)  # (..., 4): content of candidate and reference, then function
    function = sums[..., 2:4]
    content = sums[..., 0:2] - function
    found = DELTA * matched[..., :2] + (1 - DELTA) * matched[..., 2:]
    there = DELTA * content + (1 - DELTA) * function
    precision, recall = np.moveaxis(_ratio(found, there), -1, 0)
    mean = _ratio(precision * recall, ALPHA * precision + (1 - ALPHA) * recall)
    torn = _ratio(sums[..., 20], sums[..., 21:].mean(axis=-1))
    return (mean * (1 - GAMMA * torn**BETA))[..., None]


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _line(text: str) -> str:
    """A text on one line, without the sign that parts texts there."""
    return " ".join(text.replace("|||", "").encode("utf-8", "replace").decode().split())


def _jar() -> Path | None:
    spec = find_spec("pycocoevalcap")
    for folder in (spec and spec.submodule_search_locations) or ():
        jar = Path(folder) / "meteor" / "meteor-1.5.jar"
        if jar.is_file():
            return jar
    return None
