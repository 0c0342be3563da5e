"""The audit page from run files: what it says, what it refuses, and that it stays inert."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import audit_run
from mrg_r1.audit import write_audit
from mrg_r1.audit.load import load_run
from mrg_r1.audit.moments import moments
from mrg_r1.audit.pictures import picture
from mrg_r1.audit.text import visible
from mrg_r1.completion import render as completion_of
from mrg_r1.errors import ConfigError
from mrg_r1.findings import Finding, Labels, Status
from mrg_r1.records import (
    Evaluation,
    FindingScore,
    Prediction,
    Reading,
    SampledCompletion,
    Score,
    StepMetrics,
    SystemScores,
    write_jsonl,
)

GOLDEN = Path(__file__).parent / "golden" / "audit.html"

B, P, N, U = Status.BLANK, Status.POSITIVE, Status.NEGATIVE, Status.UNCERTAIN


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return audit_run.write_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def page(finished: Path) -> str:
    return write_audit(finished).read_text("utf-8")


class Skeleton(HTMLParser):
    """A page's tags and attribute names, without its text and attribute values."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[tuple[str, str]] = []
        self.inline: dict[str, str] = {}
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.values += [(name, value or "") for name, value in attrs]
        self._open = tag

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style"):
            self.inline[self._open] = self.inline.get(self._open, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    @classmethod
    def of(cls, html: str) -> Skeleton:
        skeleton = cls()
        skeleton.feed(html)
        return skeleton


# --- the whole page


def test_page_is_written_beside_the_run_and_nothing_else_is(tmp_path: Path) -> None:
    run = audit_run.write_run(tmp_path / "run", studies=3, steps=5)
    before = set(run.iterdir())
    assert write_audit(run) == run / "audit.html"
    assert set(run.iterdir()) - before == {run / "audit.html"}
    assert write_audit(run, tmp_path / "elsewhere.html") == tmp_path / "elsewhere.html"


def test_same_run_gives_same_page(finished: Path, page: str, tmp_path: Path) -> None:
    assert write_audit(finished, tmp_path / "again.html").read_text("utf-8") == page


def test_page_names_nothing_outside_itself(page: str) -> None:
    assert "://" not in page
    targets = [v for n, v in Skeleton.of(page).values if n in ("src", "href", "srcset", "action")]
    assert targets
    assert all(target.startswith(("#", "data:")) for target in targets)
    assert "url(" not in page
    assert "@import" not in page


def test_every_link_has_a_target(page: str) -> None:
    values = Skeleton.of(page).values
    ids = [value for name, value in values if name == "id"]
    assert len(ids) == len(set(ids))
    assert {v[1:] for n, v in values if n == "href" and v.startswith("#")} <= set(ids)
    named = [v for n, v in values if n == "aria-labelledby"]
    assert {part for value in named for part in value.split()} <= set(ids)


def test_policy_allows_our_style_and_script_and_no_network(page: str) -> None:
    skeleton = Skeleton.of(page)
    policy = next(v for n, v in skeleton.values if n == "content" and "default-src" in v)
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        digest = hashlib.sha256(skeleton.inline[kind].encode()).digest()
        assert f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert all("style" not in names for _, names in skeleton.tags)


def test_page_of_sixty_studies_stays_small(tmp_path: Path) -> None:
    run = audit_run.write_run(tmp_path, studies=70)
    out = write_audit(run)
    assert out.read_text("utf-8").count('<article class="study"') == 60
    assert out.stat().st_size < 3_000_000


def test_number_of_studies_is_the_callers(finished: Path, tmp_path: Path) -> None:
    out = write_audit(finished, tmp_path / "few.html", studies=5).read_text("utf-8")
    assert out.count('<article class="study"') == 5
    assert "5 of 24 samples: the 1 with the largest change in reward" in out
    none = write_audit(finished, tmp_path / "none.html", studies=0).read_text("utf-8")
    assert "None were asked for." in none
    with pytest.raises(ConfigError, match="cannot show -1 studies; give 0 or more"):
        write_audit(finished, studies=-1)


def test_audit_needs_no_torch() -> None:
    code = "import sys, mrg_r1.audit; sys.exit('torch' in sys.modules or 'trl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- hostile text

HOSTILE = (
    "<script>hacked = 1</script>",
    "</style><img src=x onerror=hacked=1>",
    "</script><svg onload=hacked=1>",
    "\"' onmouseover=hacked=1 x='\"",
    "<!-- --!> ]]> <![CDATA[",
    "{{ run }} {% raw %} {# x #}",
    "&lt;b&gt; &#x3c; &amp;amp;",
    "no \u202exarohtomuenp\u202c \u2066\u200f\u200b\ufeff\u2028",
    "\x00\x08\x1b[31m\x7f\x85\r",
    "half a pair \ud83d and \udcff",
    "<think></think><report>",
    "a" * 9000,
)


def hostile_run(folder: Path, text: str) -> Path:
    """A run that carries a text wherever a run can carry one."""
    completion = completion_of(text, text)
    score = Score("ce_f1", 0.5, 0.4, 0.6, f"labeler:{text}|uncertain:positive|labels:13|avg:micro")
    other = dataclasses.replace(score, metric=text)
    systems = [
        SystemScores(name, 1, (score, other), (FindingScore("Edema", 1, 1, 1, 0.5, 0.5, 0.5),))
        for name in ("start", "srl", f"constant-{text}", text)
    ]
    metrics = [StepMetrics(text, 1, {f"rewards/{text}/mean": 0.5, text: 0.5})]
    _write(folder, "metrics.jsonl", metrics)
    _write(folder, "completions.jsonl", [SampledCompletion(1, text, completion, 0.5, {text: 1.0})])
    for name in ("predictions-start", "predictions"):
        prediction = Prediction(
            text, text + "s", completion, text, text, text, (text,), context={text: text}
        )
        _write(folder, f"{name}.jsonl", [prediction])
    statuses = tuple(Labels.of({Finding.EDEMA: P}).statuses)
    readings = [Reading(text, name, statuses, 1.0, 1.0) for name in ("reference", "start", "srl")]
    _write(folder, "readings.jsonl", readings)
    recipe = {"name": text, "seed": 1, "data": {"source": text, "root": text, text: text}}
    _dump(folder / "recipe.json", recipe)
    _dump(folder / "versions.json", {text: text})
    _dump(folder / "evaluation.json", dataclasses.asdict(Evaluation(tuple(systems))))
    return folder


def _dump(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), "ascii")


