"""Engines that divide training among processes, by recipe: DeepSpeed (ZeRO) and FSDP.

`deepspeed`, a table or a JSON file, and `fsdp` with the table `fsdp_config` are options of TRL's
that pass through untouched. Here is what they must say for a run to end in a policy, and what the
program does otherwise where weights lie apart.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any, cast

from transformers import TrainingArguments
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from mrg_r1.errors import ConfigError
from mrg_r1.trainers.processes import launched, on_cpu

_GATHER = "stage3_gather_16bit_weights_on_model_save"


def problems(section: str, table: Mapping[str, Any]) -> list[str]:
    """What is wrong with a table's engine on any machine, one line each."""
    found: list[str] = []
    if table.get("deepspeed") and table.get("fsdp"):
        found.append(f"{section}.fsdp: cannot go with {section}.deepspeed; leave one of them out")
    zero = _inner(_inner(table, "deepspeed"), "zero_optimization")
    if zero.get("stage") == 3 and zero.get(_GATHER) is not True:
        found.append(
            f"{section}.deepspeed.zero_optimization.{_GATHER}: must be true; without it no policy "
            "could be saved"
        )
    kind = _inner(table, "fsdp_config").get("state_dict_type", "FULL_STATE_DICT")
    if table.get("fsdp") and kind != "FULL_STATE_DICT":
        found.append(
            f"{section}.fsdp_config.state_dict_type: {kind!r} saves no policy; leave it out"
        )
    return found


def check_here(section: str, table: Mapping[str, Any]) -> None:
    """Refuses an engine that this process cannot use, which accelerate would pass over in silence.

    Raises:
        ConfigError: it needs a launcher, or a GPU.
    """
    if table.get("deepspeed") and not launched():
        raise ConfigError(
            f"{section}.deepspeed: needs a launcher, also for one process; type: "
            "torchrun --standalone --nproc-per-node 1 -m mrg_r1 train RECIPE, or leave it out with "
            f"--set {section}.deepspeed={{}}"
        )
    if table.get("fsdp") and on_cpu():
        raise ConfigError(f"{section}.fsdp: there is no GPU here to shard on; leave it out")


def heed_deepspeed() -> None:
    """Does for DeepSpeed on CPUs what accelerate does on GPUs only; elsewhere nothing."""
    if on_cpu() and launched():
        communication = importlib.import_module("deepspeed.comm")
        communication.init_distributed("gloo", auto_mpi_discovery=False)
        # Where a launcher has set it, accelerate would leave DeepSpeed out and say nothing.
        os.environ.pop("ACCELERATE_USE_CPU", None)


def weights_apart(config: TrainingArguments) -> bool:
    """Whether each process holds a part of the weights only (ZeRO-3, FSDP).

    All processes must then call the model equally often, since each call gathers weights.
    """
    plugin = config.deepspeed_plugin
    return bool(config.fsdp) or (plugin is not None and plugin.zero_stage == 3)


def leave_engine() -> None:
    """Lets models that are loaded from now on be whole, and later stages have no engine."""
    unset_hf_deepspeed_config()
    os.environ.pop("ACCELERATE_USE_DEEPSPEED", None)
    os.environ.pop("ACCELERATE_USE_FSDP", None)


def _inner(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table in a table; empty where there is none, or a file is named."""
    inner = table.get(key)
    return cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else {}
