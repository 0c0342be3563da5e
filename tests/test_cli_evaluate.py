"""`mrg-r1 evaluate`, from files to tables and evaluation.json."""

import json
import re
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit_run import write_run
from commands import Run
from conftest import SHARED_DATA
from mrg_r1.findings import FINDINGS, Status
from mrg_r1.labelers.rules import RulesLabeler

ROOT = Path(__file__).parents[1]

REFERENCES = ["Large pleural effusion. No edema.", "The heart is normal. The lungs are clear."]
TRAIN = ["The heart is normal.", "The heart is big.", "The lungs are clear. No edema."]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the commands of the documents name, in the working directory."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"id": str(i), "report": text, "reference": reference}
        for i, (text, reference) in enumerate(zip(REFERENCES[::-1], REFERENCES, strict=True))
    ]
    write("ours.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    numbered = list(enumerate(REFERENCES))
    write("theirs.csv", table("id,report,reference", [(i, t, t) for i, t in numbered]))
    write("predictions.json", json.dumps({r["id"]: [r["report"]] for r in rows}))
    write("references.json", json.dumps({r["id"]: r["reference"] for r in rows}))
    write("output.csv", table("uid,hyp", list(enumerate(REFERENCES[::-1]))))
    write("references.csv", table("uid,report", numbered))
    write("train.csv", table("report", [(text,) for text in TRAIN]))
    write("annotation.json", json.dumps({"train": [{"report": text} for text in TRAIN]}))
    return tmp_path


def table(header: str, rows: Sequence[tuple[object, ...]]) -> str:
    lines = [",".join(f'"{cell}"' for cell in row) for row in rows]
    return "\n".join([header, *lines, ""])


def write(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="utf-8")


def scores(out: str, system: str = "", *parts: str) -> dict[str, float]:
    """Values by metric of one system, of those whose signature has all these parts."""
    systems = {s["name"]: s for s in json.loads(out)["systems"]}
    found = systems[system or next(iter(systems))]["scores"]
    return {s["metric"]: s["value"] for s in found if set(parts) <= set(s["signature"].split("|"))}


def documented() -> Iterator[str]:
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()


@pytest.mark.parametrize("line", list(documented()))
def test_the_commands_of_the_page_run(run: Run, files: Path, line: str) -> None:
    program, *words = shlex.split(line, comments=True)
    assert program == "mrg-r1"
    if words[0] == "audit":
        write_run(files / "runs" / "mine", studies=2, steps=3)
        run("evaluate", "ours.jsonl", "theirs.csv", "--audit", "compared", "--resamples", 5)
    else:
        words += ["--resamples", "5"]
    code, out, err = run(*words)
    assert (code, bool(out)) == (0, True), err


def test_audit_leaves_a_page_of_what_was_compared(run: Run, files: Path) -> None:
    options = ("--train-references", "train.csv", "--audit", "compared", "--resamples", 5)
    code, _, err = run("evaluate", "ours.jsonl", "theirs.csv", *options)
    assert code == 0
    assert f"audit page: {Path('compared/audit.html')}" in err
    page = (files / "compared" / "audit.html").read_text(encoding="utf-8")
    for title in ("ours", "theirs", "constant-normal", "random-train"):
        assert page.count(f"<h4>{title} <span") == len(REFERENCES)
    kept = json.loads((files / "compared" / "evaluation.json").read_text(encoding="utf-8"))
    assert [s["name"] for s in kept["systems"]][:2] == ["ours", "theirs"]
    assert run("audit", "compared", "--images", "none") == (
        0,
        f"audit page: {Path('compared/audit.html')}\n",
        "",
    )


def test_audit_of_a_comparison_does_not_overwrite_a_run(run: Run, files: Path) -> None:
    folder = write_run(files / "run", studies=2, steps=3)
    code, _, err = run("evaluate", "ours.jsonl", "--audit", folder, "--resamples", 5)
    assert code == 2
    assert "is a run; name another folder" in err


FORMS = [
    ("ours.jsonl",),
    ("predictions.json", "--references", "references.json"),
    (
        *("output.csv", "--references", "references.csv"),
        *("--id-column", "uid", "--prediction-column", "hyp"),
    ),
]


def test_all_forms_of_a_system_score_alike(run: Run, files: Path) -> None:
    found = [scores(run("evaluate", *form, "--resamples", 5, "--json")[1]) for form in FORMS]
    assert found[0] == found[1] == found[2]


def test_preparation_needs_training_references(run: Run, files: Path) -> None:
    code, _, err = run("evaluate", "ours.jsonl", "--text-preparation", "r2gen-iu")
    assert (code, "--train-references FILE" in err, err.count("\n")) == (2, True, 1)
    for train in ("train.csv", "annotation.json"):
        done = run(
            *("evaluate", "theirs.csv", "--text-preparation", "r2gen-iu", "--json"),
            *("--train-references", train, "--resamples", 5),
        )
        assert scores(done[1], "", "text:r2gen-iu")["rouge-l"] == pytest.approx(1.0)
        assert "random-train" in done[1]


def test_the_nearest_training_image(run: Run, files: Path) -> None:
    rows = []
    for i, (text, grey) in enumerate(zip(REFERENCES, (0, 255), strict=True)):
        image = Image.new("L", (8, 8), 128)
        image.paste(grey, (0, 0, 4, 8))
        image.save(f"{i}.png")
        rows.append({"id": str(i), "report": "?", "reference": text, "images": [f"{i}.png"]})
    write("seen.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    done = run("evaluate", "seen.jsonl", "--train-references", "seen.jsonl", "--json")
    assert scores(done[1], "nearest-train")["bleu-4"] == pytest.approx(1.0)
    Path("0.png").unlink()
    done = run("evaluate", "seen.jsonl", "--train-references", "seen.jsonl", "--json")
    assert "no row nearest-train: 1 of 2 images are not there, such as 0.png" in done[2]
    done = run("evaluate", "ours.jsonl", "--train-references", "train.csv", "--json")
    assert "no row nearest-train: the training references name no images" in done[2]


def test_meteor_is_there_or_absent_with_a_reason(
    run: Run, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no METEOR: add --meteor" in run("evaluate", "ours.jsonl", "--resamples", 5)[2]
    monkeypatch.setattr("mrg_r1.metrics.meteor.absent", lambda: "java is not installed")
    done = run("evaluate", "ours.jsonl", "--meteor", "--resamples", 5, "--json")
    assert "no METEOR: java is not installed" in done[2]
    assert "meteor" not in scores(done[1])
    monkeypatch.setattr("mrg_r1.metrics.meteor.absent", lambda: "")
    monkeypatch.setattr("mrg_r1.metrics.meteor.statistics", lambda a, _: np.ones((len(a), 23)))
    done = run("evaluate", "ours.jsonl", "--meteor", "--resamples", 5, "--json")
    assert "meteor" in scores(done[1], "", "text:raw")


def test_a_preset_shows_its_scores_and_reads_as_its_labeler_does(run: Run, files: Path) -> None:
    _, out, err = run("evaluate", "ours.jsonl", "--preset", "r2gen", "--resamples", 5)
    assert "macro-14" in out
    assert "macro-13" not in out
    assert "compute_ce.py" in err
    _, out, _ = run("evaluate", "ours.jsonl", "--preset", "r2gen", "--resamples", 5, "--all")
    assert "labeler:rules-chexpert@" in out
    assert "avg:example" in out


def test_published_rows_are_marked(run: Run, files: Path) -> None:
    _, out, err = run("evaluate", "ours.jsonl", "--published", "mimic-cxr", "--resamples", 5)
    assert re.search(r"MedGemma-4B\* +unnamed +0\.408 +0\.414 +0\.411", out)
    assert "DTrace**" in out
    assert "their conventions are not those of the rows above" in err


def test_ids_that_do_not_match_are_counted(run: Run, files: Path) -> None:
    write("more.csv", "id,report,reference\n0,A.,B.\n7,A.,B.\n")
    code, _, err = run("evaluate", "ours.jsonl", "more.csv")
    assert (code, "1 ids only in 'ours', 1 only in 'more', 1 with" in err) == (2, True)
    code, _, err = run("evaluate", "more.csv", "--references", "ours.jsonl")
    assert (code, "1 ids have no reference in ours.jsonl, and 1 references" in err) == (2, True)


def test_a_baseline_by_name(run: Run, files: Path) -> None:
    args = ("evaluate", "ours.jsonl", "theirs.csv", "--resamples", 5)
    assert "minus theirs" in run(*args, "--baseline", "theirs")[1]
    code, _, err = run(*args, "--baseline", "nobody")
    assert (code, "no system 'nobody'; there are ours, theirs" in err) == (2, True)


@pytest.fixture(params=["template", "ranker"])
def shipped(request: pytest.FixtureRequest) -> Path:
    folder = SHARED_DATA / "predictions" / request.param
    if not folder.is_dir():
        pytest.skip(f"no predictions at {folder}")
    return folder


def test_shipped_overlap_scores(run: Run, shipped: Path) -> None:
    files = (shipped / "predictions.json", "--references", shipped / "references.json")
    found = scores(run("evaluate", *files, "--resamples", 5, "--json")[1], "", "text:raw")
    expected = json.loads((shipped / "expected.json").read_text())
    names = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr")
    assert list(found.values()) == pytest.approx([expected[n] for n in names], abs=1e-6)


def test_efficacy_of_a_constant_template_is_arithmetic(run: Run, tmp_path: Path) -> None:
    """One report for all: with k findings claimed, n studies and p_j positives of finding j,
    precision is the sum of the claimed p_j by n k, recall by the sum of all p_j."""
    folder = SHARED_DATA / "predictions" / "template"
    if not folder.is_dir():
        pytest.skip(f"no predictions at {folder}")
    references = json.loads((folder / "references.json").read_text())
    template = "There is a small effusion. Possible atelectasis. No pneumothorax."
    rows = [{"id": i, "report": template, "reference": t[0]} for i, t in references.items()]
    path = tmp_path / "template.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = run("evaluate", path, "--resamples", 5, "--json")[1]

    yes, thirteen = (Status.POSITIVE, Status.UNCERTAIN), FINDINGS[:-1]
    (claims, *labels) = RulesLabeler().label([template, *(row["reference"] for row in rows)])
    positives = {f: sum(row[f] in yes for row in labels) for f in thirteen}
    claimed = [f for f in thirteen if claims[f] in yes]
    right = sum(positives[f] for f in claimed)
    precision, recall = right / (len(rows) * len(claimed)), right / sum(positives.values())
    expected = [precision, recall, 2 * precision * recall / (precision + recall)]
    found = scores(out, "", "avg:micro", "labels:13", "uncertain:positive")
    assert list(found.values()) == pytest.approx(expected)


@pytest.mark.slow
def test_many_reports_take_time_in_proportion(run: Run, tmp_path: Path) -> None:
    words = ["edema", "effusion", "no", "clear", "heart", "is", "normal", "large", "left", "."]

    def seconds(n: int) -> float:
        with open(tmp_path / "many.jsonl", "w") as file:
            for i in range(n):
                text = " ".join(words[(i * k + k * k) % 10] for k in range(1, 40)) + f" {i}"
                row = {"id": i, "report": text, "reference": text[::2] + " x"}
                file.write(json.dumps(row) + "\n")
        start = time.process_time()  # other work on the machine does not count
        code, _, err = run("evaluate", tmp_path / "many.jsonl", "-o", tmp_path / "e.json")
        assert code == 0, err
        return time.process_time() - start

    assert seconds(10_000) < 25 * seconds(1_000)
