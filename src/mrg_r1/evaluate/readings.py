"""What the labeler reads in single reports, and what a run's rewards pay for them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from mrg_r1.completion import parse, render
from mrg_r1.evaluate.systems import Predictions, Systems, checked, read_once, texts
from mrg_r1.labelers import Labeler
from mrg_r1.metrics.cosine import ccs, signed
from mrg_r1.records import Reading
from mrg_r1.rewards import CLINICAL_WEIGHT, FORMAT_WEIGHT, Reward
from mrg_r1.rewards.format import FormatReward
from mrg_r1.rewards.mccs import MccsReward


def readings(
    systems: Systems,
    labeler: Labeler,
    *,
    rewards: Sequence[tuple[Reward, float]] | None = None,
    beside: Systems | None = None,
) -> list[Reading]:
    """What the labeler read in the references and in each system's reports, with CCS and reward.

    Args:
        systems: predictions by name, all with the same ids and references.
        labeler: reads reports and references alike.
        rewards: the run's rewards with their weights; else the paper's (section IV-B). A system
            that hands over reports only is rewarded as if it had tagged them.
        beside: baselines on the same samples, whose names no system may have.

    Raises:
        DataError: as for `evaluate`.
    """
    systems = {**checked(systems), **(beside or {})}
    # Rewards parse what they are given, which may be another text than the report.
    parsed = (parse(text).report for found in systems.values() for text in _completions(found))
    known = read_once(labeler, chain(texts(systems), parsed))
    if rewards is None:
        rewards = ((MccsReward(known), CLINICAL_WEIGHT), (FormatReward(), FORMAT_WEIGHT))
    first = next(iter(systems.values()))
    expected = known.label([p.reference for p in first])
    found = [
        Reading(p.id, "reference", labels.statuses, ccs=1.0, reward=1.0)
        for p, labels in zip(first, expected, strict=True)
    ]
    for name, predictions in systems.items():
        found += _system_readings(name, predictions, known, rewards)
    return found


def _completions(predictions: Predictions) -> list[str]:
    return [p.completion or (p.report and render(p.think, p.report)) for p in predictions]


def _system_readings(
    name: str,
    predictions: Predictions,
    labeler: Labeler,
    rewards: Sequence[tuple[Reward, float]],
) -> list[Reading]:
    references = [p.reference for p in predictions]
    generated = labeler.label([p.report for p in predictions])
    cosine = ccs(signed(generated), signed(labeler.label(references)))
    completions = _completions(predictions)
    total = np.zeros(len(predictions))
    for reward, weight in rewards:
        total += weight * np.array(reward(completions, reference=references))
    return [
        Reading(p.id, name, labels.statuses, ccs=float(c), reward=float(r))
        for p, labels, c, r in zip(predictions, generated, cosine, total, strict=True)
    ]
