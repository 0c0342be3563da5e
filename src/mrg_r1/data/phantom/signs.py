"""What each finding does to the chest: some change its shape, the others are painted on the film.

Radiographic facts drawn here: fluid levels climb the wall (meniscus), free air has no markings
beyond the pleural edge, edema spreads from the hila and thickens the septa at the bases,
consolidation leaves the bronchi black, a collapsed segment is a band, calcium is white.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mrg_r1.data.phantom import devices
from mrg_r1.data.phantom.anatomy import (
    CHEST,
    SIDE_SIGN,
    Film,
    frontal,
    lateral,
    lateral_wall,
    lung_wall,
)
from mrg_r1.data.phantom.cases import (
    BOTH,
    LEFT,
    LOWER,
    MID,
    PLAQUE,
    RIGHT,
    UPPER,
    Case,
    Patient,
    Sign,
)
from mrg_r1.data.phantom.raster import (
    Map,
    Point,
    Points,
    Stroke,
    mirrored,
    smooth,
    smoothstep,
)
from mrg_r1.findings import Finding

Painter = Callable[[Film, Sign, np.random.Generator], None]

_FRONTAL_ZONE = {UPPER: (0.40, -0.44), MID: (0.50, -0.10), LOWER: (0.54, 0.19)}
_LATERAL_ZONE = {UPPER: (0.05, -0.48), MID: (-0.25, -0.12), LOWER: (0.36, 0.16)}


def render(case: Case, size: int) -> tuple[Map, Map]:
    """The frontal and the lateral view: grey values in [0, 1] of shape (size, size)."""
    patient = case.patient
    for sign in case.signs:
        patient = reshaped(patient, sign)
    views: list[Map] = []
    for build, painters, stream in ((frontal, _FRONTAL, 3), (lateral, _LATERAL, 4)):
        film = build(size, patient)
        order = list(painters)
        painted = [sign for sign in case.signs if sign.finding in painters]
        for sign in sorted(painted, key=lambda sign: order.index(sign.finding)):
            painters[sign.finding](film, sign, np.random.default_rng((sign.seed, stream)))
        views.append(film.develop(patient, np.random.default_rng((patient.seed, stream))))
    return views[0], views[1]


def reshaped(patient: Patient, sign: Sign) -> Patient:
    """The patient with the shape a finding gives: of heart, mediastinum, diaphragm or ribs."""
    s = sign.severity
    if sign.finding is Finding.CARDIOMEGALY:
        return replace(patient, heart=0.51 + 0.17 * s)
    if sign.finding is Finding.ENLARGED_CARDIOMEDIASTINUM:
        return replace(patient, mediastinum=1.30 + 0.75 * s)
    if sign.finding is Finding.ATELECTASIS:
        right, left = (0.10 * s if sign.side in (side, BOTH) else 0.0 for side in (RIGHT, LEFT))
        return replace(patient, domes=(patient.domes[0] - right, patient.domes[1] - left))
    if sign.finding is Finding.FRACTURE:
        first, at = 2 + sign.seed % 3, 0.30 + 0.02 * (sign.seed % 7)
        breaks = tuple(
            (first + i, at + 0.03 * i, 0.035 + 0.06 * s) for i in range(1 + round(1.6 * s))
        )
        return replace(patient, breaks=tuple(breaks), broken_side=sign.side)
    return patient


def _sides(sign: Sign) -> tuple[str, ...]:
    return (RIGHT, LEFT) if sign.side == BOTH else (sign.side,)


def _fill(film: Film, mask: Map) -> None:
    """Replaces air by water where the mask is 1."""
    film.tissue += 0.04 * mask * film.lungs
    film.over *= 1 - 0.5 * mask
    film.air *= 1 - mask
    film.vessels *= 1 - mask


def _effusion(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """Fluid that climbs along the wall: a concave upper edge, the meniscus."""
    s = sign.severity
    for side in _sides(sign):
        wall, floor = 0.46 - 0.72 * s, 0.64 - 0.46 * s
        top = [(0.95, wall - 0.10), (CHEST, wall), (0.66, wall + 0.55 * (floor - wall))]
        top += [(0.52, floor - 0.03), (0.30, floor), (-0.02, floor - 0.02)]
        outline = [*smooth(top), (-0.02, 0.78), (0.95, 0.78)]
        _fill(film, 0.96 * film.canvas.polygon(mirrored(outline, SIDE_SIGN[side]), 0.014))


def _effusion_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """Fluid fills the angle at the back first."""
    s = sign.severity
    wall, floor = 0.50 - 0.62 * s, 0.72 - 0.46 * s
    top = [(0.95, wall - 0.10), (0.68, wall), (0.58, wall + 0.6 * (floor - wall)), (0.40, floor)]
    top += [(0.0, floor + 0.01), (-0.7, floor - 0.02)]
    fluid = film.canvas.polygon([*smooth(top), (-0.7, 0.9), (0.95, 0.9)], 0.014)
    _fill(film, (0.92 if sign.side == BOTH else 0.75) * fluid)


def _pneumothorax(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """Black air without markings between the wall and the edge of a shrunken lung."""
    side = SIDE_SIGN[sign.side]
    half = film.lungs * (side * film.canvas.x > 0)
    _free_air(film, sign, _shrunk(lung_wall(sign.side), (side * 0.06, 0.66), sign.severity), half)


def _pneumothorax_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    edge = _shrunk(lateral_wall(), (0.05, 0.60), sign.severity)
    _free_air(film, sign, edge, 0.65 * film.lungs)


def _shrunk(wall: Points, root: Point, severity: float) -> list[Point]:
    """A lung's wall drawn back towards its root, the apex further than the base."""
    left = 1 - (0.04 + 0.20 * severity + 0.26 * severity**2)
    return [(root[0] + (x - root[0]) * left, root[1] + (y - root[1]) * left) for x, y in wall]


