"""Codes of what the exports say.

SNOMED CT (SCT) for findings and for present and absent, DICOM's own (DCM), LOINC (LN). Where each
was looked up stands beside it: 'PS3.16' is DICOM's Content Mapping Resource (its context groups,
CID), as pydicom 3.0 lists it; 'SNOMED' the fully specified name in the International edition.

Four findings have no code: Enlarged Cardiomediastinum, Lung Lesion (a mass or a nodule), Pleural
Other and Support Devices gather several things under one name of CheXpert's, and no single concept
means the same. No Finding means that nothing else was said, which is no finding either. They are
exported by name.
"""

from __future__ import annotations

from dataclasses import dataclass

from mrg_r1.findings import Finding, Status


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept; `scheme` is DICOM's designator of the coding scheme."""

    scheme: str
    value: str
    meaning: str


SYSTEMS = {
    "UCUM": "http://unitsofmeasure.org",
    "SCT": "http://snomed.info/sct",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "LN": "http://loinc.org",
}
"""FHIR's names of the coding schemes (http://hl7.org/fhir/R4/terminologies-systems.html)."""

FINDING_CODES = {
    Finding.CARDIOMEGALY: Code("SCT", "8186001", "Cardiomegaly"),  # SNOMED: (disorder)
    Finding.LUNG_OPACITY: Code("DCM", "112001", "Opacity"),  # PS3.16 CID 6102 (chest)
    Finding.EDEMA: Code("SCT", "19242006", "Pulmonary edema"),  # PS3.16 CID 3700
    Finding.CONSOLIDATION: Code("SCT", "95436008", "Lung consolidation"),  # SNOMED: (disorder)
    Finding.PNEUMONIA: Code("SCT", "233604007", "Pneumonia"),  # SNOMED: (disorder)
    Finding.ATELECTASIS: Code("SCT", "46621007", "Atelectasis"),  # SNOMED: (disorder)
    Finding.PNEUMOTHORAX: Code("SCT", "36118008", "Pneumothorax"),  # PS3.16 CID 6102
    Finding.PLEURAL_EFFUSION: Code("SCT", "60046008", "Pleural effusion"),  # PS3.16 CID 645
    Finding.FRACTURE: Code("SCT", "125605004", "Fracture of bone"),  # SNOMED: (disorder)
}

STATUS_CODES = {
    Status.POSITIVE: Code("SCT", "52101004", "Present"),  # PS3.16 CID 240
    Status.NEGATIVE: Code("SCT", "272519000", "Absent"),  # PS3.16 CID 240
    Status.UNCERTAIN: Code("SCT", "42425007", "Equivocal"),  # PS3.16 CID 3120
}

REPORT = Code("LN", "18748-4", "Diagnostic imaging study")  # PS3.16 CID 7000, TID 2000
NARRATIVE = Code("LN", "18782-3", "Radiology Study observation (narrative)")  # US Core examples
FINDINGS = Code("LN", "59776-5", "Findings")  # PS3.16 CID 7001
FINDING = Code("DCM", "121071", "Finding")  # PS3.16 annex D
COMMENT = Code("DCM", "121106", "Comment")  # PS3.16 annex D
CERTAINTY = Code("DCM", "111012", "Certainty of Finding")  # PS3.16 annex D
SOURCE = Code("SCT", "260753009", "Source")  # as highdicom names the images of TID 1600
PERCENT = Code("UCUM", "%", "Percent")  # PS3.16 CID 84
ENGLISH = Code("RFC5646", "en-US", "English (United States)")  # PS3.16 CID 5000
DEVICE = Code("DCM", "121007", "Device")  # PS3.16 CID 270
