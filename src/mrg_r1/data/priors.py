"""Which study of a patient was the previous one: strictly earlier, and of the same split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from mrg_r1.data.study import Prior, Study


@dataclass(frozen=True, slots=True)
class Span:
    """When the first and the last image of a study were taken, as texts that sort by time."""

    first: str
    last: str


def with_priors(studies: Iterable[Study], spans: Mapping[str, Span]) -> list[Study]:
    """The studies, in their order, each with the latest that was over before it began.

    Only studies of the same patient and the same split count, and never one that began at the
    same time, or was not over: what it says could be about the very study. A study whose time is
    not known has no previous one and is none.

    Args:
        studies: all there are; one that was left out is nobody's previous study.
        spans: when they were made, by id.
    """
    listed = list(studies)
    others: dict[tuple[str, str], list[Study]] = defaultdict(list)
    for study in listed:
        if study.patient and study.id in spans:
            others[study.patient, study.split].append(study)
    return [
        replace(study, prior=_latest(others[study.patient, study.split], study, spans))
        for study in listed
    ]


def _latest(others: Iterable[Study], study: Study, spans: Mapping[str, Span]) -> Prior | None:
    """The study that ended last of those that ended before this one began."""
    span = spans.get(study.id)
    earlier = [other for other in others if span and spans[other.id].last < span.first]
    if not earlier:
        return None
    found = max(earlier, key=lambda other: (spans[other.id].last, other.id))
    return Prior(found.id, found.findings, found.impression, found.views)
