"""One sign of each finding and kind, for the tests of drawn studies."""

from __future__ import annotations

from mrg_r1.data.phantom import cases
from mrg_r1.data.phantom.cases import LEFT, LOWER, MID, RIGHT, UPPER, Sign
from mrg_r1.findings import Finding

ONE_OF_EACH = (
    Sign(Finding.ENLARGED_CARDIOMEDIASTINUM, 1),
    Sign(Finding.CARDIOMEGALY, 1),
    Sign(Finding.LUNG_OPACITY, 1, RIGHT, LOWER),
    Sign(Finding.LUNG_LESION, 1, LEFT, UPPER, cases.NODULE),
    Sign(Finding.EDEMA, 1),
    Sign(Finding.CONSOLIDATION, 1, RIGHT, MID),
    Sign(Finding.PNEUMONIA, 1, LEFT, LOWER),
    Sign(Finding.ATELECTASIS, 1, RIGHT),
    Sign(Finding.PNEUMOTHORAX, 1, LEFT),
    Sign(Finding.PLEURAL_EFFUSION, 1, RIGHT),
    Sign(Finding.PLEURAL_OTHER, 1, LEFT, kind=cases.PLAQUE),
    Sign(Finding.PLEURAL_OTHER, 1, RIGHT, kind=cases.APICAL),
    Sign(Finding.FRACTURE, 1, LEFT),
    Sign(Finding.SUPPORT_DEVICES, 1, LEFT, kind=cases.PACEMAKER),
    Sign(Finding.SUPPORT_DEVICES, 1, kind=cases.WIRES),
    Sign(Finding.SUPPORT_DEVICES, 1, RIGHT, kind=cases.LINE),
    Sign(Finding.SUPPORT_DEVICES, 1, kind=cases.TUBE),
)
SIDED = [sign for sign in ONE_OF_EACH if sign.side and sign.finding is not Finding.SUPPORT_DEVICES]


def name_of(sign: Sign) -> str:
    return sign.kind or sign.finding.value
