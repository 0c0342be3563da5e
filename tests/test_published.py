import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mrg_r1.errors import ConfigError
from mrg_r1.metrics.published import ABLATION, DATA_SETS, published, published_ablation

PAPER = Path(__file__).parents[2] / "shared" / "paper" / "mrg-r1.txt"


def printed() -> Iterator[tuple[str, list[str]]]:
    """Name and six cells of each row of Table I in the paper's text."""
    if not PAPER.is_file():
        pytest.skip(f"no paper at {PAPER}")
    text = PAPER.read_text(encoding="utf-8")
    for line in text[: text.index("TABLE I\n")].splitlines():
        cells = re.sub(r"</?u>", "", line).split("\t")
        if len(cells) == 7 and re.fullmatch(r"[\d.]+\*?|—", cells[1]):
            yield re.sub(r" [\[(].*", "", cells[0]), cells[1:]


@pytest.mark.parametrize("column", [0, 1])
def test_every_figure_is_the_papers(column: int) -> None:
    expected = {
        name: cells[3 * column : 3 * column + 3]
        for name, cells in printed()
        if cells[3 * column] != "—"
    }
    found = {row.name: row for row in published(DATA_SETS[column])}
    assert list(found) == list(expected)
    for name, row in found.items():
        figures = [float(cell.rstrip("*")) / 100 for cell in expected[name]]
        assert [row.precision, row.recall, row.f1] == pytest.approx(figures), name
        assert row.reproduced == (name == "MRG-R1" or expected[name][0].endswith("*")), name


def test_all_systems_are_there() -> None:
    iu, mimic = map(published, DATA_SETS)
    assert (len(iu), len(mimic)) == (11, 14)  # 13 systems, and the paper's own
    assert {row.name for row in iu} < {row.name for row in mimic}


def test_not_all_rows_are_averaged_alike() -> None:
    """F1 of a micro average is the harmonic mean of precision and recall; of a macro not."""
    harmonic = [
        abs(2 * row.precision * row.recall / (row.precision + row.recall) - row.f1) < 1e-3
        for data_set in DATA_SETS
        for row in published(data_set)
    ]
    assert any(harmonic)
    assert not all(harmonic)


def test_an_unknown_data_set() -> None:
    with pytest.raises(ConfigError, match="'padchest'; use one of iu-xray, mimic-cxr"):
        published("padchest")


def printed_ablation() -> Iterator[tuple[str, list[float]]]:
    """Name and six figures of each row of Table II in the paper's text."""
    if not PAPER.is_file():
        pytest.skip(f"no paper at {PAPER}")
    text = PAPER.read_text(encoding="utf-8")
    for line in text[text.index("TABLE I\n") : text.index("TABLE II\n")].splitlines():
        cells = re.sub(r"</?u>", "", line).split("\t")
        if len(cells) == 7 and cells[0].startswith("Base"):
            yield cells[0], [float(cell) / 100 for cell in cells[1:]]


@pytest.mark.parametrize("column", [0, 1])
def test_every_figure_of_the_ablation_is_the_papers(column: int) -> None:
    expected = list(printed_ablation())
    found = published_ablation(DATA_SETS[column])
    assert tuple(found) == ABLATION
    assert [row.name for row in found.values()] == [name for name, _ in expected]
    for row, (name, figures) in zip(found.values(), expected, strict=True):
        assert [row.precision, row.recall, row.f1] == pytest.approx(
            figures[3 * column : 3 * column + 3]
        ), name


def test_an_ablation_of_an_unknown_data_set() -> None:
    with pytest.raises(ConfigError, match="'padchest'; use one of iu-xray, mimic-cxr"):
        published_ablation("padchest")
