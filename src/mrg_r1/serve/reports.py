"""Completions become answers: taken apart, labelled, with evidence, compared with a reference."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from mrg_r1.audit.agreement import Agreement, agreement
from mrg_r1.completion import parse
from mrg_r1.data.study import Sample
from mrg_r1.document import Document, compose
from mrg_r1.findings import DISEASES, Labels, Status
from mrg_r1.labelers.rules import Mention, RulesLabeler
from mrg_r1.labelers.rules.text import sentences
from mrg_r1.policy.asks import Written
from mrg_r1.serve.calls import Service
from mrg_r1.serve.forms import Answer, Compared, Evidence, Kind, Labelled, Options


def answer_of(service: Service, written: Sequence[Written], options: Options) -> Answer:
    """The answer to one study from its drafts."""
    drafts = [row.completion for row in written]
    study = Sample(uuid.uuid4().hex, "", (), "", options.context())
    document = compose(
        study, drafts, service.labeler, model=service.model, decoding=options.decoding()
    )
    chosen = written[drafts.index(document.completion)]
    return Answer(
        id=document.id,
        completion=document.completion,
        think=document.think,
        report=document.report,
        violations=[violation.value for violation in parse(document.completion).violations],
        cut=not chosen.whole,
        findings=document.findings,  # type: ignore[arg-type]
        evidence=evidence_of(document.report, service.labeler),
        agreement=document.agreement,  # type: ignore[arg-type]
        drafts=document.drafts,
        model=document.model,
        decoding=document.decoding,
        labeler=document.labeler,
        context=document.context,
        notice=document.notice,
    )


def document_of(service: Service, answer: Answer) -> Document:
    """The document of an answer that came back; who wrote it is ours to say, not the sender's."""
    kept = answer.model_dump(include=_KEPT)
    return Document(
        **kept,
        id=answer.id or uuid.uuid4().hex,
        study_id="",
        model=service.model,
        labeler=service.labeler.identity,
    )


_KEPT = {"completion", "think", "report", "findings", "agreement", "drafts", "decoding", "context"}


def evidence_of(report: str, labeler: RulesLabeler) -> list[Evidence]:
    """The words that speak of findings, each with the sentence it stands in."""
    spans = [_trimmed(report, *span) for span in sentences(report)]
    return [_evidence(mention, spans) for mention in labeler.mentions(report)]


def _evidence(mention: Mention, spans: Sequence[tuple[int, int]]) -> Evidence:
    around = next(span for span in spans if span[0] <= mention.start < span[1])
    cue = mention.cue_span or (None, None)
    return Evidence(
        finding=mention.finding.value,
        status=mention.status.name.lower(),  # type: ignore[arg-type]
        start=mention.start,
        end=mention.end,
        cue=mention.cue,
        cue_start=cue[0],
        cue_end=cue[1],
        sentence_start=around[0],
        sentence_end=around[1],
    )


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def compared(report: str, reference: str, labeler: RulesLabeler) -> Compared:
    """What two texts claim and where they differ; kinds in the audit's order, errors first."""
    of_report = labeler.label([report])[0]
    of_reference = labeler.label([reference])[0] if reference.strip() else None
    return Compared(
        report=_labelled(report, of_report, labeler),
        reference=of_reference and _labelled(reference, of_reference, labeler),
        kinds=_kinds(of_reference, of_report) if of_reference else [],
    )


def _labelled(text: str, labels: Labels, labeler: RulesLabeler) -> Labelled:
    said: dict[Any, Any] = {
        finding.value: status.name.lower()
        for finding, status in labels.items()
        if status is not Status.BLANK
    }
    return Labelled(findings=said, evidence=evidence_of(text, labeler))


def _kinds(reference: Labels, report: Labels) -> list[Kind]:
    order = list(Agreement)
    pairs = [(agreement(reference[f], report[f]), f) for f in DISEASES]
    return [
        Kind(
            finding=finding.value,
            kind=kind.slug,
            mark=kind.mark,
            meaning=kind.meaning,
            reference=reference[finding].name.lower(),
            report=report[finding].name.lower(),
        )
        for kind, finding in sorted(pairs, key=lambda pair: order.index(pair[0]))
        if kind is not Agreement.SILENT
    ]