def _write(folder: Path, name: str, records: Iterable[Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(dataclasses.asdict(record)) + "\n" for record in records]
    (folder / name).write_text("".join(lines), "ascii")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_changes_no_tag(text: str, tmp_path: Path) -> None:
    plain = hostile_run(tmp_path / "plain", "b" * len(text))
    hostile = hostile_run(tmp_path / "hostile", text)
    html = write_audit(hostile, tmp_path / "page.html").read_text("utf-8")
    expected = Skeleton.of(write_audit(plain, tmp_path / "plain.html").read_text("utf-8"))
    found = Skeleton.of(html)
    assert _without_slips(found.tags) == _without_slips(expected.tags)
    assert found.inline == expected.inline
    assert visible(html) == html


def _without_slips(tags: list[tuple[str, tuple[str, ...]]]) -> list[tuple[str, tuple[str, ...]]]:
    """Without paragraphs: those that name violations of the form may come and go with the text."""
    return [tag for tag in tags if tag[0] != "p"]


# --- images


def test_picture_is_small_grey_and_keeps_no_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "patient name"
    Image.new("RGB", (900, 600), "grey").save(tmp_path / "a.jpg", exif=exif)
    found = picture(tmp_path, "a.jpg")
    assert (found.width, found.height, found.problem) == (224, 149, "")
    data = base64.b64decode(found.uri.removeprefix("data:image/jpeg;base64,"))
    assert data[:2] == b"\xff\xd8"
    assert b"patient" not in data


def test_sixteen_bits_do_not_come_out_black(tmp_path: Path) -> None:
    image = Image.new("I;16", (64, 64), 1000)
    image.paste(3000, (0, 0, 32, 64))
    image.save(tmp_path / "deep.png")
    uri = picture(tmp_path, "deep.png").uri.removeprefix("data:image/jpeg;base64,")
    (tmp_path / "small.jpg").write_bytes(base64.b64decode(uri))
    with Image.open(tmp_path / "small.jpg") as small:
        low, high = small.getextrema()
    assert (low, high) == (pytest.approx(0, abs=8), pytest.approx(255, abs=8))


def test_picture_paths_are_of_the_run_first_then_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    Image.new("L", (10, 10)).save(tmp_path / "run" / "a.png")
    assert picture(Path("run"), "a.png").width == 10
    assert picture(Path("run"), "run/a.png").width == 10
    assert picture(Path("run"), str(tmp_path / "run" / "a.png")).width == 10


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("gone.png", "no such image"),
        ("words.png", "neither PNG, JPEG nor DICOM"),
        ("cut.png", "cannot be decoded"),
        ("", "cannot be read"),
        ("nul\0.png", "null"),
        ("x" * 5000, "File name too long"),
    ],
)
def test_unreadable_picture_says_why(name: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "words.png").write_text("not an image")
    Image.new("L", (300, 300), 7).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    found = picture(tmp_path, name)
    assert not found.uri
    assert problem in found.problem


