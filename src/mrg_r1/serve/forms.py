"""The bodies of requests and answers of the policy server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mrg_r1.data.context import KINDS, given_context
from mrg_r1.document import NOTICE
from mrg_r1.findings import FINDINGS
from mrg_r1.serve.uploads import Limits

if TYPE_CHECKING:
    FindingName = str
else:
    FindingName = Literal[tuple(finding.value for finding in FINDINGS)]
Said = Literal["positive", "negative", "uncertain"]
Text = Annotated[str, Field(max_length=20_000)]
_Name = Annotated[str, Field(max_length=64)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Shares = dict[Literal["blank", "positive", "negative", "uncertain"], _Share]


class Body(BaseModel):
    """What is sent to us: a misspelt field is an error."""

    model_config = ConfigDict(extra="forbid")


class Options(Body):
    """How a report is written; all are optional."""

    drafts: int = Field(1, ge=1, description="Sample so many; the one the others agree with most.")
    temperature: float | None = Field(
        None, ge=0, le=2, description="0 is greedy; else 0 for one draft and 1 for several."
    )
    top_p: float = Field(1.0, gt=0, le=1, description="The probability mass that is sampled from.")
    seed: int = Field(0, ge=0, lt=2**62, description="Of the sampling.")
    max_tokens: int | None = Field(None, ge=1, description="The longest completion.")
    stream: bool = Field(False, description="Server-sent events while it is written.")
    indication: Text = Field("", description="Why the images were taken, for the prompt.")
    prior_report: Text = Field("", description="Of the previous study, for the prompt.")
    prior_images: int = Field(
        0, ge=0, description="How many of the images, the last of them, are of the previous study."
    )

    def context(self) -> dict[str, str]:
        """What the prompt says beside the instruction."""
        return given_context(self.indication, self.prior_report, self.prior_images)

    @property
    def heat(self) -> float:
        """The temperature, with its default."""
        return float(self.drafts > 1) if self.temperature is None else self.temperature

    def decoding(self) -> str:
        """How it was written, in words."""
        if not self.heat:
            return "greedy"
        drawn = f"temperature {self.heat:g}, top-p {self.top_p:g}, seed {self.seed}"
        return drawn if self.drafts == 1 else f"consensus of {self.drafts}, {drawn}"


class Evidence(Body):
    """Words of the report that speak of a finding; places are in Unicode characters."""

    finding: FindingName
    status: Said
    start: int
    end: int
    cue: str | None
    cue_start: int | None
    cue_end: int | None
    sentence_start: int
    sentence_end: int


class Labelled(Body):
    """What a text claims: the findings it speaks of, and where."""

    findings: dict[FindingName, Said]
    evidence: list[Evidence]


class Answer(Body):
    """A written report.

    `agreement` is the share of the drafts that say so, by finding and status; without several
    drafts it is empty. `cut` tells that the length limit ended it.
    """

    id: _Name = ""
    completion: Text = ""
    think: Text = ""
    report: Text
    violations: list[_Name] = Field(default=[], max_length=20)
    cut: bool = False
    findings: dict[FindingName, Said] = {}
    evidence: list[Evidence] = Field(default=[], max_length=2000)
    agreement: dict[FindingName, _Shares] = {}
    drafts: int = Field(1, ge=1, le=1000)
    model: Annotated[str, Field(max_length=200)] = ""
    decoding: Annotated[str, Field(max_length=200)] = ""
    labeler: _Name = ""
    context: dict[_Name, Text] = Field(default={}, max_length=len(KINDS))
    notice: Annotated[str, Field(max_length=400)] = NOTICE


class Answers(Body):
    """Several, in the order of the images."""

    reports: list[Answer]


class Texts(Body):
    """A report, and a reference to compare it with."""

    report: Text
    reference: Text = ""


class Kind(Body):
    """How a report stands to its reference on one finding; `kind` as the audit page names it."""

    finding: FindingName
    kind: str
    mark: str
    meaning: str
    reference: str
    report: str


class Compared(Body):
    """What both claim, and where they differ; `kinds` is empty without a reference."""

    report: Labelled
    reference: Labelled | None
    kinds: list[Kind]


def upload_schema(limits: Limits, several: str, *, options: bool = True) -> dict[str, Any]:
    """The description of a multipart body: files named 'image', and options.

    Args:
        limits: how many files.
        several: what several files are.
        options: whether it takes `Options`.
    """
    files = {
        "type": "array",
        "items": {"type": "string", "contentMediaType": "application/octet-stream"},
        "minItems": 1,
        "maxItems": limits.images,
        "description": f"PNG, JPEG or DICOM, whatever their names; {several}.",
    }
    more = Options.model_json_schema()["properties"] if options else {}
    schema = {
        "type": "object",
        "properties": {"image": files, **more},
        "required": ["image"],
        "additionalProperties": False,
    }
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }
