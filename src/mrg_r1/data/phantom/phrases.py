"""What radiologists write: the sentences from which reports of drawn studies are put together.

Braces are filled from the sign: {size}, {mild}, {mildly}, {faint} by severity, {small} only where
it is small; {side} and {where} it is, {bases} and {angles} of that side; {there} for 'there is a'
or 'there are', {a} for 'a' or nothing, {s} for the plural. A sentence begins with a capital
whatever fills its first brace.
"""

from __future__ import annotations

from dataclasses import dataclass

from mrg_r1.data.phantom.cases import APICAL, LINE, MASS, NODULE, PACEMAKER, PLAQUE, TUBE, WIRES
from mrg_r1.findings import Finding


@dataclass(frozen=True, slots=True)
class Phrases:
    """How a finding is asserted, hedged, and named in an impression."""

    asserted: tuple[str, ...]
    hedged: tuple[str, ...]
    impression: str


OF_FINDING: dict[Finding, Phrases] = {
    Finding.PLEURAL_EFFUSION: Phrases(
        (
            "{there} {size} {side} pleural effusion{s}.",
            "{size} {side} pleural effusion{s}.",
            "{size} {side} pleural effusion{s} with blunting of {angles}.",
        ),
        (
            "Possible {size} {side} pleural effusion{s}.",
            "Blunting of {angles} may represent {a}{size} effusion{s}.",
            "{a}{size} {side} pleural effusion{s} cannot be excluded.",
        ),
        "{size} {side} pleural effusion{s}.",
    ),
    Finding.PNEUMOTHORAX: Phrases(
        (
            "There is a {size} {side} pneumothorax.",
            "{size} {side} pneumothorax.",
            "{size} {side} pneumothorax is present.",
        ),
        (
            "Possible {size} {side} pneumothorax.",
            "A {size} {side} pneumothorax cannot be excluded.",
        ),
        "{size} {side} pneumothorax.",
    ),
    Finding.CARDIOMEGALY: Phrases(
        (
            "The heart is {mildly} enlarged.",
            "The cardiac silhouette is {mildly} enlarged.",
            "{mild} cardiomegaly.",
            "There is {mild} cardiomegaly.",
        ),
        ("Possible {mild} cardiomegaly.", "{mild} cardiomegaly cannot be excluded."),
        "{mild} cardiomegaly.",
    ),
    Finding.ENLARGED_CARDIOMEDIASTINUM: Phrases(
        (
            "The mediastinum is {mildly} widened.",
            "The mediastinal silhouette is {mildly} widened.",
            "There is {mild} widening of the mediastinum.",
        ),
        ("Possible mediastinal widening.", "{mild} mediastinal widening cannot be excluded."),
        "{mild} widening of the mediastinum.",
    ),
    Finding.EDEMA: Phrases(
        (
            "There is {mild} pulmonary edema.",
            "{mild} pulmonary edema.",
            "Pulmonary vascular congestion with {mild} edema.",
            "Indistinct vessels consistent with {mild} pulmonary edema.",
        ),
        (
            "Possible {mild} pulmonary edema.",
            "Indistinct vessels may represent {mild} pulmonary edema.",
            "{mild} pulmonary edema cannot be excluded.",
        ),
        "{mild} pulmonary edema.",
    ),
    Finding.CONSOLIDATION: Phrases(
        (
            "Consolidation in the {where}.",
            "There is consolidation in the {where}.",
            "Consolidation with air bronchograms in the {where}.",
            "Dense {where} consolidation.",
        ),
        (
            "Possible consolidation in the {where}.",
            "Consolidation in the {where} cannot be excluded.",
        ),
        "{where} consolidation.",
    ),
    Finding.PNEUMONIA: Phrases(
        (
            "Patchy opacities in the {where} consistent with pneumonia.",
            "Patchy {where} opacities, compatible with pneumonia.",
            "Multiple patchy opacities in the {where} indicate pneumonia.",
        ),
        (
            "Patchy opacities in the {where} may represent pneumonia.",
            "Patchy {where} opacities, possibly pneumonia.",
        ),
        "{where} pneumonia.",
    ),
    Finding.LUNG_OPACITY: Phrases(
        (
            "{faint} opacity in the {where}.",
            "There is a {faint} opacity in the {where}.",
            "A {faint} opacity projects over the {where}.",
        ),
        # CheXbert reads a hedged opacity as an opacity: the hedge is for what it may mean.
        (),
        "{faint} {where} opacity.",
    ),
    Finding.ATELECTASIS: Phrases(
        (
            "{mild} {side} basilar atelectasis.",
            "Linear atelectasis at {bases}.",
            "There is {mild} {side} basilar atelectasis.",
        ),
        (
            "Possible {mild} {side} basilar atelectasis.",
            "Linear markings at {bases} may represent atelectasis.",
        ),
        "{mild} {side} basilar atelectasis.",
    ),
    Finding.FRACTURE: Phrases(
        (
            "Displaced {side} rib fracture{s}.",
            "{there} displaced {side} rib fracture{s}.",
            "Acute {side} rib fracture{s}.",
        ),
        ("Possible {side} rib fracture{s}.", "{a}{side} rib fracture{s} cannot be excluded."),
        "{side} rib fracture{s}.",
    ),
}

OF_KIND: dict[str, Phrases] = {
    NODULE: Phrases(
        (
            "There is a {small}nodule in the {where}.",
            "Round {small}nodule in the {where}.",
            "{small}{where} nodule.",
        ),
        (
            "Possible {small}nodule in the {where}.",
            "A {small}nodule in the {where} cannot be excluded.",
        ),
        "{small}{where} nodule.",
    ),
    MASS: Phrases(
        ("There is a mass in the {where}.", "Round mass in the {where}.", "Large {where} mass."),
        ("Possible mass in the {where}.",),
        "{where} mass.",
    ),
    PLAQUE: Phrases(
        (
            "Calcified {side} pleural plaque with pleural thickening.",
            "There is calcified {side} pleural thickening.",
        ),
        ("Possible calcified {side} pleural thickening.",),
        "calcified {side} pleural thickening.",
    ),
    APICAL: Phrases(
        (
            "{mild} {side} apical pleural thickening.",
            "There is {mild} {side} apical pleural thickening.",
        ),
        ("Possible {mild} {side} apical pleural thickening.",),
        "{side} apical pleural thickening.",
    ),
    PACEMAKER: Phrases(
        (
            "Left chest pacemaker with leads in the right atrium and ventricle.",
            "A dual lead pacemaker is in place.",
            "A left pacemaker is present.",
        ),
        (),
        "pacemaker in place.",
    ),
    WIRES: Phrases(
        ("Median sternal wires are intact.", "Sternal wires are in place."),
        (),
        "sternal wires in place.",
    ),
    LINE: Phrases(
        (
            "Right central venous catheter tip is in the superior vena cava.",
            "A right internal jugular catheter ends in the superior vena cava.",
            "A right central venous line is in place.",
        ),
        (),
        "right central venous line in place.",
    ),
    TUBE: Phrases(
        (
            "Endotracheal tube tip is above the carina.",
            "The endotracheal tube is in place.",
            "An endotracheal tube ends above the carina.",
        ),
        (),
        "endotracheal tube in place.",
    ),
}
"""Findings that come in several kinds, worded by kind."""

DENIED: dict[Finding, tuple[str, ...]] = {
    Finding.CONSOLIDATION: ("focal consolidation", "consolidation"),
    Finding.LUNG_OPACITY: ("focal opacity",),
    Finding.PNEUMONIA: ("pneumonia",),
    Finding.LUNG_LESION: ("nodule", "pulmonary nodule"),
    Finding.EDEMA: ("pulmonary edema", "edema"),
    Finding.PLEURAL_EFFUSION: ("pleural effusion", "effusion"),
    Finding.PNEUMOTHORAX: ("pneumothorax",),
    Finding.FRACTURE: ("acute fracture", "displaced rib fracture"),
}
"""Names in the order in which one sentence denies them."""

DENIALS = ("No {}.", "There is no {}.", "No evidence of {}.", "No {} is seen.")

HEART_AND_MEDIASTINUM = (
    "Heart size and mediastinal contours are normal.",
    "Heart and mediastinal contours are within normal limits.",
    "The heart and mediastinum are normal.",
    "Normal heart size and mediastinal contours.",
)
HEART = ("Heart size is normal.", "The heart is normal in size.", "Normal heart size.")
MEDIASTINUM = ("Mediastinal contours are normal.", "The mediastinum is normal.")
CLEAR = ("The lungs are clear.", "Lungs are clear bilaterally.", "Both lungs are clear.")
BONES = ("The bones are intact.", "Osseous structures are intact.")

NORMAL = (
    "No acute cardiopulmonary abnormality.",
    "No acute cardiopulmonary process.",
    "Normal chest radiograph.",
)
INDICATIONS = {
    "normal": ("Chest pain.", "Preoperative evaluation.", "Cough.", "Routine examination."),
    "heart failure": ("Shortness of breath.", "Dyspnea and leg swelling.", "Heart failure."),
    "intensive care": ("Intubated, interval change.", "After surgery.", "Sepsis."),
    "infection": ("Fever and cough.", "Cough, evaluate for pneumonia."),
    "tumour": ("Weight loss.", "Abnormal outside film.", "Hemoptysis."),
    "injury": ("Fall.", "Motor vehicle collision.", "Chest pain after trauma."),
    "chronic": ("Dyspnea.", "Chest pain.", "Follow-up."),
}
"""By clinical picture."""

ORDERS = (
    ("heart", "lungs", "pleura", "bones", "devices"),
    ("devices", "heart", "lungs", "pleura", "bones"),
    ("lungs", "pleura", "heart", "bones", "devices"),
    ("devices", "lungs", "pleura", "heart", "bones"),
)
"""Orders in which the parts of a report follow each other."""
