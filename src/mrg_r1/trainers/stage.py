"""One stage of training: from its last whole checkpoint to its last step."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from peft import PeftModel
from transformers import PrinterCallback, Trainer, TrainerState

from mrg_r1.errors import ConfigError
from mrg_r1.policy.four_bit import learns_small_steps
from mrg_r1.policy.load import load_policy
from mrg_r1.trainers.callbacks import WHOLE
from mrg_r1.trainers.engines import leave_engine
from mrg_r1.trainers.faults import faults_named, no_number
from mrg_r1.trainers.preemption import Preempted, StopWhenTold, noting_sigterm
from mrg_r1.trainers.processes import anywhere, is_main, wait_for_all

_NO_NUMBERS = "probability tensor contains"
"""What torch says when it is to draw from them (on a GPU it ends the process)."""


def finished_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of a stage's last step, once it is there."""
    checkpoint = last_whole_checkpoint(folder)
    if checkpoint is None:
        return None
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    return checkpoint if state.global_step >= state.max_steps else None


def run_stage(
    trainer: Trainer, stage: str, folder: Path, forget_after: Callable[[str, int], None]
) -> Path:
    """Trains from the last whole checkpoint, or from the beginning; returns the last one.

    A stage that is finished must not come here: the trainer would take one more step.

    Args:
        trainer: the stage's trainer.
        stage: its name, 'sft' or 'srl'.
        folder: its checkpoints.
        forget_after: drops what a run that was stopped recorded after a step of a stage.

    Raises:
        ConfigError: no step could be taken, or the policy's scores are no numbers any more.
        Preempted: SIGTERM came; a checkpoint was saved at the end of the step.
    """
    # It prints every log on standard output, which is for results.
    trainer.remove_callback(PrinterCallback)
    learns_small_steps(trainer.model)
    checkpoint = last_whole_checkpoint(folder)
    _remove_half_written(folder)
    if is_main():
        forget_after(stage, _step_of(checkpoint) if checkpoint else 0)
    wait_for_all()
    if checkpoint:
        _load_weights(trainer, checkpoint)
    try:
        # Here, since a full disk is told by what the half-written checkpoint fills.
        with faults_named(folder), noting_sigterm() as told:
            trainer.add_callback(StopWhenTold(told))
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except RuntimeError as error:
        if _NO_NUMBERS not in str(error):
            raise
        step = trainer.state.global_step + 1
        raise no_number(stage, step, "the policy's scores of tokens are no numbers") from error
    finally:
        leave_engine()
        _remove_half_written(folder)
    if anywhere(told.is_set()):
        raise Preempted
    done = finished_checkpoint(folder)
    if done is None:
        raise ConfigError(
            f"{stage}: stopped at step {trainer.state.global_step} of {trainer.state.max_steps}; "
            f"lower {stage}.per_device_train_batch_size, or give more samples"
        )
    return done


def weigh_alike(trainer: Trainer) -> None:
    """Lets every token of SFT's effective batch count alike, whichever process and part it is in.

    Otherwise each part's mean would, so that more processes would be another recipe. Qwen-VL
    models declare that their loss knows no other; the loss here is TRL's, which does.
    """
    trainer.model_accepts_loss_kwargs = True


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was completely written."""
    marks = folder.glob(f"checkpoint-*/{WHOLE}")
    return max((mark.parent for mark in marks), key=_step_of, default=None)


def _load_weights(trainer: Trainer, checkpoint: Path) -> None:
    """Loads a checkpoint's weights under the names they have in memory.

    Transformers writes those of Qwen-VL models under other names, and its trainer resumes without
    them, in silence (huggingface/transformers#43701). Goes when that is closed. Adapters and
    sharded models are loaded in other ways.
    """
    sharded = trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled
    if trainer.model is not None and not sharded and not isinstance(trainer.model, PeftModel):
        trainer.model.load_state_dict(load_policy(checkpoint, trainable=True).model.state_dict())


def _remove_half_written(folder: Path) -> None:
    """Removes checkpoints that were being written when the run was stopped."""
    for checkpoint in folder.glob("checkpoint-*") if is_main() else ():
        if not (checkpoint / WHOLE).exists():
            # Another process may still be writing there; then the next start removes it.
            shutil.rmtree(checkpoint, ignore_errors=True)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))
