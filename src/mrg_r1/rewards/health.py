"""Signs in a batch of completions that its reward is being gamed, or teaches nothing.

Nothing here changes a reward. Means and spreads of rewards are the trainer's own figures; these are
what only texts, labels and groups can tell. What a labeler must read is read in a sample.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrg_r1.findings import DISEASES, FINDINGS, Finding, Status
from mrg_r1.labelers import Labeler
from mrg_r1.labelers.rules.text import fold, sentences, words
from mrg_r1.metrics.arrays import Floats, classes_of
from mrg_r1.rewards import Completion, Reward, reports_of
from mrg_r1.rewards.penalties import ContradictionPenalty, RepetitionPenalty

MEASURES = {
    "no_variance": "share of groups whose completions all earn the same",
    "no_variance/NAME": "the same of one reward",
    "form_only": "share of groups that differ in what they earn, but in no clinical reward",
    "copied": "share of groups whose completions hold one and the same report",
    "unpaid/NAME": "share of groups in which that reward pays no completion",
    "no_report": "share of completions without a report part; the rest is of those with one",
    "distinct": "distinct reports, as a share of the reports",
    "repeated": "share of reports that say a sentence, or four words in a row, again",
    "words": "words a report",
    "positive": "findings affirmed a report, of 13",
    "uncertain": "uncertain findings a report, of 13",
    "hedged": "uncertain findings, as a share of those affirmed or uncertain",
    "no_finding": "share of reports that the labeler calls No Finding",
    "contradicted": "share of reports that affirm and deny a finding, by sentence",
}
"""What each figure `health/...` is; those of labels and words have a `..._reference` too."""

_CLINICAL = ("mccs", "ce_f1", "overlap")

_ALIKE = 1e-6
"""Rewards this close are equal: the trainer adds 1e-4 to what it divides their difference by."""


@dataclass(frozen=True, slots=True)
class Readers:
    """Who reads the sampled completions.

    Attributes:
        labeler: the reward's; what it has read for the reward costs nothing.
        contradiction: with a labeler that is cheap a sentence.
        judge: a reward that is not trained on, if there is one.
    """

    labeler: Labeler
    contradiction: ContradictionPenalty
    judge: Reward | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What is known of n completions, of which s are sampled and m of those hold a report.

    Attributes:
        rewards: (n, components), unweighted.
        totals: (n,), weighted sums.
        reports: (n,), digests of the reports; 0 where there is none.
        words: (n, 2), of report and reference.
        repeats: (n,), whether the report says something again.
        statuses: (m, 2, 14), classes of report and reference.
        contradicts: (m,), whether the report affirms and denies a finding.
        judged: (s,), by the second judge; empty without one.
    """

    rewards: Floats
    totals: Floats
    reports: NDArray[np.uint64]
    words: Floats
    repeats: NDArray[np.bool_]
    statuses: NDArray[np.uint8]
    contradicts: NDArray[np.bool_]
    judged: Floats


