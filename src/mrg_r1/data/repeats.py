"""Studies with rare findings are seen more often in training."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from random import Random

from mrg_r1.findings import DISEASES, Labels, Status

_PRESENT = (Status.POSITIVE, Status.UNCERTAIN)


def repeats(labels: Sequence[Labels], below: float, seed: int) -> list[int]:
    """Numbers of studies, in order, each as often as its rarest finding asks for.

    Repeat factor sampling (Gupta, Dollar and Girshick, LVIS, CVPR 2019, section 5.2): a finding
    that a share f of the studies shows asks for max(1, sqrt(below / f)) times, uncertain counted as
    present; a part of a time is drawn.

    Args:
        labels: of each study's reference.
        below: the share in (0, 1] from which a finding is frequent enough.
        seed: of the draw.
    """
    counts = {finding: sum(label[finding] in _PRESENT for label in labels) for finding in DISEASES}
    chance = Random(seed)
    numbers: list[int] = []
    for number, label in enumerate(labels):
        shares = (counts[d] / len(labels) for d in DISEASES if label[d] in _PRESENT)
        factor = max((sqrt(below / share) for share in shares), default=1.0)
        times = max(1.0, factor)
        whole = int(times)
        numbers += [number] * (whole + (chance.random() < times - whole))
    return numbers
