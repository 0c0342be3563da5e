"""Policies: the tiny VLM, adapters, loading, and generation."""

import logging
import os

_ENVIRONMENT = {
    # Hospital networks have no hub, and nothing about a run may leave the machine.
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # Progress and remarks of a run are ours; a library's would stand between them.
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    # Set, it spares a warning each time a process with a used tokenizer is forked.
    "TOKENIZERS_PARALLELISM": "false",
}
# Read by the libraries when they are imported. What the user has set stays.
for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

# On a CPU it complains, when imported, of a kernel that only the hub has.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
