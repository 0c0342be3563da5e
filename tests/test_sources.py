from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mrg_r1.data.sources import SOURCES, load
from mrg_r1.data.table import Columns
from mrg_r1.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("iu_xray", "no source 'iu_xray'; did you mean 'iu-xray'?"),
        ("mimic", "did you mean 'mimic-cxr'?"),
        ("csv", "use one of iu-xray, mimic-cxr, table, phantom"),
    ],
)
def test_unknown_source_names_the_nearest(tmp_path: Path, source: str, message: str):
    with pytest.raises(ConfigError) as caught:
        load(source, tmp_path)
    assert message in str(caught.value)


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_refuses_an_empty_folder(tmp_path: Path, source: str):
    with pytest.raises(DataError, match=str(tmp_path)):
        load(source, tmp_path)


def test_options_go_to_the_loader(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"x")
    table = tmp_path / "studies.csv"
    table.write_text("id,image,text\n1,a.png,Clear.\n", encoding="utf-8")
    loaded = load("table", table, columns=Columns(report="text"))
    assert [study.findings for study in loaded.studies] == ["Clear."]


def test_sources_load_nothing_heavy_before_they_are_read():
    heavy = {"torch", "transformers", "pydicom", "PIL", "numpy", "mrg_r1.data.phantom"}
    code = f"import sys, mrg_r1.data.sources; print({heavy!r} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
