"""Who is drawn: patients, and which findings come together, how severe and where."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mrg_r1.findings import Finding

RIGHT, LEFT, BOTH = "right", "left", "both"
UPPER, MID, LOWER = "upper", "mid", "lower"

SUBTLE, SEVERE = 0.4, 0.75
"""Severities below the first are subtle, from the second on severe."""

NODULE, MASS, PLAQUE, APICAL = "nodule", "mass", "plaque", "apical thickening"
PACEMAKER, WIRES = "pacemaker", "sternal wires"
LINE, TUBE = "central line", "endotracheal tube"


@dataclass(frozen=True, slots=True)
class Sign:
    """One finding as it is drawn.

    `severity` is in (0, 1]. `side` is the patient's, `zone` the third of the lung; either is
    empty where it has no meaning. `kind` tells varieties apart ('pacemaker', 'plaque').
    """

    finding: Finding
    severity: float
    side: str = ""
    zone: str = ""
    kind: str = ""
    seed: int = 0

    @property
    def grade(self) -> int:
        """0 for subtle ('small', 'mild'), 1 for moderate, 2 for severe ('large')."""
        return (self.severity >= SUBTLE) + (self.severity >= SEVERE)


Break = tuple[int, float, float]
"""Index of a broken rib, where along it (0 spine, 1 wall), and the step between its ends."""


@dataclass(frozen=True, slots=True)
class Patient:
    """A body, its stance and how it was exposed.

    `girth` and `breasts` are in [0, 1], `heart` is the cardiothoracic ratio, `mediastinum` its
    width relative to the usual. `domes` lower the right and left diaphragm and `rib_phase` the
    ribs; `stomach` is the place and width of the air in it. `angle` is in radians, `gamma` above 0
    brightens, `noise` is the grain's deviation in grey values.
    """

    seed: int = 0
    angle: float = 0.0
    scale: tuple[float, float] = (1.07, 1.07)
    shift: tuple[float, float] = (0.0, 0.0)
    girth: float = 0.5
    breasts: float = 0.0
    heart: float = 0.44
    mediastinum: float = 1.0
    domes: tuple[float, float] = (0.0, 0.0)
    ribs: int = 9
    rib_phase: float = 0.0
    breaks: tuple[Break, ...] = ()
    broken_side: str = ""
    stomach: tuple[float, float] = (0.40, 0.14)
    gamma: float = 0.0
    contrast: float = 1.0
    brightness: float = 0.0
    noise: float = 0.02


@dataclass(frozen=True, slots=True)
class Case:
    """A patient with everything to be seen in the study."""

    patient: Patient
    picture: str
    signs: tuple[Sign, ...]

    @property
    def present(self) -> set[Finding]:
        """What the study shows. The patches of pneumonia are opacities too, and so worded."""
        shown = {sign.finding for sign in self.signs}
        return shown | {Finding.LUNG_OPACITY} if Finding.PNEUMONIA in shown else shown


_COLUMNS = (
    Finding.SUPPORT_DEVICES,
    Finding.PLEURAL_EFFUSION,
    Finding.CARDIOMEGALY,
    Finding.LUNG_OPACITY,
    Finding.ATELECTASIS,
    Finding.EDEMA,
    Finding.CONSOLIDATION,
    Finding.PNEUMONIA,
    Finding.PNEUMOTHORAX,
    Finding.LUNG_LESION,
    Finding.ENLARGED_CARDIOMEDIASTINUM,
    Finding.FRACTURE,
    Finding.PLEURAL_OTHER,
)
# Each row is a clinical picture: its share of the studies, then the chance of each finding in it,
# all in percent. Within a picture the findings are independent: the pictures alone make them come
# together (edema with a large heart and effusions, atelectasis with effusions, devices with the
# sick). The weighted column sums are near MIMIC-CXR's positive rates, at which a few hundred
# studies teach every finding. The opacity column is the hazy area alone: pneumonia is worded as
# opacities too, which together make about 20 %.
# fmt: off
_PICTURES = {
    #                share  dev eff card opac atel edem cons pneu ptx lesi medi frac pleu
    "normal":          (26,   0,  0,   0,   0,   0,   0,   0,   0,  0,   0,   0,   0,   0),
    "heart failure":   (15,  34, 68,  84,   8,  20,  68,   0,   2,  0,   0,   8,   0,   2),
    "intensive care":  (16,  95, 40,  18,  24,  50,  12,   8,   6, 14,   2,  16,   3,   2),
    "infection":       (13,  14, 20,  10,  16,  20,   3,  34,  48,  0,   2,   2,   0,   2),
    "tumour":           (8,  22, 30,   8,  16,  20,   0,   6,   4,  4,  62,  24,   2,   6),
    "injury":           (7,  26, 18,   6,  16,  26,   0,   6,   0, 62,   2,  10,  64,   2),
    "chronic":         (15,   8,  8,  30,  30,  32,   4,   2,   0,  3,   6,   4,   6,  26),
}
# fmt: on

_SLOTS = tuple((side, zone) for side in (RIGHT, LEFT) for zone in (UPPER, MID, LOWER))
_PATCHES = (
    Finding.CONSOLIDATION,
    Finding.PNEUMONIA,
    Finding.LUNG_OPACITY,
    Finding.LUNG_LESION,
)
_DEVICES = {"heart failure": (PACEMAKER, WIRES), "intensive care": (TUBE, LINE, WIRES)}
_OTHER_DEVICES = (LINE, PACEMAKER, WIRES)
_DEVICE_SIDE = {PACEMAKER: LEFT, LINE: RIGHT}
_OTHER_SIDE = {RIGHT: LEFT, LEFT: RIGHT}


def sample_case(rng: np.random.Generator) -> Case:
    """A patient with findings: a clinical picture first, then what it brings."""
    shares = [row[0] for row in _PICTURES.values()]
    at = int(np.searchsorted(np.cumsum(shares), rng.integers(sum(shares)), side="right"))
    picture = list(_PICTURES)[at]
    dice = (100 * rng.random(len(_COLUMNS))).tolist()
    chances = zip(_COLUMNS, _PICTURES[picture][1:], dice, strict=True)
    present = [finding for finding, chance, die in chances if die < chance]
    return Case(sample_patient(rng), picture, _placed(rng, present, picture))


def sample_patient(rng: np.random.Generator) -> Patient:
    """A healthy body, its build, its stance and its exposure."""
    return Patient(
        seed=int(rng.integers(2**31)),
        angle=float(rng.normal(0, 0.025)),
        scale=(float(rng.uniform(1.04, 1.13)), float(rng.uniform(1.04, 1.13))),
        shift=(float(rng.normal(0, 0.02)), float(rng.normal(0, 0.02))),
        girth=float(rng.random()),
        breasts=float(rng.uniform(0.4, 1.0)) if rng.random() < 0.45 else 0.0,
        heart=float(rng.uniform(0.39, 0.465)),
        mediastinum=float(rng.uniform(0.9, 1.12)),
        domes=(float(rng.normal(0, 0.03)), float(rng.normal(0, 0.03))),
        ribs=int(rng.integers(8, 11)),
        rib_phase=0.03 * int(rng.integers(-1, 3)) - 0.015,
        stomach=(float(rng.uniform(0.32, 0.48)), float(rng.uniform(0.04, 0.18))),
        gamma=float(rng.uniform(-0.25, 0.20)),
        contrast=float(rng.uniform(0.88, 1.1)),
        brightness=float(rng.normal(0, 0.03)),
        noise=float(rng.uniform(0.008, 0.025)),
    )


def _placed(rng: np.random.Generator, present: list[Finding], picture: str) -> tuple[Sign, ...]:
    """The signs with side and zone, none under another; a patch without room is not drawn."""
    signs = {finding: _sign(rng, finding) for finding in present}
    if air := signs.get(Finding.PNEUMOTHORAX):
        for finding in (Finding.PLEURAL_EFFUSION, Finding.ATELECTASIS, Finding.PLEURAL_OTHER):
            if finding in signs:
                signs[finding] = replace(signs[finding], side=_OTHER_SIDE[air.side])
    fluid = signs.get(Finding.PLEURAL_EFFUSION)
    if fluid and Finding.ATELECTASIS in signs:
        signs[Finding.PLEURAL_EFFUSION] = replace(fluid, severity=min(fluid.severity, 0.55))
    free = [slot for slot in _SLOTS if not any(_hides(sign, *slot) for sign in signs.values())]
    rng.shuffle(free)
    for finding in _PATCHES:
        sign = signs.pop(finding, None)
        if sign and free:
            side, zone = free.pop()
            signs[finding] = replace(sign, side=side, zone=zone)
    devices = signs.pop(Finding.SUPPORT_DEVICES, None)
    return (*signs.values(), *(_devices(rng, devices, picture) if devices else ()))


def _sign(rng: np.random.Generator, finding: Finding) -> Sign:
    severity, side = float(rng.uniform(0.15, 1.0)), RIGHT if rng.random() < 0.5 else LEFT
    rare, seed, kind = rng.random() < 0.35, int(rng.integers(2**31)), ""
    if finding in (Finding.PLEURAL_EFFUSION, Finding.ATELECTASIS) and rare:
        side = BOTH
    if finding in (Finding.CARDIOMEGALY, Finding.EDEMA, Finding.ENLARGED_CARDIOMEDIASTINUM):
        side = ""
    if finding is Finding.PLEURAL_OTHER:
        kind = APICAL if rare else PLAQUE
    if finding is Finding.LUNG_LESION:
        kind = MASS if severity >= SEVERE else NODULE
    return Sign(finding, severity, side, kind=kind, seed=seed)


def _hides(sign: Sign, side: str, zone: str) -> bool:
    """Whether a patch in this zone would lie under the sign."""
    if sign.side not in (side, BOTH):
        return False
    if sign.finding is Finding.PLEURAL_EFFUSION:
        return zone == LOWER and sign.grade > 0
    if sign.finding is Finding.PLEURAL_OTHER:
        return zone == (LOWER if sign.kind == PLAQUE else UPPER)
    if sign.finding is Finding.ATELECTASIS:
        return zone == LOWER
    return sign.finding is Finding.PNEUMOTHORAX


def _devices(rng: np.random.Generator, sign: Sign, picture: str) -> list[Sign]:
    kinds = list(_DEVICES.get(picture, _OTHER_DEVICES))
    rng.shuffle(kinds)
    count = 2 if picture == "intensive care" and rng.random() < 0.6 else 1
    drawn = replace(sign, severity=max(sign.severity, SUBTLE))
    return [
        replace(drawn, kind=kind, side=_DEVICE_SIDE.get(kind, "")) for kind in sorted(kinds[:count])
    ]
