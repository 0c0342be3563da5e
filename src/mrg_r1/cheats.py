"""What a recipe's reward pays for cheating: hostile completions against honest ones.

Two honest completions are the measure. A cheat that knows the reference (repeats it, hedges it)
must earn less than the reference itself: earning as much, it costs nothing. A cheat that never
looks at the image must earn less than a hasty reader, who leaves out every third sentence.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mrg_r1.completion import render
from mrg_r1.errors import DataError
from mrg_r1.evaluate import CONSTANT_NORMAL
from mrg_r1.findings import DISEASES, Finding, Labels, Status
from mrg_r1.labelers import Labeler
from mrg_r1.labelers.rules.text import sentences
from mrg_r1.metrics.constant import best_for_ccs
from mrg_r1.rewards.total import TOTAL, TotalReward

_TIE = 1e-6
_THINK = "The image has been read."
_NAMES = {
    Finding.ENLARGED_CARDIOMEDIASTINUM: "enlarged mediastinum",
    Finding.CARDIOMEGALY: "cardiomegaly",
    Finding.LUNG_OPACITY: "lung opacity",
    Finding.LUNG_LESION: "lung nodule",
    Finding.EDEMA: "pulmonary edema",
    Finding.CONSOLIDATION: "consolidation",
    Finding.PNEUMONIA: "pneumonia",
    Finding.ATELECTASIS: "atelectasis",
    Finding.PNEUMOTHORAX: "pneumothorax",
    Finding.PLEURAL_EFFUSION: "pleural effusion",
    Finding.PLEURAL_OTHER: "pleural thickening",
    Finding.FRACTURE: "rib fracture",
    Finding.SUPPORT_DEVICES: "pacemaker",
}
_SENTENCES = {
    Status.POSITIVE: "There is {}.",
    Status.NEGATIVE: "No {}.",
    Status.UNCERTAIN: "Possible {}.",
}


@dataclass(frozen=True, slots=True)
class Study:
    """What a cheat may use.

    `other` is another study's reference; `constant` the report of highest mean CCS that is the
    same for every image; `instruction` the prompt.
    """

    reference: str
    labels: Labels
    other: str
    constant: str
    instruction: str


@dataclass(frozen=True, slots=True)
class Cheat:
    """A way to write completions without being right.

    `blind` ones do not use the study's own reference. `remedy` is the recipe's option that
    closes it.
    """

    name: str
    write: Callable[[Study], str]
    blind: bool
    remedy: str


@dataclass(frozen=True, slots=True)
class Paid:
    """What a way to write earns on average over studies: the total, and each component.

    `limit` is what the honest completion earns that it is measured by, None for honest ones.
    """

    name: str
    components: dict[str, float]
    limit: float | None = None
    remedy: str = ""

    @property
    def reward(self) -> float:
        """The total."""
        return self.components[TOTAL]

    @property
    def pays(self) -> bool:
        """Whether cheating earns as much as honesty, or more."""
        return self.limit is not None and self.reward >= self.limit - _TIE


def cheats_paid(
    reward: TotalReward,
    labeler: Labeler,
    references: Sequence[str],
    *,
    instruction: str,
    studies: int = 200,
    seed: int = 0,
) -> list[Paid]:
    """What honest completions earn, then each cheat, on a seeded choice of studies.

    Args:
        reward: the recipe's.
        labeler: reads the references, to know what to hedge and which constant is best.
        references: of the training split.
        instruction: the recipe's prompt.
        studies: how many references to use, at most.
        seed: of the choice.

    Raises:
        DataError: all references are alike, so that there is no other patient.
    """
    cases = _cases(labeler, references, instruction, studies, seed)
    honest = _paid(reward, "honest: the reference", _honest, cases)
    hasty = _paid(reward, "honest: a third left out", _hasty, cases)
    found = [honest, hasty]
    for cheat in CHEATS:
        limit = min(hasty.reward, honest.reward) if cheat.blind else honest.reward
        found.append(_paid(reward, cheat.name, cheat.write, cases, limit, cheat.remedy))
    return found


def statement(labels: Labels) -> str:
    """A report that states these labels of the 13 findings, a sentence each."""
    return " ".join(
        _SENTENCES[labels[finding]].format(_NAMES[finding])
        for finding in DISEASES
        if labels[finding] in _SENTENCES
    )


def _cases(
    labeler: Labeler, references: Sequence[str], instruction: str, studies: int, seed: int
) -> list[Study]:
    chosen = random.Random(seed).sample(references, min(studies, len(references)))
    others = [next((o for o in _from(chosen, i) if o != text), "") for i, text in enumerate(chosen)]
    if not all(others):
        raise DataError("doctor: all references are alike; give a training split of two or more")
    constant = statement(best_for_ccs(labeler.label(references)))
    return [
        Study(text, labels, other, constant, instruction)
        for text, labels, other in zip(chosen, labeler.label(chosen), others, strict=True)
    ]


def _from(texts: Sequence[str], start: int) -> list[str]:
    return [*texts[start + 1 :], *texts[:start]]


def _paid(
    reward: TotalReward,
    name: str,
    write: Callable[[Study], str],
    cases: Sequence[Study],
    limit: float | None = None,
    remedy: str = "",
) -> Paid:
    completions = [write(case) for case in cases]
    rows = reward.components(completions, [case.reference for case in cases])
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    return Paid(name, means, limit, remedy)


def _report(text: str) -> str:
    return render(_THINK, text)


def _honest(study: Study) -> str:
    return _report(study.reference)


def _hasty(study: Study) -> str:
    """The reference without every third sentence, from the second on."""
    said = [study.reference[start:end] for start, end in sentences(study.reference)]
    return _report("".join(text for i, text in enumerate(said) if i % 3 != 1))


def _all(status: Status) -> str:
    return statement(Labels.of(dict.fromkeys(DISEASES, status)))


def _hedged(study: Study) -> str:
    """What the reference says, each finding it affirms only as a possibility."""
    statuses = dict(study.labels.items())
    affirmed = [f for f in DISEASES if study.labels[f] is Status.POSITIVE]
    if not affirmed:
        return study.reference
    return statement(Labels.of(statuses | dict.fromkeys(affirmed, Status.UNCERTAIN)))


_FORMAT = "reward.format_weight=0.25"
_CLINICAL = "reward.clinical_weight=0.75"
_NEGATIVES = "reward.negative_weight=0.3"

CHEATS: tuple[Cheat, ...] = (
    Cheat("empty", lambda s: "", True, "reward.margin=0"),
    Cheat("tags only", lambda s: render("", ""), True, _FORMAT),
    Cheat("tag soup", lambda s: "<report><think></report>" * 20, True, _FORMAT),
    Cheat("two reports", lambda s: _honest(s) + _report(s.other), False, _FORMAT),
    Cheat("findings only in the think part", lambda s: render(s.reference, ""), False, _FORMAT),
    Cheat("prompt echoed", lambda s: s.instruction, True, _FORMAT),
    Cheat(
        "prompt echoed, then the reference", lambda s: s.instruction + _honest(s), False, _FORMAT
    ),
    Cheat("all findings asserted", lambda s: _report(_all(Status.POSITIVE)), True, _CLINICAL),
    Cheat("all findings negated", lambda s: _report(_all(Status.NEGATIVE)), True, _NEGATIVES),
    Cheat("everything hedged", lambda s: _report(_all(Status.UNCERTAIN)), True, _CLINICAL),
    Cheat("the reference, hedged", lambda s: _report(_hedged(s)), False, "reward.uncertain=0.5"),
    Cheat("constant normal report", lambda s: _report(CONSTANT_NORMAL), True, _NEGATIVES),
    Cheat("best constant report", lambda s: _report(s.constant), True, _NEGATIVES),
    Cheat("another patient's report", lambda s: _report(s.other), True, "reward.f1_share=0.5"),
    Cheat(
        "the reference, then all denied",
        lambda s: _report(f"{s.reference} {_all(Status.NEGATIVE)}"),
        False,
        "reward.contradiction_penalty=0.25",
    ),
    Cheat(
        "the reference three times",
        lambda s: _report(" ".join([s.reference] * 3)),
        False,
        "reward.repetition_penalty=0.25",
    ),
    Cheat(
        "the reference and 50 kB",
        lambda s: _report(s.reference + " The view is the view." * 2_300),
        False,
        "reward.length_penalty=0.25",
    ),
)
"""The table of the hostile: each with the option that closes it where it pays."""
