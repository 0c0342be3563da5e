"""RadGraph-F1, RaTEScore, GREEN and BERTScore, as RadEval computes them.

RadEval (Xu et al., EMNLP 2025 demos) keeps all four running on current libraries. It silences
warnings, prints, and reads the hub's settings when it is imported, so it works in a process of its
own, which has no network unless one is allowed. Each distinct pair of texts is scored once for all
systems; a bootstrap resamples the scores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mrg_r1.errors import ConfigError, DataError, MissingExtra
from mrg_r1.metrics.score import Measure, Signature, mean

METRICS: dict[str, tuple[str, ...]] = {
    "radgraph": ("radgraph-simple", "radgraph-partial", "radgraph-complete"),
    "ratescore": ("ratescore",),
    "green": ("green",),
    "bertscore": ("bertscore",),
}
"""The scores of each metric that one can ask for."""

Pair: TypeAlias = tuple[str, str]
"""A report and its reference."""


@dataclass(frozen=True, slots=True)
class PairScores:
    """What RadEval gave for pairs of texts.

    Attributes:
        values: by score, then by pair.
        by: who made each score: RadEval with its version, and the models with their revisions.
    """

    values: Mapping[str, Mapping[Pair, float]]
    by: Mapping[str, str]

    def measures(self, candidates: Sequence[str], references: Sequence[str]) -> list[Measure]:
        """The means of the scores of n texts, as they were written, for `metrics.score`."""
        pairs = list(zip(candidates, references, strict=True))
        return [
            mean(
                score,
                Signature(by=self.by[score], text="raw", n=len(pairs)),
                np.array([known[pair] for pair in pairs]),
            )
            for score, known in self.values.items()
        ]


@dataclass(frozen=True, slots=True)
class RadEvalMetrics:
    """Metrics to be computed by RadEval.

    Attributes:
        names: of `METRICS`.
        cache: the folder that holds the models, laid out as `~/.cache` is; else that.
        download: whether RadEval may fetch models that are not there.
    """

    names: tuple[str, ...]
    cache: Path | None = None
    download: bool = False

    @classmethod
    def of(cls, asked: str, *, cache: Path | None = None, download: bool = False) -> RadEvalMetrics:
        """The metrics of a list parted by commas.

        Raises:
            ConfigError: there is no such metric.
        """
        words = [word.strip() for word in asked.split(",")]
        names = tuple(dict.fromkeys(word for word in words if word))
        for name in names:
            if name not in METRICS:
                raise ConfigError(f"--metrics: no metric '{name}'; use some of {','.join(METRICS)}")
        if not names:
            raise ConfigError(f"--metrics: no metric named; use some of {','.join(METRICS)}")
        return cls(names, cache, download)

    def absent(self) -> dict[str, str]:
        """Why metrics cannot be computed and what to type, by name; those that can are left out."""
        missing = {name: self._ask(name, ())["missing"] for name in self.names}
        return {name: reason for name, reason in missing.items() if reason}

    def read(self, pairs: Iterable[Pair]) -> PairScores:
        """Scores each distinct pair once, metric after metric.

        Raises:
            MissingExtra: a metric cannot be computed, or RadEval stopped.
            DataError: RadEval gave a score that is no number.
        """
        distinct = list(dict.fromkeys(pairs))
        values: dict[str, Mapping[Pair, float]] = {}
        by: dict[str, str] = {}
        for name in self.names:
            answer = self._ask(name, distinct)
            if reason := answer.get("missing"):
                raise MissingExtra(f"{name}: {reason}")
            for score in METRICS[name]:
                found = answer["values"][score.replace("-", "_")]
                _check(score, found, distinct)
                values[score] = dict(zip(distinct, map(float, found), strict=True))
                by[score] = answer["by"]
        return PairScores(values, by)

    def _ask(self, name: str, pairs: Sequence[Pair]) -> dict[str, Any]:
        """What RadEval answers in a process of its own: scores, or what it lacks."""
        if find_spec("radeval") is None:
            return {"missing": f"RadEval is not installed; type: pip install 'mrg-r1[{name}]'"}
        question = {"metric": name, "pairs": pairs, "download": self.download}
        done = subprocess.run(
            # Unbuffered: what it prints must not come after its last word.
            [sys.executable, "-u", "-m", "mrg_r1.metrics.radeval_process"],
            input=json.dumps(question),
            capture_output=True,
            encoding="utf-8",
            env=self._environment(),
            check=False,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise MissingExtra(f"{name}: RadEval stopped ({last}); leave it out of --metrics")
        return json.loads(done.stdout)

    def _environment(self) -> dict[str, str]:
        found = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", "MPLBACKEND": "agg"}
        if self.cache is not None:
            hub = self.cache.resolve() / "huggingface"
            found |= {"XDG_CACHE_HOME": str(self.cache.resolve()), "HF_HOME": str(hub)}
            found |= {"HF_HUB_CACHE": str(hub / "hub")}
        offline = "0" if self.download else "1"
        return found | {"HF_HUB_OFFLINE": offline, "TRANSFORMERS_OFFLINE": offline}


def _check(score: str, found: Sequence[Any], pairs: Sequence[Pair]) -> None:
    if len(found) != len(pairs):
        raise DataError(f"{score}: RadEval gave {len(found)} scores for {len(pairs)} pairs")
    for value, (report, _) in zip(found, pairs, strict=True):
        if value is None or not np.isfinite(value):
            raise DataError(f"{score}: RadEval gave no number for the report '{report[:40]}'")