def _free_air(film: Film, sign: Sign, edge: list[Point], lung: Map) -> None:
    s = sign.severity
    (x0, _), (x1, _) = edge[0], edge[-1]
    inside = film.canvas.polygon([*edge, (x1, 0.8), (x0, 0.8)], 0.008)
    outside = lung * (1 - inside)
    film.vessels *= 1 - outside
    film.air *= 1 - 0.35 * s * inside * lung
    film.air += 0.45 * outside * np.minimum(film.air, 1)
    line = film.canvas.lines([Stroke(edge, 0.020 + 0.012 * s)], 0.004)
    film.over += (0.16 + 0.10 * s) * line * lung


def _edema(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """Bilateral perihilar haze, wide upper vessels, short septal lines at the lateral bases."""
    s = sign.severity
    wide = (0.19 + 0.07 * s, 0.26 + 0.08 * s)
    wings = film.canvas.glow((-0.32, -0.02), wide) + film.canvas.glow((0.32, -0.04), wide)
    wings *= 1 + 0.45 * film.canvas.clouds(rng, 15)
    film.vessels *= 1 + 0.9 * s * smoothstep(-3 * (film.canvas.y + 0.05))
    film.air *= 1 - np.clip((0.16 + 0.72 * s) * wings, 0, 0.88)
    septa: list[Stroke] = []
    for side in (-1, 1):
        for y in np.arange(0.06, 0.44, 0.075):
            x = CHEST - 0.03 + rng.uniform(-0.02, 0.01)
            length = 0.10 + 0.06 * s
            septa.append(Stroke(((side * x, y), (side * (x - length), y + 0.015)), 0.022))
    film.over += (0.07 + 0.16 * s) * film.canvas.lines(septa, 0.004) * film.lungs


def _edema_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """Haze around the hilum and thick fissures."""
    s = sign.severity
    haze = film.canvas.glow((0.05, -0.05), (0.30, 0.30)) * (1 + 0.45 * film.canvas.clouds(rng, 15))
    film.air *= 1 - np.clip((0.14 + 0.66 * s) * haze, 0, 0.85)
    fissures = [Stroke(smooth([(0.45, -0.50), (0.15, -0.05), (-0.25, 0.20)]), 0.022)]
    fissures.append(Stroke(((0.05, -0.10), (-0.50, -0.06)), 0.022))
    film.over += (0.06 + 0.14 * s) * film.canvas.lines(fissures, 0.004) * film.lungs


def _consolidation(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """A dense patch through which the air-filled bronchi show as dark branches."""
    centre = _frontal_centre(sign, rng)
    _airspace(film, sign, rng, centre, (SIDE_SIGN[sign.side] * 0.18, -0.10))


def _consolidation_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    _airspace(film, sign, rng, _LATERAL_ZONE[sign.zone], (0.05, -0.08))


def _airspace(
    film: Film, sign: Sign, rng: np.random.Generator, centre: Point, hilum: Point
) -> None:
    s = sign.severity
    size = 0.17 + 0.11 * s
    wobble = 0.22 * film.canvas.clouds(rng, 8) + 0.10 * film.canvas.clouds(rng, 22)
    patch = film.canvas.ellipse(centre, (size * 1.1, size), 0.22, wobble=wobble)
    _fill(film, (0.50 + 0.46 * s) * patch)
    start = np.array(centre) + 0.95 * size * _unit(np.array(hilum) - centre)
    along = _unit(np.array(centre) - start)
    across = np.array((-along[1], along[0]))
    bronchi: list[Stroke] = []
    for turn in (np.array((-0.60, 0.05, 0.65)) + rng.normal(0, 0.12, 3)).tolist():
        middle = start + size * (0.55 * along + 0.3 * turn * across)
        end = start + size * ((1.55 - 0.3 * abs(turn)) * along + 1.1 * turn * across)
        path = [(float(x), float(y)) for x, y in (start, middle, end)]
        bronchi.append(Stroke(smooth(path), 0.030))
    film.air += (0.20 + 0.28 * s) * film.canvas.lines(bronchi, 0.005) * patch


def _unit(vector: Map) -> Map:
    return vector / max(1e-6, float(np.hypot(*vector)))


def _pneumonia(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """Several fluffy patches that run together in one part of one lung."""
    _fluff(film, sign, rng, _frontal_centre(sign, rng))


def _pneumonia_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    _fluff(film, sign, rng, _LATERAL_ZONE[sign.zone])


def _fluff(film: Film, sign: Sign, rng: np.random.Generator, centre: Point) -> None:
    s = sign.severity
    region = film.canvas.ellipse(centre, (0.26, 0.28), 0.35)
    spots = np.zeros_like(film.air)
    turn = rng.uniform(0, 2 * np.pi)
    for k in range(6):
        far, angle = (0.17 if k else 0.0) * rng.uniform(0.8, 1.2), turn + 1.26 * k
        at = (centre[0] + far * np.cos(angle), centre[1] + 1.1 * far * np.sin(angle))
        radius = rng.uniform(0.035, 0.065)
        spots += film.canvas.glow(at, (radius, radius * rng.uniform(0.8, 1.2)))
    fluffy = region * np.clip(spots * (1 + 0.7 * film.canvas.clouds(rng, 26)) + 0.10, 0, 1)
    film.air *= 1 - (0.32 + 0.60 * s) * fluffy


def _opacity(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """One faint hazy area that hides neither vessels nor ribs."""
    _haze(film, sign, _frontal_centre(sign, rng), 0.22 + 0.34 * sign.severity)


def _opacity_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    _haze(film, sign, _LATERAL_ZONE[sign.zone], 0.18 + 0.30 * sign.severity)


def _haze(film: Film, sign: Sign, centre: Point, depth: float) -> None:
    film.air *= 1 - depth * film.canvas.ellipse(centre, (0.20, 0.22), 0.55)


def _atelectasis(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """Bands above a raised half of the diaphragm."""
    s = sign.severity
    for side in _sides(sign):
        sign_x = SIDE_SIGN[side]
        for k in range(1 + (sign.grade > 0)):
            at = (sign_x * (0.54 - 0.10 * k), 0.26 - 0.09 * s + 0.10 * k + rng.uniform(-0.02, 0.02))
            radii = (0.17 + 0.06 * s - 0.03 * k, 0.016 + 0.022 * s)
            band = film.canvas.ellipse(at, radii, 0.45, sign_x * rng.uniform(-0.30, -0.12))
            film.over += (0.16 + 0.22 * s) * band * np.clip(film.air, 0, 1)


def _atelectasis_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    s = sign.severity
    radii = (0.24 + 0.06 * s, 0.016 + 0.022 * s)
    band = film.canvas.ellipse((0.28, 0.16 - 0.05 * s), radii, 0.45, 0.25)
    film.over += (0.16 + 0.22 * s) * band * np.clip(film.air, 0, 1)


def _lesion(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """A round nodule with a sharp rim, or a mass when it is large."""
    _round(film, sign, _frontal_centre(sign, rng))


def _lesion_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    _round(film, sign, _LATERAL_ZONE[sign.zone])


def _round(film: Film, sign: Sign, centre: Point) -> None:
    radius = 0.040 + 0.095 * sign.severity
    disc = film.canvas.ellipse(centre, (radius, radius), min(0.4, 0.016 / radius))
    film.over += (0.24 + 0.20 * sign.severity) * disc


def _pleura(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    """Calcified plaque on wall and diaphragm, or a thickened apical pleura."""
    s, side = sign.severity, SIDE_SIGN[sign.side]
    if sign.kind == PLAQUE:
        wall = [(0.65, -0.16), (0.66, -0.06), (0.69, 0.06), (0.69, 0.16)]
        dome = [(0.32, 0.43), (0.46, 0.42), (0.60, 0.46)]
        strokes = [Stroke(smooth(wall), 0.030 + 0.05 * s), Stroke(smooth(dome), 0.025 + 0.04 * s)]
        _calcium(film, sign, rng, [Stroke(mirrored(k.points, side), k.width) for k in strokes])
        return
    depth = 0.04 + 0.15 * s
    under = [(0.62, -0.50 + 0.3 * depth), (0.53, -0.60 + 0.6 * depth), (0.40, -0.79 + depth)]
    under += [(0.26, -0.84 + depth), (0.08, -0.76 + 0.8 * depth)]
    cap = [*smooth(under), (0.0, -1.0), (0.7, -1.0)]
    _fill(film, 0.92 * film.canvas.polygon(mirrored(cap, side), 0.010))


def _pleura_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    s = sign.severity
    if sign.kind == PLAQUE:
        dome = smooth([(-0.38, 0.21), (-0.2, 0.19), (0.02, 0.24)])
        back = smooth([(0.66, -0.12), (0.68, 0.02), (0.67, 0.18)])
        widths = (0.025 + 0.04 * s, 0.030 + 0.05 * s)
        _calcium(film, sign, rng, [Stroke(dome, widths[0]), Stroke(back, widths[1])])
        return
    _fill(film, 0.75 * film.canvas.ellipse((0.17, -0.86), (0.40, 0.08 + 0.16 * s), 0.2))


def _calcium(film: Film, sign: Sign, rng: np.random.Generator, strokes: list[Stroke]) -> None:
    rough = np.clip(0.8 + 0.6 * film.canvas.clouds(rng, 36), 0.2, 1.4)
    film.over += (0.20 + 0.40 * sign.severity) * rough * film.canvas.lines(strokes, 0.006)


def _device(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    film.over += devices.frontal(film.canvas, sign, rng)


def _device_lateral(film: Film, sign: Sign, rng: np.random.Generator) -> None:
    film.over += devices.lateral(film.canvas, sign, rng)


def _frontal_centre(sign: Sign, rng: np.random.Generator) -> Point:
    x, y = _FRONTAL_ZONE[sign.zone]
    return SIDE_SIGN[sign.side] * (x + rng.uniform(-0.05, 0.04)), y + rng.uniform(-0.06, 0.06)


_FRONTAL: dict[Finding, Painter] = {
    Finding.EDEMA: _edema,
    Finding.LUNG_OPACITY: _opacity,
    Finding.CONSOLIDATION: _consolidation,
    Finding.PNEUMONIA: _pneumonia,
    Finding.LUNG_LESION: _lesion,
    Finding.ATELECTASIS: _atelectasis,
    Finding.PNEUMOTHORAX: _pneumothorax,
    Finding.PLEURAL_EFFUSION: _effusion,
    Finding.PLEURAL_OTHER: _pleura,
    Finding.SUPPORT_DEVICES: _device,
}
"""Painters in the order they paint: what lies in the lung before what displaces it."""

_LATERAL: dict[Finding, Painter] = {
    Finding.EDEMA: _edema_lateral,
    Finding.LUNG_OPACITY: _opacity_lateral,
    Finding.CONSOLIDATION: _consolidation_lateral,
    Finding.PNEUMONIA: _pneumonia_lateral,
    Finding.LUNG_LESION: _lesion_lateral,
    Finding.ATELECTASIS: _atelectasis_lateral,
    Finding.PNEUMOTHORAX: _pneumothorax_lateral,
    Finding.PLEURAL_EFFUSION: _effusion_lateral,
    Finding.PLEURAL_OTHER: _pleura_lateral,
    Finding.SUPPORT_DEVICES: _device_lateral,
}
