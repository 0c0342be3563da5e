"""Fixtures that several test files use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def iu_xray_root() -> Path:
    """The folder of the real IU X-Ray studies."""
    named = os.environ.get("MRG_R1_IU_XRAY")
    root = Path(named) if named else SHARED_DATA / "iu_xray"
    if not root.is_dir():
        pytest.skip(f"no IU X-Ray at {root}; set MRG_R1_IU_XRAY to its folder")
    return root


@pytest.fixture(scope="session")
def radiographs() -> Path:
    """A folder of chest radiographs in several formats, from other sources."""
    root = SHARED_DATA / "images"
    if not root.is_dir():
        pytest.skip(f"no radiographs at {root}")
    return root
