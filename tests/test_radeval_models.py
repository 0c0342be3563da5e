"""RadEval itself, where it is installed, on tiny models of the form it loads."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mrg_r1.metrics.radeval import METRICS, RadEvalMetrics

SAME = ("the heart is big .", "the heart is big .")
OTHER = ("no edema .", "the heart is big .")
EMPTY = ("", "the heart is big .")
EXPECTED = {
    **{score: {SAME: 1.0, EMPTY: 0.0} for score in METRICS["radgraph"]},
    "ratescore": {SAME: 1.0, EMPTY: 0.5},
    "green": {SAME: 0.0, OTHER: 0.0, EMPTY: 0.0},  # its judge has nothing to say
    "bertscore": {SAME: 1.0},
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(find_spec("radeval") is None, reason="RadEval is not installed"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    script = Path(__file__).with_name("tiny_judges.py")
    subprocess.run([sys.executable, script, folder], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("name", METRICS)
def test_radeval_scores_with_local_models(cache: Path, name: str) -> None:
    judges = RadEvalMetrics((name,), cache=cache)
    assert judges.absent() == {}
    found = judges.read([SAME, OTHER, EMPTY])
    for score in METRICS[name]:
        values = {pair: found.values[score][pair] for pair in EXPECTED[score]}
        assert values == pytest.approx(EXPECTED[score], abs=1e-5)
        assert found.by[score].startswith("radeval@")
    if name in ("radgraph", "bertscore"):
        known = found.values[METRICS[name][-1]]
        assert known[EMPTY] <= known[OTHER] < known[SAME]
