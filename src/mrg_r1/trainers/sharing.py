"""GRPO in which what a group shares is computed once.

A group's completions answer one prompt about the same images. TRL sends each through the model
with its own copy of both; here a group is one row (`trainers.packing`), its images go through the
tower once, and the loss and its gradients stay TRL's, up to rounding. Of TRL's trainer only the
log-probabilities are computed otherwise, groups stay together when it shuffles, each image is
prepared once, and each prompt read once (`trainers.prompting`) by a generation that leaves out what
has ended (`policy.decoding`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest import mock

import torch
import trl
from torch import Tensor
from transformers import PreTrainedModel
from trl.trainer import grpo_trainer, utils
from trl.trainer.grpo_trainer import GRPOTrainer

from mrg_r1.errors import ConfigError
from mrg_r1.policy.decoding import only_unfinished
from mrg_r1.policy.load import base_of_adapter
from mrg_r1.policy.tower_cache import FAMILIES
from mrg_r1.trainers.attention import ATTENTIONS, learn_groups
from mrg_r1.trainers.packing import Packed, pack
from mrg_r1.trainers.preparing import images_once
from mrg_r1.trainers.progress import say
from mrg_r1.trainers.prompting import images_by_row, of_rows, prompts_once, same_images

_TRL = "1.16."
_ONE_AXIS = ("llama", "qwen2", "qwen3")
"""Text models, whose positions have one axis; `FAMILIES` have three."""

_PICTURED = ("fast_vlm", "llava")
"""Image models whose positions go on through an image; their text models have one axis."""

PAYS_FROM = 1.1
"""How many times fewer tokens must pass through the policy for 'auto' to share.

