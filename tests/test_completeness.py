from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from commands import Run
from iu_files import entry, image, write_annotation, write_csvs
from mimic_folder import ROWS, write
from mrg_r1.data import completeness
from mrg_r1.data.completeness import Part, check, check_sums
from mrg_r1.errors import ConfigError, DataError

PATIENT = "files/p10/p10000001"


def parts(root: Path, source: str = "mimic-cxr") -> dict[str, Part]:
    return {part.name: part for part in check(source, root, lambda done, total: None)}


def counts(found: dict[str, Part]) -> dict[str, tuple[int, int]]:
    return {name: (part.found, part.expected) for name, part in found.items()}


@pytest.mark.parametrize("archive", [False, True])
def test_a_complete_folder_misses_nothing(tmp_path: Path, archive: bool):
    write(tmp_path, archive=archive)
    found = parts(tmp_path)
    assert counts(found) == {
        "mimic-cxr-2.0.0-split.csv.gz": (1, 1),
        "mimic-cxr-2.0.0-metadata.csv.gz": (1, 1),
        "images of split in metadata": (5, 5),
        "images": (5, 5),
        "reports": (3, 3),
    }
    assert not any(part.missing for part in found.values())


def test_missing_files_are_named_by_their_paths(tmp_path: Path):
    write(tmp_path, without=["ab", "ca"], reports={"50000002": ""})
    (tmp_path / PATIENT / "s50000001" / "aa.jpg").write_bytes(b"")
    found = parts(tmp_path)
    assert found["images"].missing == (
        f"{PATIENT}/s50000001/aa.jpg",
        f"{PATIENT}/s50000001/ab.jpg",
        "files/p11/p11000002/s50000003/ca.jpg",
    )
    assert found["reports"].missing == (f"{PATIENT}/s50000002.txt",)
    assert counts(found)["images"] == (2, 5)
    assert "wget" in found["images"].remedy
    assert "mimic-cxr-reports.zip" in found["reports"].remedy


@pytest.mark.parametrize("name", ["split", "metadata"])
def test_without_one_table_files_are_counted_by_the_other(tmp_path: Path, name: str):
    write(tmp_path, without=["ba"])
    (tmp_path / f"mimic-cxr-2.0.0-{name}.csv.gz").unlink()
    found = parts(tmp_path)
    assert found[f"mimic-cxr-2.0.0-{name}.csv.gz"].missing == (f"mimic-cxr-2.0.0-{name}.csv.gz",)
    assert (counts(found)["images"], counts(found)["reports"]) == ((4, 5), (3, 3))
    assert "images of split in metadata" not in found


def test_an_empty_folder_misses_both_tables(tmp_path: Path):
    assert counts(parts(tmp_path)) == {
        "mimic-cxr-2.0.0-split.csv.gz": (0, 1),
        "mimic-cxr-2.0.0-metadata.csv.gz": (0, 1),
    }


def test_tables_of_two_releases_are_told(tmp_path: Path):
    write(tmp_path, packed_tables=False)
    path = tmp_path / "mimic-cxr-2.0.0-metadata.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    part = parts(tmp_path)["images of split in metadata"]
    assert (part.found, part.missing) == (4, ("ca",))


def test_a_damaged_archive_is_missing(tmp_path: Path):
    write(tmp_path, archive=True)
    (tmp_path / "mimic-cxr-reports.zip").write_bytes(b"PK")
    part = parts(tmp_path)["reports"]
    assert (part.found, part.missing) == (0, ("mimic-cxr-reports.zip",))
    assert "cannot be unpacked" in part.remedy


def test_checksums_find_what_changed_and_pass_over_what_is_not_there(tmp_path: Path):
    write(tmp_path)
    with pytest.raises(DataError, match=r"no SHA256SUMS\.txt"):
        check_sums(tmp_path, lambda done, total: None)
    files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(tmp_path)}"
        for path in files
    ]
    (tmp_path / completeness.CHECKSUMS).write_text(
        "\n".join([*lines, f"{'0' * 64}  LICENSE.txt", ""])
    )
    told: list[tuple[int, int]] = []
    whole = check_sums(tmp_path, lambda *numbers: told.append(numbers))
    assert (whole.found, whole.expected, whole.missing) == (10, 10, ())
    assert told[-1] == (10, 10)
    (tmp_path / PATIENT / "s50000001" / "aa.jpg").write_bytes(b"y")
    assert check_sums(tmp_path, lambda done, total: None).missing == (
        f"{PATIENT}/s50000001/aa.jpg",
    )


def test_iu_x_ray_by_its_own_tables(tmp_path: Path):
    write_csvs(
        tmp_path,
        [(str(uid), "", "", "Clear.", "") for uid in (1, 2)],
        [("1", "1_IM-1-1.png", "Frontal"), ("1", "1_IM-1-2.png", "Lateral")],
    )
    image(tmp_path / "1_IM-1-1.png")
    found = parts(tmp_path, "iu-xray")
    assert counts(found) == {
        "reports": (2, 2),
        "studies with an image": (1, 2),
        "images of these studies": (1, 2),
        "annotation.json": (0, 1),
        "indiana_projections.csv": (1, 1),
    }
    assert found["studies with an image"].missing == ("CXR2",)
    assert found["images of these studies"].missing == ("1_IM-1-2",)
    assert not found["annotation.json"].needed
    write_annotation(tmp_path, train=[entry("CXR1_IM-1", images=["CXR1_IM-1/0.png"])])
    assert counts(parts(tmp_path, "iu-xray"))["studies with an image"] == (1, 1)


def test_other_sources_have_no_list(tmp_path: Path):
    with pytest.raises(ConfigError, match="table has no list of its files; leave out --check"):
        parts(tmp_path, "table")


def test_the_command_tells_and_leaves_with_1_where_something_is_missing(run: Run, tmp_path: Path):
    write(tmp_path)
    done = run("data", "mimic-cxr", "--root", tmp_path, "--check")
    assert (done.code, "complete" in done.out, done.err) == (0, True, "")
    (tmp_path / PATIENT / "s50000001" / "aa.jpg").unlink()
    done = run("data", "mimic-cxr", "--root", tmp_path, "--check")
    assert done.code == 1
    assert f"{PATIENT}/s50000001/aa.jpg" in done.out
    assert "images: go on with: wget" in done.err
    shown = run("data", "mimic-cxr", "--root", tmp_path, "--check", "--json")
    found: list[dict[str, Any]] = json.loads(shown.out)["parts"]
    assert {part["name"]: part["found"] for part in found}["images"] == len(ROWS) - 1
    assert run("data", "mimic-cxr", "--root", tmp_path, "--checksums").code == 2
    assert run("data", "iu-xray", "--root", tmp_path, "--checksums").code == 2
