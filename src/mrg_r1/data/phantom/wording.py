"""Reports of drawn studies, by a small grammar: what is written of each finding is known.

Every sentence is paired with the statuses a careful reader takes from it, following CheXbert's
conventions, so that the labels of a report are those of its sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mrg_r1.data.phantom.cases import BOTH, MID, Case, Sign
from mrg_r1.findings import DISEASES, Finding, Labels, Status

SUBTLE, SEVERE = 0.4, 0.75
"""Severities below the first are worded as small or mild, above the second as large or severe."""

_OMITTED = {True: 0.10, False: 0.02}
"""How often a finding goes unmentioned: subtle ones, others."""

_HEDGED = {True: 0.45, False: 0.06}
"""How often a mentioned finding is hedged: subtle ones, others."""

_DENIED = {
    Finding.PNEUMOTHORAX: 0.85,
    Finding.PLEURAL_EFFUSION: 0.85,
    Finding.CONSOLIDATION: 0.55,
    Finding.LUNG_OPACITY: 0.20,
    Finding.EDEMA: 0.25,
    Finding.FRACTURE: 0.12,
    Finding.PNEUMONIA: 0.08,
    Finding.LUNG_LESION: 0.05,
}
"""How often an absent finding is denied; heart and mediastinum have sentences of their own."""


@dataclass(frozen=True, slots=True)
class Report:
    """The sections of a drawn study's report, and the labels of its findings section."""

    findings: str
    impression: str
    indication: str
    labels: Labels


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence and the statuses it states."""

    text: str
    statuses: tuple[tuple[Finding, Status], ...] = ()


@dataclass(frozen=True, slots=True)
class Phrases:
    """How a finding is asserted, hedged, and named in an impression.

    Fields in braces: {size} {mild} {mildly} by severity (capitalised: {Size} {Mild}), {there}
    for 'There is a' or 'There are', {a} for the article, {side} and {Side}, {where} for the part
    of the lung, {s} for a plural.
    """

    asserted: tuple[str, ...]
    hedged: tuple[str, ...]
    impression: str


_PHRASES: dict[str, Phrases] = {
    "Pleural Effusion": Phrases(
        (
            "{there} {size} {side} pleural effusion{s}.",
            "{Size} {side} pleural effusion{s}.",
            "{Size} {side} pleural effusion{s} with blunting of the costophrenic angle{s}.",
        ),
        (
            "Possible small {side} pleural effusion{s}.",
            "Blunting of the {side} costophrenic angle{s} may represent {a}small effusion{s}.",
            "Small {side} pleural effusion{s} cannot be excluded.",
        ),
        "{Size} {side} pleural effusion{s}.",
    ),
    "Pneumothorax": Phrases(
        (
            "{there} {size} {side} pneumothorax.",
            "{Size} {side} pneumothorax.",
            "{Size} {side} pneumothorax is present.",
        ),
        (
            "Possible tiny {side} apical pneumothorax.",
            "A tiny {side} pneumothorax cannot be excluded.",
        ),
        "{Size} {side} pneumothorax.",
    ),
    "Cardiomegaly": Phrases(
        (
            "The heart is {mildly} enlarged.",
            "{Mild} cardiomegaly.",
            "The cardiac silhouette is {mildly} enlarged.",
            "There is {mild} cardiomegaly.",
        ),
        ("Possible mild cardiomegaly.", "Mild cardiomegaly cannot be excluded."),
        "{Mild} cardiomegaly.",
    ),
    "Enlarged Cardiomediastinum": Phrases(
        (
            "The mediastinum is {mildly} widened.",
            "The mediastinal silhouette is {mildly} widened.",
            "There is {mild} widening of the mediastinum.",
        ),
        ("Possible mild widening of the mediastinum.", "The mediastinum is possibly widened."),
        "{Mild} widening of the mediastinum.",
    ),
    "Edema": Phrases(
        (
            "There is {mild} pulmonary edema.",
            "{Mild} pulmonary edema.",
            "Pulmonary vascular congestion with {mild} edema.",
            "Indistinct vessels consistent with {mild} pulmonary edema.",
        ),
        (
            "Possible mild pulmonary edema.",
            "Indistinct vessels may represent mild pulmonary edema.",
            "Mild pulmonary edema cannot be excluded.",
        ),
        "{Mild} pulmonary edema.",
    ),
    "Consolidation": Phrases(
        (
            "Consolidation in the {where}.",
            "There is consolidation in the {where}.",
            "Consolidation with air bronchograms in the {where}.",
            "{Mild} {where} consolidation.",
        ),
        (
            "Possible consolidation in the {where}.",
            "Early consolidation in the {where} cannot be excluded.",
        ),
        "{Where} consolidation.",
    ),
    "Pneumonia": Phrases(
        (
            "Patchy opacities in the {where} consistent with pneumonia.",
            "Patchy {where} opacities, compatible with pneumonia.",
            "Multiple patchy opacities in the {where} indicate pneumonia.",
        ),
        (
            "Patchy opacities in the {where} may represent pneumonia.",
            "Patchy {where} opacities, possibly pneumonia.",
        ),
        "{Where} pneumonia.",
    ),
    "Lung Opacity": Phrases(
        (
            "Hazy opacity in the {where}.",
            "There is a hazy opacity in the {where}.",
            "A hazy opacity projects over the {where}.",
        ),
        (
            "Possible faint opacity in the {where}.",
            "Faint opacity in the {where} cannot be excluded.",
        ),
        "Hazy {where} opacity.",
    ),
    "nodule": Phrases(
        (
            "There is a {small}nodule in the {where}.",
            "Round {small}nodule in the {where}.",
            "{Small} {where} nodule.",
        ),
        (
            "Possible small nodule in the {where}.",
            "A small nodule in the {where} cannot be excluded.",
        ),
        "{Small} {where} nodule.",
    ),
    "mass": Phrases(
        (
            "There is a mass in the {where}.",
            "Round mass in the {where}.",
            "Large {where} mass.",
        ),
        ("Possible mass in the {where}.",),
        "{Where} mass.",
    ),
    "Atelectasis": Phrases(
        (
            "{Mild} {side} basilar atelectasis.",
            "Linear atelectasis at the {side} lung base{s}.",
            "There is {mild} {side} basilar atelectasis.",
        ),
        (
            "Possible mild {side} basilar atelectasis.",
            "Linear markings at the {side} lung base{s} may represent atelectasis.",
        ),
        "{Mild} {side} basilar atelectasis.",
    ),
    "plaque": Phrases(
        (
            "Calcified {side} pleural plaque with pleural thickening.",
            "There is calcified {side} pleural thickening.",
        ),
        ("Possible calcified {side} pleural thickening.",),
        "Calcified {side} pleural thickening.",
    ),
    "apical thickening": Phrases(
        (
            "{Mild} {side} apical pleural thickening.",
            "There is {mild} {side} apical pleural thickening.",
        ),
        ("Possible mild {side} apical pleural thickening.",),
        "{Side} apical pleural thickening.",
    ),
    "Fracture": Phrases(
        (
            "Displaced {side} rib fracture{s}.",
            "There {is_a} displaced {side} rib fracture{s}.",
            "Acute {side} rib fracture{s}.",
        ),
        ("Possible {side} rib fracture.", "A {side} rib fracture cannot be excluded."),
        "{Side} rib fracture{s}.",
    ),
    "pacemaker": Phrases(
        (
            "Left chest pacemaker with leads in the right atrium and ventricle.",
            "Dual lead pacemaker is in place.",
            "A left pacemaker is present.",
        ),
        (),
        "Pacemaker in place.",
    ),
    "sternal wires": Phrases(
        (
            "Median sternotomy wires and hardware are intact.",
            "Sternotomy hardware is in place.",
        ),
        (),
        "Sternotomy hardware in place.",
    ),
    "central line": Phrases(
        (
            "Right central venous catheter tip is in the superior vena cava.",
            "Right internal jugular catheter ends in the superior vena cava.",
            "A right central venous line is in place.",
        ),
        (),
        "Right central venous line in place.",
    ),
    "endotracheal tube": Phrases(
        (
            "Endotracheal tube tip is above the carina.",
            "The endotracheal tube is in place.",
            "Endotracheal tube ends above the carina.",
        ),
        (),
        "Endotracheal tube in place.",
    ),
}

_DENIALS: dict[Finding, tuple[str, ...]] = {
    Finding.CONSOLIDATION: ("focal consolidation", "consolidation"),
    Finding.LUNG_OPACITY: ("focal opacity",),
    Finding.PNEUMONIA: ("pneumonia",),
    Finding.LUNG_LESION: ("nodule", "pulmonary nodule"),
    Finding.EDEMA: ("pulmonary edema", "edema"),
    Finding.PLEURAL_EFFUSION: ("pleural effusion", "effusion"),
    Finding.PNEUMOTHORAX: ("pneumothorax",),
    Finding.FRACTURE: ("acute fracture", "displaced rib fracture"),
}
_DENYING = ("No {}.", "There is no {}.", "No evidence of {}.", "No {} is seen.")
_LUNG = (Finding.CONSOLIDATION, Finding.LUNG_OPACITY, Finding.PNEUMONIA, Finding.LUNG_LESION)

_HEART_AND_MEDIASTINUM = (
    "The cardiomediastinal silhouette is normal.",
    "Cardiomediastinal silhouette is within normal limits.",
    "Heart size and mediastinal contours are normal.",
    "The heart and mediastinum are normal.",
)
_HEART = ("Heart size is normal.", "The heart is normal in size.", "Normal heart size.")
_MEDIASTINUM = ("Mediastinal contours are normal.", "The mediastinum is normal.")
_CLEAR = ("The lungs are clear.", "Lungs are clear bilaterally.", "Both lungs are clear.")
_BONES = ("The bones are intact.", "Osseous structures are intact.")
_NORMAL = (
    "No acute cardiopulmonary abnormality.",
    "No acute cardiopulmonary process.",
    "Normal chest radiograph.",
)
_INDICATIONS = {
    "normal": ("Chest pain.", "Preoperative evaluation.", "Cough.", "Routine examination."),
    "heart failure": ("Shortness of breath.", "Dyspnea and leg swelling.", "Heart failure."),
    "intensive care": ("Intubated, evaluate for interval change.", "Status post surgery."),
    "infection": ("Fever and cough.", "Cough, evaluate for pneumonia."),
    "tumour": ("Weight loss.", "Abnormal outside film.", "Hemoptysis."),
    "injury": ("Fall.", "Motor vehicle collision.", "Chest pain after trauma."),
    "chronic": ("Dyspnea.", "Chest pain.", "Follow-up."),
}
_ORDERS = (
    ("heart", "lungs", "pleura", "bones", "devices"),
    ("devices", "heart", "lungs", "pleura", "bones"),
    ("lungs", "pleura", "heart", "bones", "devices"),
    ("devices", "lungs", "pleura", "heart", "bones"),
)
_SECTION = {
    Finding.CARDIOMEGALY: "heart",
    Finding.ENLARGED_CARDIOMEDIASTINUM: "heart",
    Finding.PLEURAL_EFFUSION: "pleura",
    Finding.PNEUMOTHORAX: "pleura",
    Finding.PLEURAL_OTHER: "pleura",
    Finding.FRACTURE: "bones",
    Finding.SUPPORT_DEVICES: "devices",
}
"""The part of a report that treats a finding; the lungs for all others."""


def write(rng: np.random.Generator, case: Case) -> Report:
    """A report of the case, with the labels its findings section states."""
    reported = [sign for sign in case.signs if rng.random() >= _OMITTED[_subtle(sign)]]
    parts: dict[str, list[Sentence]] = {part: [] for part in _ORDERS[0]}
    impression: list[str] = []
    for sign in reported:
        hedged = rng.random() < _HEDGED[_subtle(sign)]
        sentence = _sentence(rng, sign, hedged)
        parts[_SECTION.get(sign.finding, "lungs")].append(sentence)
        impression.append(_impression(sign, sentence))
    stated = {finding for part in parts.values() for s in part for finding, _ in s.statuses}
    present = {sign.finding for sign in case.signs} | stated
    parts["heart"] += _normal_heart(rng, present)
    _deny(rng, present, parts)
    if not parts["lungs"] and not present & set(_LUNG):
        parts["lungs"].append(Sentence(_pick(rng, _CLEAR)))
    order = _ORDERS[int(rng.integers(len(_ORDERS)))]
    sentences = [sentence for part in order for sentence in parts[part]]
    return Report(
        findings=" ".join(sentence.text for sentence in sentences),
        impression=" ".join(impression) or _pick(rng, _NORMAL),
        indication=_pick(rng, _INDICATIONS[case.picture]),
        labels=_labels(sentences),
    )


def _subtle(sign: Sign) -> bool:
    return sign.severity < SUBTLE and sign.finding is not Finding.SUPPORT_DEVICES


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _phrases(sign: Sign) -> Phrases:
    return _PHRASES[sign.kind or sign.finding.value]


def _sentence(rng: np.random.Generator, sign: Sign, hedged: bool) -> Sentence:
    phrases = _phrases(sign)
    hedged = hedged and bool(phrases.hedged)
    text = _pick(rng, phrases.hedged if hedged else phrases.asserted).format(**_fields(sign))
    statuses = [(sign.finding, Status.UNCERTAIN if hedged else Status.POSITIVE)]
    if sign.finding is Finding.PNEUMONIA:
        statuses.append((Finding.LUNG_OPACITY, Status.POSITIVE))
    return Sentence(text, tuple(statuses))


def _impression(sign: Sign, sentence: Sentence) -> str:
    text = _phrases(sign).impression.format(**_fields(sign))
    if sentence.statuses[0][1] is Status.UNCERTAIN:
        return f"Possible {text[0].lower()}{text[1:]}"
    return text


def _fields(sign: Sign) -> dict[str, str]:
    grade = (sign.severity >= SUBTLE) + (sign.severity >= SEVERE)
    size, mild = ("small", "moderate", "large")[grade], ("mild", "moderate", "severe")[grade]
    several = sign.side == BOTH or (sign.finding is Finding.FRACTURE and sign.severity >= SUBTLE)
    side = "bilateral" if sign.side == BOTH else sign.side
    where = f"{sign.side} {sign.zone} {'lobe' if sign.seed % 2 and sign.zone != MID else 'lung'}"
    small = "small " if grade == 0 else ""
    return {
        "size": size,
        "Size": size.capitalize(),
        "mild": mild,
        "Mild": mild.capitalize(),
        "mildly": mild + "ly",
        "small": small,
        "Small": "Small" if small else "Round",
        "side": side,
        "Side": side.capitalize(),
        "where": where,
        "Where": where.capitalize(),
        "there": "There are" if several else "There is a",
        "is_a": "are" if several else "is a",
        "a": "" if several else "a ",
        "s": "s" if several else "",
    }


def _normal_heart(rng: np.random.Generator, present: set[Finding]) -> list[Sentence]:
    """What is said of a normal heart or mediastinum."""
    heart = (Finding.CARDIOMEGALY, Status.NEGATIVE)
    mediastinum = (Finding.ENLARGED_CARDIOMEDIASTINUM, Status.NEGATIVE)
    chance = rng.random()
    large, wide = heart[0] in present, mediastinum[0] in present
    if not large and not wide and chance < 0.5:
        return [Sentence(_pick(rng, _HEART_AND_MEDIASTINUM), (heart, mediastinum))]
    if not large and chance < 0.85:
        return [Sentence(_pick(rng, _HEART), (heart,))]
    if large and not wide and chance < 0.25:
        return [Sentence(_pick(rng, _MEDIASTINUM), (mediastinum,))]
    return []


def _deny(
    rng: np.random.Generator, present: set[Finding], parts: dict[str, list[Sentence]]
) -> None:
    """Adds the pertinent negatives, in one sentence or two."""
    denied = [f for f, rate in _DENIED.items() if rng.random() < rate and f not in present]
    denied.sort(key=list(_DENIALS).index)
    bones = [f for f in denied if f is Finding.FRACTURE]
    lungs = [f for f in denied if _SECTION.get(f, "lungs") == "lungs"]
    pleura = [f for f in denied if _SECTION.get(f) == "pleura"]
    if lungs and pleura and rng.random() < 0.5:
        lungs, pleura = [], lungs + pleura
    for part, group in (("lungs", lungs), ("pleura", pleura), ("bones", bones)):
        if group:
            parts[part].append(_denial(rng, group))
    if not bones and Finding.FRACTURE not in present and rng.random() < 0.15:
        parts["bones"].append(Sentence(_pick(rng, _BONES)))


def _denial(rng: np.random.Generator, group: Sequence[Finding]) -> Sentence:
    names = [_pick(rng, _DENIALS[finding]) for finding in group]
    if len(names) > 2:
        names = [", ".join(names[:-1]) + ",", names[-1]]
    text = _pick(rng, _DENYING).format(" or ".join(names))
    return Sentence(text, tuple((finding, Status.NEGATIVE) for finding in group))


def _labels(sentences: Sequence[Sentence]) -> Labels:
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
