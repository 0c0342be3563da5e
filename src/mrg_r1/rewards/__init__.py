"""Rewards: completions in, one number each out, as TRL calls them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from mrg_r1.completion import parse
from mrg_r1.errors import DataError

CLINICAL_WEIGHT = 0.75
"""Weight of the clinical reward in the total (section IV-B)."""

FORMAT_WEIGHT = 0.25
"""Weight of the format reward in the total (section IV-B)."""

Completion: TypeAlias = str | Sequence[Mapping[str, Any]]
"""Raw text, or the messages of one conversational completion: `[{"role", "content"}]`."""


class Reward(Protocol):
    """What TRL calls: a batch of completions and the dataset's columns, a number each."""

    __name__: str

    def __call__(
        self, completions: Sequence[Completion], reference: Sequence[str], **columns: Any
    ) -> list[float]:
        """Rewards of the completions, in order.

        The completion's fault is 0.0; the data's fault raises `DataError` and names the index.
        """
        ...


WeightedReward: TypeAlias = tuple[Reward, float]
"""A reward and its weight in the total."""


def reports_of(completions: Iterable[Completion], prefill: str = "") -> list[str]:
    """The report part of each completion, empty where it has none.

    Args:
        completions: plain or conversational.
        prefill: what the chat template already wrote of each (some open `<think>`).

    Raises:
        DataError: as for `texts_of`.
    """
    return [parse(text, prefill=prefill).report for text in texts_of(completions)]


def reports_beside(
    reference: Sequence[Any], completions: Sequence[Completion], *, name: str, prefill: str = ""
) -> list[str]:
    """The report part of each completion, for rewards that compare it with its reference.

    Args:
        reference: n references.
        completions: their n completions.
        name: of the reward, for the message.
        prefill: as for `reports_of`.

    Raises:
        DataError: a reference is empty or not text (with its index), or the references are not
            as many as the completions.
    """
    check_lengths(completions, reference)
    for index, text in enumerate(reference):
        if not isinstance(text, str) or not text.strip():
            raise DataError(
                f"{name}: reference {index} is {'empty' if isinstance(text, str) else 'not text'}; "
                "leave out studies without a report before training"
            )
    return reports_of(completions, prefill)


def texts_of(completions: Iterable[Completion]) -> list[str]:
    """The raw text of each completion, plain or conversational.

    The assistant's messages are joined, and the text parts of each, so that a policy gains
    nothing by spreading two reports over two messages.

    Raises:
        DataError: a completion is neither text nor messages (the caller's fault).
    """
    return [_text_of(completion, index) for index, completion in enumerate(completions)]


def check_lengths(completions: Sequence[Completion], reference: Sequence[str]) -> None:
    """Raises DataError unless there is one reference for each completion."""
    if len(completions) != len(reference):
        raise DataError(
            f"rewards: {len(completions)} completions but {len(reference)} references; "
            "pass one reference for each completion"
        )


def _text_of(completion: Any, index: int) -> str:
    if isinstance(completion, str):
        return completion
    try:
        return "".join(
            _content(message["content"])
            for message in completion
            if message.get("role", "assistant") == "assistant"
        )
    except (TypeError, KeyError, AttributeError):
        raise DataError(
            f"rewards: completion {index} is neither text nor messages with 'role' and 'content'"
        ) from None


def _content(content: Any) -> str:
    """The text of a message: a string, a list of parts, or None beside a tool call."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content or () if part.get("type", "text") == "text")