def test_missing_image_leaves_its_reason_on_the_page(tmp_path: Path) -> None:
    run = audit_run.write_run(tmp_path, studies=2, steps=3)
    (run / "images" / "drawn-001.png").unlink()
    page = write_audit(run).read_text("utf-8")
    assert page.count("<img ") == 1
    assert "drawn-001.png: no such image" in page


# --- long, empty and odd texts


def test_endless_completion_is_cut_and_the_page_says_so(tmp_path: Path) -> None:
    run = audit_run.write_run(tmp_path, studies=1, steps=3)
    endless = Prediction("drawn-001", "drawn-001", "x" * 99, "", "no " * 5000, "", ())
    write_jsonl(run / "predictions.jsonl", [endless])
    (run / "predictions-start.jsonl").unlink()
    page = write_audit(run).read_text("utf-8")
    assert page.count("no no no") < 2100
    assert "9,000 more characters in the run's files." in page
    assert "No image" in page


def test_completion_without_a_report_is_shown_raw(tmp_path: Path) -> None:
    run = audit_run.write_run(tmp_path, studies=1, steps=3)
    silent = Prediction("drawn-001", "drawn-001", "I would rather not.", "", "", "", ())
    write_jsonl(run / "predictions.jsonl", [silent])
    (run / "predictions-start.jsonl").unlink()
    page = write_audit(run).read_text("utf-8")
    assert "No report part. What the policy wrote:" in page
    assert "I would rather not." in page
    assert "Form: no report part" in page


# --- completions seen in training


def test_moments_are_the_ends_and_the_middle_with_best_and_worst() -> None:
    def sample(step: int, reward: float, text: str = "<report>x</report>") -> SampledCompletion:
        return SampledCompletion(step, "a", text, reward, {})

    kept = [sample(step, reward) for step in (9, 5, 1) for reward in (0.2, 0.9, 0.5)]
    found = moments([*kept, sample(20, 0.1, "y" * 2500)])
    assert [(moment.step, moment.kept) for moment in found] == [(1, 3), (9, 3), (20, 1)]
    assert [item.sample.reward for item in found[0].samples] == [0.9, 0.2]
    assert found[0].samples[0].violations == ("no think part",)
    assert (len(found[2].samples[0].shown), found[2].samples[0].left_out) == (2000, 500)
    assert moments([]) == ()


# --- the golden page


def normalised(html: str) -> str:
    """The page without what is ours (style, script) or a library's (JPEG bytes)."""
    html = re.sub(r"(?s)<(style|script)>.*?</\1>", r"<\1>...</\1>", html)
    html = re.sub(r"sha256-[\w+/=]+", "sha256-...", html)
    return re.sub(r"data:image/jpeg;base64,[\w+/=]+", "data:image/jpeg;base64,...", html)


def trimmed(folder: Path) -> Path:
    """A run of one study whose page is short: two variants of CE, two other scores, one finding."""
    run = audit_run.write_run(folder, studies=1, steps=3)
    kept = ("uncertain:positive|labels:13|avg:micro", "uncertain:positive|labels:5|avg:macro")

    def is_kept(score: Score) -> bool:
        return any(part in score.signature for part in kept)

    systems = tuple(
        dataclasses.replace(
            system,
            scores=tuple(
                score
                for score in system.scores
                if "uncertain:positive" in score.signature
                and any(k in score.signature for k in kept)
            )
            + system.scores[-1:],
            findings=tuple(f for f in system.findings if f.finding == "Cardiomegaly"),
        )
        for system in Evaluation.read(run / "evaluation.json").systems
    )
    Evaluation(systems).write(run / "evaluation.json")
    lines = [
        StepMetrics(line.stage, line.step, {key: line.values[key] for key in ("reward", "kl")})
        for line in load_run(run).metrics
        if line.stage == "srl"
    ]
    write_jsonl(run / "metrics.jsonl", lines)
    return run


def test_golden_page(tmp_path: Path) -> None:
    """Set MRG_R1_UPDATE_GOLDEN=1 to accept a change, and read the difference before committing."""
    html = normalised(write_audit(trimmed(tmp_path)).read_text("utf-8"))
    if os.environ.get("MRG_R1_UPDATE_GOLDEN"):
        GOLDEN.write_text(html, "utf-8")
    assert html == GOLDEN.read_text("utf-8")
