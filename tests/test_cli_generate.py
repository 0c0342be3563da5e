"""`mrg-r1 generate`, as it is typed."""

import dataclasses
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from commands import Run
from mrg_r1.config import load_recipe
from mrg_r1.data import phantom
from mrg_r1.policy.settings import TinyConfig
from mrg_r1.records import Prediction, read_jsonl, write_json

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with drawn studies and a policy of random weights."""
    from mrg_r1.policy.tiny import build_tiny

    root = tmp_path_factory.mktemp("run")
    studies = phantom.draw(root / "studies", train=1, val=0, test=2, size=64).studies
    tiny = TinyConfig(1, 32, 1, 32, heads=2, pixels=56, vocabulary=300)
    build_tiny([study.findings for study in studies], tiny, seed=0).save(root / "policy")
    recipe = load_recipe("quickstart", ["evaluation.decoding.max_new_tokens=4"])
    write_json(root / "recipe.json", dataclasses.asdict(recipe))
    return root


def test_generate_reports_images_and_splits(run: Run, untrained: Path, tmp_path: Path) -> None:
    out = tmp_path / "predictions.jsonl"
    image = untrained / "studies" / "images" / "train-00000-frontal.png"
    named = run("generate", untrained, image, "-o", out)
    assert (named.code, named.err.endswith(f"{out}: 1 predictions\n")) == (0, True)
    (prediction,) = read_jsonl(out, Prediction)
    assert named.out == f"{image.stem}: {prediction.report or '(no report)'}\n"
    assert run("generate", untrained, "-o", out).code == 0
    assert [p.study_id for p in read_jsonl(out, Prediction)] == ["test-00000", "test-00001"]
    assert all(p.reference for p in read_jsonl(out, Prediction))
    every = ("--split", "train", "--set", "data.views=each")
    assert run("generate", untrained, *every, "-o", out).code == 0
    assert [p.study_id for p in read_jsonl(out, Prediction)] == ["train-00000"] * 2
    elsewhere = run("generate", untrained / "policy", "-o", out)
    assert (elsewhere.code, "--data RECIPE" in elsewhere.err) == (2, True)


def test_generate_asks_in_given_words(run: Run, untrained: Path, tmp_path: Path) -> None:
    out = tmp_path / "predictions.jsonl"
    image = untrained / "studies" / "images" / "train-00000-frontal.png"
    words = ("--indication", "___ with cough", "--prior-report", "Old.", "--instruction", "Say it.")
    assert run("generate", untrained, image, *words, "-o", out).code == 0
    (line,) = out.read_text().splitlines()
    assert json.loads(line)["context"] == {"indication": "___ with cough", "prior-report": "Old."}
    assert json.loads(line)["instruction"] == "Say it."
    spelled = run("generate", untrained, image, "--indication", "A <|image_pad|>", "-o", out)
    assert (spelled.code, "indication holds the control token <|image" in spelled.err) == (2, True)
    wrong = run("generate", untrained, *words, "-o", out)
    assert (wrong.code, "of a split the data give the context" in wrong.err) == (2, True)
    wished = ("--set", 'data.context=["indication"]', "-o", out)
    told = run("generate", untrained, *wished)
    assert (told.code, "context of the prompts, as it was trained: none" in told.err) == (0, True)
    assert all(p.context == {} for p in read_jsonl(out, Prediction))
    (untrained / "policy" / "mrg_r1.json").rename(tmp_path / "kept.json")
    assert run("generate", untrained, *wished).code == 0
    (tmp_path / "kept.json").rename(untrained / "policy" / "mrg_r1.json")
    assert all("indication" in p.context for p in read_jsonl(out, Prediction))


def test_generate_samples_exports_and_leaves_out(
    run: Run, untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = untrained / "studies" / "images"
    (tmp_path / "broken.png").write_bytes(b"no")
    done = run(
        *("generate", untrained, images / "test-0000*-frontal.png", "broken.png", "-o", "-"),
        *("--consensus", 2, "--seed", 3, "--max-tokens", 4, "--batch-size", 3),
        *("--export", "fhir", "--export", "text", "--export", "dicom-sr", "--export-to", "forms"),
    )
    assert done.code == 3
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["id"] for line in lines] == ["test-00000-frontal", "test-00001-frontal"]
    assert {line["decoding"] for line in lines} == {
        "consensus of 2, temperature 1, seed 3, at most 4 tokens"
    }
    assert "left out: broken.png: neither PNG, JPEG nor DICOM" in done.err
    assert done.err.endswith("-: 2 predictions, 1 left out\n")
    assert sorted(path.name for path in Path("forms").iterdir()) == sorted(
        f"{line['id']}{suffix}" for line in lines for suffix in (".fhir.json", ".sr.dcm", ".txt")
    )
    listed = Path("list.csv")
    listed.write_text(f"id,image,reference\nx,{images / 'test-00000-frontal.png'},Edema.\n")
    for code, told in ((0, "reports.jsonl: 1 predictions"), (0, "0 predictions, 1 were there")):
        again = run("generate", untrained, listed, "-o", "reports.jsonl", "--resume")
        assert (again.code, told in again.err) == (code, True)
    greedy = run("generate", untrained, listed, "--consensus", 2, "--temperature", 0)
    assert (greedy.code, "greedy drafts are all alike" in greedy.err) == (2, True)


def test_the_page_on_reports_does_what_it_says(
    run: Run, untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    frontals = sorted((untrained / "studies" / "images").glob("test-*-frontal.png"))
    for path in ("images/a.png", "archive/study/a.dcm", "chest.png"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(frontals[0], path)
    Path("list.csv").write_text("image\nchest.png\n")
    text = (Path(__file__).parents[1] / "docs" / "generate.md").read_text(encoding="utf-8")
    lines = re.findall(r"^mrg-r1 (generate runs/quickstart .*)$", text, re.MULTILINE)
    assert len(lines) > 8
    for line in lines:
        words = [str(untrained) if w == "runs/quickstart" else w for w in shlex.split(line)]
        done = run(*words)
        assert (done.code, line) == (0, line), done.err
        assert "predictions" in done.err
    assert {path.name for path in Path("exports").iterdir()} == {
        f"a{suffix}" for suffix in (".txt", ".fhir.json", ".sr.dcm")
    }
