"""How the training part of a GRPO step grows with the group and the prompt, shared and not.

`python bench/sharing.py --table` prints it. Both compute the reference's log-probabilities and the
update's, with gradients of all weights, of one group; TRL's rows do not meet, so that it computes
at most four at a time, and for a group of 16 four times as long as for four of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from mrg_r1.policy.settings import TinyConfig
from mrg_r1.policy.tiny import build_tiny
from mrg_r1.policy.writing import conversation
from mrg_r1.trainers.sharing import PAYS_FROM, SharingTrainer

SIDES = (1, 7, 16, 32)
"""Of the images, in tokens; 23 tokens of text make prompts of 24, 72, 279 and 1,047."""

GROUPS = (2, 4, 8, 16)
AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Line:
    """One setting: how many times fewer tokens, multiplications and seconds sharing takes."""

    prompt: int
    group: int
    tokens: float
    limit: float
    ratio: float
    seconds: float


def bench_policy(texts: Sequence[str], side: int) -> Any:
    """A Qwen2.5-VL of 30 million weights, whose images are squares of so many tokens a side."""
    numbers = TinyConfig(
        vision_depth=6, vision_width=256, text_layers=8, text_width=512, heads=8, pixels=28 * side
    )
    return build_tiny(texts, numbers, seed=0)


def print_table(completion: int, rounds: int, threads: int) -> None:
    """Prints a line for each setting, and from where on sharing pays."""
    torch.set_num_threads(threads)
    print(f"{'prompt':>7} {'G':>3} {'tokens':>7} {'limit':>7} {'training':>9}")
    lines: list[Line] = []
    for side in SIDES:
        for line in measured(side, completion, rounds):
            lines.append(line)
            print(
                f"{line.prompt:>7} {line.group:>3} {line.tokens:>6.2f}x {line.limit:>6.2f}x "
                f"{line.ratio:>8.2f}x  ({line.seconds:.2f} s shared)",
                flush=True,
            )
    lost = [line.tokens for line in lines if line.ratio < 1]
    found = f"not below {max(lost):.2f}x fewer tokens" if lost else "everywhere here"
    print(f"sharing pays {found}; the rule of srl.share_prompts='auto' is {PAYS_FROM}x")


def measured(side: int, completion: int, rounds: int) -> Iterator[Line]:
    """The lines of one prompt."""
    policy = bench_policy(["Report."], side)
    add_fused_lm_head(policy.model, outputs=("log_probs", "entropy"))
    one = batch(policy, side, completion)
    patches = len(one["pixel_values"])
    prompt = one["input_ids"].shape[1] - completion
    plain: dict[int, float] = {}
    for group in GROUPS:
        rows = min(group, AT_ONCE)
        shared = float("inf")
        for _ in range(rounds):
            shared = min(shared, seconds(SharingTrainer, policy.model, repeated(one, group)))
            if group <= AT_ONCE:
                taken = seconds(GRPOTrainer, policy.model, repeated(one, rows))
                plain[rows] = min(taken, plain.get(rows, taken))
        yield Line(
            prompt,
            group,
            group * (prompt + completion) / (prompt - 1 + group * completion),
            work(policy.model, patches, prompt, completion, group, shared=False)
            / work(policy.model, patches, prompt, completion, group, shared=True),
            plain[rows] * group / rows / shared,
            shared,
        )


def batch(policy: Any, side: int, completion: int) -> dict[str, Any]:
    """A sample as TRL hands it over: an image of noise, its prompt, and a random completion."""
    processor = policy.processor
    image = Image.effect_noise((28 * side, 28 * side), 60).convert("RGB")
    text = processor.apply_chat_template(
        conversation("Report.", 1), add_generation_prompt=True, tokenize=False
    )
    inputs = processor(images=[[image]], text=[text], return_tensors="pt")
    written = torch.randint(7, 200, (1, completion))
    ids = torch.cat([inputs["input_ids"], written], dim=1)
    types = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, completion))
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "logits_to_keep": completion,
        "pixel_values": inputs["pixel_values"],
        "image_grid_thw": inputs["image_grid_thw"],
        "num_images": [1],
        "mm_token_type_ids": types,
    }


def repeated(one: dict[str, Any], group: int) -> dict[str, Any]:
    """The batch of a group: one sample, so many times."""
    return {
        name: value.repeat(group, 1) if isinstance(value, Tensor) else value
        for name, value in one.items()
    } | {"num_images": [1] * group}


def seconds(cls: type[GRPOTrainer], model: Any, inputs: dict[str, Any]) -> float:
    """The training part of a step: once without gradients, once with those of all weights."""
    trainer: Any = cls.__new__(cls)
    trainer.accelerator = Accelerator(cpu=True)
    trainer.model = SimpleNamespace(training=True)
    trainer.pays_from = 0.0
    began = time.perf_counter()
    with torch.no_grad():
        trainer._get_per_token_logps_and_entropies(model, **inputs)
    scores = trainer._get_per_token_logps_and_entropies(model, compute_entropy=True, **inputs)
    scores[0].mean().backward()
    took = time.perf_counter() - began
    model.zero_grad(set_to_none=True)
    return took


def work(
    model: Any, patches: int, prompt: int, completion: int, group: int, *, shared: bool
) -> float:
    """Multiplications of a group's forward pass: of all weights by token, of attention by pair."""
    images, rows = (1, 1) if shared else (group, group)
    text, tower = model.model.language_model, model.model.visual
    inside = prompt - 1 if shared else prompt
    tokens = rows * inside + group * completion
    own = completion * inside + completion**2 / 2
    pairs = rows * inside**2 / 2 + group * own
    return (
        tokens * layers(text)
        + 2 * pairs * text.config.num_hidden_layers * text.config.hidden_size
        + images * patches * layers(tower)
        + 2 * images * patches**2 * tower.config.depth * tower.config.hidden_size
    )


def layers(module: Any) -> int:
    """The weights that every token is multiplied with."""
    linear = (part for part in module.modules() if isinstance(part, torch.nn.Linear))
    return sum(part.weight.numel() for part in linear)
