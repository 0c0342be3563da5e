"""Weights in 4 bits under an adapter: loaded, trained on, resumed, judged and exported."""

from __future__ import annotations

import importlib.util
import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from safetensors.torch import load_file
from torch import nn

from mrg_r1.config import Recipe
from mrg_r1.data.study import Sample
from mrg_r1.errors import MissingExtra
from mrg_r1.plan.job import job_of
from mrg_r1.plan.memory import Load, Weights, lines
from mrg_r1.plan.shape import shape_of
from mrg_r1.policy.load import Policy, load_policy
from mrg_r1.policy.lora import lora_config
from mrg_r1.policy.quiet import quiet
from mrg_r1.policy.settings import LoraSettings
from mrg_r1.policy.tiny import build_tiny
from mrg_r1.policy_export import export_policy
from mrg_r1.run import Run
from test_policy import logits
from tiny_runs import INSTRUCTION, TINY, in_process, tiny_recipe, train, train_killed

pytestmark = pytest.mark.slow

LORA = LoraSettings(rank=2, alpha=4, dropout=0.0)


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    pytest.importorskip("bitsandbytes", reason="pip install 'mrg-r1[qlora]'")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, drawn: list[Sample]) -> Path:
    """A model folder whose layers are whole blocks of 64 weights."""
    folder = tmp_path_factory.mktemp("models") / "base"
    wide = replace(TINY, text_width=64, vision_width=64, text_layers=2)
    policy = build_tiny([sample.reference for sample in drawn] + [INSTRUCTION], wide, seed=0)
    replace(policy, instruction=INSTRUCTION).save(folder)
    return folder


def in_four_bits(base: Path) -> Policy:
    return load_policy(base, dtype="float32", quantization="4bit", trainable=True)


def test_linear_layers_but_the_head_are_kept_in_as_many_bytes_as_planned(base: Path) -> None:
    model = in_four_bits(base).model
    kept = 0
    for weight in model.parameters():
        kept += weight.nbytes
        if state := getattr(weight, "quant_state", None):
            kept += state.absmax.nbytes + state.state2.absmax.nbytes
    assert weight_of(model, "lm_head").dtype == torch.float32
    assert weight_of(model, "q_proj").dtype == weight_of(model, "mlp.2").dtype == torch.uint8
    shape = shape_of(json.loads((base / "config.json").read_text()))
    weights = Weights(4, four_bit=True, lora=LORA)
    job, load = job_of({"bf16": False}, 1), Load(10, 4, 16)
    planned = lines(shape, weights, job, load, capacity=1e9, chexbert=False)[0]
    assert kept == pytest.approx(planned.size, rel=1e-3)


def weight_of(model: Any, name: str) -> Any:
    return next(module for path, module in model.named_modules() if path.endswith(name)).weight


def test_sampling_leaves_the_gradients_of_an_update_as_they_are(
    base: Path, drawn: list[Sample]
) -> None:
    untouched, sampled = gradients(base), gradients(base, drawn[0])
    assert untouched.keys() == sampled.keys()
    assert all(torch.equal(untouched[name], sampled[name]) for name in untouched)
    assert all(gradient.any() for gradient in untouched.values())


def gradients(base: Path, sample: Sample | None = None) -> dict[str, Any]:
    """Gradients of a new adapter, after a pass without gradients over a sample, if one is given."""
    policy = in_four_bits(base)
    torch.manual_seed(0)
    with quiet():
        model: Any = get_peft_model(policy.model, lora_config(policy.model, LORA))
    learning = {name: w for name, w in model.named_parameters() if w.requires_grad}
    for weight in learning.values():
        nn.init.normal_(weight, std=0.1)
    if sample:
        logits(replace(policy, model=model.eval()), sample)
    tokens = torch.arange(20, 30)[None]
    model.train()(input_ids=tokens, labels=tokens).loss.backward()
    return {name: weight.grad for name, weight in learning.items()}


def recipe_on(base: Path) -> Recipe:
    policy = {"path": str(base), "tiny": None, "warmup": None, "lora": LORA}
    recipe = tiny_recipe(**policy, quantization="4bit")
    return replace(recipe, sft={**recipe.sft, "max_steps": 2, "save_steps": 2})


@pytest.fixture(scope="module")
def finished(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("runs") / "run")
    assert in_process(train, recipe_on(base), run.root) == 0
    return run


def test_a_run_trains_and_keeps_an_adapter_on_4_bit_weights(finished: Run, drawn: Any) -> None:
    first, last = (
        load_file(f / "adapter_model.safetensors") for f in (finished.start, finished.policy)
    )
    assert all(not torch.equal(first[name], last[name]) for name in first)
    assert not (finished.policy / "model.safetensors").exists()
    assert load_policy(finished.root).four_bit
    assert not load_policy(finished.root, quantization="none").four_bit
    assert finished.audit.exists()


def test_a_killed_run_goes_on_to_the_same_adapter(
    finished: Run, base: Path, tmp_path: Path
) -> None:
    root, place = tmp_path / "run", "SRL has recorded a step beyond its checkpoint"
    assert in_process(train_killed, recipe_on(base), root, place) == -signal.SIGKILL
    assert in_process(train, recipe_on(base), root, True) == 0
    for name in ("policy/adapter_model.safetensors", "predictions.jsonl", "evaluation.json"):
        assert (root / name).read_bytes() == (finished.root / name).read_bytes()


def test_an_export_is_of_the_values_that_the_adapter_was_trained_on(
    finished: Run, base: Path, tmp_path: Path, drawn: list[Sample]
) -> None:
    out = tmp_path / "out"
    export_policy(finished.root, out)
    assert "quantization_config" not in json.loads((out / "config.json").read_text())
    exported, plain = (load_file(f / "model.safetensors") for f in (out, base))
    assert {k: (w.shape, w.dtype) for k, w in exported.items()} == {
        k: (w.shape, w.dtype) for k, w in plain.items()
    }
    assert not load_policy(out).four_bit
    theirs = logits(load_policy(finished.root, dtype="float32"), drawn[0])
    torch.testing.assert_close(logits(load_policy(out), drawn[0]), theirs, rtol=1e-3, atol=1e-4)
    whole = load_policy(finished.root, dtype="float32", quantization="none")
    assert (logits(whole, drawn[0]) - theirs).abs().max() > 0.01


def test_bitsandbytes_that_is_not_there_is_asked_for(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr(
        "mrg_r1.policy.four_bit.find_spec",
        lambda name: None if name == "bitsandbytes" else find(name),
    )
    with pytest.raises(MissingExtra, match=r"type: pip install 'mrg-r1\[qlora\]'$"):
        in_four_bits(base)
