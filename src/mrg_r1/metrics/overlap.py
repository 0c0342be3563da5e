"""Word overlap: BLEU, ROUGE-L and CIDEr, equal to pycocoevalcap's on the same strings.

Each is a function of numbers per pair of texts, so rewards can take them per completion and a
resampled score is a matrix product. Texts are compared as they come: see `metrics.text`.
N-grams are named by 64-bit hashes; among the 20 million of a large corpus two share a name with
a probability of about 1e-5, which would move one weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mrg_r1.metrics.arrays import Floats
from mrg_r1.metrics.score import Measure, Signature, mean

Hashes: TypeAlias = NDArray[np.uint64]
Integers: TypeAlias = NDArray[np.int64]

ORDER = 4
"""The longest n-gram."""

BETA = 1.2
"""Weight of recall in ROUGE-L; packages that use 1 give other numbers."""

SIGMA = 6.0
"""Width of CIDEr-D's penalty on a difference in length."""

BLEU = tuple(f"bleu-{n}" for n in range(1, ORDER + 1))

_NEXT_WORD, _NEXT_TEXT = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """The distinct n-grams of each text, for one n; all arrays (k,), sorted by `place`.

    Attributes:
        place: hash of the n-gram and the index of its text.
        gram: hash of the n-gram.
        text: index of the text.
        count: how often the text has the n-gram.
    """

    place: Hashes
    gram: Hashes
    text: Integers
    count: Integers


@dataclass(frozen=True, slots=True, eq=False)
class NGrams:
    """The n-grams of n texts for n = 1 to 4, and the number of words of each text, (n,)."""

    counts: tuple[Counts, ...]
    words: Integers


@dataclass(frozen=True, slots=True, eq=False)
class DocumentFrequencies:
    """In how many of N texts each n-gram occurs; per n, hashes in order and their numbers."""

    texts: int
    grams: tuple[Hashes, ...]
    numbers: tuple[Integers, ...]

    @classmethod
    def of(cls, references: NGrams) -> DocumentFrequencies:
        """The frequencies of these texts: training references for a reward."""
        found = [np.unique(counts.gram, return_counts=True) for counts in references.counts]
        grams, numbers = zip(*found, strict=True)
        return cls(len(references.words), tuple(grams), tuple(numbers))

    def weights(self, counts: Counts, order: int) -> Floats:
        """Count times log(N / document frequency) of each n-gram, as (k,); an unseen one has 1."""
        known, numbers = self.grams[order], self.numbers[order]
        frequency = np.ones(len(counts.gram))
        if len(known):
            at = np.minimum(np.searchsorted(known, counts.gram), len(known) - 1)
            frequency = np.where(known[at] == counts.gram, numbers[at], 1.0)
        return counts.count * (np.log(self.texts) - np.log(frequency))


def ngrams(texts: Sequence[str]) -> NGrams:
    """The n-grams of each text, over words parted by white space."""
    split = [text.split() for text in texts]
    lengths = np.array([len(words) for words in split], dtype=np.int64)  # (n,)
    words = np.fromiter((_hash(w) for text in split for w in text), np.uint64, lengths.sum())
    text = np.repeat(np.arange(len(split)), lengths)  # (t,)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(words))  # words to the end
    start, gram = np.arange(len(words)), words
    counts = [_counts(gram, text)]
    for order in range(2, ORDER + 1):
        fits = left[start] >= order
        start = start[fits]
        gram = gram[fits] * _NEXT_WORD + words[start + order - 1]
        counts.append(_counts(gram, text[start]))
    return NGrams(tuple(counts), lengths)


@lru_cache(maxsize=1 << 16)
def _hash(word: str) -> int:
    digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _counts(gram: Hashes, text: Integers) -> Counts:
    place = gram + text.astype(np.uint64) * _NEXT_TEXT
    place, first, count = np.unique(place, return_index=True, return_counts=True)
    return Counts(place, gram[first], text[first], count)


def _shared(candidates: Counts, references: Counts) -> tuple[Integers, Integers]:
    """Rows of both that are the same n-gram of the same pair."""
    at = np.searchsorted(references.place, candidates.place)
    at = np.minimum(at, max(len(references.place) - 1, 0))
    if not len(references.place):
        return at[:0], at[:0]
    (rows,) = np.nonzero(references.place[at] == candidates.place)
    return rows, at[rows]


def bleu_terms(candidates: NGrams, references: NGrams) -> Floats:
    """What BLEU sums, as (n, 10): matches and n-grams for n = 1 to 4, and both lengths."""
    size = len(candidates.words)
    matches: list[Floats] = []
    for ours, theirs in zip(candidates.counts, references.counts, strict=True):
        i, j = _shared(ours, theirs)
        matches.append(_sums(ours.text[i], np.minimum(ours.count[i], theirs.count[j]), size))
    lengths = [np.maximum(candidates.words - n, 0) for n in range(ORDER)]
    lengths += [candidates.words, references.words]
    return np.stack([*matches, *(length.astype(np.float64) for length in lengths)], axis=1)


