"""What to change where a plan does not fit, tried one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mrg_r1.config import Recipe
from mrg_r1.errors import ConfigError
from mrg_r1.plan.planning import Given, Plan, make_plan
from mrg_r1.plan.sources import table
from mrg_r1.policy.settings import LoraSettings

_FEWER_PIXELS = 28 * 28 * 1280
_SHORTER = 256


@dataclass(frozen=True, slots=True)
class Change:
    """A change that lowers memory: what to do, the plan with it, and with all before it as well."""

    text: str
    alone: Plan
    after: Plan


Asked = tuple[Recipe, Given]
_Try = tuple[str, Callable[[Asked], Asked]]


def changes(recipe: Recipe, gpus: str, given: Given) -> list[Change]:
    """What lowers memory: first what leaves the training as it is, then what changes it.

    Raises:
        ConfigError, DataError: as `make_plan`.
    """
    asked = (recipe, given)
    now = last = make_plan(recipe, gpus, given)
    found: list[Change] = []
    for text, change in _tries(now):
        alone, after = _planned(change((recipe, given)), gpus), _planned(change(asked), gpus)
        if alone and after and alone.peak < now.peak and after.peak < last.peak:
            found.append(Change(text, alone, after))
            asked, last = change(asked), after
    return found


def gpus_that_fit(recipe: Recipe, count: int, given: Given) -> list[str]:
    """The kinds of GPUs of which as many are enough, with nothing changed."""
    plans = {kind: make_plan(recipe, f"{count}x{kind}", given) for kind in table("gpus")}
    return [kind for kind, plan in plans.items() if plan.fits]


def _planned(asked: Asked, gpus: str) -> Plan | None:
    """The plan, or None where a change cannot be made to this recipe."""
    try:
        return make_plan(asked[0], gpus, asked[1])
    except ConfigError:
        return None


def _tries(now: Plan) -> Iterator[_Try]:
    job = now.job
    yield _option("gradient_checkpointing", True)
    yield _option("steps_per_generation", 1)
    yield _option("per_device_train_batch_size", max(1, job.each // 2))
    if job.sharding.bucket and job.gpus > 1:
        yield "--set srl.deepspeed.zero_optimization.stage=3", _zero_three
    yield _option("optim", "adamw_bnb_8bit")
    if now.model.resolution.most > _FEWER_PIXELS:
        yield f"--set policy.max_pixels={_FEWER_PIXELS}", _policy(max_pixels=_FEWER_PIXELS)
    if job.completion > _SHORTER:
        yield _option("max_completion_length", _SHORTER)
    adapter = {"lora": now.weights.lora or LoraSettings()}
    rank = f"--set policy.lora.rank={adapter['lora'].rank}"
    if now.weights.lora is None:
        yield rank, _policy(**adapter)
    also = "" if now.weights.lora else f" {rank}"
    yield f"--set policy.quantization=4bit{also}", _policy(quantization="4bit", **adapter)


def _option(key: str, value: Any) -> _Try:
    def change(asked: Asked) -> Asked:
        recipe, given = asked
        return replace(recipe, srl={**recipe.srl, key: value}), given

    return f"--set srl.{key}={str(value).lower()}", change


def _zero_three(asked: Asked) -> Asked:
    recipe, given = asked
    deepspeed: Mapping[str, Any] = recipe.srl["deepspeed"]
    zero = {**deepspeed.get("zero_optimization", {}), "stage": 3}
    srl = {**recipe.srl, "deepspeed": {**deepspeed, "zero_optimization": zero}}
    return replace(recipe, srl=srl), given


def _policy(**keys: Any) -> Callable[[Asked], Asked]:
    return lambda asked: (replace(asked[0], policy=replace(asked[0].policy, **keys)), asked[1])
