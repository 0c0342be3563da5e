"""CheXbert's network (Smit et al. 2020): BERT, then a linear head for each finding."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import BertConfig, BertModel
from transformers.models.bert.modeling_bert import BertLayer

from mrg_r1.findings import FINDINGS, Finding, Status

BERT_BASE_UNCASED = BertConfig(
    vocab_size=30_522,
    hidden_size=768,
    num_hidden_layers=12,
    num_attention_heads=12,
    intermediate_size=3072,
    max_position_embeddings=512,
)
"""The sizes of the published checkpoint; no hub is asked for them."""

CLASSES = tuple(2 if finding is Finding.NO_FINDING else len(Status) for finding in FINDINGS)
"""Classes of each head: `Status` values, of which No Finding knows blank and positive only."""


class Chexbert(nn.Module):
    """Its parameters carry the names of the published checkpoint.

    Args:
        bert: the sizes of its BERT.
    """

    def __init__(self, bert: BertConfig = BERT_BASE_UNCASED) -> None:
        super().__init__()
        self.bert = BertModel(bert)
        self.dropout = nn.Dropout(0.1)
        self.linear_heads = nn.ModuleList(
            nn.Linear(bert.hidden_size, classes) for classes in CLASSES
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits, (B, 14, 4), of token ids and their mask, both (B, T).

        A class that No Finding does not have is minus infinity.
        """
        hidden = self.bert.embeddings(input_ids=ids)  # (B, T, width)
        seen = mask[:, None, None, :].bool()
        *layers, last = cast("list[BertLayer]", list(self.bert.encoder.layer))
        for layer in layers:
            hidden = layer(hidden, seen)
        first = self.dropout(_first_token(last, hidden, seen))
        heads = [
            pad(head(first), (0, len(Status) - classes), value=-torch.inf)
            for head, classes in zip(self.linear_heads, CLASSES, strict=True)
        ]
        return torch.stack(heads, dim=1)


def _first_token(layer: BertLayer, hidden: Tensor, seen: Tensor) -> Tensor:
    """What a layer makes of [CLS], (B, width); of the last layer no head reads another token."""
    first = hidden[:, :1]
    attention = layer.attention.self
    width = attention.attention_head_size
    query, key, value = (
        projected.unflatten(-1, (-1, width)).transpose(1, 2)
        for projected in (attention.query(first), attention.key(hidden), attention.value(hidden))
    )
    mixed = scaled_dot_product_attention(query, key, value, attn_mask=seen)
    attended = layer.attention.output(mixed.transpose(1, 2).flatten(2), first)
    return layer.output(layer.intermediate(attended), attended)[:, 0]
