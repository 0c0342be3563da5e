"""Policies: tiny ones, adapters, what a damaged folder says, and how they write."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import PeftModel, get_peft_model
from PIL import Image

from mrg_r1.data.images import read_image
from mrg_r1.data.study import Sample
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.policy.load import Policy, load_policy
from mrg_r1.policy.lora import lora_config
from mrg_r1.policy.quiet import quiet
from mrg_r1.policy.settings import Decoding, LoraSettings
from mrg_r1.policy.writing import complete
from mrg_r1.records import read_json, write_json
from tiny_runs import INSTRUCTION, TINY, tiny_policy

GREEDY = Decoding(max_new_tokens=12, batch_size=4)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, drawn: list[Sample]) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "policy"
    replace(tiny_policy(drawn), instruction=INSTRUCTION).save(folder)
    return folder


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    """A saved policy that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "copied"))


def pictures(samples: list[Sample]) -> list[list[Image.Image]]:
    return [[read_image(path) for path in sample.images] for sample in samples]


def logits(policy: Policy, sample: Sample) -> Any:
    text = policy.processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}],
        tokenize=False,
    )
    images = [Image.open(path).convert("RGB") for path in sample.images]
    inputs = policy.processor(images=images, text=[text], return_tensors="pt")
    with torch.inference_mode():
        return policy.model(**inputs).logits


def test_a_saved_policy_is_the_same_policy(saved: Path, drawn: list[Sample]) -> None:
    loaded = load_policy(saved)
    assert torch.equal(logits(loaded, drawn[0]), logits(tiny_policy(drawn), drawn[0]))
    assert loaded.instruction == INSTRUCTION
    assert not loaded.adapted
    assert load_policy(saved, instruction="Other.").instruction == "Other."


def test_the_resolution_is_saved_with_the_policy(saved: Path, drawn: list[Sample]) -> None:
    processor = load_policy(saved).processor
    for side in (40, 400):
        inputs = processor.image_processor([Image.new("RGB", (side, side))], return_tensors="pt")
        assert inputs["image_grid_thw"].tolist() == [[1, 4, 4]]  # 56 / 14 patches a side


def test_a_run_folder_stands_for_its_policy(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "policy")
    assert load_policy(tmp_path).instruction == INSTRUCTION


def test_a_folder_without_our_file_gets_the_default_instruction(copied: Path) -> None:
    (copied / "mrg_r1.json").unlink()
    assert "<report></report>" in load_policy(copied).instruction


def test_the_weights_of_a_half_saved_policy_are_not_taken(copied: Path, tmp_path: Path) -> None:
    loaded = load_policy(copied)
    (tmp_path / ".again.tmp").mkdir()
    (tmp_path / ".again.tmp" / "junk").touch()
    loaded.save(tmp_path / "again")
    assert not (tmp_path / ".again.tmp").exists()
    assert {path.name for path in (tmp_path / "again").iterdir()} == {
        path.name for path in copied.iterdir()
    }


def test_a_policy_is_saved_whole_or_not_at_all(policy: Policy, tmp_path: Path) -> None:
    class Full:
        def save_pretrained(self, folder: Path) -> None:
            (folder / "half").touch()
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        replace(policy, processor=Full()).save(tmp_path / "policy")
    assert list(tmp_path.iterdir()) == []


def adapted(policy: Policy, **settings: Any) -> Policy:
    """The policy with an adapter that changes what it says."""
    with quiet():
        model = get_peft_model(policy.model, lora_config(policy.model, LoraSettings(**settings)))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    model.eval()
    return replace(policy, model=model)


def test_an_adapter_is_the_same_adapter(saved: Path, drawn: list[Sample], tmp_path: Path) -> None:
    before = adapted(load_policy(saved), rank=2, alpha=4)
    before.save(tmp_path / "adapter")
    names = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert "adapter_model.safetensors" in names
    assert "model.safetensors" not in names
    after = load_policy(tmp_path / "adapter")
    assert after.adapted
    assert torch.equal(logits(after, drawn[0]), logits(before, drawn[0]))
    assert not torch.allclose(logits(after, drawn[0]), logits(load_policy(saved), drawn[0]))
    assert not any(parameter.requires_grad for parameter in after.model.parameters())
    trained = load_policy(tmp_path / "adapter", trainable=True)
    named = dict(trained.model.named_parameters())
    assert {name for name in named if named[name].requires_grad} == {
        name for name in named if "lora_" in name
    }


def test_an_adapter_finds_its_base_from_any_directory(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(saved.parent)
    adapted(load_policy(Path("policy")), rank=2, alpha=4).save(tmp_path / "adapter")
    monkeypatch.chdir(tmp_path)
    assert load_policy(Path("adapter")).adapted


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def with_cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def with_fewer_weights(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.0.mlp.up_proj.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def with_other_shapes(folder: Path) -> None:
    config = read_json(folder / "config.json")
    config["text_config"]["intermediate_size"] = 7
    write_json(folder / "config.json", config)


def without_processor(folder: Path) -> None:
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def with_broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def with_unknown_model(folder: Path) -> None:
    write_json(folder / "config.json", {"model_type": "no_such_model"})


def with_text_model(folder: Path) -> None:
    write_json(folder / "config.json", {"model_type": "gpt2"})


def with_own_code(folder: Path) -> None:
    classes = {"AutoConfig": "own.Config", "AutoModelForImageTextToText": "own.Model"}
    write_json(folder / "config.json", {"model_type": "own", "auto_map": classes})
    (folder / "own.py").write_text("raise SystemExit('code of the folder was run')")


class Exploit:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("exploited"),))


