"""Drawn findings show: where they should, the more the more severe, and each in its own way."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from mrg_r1.data import phantom
from mrg_r1.data.phantom import cases
from mrg_r1.data.phantom.cases import LEFT, LOWER, MID, RIGHT, UPPER, Case, Patient, Sign
from mrg_r1.data.phantom.signs import render
from mrg_r1.findings import Finding
from phantom_signs import ONE_OF_EACH, SIDED, name_of

F = Finding


def views(sign: Sign | None, patient: Patient, size: int = 112) -> tuple[np.ndarray, np.ndarray]:
    return render(Case(patient, "", (sign,) if sign else ()), size)


def patches(image: np.ndarray, side: int = 8) -> np.ndarray:
    n = len(image) // side
    return image[: n * side, : n * side].reshape(n, side, n, side).mean(axis=(1, 3))


PATIENT = replace(cases.sample_patient(np.random.default_rng(4)), angle=0.0, shift=(0.0, 0.0))


class TestImages:
    def test_grey_values_use_the_range(self) -> None:
        for index in range(20):
            _, *both = phantom.draw_study(0, "train", index, 112)
            for view in both:
                assert view.shape == (112, 112)
                assert view.min() >= 0
                assert view.max() <= 1
                assert view.std() > 0.12

    def test_patients_differ_in_stance_and_exposure(self) -> None:
        healthy = [
            render(Case(cases.sample_patient(np.random.default_rng(i)), "", ()), 64)[0]
            for i in range(12)
        ]
        means = [view.mean() for view in healthy]
        assert np.ptp(means) > 0.03
        assert all(np.abs(a - b).mean() > 0.02 for a, b in pairwise(healthy))

    @pytest.mark.parametrize("sign", ONE_OF_EACH, ids=name_of)
    def test_more_severe_is_more_visible(self, sign: Sign) -> None:
        for view in (0, 1):
            normal = views(None, PATIENT)[view]
            changes = [
                np.abs(views(replace(sign, severity=s), PATIENT)[view] - normal).mean()
                for s in (0.2, 0.6, 1.0)
            ]
            assert changes[0] > 0
            assert all(less < more for less, more in pairwise(changes))

    @pytest.mark.parametrize("sign", ONE_OF_EACH, ids=name_of)
    def test_shows_in_patches_of_a_small_image(self, sign: Sign) -> None:
        """At 112 px some 8-pixel patch changes by more than the noise in its mean."""
        for severity, least in ((0.25, 0.02), (0.6, 0.03), (1.0, 0.04)):
            for view in (0, 1):
                changed = views(replace(sign, severity=severity), PATIENT)[view]
                difference = np.abs(patches(changed - views(None, PATIENT)[view])).max()
                assert difference > least, (severity, view)

    @pytest.mark.parametrize("sign", SIDED, ids=name_of)
    @pytest.mark.parametrize("side", [LEFT, RIGHT])
    def test_shows_on_the_side_it_is_on(self, sign: Sign, side: str) -> None:
        """A frontal image shows the patient's right on its left."""
        changed = views(replace(sign, side=side), PATIENT)[0]
        change = np.abs(changed - views(None, PATIENT)[0])
        left_half, right_half = change[:, :56].sum(), change[:, 56:].sum()
        near, far = (left_half, right_half) if side == RIGHT else (right_half, left_half)
        assert near > 4 * far

    @pytest.mark.parametrize(
        "finding", [F.LUNG_OPACITY, F.LUNG_LESION, F.CONSOLIDATION, F.PNEUMONIA]
    )
    def test_shows_in_the_zone_it_is_in(self, finding: Finding) -> None:
        kind = cases.NODULE if finding is F.LUNG_LESION else ""
        heights: list[float] = []
        for zone in (UPPER, MID, LOWER):
            changed = views(Sign(finding, 0.8, LEFT, zone, kind), PATIENT)[0]
            change = np.abs(changed - views(None, PATIENT)[0])
            heights.append(float((change.sum(axis=1) * np.arange(112)).sum() / change.sum()))
        assert heights[0] + 10 < heights[1]
        assert heights[1] + 8 < heights[2]

    @pytest.mark.parametrize("sign", ONE_OF_EACH, ids=name_of)
    def test_air_is_black_and_all_else_white(self, sign: Sign) -> None:
        change = views(sign, PATIENT)[0] - views(None, PATIENT)[0]
        if sign.finding is F.PNEUMOTHORAX:
            assert change[:40, 56:].sum() < 0
        else:
            assert change.sum() > 0

    def test_a_large_heart_is_wider_than_half_the_chest(self) -> None:
        for severity in (0.15, 0.6, 1.0):
            row = 62  # just above the diaphragm
            normal = views(None, PATIENT)[0]
            large = views(Sign(F.CARDIOMEGALY, severity), PATIENT)[0]
            wider = (large - normal)[row - 3 : row + 3].mean(axis=0) > 0.1
            assert wider.sum() >= 4

    def test_findings_do_not_look_alike(self) -> None:
        """Drawn at the same place in the same patient, every two change the image differently."""
        changes = {name_of(sign): _change(sign) for sign in ONE_OF_EACH}
        for one in changes:
            for other in changes:
                if one < other:
                    assert _distance(changes[one], changes[other]) > 0.35, (one, other)


def _change(sign: Sign) -> np.ndarray:
    if sign.finding is not F.SUPPORT_DEVICES:
        sign = replace(sign, side=sign.side and RIGHT, zone=sign.zone and MID)
    return views(replace(sign, severity=0.7), PATIENT)[0] - views(None, PATIENT)[0]


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """0 for equal changes, 1 where the smaller says nothing of the larger."""
    norm = np.linalg.norm
    return float(norm(a - b) / max(norm(a), norm(b)))
