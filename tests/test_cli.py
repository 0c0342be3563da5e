import csv
import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from rich.progress import Progress

import mrg_r1
from audit_run import write_run
from commands import Run
from mrg_r1 import doctor, label
from mrg_r1.cli import app
from mrg_r1.cli.app import Rate
from mrg_r1.config import load_recipe, recipe_names
from mrg_r1.data import phantom, table
from mrg_r1.records import Evaluation


def commands(
    command: object, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], object]]:
    """Every command of the program below this one, with the words that call it."""
    for name, inner in getattr(command, "commands", {}).items():
        yield (*path, name), inner
        yield from commands(inner, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


def test_the_commands_are_those_that_were_promised() -> None:
    assert [words for words in COMMANDS if len(words) == 1] == [
        ("data",),
        ("label",),
        ("plan",),
        ("train",),
        ("ablate",),
        ("export",),
        ("generate",),
        ("evaluate",),
        ("audit",),
        ("serve",),
        ("serve-reward",),
        ("chexbert",),
        ("recipes",),
        ("doctor",),
    ]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_of_itself(run: Run, words: tuple[str, ...]) -> None:
    shown = run(*words, "--help")
    assert shown.code == 0
    assert f"Example: mrg-r1 {' '.join(words)}" in shown.out


def test_no_command_prints_the_help(run: Run) -> None:
    assert run().out.strip() == run("-h").out.strip()
    assert run("--version") == (0, f"mrg-r1 {mrg_r1.__version__}\n", "")


MISTAKES = {
    "unknown command": (["lable"], "No such command 'lable'"),
    "unknown option": (["recipes", "--jsno"], "No such option: --jsno"),
    "missing argument": (["label"], "Missing argument 'FILE'"),
    "missing option": (["data", "phantom"], "Missing option '--root'"),
    "not a choice": (["data", "chexpert", "--root", "."], "'chexpert' is not one of 'phantom'"),
    "not a number": (
        ["audit", ".", "--studies", "all"],
        "--studies': Input should be a valid integer",
    ),
    "unknown recipe": (["train", "quikstart"], "(did you mean 'quickstart'?)"),
    "wrong override": (["train", "quickstart", "--set", "seed=x"], "seed: 'x' is not an integer"),
    "no run": (["audit", "."], "recipe.json"),
    "nothing to export": (["export", "nope", "-o", "out"], "nope: holds no run (recipe.json)"),
    "unknown GPU": (["plan", "quickstart", "--gpus", "2xZ9"], "--gpus 2xZ9: write it as 2xA100"),
    "no size of an image": (
        ["plan", "quickstart", "--gpus", "A100-80", "--image", "9"],
        "--image 9: write it as width x height",
    ),
    "no file": (["label", "nope.csv", "-o", "x.csv"], "nope.csv: no such file"),
    "no predictions": (["evaluate", "nope.jsonl"], "nope.jsonl: no such file"),
    "numbers to read": (["data", "table", "--root", "x", "--train", "3"], "leave out numbers"),
    "images and data": (["generate", "p", "x.png", "--split", "val"], "not both"),
    "no match": (["generate", "p", "x*.png"], "x*.png: no file matches this pattern"),
    "no such form": (["generate", "p", "--export", "pdf"], "'pdf' is not one of 'text', 'json'"),
    "set without recipe": (["generate", "p", "--set", "seed=1"], "needs --data RECIPE"),
    "nothing to serve": (["serve"], "name a POLICY, or a server with --upstream URL"),
    "no token": (["serve", "p", "--host", "0.0.0.0"], "add --token, or set MRG_R1_TOKEN"),
    "no such port": (["serve-reward", "--port", "0"], "--port': Input should be greater"),
    "line breaks in the mistake": (["train", "a\nb"], "no recipe or file 'a b'"),
}


@pytest.mark.parametrize(("args", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space, or write elsewhere with -o or --out"),
        (errno.EACCES, "change its permissions, or choose another path"),
        (errno.ENOENT, "check the path"),
    ],
)
def test_the_machines_refusals_are_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "out.csv")

    monkeypatch.setattr(label, "label_file", refuse)
    code, _, err = run("label", "in.csv", "-o", "out.csv")
    assert (code, err) == (2, f"error: out.csv: {os.strerror(number)}; {advice}\n")