def with_pickled_code(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"x": Exploit()}, folder / "pytorch_model.bin")


def with_broken_own_file(folder: Path) -> None:
    (folder / "mrg_r1.json").write_text("{}")


DAMAGES = [
    without_weights,
    with_cut_weights,
    with_fewer_weights,
    with_other_shapes,
    without_processor,
    with_broken_config,
    with_unknown_model,
    with_text_model,
    with_own_code,
    with_pickled_code,
    with_broken_own_file,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_policy_is_named(
    copied: Path, damage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copied.parent)
    damage(copied)
    with pytest.raises(DataError) as raised:
        load_policy(copied)
    assert str(raised.value).startswith(f"{copied}: ")
    assert len(str(raised.value).splitlines()) == 1
    assert not Path("exploited").exists()


def test_folders_without_a_model_say_what_is_looked_for(tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    file.touch()
    for path in (file, tmp_path, tmp_path / "nothing"):
        with pytest.raises(DataError, match=r"no policy here \(config.json or adapter_config"):
            load_policy(path)


def test_an_unfinished_run_says_how_to_finish_it(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").touch()
    with pytest.raises(DataError, match=r"no policy yet; .*mrg-r1 train .* --resume"):
        load_policy(tmp_path)


@pytest.mark.parametrize("base", ["elsewhere", "", None])
def test_an_adapter_without_its_base_names_it(saved: Path, tmp_path: Path, base: Any) -> None:
    folder = tmp_path / "adapter"
    adapted(load_policy(saved), rank=2, alpha=4).save(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    write_json(folder / "adapter_config.json", {**config, "base_model_name_or_path": base})
    with pytest.raises(DataError, match=f"{folder}: "):
        load_policy(folder)


def test_an_adapter_with_fewer_weights_is_refused(saved: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "adapter"
    adapted(load_policy(saved), rank=2, alpha=4).save(folder)
    weights = load_file(folder / "adapter_model.safetensors")
    weights.pop(next(iter(weights)))
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match="Found missing adapter keys"):
        load_policy(folder)


_TEXT = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
_VISION = {"depth": 1, "hidden_size": 32, "num_heads": 2, "intermediate_size": 32}
FAMILIES = {
    "Qwen2VL": {"depth": 1, "hidden_size": 32, "num_heads": 2, "embed_dim": 32},
    "Qwen2_5_VL": {**_VISION, "out_hidden_size": 32},
    "Qwen3VL": {**_VISION, "out_hidden_size": 32, "deepstack_visual_indexes": [0]},
}


def family(name: str) -> Any:
    config = getattr(transformers, f"{name}Config")(
        text_config=_TEXT, vision_config=FAMILIES[name], tie_word_embeddings=False
    )
    return getattr(transformers, f"{name}ForConditionalGeneration")(config)


def adapted_layers(model: Any, settings: LoraSettings) -> set[str]:
    with quiet():
        peft: PeftModel = get_peft_model(model, lora_config(model, settings))
    return {
        name.removeprefix("base_model.model.")
        for name, module in peft.named_modules()
        if hasattr(module, "lora_A")
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_all_projections_of_the_language_model_are_adapted(name: str) -> None:
    assert adapted_layers(family(name), LoraSettings(rank=2, alpha=4)) == {
        f"model.language_model.layers.{layer}.{part}"
        for layer in (0, 1)
        for part in (
            *("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"),
            *("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
        )
    }


def test_the_image_tower_is_adapted_on_demand() -> None:
    layers = adapted_layers(family("Qwen2_5_VL"), LoraSettings(rank=2, alpha=4, vision=True))
    assert {layer for layer in layers if "visual" in layer} == {
        f"model.visual.blocks.0.mlp.{part}" for part in ("gate_proj", "up_proj", "down_proj")
    }


def test_a_target_that_is_no_layer_is_refused() -> None:
    settings = LoraSettings(targets=("q_proj", "qkv"))
    with pytest.raises(ConfigError, match=r"no layer 'qkv' to adapt; this model has .*q_proj"):
        lora_config(family("Qwen2_5_VL"), settings)
    assert lora_config(family("Qwen2_5_VL"), replace(settings, vision=True))


def test_the_saved_instruction_and_resolution_reach_the_model(
    saved: Path, drawn: list[Sample]
) -> None:
    policy, asked = load_policy(saved), []
    policy.model.register_forward_pre_hook(
        lambda module, args, inputs: asked.append(inputs["input_ids"]), with_kwargs=True
    )
    complete(policy, pictures(drawn[:1]), replace(GREEDY, max_new_tokens=1))
    prompt = policy.processor.tokenizer.decode(asked[0][0])
    assert prompt.count("<|image_pad|>") == 2 * 2  # 4 x 4 patches, merged by twos
    assert f"<|vision_end|>{INSTRUCTION}<|im_end|>" in prompt
    assert prompt.endswith("<|im_start|>assistant\n")


def test_the_same_seed_builds_the_same_policy(drawn: list[Sample]) -> None:
    one, other = tiny_policy(drawn), tiny_policy(drawn)
    for ours, theirs in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert one.processor.tokenizer.get_vocab() == other.processor.tokenizer.get_vocab()
    assert len(one.processor.tokenizer) <= TINY.vocabulary
