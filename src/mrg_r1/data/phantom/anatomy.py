"""The healthy chest: what absorbs X-rays where, from the front and from the side.

Nothing here is traced from an image: outlines are a handful of landmarks joined by smooth curves.
The left of a frontal image is the patient's right, as radiographs are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrg_r1.data.phantom.cases import LEFT, RIGHT, Patient
from mrg_r1.data.phantom.raster import (
    Frame,
    Map,
    Points,
    Stroke,
    mirrored,
    smooth,
    smoothstep,
)

CHEST = 0.76
"""Half the inner width of the frontal chest where it is widest."""

SIDE_SIGN = {RIGHT: -1, LEFT: 1}
"""The direction in which a patient's side lies on a frontal image."""


@dataclass(slots=True)
class Film:
    """A view being drawn: maps of (size, size), each in [0, 1] unless a sign adds to it.

    `tissue` is what surrounds the lungs, `air` how much of it the lungs replace, `vessels` their
    markings, `bone` and `metal` what lies over both.
    """

    frame: Frame
    tissue: Map
    air: Map
    vessels: Map
    bone: Map
    metal: Map
    lungs: dict[str, Map]

    def develop(self, patient: Patient, rng: np.random.Generator) -> Map:
        """The exposed film: grey values in [0, 1] of shape (size, size)."""
        lungs = np.clip(self.air, 0, 1.6)
        white = self.tissue * (1 - 0.62 * lungs) + 0.20 * self.vessels * np.clip(lungs, 0, 1)
        white += self.bone + self.metal
        white = np.clip((white - 0.5) * patient.contrast + 0.5 + patient.brightness, 0, None)
        white = white**patient.gamma
        white = np.where(white > 0.8, 0.8 + 0.2 * np.tanh((white - 0.8) / 0.2), white)
        grain = rng.standard_normal(white.shape, dtype=np.float32)
        return np.clip(white + patient.noise * grain * (0.5 + white), 0, 1)


def lung_outline(patient: Patient, side: str) -> list[tuple[float, float]]:
    """The outline of a lung on the frontal view, closed behind the heart."""
    dome = 0.44 + (0.0 if side == RIGHT else 0.05) + patient.domes[side == LEFT]
    points = [
        (0.05, -0.55),
        (0.14, -0.76),
        (0.28, -0.83),
        (0.43, -0.77),
        (0.57, -0.56),
        (0.68, -0.24),
        (0.74, 0.08),
        (CHEST, 0.36),
        (CHEST, 0.62),
    ]
    base = [
        (CHEST - 0.01, 0.65),
        (0.66, dome + 0.09),
        (0.45, dome),
        (0.22, dome + 0.04),
        (0.05, dome + 0.1),
    ]
    return mirrored([*smooth(points), *smooth(base)], SIDE_SIGN[side])


def frontal(frame: Frame, patient: Patient) -> Film:
    """The healthy chest from the front."""
    rng = np.random.default_rng((patient.seed, 1))
    wide = 0.88 + 0.10 * patient.girth
    half = [(0.22, -1.4), (0.24, -0.97), (0.5, -0.88), (0.85, -0.78), (1.1, -0.6), (1.25, -0.3)]
    half += [(1.2, 0.0), (wide + 0.04, 0.02), (wide, 0.3), (wide + 0.03, 0.8), (wide + 0.06, 1.4)]
    body = frame.polygon(half + mirrored(half, -1)[::-1], 0.03)
    thick = 0.62 + 0.10 * patient.girth
    centre = np.exp(-4 * frame.x * frame.x)
    tissue = body * (thick + 0.13 * centre + 0.10 * smoothstep((frame.y - 0.3) * 2))
    lungs = {side: frame.polygon(lung_outline(patient, side), 0.014) for side in (RIGHT, LEFT)}
    heart = frame.polygon(_silhouette(patient), 0.018)
    air = np.maximum(lungs[RIGHT], lungs[LEFT]) * (1 - 0.88 * heart)
    for side, sign in SIDE_SIGN.items():
        if patient.breasts:
            size = 0.22 + 0.06 * patient.breasts
            breast = frame.ellipse((sign * 0.50, 0.42), (size * 1.2, size), 0.25)
            tissue += 0.06 * patient.breasts * breast
    tissue += 0.02 * heart
    trachea = frame.lines([(((0, -1.1), (0.01, -0.42)), 0.09)], 0.02)
    trachea += frame.lines(
        [(((0.01, -0.42), (-0.14, -0.24)), 0.06), (((0.01, -0.42), (0.16, -0.22)), 0.05)], 0.02
    )
    air += 0.25 * trachea * body
    air += 0.35 * frame.ellipse((0.42, 0.66 + patient.domes[1]), (0.15, 0.08), 0.3)
    bone = (
        _spine(frame)
        + _ribs(frame, patient) * (0.35 + 0.65 * np.clip(air, 0, 1))
        + _clavicles(frame)
    )
    vessels = _vessels(frame, rng) + 0.5 * frame.clouds(rng, 40).clip(0, 1) * 0.3
    return Film(frame, tissue, air, vessels, bone, np.zeros_like(air), lungs)


