"""A run whose prompts give context and several images: all that ask, ask in the same words."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from transformers import Qwen2_5_VLForConditionalGeneration as QwenVL
from transformers import Qwen2_5_VLModel as QwenModel

from commands import Run as Type
from mrg_r1 import train as verb
from mrg_r1.config import DataRecipe
from mrg_r1.data import phantom
from mrg_r1.data.context import KINDS, WORDS, prompt_of, words_of
from mrg_r1.data.images import read_image
from mrg_r1.data.samples import samples
from mrg_r1.data.study import Sample, Study
from mrg_r1.data.table import Columns, load
from mrg_r1.policy.answering import answer
from mrg_r1.policy.asks import Ask
from mrg_r1.policy.load import load_policy, trained_context
from mrg_r1.policy.writing import encode
from mrg_r1.records import Prediction, read_json, read_jsonl
from mrg_r1.run import Run
from tiny_runs import INSTRUCTION, SIZE, tiny_recipe

pytestmark = pytest.mark.slow

COLUMNS = Columns(report="text")


class Trained(NamedTuple):
    run: Run
    samples: dict[str, list[Sample]]
    rows: list[str]
    prompts: list[str]


def write_table(folder: Path) -> Path:
    """Drawn studies, most of them with the one before it in the table as their previous one."""
    path = folder / "table.jsonl"
    studies = phantom.draw(folder / "drawn", train=16, val=0, test=6, size=SIZE).studies
    with open(path, "w") as file:
        for number, study in enumerate(studies):
            before = studies[number - 1] if number % 3 else None
            file.write(json.dumps(row(study, before, folder)) + "\n")
    return path


def row(study: Study, before: Study | None, folder: Path) -> dict[str, Any]:
    def names(of: Study | None) -> list[str]:
        return [str(view.path.relative_to(folder)) for view in of.views] if of else []

    return {
        "id": study.id,
        "split": study.split,
        "image": names(study),
        "text": study.findings,
        "indication": study.indication if int(study.id[-1]) % 2 else "___",
        "prior_report": before.findings if before else "",
        "prior_image": names(before),
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run in this process, with what its models were given: rows of tokens, and prompts."""
    folder = tmp_path_factory.mktemp("context")
    table = write_table(folder)
    data = DataRecipe(source="table", root=str(table), views="all", context=KINDS, columns=COLUMNS)
    recipe = replace(tiny_recipe(), data=data)
    seen: dict[str, list[list[int]]] = {"forward": [], "generate": []}

    def recorded(name: str, call: Any) -> Any:
        @wraps(call)
        def wrapper(model: Any, *args: Any, **kwargs: Any) -> Any:
            ids, mask = kwargs.get("input_ids"), kwargs.get("attention_mask")
            # Steps of a generation give one token each, and groups have masks of their own.
            if mask is not None and ids is not None and ids.shape == mask.shape:
                seen[name] += [
                    row[kept.bool()].tolist() for row, kept in zip(ids, mask, strict=True)
                ]
            return call(model, *args, **kwargs)

        return wrapper

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QwenModel, "forward", recorded("forward", QwenModel.forward))
        patch.setattr(QwenVL, "generate", recorded("generate", QwenVL.generate))
        verb.train(recipe, folder / "run")
    run = Run(folder / "run")
    decode = load_policy(run.root).processor.tokenizer.decode
    studies = load(table, columns=COLUMNS)
    found = {
        split: samples(studies.of_split(split), views="all", context=KINDS)[0]
        for split in ("train", "test")
    }
    texts = {name: list(dict.fromkeys(map(decode, rows))) for name, rows in seen.items()}
    return Trained(run, found, texts["forward"], texts["generate"])


def asked(trained: Trained, split: str) -> dict[str, str]:
    """What the tokenizer makes of each sample's prompt, images and chat turns included."""
    policy = load_policy(trained.run.root)
    return {
        sample.id: policy.processor.tokenizer.decode(
            encode(
                policy,
                [list(map(read_image, sample.images))],
                [prompt_of(INSTRUCTION, WORDS, sample.context)],
            )["input_ids"][0]
        )
        for sample in trained.samples[split]
    }


def test_every_stage_asks_in_the_same_words(trained: Trained) -> None:
    train, test = asked(trained, "train"), asked(trained, "test")
    sampled = set(trained.prompts)
    assert set(test.values()) < sampled <= {*train.values(), *test.values()}
    imitated = [row for row in trained.rows if "<think>" in row]
    assert imitated
    assert {row.partition("<think>")[0] for row in imitated} <= set(train.values())
    for sample in trained.samples["train"]:
        prompt = train[sample.id]
        assert prompt.count("<|vision_start|>") == len(sample.images)
        for text in ("Indication: ", "Report of the previous study: ", "Images of the previous"):
            kind = next(kind for kind, words in WORDS.items() if words.startswith(text))
            assert (text in prompt) == (kind in sample.context)
    assert {len(sample.images) for sample in trained.samples["train"]} == {2, 4}


def test_the_words_are_saved_and_predictions_show_what_was_given(trained: Trained) -> None:
    for folder in (trained.run.base, trained.run.start, trained.run.policy):
        assert read_json(folder / "mrg_r1.json") == {
            "instruction": INSTRUCTION,
            "context": words_of(KINDS),
        }
    assert trained_context(trained.run.root) == KINDS
    predictions = read_jsonl(trained.run.predictions, Prediction)
    expected = {sample.id: sample.context for sample in trained.samples["test"]}
    assert {p.id: p.context for p in predictions} == expected
    assert any(expected.values())


def test_generate_and_serve_write_what_the_run_wrote(
    trained: Trained, run: Type, tmp_path: Path
) -> None:
    predictions = {p.id: p for p in read_jsonl(trained.run.predictions, Prediction)}
    out = tmp_path / "again.jsonl"
    done = run("generate", trained.run.root, "-o", out)
    assert done.code == 0, done.err
    assert "of 6 samples without prior-report" in done.err
    again = {p.id: p for p in read_jsonl(out, Prediction)}
    policy = load_policy(trained.run.root)
    for sample in trained.samples["test"]:
        images = tuple(map(read_image, sample.images))
        (served,) = answer(policy, [Ask(images, 24, context=sample.context)])
        texts = {predictions[sample.id].completion, again[sample.id].completion}
        assert texts == {served.completion}
        assert again[sample.id].context == sample.context


def test_a_changed_word_of_the_saved_policy_is_asked(trained: Trained, tmp_path: Path) -> None:
    policy = load_policy(trained.run.root, words={"indication": "Why: {}"})
    policy.save(tmp_path / "other")
    loaded = load_policy(tmp_path / "other")
    assert loaded.words == {"indication": "Why: {}"}
    assert prompt_of(loaded.instruction, loaded.words, {"indication": "Cough."}) == (
        f"{INSTRUCTION}\nWhy: Cough."
    )
