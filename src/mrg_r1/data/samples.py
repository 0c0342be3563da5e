"""From studies to samples: which text is the reference, which images go with it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, get_args

from mrg_r1.data.context import KINDS, Context, context_of
from mrg_r1.data.study import LeftOut, Position, Sample, Study, View
from mrg_r1.errors import ConfigError, DataError

Section = Literal["findings", "impression", "both", "findings-or-impression"]
Views = Literal["each", "frontal", "first", "all"]


def samples(
    studies: Iterable[Study],
    *,
    section: Section = "findings",
    views: Views = "each",
    context: Sequence[Context] = (),
) -> tuple[list[Sample], list[LeftOut]]:
    """The samples of these studies, in their order, and the studies that give none, by reason.

    Args:
        studies: the studies, of one split as a rule.
        section: the reference: 'findings', 'impression', 'both' (findings, a line break,
            impression; studies must have both) or 'findings-or-impression' (the impression
            where there are no findings).
        views: 'each' pairs each image of a study with its report, a sample each, as the paper
            does (section IV); 'frontal' takes a study's first frontal view; 'first' its first
            view, whatever it shows; 'all' puts all its images into one sample.
        context: what the prompt says beside the instruction. 'prior-images' shows images of the
            previous study too: all of them with views 'all', else its first frontal view, or its
            first where it has none.

    Returns:
        Samples with distinct ids, '<study>:<image stem>' for 'each', else the study's id; and
        what was left out.

    Raises:
        ConfigError: no such section, views or context.
        DataError: two samples of one id, that is two studies of one id.
    """
    _check_choice("section", section, get_args(Section))
    _check_choice("views", views, get_args(Views))
    for kind in context:
        _check_choice("context", kind, KINDS)
    chosen: list[Sample] = []
    left: dict[str, list[str]] = defaultdict(list)
    for study in studies:
        reference = reference_of(study, section)
        groups = _groups(study, views)
        if not reference:
            left[_missing_text(study, section)].append(study.id)
        elif not groups:
            left["no frontal view" if study.views else "no image"].append(study.id)
        else:
            before = _prior_images(study, views) if "prior-images" in context else ()
            given = context_of(study, context, len(before))
            chosen += (
                Sample(name, study.id, (*(view.path for view in group), *before), reference, given)
                for name, group in groups
            )
    _check_distinct(chosen)
    return chosen, [LeftOut(reason, tuple(ids)) for reason, ids in left.items()]


def reference_of(study: Study, section: Section) -> str:
    """The text of a study that samples are paired with; empty where it has none."""
    findings, impression = study.findings.strip(), study.impression.strip()
    match section:
        case "findings":
            return findings
        case "impression":
            return impression
        case "both":
            return f"{findings}\n{impression}" if findings and impression else ""
        case "findings-or-impression":
            return findings or impression


def _missing_text(study: Study, section: Section) -> str:
    findings, impression = study.findings.strip(), study.impression.strip()
    if section == "findings-or-impression" or (section == "both" and not findings + impression):
        return "no findings and no impression"
    return "no impression" if section == "impression" or findings else "no findings"


def _groups(study: Study, views: Views) -> list[tuple[str, tuple[View, ...]]]:
    """The views of each sample of a study, with the sample's id."""
    if views == "each":
        return list(zip(_ids(study), ((view,) for view in study.views), strict=True))
    if views == "frontal":
        group = tuple(view for view in study.views if view.position is Position.FRONTAL)[:1]
    else:
        group = study.views[:1] if views == "first" else study.views
    return [(study.id, group)] if group else []


def _prior_images(study: Study, views: Views) -> tuple[Path, ...]:
    found = study.prior.views if study.prior else ()
    if views != "all":
        found = sorted(found, key=lambda view: view.position is not Position.FRONTAL)[:1]
    return tuple(view.path for view in found)


def without_context(chosen: Iterable[Sample], context: Iterable[Context]) -> dict[Context, int]:
    """How many samples lack each kind of context, of those kinds that some sample lacks."""
    given = [sample.context for sample in chosen]
    lacking: dict[Context, int] = {
        kind: sum(kind not in context for context in given) for kind in context
    }
    return {kind: count for kind, count in lacking.items() if count}


def _ids(study: Study) -> list[str]:
    """A study's sample ids: by image stem, or by number where stems are alike."""
    stems = [view.path.stem.removesuffix(".dcm") for view in study.views]
    if len(set(stems)) < len(stems):
        stems = [str(number) for number in range(len(stems))]
    return [f"{study.id}:{stem}" for stem in stems]


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} '{value}'; use one of {', '.join(choices)}")


def _check_distinct(chosen: Iterable[Sample]) -> None:
    for name, count in Counter(sample.id for sample in chosen).items():
        if count > 1:
            raise DataError(f"sample id {name} occurs {count} times; give each study its own id")