def _silhouette(patient: Patient) -> list[tuple[float, float]]:
    """The outline of the heart and mediastinum for the patient's cardiothoracic ratio."""
    width, m = patient.heart * 2 * CHEST, patient.mediastinum
    right, left = -0.34 * width, 0.66 * width
    points = [
        (0.09 * m, -1.1),
        (0.10 * m, -0.6),
        (0.14 * m, -0.46),
        (0.19 * m, -0.34),
        (0.17 * m, -0.24),
        (0.19 * m, -0.12),
        (0.24 + 0.2 * (left - 0.42), 0.0),
        (0.78 * left, 0.18),
        (0.98 * left, 0.38),
        (0.92 * left, 0.52),
        (0.5 * left, 0.62),
        (0.5 * right, 0.62),
        (0.85 * right, 0.48),
        (right, 0.25),
        (0.86 * right, 0.06),
        (-0.14 * m, -0.08),
        (-0.14 * m, -0.35),
        (-0.11 * m, -0.6),
        (-0.09 * m, -1.1),
    ]
    return smooth(points)


def _spine(frame: Frame) -> Map:
    bodies = 0.75 + 0.25 * np.cos(frame.y * np.float32(2 * np.pi / 0.14))
    return 0.07 * bodies * np.exp(-((frame.x / np.float32(0.085)) ** 4))


def rib(patient: Patient, index: int, side: str, steps: int = 9) -> list[tuple[float, float]]:
    """The posterior part of a rib, from the spine to the wall of the frontal chest."""
    spacing = 1.22 / patient.ribs
    start = -0.74 + patient.rib_phase + index * spacing
    t = np.linspace(0, 1, steps)
    wall = np.interp(start + 0.22, (-0.8, -0.55, -0.2, 0.1, 0.4), (0.36, 0.6, 0.72, 0.77, 0.79))
    x = 0.07 + (wall - 0.07) * np.sin(t * np.pi / 2)
    y = start - 0.05 * np.sin(t * np.pi) + 0.24 * t**2.2
    return mirrored(list(zip(x.tolist(), y.tolist(), strict=True)), SIDE_SIGN[side])


def _ribs(frame: Frame, patient: Patient) -> Map:
    posterior: list[Stroke] = []
    anterior: list[Stroke] = []
    for side, sign in SIDE_SIGN.items():
        broken = {index: (at, gap) for s, index, at, gap in patient.breaks if s == side}
        for index in range(patient.ribs):
            path = smooth(rib(patient, index, side), 3)
            if index in broken:
                posterior += [(part, 0.062) for part in _displaced(path, *broken[index])]
            else:
                posterior.append((path, 0.062))
            if 1 <= index < patient.ribs - 2:
                x, y = path[-1]
                front = [
                    (x, y),
                    (x - sign * 0.10, y + 0.12),
                    (x - sign * 0.30, y + 0.21),
                    (x - sign * 0.42, y + 0.22),
                ]
                anterior.append((smooth(front), 0.07))
    return 0.09 * frame.lines(posterior, 0.010) + 0.045 * frame.lines(anterior, 0.014)


