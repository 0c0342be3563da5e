"""A vision warm-up: an image tower of random weights learns to see findings before it speaks.

Next-token loss reaches the tower through a language model that does not yet speak, and most of
it is about wording. Reading the 13 findings off the image features with one linear layer, which
is then thrown away, teaches a small tower more in a minute than imitation does in five. Ours:
the paper starts from a pretrained tower.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.lr_scheduler import OneCycleLR

from mrg_r1.data.images import read_image
from mrg_r1.data.study import Sample
from mrg_r1.findings import DISEASES, Labels, Status
from mrg_r1.policy.load import Policy
from mrg_r1.policy.settings import WarmUp
from mrg_r1.trainers.progress import Report

_PRESENT = (Status.POSITIVE, Status.UNCERTAIN)


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
        policy: its model has `get_image_features` of the Qwen-VL family.
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
    features = _Features(policy, samples)
    width = policy.model.get_input_embeddings().embedding_dim
    head = torch.nn.Linear(width, len(DISEASES)).to(policy.device)
    parameters = [*policy.model.model.visual.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, betas=(0.9, 0.95))
    schedule = OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
    )
    policy.model.train()
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


class _Features:
    """Image features by sample; each image is prepared once, at half precision."""

    def __init__(self, policy: Policy, samples: Sequence[Sample]) -> None:
        self.policy = policy
        self.samples = samples
        self.prepared: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(self, indices: Sequence[int]) -> torch.Tensor:
        """The strongest response of each channel over an image's tokens, (B, width)."""
        pixels, grids = zip(*map(self._prepare, indices), strict=True)
        device = self.policy.device
        images = self.policy.model.get_image_features(
            pixel_values=torch.cat(pixels).float().to(device),
            image_grid_thw=torch.cat(grids).to(device),
        ).pooler_output  # B tensors (tokens, width)
        return torch.stack([tokens.amax(dim=0) for tokens in images])

    def _prepare(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if index not in self.prepared:
            image = read_image(self.samples[index].images[0])
            inputs = self.policy.processor.image_processor([image], return_tensors="pt")
            self.prepared[index] = (inputs["pixel_values"].half(), inputs["image_grid_thw"])
        return self.prepared[index]