def bleu(sums: Floats) -> Floats:
    """BLEU-1 to 4 of sums of `bleu_terms`, (..., 10) to (..., 4); of single rows per pair.

    The small constants are pycocoevalcap's: nothing matched is 0 to nine places, not an error.
    """
    matches, possible = sums[..., :ORDER], sums[..., ORDER : 2 * ORDER]
    precision = np.cumprod((matches + 1e-15) / (possible + 1e-9), axis=-1)
    ratio = (sums[..., -2] + 1e-15) / (sums[..., -1] + 1e-9)
    brevity = np.exp(np.minimum(1 - 1 / ratio, 0.0))
    return precision ** (1 / np.arange(1, ORDER + 1)) * brevity[..., None]


def cider(candidates: NGrams, references: NGrams, frequencies: DocumentFrequencies) -> Floats:
    """CIDEr-D of each pair, (n,), from 0 to 10 (Vedantam et al., CVPR 2015).

    Args:
        candidates: n-grams of n texts.
        references: n-grams of their references.
        frequencies: of all evaluated references for the published score; of the training
            references for a reward. Of a single text they make every score 0.
    """
    size = len(candidates.words)
    total = np.zeros(size)
    pairs = zip(candidates.counts, references.counts, strict=True)
    for order, (ours, theirs) in enumerate(pairs):
        ours_weight = frequencies.weights(ours, order)
        theirs_weight = frequencies.weights(theirs, order)
        i, j = _shared(ours, theirs)
        products = np.minimum(ours_weight[i], theirs_weight[j]) * theirs_weight[j]
        similar = _sums(ours.text[i], products, size)
        squares = _sums(ours.text, ours_weight**2, size) * _sums(
            theirs.text, theirs_weight**2, size
        )
        total += np.divide(similar, np.sqrt(squares), out=np.zeros(size), where=squares > 0)
    bigrams = [np.maximum(side.words - 1, 0) for side in (candidates, references)]
    penalty = np.exp(-((bigrams[0] - bigrams[1]) ** 2) / (2 * SIGMA**2))
    return 10 / ORDER * total * penalty


def _sums(text: Integers, values: Floats | Integers, size: int) -> Floats:
    """Sums of the values of each text, (size,)."""
    return np.bincount(text, weights=values, minlength=size).astype(np.float64)


def rouge_l(candidates: Sequence[str], references: Sequence[str]) -> Floats:
    """ROUGE-L with beta 1.2 of each pair, (n,).

    Words are parted by single blanks, as in pycocoevalcap: two blanks hold an empty word.
    """
    scores: list[float] = []
    for candidate, reference in zip(candidates, references, strict=True):
        ours, theirs = candidate.split(" "), reference.split(" ")
        common = _common(ours, theirs)
        precision, recall = common / len(ours), common / len(theirs)
        weighed = recall + BETA**2 * precision
        scores.append((1 + BETA**2) * precision * recall / weighed if common else 0.0)
    return np.array(scores)


def _common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Length of the longest common subsequence, a bit per word (Hyyroe, 2004)."""
    places: dict[str, int] = {}
    for position, word in enumerate(theirs):
        places[word] = places.get(word, 0) | 1 << position
    every = (1 << len(theirs)) - 1
    open_ = every  # a bit is cleared where the subsequence grows
    for word in ours:
        if mask := places.get(word):
            taken = open_ & mask
            open_ = (open_ + taken | open_ - taken) & every
    return len(theirs) - open_.bit_count()


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """References counted once for many systems."""

    texts: Sequence[str]
    grams: NGrams
    frequencies: DocumentFrequencies

    @classmethod
    def of(cls, texts: Sequence[str]) -> References:
        """Prepared references; CIDEr's document frequencies are their own."""
        grams = ngrams(texts)
        return cls(texts, grams, DocumentFrequencies.of(grams))


def overlap_measures(
    candidates: Sequence[str], references: References, preparation: str
) -> tuple[Measure, ...]:
    """BLEU-1 to 4, ROUGE-L and CIDEr of prepared texts, for `metrics.score`.

    CIDEr's document frequencies stay those of all references when studies are resampled.

    Args:
        candidates: n prepared predictions.
        references: their prepared references.
        preparation: how both were prepared, for the signatures.
    """
    signature = Signature(text=preparation, n=len(candidates))
    grams = ngrams(candidates)
    return (
        Measure(
            tuple((name, signature) for name in BLEU), bleu_terms(grams, references.grams), bleu
        ),
        mean("rouge-l", signature, rouge_l(candidates, references.texts)),
        mean("cider", signature, cider(grams, references.grams, references.frequencies)),
    )
