"""Reports by any local vision-language model: each architecture, tiny, under one prompt."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from mrg_r1.errors import DataError
from mrg_r1.policy.control_tokens import spelled
from mrg_r1.policy.load import Policy, load_policy
from mrg_r1.policy.lora import lora_config
from mrg_r1.policy.settings import Decoding, LoraSettings
from mrg_r1.policy.writing import complete, encode
from mrg_r1.records import read_json, write_json
from tiny_families import FAMILIES, save
from tiny_runs import in_favour_of

GREEDY = Decoding(max_new_tokens=6)
INSTRUCTION = "Report this X-ray."

pytestmark = [
    pytest.mark.slow,
    # PaliGemma's processor hands tensors to numpy 2 the old way (transformers 5.23).
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]


def picture(size: tuple[int, int], shade: int) -> Image.Image:
    image = Image.new("RGB", size, (shade, shade, shade))
    image.paste((255, 255, 255), (size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2))
    return image


TALL, WIDE = picture((60, 100), 20), picture((120, 64), 150)
BATCH = [[TALL], [WIDE]]


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(request.param, tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture(scope="module")
def policy(folder: Path) -> Policy:
    return load_policy(folder, instruction=INSTRUCTION)


def logits(policy: Policy, *images: Image.Image) -> torch.Tensor:
    inputs = encode(policy, [images])
    with torch.inference_mode():
        return policy.model(**inputs).logits[:, -1]


def test_reports_do_not_depend_on_the_batch(policy: Policy) -> None:
    together = complete(policy, BATCH, GREEDY)
    assert together == [complete(policy, [images], GREEDY)[0] for images in BATCH]


def test_the_image_reaches_the_model(policy: Policy) -> None:
    assert not torch.allclose(logits(policy, TALL), logits(policy, picture(TALL.size, 200)))


def test_the_prompt_is_the_families_own(policy: Policy) -> None:
    tokenizer, config = policy.processor.tokenizer, policy.model.config
    inputs = encode(policy, BATCH)
    for ids, kept in zip(inputs["input_ids"], inputs["attention_mask"], strict=True):
        prompt = ids[kept.bool()].tolist()
        assert prompt.count(config.image_token_id) > 0
        assert tokenizer.decode(prompt, skip_special_tokens=True).count(INSTRUCTION) == 1
        if tokenizer.bos_token_id is not None:
            assert prompt.count(tokenizer.bos_token_id) == 1
    assert inputs["attention_mask"][:, -1].all()  # padded on the left


def test_the_turn_of_the_assistant_is_open(policy: Policy) -> None:
    if policy.processor.chat_template is None:
        pytest.skip("this family has no chat")
    ids = encode(policy, BATCH)["input_ids"][0]
    text = policy.processor.tokenizer.decode(ids)
    last = text[text.index(INSTRUCTION) + len(INSTRUCTION) :]
    assert any(word in last for word in ("ASSISTANT:", "[/INST]", "assistant\n", "model\n", "Assi"))


def test_placeholders_of_images_are_never_written(policy: Policy) -> None:
    placeholder = policy.model.config.image_token_id
    assert placeholder in policy.forbidden_tokens()
    token = policy.processor.tokenizer.convert_ids_to_tokens(placeholder)
    assert spelled(policy, f"Cough. {token}") == token
    allowed = policy.processor.tokenizer.convert_tokens_to_ids("a")
    with in_favour_of(policy, [*policy.forbidden_tokens(), allowed]):
        assert complete(policy, BATCH, GREEDY) == ["aaaaaa"] * 2


def test_a_report_ends(policy: Policy) -> None:
    for end in policy.end_tokens():
        with in_favour_of(policy, [end]):
            assert complete(policy, BATCH, GREEDY) == ["", ""]


def test_several_views_of_a_study(policy: Policy) -> None:
    (both,) = complete(policy, [[TALL, WIDE]], GREEDY)
    assert isinstance(both, str)
    changed = logits(policy, TALL, picture(WIDE.size, 0))
    assert not torch.allclose(logits(policy, TALL, WIDE), changed)


def test_a_policy_is_saved_with_what_it_needs(policy: Policy, tmp_path: Path) -> None:
    policy.save(tmp_path / "again")
    again = load_policy(tmp_path / "again")
    assert complete(again, BATCH, GREEDY) == complete(policy, BATCH, GREEDY)


def test_a_chat_model_without_its_template_is_not_asked_in_another_layout(
    tmp_path: Path,
) -> None:
    folder = save("llava", tmp_path / "llava")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(DataError, match=r"no chat template.* put its chat_template\.jinja"):
        complete(load_policy(folder), BATCH, GREEDY)


def test_an_early_conversion_of_llava_is_completed(tmp_path: Path) -> None:
    """As HuatuoGPT-Vision-7B-hf, whose processor does not know the size of a patch."""
    folder = save("llava", tmp_path / "llava")
    expected = complete(load_policy(folder), BATCH, GREEDY)
    config = read_json(folder / "processor_config.json")
    config |= {"patch_size": None, "vision_feature_select_strategy": None}
    del config["num_additional_image_tokens"]
    write_json(folder / "processor_config.json", config)
    assert complete(load_policy(folder), BATCH, GREEDY) == expected


def test_only_the_language_model_is_adapted(policy: Policy) -> None:
    pattern: Any = lora_config(policy.model, LoraSettings(rank=2, alpha=4)).target_modules
    names = [name for name, _ in policy.model.named_modules() if re.fullmatch(pattern, name)]
    layers = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert {name.rpartition(".")[2] for name in names} == layers
    assert len(names) == 2 * len(layers)  # two layers