def test_a_bug_keeps_its_traceback_but_shows_no_patient(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("report\nMrs Doe has edema.\n")
    code = (
        "import sys; from mrg_r1.cli import main; from mrg_r1.labelers.rules import RulesLabeler\n"
        "def broken(self, reports): report = reports[0]; raise ZeroDivisionError\n"
        "RulesLabeler.label = broken; sys.argv[1:] = ['label', 'in.csv', '-o', 'out.csv']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert "Doe" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_data_draws_once_and_reads_back(run: Run, tmp_path: Path) -> None:
    root, out = tmp_path / "phantom", tmp_path / "table" / "studies.jsonl"
    drawn = run("data", "phantom", "--root", root, "--train", 2, "--test", 1, "-o", out, "--json")
    assert drawn.code == 0
    assert json.loads(drawn.out)["splits"]["train"] == {
        "studies": 2,
        "images": 4,
        "frontal": 2,
        "lateral": 2,
        "unknown": 0,
    }
    assert run("data", "phantom", "--root", root, "--json").out == drawn.out
    assert "name another directory" in run("data", "phantom", "--root", root, "--seed", 0).err
    studies = phantom.read(root).studies
    again = table.load(out).studies
    assert [study.findings for study in again] == [study.findings for study in studies]
    assert [v.path.resolve() for s in again for v in s.views] == [
        v.path.resolve() for s in studies for v in s.views
    ]
    split = run("data", "phantom", "--root", root, "--split", "val")
    assert (split.code, "there are: train, test" in split.err) == (2, True)


def test_data_reads_a_table_with_other_columns(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    path, out = tmp_path / "in.csv", tmp_path / "out.jsonl"
    path.write_text("case,image,text,before,prior_image\n1,a.png,Clear.,Old ____.,\n")
    columns = ("--column", "id=case", "--column", "report=text", "--column", "prior_report=before")
    assert run("data", "table", "--root", path, *columns, "-o", out).code == 0
    (study,) = table.load(out).studies
    assert (study.id, study.findings) == ("1", "Clear.")
    assert study.prior
    assert study.prior.findings == "Old ___."
    wrong = run("data", "table", "--root", path, "--column", "reports=text")
    assert wrong == (2, "", "error: --column: unknown key 'reports' (did you mean 'report'?)\n")
    wrong = run("data", "iu-xray", "--root", path, "--column", "report=text")
    assert wrong == (2, "", "error: data: iu-xray has its own columns; leave out --column\n")


@pytest.mark.slow
def test_data_tells_what_was_left_out(run: Run, iu_xray_root: Path) -> None:
    shown = run("data", "iu-xray", "--root", iu_xray_root)
    assert "no image on disk" in shown.out
    summary = json.loads(run("data", "iu-xray", "--root", iu_xray_root, "--json").out)
    for left in summary["left_out"]:
        assert f"{len(left['ids']):,}" in shown.out
        assert left["ids"][0] in shown.out


def test_label_says_how_many_rows_had_no_report(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('text\nNo edema.\n""\n')
    out = tmp_path / "out.csv"
    done = run("label", tmp_path / "in.csv", "--column", "text", "-o", out)
    assert done == (
        0,
        "",
        f"{out}: 2 rows, 1 of them without a report and so without labels\n",
    )
    with open(out, newline="") as file:
        assert [row["Edema"] for row in csv.DictReader(file)] == ["0", ""]


def test_progress_tells_the_rate() -> None:
    seconds = [0.0]
    progress = Progress(get_time=lambda: seconds[-1])
    progress.add_task("labelling")
    (task,) = progress.tasks
    assert Rate().render(task).plain == ""
    for second in (1.0, 3.0):
        seconds.append(second)
        progress.update(task.id, advance=3000)
    assert Rate().render(task).plain == "1,500/s"


def predictions(path: Path, reports: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    references = ["Large pleural effusion. No edema.", "Heart size is normal. No edema."]
    rows = [
        {"id": str(n), "report": report, "reference": reference}
        for n, (report, reference) in enumerate(zip(reports, references, strict=True))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_evaluate_scores_files_and_runs_side_by_side(run: Run, tmp_path: Path) -> None:
    good = predictions(tmp_path / "good.jsonl", ["Pleural effusion.", "No edema."])
    predictions(tmp_path / "a-run" / "predictions.jsonl", ["No effusion.", "Edema."])
    out = tmp_path / "evaluation.json"
    args = ("evaluate", good, tmp_path / "a-run", "--resamples", 20)
    done = run(*args, "-o", out)
    assert done.code == 0
    names = [system.name for system in Evaluation.read(out).systems]
    assert names[:2] == ["good", "a-run"]
    assert all(name in done.out for name in names)
    assert json.loads(run(*args, "--json").out) == json.loads(out.read_text())
    assert f"{out}: {len(names)} systems" in done.err


def test_evaluate_names_systems_apart(run: Run, tmp_path: Path) -> None:
    files = [
        predictions(tmp_path / folder / "predictions.jsonl", ["No edema.", "Edema."])
        for folder in ("x", "y")
    ]

    def names(*options: str) -> list[str]:
        done = run("evaluate", *files, *options, "--resamples", 5, "--json")
        return [system["name"] for system in json.loads(done.out)["systems"]][:2]

    assert names() == ["x", "y"]
    assert names("--name", "ours", "--name", "theirs") == ["ours", "theirs"]
    assert "2 files" in run("evaluate", *files, "--name", "ours").err
    assert "--name" in run("evaluate", files[0], files[0]).err


def test_audit_draws_the_page(run: Run, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", studies=4, steps=4)
    assert run("audit", folder) == (0, f"audit page: {folder / 'audit.html'}\n", "")
    assert run("audit", folder, "-o", tmp_path / "page.html", "--studies", 1).code == 0
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!")


def test_recipes_are_listed_shown_and_copied(run: Run, tmp_path: Path) -> None:
    listed = json.loads(run("recipes", "--json").out)
    assert list(listed) == recipe_names()
    assert all(30 < len(header) < 160 for header in listed.values())
    assert all(name in run("recipes").out for name in listed)
    mine = tmp_path / "mine.toml"
    assert f"mrg-r1 train {mine}" in run("recipes", "copy", "quickstart", mine).err
    assert run("recipes", "show", "quickstart").out == mine.read_text(encoding="utf-8")
    assert load_recipe(str(mine)).data == load_recipe("quickstart").data
    again = run("recipes", "copy", "quickstart", mine)
    assert (again.code, again.err) == (2, f"error: {mine}: exists already; name another file\n")


def test_doctor_tells_what_to_type(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it takes seconds
    checks = {check["name"]: check for check in json.loads(run("doctor", "--json").out)}
    assert checks["device"]["found"] == "unknown without torch"
    assert checks["python"]["found"] == ".".join(map(str, sys.version_info[:3]))
    assert checks["numpy"] == {"name": "numpy", "found": metadata.version("numpy"), "fix": ""}
    installed = metadata.version

    def version(name: str) -> str:
        if name == "trl":
            raise metadata.PackageNotFoundError
        return "4.57.0" if name == "transformers" else installed(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    found = {check.name: check for check in doctor.examine(Path.cwd())}
    assert found["trl (train)"].found == "missing"
    assert found["trl (train)"].fix == "pip install 'mrg-r1[train]'"
    assert found["transformers (train)"].found == "4.57.0, but <6,>=5.10 is needed"
    assert "pip install 'mrg-r1[train]'" in run("doctor").out


@pytest.mark.slow
def test_doctor_finds_a_device() -> None:
    found = {check.name: check.found for check in doctor.examine(Path.cwd())}
    assert found["device"].startswith(("CPU, ", "CUDA "))


@pytest.mark.slow
def test_a_dry_run_tells_and_trains_nothing(run: Run, tmp_path: Path) -> None:
    told = run("train", "quickstart", "--dry-run", "--out", tmp_path / "run")
    assert told.code == 0
    assert "0.75 mccs, 0.25 format" in told.out
    assert not (tmp_path / "run").exists()
    wrong = run("train", "quickstart", "--dry-run", "--set", "srl.num_generation=4")
    assert (wrong.code, "num_generations" in wrong.err) == (2, True)


def replace_verb(monkeypatch: pytest.MonkeyPatch, **functions: object) -> None:
    """Puts functions in the place of `mrg_r1.train`, whose packages take seconds to load."""
    verb = SimpleNamespace(**functions)
    monkeypatch.setitem(sys.modules, "mrg_r1.train", verb)
    monkeypatch.setattr(mrg_r1, "train", verb, raising=False)


def test_train_hands_over_the_recipe_and_the_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[object, ...]] = []

    def train(recipe: object, folder: Path, *, resume: bool) -> Path:
        calls.append((recipe, folder, resume))
        return folder / "audit.html"

    replace_verb(monkeypatch, train=train)
    done = run("train", "quickstart", "--set", "seed=3")
    assert done.out == f"audit page: {Path('runs/quickstart/audit.html')}\n"
    run("train", "quickstart", "--out", tmp_path, "--resume")
    assert calls == [
        (load_recipe("quickstart", ["seed=3"]), Path("runs/quickstart"), False),
        (load_recipe("quickstart"), tmp_path, True),
    ]


def test_an_interrupted_run_says_how_to_go_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(_: object, folder: Path, *, resume: bool) -> Path:
        (folder / "recipe.json").write_text("{}")
        raise KeyboardInterrupt

    replace_verb(monkeypatch, train=train)
    done = run("train", "quickstart", "--out", tmp_path)
    hint = f"mrg-r1 train {tmp_path}/recipe.json --out {tmp_path} --resume"
    assert (done.code, done.out) == (130, "")
    assert done.err == f"interrupted; to go on, type: {hint}\n"


def test_a_missing_package_is_named_with_what_to_type(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "mrg_r1.train", raising=False)
    monkeypatch.delattr(mrg_r1, "train", raising=False)
    monkeypatch.setitem(sys.modules, "peft", None)
    done = run("train", "quickstart")
    assert (done.code, done.err) == (
        2,
        "error: peft is not installed; type: pip install 'mrg-r1[train]'\n",
    )
