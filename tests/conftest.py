"""Fixtures that several test files use."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from commands import Output, Run
from mrg_r1.cli import main
from mrg_r1.data.study import Sample

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from mrg_r1.policy.load import Policy

# A busy machine is no failure; pytest's own time limit catches what hangs.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files with slow tests first, so that workers which share the files end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


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


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """A few drawn samples."""
    from tiny_runs import tiny_samples

    return tiny_samples(tmp_path_factory.mktemp("studies"))


@pytest.fixture
def policy(drawn: list[Sample]) -> Policy:
    """A policy smaller than tiny, which a test may change."""
    from tiny_runs import tiny_policy

    return tiny_policy(drawn)


@pytest.fixture(scope="module")  # while it is there an event loop runs
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install 'mrg-r1[dev]'")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        pytest.skip(f"none of {', '.join(BROWSERS)} is on the PATH")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command, in this process."""

    def run(*args: object) -> Output:
        monkeypatch.setattr(sys, "argv", ["mrg-r1", *map(str, args)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return Output(int(stopped.value.code or 0), *capsys.readouterr())

    return run