def _displaced(path: Points, at: float, gap: float) -> list[Points]:
    """A rib in two pieces, the lateral one pushed down and inwards over the medial one."""
    cut = max(2, min(len(path) - 3, round(at * len(path))))
    inwards = -np.sign(path[-1][0])
    return [path[:cut], [(x + 0.3 * gap * inwards, y + gap) for x, y in path[cut:]]]


def _clavicles(frame: Frame) -> Map:
    half = smooth([(0.10, -0.60), (0.28, -0.66), (0.52, -0.77), (0.75, -0.80), (0.95, -0.78)])
    blade = smooth([(0.92, -0.55), (0.80, -0.50), (0.80, -0.25), (0.86, 0.02)])
    both = [(half, 0.075), (mirrored(half, -1), 0.075)]
    blades = [(blade, 0.05), (mirrored(blade, -1), 0.05)]
    return 0.12 * frame.lines(both, 0.012) + 0.04 * frame.lines(blades, 0.02)


def _vessels(frame: Frame, rng: np.random.Generator) -> Map:
    """Branching markings that leave each hilum and thin out towards the wall."""
    thick: list[Stroke] = []
    fine: list[Stroke] = []
    for sign in (-1, 1):
        hilum = (sign * 0.20, -0.08 if sign < 0 else -0.12)
        for direction in np.linspace(-1.25, 1.35, 8) + rng.normal(0, 0.08, 8):
            length = 0.36 + 0.12 * rng.random() + 0.10 * abs(np.sin(direction))
            bend = rng.normal(0, 0.15)
            path = _branch(hilum, direction, length, bend, sign)
            thick.append((path[:4], 0.034))
            fine.append((path, 0.022))
            for turn in (-0.5, 0.45):
                twig = _branch(path[3], direction + turn, length * 0.6, -bend, sign)
                fine.append((twig, 0.015))
    hila = frame.glow((-0.20, -0.05), (0.05, 0.10)) + frame.glow((0.20, -0.09), (0.05, 0.09))
    return frame.lines(thick, 0.008) * 0.8 + frame.lines(fine, 0.006) * 0.6 + 0.8 * hila


def _branch(
    start: tuple[float, float], direction: float, length: float, bend: float, sign: int
) -> list[tuple[float, float]]:
    """A bent path of 7 points."""
    t = np.linspace(0, 1, 7)
    angles = direction + bend * t
    x = start[0] + sign * length * t * np.cos(angles)
    y = start[1] + length * t * np.sin(angles)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def lateral(frame: Frame, patient: Patient) -> Film:
    """The healthy chest from the side, the sternum to the left of the image."""
    rng = np.random.default_rng((patient.seed, 2))
    g = 0.06 * patient.girth
    front = [
        (-0.12, -1.4),
        (-0.30, -0.80),
        (-0.62 - g, -0.35),
        (-0.74 - g, 0.1),
        (-0.74 - g, 0.5),
        (-0.72 - g, 1.4),
    ]
    back = [
        (0.72 + g, 1.4),
        (0.78 + g, 0.7),
        (0.86 + g, 0.2),
        (0.82 + g, -0.3),
        (0.60, -0.85),
        (0.45, -1.4),
    ]
    body = frame.polygon([*smooth(front), *smooth(back)], 0.03)
    arm = frame.polygon(
        [(-1.3, -1.05), (-0.2, -0.78), (0.2, -0.8), (0.2, -1.3), (-1.3, -1.4)], 0.04
    )
    thick = 0.66 + 0.08 * patient.girth
    tissue = np.maximum(body, 0.8 * arm) * thick + 0.10 * body * smoothstep((frame.y - 0.2) * 2)
    lung = frame.polygon(lateral_lung(patient), 0.016)
    heart = frame.polygon(_lateral_heart(patient), 0.03)
    air = lung * (1 - 0.55 * heart) * (0.85 + 0.15 * smoothstep((frame.y + 0.5) * 1.2))
    shoulder = frame.ellipse((0.12, -0.82), (0.42, 0.30), 0.5)
    air *= 1 - 0.7 * shoulder
    hilum = (
        frame.glow((0.05, -0.08), (0.10, 0.12))
        + 0.8 * frame.glow((0.06, -0.34), (0.13, 0.06)) * patient.mediastinum
    )
    trachea = frame.lines([(((-0.02, -1.0), (0.06, -0.35)), 0.10)], 0.02)
    air += 0.2 * trachea * body
    vessels = 0.7 * hilum + _lateral_vessels(frame, rng) + 0.15 * frame.clouds(rng, 40).clip(0, 1)
    bone = _lateral_spine(frame) + _lateral_ribs(frame, patient)
    bone += 0.12 * frame.lines(
        [(smooth([(-0.33, -0.62), (-0.55, -0.25), (-0.65, 0.12)]), 0.05)], 0.015
    )
    return Film(frame, tissue, air, vessels, bone, np.zeros_like(air), {LEFT: lung, RIGHT: lung})


