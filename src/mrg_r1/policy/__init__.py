"""Policies: the tiny VLM, loading, and generation."""

import os

# Hospital networks have no hub, and nothing about a run may leave the machine.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
