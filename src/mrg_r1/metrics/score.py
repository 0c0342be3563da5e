"""Numbers that say how they were made: signatures, and intervals by bootstrap over studies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mrg_r1 import __version__
from mrg_r1.errors import ConfigError
from mrg_r1.metrics.arrays import Floats
from mrg_r1.records import Difference, Score

RESAMPLES = 1000
PERCENTILES = (2.5, 97.5)
_CELLS = 1 << 22  # counts of one chunk of resamples, which bounds the memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """How a score was made; two scores compare only if their signatures are equal.

    `str()` writes the keys that apply, in this order:
    'labeler:rules@0.2|uncertain:positive|labels:13|avg:micro|n:590|v:0.1.0'.

    Attributes:
        labeler: the labeler's identity.
        uncertain: what an uncertain finding counts as, 'positive' or 'negative'.
        labels: number of findings, 14, 13 or 5.
        avg: 'micro', 'macro', 'weighted' or 'example'.
        absent: what 0/0 counts as, for a finding or a report without any positive.
        margin: the margin of eq. 6.
        by: who computed the score, where another package did, and with which models.
        text: how the text was prepared.
        n: number of samples.
        v: version of this package.
    """

    labeler: str | None = None
    uncertain: str | None = None
    labels: int | None = None
    avg: str | None = None
    absent: int | None = None
    margin: float | None = None
    by: str | None = None
    text: str | None = None
    n: int
    v: str = __version__

    def __str__(self) -> str:
        values = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))
        return "|".join(f"{name}:{value}" for name, value in values if value is not None)


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """Scores that are functions of sums over samples, so that resampling is a matrix product.

    Attributes:
        names: metric and signature of each of the m scores.
        terms: what is summed, (n, k).
        combine: sums (..., k) to scores (..., m).
    """

    names: tuple[tuple[str, Signature], ...]
    terms: Floats
    combine: Callable[[Floats], Floats]


def mean(metric: str, signature: Signature, values: Floats) -> Measure:
    """The mean of a number per sample, (n,)."""
    terms = np.stack([values, np.ones_like(values)], axis=1)
    return Measure(((metric, signature),), terms, lambda sums: sums[..., :1] / sums[..., 1:])


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Scores with what they became in each resample, so that two systems can be compared.

    Attributes:
        names: metric and signature of each of the m scores.
        values: the scores, (m,).
        resampled: the scores of each resample, (resamples, m).
    """

    names: tuple[tuple[str, Signature], ...]
    values: Floats
    resampled: Floats

    def scores(self) -> tuple[Score, ...]:
        """The scores with their 95 % percentile intervals."""
        low, high = np.percentile(self.resampled, PERCENTILES, axis=0)  # (m,) each
        rows = zip(self.names, self.values, low, high, strict=True)
        return tuple(
            Score(metric, *map(float, numbers), signature=str(signature))
            for (metric, signature), *numbers in rows
        )

    def minus(self, baseline: Estimates, name: str) -> tuple[Difference, ...]:
        """Differences to a baseline of the same studies, in the same resamples, by a paired test.

        The interval is the 95 % percentile interval of the resampled differences; p is twice the
        share of resamples in which the difference has not the sign of the majority (ties count
        for both sides), so it is never below 2 / (resamples + 1).

        Args:
            baseline: estimates on the same studies with the same seed and number of resamples.
            name: of the baseline.
        """
        theirs = {key: column for column, key in enumerate(baseline.names)}
        pairs = [(i, theirs[key]) for i, key in enumerate(self.names) if key in theirs]
        if not pairs:
            return ()
        ours, others = [i for i, _ in pairs], [j for _, j in pairs]
        values = self.values[ours] - baseline.values[others]
        resampled = self.resampled[:, ours] - baseline.resampled[:, others]
        low, high = np.percentile(resampled, PERCENTILES, axis=0)
        p = _two_sided(resampled)
        rows = zip(ours, values, low, high, p, strict=True)
        return tuple(
            Difference(
                self.names[i][0], name, *map(float, numbers), signature=str(self.names[i][1])
            )
            for i, *numbers in rows
        )


def _two_sided(differences: Floats) -> Floats:
    """Returns p of each column of resampled differences, (resamples, m) to (m,)."""
    # Sums in another order differ in the last digits; that is no difference.
    sign = np.sign(np.where(np.abs(differences) < 1e-12, 0.0, differences))
    fewer = np.minimum((sign <= 0).sum(axis=0), (sign >= 0).sum(axis=0))
    return np.minimum(2 * (fewer + 1) / (len(differences) + 1), 1.0)


def estimate(
    measures: Sequence[Measure],
    groups: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimates:
    """The scores of all measures, of the samples and of bootstrap resamples of whole groups.

    Samples of one study share their reference, and studies of one patient resemble each other,
    so studies or patients are drawn, never single samples.

    Args:
        measures: at least one, each over the same n samples.
        groups: the study or the patient of each sample, n.
        resamples: number of bootstrap resamples.
        seed: of the resampling; the same groups are then drawn the same way for every system.

    Raises:
        ConfigError: fewer than one resample.
    """
    if resamples < 1:
        raise ConfigError(f"bootstrap: {resamples} resamples; use at least 1, such as {RESAMPLES}")
    terms = np.concatenate([measure.terms for measure in measures], axis=1)  # (n, k)
    totals = _split(terms.sum(axis=0), measures)
    resampled = _split(_resampled_sums(terms, groups, resamples, seed), measures)
    pairs = zip(measures, totals, resampled, strict=True)
    combined = [(measure.combine(total), measure.combine(sums)) for measure, total, sums in pairs]
    values, draws = zip(*combined, strict=True)
    names = tuple(name for measure in measures for name in measure.names)
    return Estimates(names, np.concatenate(values), np.concatenate(draws, axis=-1))


def score(
    measures: Sequence[Measure],
    studies: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Score, ...]:
    """The scores of all measures with their 95 % percentile intervals; see `estimate`."""
    return estimate(measures, studies, resamples=resamples, seed=seed).scores()


def _split(sums: Floats, measures: Sequence[Measure]) -> Iterator[Floats]:
    """The columns of each measure."""
    start = 0
    for measure in measures:
        width = measure.terms.shape[1]
        yield sums[..., start : start + width]
        start += width


def _resampled_sums(terms: Floats, studies: Sequence[str], resamples: int, seed: int) -> Floats:
    """Sums of the terms over each resample of the studies: (n, k) to (resamples, k)."""
    per_study = _sums_by_study(terms, studies)  # (s, k)
    count = len(per_study)
    generator = np.random.default_rng(seed)
    rows = max(1, _CELLS // count)
    sums: list[Floats] = []
    for start in range(0, resamples, rows):
        chunk = min(rows, resamples - start)
        drawn = generator.integers(count, size=(chunk, count))
        drawn += np.arange(chunk)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=chunk * count).reshape(chunk, count)
        sums.append(times.astype(np.float64) @ per_study)
    return np.concatenate(sums)


def _sums_by_study(terms: Floats, studies: Sequence[str]) -> Floats:
    """Sums of the terms over the samples of each study, in the order of the study ids."""
    if len(studies) != len(terms):
        raise ValueError(f"{len(terms)} samples but {len(studies)} studies")
    names = np.asarray(studies, dtype=object)
    order = np.argsort(names, kind="stable")
    _, starts = np.unique(names[order], return_index=True)
    return np.add.reduceat(terms[order], starts, axis=0)