def lateral_lung(patient: Patient) -> list[tuple[float, float]]:
    """The outline of both lungs on the lateral view."""
    dome = 0.20 + sum(patient.domes) / 2
    wall = [
        (-0.61, 0.34),
        (-0.61, 0.08),
        (-0.50, -0.26),
        (-0.28, -0.60),
        (0.05, -0.80),
        (0.28, -0.80),
        (0.52, -0.58),
        (0.68, -0.22),
        (0.71, 0.1),
        (0.66, 0.45),
        (0.55, 0.74),
    ]
    base = [
        (0.53, 0.74),
        (0.38, 0.46),
        (0.12, dome + 0.10),
        (-0.2, dome),
        (-0.45, dome + 0.04),
        (-0.61, 0.34),
    ]
    return [*smooth(wall), *smooth(base)]


def _lateral_heart(patient: Patient) -> list[tuple[float, float]]:
    big = (patient.heart - 0.43) * 1.6
    return smooth(
        [
            (-0.62, 0.42),
            (-0.62, 0.05),
            (-0.52, -0.10 - 0.5 * big),
            (-0.30, -0.24),
            (-0.08, -0.24),
            (0.06 + 0.5 * big, -0.05),
            (0.10 + big, 0.18),
            (0.06 + big, 0.42),
        ]
    )


def _lateral_spine(frame: Frame) -> Map:
    centre = np.interp(frame.y, (-1, -0.4, 0.1, 0.6, 1), (0.36, 0.54, 0.60, 0.53, 0.44)).astype(
        np.float32
    )
    bodies = 0.65 + 0.35 * np.cos((frame.y + 0.25 * frame.x) * np.float32(2 * np.pi / 0.17))
    return 0.09 * bodies * np.exp(-(((frame.x - centre) / np.float32(0.10)) ** 4))


def _lateral_ribs(frame: Frame, patient: Patient) -> Map:
    strokes: list[Stroke] = []
    for index in range(patient.ribs):
        y = -0.75 + patient.rib_phase + index * 1.3 / patient.ribs
        path: Points = smooth([(0.68, y), (0.60, y + 0.12), (0.25, y + 0.30), (-0.1, y + 0.42)])
        pieces = [(path, 0.05)]
        for _, broken, at, gap in patient.breaks:
            if broken == index:
                pieces = [(piece, 0.05) for piece in _displaced(path, 0.4 * at, gap)]
        strokes += pieces
    return 0.05 * frame.lines(strokes, 0.012)


def _lateral_vessels(frame: Frame, rng: np.random.Generator) -> Map:
    strokes: list[Stroke] = []
    for direction in np.linspace(0, 2 * np.pi, 14, endpoint=False) + rng.normal(0, 0.1, 14):
        path = _branch((0.05, -0.08), direction, 0.35 + 0.15 * rng.random(), rng.normal(0, 0.3), 1)
        strokes += [(path, 0.018), (path[:4], 0.032)]
    return 0.5 * frame.lines(strokes, 0.008)
