"""What each finding does to the chest: some change its shape, some are painted on the film."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mrg_r1.data.phantom.anatomy import (
    CHEST,
    SIDE_SIGN,
    Film,
    frontal,
    lateral,
    lateral_lung,
    lung_outline,
)
from mrg_r1.data.phantom.cases import (
    BOTH,
    LEFT,
    LOWER,
    MID,
    RIGHT,
    UPPER,
    Case,
    Patient,
    Sign,
)
from mrg_r1.data.phantom.raster import Frame, Map, Stroke, mirrored, smooth
from mrg_r1.findings import Finding

Painter = Callable[[Film, Sign, np.random.Generator], None]

_FRONTAL_ZONE = {UPPER: (0.42, -0.46), MID: (0.50, -0.10), LOWER: (0.54, 0.20)}
_LATERAL_ZONE = {UPPER: (0.10, -0.45), MID: (-0.30, -0.15), LOWER: (0.38, 0.18)}


def render(case: Case, size: int) -> tuple[Map, Map]:
    """The frontal and the lateral view: grey values in [0, 1] of shape (size, size)."""
    patient = case.patient
    for sign in case.signs:
        patient = reshaped(patient, sign)
    frame = Frame(size, patient.angle, patient.scale, patient.shift)
    views: list[Map] = []
    for build, painters, stream in ((frontal, _FRONTAL, 3), (lateral, _LATERAL, 4)):
        film = build(frame, patient)
        for sign in sorted(case.signs, key=lambda sign: list(painters).index(sign.finding)):
            painters[sign.finding](film, sign, np.random.default_rng((sign.seed, stream)))
        views.append(film.develop(patient, np.random.default_rng((patient.seed, stream))))
    return views[0], views[1]


def reshaped(patient: Patient, sign: Sign) -> Patient:
    """The patient with the shape that a finding gives: heart, mediastinum, diaphragm, ribs."""
    s = sign.severity
    if sign.finding is Finding.CARDIOMEGALY:
        return replace(patient, heart=0.51 + 0.19 * s)
    if sign.finding is Finding.ENLARGED_CARDIOMEDIASTINUM:
        return replace(patient, mediastinum=1.3 + 1.0 * s)
    if sign.finding is Finding.ATELECTASIS:
        lift = {side: -0.09 * s if sign.side in (side, BOTH) else 0.0 for side in (RIGHT, LEFT)}
        right, left = patient.domes
        return replace(patient, domes=(right + lift[RIGHT], left + lift[LEFT]))
    if sign.finding is Finding.FRACTURE:
        first = 2 + sign.seed % max(1, patient.ribs - 5)
        count = 1 + round(1.4 * s)
        at = 0.5 + 0.15 * (sign.seed % 7) / 7
        breaks = tuple((sign.side, first + i, at, 0.035 + 0.075 * s) for i in range(count))
        return replace(patient, breaks=breaks)
    return patient


def _sides(sign: Sign) -> tuple[str, ...]:
    return (RIGHT, LEFT) if sign.side == BOTH else (sign.side,)


def _nothing(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """The finding shows in the anatomy alone."""


def _fill(film: Film, mask: Map) -> None:
    """Replaces air by water where the mask is 1."""
    film.air *= 1 - mask
    film.vessels *= 1 - mask


def _effusion(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """Fluid that climbs along the wall: a concave upper edge, the meniscus."""
    s = sign.severity
    for side in _sides(sign):
        wall, floor = 0.50 - 0.75 * s**1.3, 0.62 - 0.55 * s
        top = [(0.9, wall - 0.03), (CHEST - 0.02, wall), (0.66, wall + 0.62 * (floor - wall))]
        top += [(0.48, floor - 0.02), (0.28, floor), (-0.02, floor)]
        outline = [*smooth(top), (-0.02, 1.0), (0.9, 1.0)]
        fluid = film.frame.polygon(mirrored(outline, SIDE_SIGN[side]), 0.016)
        _fill(film, 0.95 * fluid * film.lungs[side])


def _effusion_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    s = sign.severity
    wall, floor = 0.58 - 0.65 * s, 0.70 - 0.5 * s
    top = [
        (0.9, wall - 0.03),
        (0.66, wall),
        (0.50, floor - 0.02),
        (0.2, floor),
        (-0.6, floor + 0.02),
    ]
    fluid = film.frame.polygon([*smooth(top), (-0.7, 1.0), (0.9, 1.0)], 0.016)
    _fill(film, (0.9 if sign.side == BOTH else 0.7) * fluid)


def _pneumothorax(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """Black air without markings between the wall and the edge of a shrunken lung."""
    outline = np.array(lung_outline(Patient(), sign.side))
    _collapse(
        film, sign, outline, np.array((SIDE_SIGN[sign.side] * 0.16, 0.30)), film.lungs[sign.side]
    )


def _pneumothorax_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    outline = np.array(lateral_lung(Patient()))
    _collapse(film, sign, outline, np.array((0.05, 0.42)), 0.7 * film.lungs[LEFT])


def _collapse(film: Film, sign: Sign, outline: Map, anchor: Map, lung: Map) -> None:
    left = 1 - (0.08 + 0.42 * sign.severity)
    edge = [tuple(point) for point in (anchor + (outline - anchor) * left).tolist()]
    inside = film.frame.polygon(edge, 0.012)
    outside = lung * (1 - inside)
    film.vessels *= 1 - outside
    film.air *= 1 - 0.35 * sign.severity * inside * lung
    film.air += 0.34 * outside * np.minimum(film.air, 1)
    line = film.frame.lines([([*edge, edge[0]], 0.022 + 0.012 * sign.severity)], 0.004)
    film.bone += (0.10 + 0.08 * sign.severity) * line * lung


def _edema(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """Bilateral perihilar haze, wide upper vessels, short septal lines at the lateral bases."""
    s = sign.severity
    haze = film.frame.glow((-0.28, -0.02), (0.20, 0.30)) + film.frame.glow(
        (0.28, -0.04), (0.20, 0.30)
    )
    fluffy = np.clip(haze, 0, 1) * (1 + 0.35 * film.frame.clouds(rng, 14))
    upper = film.frame.glow((-0.3, -0.38), (0.14, 0.2)) + film.frame.glow((0.3, -0.4), (0.14, 0.2))
    film.vessels *= 1 + 1.2 * s * upper
    film.air *= 1 - np.clip((0.15 + 0.6 * s) * fluffy, 0, 0.85)
    septa: list[Stroke] = []
    for side in (-1, 1):
        for y in np.arange(0.08, 0.42, 0.065):
            x = CHEST - 0.03 + rng.uniform(-0.02, 0.01)
            septa.append((((side * x, y), (side * (x - 0.10 - 0.08 * s), y + 0.02)), 0.020))
    film.bone += (0.03 + 0.10 * s) * film.frame.lines(septa, 0.004) * np.clip(film.air, 0, 1)


def _edema_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    s = sign.severity
    haze = film.frame.glow((0.05, -0.05), (0.28, 0.28)) * (1 + 0.35 * film.frame.clouds(rng, 14))
    film.air *= 1 - np.clip((0.12 + 0.6 * s) * haze, 0, 0.85)
    fissure = smooth([(0.45, -0.45), (0.15, -0.05), (-0.25, 0.20)])
    film.bone += (0.03 + 0.09 * s) * film.frame.lines([(fissure, 0.02)], 0.004)


def _consolidation(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """A dense patch through which the air-filled bronchi show as dark branches."""
    _airspace(film, sign, rng, _zone_centre(film, sign, rng), film.lungs[sign.side])


def _consolidation_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    _airspace(film, sign, rng, _LATERAL_ZONE[sign.zone], film.lungs[LEFT])


def _airspace(
    film: Film, sign: Sign, rng: np.random.Generator, centre: tuple[float, float], lung: Map
) -> None:
    s = sign.severity
    size = 0.15 + 0.14 * s
    wobble = 0.16 * film.frame.clouds(rng, 9)
    patch = film.frame.ellipse(centre, (size, size * 1.1), 0.25, wobble=wobble) * lung
    _fill(film, (0.45 + 0.5 * s) * patch)
    x, y = centre
    out = 1 if x > 0 else -1
    start = (x - out * size * 0.8, y - 0.25 * size)
    bronchi: list[Stroke] = []
    for turn in (-0.55, 0.0, 0.55):
        end = (x + out * size * 0.55, y + size * turn)
        bronchi.append(((start, (x - out * 0.1 * size, y + 0.3 * size * turn), end), 0.042))
    film.air += (0.25 + 0.30 * s) * film.frame.lines(bronchi, 0.006) * patch


def _pneumonia(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """Several fluffy patches in one part of one lung."""
    _fluff(film, sign, rng, _zone_centre(film, sign, rng), film.lungs[sign.side])


def _pneumonia_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    _fluff(film, sign, rng, _LATERAL_ZONE[sign.zone], film.lungs[LEFT])


def _fluff(
    film: Film, sign: Sign, rng: np.random.Generator, centre: tuple[float, float], lung: Map
) -> None:
    s = sign.severity
    spots = np.zeros_like(film.air)
    angles = rng.uniform(0, 2 * np.pi) + np.arange(5) * 2 * np.pi / 5 + rng.normal(0, 0.2, 5)
    for angle in angles:
        x, y = centre[0] + 0.16 * np.cos(angle), centre[1] + 0.18 * np.sin(angle)
        radius = rng.uniform(0.045, 0.06)
        spots = np.maximum(spots, film.frame.glow((x, y), (radius, radius)))
    film.air *= 1 - np.clip((0.30 + 0.65 * s) * spots * lung, 0, 0.95)


def _opacity(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """One faint hazy area that hides neither vessels nor ribs."""
    centre = _zone_centre(film, sign, rng)
    film.air *= 1 - (0.18 + 0.34 * sign.severity) * _haze(film, centre) * film.lungs[sign.side]


def _opacity_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    film.air *= 1 - (0.14 + 0.30 * sign.severity) * _haze(film, _LATERAL_ZONE[sign.zone])


def _haze(film: Film, centre: tuple[float, float]) -> Map:
    return film.frame.ellipse(centre, (0.20, 0.22), 0.55)


def _atelectasis(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """A band above a raised half of the diaphragm."""
    s = sign.severity
    bands: list[Stroke] = []
    for side in _sides(sign):
        x, y = 0.60, 0.27 - 0.09 * s + rng.uniform(-0.02, 0.02)
        band = [(x - 0.32, y + 0.07), (x - 0.1, y + 0.01), (x + 0.06 + 0.04 * s, y)]
        bands.append((mirrored(smooth(band), SIDE_SIGN[side]), 0.028 + 0.045 * s))
    film.bone += (0.09 + 0.16 * s) * film.frame.lines(bands, 0.006) * np.clip(film.air, 0, 1)


def _atelectasis_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    s = sign.severity
    band = smooth([(-0.05, 0.12), (0.18, 0.13), (0.48, 0.24)])
    film.bone += (0.09 + 0.16 * s) * film.frame.lines([(band, 0.028 + 0.045 * s)], 0.006)


def _lesion(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """A round nodule, or a mass when it is large."""
    _round(film, sign, _zone_centre(film, sign, rng))


def _lesion_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    _round(film, sign, _LATERAL_ZONE[sign.zone])


def _round(film: Film, sign: Sign, centre: tuple[float, float]) -> None:
    radius = 0.040 + 0.095 * sign.severity
    disc = film.frame.ellipse(centre, (radius, radius), min(0.4, 0.016 / radius))
    film.bone += (0.14 + 0.12 * sign.severity) * disc


def _plaque(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """Calcified plaque on the wall and diaphragm, or a thickened apical pleura."""
    s, side = sign.severity, SIDE_SIGN[sign.side]
    if sign.kind == "plaque":
        points = [(0.735, -0.12), (0.70, 0.0), (0.73, 0.12), (0.71, 0.2)]
        dome = [(0.36, 0.44), (0.48, 0.43), (0.58, 0.46)]
        strokes = [(mirrored(smooth(points), side), 0.03 + 0.05 * s)]
        strokes.append((mirrored(smooth(dome), side), 0.02 + 0.04 * s))
        rough = 0.75 + 0.5 * film.frame.clouds(rng, 40)
        film.bone += (0.14 + 0.22 * s) * film.frame.lines(strokes, 0.005) * np.clip(rough, 0.3, 1.3)
        return
    depth = 0.05 + 0.12 * s
    cap = [(0.10, -0.76), (0.26, -0.9), (0.50, -0.85), (0.62, -0.48)]
    under = [
        (0.53, -0.56 + 0.3 * depth),
        (0.42, -0.77 + depth),
        (0.28, -0.83 + depth),
        (0.15, -0.74 + 0.6 * depth),
    ]
    mask = film.frame.polygon(mirrored([*smooth(cap), *smooth(under)], side), 0.010)
    _fill(film, 0.9 * mask * film.lungs[sign.side])


def _plaque_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    s = sign.severity
    if sign.kind == "plaque":
        dome = smooth([(-0.35, 0.20), (-0.2, 0.19), (0.0, 0.22)])
        back = smooth([(0.66, -0.1), (0.64, 0.05), (0.66, 0.2)])
        strokes = [(dome, 0.02 + 0.04 * s), (back, 0.03 + 0.05 * s)]
        film.bone += (0.12 + 0.2 * s) * film.frame.lines(strokes, 0.005)
        return
    cap = film.frame.ellipse((0.17, -0.84), (0.26, 0.08 + 0.12 * s), 0.2)
    _fill(film, 0.7 * cap)


def _device(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    bright, width = 0.22 + 0.25 * sign.severity, 0.020 + 0.012 * sign.severity
    film.metal += bright * film.frame.lines(_frontal_strokes(sign.kind, width, rng), 0.003)
    if sign.kind == "pacemaker":
        can = film.frame.ellipse((0.56, -0.46), (0.115, 0.095), 0.12)
        film.metal += bright * 0.9 * can


def _frontal_strokes(kind: str, width: float, rng: np.random.Generator) -> list[Stroke]:
    if kind == "sternal wires":
        loops: list[Stroke] = []
        for y in np.linspace(-0.40, 0.30, 6):
            a, b, tilt = 0.045, 0.022, rng.normal(0, 0.01)
            ring = [(-a, y), (0, y - b + tilt), (a, y), (0, y + b + tilt), (-a, y)]
            loops.append((ring, width * 1.1))
        return loops
    if kind == "pacemaker":
        ventricle = [
            (0.47, -0.50),
            (0.30, -0.62),
            (0.02, -0.55),
            (-0.13, -0.35),
            (-0.17, 0.10),
            (0.02, 0.40),
            (0.26, 0.44),
        ]
        atrium = [
            (0.47, -0.46),
            (0.30, -0.57),
            (0.0, -0.50),
            (-0.10, -0.32),
            (-0.14, 0.05),
            (-0.10, 0.14),
            (-0.05, 0.04),
        ]
        return [(smooth(ventricle), width), (smooth(atrium), width)]
    if kind == "central line":
        dx = rng.normal(0, 0.01)
        path = [
            (-0.24, -1.1),
            (-0.22, -0.85),
            (-0.14 + dx, -0.60),
            (-0.12, -0.3),
            (-0.12, -0.08 + rng.normal(0, 0.03)),
        ]
        return [(smooth(path), width * 1.2)]
    tip = -0.52 + rng.normal(0, 0.03)
    walls: list[Stroke] = [(((x, -1.2), (x + 0.005, tip)), width * 0.9) for x in (-0.028, 0.028)]
    return [*walls, (((-0.03, tip), (0.035, tip)), width * 0.8)]


def _device_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    bright, width = 0.22 + 0.25 * sign.severity, 0.020 + 0.012 * sign.severity
    strokes: list[Stroke]
    if sign.kind == "sternal wires":
        front = smooth([(-0.36, -0.58), (-0.56, -0.22), (-0.64, 0.12)], 3)
        strokes = [(((x - 0.03, y), (x + 0.05, y - 0.02)), width * 1.3) for x, y in front]
    elif sign.kind == "pacemaker":
        lead = [
            (-0.42, -0.52),
            (-0.15, -0.62),
            (0.0, -0.45),
            (-0.02, 0.0),
            (-0.2, 0.30),
            (-0.45, 0.34),
        ]
        strokes = [(smooth(lead), width)]
        film.metal += bright * film.frame.ellipse((-0.48, -0.48), (0.05, 0.10), 0.15, 0.5)
    elif sign.kind == "central line":
        strokes = [
            (smooth([(-0.1, -1.1), (-0.05, -0.7), (-0.02, -0.4), (-0.03, -0.05)]), width * 1.2)
        ]
    else:
        strokes = [(((x, -1.1), (x + 0.05, -0.50)), width * 0.9) for x in (-0.05, 0.01)]
    film.metal += bright * film.frame.lines(strokes, 0.003)


def _zone_centre(film: Film, sign: Sign, rng: np.random.Generator) -> tuple[float, float]:
    x, y = _FRONTAL_ZONE[sign.zone]
    return SIDE_SIGN[sign.side] * (x + rng.uniform(-0.05, 0.04)), y + rng.uniform(-0.06, 0.06)


_FRONTAL: dict[Finding, Painter] = {
    Finding.CARDIOMEGALY: _nothing,
    Finding.ENLARGED_CARDIOMEDIASTINUM: _nothing,
    Finding.FRACTURE: _nothing,
    Finding.EDEMA: _edema,
    Finding.LUNG_OPACITY: _opacity,
    Finding.CONSOLIDATION: _consolidation,
    Finding.PNEUMONIA: _pneumonia,
    Finding.LUNG_LESION: _lesion,
    Finding.ATELECTASIS: _atelectasis,
    Finding.PNEUMOTHORAX: _pneumothorax,
    Finding.PLEURAL_EFFUSION: _effusion,
    Finding.PLEURAL_OTHER: _plaque,
    Finding.SUPPORT_DEVICES: _device,
}
"""Painters in the order they paint: what lies in the lung before what displaces it."""

_LATERAL: dict[Finding, Painter] = {
    **_FRONTAL,
    Finding.EDEMA: _edema_lateral,
    Finding.LUNG_OPACITY: _opacity_lateral,
    Finding.CONSOLIDATION: _consolidation_lateral,
    Finding.PNEUMONIA: _pneumonia_lateral,
    Finding.LUNG_LESION: _lesion_lateral,
    Finding.ATELECTASIS: _atelectasis_lateral,
    Finding.PNEUMOTHORAX: _pneumothorax_lateral,
    Finding.PLEURAL_EFFUSION: _effusion_lateral,
    Finding.PLEURAL_OTHER: _plaque_lateral,
    Finding.SUPPORT_DEVICES: _device_lateral,
}
