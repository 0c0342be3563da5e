"""Control tokens, such as an image's placeholder, that a text of a prompt must not spell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import repeat

from mrg_r1.data.study import Sample
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.policy.load import Policy


def spelled(policy: Policy, text: str) -> str:
    """The first control token of the policy that a text spells; empty if it spells none."""
    found = _pattern(policy).search(text)
    return found.group() if found else ""


def check_words(policy: Policy, samples: Sequence[Sample], targets: Sequence[str] = ()) -> None:
    """Refuses words that the policy would read as something else than words.

    In an indication `<|image_pad|>` has no image to stand for, in a report `<|im_end|>` ends it.

    Args:
        policy: whose tokens and instruction.
        samples: whose context is to be in prompts.
        targets: the completion to be imitated of each, if they are.

    Raises:
        ConfigError: the instruction spells a control token.
        DataError: a sample's context or target does.
    """
    pattern = _pattern(policy)
    if found := pattern.search(policy.instruction):
        raise ConfigError(f"the instruction holds the control token {found.group()}; take it out")
    texts = (
        *((sample, kind, text) for sample in samples for kind, text in sample.context.items()),
        *zip(samples, repeat("reference"), targets, strict=False),
    )
    for sample, kind, text in texts:
        if found := pattern.search(text):
            raise DataError(
                f"sample {sample.id}: its {kind} holds the control token {found.group()}; "
                "take it out"
            )


def _pattern(policy: Policy) -> re.Pattern[str]:
    tokenizer = policy.processor.tokenizer
    control = sorted({*tokenizer.all_special_ids, *policy.forbidden_tokens()})
    tokens = [token for token in tokenizer.convert_ids_to_tokens(control) if token]
    return re.compile("|".join(map(re.escape, tokens)))
