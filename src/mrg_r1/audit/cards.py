"""A study as shown: its images, its reference, and the report of each system beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from mrg_r1.audit.agreement import Chip, agreed, codes, disagreements
from mrg_r1.audit.facts import labeler, recipe_table
from mrg_r1.audit.load import SRL, START, Run
from mrg_r1.audit.pictures import Images, Picture, picture, withheld
from mrg_r1.audit.scores import NAMES, kind
from mrg_r1.audit.statements import LONGEST, Piece, reference_pieces, report_pieces
from mrg_r1.audit.studies import Sample, anchor
from mrg_r1.completion import parse
from mrg_r1.data.context import prior_count
from mrg_r1.findings import Labels
from mrg_r1.labelers.rules import Mention, RulesLabeler
from mrg_r1.records import Prediction

_MOST_IMAGES = 4

_ABSENT = {START: "No report before SRL for this sample.", SRL: "No report after SRL yet."}

Mentions = Callable[[str], Sequence[Mention]]


@dataclass(frozen=True, slots=True)
class Column:
    """A system whose reports stand side by side; `index` names it to the page's script."""

    index: int
    name: str
    title: str
    kind: str
    absent: str


@dataclass(frozen=True, slots=True)
class Text:
    """A text as shown, and how many characters were left out at its end."""

    shown: str
    left_out: int


@dataclass(frozen=True, slots=True)
class Written:
    """A reference or a report in pieces, and how many characters were left out at its end."""

    pieces: tuple[Piece, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class ReportView:
    """One report of one system.

    Attributes:
        column: whose it is.
        report: its text.
        think: its think part.
        raw: what the policy wrote, where there is no report in it.
        violations: what is wrong with its form, in words.
        reward, ccs: what it earned; None where no labeler read it.
        chips: findings on which it differs from the reference; None where not both were read.
        agreed: findings on which it does not.
        statuses: its labels as digits; '' where no labeler read it.
    """

    column: Column
    report: Written
    think: Text
    raw: Text | None
    violations: tuple[str, ...]
    reward: float | None
    ccs: float | None
    chips: tuple[Chip, ...] | None
    agreed: tuple[str, ...]
    statuses: str


@dataclass(frozen=True, slots=True)
class Card:
    """One sample as shown.

    `statuses` are the reference's; `context` is what the prompt said, by kind; of the images the
    last `prior_images` are of the previous study.
    """

    anchor: str
    id: str
    study_id: str
    pictures: tuple[Picture, ...]
    more_pictures: int
    reference: Written
    statuses: str
    reports: tuple[tuple[Column, ReportView | None], ...]
    change: float | None
    context: tuple[tuple[str, Text], ...]
    prior_images: int


def columns(run: Run) -> tuple[Column, ...]:
    """A column per system; a run has both of its, written yet or not."""
    names = NAMES if run.trained else {}
    return tuple(
        Column(
            index,
            name,
            names.get(name, name),
            kind(name) if run.trained or kind(name) == "baseline" else "other",
            _ABSENT.get(name, "No report.") if run.trained else "No report.",
        )
        for index, name in enumerate(run.systems)
    )


def rules(run: Run) -> RulesLabeler:
    """The labeler that shows the evidence: with the scores' conventions, if rules made them."""
    return RulesLabeler("chexpert" if labeler(run).startswith("rules-chexpert") else "chexbert")


def cards(run: Run, samples: Sequence[Sample], images: Images) -> list[Card]:
    """The cards of the samples shown; image paths may be relative to the run's folder."""
    beside, source = columns(run), recipe_table(run.recipe.get("data")).get("source")
    mentions = cache(rules(run).mentions)

    def look(path: str) -> Picture:
        problem = withheld(source, path, images)
        return Picture("", 0, 0, problem) if problem else picture(run.folder, path)

    return [
        _card(sample, index, beside, mentions, look)
        for index, sample in enumerate(samples, start=1)
    ]


def _card(
    sample: Sample,
    index: int,
    beside: Sequence[Column],
    mentions: Mentions,
    look: Callable[[str], Picture],
) -> Card:
    last = sample.last
    shown = last.images[:_MOST_IMAGES]
    text = last.reference[:LONGEST]
    judged = {
        column.title: sample.reads[column.name].labels
        for column in beside
        if column.name in sample.reads and column.kind != "baseline"
    }
    pieces = reference_pieces(text, mentions(last.reference), judged)
    return Card(
        anchor=anchor(index),
        id=sample.id,
        study_id=last.study_id,
        pictures=tuple(map(look, shown)),
        more_pictures=len(last.images) - len(shown),
        reference=Written(pieces, len(last.reference) - len(text)),
        statuses=codes(sample.reference.labels) if sample.reference else "",
        reports=tuple((column, _view(sample, column, mentions)) for column in beside),
        change=sample.change,
        context=tuple((kind, _text(words)) for kind, words in last.context.items() if words),
        prior_images=prior_count(last.context),
    )


def _view(sample: Sample, column: Column, mentions: Mentions) -> ReportView | None:
    prediction = sample.predictions.get(column.name)
    if prediction is None:
        return None
    read = sample.reads.get(column.name)
    reference = sample.reference.labels if sample.reference else None
    own = read.labels if read else None
    text = prediction.report[:LONGEST]
    pieces = report_pieces(text, mentions(prediction.report), reference, own)
    both: tuple[Labels, Labels] | None = (reference, own) if reference and own else None
    return ReportView(
        column=column,
        report=Written(pieces, len(prediction.report) - len(text)),
        think=_text(prediction.think),
        raw=_text(prediction.completion) if _only_raw(prediction) else None,
        violations=violations(prediction),
        reward=read.reward if read else None,
        ccs=read.ccs if read else None,
        chips=disagreements(*both) if both else None,
        agreed=agreed(*both) if both else (),
        statuses=codes(own) if own else "",
    )


def _only_raw(prediction: Prediction) -> bool:
    return bool(prediction.completion) and not prediction.report.strip()


def violations(prediction: Prediction) -> tuple[str, ...]:
    """What is wrong with the completion's form, in words.

    Nothing is claimed where parsing gives other parts than the prediction has: then the chat
    template had written part of the form itself. A system that hands over reports only has none.
    """
    parsed = parse(prediction.completion)
    if (parsed.think, parsed.report) != (prediction.think, prediction.report):
        return ()
    return tuple(violation.value for violation in parsed.violations)


def _text(text: str) -> Text:
    return Text(text[:LONGEST], max(0, len(text) - LONGEST))
