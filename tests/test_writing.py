"""How policies write: greedy and sampled, alone and in batches."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from mrg_r1.data.images import read_image
from mrg_r1.data.study import Sample
from mrg_r1.errors import DataError
from mrg_r1.policy.load import Policy
from mrg_r1.policy.settings import Decoding
from mrg_r1.policy.writing import complete, draw_seed, write_drafts, write_reports
from tiny_runs import in_favour_of

GREEDY = Decoding(max_new_tokens=12, batch_size=4)


def pictures(samples: list[Sample]) -> list[list[Image.Image]]:
    return [[read_image(path) for path in sample.images] for sample in samples]


def ids(policy: Policy, *tokens: str) -> list[int]:
    return policy.processor.tokenizer.convert_tokens_to_ids(list(tokens))


def test_control_tokens_are_forbidden_but_for_the_end(policy: Policy) -> None:
    control = ("<|endoftext|>", "<|im_start|>", "<|vision_start|>", "<|vision_end|>")
    assert policy.forbidden_tokens() == sorted(
        ids(policy, *control, "<|image_pad|>", "<|video_pad|>")
    )
    assert policy.end_tokens() == ids(policy, "<|im_end|>")
    policy.model.generation_config.eos_token_id = ids(policy, "<|im_end|>", "<|endoftext|>")
    assert set(policy.forbidden_tokens()).isdisjoint(policy.end_tokens())


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_control_tokens_are_never_written(
    policy: Policy, drawn: list[Sample], temperature: float
) -> None:
    decoding = replace(GREEDY, temperature=temperature)
    allowed = policy.processor.tokenizer.convert_tokens_to_ids("a")
    with in_favour_of(policy, [*policy.forbidden_tokens(), allowed]):
        written = complete(policy, pictures(drawn), decoding, range(len(drawn)))
        assert written == ["a" * 12] * len(drawn)


def test_tags_are_written_and_the_end_is_not(policy: Policy, drawn: list[Sample]) -> None:
    with in_favour_of(policy, ids(policy, "<think>")):
        assert complete(policy, pictures(drawn[:1]), GREEDY) == ["<think>" * 12]
    with in_favour_of(policy, ids(policy, "<|im_end|>")):
        assert complete(policy, pictures(drawn[:1]), GREEDY) == [""]


def test_greedy_reports_do_not_depend_on_the_batch(policy: Policy, drawn: list[Sample]) -> None:
    for parameter in policy.model.parameters():
        parameter.data *= 4  # far from ties, which rounding would break
    together = [p.completion for p in write_reports(policy, drawn, GREEDY)]
    alone = [p.completion for p in write_reports(policy, drawn, replace(GREEDY, batch_size=1))]
    assert together == alone
    assert len(set(together)) > 1, "the images make no difference, so this shows nothing"


def test_padding_does_not_change_a_report(policy: Policy, drawn: list[Sample]) -> None:
    both = replace(drawn[1], id="both", images=drawn[1].images + drawn[2].images)
    for parameter in policy.model.parameters():
        parameter.data *= 4
    assert complete(policy, pictures([drawn[0], both]), GREEDY) == [
        *complete(policy, pictures([drawn[0]]), GREEDY),
        *complete(policy, pictures([both]), GREEDY),
    ]


def test_sampling_is_seeded(policy: Policy, drawn: list[Sample]) -> None:
    sampled = replace(GREEDY, temperature=1.0)

    def written(decoding: Decoding) -> list[str]:
        return [p.completion for p in write_reports(policy, drawn, decoding)]

    assert written(sampled) == written(sampled)
    assert written(sampled) != written(replace(sampled, seed=1))
    assert len(set(written(sampled))) == len(drawn)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_samples_depend_on_what_they_are_about_and_not_on_the_batch(
    policy: Policy, drawn: list[Sample], batch_size: int
) -> None:
    for parameter in policy.model.parameters():
        parameter.data *= 4  # far from ties, which rounding would break
    sampled = replace(GREEDY, temperature=1.0, top_p=0.9)

    def drafts(samples: list[Sample], decoding: Decoding) -> dict[str, list[str]]:
        written = write_drafts(policy, samples, decoding, drafts=3)
        return {sample.id: completions for sample, completions in written}

    expected = drafts(drawn, sampled)
    assert drafts(drawn[::-1], replace(sampled, batch_size=batch_size)) == expected
    assert len({text for texts in expected.values() for text in texts}) == 3 * len(drawn)


def test_draws_follow_the_scores(policy: Policy, drawn: list[Sample]) -> None:
    first, second = ids(policy, "a", "b")
    one = replace(GREEDY, temperature=2.0, max_new_tokens=1)
    images = pictures(drawn[:1]) * 400

    def favour(module: Any, inputs: Any, scores: Any) -> Any:
        scores = torch.full_like(scores, -100)
        scores[..., first], scores[..., second] = 2 * math.log(3), 0  # 3 to 1 at temperature 2
        return scores

    policy.model.get_output_embeddings().register_forward_hook(favour)
    written = complete(policy, images, one, range(400))
    assert set(written) == {"a", "b"}
    assert abs(written.count("a") / 400 - 0.75) < 0.08  # 3.7 standard errors
    nucleus = replace(one, top_p=0.7)
    assert set(complete(policy, images, nucleus, range(400))) == {"a"}


def test_an_image_that_cannot_be_read_is_told_or_raised(
    policy: Policy, drawn: list[Sample], tmp_path: Path
) -> None:
    missing = replace(drawn[1], images=(tmp_path / "x.png",))
    told: list[tuple[Sample, str]] = []
    written = write_drafts(
        policy,
        [drawn[0], missing, drawn[2]],
        GREEDY,
        on_bad=lambda sample, error: told.append((sample, str(error))),
    )
    assert [sample for sample, _ in written] == [drawn[0], drawn[2]]
    assert told == [(missing, f"{tmp_path / 'x.png'}: no such image")]
    with pytest.raises(DataError, match="no such image"):
        list(write_drafts(policy, [missing], GREEDY))


def test_seeds_differ_by_seed_sample_and_draft() -> None:
    seeds = {draw_seed(s, key, d) for s in (0, 1) for key in ("a", "b") for d in (0, 1)}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_model_that_ships_a_penalty_is_greedy_all_the_same(
    policy: Policy, drawn: list[Sample]
) -> None:
    plain = complete(policy, pictures(drawn), GREEDY)
    shipped = policy.model.generation_config
    shipped.update(repetition_penalty=5.0, do_sample=True, temperature=0.5, top_k=3, top_p=0.3)
    assert complete(policy, pictures(drawn), GREEDY) == plain


def test_predictions_carry_what_was_parsed(policy: Policy, drawn: list[Sample]) -> None:
    (prediction,) = write_reports(policy, drawn[:1], GREEDY)
    assert (prediction.id, prediction.reference) == (drawn[0].id, drawn[0].reference)
    assert prediction.images == (str(drawn[0].images[0]),)
    assert prediction.report == ""
