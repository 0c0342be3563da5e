"""Named text preparations: overlap scores depend on them more than on the model.

`raw` leaves a text as it is. `r2gen-iu` and `r2gen-mimic` do what R2Gen (Chen et al., EMNLP 2020)
does to references before it scores: clean, replace words that training references use fewer than
3 times by `<unk>`, cut to 59 or 99 tokens (its maximum lengths of 60 and 100 count one special
token). The cleaning is reproduced with its surprises, since published scores contain them:
'1.5 cm' becomes '15 cm', 'T11. Clear' becomes 't1clear', and a hyphen stays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from mrg_r1.errors import ConfigError

PreparationName: TypeAlias = Literal["raw", "r2gen-iu", "r2gen-mimic"]

PREPARATIONS: tuple[PreparationName, ...] = get_args(PreparationName)
UNKNOWN = "<unk>"
THRESHOLD = 3
"""How often a word must occur in the training references to be known."""

LENGTHS = {"r2gen-iu": 59, "r2gen-mimic": 99}
"""Tokens that are kept of a report."""

# (what, by what, how often): R2Gen replaces in passes, so longer runs are not all collapsed.
_ENUMERATION = (
    ("1. ", "", 1),
    *((f". {digit}. ", ". ", 1) for digit in range(2, 6)),
    *((f" {digit}. ", ". ", 1) for digit in range(2, 6)),
)
_PASSES = {
    "r2gen-iu": (("..", ".", 3), *_ENUMERATION),
    "r2gen-mimic": (("\n", " ", 1), ("__", "_", 7), ("  ", " ", 6), ("..", ".", 8), *_ENUMERATION),
}
_QUOTES = str.maketrans("", "", "\"/\\'")
# R2Gen's class holds ':-[', which is a range of characters and not a hyphen.
_PUNCTUATION = re.compile(r"[.,?;*!%^&_+():-\[\]{}]")


@dataclass(frozen=True, slots=True)
class TextPreparation:
    """How texts become the strings that overlap metrics split at blanks.

    Attributes:
        name: which preparation, as signatures show it.
        vocabulary: words that are known; unused by `raw`.
    """

    name: PreparationName
    vocabulary: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, name: PreparationName, train_references: Iterable[str] | None = None
    ) -> TextPreparation:
        """The preparation of this name.

        Args:
            name: 'raw', 'r2gen-iu' or 'r2gen-mimic'.
            train_references: raw training references, whose words are counted; `raw` needs none.

        Raises:
            ConfigError: no such preparation, or no training references where they are needed.
        """
        if name not in PREPARATIONS:
            raise ConfigError(f"text preparation '{name}'; use one of {', '.join(PREPARATIONS)}")
        if name == "raw":
            return cls(name)
        if train_references is None:
            raise ConfigError(
                f"text preparation '{name}' counts the words of the training references; "
                "give them with --train-references FILE"
            )
        counts = Counter(word for text in train_references for word in clean(name, text).split())
        return cls(name, frozenset(word for word, count in counts.items() if count >= THRESHOLD))

    def reference(self, text: str) -> str:
        """A reference as the literature scores against it."""
        if self.name == "raw":
            return text
        words = clean(self.name, text).split()[: LENGTHS[self.name]]
        return " ".join(word if word in self.vocabulary else UNKNOWN for word in words)

    def prediction(self, text: str) -> str:
        """A prediction, prepared like a reference unless it comes so from its system.

        What R2Gen and its relatives write is a sequence of known words. Such a text is scored as
        it is, as they do: it may end without a full stop, or be longer than references can be.
        """
        words = text.split()
        if self.name != "raw" and all(w == UNKNOWN or w in self.vocabulary for w in words):
            return " ".join(words)
        return self.reference(text)


def clean(name: PreparationName, text: str) -> str:
    """R2Gen's cleaning alone: lower case, sentences parted by ' . ', punctuation taken away."""
    for what, by, times in _PASSES[name]:
        for _ in range(times):
            text = text.replace(what, by)
    sentences = text.strip().lower().split(". ")
    return " . ".join(map(_clean_sentence, sentences)) + " ."


def _clean_sentence(sentence: str) -> str:
    return _PUNCTUATION.sub("", sentence.translate(_QUOTES).strip().lower())