def sampled(n: int, most: int) -> list[int]:
    """Indices of at most `most` of n completions, evenly spread."""
    return list(range(0, n, -(-n // most))) if n and most > 0 else []


def observe(
    completions: Sequence[Completion],
    reference: Sequence[str],
    rewards: Sequence[Sequence[float]],
    weights: Sequence[float],
    readers: Readers,
    sample: Sequence[int],
) -> Facts:
    """What these completions show; arguments are left as they are.

    Args:
        completions: n, plain or conversational.
        reference: n texts.
        rewards: n numbers for each component.
        weights: one for each component.
        readers: of the sample.
        sample: indices of completions.
    """
    reports = reports_of(completions)
    read = [index for index in sample if reports[index]]
    labels = readers.labeler.label([t for i in read for t in (reports[i], reference[i])])
    values = np.array(rewards, dtype=np.float64).reshape(len(weights), -1).T
    said_again = RepetitionPenalty()(completions)
    contradicted = readers.contradiction([completions[index] for index in read])
    judged = (
        readers.judge([completions[i] for i in sample], reference=[reference[i] for i in sample])
        if readers.judge
        else []
    )
    return Facts(
        rewards=values,
        totals=values @ np.array(weights, dtype=np.float64),
        reports=np.array([_digest(report) for report in reports], dtype=np.uint64),
        words=np.array(
            [[len(r.split()), len(t.split())] for r, t in zip(reports, reference, strict=True)],
            dtype=np.float64,
        ).reshape(-1, 2),
        repeats=np.array(
            [share < 0 or _repeats(r) for share, r in zip(said_again, reports, strict=True)],
            dtype=np.bool_,
        ),
        statuses=classes_of(labels).reshape(-1, 2, len(FINDINGS)),
        contradicts=np.array(contradicted, dtype=np.float64) < 0,
        judged=np.array(judged, dtype=np.float64),
    )


def joined(parts: Sequence[Facts]) -> Facts:
    """The facts of several processes, in their order, as those of one batch."""
    return Facts(
        *(
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in dataclasses.fields(Facts)
        )
    )


def health(
    facts: Facts, components: Sequence[str], group: int, judge: str = ""
) -> dict[str, float]:
    """The figures of one batch, by the names they have in `metrics.jsonl`.

    A figure that would be computed of nothing is left out.

    Args:
        facts: of whole groups, one after the other.
        components: names of the rewards.
        group: completions of a group (G of section IV-B).
        judge: name of the second judge, if there is one.
    """
    written = facts.reports != 0  # (n,)
    figures = {
        **_of_groups(facts, components, group),
        "no_report": _mean(~written),
        "distinct": _ratio(len(np.unique(facts.reports[written])), int(written.sum())),
        "repeated": _mean(facts.repeats[written]),
        **_beside("words", *(_mean(column) for column in facts.words[written].T)),
        **_of_labels(facts.statuses),
        "contradicted": _mean(facts.contradicts),
    }
    named = {f"health/{name}": value for name, value in figures.items()}
    named |= {f"judge/{judge}": _mean(facts.judged)} if judge else {}
    return {name: value for name, value in named.items() if value is not None}


def _of_groups(facts: Facts, components: Sequence[str], group: int) -> dict[str, float | None]:
    """Figures of groups, the last by component."""
    named = dict(zip(components, facts.rewards.T, strict=True))
    alike = {name: _alike(column, group) for name, column in named.items()}
    paid = {name: _best(named[name], group) > 0 for name in _CLINICAL if name in named}
    same = _alike(facts.totals, group)
    form_only: NDArray[np.bool_] = ~same
    for name in paid:
        form_only = form_only & alike[name]
    reports = facts.reports.reshape(-1, group)
    copied: NDArray[np.bool_] = (reports == reports[:, :1]).all(axis=1) & reports.any(axis=1)
    return {
        "no_variance": _mean(same),
        "form_only": _mean(form_only) if paid else None,
        "copied": _mean(copied),
        **{f"no_variance/{name}": _mean(groups) for name, groups in alike.items()},
        **{f"unpaid/{name}": _mean(~groups) for name, groups in paid.items()},
    }


def _of_labels(statuses: NDArray[np.uint8]) -> dict[str, float | None]:
    """Figures of reports and references, whose classes are (m, 2, 14)."""
    diseases = statuses[:, :, : len(DISEASES)]
    positive = (diseases == Status.POSITIVE).sum(axis=2, dtype=np.float64)  # (m, 2)
    uncertain = (diseases == Status.UNCERTAIN).sum(axis=2, dtype=np.float64)
    normal = statuses[:, :, FINDINGS.index(Finding.NO_FINDING)] == Status.POSITIVE
    hedged = (
        _ratio(float(hedges.sum()), float((hedges + affirms).sum()))
        for hedges, affirms in zip(uncertain.T, positive.T, strict=True)
    )
    return {
        **_beside("positive", *map(_mean, positive.T)),
        **_beside("uncertain", *map(_mean, uncertain.T)),
        **_beside("hedged", *hedged),
        **_beside("no_finding", *map(_mean, normal.T)),
    }


def _beside(name: str, report: float | None, reference: float | None) -> dict[str, float | None]:
    return {name: report, f"{name}_reference": reference}


def _alike(rewards: Floats, group: int) -> NDArray[np.bool_]:
    """Whether all finite rewards of a group are equal: (n,) to (groups,)."""
    return _best(rewards, group) + _best(-rewards, group) <= _ALIKE


def _best(rewards: Floats, group: int) -> Floats:
    """The highest finite reward of each group, -inf where there is none: (n,) to (groups,)."""
    known = np.where(np.isfinite(rewards), rewards, -np.inf)
    return known.reshape(-1, group).max(axis=1)


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _digest(report: str) -> int:
    """The same in every process, unlike `hash`; 0 for no report."""
    if not report:
        return 0
    return int.from_bytes(
        hashlib.blake2b(report.encode("utf-8", "replace"), digest_size=8).digest()
    )


def _repeats(report: str) -> bool:
    """Whether a sentence occurs twice; runs of words do not show short ones."""
    folded = fold(report)
    said = [spoken for span in sentences(report) if (spoken := words(folded, *span))]
    return len(set(said)) < len(said)