On two CPU cores sharing lost 5 % at 1.09 and won 6 % at 1.14 (`bench/sharing.py --table`):
gathering each completion's keys costs time too.
"""

_MASKED_BY_GROUPS = (0, 0, 0, 0)
"""Shape of the mask of a row of groups: none is made, and none that is made could be used."""

_FIELDS = {"pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids"}

Scores = tuple[Tensor, Tensor | None, Tensor | None]


def why_not(model: PreTrainedModel) -> str | None:
    """Why a group cannot be one row of this model; None if it can."""
    config = model.config
    known = (*FAMILIES, *_PICTURED, *_ONE_AXIS)
    text = config.get_text_config()
    if config.model_type not in known:
        return f"'{config.model_type}' is not among {', '.join(known)}"
    if config.model_type in _PICTURED and text.model_type not in _ONE_AXIS:
        return f"its text model '{text.model_type}' is not among {', '.join(_ONE_AXIS)}"
    if text._attn_implementation not in ATTENTIONS:
        return f"attention '{text._attn_implementation}' knows no groups; use policy.attention=sdpa"
    if set(getattr(text, "layer_types", None) or ["full_attention"]) != {"full_attention"}:
        return "some layers see only a window"
    return None


def trainer_for(
    model: Any, share: bool | str, *, apart: bool = False
) -> Callable[..., GRPOTrainer]:
    """The trainer of a policy: the sharing one where it is wanted and can be, else TRL's.

    Args:
        model: the policy's.
        share: 'auto' shares where it pays, true always, false never.
        apart: whether weights lie apart; processes that share more would then wait for ever for
            those that share less.

    Raises:
        ConfigError: sharing was not tested with this version of TRL.
    """
    if not share:
        return GRPOTrainer
    if not trl.__version__.startswith(_TRL):
        raise ConfigError(
            f"srl.share_prompts: TRL is {trl.__version__}, and sharing was tested with {_TRL}x; "
            f"type: pip install 'trl=={_TRL}*', or add --set srl.share_prompts=false"
        )
    reason = "weights lie apart (ZeRO-3, FSDP)" if apart else why_not(base_of_adapter(model))
    if reason:
        say(f"what a group shares is computed for each completion: {reason}")
        return GRPOTrainer
    return SharingTrainer if share == "auto" else _always_sharing


def _always_sharing(**arguments: Any) -> GRPOTrainer:
    trainer = SharingTrainer(**arguments)
    trainer.pays_from = 0.0
    return trainer


class SharingTrainer(GRPOTrainer):
    """TRL's trainer with log-probabilities of whole groups.

    It does as TRL's where sharing does not pay, or a batch has fields of other families.

    Attributes:
        pays_from: how many times fewer tokens a batch must come to.
    """

    pays_from = PAYS_FROM
    _told = False

    def _get_per_token_logps_and_entropies(
        self,
        model: torch.nn.Module,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **fields: Any,
    ) -> Scores:
        """Log-probabilities and entropies, each (samples, `logits_to_keep`), as TRL's."""
        fields = {name: value for name, value in fields.items() if value is not None}
        shareable = fields.keys() <= _FIELDS and not compute_aux_loss
        samples = (
            Samples(input_ids, attention_mask, logits_to_keep, **fields) if shareable else None
        )
        groups = samples.groups() if samples else []
        if not samples or len(groups) == len(input_ids) or not self._pays(samples, groups):
            return super()._get_per_token_logps_and_entropies(
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size,
                compute_entropy,
                compute_aux_loss,
                **fields,
            )
        learn_groups()
        base = base_of_adapter(self.accelerator.unwrap_model(model))
        order: list[int] = []
        logps: list[Tensor] = []
        entropies: list[Tensor] = []
        for part in _parts(groups, batch_size or len(input_ids)):
            packed = samples.packed(part, base)
            with self.accelerator.autocast(), _only_labelled():
                outputs = model(
                    input_ids=packed.input_ids,
                    position_ids=packed.position_ids.squeeze(0),
                    attention_mask=packed.input_ids.new_zeros(_MASKED_BY_GROUPS),
                    groups=packed.groups,
                    shift_labels=packed.labels,
                    fused_lm_head=True,
                    **samples.images([group[0] for group in part]),
                )
            order += [row for group in part for row in group]
            logps.append(packed.unpacked(outputs.log_probs))
            if compute_entropy:
                entropies.append(packed.unpacked(outputs.entropy))
        back = torch.tensor(order, device=input_ids.device).argsort()
        return torch.cat(logps)[back], torch.cat(entropies)[back] if compute_entropy else None, None

    def _pays(self, samples: Samples, groups: list[list[int]]) -> bool:
        """Whether sharing saves enough tokens; says so the first time it does not."""
        saves = samples.tokens(groups)
        if saves < self.pays_from and not self._told:
            say(
                "what a group shares is computed for each completion: sharing would spare "
                f"{max(0, 1 - 1 / saves):.0%} of the tokens, which does not pay; "
                "srl.share_prompts=true shares all the same"
            )
            self._told = True
        return saves >= self.pays_from

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: list[list[Any]] | None,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        has_tool_images: bool = False,
    ) -> Any:
        """TRL's, with each prompt read once, and without computing what has ended."""
        counts = None if images is None else [len(found or ()) for found in images]
        copies = math.gcd(len(prompt_ids), num_generations)
        model = base_of_adapter(self.accelerator.unwrap_model(self.model_wrapped))
        with only_unfinished(model, self.eos_token_ids), prompts_once(model, copies, counts):
            return super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """TRL's, which shuffles whole groups: those torn apart would share less."""
        seeing = hasattr(self.processing_class, "image_processor")
        preparing = images_once(self.processing_class) if seeing else nullcontext()
        with preparing, mock.patch.object(grpo_trainer, "shuffle_sequence_dict", self._shuffled):
            return super()._prepare_inputs(generation_batch)

    def _shuffled(self, batch: dict[str, Any]) -> dict[str, Any]:
        return _in_groups(batch, self.num_generations)


