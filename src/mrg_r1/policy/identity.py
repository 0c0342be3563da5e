"""Which policy it is: a name and a fingerprint for whatever it writes. Needs no torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOCK = 1 << 20
_FILES = ("adapter_config.json", "config.json", "mrg_r1.json", "*.safetensors", "*.bin")


def identity(folder: Path) -> str:
    """'name@fingerprint' of a policy, such as 'quickstart@1f0c9a4be27d'.

    The fingerprint is of the names and sizes of its configuration and weights, and of the first
    and last MiB of each: reading 15 GB to sign a report would take longer than to write it.

    Args:
        folder: a run folder, a saved policy, or a local model folder.
    """
    named = folder.resolve()
    weights = named / "policy" if (named / "policy").is_dir() else named
    name = named.parent.name if named.name == "policy" else named.name
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _FILES for path in weights.glob(pattern)}):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with open(path, "rb") as file:
            digest.update(file.read(_BLOCK))
            file.seek(max(0, size - _BLOCK))
            digest.update(file.read(_BLOCK))
    return f"{name}@{digest.hexdigest()[:12]}"
