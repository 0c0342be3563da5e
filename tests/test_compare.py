import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from mrg_r1.cli import app
from mrg_r1.compare import compare, differences, evidence, kinds_table, lines, summary, table
from mrg_r1.data.label_pairs import Pair
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.findings import Finding, Labels, Status
from mrg_r1.labelers.rules import RulesLabeler

RULES = RulesLabeler()
REPORTS = {
    "s1": "Possible edema. No pneumothorax.",
    "s2": "Mild edema.\nNo effusion.",
    "s3": "Heart size is normal.",
    "s4": "Hiatal hernia. Clear lungs. A pacemaker is seen.",
}


def write_labels(path: Path, changed: dict[str, dict[Finding, Status]]) -> Path:
    """What the rules say of the reports, with some statuses changed by report."""
    labels = dict(zip(REPORTS, RULES.label(list(REPORTS.values())), strict=True))
    with open(path, "w", encoding="utf-8", newline="") as file:
        names = ["id", "report", *labels["s1"].to_csv()]
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for id_, report in REPORTS.items():
            statuses = dict(labels[id_].items()) | changed.get(id_, {})
            writer.writerow({"id": id_, "report": report} | Labels.of(statuses).to_csv())
    return path


OTHERS = {
    "s1": {Finding.EDEMA: Status.POSITIVE, Finding.FRACTURE: Status.NEGATIVE},
    "s2": {Finding.PNEUMONIA: Status.UNCERTAIN},
    "s3": {Finding.FRACTURE: Status.NEGATIVE},
    "s4": {Finding.NO_FINDING: Status.POSITIVE},
}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write_labels(tmp_path / "a.csv", {}), write_labels(tmp_path / "b.csv", OTHERS)


def test_a_file_agrees_with_itself(files: tuple[Path, Path]) -> None:
    compared = compare(files[0], files[0])
    assert differences(compared.pairs.rows) == []
    assert all(each.agreement == 1 for each in compared.agreements)
    shown = [line.split() for line in printed(table(compared)).splitlines()]
    assert ["macro-13", "0", *["1.000"] * 6, "3", "3"] in shown
    # Never spoken of: unknown, neither 0 nor 1.
    assert ["Lung", "Lesion", "0", "1.000", *"-----", "0", "0"] in shown


def printed(*shown: object) -> str:
    console = Console(width=80, color_system=None, file=None)
    with console.capture() as capture:
        console.print(*shown, sep="\n")
    return capture.get()


def test_the_most_frequent_kind_of_difference_comes_first(files: tuple[Path, Path]) -> None:
    found = differences(compare(*files).pairs.rows)
    assert [(d.finding, d.pair.id, d.ours, d.theirs) for d in found] == [
        (Finding.FRACTURE, "s1", Status.BLANK, Status.NEGATIVE),
        (Finding.FRACTURE, "s3", Status.BLANK, Status.NEGATIVE),
        (Finding.EDEMA, "s1", Status.UNCERTAIN, Status.POSITIVE),
        (Finding.PNEUMONIA, "s2", Status.BLANK, Status.UNCERTAIN),
        (Finding.NO_FINDING, "s4", Status.BLANK, Status.POSITIVE),
    ]
    only = differences(compare(*files).pairs.rows, Finding.EDEMA)
    assert [d.pair.id for d in only] == ["s1"]


def test_evidence_is_of_the_finding_in_dispute(files: tuple[Path, Path]) -> None:
    found = differences(compare(*files).pairs.rows)
    by_finding = {d.finding: evidence(d, RULES) for d in found}
    assert by_finding[Finding.PNEUMONIA] == []
    (mention,) = by_finding[Finding.EDEMA]
    assert (REPORTS["s1"][mention.start : mention.end], mention.cue) == ("edema", "Possible")
    # What keeps No Finding blank: the hernia, but not the pacemaker.
    assert [REPORTS["s4"][m.start : m.end] for m in by_finding[Finding.NO_FINDING]] == ["hernia"]


def test_a_difference_is_told_with_its_evidence(files: tuple[Path, Path]) -> None:
    (edema,) = differences(compare(*files).pairs.rows, Finding.EDEMA)
    assert printed(*lines(edema, RULES)) == (
        "s1, lines 2 and 2: Edema uncertain / positive\n"
        "  Edema uncertain: 'edema' by 'Possible'\n"
        "Possible edema. No pneumothorax.\n"
    )
    (pneumonia,) = differences(compare(*files).pairs.rows, Finding.PNEUMONIA)
    assert "no mention of it" in printed(*lines(pneumonia, RULES))


