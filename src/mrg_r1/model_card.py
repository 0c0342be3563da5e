"""The model card of an exported policy: how to ask it, its scores, its limits, its recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from mrg_r1.config import Recipe, load_recipe
from mrg_r1.data.context import prompt_of, words_of
from mrg_r1.records import Evaluation, Score, read_json
from mrg_r1.run import Run

_TRAINED = "srl"
_ELSEWHERE = frozenset({"uncertain:negative", "avg:weighted", "avg:example", "labels:5"})
"""Variants of precision, recall and F1 that are left to evaluation.json."""

_HEAD = """\
---
library_name: transformers
pipeline_tag: image-text-to-text
tags: [chest-x-ray, radiology-report, research-only]
---

# {name}

**Research, not for clinical use.** A model that writes reports of chest X-rays, which nobody
checks. It is {base}, post-trained with MRG-R1; {weights}. The policy it was made from is `{model}`.

## Use

transformers loads the folder with `AutoModelForImageTextToText` and `AutoProcessor`, vLLM with
`vllm serve FOLDER`, and `mrg-r1 generate` and `mrg-r1 serve` take it as a policy. It was trained on
one message of the user, images and then these words:

{instruction}

It answers `<think>...</think><report>...</report>`. The scores below are of reports decoded so:
{decoding}."""

_SCORES = """\
## Scores

On {n} samples of the {split} split of {source}, with 95 % bootstrap intervals for the policy.
`start` is the policy before reinforcement learning; the other columns are reports that never look
at the image. More variants are in `evaluation.json`."""

_LIMITS = """\
## Limits

- {data} Other hospitals, devices, views, ages and languages were not tried.
- {reward}
- A score says little without those of reports that never look at the image, which stand beside it.
- It may leave out what is there and name what is not. Its reasoning is text it was rewarded for,
  no evidence.
- Licences of its base model and of its training data hold for it as well."""


_BUT_TOWER = " but those of the image tower, which learnt before,"

_READ = "It was rewarded for what the labeler {labeler} reads, mistakes included, and "
_REWARDS = {
    "mccs": _READ + "for denying\n  as much as for affirming: a template of negatives pays.",
    "mccs, weighted": _READ + "for denying\n  less than for affirming.",
    "ce-f1": _READ + "only for\n  findings that it affirms.",
    "overlap": "It was rewarded for the words of its references, not for what they mean.",
}


def model_card(run: Run, model: str) -> str:
    """The card of a run's policy in Markdown; without scores it says so.

    Args:
        run: its files.
        model: identity of the policy.
    """
    recipe = load_recipe(str(run.recipe))
    parts = (
        _head(recipe, model),
        _scores(recipe, Evaluation.read(run.evaluation)) if run.evaluation.exists() else _UNJUDGED,
        _limits(recipe),
        "## Recipe\n\nFolders by their last part only.\n\n" + _json(read_json(run.recipe)),
        "## Made with\n\n" + _json(read_json(run.versions)),
    )
    return "\n\n".join(parts) + "\n"


_UNJUDGED = "## Scores\n\nThe run was stopped before it was judged: there are none."


def _head(recipe: Recipe, model: str) -> str:
    policy = recipe.policy
    lora, words = policy.lora, words_of(recipe.data.context)
    prompt = prompt_of(policy.instruction, words, dict.fromkeys(words, "..."))
    return _HEAD.format(
        name=" ".join(recipe.name.split()),
        base=policy.tiny.describe() if policy.tiny else Path(policy.path).name,
        weights=f"LoRA of rank {lora.rank} is merged into its weights"
        if lora
        else f"all its weights{_BUT_TOWER * policy.freeze_tower} were trained",
        model=model,
        # Indented, so that nothing in it is markup.
        instruction="\n".join(f"    {line}" for line in prompt.splitlines()),
        decoding=recipe.evaluation.decoding.describe(),
    )


def _scores(recipe: Recipe, evaluation: Evaluation) -> str:
    found = {system.name: system for system in evaluation.systems}
    told = _SCORES.format(
        n=found[_TRAINED].n, split=recipe.data.eval_split, source=recipe.data.source
    )
    return told + "\n\n" + "\n".join(_table(evaluation))


def _table(evaluation: Evaluation) -> Iterator[str]:
    """Rows of Markdown: the scores of each system that has one, and the signature they share."""
    systems = sorted(evaluation.systems, key=lambda system: system.name != _TRAINED)
    names = ["the policy" if system.name == _TRAINED else system.name for system in systems]
    yield _row(["score", *names, "signature"])
    yield _row(["---"] * (len(names) + 2))
    by_key = [{(s.metric, s.signature): s for s in system.scores} for system in systems]
    for metric, signature in by_key[0]:
        if _ELSEWHERE.isdisjoint(signature.split("|")):
            first, *others = (scores.get((metric, signature)) for scores in by_key)
            cells = [_cell(first, interval=True), *(_cell(score) for score in others)]
            yield _row([metric, *cells, f"`{signature}`"])


def _row(cells: Sequence[str]) -> str:
    # Signatures and names of systems may hold what parts cells.
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cell(score: Score | None, *, interval: bool = False) -> str:
    if score is None:
        return ""
    shown = f"{score.value:.3f}"
    return f"{shown} [{score.low:.3f}, {score.high:.3f}]" if interval else shown


def _limits(recipe: Recipe) -> str:
    data = recipe.data
    drawn = "It has only seen drawn studies (phantom), and knows nothing of real ones."
    real = f"It was trained on the {data.section} of {data.source}, views: {data.views}."
    reward = recipe.reward
    affirming = reward.f1_share > 0 or reward.negative_weight < 1
    kind = "mccs, weighted" if reward.kind == "mccs" and affirming else reward.kind
    return _LIMITS.format(
        data=drawn if data.source == "phantom" else real,
        reward=_REWARDS[kind].format(labeler=recipe.labeler.name),
    )


def _json(document: Any) -> str:
    shown = json.dumps(_without_places(document), indent=2, ensure_ascii=False)
    return f"```json\n{shown}\n```"


def _without_places(value: Any) -> Any:
    """JSON without null, and of absolute paths the last part: the others tell of a machine."""
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return {key: _without_places(inner) for key, inner in pairs if inner is not None}
    if isinstance(value, list):
        return [_without_places(inner) for inner in cast("list[Any]", value)]
    if isinstance(value, str) and value.startswith(("/", "~/")):
        return Path(value).name
    return value