class Samples:
    """A batch as TRL hands it over: prompts padded at the left, completions at the right.

    Args:
        input_ids: (samples, prompt and completion).
        attention_mask: of the same shape, 0 where padded.
        width: how many of the tokens are the completion's.
        pixel_values: (patches of all images, values of a patch), or (images, 3, height, width).
        image_grid_thw: (images, 3), how many patches an image has along each axis; not given with
            images of one size.
        num_images: how many images each sample has.
        mm_token_type_ids: of the shape of `input_ids`, 1 at image tokens.
    """

    def __init__(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        width: int,
        *,
        pixel_values: Tensor | None = None,
        image_grid_thw: Tensor | None = None,
        num_images: Sequence[int] | None = None,
        mm_token_type_ids: Tensor | None = None,
    ) -> None:
        here = attention_mask.bool()
        self.width = width
        self._ids, self._mask, self._types = input_ids, attention_mask, mm_token_type_ids
        self._prompts = [
            ids[:-width][kept[:-width]] for ids, kept in zip(input_ids, here, strict=True)
        ]
        self._completions = [
            ids[-width:][kept[-width:]] for ids, kept in zip(input_ids, here, strict=True)
        ]
        self._images = images_by_row(
            {"pixel_values": pixel_values, "image_grid_thw": image_grid_thw}, num_images
        )

    def groups(self) -> list[list[int]]:
        """The samples by prompt and images, in the order of their first."""
        groups: dict[tuple[int, ...], list[list[int]]] = {}
        for row, prompt in enumerate(self._prompts):
            alike = groups.setdefault(tuple(prompt.tolist()), [])
            group = next((group for group in alike if self._same_images(group[0], row)), None)
            if group is None:
                alike.append([row])
            else:
                group.append(row)
        return sorted(group for alike in groups.values() for group in alike)

    def tokens(self, groups: Sequence[Sequence[int]]) -> float:
        """How many times fewer tokens these groups come to as rows than their samples do."""
        rows = [
            self._prompts[group[0]].numel() - 1 + sum(self._completions[n].numel() for n in group)
            for group in groups
        ]
        return self._ids.numel() / (len(rows) * max(rows))

    def images(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """The fields that hold the images of some samples."""
        return of_rows([self._images[row] for row in rows]) if self._images else {}

    def packed(self, groups: Sequence[Sequence[int]], base: Any) -> Packed:
        """Groups as rows for a model."""
        firsts = [group[0] for group in groups]
        return pack(
            [self._prompts[row] for row in firsts],
            self._positions(firsts, base),
            [[self._completions[row] for row in group] for group in groups],
            self.width,
        )

    def _positions(self, rows: list[int], base: Any) -> list[Tensor]:
        if base.config.model_type not in FAMILIES:
            return [torch.arange(len(self._prompts[row]))[None].to(self._ids) for row in rows]
        prompts, mask = self._ids[rows, : -self.width], self._mask[rows, : -self.width]
        types = torch.zeros_like(prompts) if self._types is None else self._types[rows]
        positions, _ = base.model.get_rope_index(
            input_ids=prompts,
            mm_token_type_ids=types[:, : prompts.shape[1]],
            image_grid_thw=self.images(rows).get("image_grid_thw"),
            attention_mask=mask,
        )
        return [positions[:, n, kept] for n, kept in enumerate(mask.bool())]

    def _same_images(self, row: int, other: int) -> bool:
        return not self._images or same_images(self._images[row], self._images[other])


def _parts(groups: Sequence[list[int]], size: int) -> Iterator[list[list[int]]]:
    """Whole groups of together at most `size` samples, but at least one group."""
    part: list[list[int]] = []
    for group in groups:
        if part and sum(map(len, part)) + len(group) > size:
            yield part
            part = []
        part.append(group)
    yield part


def _only_labelled() -> AbstractContextManager[Any]:
    """Scores only what has a label, as TRL does on a GPU; elsewhere it scores prompts as well."""
    return mock.patch.object(utils, "_use_triton", return_value=True)


def _in_groups(batch: Mapping[str, Any], size: int | None) -> dict[str, Any]:
    """A batch with its groups in random order, drawn as TRL draws that of its samples."""
    n = len(batch["prompt_ids"])
    size = math.gcd(n, size or 1)  # a process may hold parts of groups
    firsts = dict.fromkeys(sample // size * size for sample in torch.randperm(n).tolist())
    order = torch.tensor([first + k for first in firsts for k in range(size)])
    return {name: _taken(values, order) for name, values in batch.items()}


def _taken(values: Any, order: Tensor) -> Any:
    """The values of a batch in an order; what is not by sample as it is."""
    if isinstance(values, Tensor):
        return values[order.to(values.device)] if values.ndim else values
    return values if values is None else [values[i] for i in order.tolist()]
