"""What a server asks of a policy, and what it is answered. Needs no torch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from PIL.Image import Image

Listener = Callable[[str], None]
"""Is told the text so far, from whatever thread writes it."""


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """One completion that somebody waits for.

    Attributes:
        images: of one study, grey or colour, 8-bit.
        max_tokens: how long the completion may be.
        instruction: what to do with them; the policy's own if empty.
        context: what the prompt says beside it, by kind (`data.context`).
        temperature: 0 is greedy decoding.
        top_p: the probability mass that is sampled from, in (0, 1].
        seed: of its sampling, whatever else is in the batch.
        listener: hears the completion while it is written.
        gone: set once nobody waits for it any more.
    """

    images: tuple[Image, ...]
    max_tokens: int
    instruction: str = ""
    context: Mapping[str, str] = field(default_factory=dict[str, str])
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    listener: Listener | None = None
    gone: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Written:
    """A completion; `whole` unless a limit cut it. Lengths are in tokens."""

    completion: str
    tokens: int
    prompt_tokens: int
    whole: bool
