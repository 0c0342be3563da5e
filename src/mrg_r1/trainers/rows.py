"""Samples as the rows TRL's trainers read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from mrg_r1.completion import render
from mrg_r1.data.context import prompts_of
from mrg_r1.data.images import read_image
from mrg_r1.data.study import Sample
from mrg_r1.findings import Labels, Status


def rows(
    samples: Sequence[Sample], instruction: str, targets: Sequence[str] | None = None
) -> Dataset:
    """A data set whose images are read when a row is.

    Columns are `id`, `prompt` (chat messages), `images` (8-bit RGB) and `reference`, which
    rewards receive by name; with `targets`, also `completion`, the text SFT imitates. A prompt
    is the instruction and the sample's context.
    """
    prompts = prompts_of(instruction, samples)
    columns: dict[str, Any] = {
        "id": [sample.id for sample in samples],
        "prompt": [[{"role": "user", "content": prompt}] for prompt in prompts],
        "images": [[str(path) for path in sample.images] for sample in samples],
        "reference": [sample.reference for sample in samples],
    }
    if targets is not None:
        columns["completion"] = [[{"role": "assistant", "content": text}] for text in targets]
    return Dataset.from_dict(columns).with_transform(_with_images)


def _with_images(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    # One object for each image: a group's completions ask for the same ones.
    paths = {path for some in batch["images"] for path in some}
    read = {path: read_image(Path(path)) for path in paths}
    return {**batch, "images": [[read[path] for path in some] for some in batch["images"]]}


def supervised_targets(
    samples: Sequence[Sample], labels: Sequence[Labels], think: str
) -> list[str]:
    """The completions a supervised start imitates.

    The paper elicits reasoning without annotations; a policy that starts from random weights
    needs something to imitate. With `think='labels'` the think part states what the labeler
    reads in the reference, finding by finding; with 'none' it is a fixed phrase.
    """
    return [
        render(think_of(label) if think == "labels" else "Reading the image.", sample.reference)
        for sample, label in zip(samples, labels, strict=True)
    ]


def think_of(labels: Labels) -> str:
    """A short line of reasoning in the label space: what is seen, and what may be."""
    seen = ", ".join(finding.value for finding in labels.having(Status.POSITIVE))
    possible = ", ".join(finding.value for finding in labels.having(Status.UNCERTAIN))
    parts = [f"Seen: {seen or 'nothing'}."]
    if possible:
        parts.append(f"Possible: {possible}.")
    return " ".join(parts)
