"""What has ended is computed no more, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mrg_r1.policy.decoding import only_unfinished
from mrg_r1.trainers.prompting import prompts_once
from tiny_batches import CONFIGS, batch_of, model_of

ENDS = list(range(5, 15))
"""A quarter of the vocabulary: of six completions some end at once and some late."""


def generation(family: str, sample: bool) -> tuple[Any, dict[str, Any], list[int] | None]:
    batch = batch_of(family, [1, 1, 0, 0, 2, 2], [0] * 6)
    del batch["logits_to_keep"]
    counts = batch.pop("num_images", None)
    options = {"max_new_tokens": 16, "do_sample": sample, "pad_token_id": 0, "eos_token_id": ENDS}
    return model_of(family), {**batch, **options}, counts


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("sample", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_tokens_are_those_of_the_whole_batch(family: str, sample: bool, shared: bool) -> None:
    model, inputs, counts = generation(family, sample)
    torch.manual_seed(3)
    expected = model.generate(**inputs)
    torch.manual_seed(3)
    with only_unfinished(model, ENDS), prompts_once(model, 2 if shared else 1, counts):
        given = model.generate(**inputs)
    assert given.tolist() == expected.tolist()


def test_rows_are_left_out_once_they_end() -> None:
    model, inputs, _ = generation("qwen2.5-vl", sample=True)
    rows: list[int] = []
    model.lm_head.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    torch.manual_seed(3)
    with only_unfinished(model, ENDS):
        tokens = model.generate(**inputs)[:, inputs["input_ids"].shape[1] :]
    going_on = [
        int((~torch.isin(tokens[:, :n], torch.tensor(ENDS))).all(1).sum())
        for n in range(tokens.shape[1])
    ]
    assert rows == going_on
    assert rows[-1] < 3 < rows[0]


def test_a_prompt_that_ends_with_an_end_token_goes_on() -> None:
    model, inputs, _ = generation("llama", sample=False)
    inputs["input_ids"][:, -1] = ENDS[0]
    expected = model.generate(**inputs)
    with only_unfinished(model, ENDS):
        assert model.generate(**inputs).tolist() == expected.tolist()


def test_a_cache_of_another_kind_is_left_alone() -> None:
    model, inputs, _ = generation("llama", sample=False)
    rows: list[int] = []
    model.lm_head.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    with only_unfinished(model, ENDS):
        model.generate(**inputs, cache_implementation="static", disable_compile=True)
    assert set(rows) == {6}


def test_the_model_is_as_it_was_afterwards() -> None:
    model, inputs, _ = generation("llama", sample=False)
    forward, generate = model.forward, model.generate
    with only_unfinished(model, ENDS):
        model.generate(**inputs)
    assert (model.forward, model.generate) == (forward, generate)
