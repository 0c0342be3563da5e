"""Control tokens, such as an image's placeholder, that a text of a prompt must not spell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mrg_r1.data.study import Sample
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.policy.load import Policy


def spelled(policy: Policy, text: str) -> str:
    """The first control token of the policy that a text spells; empty if it spells none."""
    found = _pattern(policy).search(text)
    return found.group() if found else ""


def check_words(policy: Policy, samples: Iterable[Sample], targets: Sequence[str] = ()) -> None:
    """Refuses words that the policy would read as something else than words.

    In an indication `<|image_pad|>` has no image to stand for, in a report `<|im_end|>` ends it.

    Args:
        policy: whose tokens, instruction and words around a context.
        samples: whose context is to be in prompts.
        targets: completions to be imitated, if any.

    Raises:
        ConfigError: the instruction spells a control token.
        DataError: a sample's context or a target does.
    """
    pattern = _pattern(policy)
    if found := pattern.search(policy.instruction):
        raise ConfigError(f"the instruction holds the control token {found.group()}; take it out")
    for sample in samples:
        for kind, text in sample.context.items():
            if found := pattern.search(text):
                raise DataError(
                    f"sample {sample.id}: its {kind} holds the control token {found.group()}; "
                    "take it out"
                )
    for target in targets:
        if found := pattern.search(target):
            raise DataError(
                f"a reference holds the control token {found.group()}; take it out: "
                f"{' '.join(target.split())[:80]}"
            )


def _pattern(policy: Policy) -> re.Pattern[str]:
    tokenizer = policy.processor.tokenizer
    control = sorted({*tokenizer.all_special_ids, *policy.forbidden_tokens()})
    return re.compile("|".join(map(re.escape, tokenizer.convert_ids_to_tokens(control))))
