"""A run that is told to stop (SIGTERM) saves what it has learnt, and goes on another day."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from mrg_r1.trainers.options import fresh_every
from mrg_r1.trainers.processes import anywhere


class Preempted(BaseException):
    """The process was told to stop, and what is written is whole.

    As a KeyboardInterrupt it passes those who mend errors.
    """


class StopWhenTold(TrainerCallback):
    """Saves a checkpoint and stops, in all processes once one of them was told to.

    It does so at the end of the step, or of the last step that learns from what was generated
    for it: between the two no exact resume is possible.
    """

    def __init__(self, told: threading.Event) -> None:
        self.told = told

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Looks whether it is time."""
        if state.global_step % fresh_every(args) == 0 and anywhere(self.told.is_set()):
            control.should_save = control.should_training_stop = True


@contextmanager
def preemptible() -> Generator[None]:
    """Lets SIGTERM end the block at once, and its stages at the end of a step.

    Raises:
        Preempted: it did.
    """

    def stop(*_: Any) -> None:
        raise Preempted

    with _on_sigterm(stop):
        yield


@contextmanager
def noting_sigterm() -> Generator[threading.Event]:
    """Only notes SIGTERM while the block runs, in the event it gives."""
    told = threading.Event()
    with _on_sigterm(lambda *_: told.set()):
        yield told


@contextmanager
def _on_sigterm(handler: Callable[..., None]) -> Generator[None]:
    # Python lets no other thread handle signals.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
