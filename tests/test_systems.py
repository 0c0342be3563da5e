"""The page on other systems: its code and its commands, on files of the form those systems write.

The texts are ours.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mrg_r1.cli import main
from mrg_r1.data import phantom

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8")

STUDIES = {
    "CXR1_IM-1": "The heart is enlarged. There is a small left pleural effusion.",
    "CXR2_IM-2": "The lungs are clear. No pneumothorax or pleural effusion.",
    "CXR3_IM-3": "Possible right lower lobe pneumonia. The heart is normal in size.",
}
PREPARED = [
    "the heart is normal . no pleural effusion .",
    "the lungs are clear , no effusion .",
    "",
]
WRITTEN = ["Small left pleural effusion.", "Clear lungs.", "Right lower lobe pneumonia."]


def sections() -> dict[str, list[tuple[str, str]]]:
    """The blocks of code under each heading of the page, with their language."""
    parts = re.split(r"^##+ (.*)\n", PAGE, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {
        title: re.findall(r"^```(sh|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for title, text in found.items()
    }


SECTIONS = sections()
REFERENCES = SECTIONS["Reports written elsewhere"]
SYSTEMS = [title for title, blocks in SECTIONS.items() if blocks and title not in (
    "Models that run here", "Reports written elsewhere",
)]  # fmt: skip


def write(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="utf-8")


def write_csv(path: str, rows: list[list[str]], **form: str) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, **form).writerows(rows)


def r2gen() -> None:
    write_csv("res.csv", [[text] for text in PREPARED])


def gsket() -> None:
    rows = [
        {"filename": id_, "prediction": report, "ground_truth": "the heart is enlarged ."}
        for id_, report in zip(STUDIES, PREPARED, strict=True)
    ]
    write("Enc2Dec-30_0_test_generated.json", json.dumps(rows))


def dcl() -> None:
    paths = [f"{id_}/{view}.png" for id_ in STUDIES for view in (0, 1)]
    texts = [text for text in PREPARED for _ in (0, 1)]
    batches = [
        {"image_path": paths[at : at + 4], "predict": texts[at : at + 4], "ground_truth": []}
        for at in (0, 4)
    ]
    write("dcl_batches.json", json.dumps(batches))


def dtrace() -> None:
    write("dtrace.json", json.dumps(dict(zip(STUDIES, PREPARED, strict=True))))


def cxrmate() -> None:
    numbered = [str(50000000 + i) for i in range(3)]
    rows = [[text, "No change.", id_] for text, id_ in zip(WRITTEN, numbered, strict=True)]
    write_csv("cxrmate.csv", [["findings", "impression", "study_id"], *rows])
    for name in ("findings.csv", "both.csv"):
        texts = list(map(list, zip(numbered, STUDIES.values(), strict=True)))
        write_csv(name, [["study_id", "report"], *texts])


def radfm() -> None:
    rows = [
        [str(["Describe<image></image>."]), str([reference]), str([report]), f"['{of}']"]
        for reference, report, of in zip(
            STUDIES.values(), WRITTEN, ["chestxray_caption_dataset"] * 2 + ["vqa"], strict=True
        )
    ]
    header = ["Question", "Ground Truth", "Pred", "belong_to"]
    write_csv("output_whole_2_epochopen.csv", [header, *rows])


def biomedgpt() -> None:
    rows = [
        {"image_id": id_, "caption": re.sub(r"[^\w\s]", "", text)}
        for id_, text in zip(STUDIES, WRITTEN, strict=True)
    ]
    write("test_predict.json", json.dumps(rows))
    lines = [["200_1", id_, text, "", "aGVsbG8=" * 20_000] for id_, text in STUDIES.items()]
    write("iu_xray_test.tsv", "".join("\t".join(line) + "\n" for line in lines))


def chexagent() -> None:
    rows = [
        {
            "sample_idx": number,
            "image_path": [f"{id_}/0.png", f"{id_}/1.png"],
            "section_indication": "Cough.",
            "section_findings": STUDIES[id_],
            "candidate_findings": text,
        }
        for number, (id_, text) in enumerate(zip(STUDIES, WRITTEN, strict=True))
    ]
    write("CheXagent.json", json.dumps({"IU-Xray": rows}))


FILES: dict[str, Callable[[], None]] = {
    "R2Gen and R2GenCMN": r2gen,
    "GSKET": gsket,
    "DCL": dcl,
    "DTrace": dtrace,
    "CXRMate": cxrmate,
    "RadFM": radfm,
    "BiomedGPT (BioMedGPT in the paper)": biomedgpt,
    "CheXagent": chexagent,
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    train = [{"id": f"t{i}", "report": text} for i in range(3) for text in STUDIES.values()]
    test = [{"id": id_, "report": text} for id_, text in STUDIES.items()]
    write("annotation.json", json.dumps({"train": train, "val": [], "test": test}))
    return tmp_path


Run = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(line: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        with pytest.raises(SystemExit) as stopped:
            main()
        return int(stopped.value.code or 0), *capsys.readouterr()

    return run


def commands(blocks: list[tuple[str, str]]) -> Iterator[str]:
    """Runs the Python of some blocks, and yields the commands between, one by one."""
    for language, text in blocks:
        if language == "sh":
            yield from text.splitlines()
        else:
            exec(compile(text, "docs/systems.md", "exec"), {})


def test_every_system_of_the_page_has_files() -> None:
    assert list(FILES) == SYSTEMS


@pytest.mark.parametrize("system", FILES)
def test_a_system_is_brought_as_the_page_says(here: Path, run: Run, system: str) -> None:
    FILES[system]()
    assert list(commands(REFERENCES)) == []
    lines = list(commands(SECTIONS[system]))
    assert lines
    for line in lines:
        code, out, err = run(f"{line} --resamples 5")
        assert (code, "constant-normal" in out) == (0, True), err


def test_a_report_that_is_not_there_is_an_empty_one(here: Path, run: Run) -> None:
    r2gen()
    list(commands(REFERENCES))
    list(commands(SECTIONS["R2Gen and R2GenCMN"]))
    assert json.loads(Path("r2gen.json").read_text())["CXR3_IM-3"] == ""


RECIPE = """
[data]
source = "table"
root = "studies/studies.csv"
views = "each"

[policy.tiny]

[srl]
max_steps = 1

[evaluation.decoding]
max_new_tokens = 8
batch_size = 2
"""


@pytest.mark.slow
def test_models_write_and_are_compared_as_the_page_says(here: Path, run: Run) -> None:
    from tiny_families import save

    drawn = phantom.draw(here / "studies", train=1, val=0, test=3, size=64).studies
    rows = [[s.id, str(s.views[0].path.resolve()), s.findings, s.split] for s in drawn]
    write_csv("studies/studies.csv", [["id", "image", "report", "split"], *rows])
    write("mine.toml", RECIPE)
    save("gemma3", Path("models/medgemma-4b-it"))
    save("qwen2_5_vl", Path("models/huatuogpt-vision-7b"))
    for line in commands(SECTIONS["Models that run here"]):
        code, _, err = run(line)
        assert code == 0, err
    instruction = json.loads(Path("models/medgemma-4b-it/mrg_r1.json").read_text())["instruction"]
    assert "<report>" not in instruction
    plain = [json.loads(line) for line in Path("plain.jsonl").read_text().splitlines()]
    assert len(plain) == 3
    assert all(row["completion"] and not row["report"] for row in plain)
