"""A vision warm-up: an image tower of random weights learns to see findings before it speaks.

Next-token loss reaches the tower through a language model that does not yet speak, and most of
it is about wording. Reading the 13 findings off the image features with one linear layer, which
is then thrown away, teaches a small tower more in a minute than imitation does in five. Ours:
the paper starts from a pretrained tower.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL.Image import Image
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.lr_scheduler import OneCycleLR
from torchvision.transforms import v2

from mrg_r1.data.images import read_image
from mrg_r1.data.study import Sample
from mrg_r1.findings import DISEASES, Labels, Status
from mrg_r1.policy.load import Policy
from mrg_r1.policy.settings import WarmUp
from mrg_r1.policy.tower import seeing
from mrg_r1.trainers.progress import Report

_PRESENT = (Status.POSITIVE, Status.UNCERTAIN)

_SIDE = 320
"""Pixels of the longer side of images that are kept to be changed."""

# About what differs between two exposures of one patient. Not mirrored: the heart has a side.
_CHANGES = v2.Compose(
    [
        v2.RandomAffine(degrees=(-10, 10), translate=(0.1, 0.1), scale=(0.88, 1.12)),
        v2.ColorJitter(brightness=0.2, contrast=0.2),
    ]
)


def warm_up(
    policy: Policy,
    samples: Sequence[Sample],
    labels: Sequence[Labels],
    settings: WarmUp,
    *,
    seed: int,
    report: Report,
) -> None:
    """Trains the policy's image tower, in place, to tell which findings an image shows.

    Args:
        policy: its model gives `get_image_features` by image, as Qwen-VL and LLaVA do.
        samples: the training samples; the first image of each is used.
        labels: what the labeler reads in their references; uncertain counts as present (eq. 3).
        settings: steps, batch size and peak learning rate.
        seed: of the batches and of the linear layer.
        report: told of each step and its loss.
    """
    torch.manual_seed(seed)
    present = torch.tensor(
        [[label[finding] in _PRESENT for finding in DISEASES] for label in labels],
        dtype=torch.float32,
    )  # (N, 13)
    features = _Features(policy, samples, settings.augment)
    width = policy.model.get_input_embeddings().embedding_dim
    head = torch.nn.Linear(width, len(DISEASES)).to(policy.device)
    parameters = [*seeing(policy.model), *head.parameters()]
    optimizer = torch.optim.AdamW(
        parameters,
        lr=settings.learning_rate,
        betas=(0.9, 0.95),
        weight_decay=settings.weight_decay,
    )
    schedule = OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
    )
    policy.model.train()
    _order(policy.model, torch.channels_last)
    order = torch.empty(0, dtype=torch.long)
    for step in range(settings.steps):
        if len(order) < settings.batch_size:
            order = torch.cat([order, torch.randperm(len(samples))])
        batch, order = order[: settings.batch_size], order[settings.batch_size :]
        logits = head(features(batch.tolist()))  # (B, 13)
        loss = binary_cross_entropy_with_logits(logits, present[batch].to(policy.device))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        report(step + 1, settings.steps, f"loss {loss.item():.3f}")
    _order(policy.model, torch.contiguous_format)


class _Features:
    """Image features by sample; what is read and prepared is kept."""

    def __init__(self, policy: Policy, samples: Sequence[Sample], augment: bool) -> None:
        self.policy = policy
        self.samples = samples
        self.augment = augment
        self.images: dict[int, Image] = {}
        self.prepared: dict[int, dict[str, torch.Tensor]] = {}

    def __call__(self, indices: Sequence[int]) -> torch.Tensor:
        """The strongest response of each channel over an image's tokens, (B, width)."""
        inputs = [self._varied(i) if self.augment else self._same(i) for i in indices]
        device = self.policy.device
        images = self.policy.model.get_image_features(
            **{
                name: _ordered(torch.cat([fields[name] for fields in inputs])).to(device)
                for name in inputs[0]
            }
        ).pooler_output  # B times (tokens, width)
        return torch.stack([tokens.amax(dim=0) for tokens in images])

    def _same(self, index: int) -> dict[str, torch.Tensor]:
        if index not in self.prepared:
            fields = self._prepare(read_image(self.samples[index].images[0]))
            self.prepared[index] = {name: _halved(values) for name, values in fields.items()}
        return {name: _whole(values) for name, values in self.prepared[index].items()}

    def _varied(self, index: int) -> dict[str, torch.Tensor]:
        if index not in self.images:
            image = read_image(self.samples[index].images[0]).convert("L")
            image.thumbnail((_SIDE, _SIDE))
            self.images[index] = image
        return self._prepare(_CHANGES(self.images[index]).convert("RGB"))

    def _prepare(self, image: Image) -> dict[str, torch.Tensor]:
        return dict(self.policy.processor.image_processor([image], return_tensors="pt"))


def _order(model: torch.nn.Module, memory: torch.memory_format) -> None:
    """Lays out filters in memory: depthwise ones are twice as fast on a CPU with channels last."""
    for weight in model.parameters():
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=memory)


def _ordered(values: torch.Tensor) -> torch.Tensor:
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values


def _halved(values: torch.Tensor) -> torch.Tensor:
    return values.half() if values.is_floating_point() else values


def _whole(values: torch.Tensor) -> torch.Tensor:
    return values.float() if values.is_floating_point() else values
