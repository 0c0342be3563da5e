"""From a report to the token ids that CheXbert reads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from mrg_r1.errors import DataError

LONGEST = 512
"""Tokens of a report, [CLS] and [SEP] included; the rest is cut off."""

BERT_BASE_UNCASED_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
"""The digest of the vocabulary that CheXbert was trained with."""

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def prepare(report: str) -> str:
    """The report on one line, as CheXbert was given it: white space collapsed and stripped.

    Half of a surrogate pair, which is no text that a tokenizer takes, becomes '?'.
    """
    return " ".join(report.encode("utf-8", "replace").decode("utf-8").split())


class Vocabulary:
    """BERT's word pieces, from a `vocab.txt`.

    Args:
        path: one piece a line.
        size: how many the network has embeddings for.

    Raises:
        DataError: it is no vocabulary, or not the network's.
    """

    def __init__(self, path: Path, size: int) -> None:
        try:
            content = path.read_bytes()
            pieces = content.decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise DataError(
                f"{path}: no such file; docs/labelers.md says where to get it"
            ) from None
        except UnicodeDecodeError:
            raise DataError(f"{path}: no vocabulary; give bert-base-uncased's vocab.txt") from None
        ids = {piece: index for index, piece in enumerate(pieces)}
        absent = [piece for piece in _SPECIAL if piece not in ids]
        if absent or len(pieces) != size or len(ids) != size:
            problem = f"without {', '.join(absent)}" if absent else f"of {len(ids):,} pieces"
            raise DataError(
                f"{path}: a vocabulary {problem}, but the network has {size:,}; give "
                "bert-base-uncased's vocab.txt"
            )
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._first, self._last = ids["[CLS]"], ids["[SEP]"]
        self._tokenizer = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
        self._tokenizer.normalizer = BertNormalizer(lowercase=True)
        self._tokenizer.pre_tokenizer = BertPreTokenizer()
        self._tokenizer.add_special_tokens(list(_SPECIAL))  # pyright: ignore[reportUnknownMemberType]

    def ids(self, reports: Sequence[str]) -> list[list[int]]:
        """Token ids of each report, at most 512: an empty one is [CLS] [SEP]."""
        encoded = self._tokenizer.encode_batch_fast([prepare(report) for report in reports])
        return [[self._first, *text.ids[: LONGEST - 2], self._last] for text in encoded]
