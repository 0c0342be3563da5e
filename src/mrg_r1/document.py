"""A report as its reader gets it: the text, what it claims and how sure, and who wrote it how.

A line of what `mrg-r1 generate` writes, what `mrg-r1 serve` answers, and what is exported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mrg_r1.completion import parse
from mrg_r1.consensus import Consensus, consensus, labels_of
from mrg_r1.data.study import Sample
from mrg_r1.findings import FINDINGS, Finding, Labels, Status
from mrg_r1.labelers import Labeler

NOTICE = "Written by a model and checked by nobody. Research software: not for clinical use."


@dataclass(frozen=True, slots=True)
class Document:
    """A written report; the first seven fields, and `context`, are those of `records.Prediction`.

    Attributes:
        id: of the sample.
        study_id: of its study.
        completion: the raw text.
        think: its think part.
        report: its report part; empty where there is none.
        reference: what it is compared with; empty where nothing is.
        images: paths of the images.
        findings: the status (as `Status`, in lower case) of each finding that is not blank, by the
            finding's name.
        agreement: by finding and status, the share of the drafts that say so, in (0, 1]; without
            findings of which no draft says anything. Empty where there was one draft.
        drafts: how many reports were sampled; this is the one the others agree with most.
        model: which policy wrote it.
        decoding: how.
        labeler: identity of the labeler that read the findings.
        context: what the prompt said beside the instruction, by kind (`data.context`).
        instruction: the prompt's, where it was not the policy's own.
        notice: what every reader must know.
    """

    id: str
    study_id: str
    completion: str
    think: str
    report: str
    reference: str = ""
    images: tuple[str, ...] = ()
    findings: dict[str, str] = field(default_factory=dict[str, str])
    agreement: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    drafts: int = 1
    model: str = ""
    decoding: str = ""
    labeler: str = ""
    notice: str = NOTICE
    context: dict[str, str] = field(default_factory=dict[str, str])
    instruction: str = ""

    def claims(self) -> list[Claim]:
        """What the report says of each finding it speaks of, in CheXbert's order."""
        return [
            Claim(finding, Status[said.upper()], self.agreement.get(finding.value, {}).get(said))
            for finding in FINDINGS
            if (said := self.findings.get(finding.value))
        ]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a report says of a finding.

    `confidence` is the share of the drafts that say the same, in [0, 1]; None of a single draft.
    """

    finding: Finding
    status: Status
    confidence: float | None


def compose(
    sample: Sample,
    drafts: Sequence[str],
    labeler: Labeler,
    *,
    model: str,
    decoding: str,
    instruction: str = "",
) -> Document:
    """The document of a sample from the completions that were written of it.

    Args:
        sample: what was reported.
        drafts: completions, at least one; of several the consensus is taken.
        labeler: reads what they claim.
        model: which policy wrote them.
        decoding: how they were written.
        instruction: of the prompt, where it was not the policy's own.
    """
    parsed = [parse(draft) for draft in drafts]
    labels = labels_of([part.report for part in parsed], labeler)
    agreed = consensus(labels)
    chosen = agreed.chosen
    return Document(
        id=sample.id,
        study_id=sample.study_id,
        completion=drafts[chosen],
        think=parsed[chosen].think,
        report=parsed[chosen].report,
        reference=sample.reference,
        images=tuple(map(str, sample.images)),
        findings=_findings(labels[chosen]),
        agreement=_agreement(agreed) if len(drafts) > 1 else {},
        drafts=len(drafts),
        model=model,
        decoding=decoding,
        labeler=labeler.identity,
        context=dict(sample.context),
        instruction=instruction,
    )


def _findings(labels: Labels | None) -> dict[str, str]:
    return {
        finding.value: status.name.lower()
        for finding, status in (labels.items() if labels else ())
        if status is not Status.BLANK
    }


def _agreement(agreed: Consensus) -> dict[str, dict[str, float]]:
    return {
        finding.value: {s.name.lower(): round(shares[s], 4) for s in Status if shares[s]}
        for finding, shares in zip(FINDINGS, agreed.shares, strict=True)
        if shares[Status.BLANK] < 1
    }