def test_a_report_cannot_steer_the_terminal(files: tuple[Path, Path]) -> None:
    (edema,) = differences(compare(*files).pairs.rows, Finding.EDEMA)
    hostile = "\x1b[2J\x07Edema\u202e [bold]of\r the lungs.\x9b"
    pair = Pair("\x1b[31mid", (1, 1), hostile, edema.pair.ours, edema.pair.theirs)
    shown = printed(*lines(type(edema)(edema.finding, edema.ours, edema.theirs, pair), RULES))
    assert "[bold]of" in shown
    assert "Edema positive: 'Edema'" in shown
    assert {c for c in shown if not c.isprintable()} == {"\n"}


def test_only_the_most_frequent_kinds_are_shown(files: tuple[Path, Path]) -> None:
    found = differences(compare(*files).pairs.rows)
    shown = printed(kinds_table(found))
    assert [line.split() for line in shown.splitlines() if "Fracture" in line] == [
        ["Fracture", "blank", "negative", "2"]
    ]
    assert "other" not in shown


def test_the_summary_counts_what_was_found(files: tuple[Path, Path]) -> None:
    compared = compare(*files)
    told = summary(compared, differences(compared.pairs.rows))
    assert json.loads(json.dumps(told)) == json.loads(json.dumps(told, allow_nan=False))
    assert (told["n"], told["joined_by"]) == (4, "id")
    assert sum(kind["n"] for kind in told["differences"]) == 5
    assert told["differences"][0] == {
        "finding": "Fracture",
        "a": "blank",
        "b": "negative",
        "n": 2,
    }
    (macro,) = [each for each in told["agreement"] if each["over"] == "macro-14"]
    assert macro["differ"] == 5


Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    return lambda *args: CliRunner().invoke(app, ["label", *map(str, args)])


def test_compare_prints_figures_and_examples(run: Run, files: tuple[Path, Path]) -> None:
    done = run("--compare", *files, "--limit", 2)
    assert done.exit_code == 0
    assert "macro-14" in done.stdout
    assert done.stdout.count("Fracture blank / negative") == 2
    assert "Edema uncertain / positive" not in done.stdout
    assert "4 reports, joined by 'id'" in done.stderr


def test_compare_writes_differences(run: Run, files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "differences.jsonl"
    done = run("--compare", *files, "--finding", "edema", "-o", out, "--json")
    assert json.loads(done.stdout)["n"] == 4
    assert f"{out}: 1 of 1 differences" in done.stderr
    (line,) = out.read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "finding": "Edema",
        "a": "uncertain",
        "b": "positive",
        "id": "s1",
        "line_a": 2,
        "line_b": 2,
        "report": REPORTS["s1"],
        "evidence": [
            {
                "finding": "Edema",
                "status": "uncertain",
                "start": 9,
                "end": 14,
                "text": "edema",
                "cue": "Possible",
            }
        ],
    }
    run("--compare", *files, "-o", out, "--limit", 3)
    assert len(out.read_text(encoding="utf-8").splitlines()) == 3


def test_compare_says_what_it_could_not_look_at(run: Run, tmp_path: Path) -> None:
    names = Labels.of({}).to_csv()
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(f"{','.join(names)}\n{',' * 13}\n")
    done = run("--compare", tmp_path / "a.csv", tmp_path / "b.csv")
    assert done.exit_code == 0
    assert "1 reports, paired by their order" in done.stderr
    assert "nothing to check the order by" in done.stderr
    assert "no evidence: neither file has a column 'report'" in done.stderr


MISTAKES = {
    "a file too many": (["in.csv", "--compare", "a.csv", "b.csv"], ConfigError, "takes no FILE"),
    "finding without compare": (
        ["in.csv", "-o", "x.csv", "--finding", "Edema"],
        ConfigError,
        "need",
    ),
    "json without compare": (["in.csv", "-o", "x.csv", "--json"], ConfigError, "need --compare"),
    "out is no list": (["--compare", "a.csv", "b.csv", "-o", "d.csv"], ConfigError, "d.jsonl"),
    "out is missing": (["in.csv"], ConfigError, "Missing option '--out'"),
    "no such file": (["--compare", "a.csv", "c.csv"], DataError, "c.csv: no such file"),
}


@pytest.mark.parametrize(("args", "error", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(
    run: Run,
    files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.chdir(files[0].parent)
    caught = run(*args).exception
    assert isinstance(caught, error)
    assert message in str(caught)


def test_a_finding_that_is_none_is_named(run: Run, files: tuple[Path, Path]) -> None:
    done = run("--compare", *files, "--finding", "Oedema")
    assert done.exit_code == 2
    assert "'Oedema' is not one of" in done.output
