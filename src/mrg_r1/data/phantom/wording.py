"""Reports of drawn studies, by a small grammar: what is written of each finding is known.

Every sentence carries the statuses a reader takes from it under CheXbert's conventions, so that
the labels of a report are those of its sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mrg_r1.data.phantom import phrases
from mrg_r1.data.phantom.cases import BOTH, MID, Case, Sign
from mrg_r1.findings import DISEASES, Finding, Labels, Status

OMITTED = (0.10, 0.02, 0.02)
"""How often a sign goes unmentioned, by grade: subtle, moderate, severe."""

HEDGED = (0.45, 0.10, 0.0)
"""How often a mentioned sign is hedged, by grade. Opacities and devices never are."""

DENIED = {
    Finding.PNEUMOTHORAX: 0.85,
    Finding.PLEURAL_EFFUSION: 0.85,
    Finding.CONSOLIDATION: 0.55,
    Finding.LUNG_OPACITY: 0.20,
    Finding.EDEMA: 0.25,
    Finding.FRACTURE: 0.12,
    Finding.PNEUMONIA: 0.08,
    Finding.LUNG_LESION: 0.05,
}
"""How often an absent finding is denied in a normal study; heart and mediastinum have sentences
of their own."""

TERSE = 0.35
"""What is left of those rates where something is affirmed, since the report is then about what is
there: in MIMIC-CXR affirmed findings outnumber denied ones."""

_PART = {
    Finding.CARDIOMEGALY: "heart",
    Finding.ENLARGED_CARDIOMEDIASTINUM: "heart",
    Finding.PLEURAL_EFFUSION: "pleura",
    Finding.PNEUMOTHORAX: "pleura",
    Finding.PLEURAL_OTHER: "pleura",
    Finding.FRACTURE: "bones",
    Finding.SUPPORT_DEVICES: "devices",
}
"""The part of a report that treats a finding; 'lungs' for all others."""


@dataclass(frozen=True, slots=True)
class Report:
    """The sections of a drawn study's report, and the labels of its findings section."""

    findings: str
    impression: str
    indication: str
    labels: Labels


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of one part of a report, and the statuses it states."""

    part: str
    text: str
    statuses: tuple[tuple[Finding, Status], ...] = ()


def write(rng: np.random.Generator, case: Case) -> Report:
    """A report of the case, with the labels its findings section states."""
    seen = [sign for sign in case.signs if rng.random() >= OMITTED[sign.grade]]
    sentences = [_statement(rng, sign) for sign in seen]
    main = [_conclusion(*pair) for pair in zip(seen, sentences, strict=True)]
    willing = TERSE if seen else 1.0
    sentences += _normal_heart(rng, case.present, willing)
    denials = _denials(rng, case.present, willing)
    sentences += [*_fillers(rng, case.present, [*sentences, *denials]), *denials]
    order = phrases.ORDERS[int(rng.integers(len(phrases.ORDERS)))]
    sentences.sort(key=lambda sentence: order.index(sentence.part))
    return Report(
        findings=" ".join(sentence.text for sentence in sentences),
        impression=" ".join(main) or _pick(rng, phrases.NORMAL),
        indication=_pick(rng, phrases.INDICATIONS[case.picture]),
        labels=labels_of(sentences),
    )


def _statement(rng: np.random.Generator, sign: Sign) -> Sentence:
    """A sentence that asserts or hedges a sign."""
    words = _phrases(sign)
    hedged = rng.random() < HEDGED[sign.grade] and words.hedged != ()
    text = _filled(_pick(rng, words.hedged if hedged else words.asserted), sign)
    statuses = [(sign.finding, Status.UNCERTAIN if hedged else Status.POSITIVE)]
    if sign.finding is Finding.PNEUMONIA:
        statuses.append((Finding.LUNG_OPACITY, Status.POSITIVE))
    return Sentence(_part(sign.finding), text, tuple(statuses))


def _conclusion(sign: Sign, sentence: Sentence) -> str:
    """The line of the impression that repeats a sentence."""
    hedged = (sign.finding, Status.UNCERTAIN) in sentence.statuses
    return _filled("Possible " * hedged + _phrases(sign).impression, sign)


def _normal_heart(
    rng: np.random.Generator, present: set[Finding], willing: float
) -> list[Sentence]:
    """What is said of a normal heart or mediastinum."""
    heart = (Finding.CARDIOMEGALY, Status.NEGATIVE)
    mediastinum = (Finding.ENLARGED_CARDIOMEDIASTINUM, Status.NEGATIVE)
    large, wide = heart[0] in present, mediastinum[0] in present
    chance = rng.random() / willing
    if not large and not wide and chance < 0.5:
        return [Sentence("heart", _pick(rng, phrases.HEART_AND_MEDIASTINUM), (heart, mediastinum))]
    if not large and chance < 0.85:
        return [Sentence("heart", _pick(rng, phrases.HEART), (heart,))]
    if large and not wide and chance < 0.25:
        return [Sentence("heart", _pick(rng, phrases.MEDIASTINUM), (mediastinum,))]
    return []


def _denials(rng: np.random.Generator, present: set[Finding], willing: float) -> list[Sentence]:
    """The pertinent negatives: lungs and pleura in one sentence or in two, then the bones."""
    denied = {f for f, rate in DENIED.items() if rng.random() < rate * willing and f not in present}
    groups: dict[str, list[Finding]] = {"lungs": [], "pleura": [], "bones": []}
    for finding in phrases.DENIED:
        if finding in denied:
            groups[_part(finding)].append(finding)
    if groups["pleura"] and rng.random() < 0.5:
        groups["pleura"] = groups.pop("lungs") + groups["pleura"]
    return [_denial(rng, part, findings) for part, findings in groups.items() if findings]


def _denial(rng: np.random.Generator, part: str, findings: Sequence[Finding]) -> Sentence:
    *names, last = (_pick(rng, phrases.DENIED[finding]) for finding in findings)
    listed = f"{', '.join(names)}{',' * (len(names) > 1)} or {last}" if names else last
    statuses = tuple((finding, Status.NEGATIVE) for finding in findings)
    return Sentence(part, _pick(rng, phrases.DENIALS).format(listed), statuses)


def _fillers(
    rng: np.random.Generator, present: set[Finding], sentences: Sequence[Sentence]
) -> list[Sentence]:
    """Sentences that say that lungs or bones are normal and state nothing of any finding."""
    said = {sentence.part for sentence in sentences}
    sick = {_part(finding) for finding in present}
    fillers: list[Sentence] = []
    if "lungs" not in sick and ("lungs" not in said or rng.random() < 0.4):
        fillers.append(Sentence("lungs", _pick(rng, phrases.CLEAR)))
    if "bones" not in sick | said and rng.random() < 0.2:
        fillers.append(Sentence("bones", _pick(rng, phrases.BONES)))
    return fillers


def _part(finding: Finding) -> str:
    return _PART.get(finding, "lungs")


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _phrases(sign: Sign) -> phrases.Phrases:
    return phrases.OF_KIND[sign.kind] if sign.kind else phrases.OF_FINDING[sign.finding]


def _filled(phrase: str, sign: Sign) -> str:
    mild, both = ("mild", "moderate", "severe")[sign.grade], sign.side == BOTH
    several = both or (sign.finding is Finding.FRACTURE and sign.grade > 0)
    region = "lobe" if sign.seed % 2 and sign.zone != MID else "lung"
    text = phrase.format(
        size=("small", "moderate", "large")[sign.grade],
        mild=mild,
        mildly=mild + "ly",
        small="" if sign.grade else "small ",
        faint=("faint hazy", "hazy", "dense hazy")[sign.grade],
        side="bilateral" if both else sign.side,
        where=f"{sign.side} {sign.zone} {region}",
        bases="both lung bases" if both else f"the {sign.side} lung base",
        angles=f"both {_ANGLE}s" if both else f"the {sign.side} {_ANGLE}",
        there="there are" if several else "there is a",
        a="" if several else "a ",
        s="s" if several else "",
    )
    return text[0].upper() + text[1:]


_ANGLE = "costophrenic angle"


def labels_of(sentences: Sequence[Sentence]) -> Labels:
    """The labels of a text: an asserted finding outweighs a hedged one, that a denied one."""
    statuses: dict[Finding, Status] = {}
    for strength in (Status.NEGATIVE, Status.UNCERTAIN, Status.POSITIVE):
        for sentence in sentences:
            statuses.update((f, s) for f, s in sentence.statuses if s is strength)
    ill = (Status.POSITIVE, Status.UNCERTAIN)
    others = (f for f in DISEASES if f is not Finding.SUPPORT_DEVICES)
    if not any(statuses.get(finding) in ill for finding in others):
        statuses[Finding.NO_FINDING] = Status.POSITIVE
    return Labels.of(statuses)
