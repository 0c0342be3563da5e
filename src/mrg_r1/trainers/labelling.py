"""The references of a job, labelled once for all of its processes."""

from __future__ import annotations

from collections.abc import Sequence

from mrg_r1.findings import Labels
from mrg_r1.labelers.cached import CachedLabeler
from mrg_r1.trainers.processes import gathered, share_of


def label_together(labeler: CachedLabeler, references: Sequence[str]) -> list[Labels]:
    """Labels of each reference, in order; each process labels a share and is told the others'.

    They are remembered for good, so that no step of the training labels a reference again. All
    processes must ask together, for the same references. Labels are exchanged, texts are not.
    """
    texts = list(dict.fromkeys(references))
    mine = share_of(range(len(texts)))
    labels = labeler.label([texts[number] for number in mine])
    shares = gathered(list(zip(mine, labels, strict=True)))
    labeler.keep({texts[number]: found for number, found in shares})
    return labeler.label(references)
