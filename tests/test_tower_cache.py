"""A frozen tower encodes each image once, and its features are those it gives otherwise."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

import tiny_runs
from mrg_r1.errors import ConfigError
from mrg_r1.policy.load import Policy, base_of_adapter, load_policy
from mrg_r1.policy.quiet import quiet
from mrg_r1.policy.settings import LoraSettings
from mrg_r1.policy.tower_cache import Features, InMemory, OnDisk, remember_images, tower_digest
from mrg_r1.records import StepMetrics, read_jsonl
from mrg_r1.trainers.options import check_options
from mrg_r1.trainers.savings import Savings, savings
from mrg_r1.trainers.towers import remember_tower
from tiny_batches import batch_of, model_of
from tiny_runs import tiny_recipe

FAMILIES = ["qwen2-vl", "qwen2.5-vl", "qwen3-vl"]


def never() -> None:
    raise AssertionError("there was room")


def frozen(family: str) -> Any:
    model = model_of(family)
    model.model.visual.requires_grad_(False)
    return model


def seen_by(model: Any) -> list[int]:
    """Fills with the patches of each image or batch of images that the tower gets."""
    patches: list[int] = []
    model.model.visual.register_forward_pre_hook(lambda _, inputs: patches.append(len(inputs[0])))
    return patches


def inputs_of(family: str, groups: list[int]) -> dict[str, Any]:
    batch = batch_of(family, groups, [2] * len(groups))
    del batch["num_images"], batch["logits_to_keep"]
    return batch


def logits_and_gradient(model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    model.zero_grad()
    logits = model(**inputs).logits
    logits[:, -3:].sum().backward()
    return logits, model.model.get_input_embeddings().weight.grad


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("where", ["memory", "disk"])
def test_numbers_are_those_of_the_tower(family: str, where: str, tmp_path: Path) -> None:
    inputs = inputs_of(family, [0, 1, 2, 1])
    model = frozen(family)
    expected = logits_and_gradient(model, inputs)
    store = InMemory(1e9) if where == "memory" else OnDisk(tmp_path, 1e9, 1, never)
    remember_images(model, store)
    patches = seen_by(model)
    first = logits_and_gradient(model, inputs)
    assert patches == [16, 16, 24, 16, 16]  # two images, one, two; the last sample's is known
    again = logits_and_gradient(model, inputs)
    assert len(patches) == 5
    for ours, theirs in zip(first, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    if where == "disk":
        later = frozen(family)
        remember_images(later, OnDisk(tmp_path, 1e9, 1, never))
        patches = seen_by(later)
        assert torch.equal(later(**inputs).logits, first[0])
        assert patches == []


def test_features_do_not_depend_on_what_was_there_before() -> None:
    both, alone = frozen("qwen2.5-vl"), frozen("qwen2.5-vl")
    remember_images(both, InMemory(1e9))
    remember_images(alone, InMemory(1e9))
    one, two = inputs_of("qwen2.5-vl", [1]), inputs_of("qwen2.5-vl", [0, 1])
    alone(**one)
    assert torch.equal(both(**two).logits, alone(**two).logits)


def test_what_changes_a_key() -> None:
    tower = frozen("qwen2.5-vl").model.visual
    digest = tower_digest(tower)
    assert tower_digest(frozen("qwen2.5-vl").model.visual) == digest
    with torch.no_grad():
        next(tower.parameters()).view(-1)[0] += 1e-3
    assert tower_digest(tower) != digest
    tower = frozen("qwen2.5-vl").model.visual
    assert tower_digest(tower.to(torch.bfloat16)) != digest
    tower = frozen("qwen2.5-vl").model.visual
    tower.config.window_size = 28
    assert tower_digest(tower) != digest


def test_a_copied_policy_has_the_same_tower(policy: Policy, tmp_path: Path) -> None:
    digests = []
    for name in ("here", "there"):
        policy.save(tmp_path / name)
        digests.append(tower_digest(load_policy(tmp_path / name).model.model.visual))
    assert digests[0] == digests[1]


def test_a_changed_pixel_or_precision_is_another_image() -> None:
    model = frozen("qwen2.5-vl")
    remember_images(model, InMemory(1e9))
    patches = seen_by(model)
    inputs = inputs_of("qwen2.5-vl", [1])
    model(**inputs)
    model(**inputs)
    assert len(patches) == 1
    with torch.autocast("cpu", torch.bfloat16):
        model(**inputs)
    assert len(patches) == 2
    model.to(torch.bfloat16)
    model(**inputs)
    assert len(patches) == 3
    inputs["pixel_values"][-1, -1] += 1e-3
    model(**inputs)
    assert len(patches) == 4


def features(number: int) -> Features:
    return {"tokens": torch.full((10, 25), float(number))}  # 1,000 bytes


def test_memory_drops_what_was_not_asked_for_longest() -> None:
    store = InMemory(3000)
    for number in range(3):
        store.put(f"{number}", features(number))
    assert store.get("0") is not None
    store.put("3", features(3))
    assert [store.get(f"{number}") is None for number in range(4)] == [False, True, False, False]


def test_a_full_folder_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrg_r1.policy.tower_cache.RECENT", 0)
    told: list[str] = []
    store = OnDisk(tmp_path, 5000, 2, lambda: told.append("full"))
    for number in range(4):
        store.put(f"{number}", features(number))
    assert [store.get(f"{number}") is None for number in range(4)] == [False, False, True, True]
    assert told == ["full"]
    # What an earlier run left counts.
    later = OnDisk(tmp_path, 3000, 1, lambda: told.append("full"))
    later.put("4", features(4))
    assert told == ["full", "full"]


def test_a_damaged_file_is_written_again(tmp_path: Path) -> None:
    OnDisk(tmp_path, 1e6, 1, never).put("ab", features(1))
    [file] = tmp_path.glob("*/*.safetensors")
    file.write_bytes(file.read_bytes()[:40])
    store = OnDisk(tmp_path, 1e6, 1, never)
    assert store.get("ab") is None
    store.put("ab", features(1))
    found = OnDisk(tmp_path, 1e6, 1, never).get("ab")
    assert found is not None
    assert torch.equal(found["tokens"], features(1)["tokens"])


def fill(folder: Path) -> None:
    store = OnDisk(folder, 1e6, 2, never)
    for number in range(20):
        store.put(f"{number:02}", features(number))
        for earlier in range(number + 1):
            found = OnDisk(folder, 1e6, 2, never).get(f"{earlier:02}")
            assert found is not None
            assert found["tokens"][0, 0] == earlier


@pytest.mark.slow
def test_processes_share_a_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    both = [context.Process(target=fill, args=(tmp_path,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(timeout=240)
    assert [process.exitcode for process in both] == [0, 0]
    assert len([*tmp_path.glob("*/*")]) == 20  # and nothing temporary


def trainer_of(model: Any, fsdp: bool = False) -> Any:
    args = SimpleNamespace(n_gpu=0, fsdp=fsdp, deepspeed_plugin=None)
    return SimpleNamespace(model=model, args=args)


def adapted(where: str) -> Any:
    config = LoraConfig(r=2, target_modules=rf".*{where}.*(q_proj|qkv)")
    with quiet():
        return get_peft_model(model_of("qwen2.5-vl"), config)


CASES: dict[str, tuple[Callable[[], Any], dict[str, Any], bool]] = {
    "an adapter beside the tower": (lambda: adapted("language_model"), {}, True),
    "an adapter on the tower": (lambda: adapted("visual"), {}, False),
    "all weights": (lambda: model_of("qwen2.5-vl"), {}, False),
    "text": (lambda: model_of("llama"), {}, False),
    "sharded": (lambda: adapted("language_model"), {"fsdp": True}, False),
}


@pytest.mark.parametrize("case", CASES)
def test_only_a_frozen_tower_is_remembered(case: str) -> None:
    make, arguments, expected = CASES[case]
    trainer = trainer_of(make(), **arguments)
    remember_tower(trainer, Savings(), "srl")
    holder = base_of_adapter(trainer.model).model
    assert ("get_image_features" in vars(holder)) == expected


def test_nothing_is_remembered_where_the_recipe_says_off() -> None:
    trainer = trainer_of(adapted("language_model"))
    remember_tower(trainer, Savings(tower_cache="off"), "srl")
    assert "get_image_features" not in vars(base_of_adapter(trainer.model).model)


def test_a_full_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = trainer_of(adapted("language_model"))
    kept = Savings(tower_cache="disk", tower_cache_gb=1e-9, tower_cache_folder=str(tmp_path))
    remember_tower(trainer, kept, "sft")
    base_of_adapter(trainer.model)(**inputs_of("qwen2.5-vl", [0, 1]))
    assert capsys.readouterr().err.count("raise sft.tower_cache_gb, or empty the folder") == 1


WRONG = [
    ({"share_prompts": "yes"}, "srl.share_prompts: 'yes' is not 'auto', true or false"),
    ({"tower_cache": True}, "srl.tower_cache: True is not 'memory', 'disk' or 'off'"),
    ({"tower_cache_gb": 0}, "srl.tower_cache_gb: 0 is not a number above 0"),
    ({"tower_cache_gb": True}, "srl.tower_cache_gb: True is not a number above 0"),
    ({"tower_cache_folder": 1}, "srl.tower_cache_folder: 1 is not the path of a folder"),
    ({"tower_cache": "disk"}, r"srl.tower_cache_folder: which\? add --set srl.tower_cache_folder="),
    ({"tower_cach": "disk"}, r"no such option \(did you mean 'tower_cache'\?\)"),
]


@pytest.mark.parametrize(("table", "message"), WRONG)
def test_a_wrong_key_is_named(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_options("srl", table)


def test_an_option_of_srl_is_none_of_sft() -> None:
    with pytest.raises(ConfigError, match=r"sft.share_prompts: SFTConfig has no such option"):
        check_options("sft", {"share_prompts": True})
    kept = savings("sft", {"tower_cache_gb": 3, "max_steps": 4})
    assert kept == Savings(tower_cache_gb=3)


@pytest.mark.slow
def test_training_is_that_without_a_cache(tmp_path: Path) -> None:
    lora = LoraSettings(rank=2, alpha=4, dropout=0.0)
    recipe = tiny_recipe(lora=lora)
    folder = {"tower_cache": "disk", "tower_cache_folder": str(tmp_path / "tower")}
    kept: dict[str, dict[str, Any]] = {
        "off": {"tower_cache": "off"},
        "memory": {},
        "disk": folder,
        "disk again": folder,
    }
    metrics = {}
    for name, keys in kept.items():
        sft, srl = {**(recipe.sft or {}), **keys}, {**recipe.srl, **keys, "learning_rate": 1e-2}
        tiny_runs.train(replace(recipe, sft=sft, srl=srl), tmp_path / name)
        lines = read_jsonl(tmp_path / name / "metrics.jsonl", StepMetrics)
        metrics[name] = [(line.stage, line.step, line.values) for line in lines]
    assert metrics["memory"] == metrics["disk"] == metrics["disk again"]
    for (*step, ours), (*same, theirs) in zip(metrics["memory"], metrics["off"], strict=True):
        assert step == same
        assert ours == pytest.approx(theirs, rel=2e-3, abs=2e-5)
