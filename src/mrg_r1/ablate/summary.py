"""What a grid shows: every score of every row and seed, means over seeds, and the paper's order.

The paper names no averaging, so agreement with its order is told for every variant of F1.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mrg_r1.config import Recipe
from mrg_r1.metrics.published import DATA_SETS, Published, published_ablation
from mrg_r1.metrics.ranks import kendall, spearman
from mrg_r1.records import Evaluation, Score, SystemScores

Key: TypeAlias = tuple[str, str]
"""Metric, and signature without the number of samples, which may differ from seed to seed."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A score over seeds: mean, sample standard deviation (None of one seed), and extremes."""

    metric: str
    value: float
    sd: float | None
    lowest: float
    highest: float
    seeds: int
    signature: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the grid, or a baseline beside it.

    `rewards` are the weights of what SRL trained it on, and none where SRL did not; `seeds` its
    scores by seed.
    """

    name: str
    rewards: Mapping[str, float]
    seeds: Mapping[int, SystemScores]
    means: tuple[Mean, ...]


@dataclass(frozen=True, slots=True)
class RankAgreement:
    """How far a variant of F1 orders the rows as the paper's F1 does.

    `seed` is None for the means over seeds. A coefficient is None where nothing is ordered.
    """

    data_set: str
    seed: int | None
    rows: int
    kendall: float | None
    spearman: float | None
    signature: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands here and in the paper, by one variant of F1 (means over seeds).

    `above` and `below` name the rows that it stands above and below here and not in the paper;
    `clear` those of them from which it differs beyond the intervals of both, in every seed.
    """

    data_set: str
    row: str
    rank: int
    paper_rank: int
    above: tuple[str, ...]
    below: tuple[str, ...]
    clear: tuple[str, ...]
    signature: str


@dataclass(frozen=True, slots=True)
class Ablation:
    """A grid beside Table II; `ablation.json`.

    `data_sets` names whose figures of the paper it is compared with: its own, or both where it
    was made on studies that the paper does not use.
    """

    recipe: str
    data_sets: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    baselines: tuple[Row, ...]
    rank_agreement: tuple[RankAgreement, ...]
    places: tuple[Place, ...]

    def paper(self, data_set: str) -> dict[str, Published]:
        """The paper's figures of these rows."""
        found = published_ablation(data_set)
        return {row.name: found[row.name] for row in self.rows}

    def document(self) -> dict[str, Any]:
        """All of it, with the paper's figures in each row, as JSON stores it."""
        document = dataclasses.asdict(self)
        for row in document["rows"]:
            row["paper"] = {
                data_set: {
                    name: getattr(self.paper(data_set)[row["name"]], name)
                    for name in ("precision", "recall", "f1")
                }
                for data_set in DATA_SETS
            }
        return document


def summarise(
    recipe: Recipe,
    rewards: Mapping[str, Mapping[str, float]],
    evaluations: Mapping[int, Evaluation],
) -> Ablation:
    """Sets the evaluations of one or more seeds side by side.

    Args:
        recipe: of the grid.
        rewards: weights of rewards by row, in the order of Table II.
        evaluations: of the same rows and baselines, by seed.
    """
    by_name: dict[str, dict[int, SystemScores]] = {}
    for seed, evaluation in evaluations.items():
        for system in evaluation.systems:
            by_name.setdefault(system.name, {})[seed] = system
    made = {
        name: Row(name, rewards.get(name, {}), systems, _means(list(systems.values())))
        for name, systems in by_name.items()
    }
    rows = tuple(made[name] for name in rewards)
    source = recipe.data.source
    data_sets = (source,) if source in DATA_SETS else DATA_SETS
    variants = [key for key in map(_key, rows[0].means) if key[0] == "ce_f1"]
    return Ablation(
        recipe=recipe.name,
        data_sets=data_sets,
        seeds=tuple(evaluations),
        rows=rows,
        baselines=tuple(row for name, row in made.items() if name not in rewards),
        rank_agreement=tuple(
            _agreement(rows, data_set, seed, key)
            for data_set in data_sets
            for key in variants
            for seed in (None, *evaluations)
        ),
        places=tuple(
            place
            for data_set in data_sets
            for key in variants
            for place in _places(rows, published_ablation(data_set), data_set, key)
        ),
    )


def _key(score: Score | Mean) -> Key:
    parts = (part for part in score.signature.split("|") if not part.startswith("n:"))
    return score.metric, "|".join(parts)


def _means(systems: Sequence[SystemScores]) -> tuple[Mean, ...]:
    """Each score over the seeds, those that every seed has."""
    found: dict[Key, list[float]] = {}
    for system in systems:
        for score in system.scores:
            found.setdefault(_key(score), []).append(score.value)
    return tuple(
        Mean(
            metric,
            statistics.fmean(values),
            statistics.stdev(values) if len(values) > 1 else None,
            min(values),
            max(values),
            len(values),
            signature,
        )
        for (metric, signature), values in found.items()
        if len(values) == len(systems)
    )


def _value(row: Row, key: Key, seed: int | None) -> float:
    scores = row.means if seed is None else row.seeds[seed].scores
    return next(score.value for score in scores if _key(score) == key)


def _agreement(rows: Sequence[Row], data_set: str, seed: int | None, key: Key) -> RankAgreement:
    paper = published_ablation(data_set)
    ours = [_value(row, key, seed) for row in rows]
    theirs = [paper[row.name].f1 for row in rows]
    return RankAgreement(
        data_set, seed, len(rows), kendall(ours, theirs), spearman(ours, theirs), key[1]
    )


def _places(
    rows: Sequence[Row], paper: Mapping[str, Published], data_set: str, key: Key
) -> list[Place]:
    ours = {row.name: _value(row, key, None) for row in rows}
    theirs = {row.name: paper[row.name].f1 for row in rows}
    places: list[Place] = []
    for row in rows:
        above = [o for o in rows if ours[row.name] > ours[o.name] and _over(theirs, o, row)]
        below = [o for o in rows if ours[row.name] < ours[o.name] and _over(theirs, row, o)]
        clear = [o for o in above if _apart(row, o, key)]
        clear += [o for o in below if _apart(o, row, key)]
        places.append(
            Place(
                data_set,
                row.name,
                _rank(ours, row.name),
                _rank(theirs, row.name),
                above=_names(above),
                below=_names(below),
                clear=_names(clear),
                signature=key[1],
            )
        )
    return places


def _over(values: Mapping[str, float], one: Row, other: Row) -> bool:
    return values[one.name] > values[other.name]


def _names(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(row.name for row in rows)


def _rank(values: Mapping[str, float], name: str) -> int:
    """1 for the highest; equal values share the better rank."""
    return 1 + sum(value > values[name] for value in values.values())


def _apart(higher: Row, lower: Row, key: Key) -> bool:
    """Whether in every seed the interval of one lies above that of the other."""
    return all(
        _score(higher, seed, key).low > _score(lower, seed, key).high for seed in higher.seeds
    )


def _score(row: Row, seed: int, key: Key) -> Score:
    return next(score for score in row.seeds[seed].scores if _key(score) == key)
