"""Engines that divide training among processes, by recipe: DeepSpeed (ZeRO) and FSDP.

`deepspeed`, a table or a JSON file, and `fsdp` with the table `fsdp_config` are options of TRL's
that pass through untouched. Here is what they must say for a run to end in a policy, and what the
program does otherwise where weights lie apart.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from mrg_r1.config import engine_settings
from mrg_r1.errors import ConfigError
from mrg_r1.trainers.processes import PATIENCE, launched, on_cpu

_WHOLE = "FULL_STATE_DICT"
_GATHER = "stage3_gather_16bit_weights_on_model_save"


def problems(section: str, table: Mapping[str, Any]) -> list[str]:
    """What is wrong with a table's engine on any machine, one line each."""
    found: list[str] = []
    if table.get("deepspeed") and table.get("fsdp"):
        found.append(f"{section}.fsdp: cannot go with {section}.deepspeed; leave one of them out")
    try:
        deepspeed = engine_settings(f"{section}.deepspeed", table.get("deepspeed"))
        fsdp = engine_settings(f"{section}.fsdp_config", table.get("fsdp_config"))
    except ConfigError as error:
        return [*found, str(error)]
    zero = deepspeed.get("zero_optimization") or {}
    if zero.get("stage") == 3 and zero.get(_GATHER) is not True:
        found.append(
            f"{section}.deepspeed.zero_optimization.{_GATHER}: must be true; without it no policy "
            "could be saved"
        )
    found += [
        f"{section}.fsdp_config.{key}: {fsdp[key]!r} saves no policy; leave it out"
        for key in ("state_dict_type", "fsdp_state_dict_type")
        if table.get("fsdp") and fsdp.get(key, _WHOLE) != _WHOLE
    ]
    return found


def check_launched() -> None:
    """Refuses several GPUs in one process, which TRL's trainers do not train on.

    Raises:
        ConfigError: no launcher, and more than one GPU.
    """
    gpus = torch.cuda.device_count()
    if gpus > 1 and not launched():
        raise ConfigError(
            f"{gpus} GPUs are visible, and one process trains on one; type: "
            f"torchrun --standalone --nproc-per-node {gpus} -m mrg_r1 train RECIPE, or set "
            "CUDA_VISIBLE_DEVICES=0"
        )


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
        communication.init_distributed("gloo", auto_mpi_discovery=False, timeout=PATIENCE)
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
