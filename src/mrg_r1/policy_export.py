"""A run's policy as a plain model folder, for programs that know nothing of this one."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from mrg_r1.config import load_recipe
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.model_card import model_card
from mrg_r1.policy.identity import identity
from mrg_r1.policy.load import load_policy, policy_folder
from mrg_r1.run import Run


def export_policy(root: Path, out: Path) -> None:
    """Writes the policy of the run in `root` to the new folder `out`, whole or not at all.

    An adapter is merged into its base, W + (alpha / r) B A, in the recipe's dtype; where W was in 4
    bits, into the values that those stand for, on which the adapter was trained. Weights are
    safetensors under the names of the published model; the scores and a model card lie beside
    them.

    Raises:
        ConfigError: `out` is there already.
        DataError: `root` holds no run, or the run no policy, or the policy is damaged.
        OSError: (ENOSPC) the disk is too full for it.
    """
    run = Run(root)
    if os.path.lexists(out):
        raise ConfigError(f"{out}: is there already; name a new folder with -o")
    if not run.recipe.is_file():
        raise DataError(f"{root}: holds no run (recipe.json); name a folder that train has left")
    folder = policy_folder(root)
    card = model_card(run, identity(root))
    out.parent.mkdir(parents=True, exist_ok=True)
    dtype = load_recipe(str(run.recipe)).policy.dtype
    policy = load_policy(folder, dtype=dtype, trainable=True, dequantized=True)
    model = policy.model.merge_and_unload() if policy.adapted else policy.model
    staging = out.with_name(f".{out.name}.export")
    shutil.rmtree(staging, ignore_errors=True)
    _check_room(model, out)
    try:
        replace(policy, model=model).save(staging)
        # Transformers 5 keeps this in processor_config.json, where older readers do not look.
        policy.processor.image_processor.save_pretrained(staging)
        (staging / "README.md").write_text(card, encoding="utf-8")
        if run.evaluation.exists():
            shutil.copy(run.evaluation, staging)
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check_room(model: Any, out: Path) -> None:
    # Before gigabytes are written; and safetensors tells of a full disk in its own way.
    needed = sum(weight.nbytes for weight in model.parameters())
    if needed > shutil.disk_usage(out.parent).free:
        raise OSError(errno.ENOSPC, f"no space left for {needed / 1e9:.1f} GB", str(out))
