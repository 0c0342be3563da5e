"""What is installed, what is missing, and what to type."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from mrg_r1 import __version__

_DISTRIBUTION = "mrg-r1"
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    `fix` is what to type, empty where nothing needs doing.
    """

    name: str
    found: str
    fix: str = ""


def examine(folder: Path) -> list[Check]:
    """Looks at Python, the packages of each extra, the device, and the disk of `folder`."""
    return [
        Check("python", platform.python_version()),
        Check("mrg-r1", __version__),
        *_packages(),
        _device(),
        Check("disk", f"{shutil.disk_usage(folder).free / _GIB:.0f} GiB free in {folder}"),
    ]


def _packages() -> list[Check]:
    """A check for each package that the distribution's metadata names."""
    requirements = [Requirement(text) for text in metadata.requires(_DISTRIBUTION) or ()]
    return [_package(requirement, _extra(requirement)) for requirement in requirements]


def _extra(requirement: Requirement) -> str:
    """The extra that brings a requirement; '' for those that are always installed."""
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        return ""
    extras = metadata.metadata(_DISTRIBUTION).get_all("Provides-Extra") or ()
    return next((e for e in extras if requirement.marker.evaluate({"extra": e})), "")


def _package(requirement: Requirement, extra: str) -> Check:
    name = f"{requirement.name} ({extra})" if extra else requirement.name
    fix = f"pip install '{_DISTRIBUTION}[{extra}]'" if extra else f"pip install {_DISTRIBUTION}"
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Check(name, "missing", fix)
    if not requirement.specifier.contains(version, prereleases=True):
        return Check(name, f"{version}, but {requirement.specifier} is needed", fix)
    return Check(name, version)


def _device() -> Check:
    """Where a policy would run. A CPU is a device like any other, only slower."""
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError:
        return Check("device", "unknown without torch")
    if not torch.cuda.is_available():
        return Check("device", f"CPU, {torch.get_num_threads()} of {os.cpu_count()} threads")
    cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    names = ", ".join(f"{card.name} ({card.total_memory / _GIB:.0f} GiB)" for card in cards)
    return Check("device", f"CUDA {torch.version.cuda}: {names}")
