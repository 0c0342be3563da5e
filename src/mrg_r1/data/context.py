"""What a prompt says beside its instruction: why a study was made, and what the one before showed.

The kinds are chosen by recipe; a kind that a study has nothing of is left out of its prompt. The
words around them are saved with a policy, so that it is asked as it was trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from mrg_r1.data.study import Prior, Sample, Study

Context = Literal["indication", "prior-report", "prior-images"]
KINDS: tuple[Context, ...] = get_args(Context)

WORDS: Mapping[str, str] = {
    "indication": "Indication: {}",
    "prior-report": "Report of the previous study: {}",
    "prior-images": "Images of the previous study, after those of this one: {}",
}
"""By kind, the line of the prompt; the braces stand for a text, or for the number of images."""

_HIDDEN = re.compile(r"_{2,}(?:\s+_{2,})*")
_WORD = re.compile(r"[^\W_]+")


def words_of(kinds: Iterable[Context]) -> dict[str, str]:
    """The lines of these kinds, in the order in which prompts have them."""
    asked = set(kinds)
    return {kind: WORDS[kind] for kind in KINDS if kind in asked}


def prompt_of(instruction: str, words: Mapping[str, str], context: Mapping[str, str]) -> str:
    """The words of a prompt: the instruction, then a line for each kind of context.

    Args:
        instruction: what to do.
        words: lines by kind, as a policy saved them; `WORDS` for kinds it has none of.
        context: what is given, by kind.
    """
    given = (
        line.replace("{}", context[kind], 1)
        for kind, line in {**WORDS, **words}.items()
        if kind in context
    )
    return "\n".join([instruction, *given])


def prompts_of(instruction: str, samples: Iterable[Sample]) -> list[str]:
    """The words of each sample's prompt, as a policy is trained on them."""
    return [prompt_of(instruction, WORDS, sample.context) for sample in samples]


def context_of(study: Study, kinds: Iterable[Context], prior_images: int) -> dict[str, str]:
    """What a study gives of these kinds; those it has nothing of are absent.

    Args:
        study: whose prompt it is.
        kinds: what is wanted.
        prior_images: how many images of the previous study are shown.
    """
    given = given_context(study.indication, prior_text(study.prior), prior_images)
    asked = set(kinds)
    return {kind: text for kind, text in given.items() if kind in asked}


def given_context(indication: str, prior_report: str, prior_images: int) -> dict[str, str]:
    """What there is, by kind; what has no words, or no image, is absent."""
    texts = (readable(indication), readable(prior_report), str(prior_images or ""))
    return {kind: text for kind, text in zip(KINDS, texts, strict=True) if text}


def prior_text(prior: Prior | None) -> str:
    """The report of the previous study on one line: findings, then impression."""
    return readable(f"{prior.findings} {prior.impression}") if prior else ""


def prior_count(context: Mapping[str, str]) -> int:
    """How many of a sample's images, the last of them, are of the previous study."""
    count = context.get("prior-images", "")
    return int(count) if count.isascii() and count.isdecimal() else 0


def readable(text: str) -> str:
    """A text on one line; '' where de-identification left no word of it.

    What MIMIC-CXR took out is one '___' however long it was, what IU X-Ray took out stays 'XXXX'.
    """
    shown = _HIDDEN.sub("___", " ".join(text.split()))
    return shown if any(word.strip("X") for word in _WORD.findall(shown)) else ""
