"""The `mrg-r1` command as a launcher starts it, where one process meets a fault.

launched.py RANK STAGE STEP kill|stop WORDS...: at a step, process RANK is killed, or tells its
launcher to stop.
"""

from __future__ import annotations

import os
import signal
import sys

import torch

from mrg_r1.cli import main
from mrg_r1.trainers.callbacks import RunRecorder
from tiny_runs import at_step, die_at

if __name__ == "__main__":
    rank, stage, step, fault, *words = sys.argv[1:]
    torch.set_num_threads(1)
    if os.environ["RANK"] == rank:
        stop = (signal.SIGTERM, os.getppid()) if fault == "stop" else ()
        die_at(RunRecorder, "on_log", at_step(stage, int(step)), *stop)
    sys.argv = ["mrg-r1", *words]
    main()
