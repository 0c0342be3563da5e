"""The reward without medicine in Table II: overlap of words (BLEU, ROUGE-L, CIDEr)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrg_r1.errors import ConfigError
from mrg_r1.metrics.overlap import DocumentFrequencies, bleu, bleu_terms, cider, ngrams, rouge_l
from mrg_r1.rewards import Completion, reports_beside

_TOKEN = re.compile(r"\w+|[^\w\s]")
_BLEU_4 = 3
_CIDER_MAX = 10.0


@dataclass(frozen=True)
class OverlapReward:
    """The mean of BLEU-4, ROUGE-L and CIDEr-D / 10 with the reference, in [0, 1].

    The paper names the three ('BLEU + ROUGE + CIDEr', Table II) and nothing else. Ours: the order
    of BLEU, equal weights on a common scale, and texts in lower case with punctuation as words
    of its own (R2Gen's cleaning cuts references, which a score has to copy and a reward must not).

    Attributes:
        frequencies: in how many training references each n-gram occurs, for CIDEr. Frequencies of
            the batch, as in some public codes, give a perfect report in a batch of one 0.
        prefill: what the chat template already wrote of each completion (some open `<think>`).
    """

    frequencies: DocumentFrequencies
    prefill: str = ""

    __name__ = "overlap"

    @classmethod
    def of(cls, train_references: Sequence[str], prefill: str = "") -> OverlapReward:
        """The reward with the document frequencies of these references.

        Raises:
            ConfigError: there are fewer than two, of which every frequency is all or nothing.
        """
        if len(train_references) < 2:
            raise ConfigError(
                f"overlap: {len(train_references)} training references; CIDEr needs two or more"
            )
        return cls(DocumentFrequencies.of(ngrams(list(map(tokens, train_references)))), prefill)

    def __call__(
        self, completions: Sequence[Completion], reference: Sequence[str], **columns: Any
    ) -> list[float]:
        """Rewards of the completions, in order; a completion without a report earns 0.

        Raises:
            DataError: a reference is empty or not text (with its index), or the references are
                not as many as the completions.
        """
        reports = reports_beside(reference, completions, name=self.__name__, prefill=self.prefill)
        ours = [tokens(report) for report in reports]
        theirs = list(map(tokens, reference))
        grams, expected = ngrams(ours), ngrams(theirs)
        parts = (
            bleu(bleu_terms(grams, expected))[:, _BLEU_4],
            rouge_l(ours, theirs),
            cider(grams, expected, self.frequencies) / _CIDER_MAX,
        )  # (n,) each
        written = np.array([text != "" for text in ours])
        return np.where(written, np.mean(parts, axis=0), 0.0).tolist()


def tokens(text: str) -> str:
    """The words and punctuation marks of a text in lower case, parted by single blanks."""
    return " ".join(_TOKEN.findall(text.lower()))
