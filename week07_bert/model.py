"""BERT, to be read from top to bottom: embeddings, blocks, encoder, three heads. Published weights: weights.py.

References
    J. Devlin et al., "BERT: Pre-training of deep bidirectional transformers for language understanding",
        arXiv:1810.04805: "the paper"
    V. Sanh et al., "DistilBERT, a distilled version of BERT", arXiv:1910.01108: half the layers, no token types
    A. Vaswani et al., "Attention is all you need", arXiv:1706.03762: the encoder that BERT is
    D. Hendrycks, K. Gimpel, "Gaussian error linear units", arXiv:1606.08415: the activation of the feed-forward

A mask is True where there is a token and False on padding. Every token sees every other: BERT reads, it does not write.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shared.errors import CourseError
from shared.files import read_json

Ids = Int[Tensor, "batch time"]
Real = Bool[Tensor, "batch time"]  # True where there is a token, False on padding
Hidden = Float[Tensor, "batch time hidden"]
Heads = Float[Tensor, "batch heads time head_dim"]
Weights = Float[Tensor, "batch heads time time"]  # of each query over all keys


@dataclass(frozen=True)
class BertConfig:
    """What an encoder looks like. The default is bert-base-uncased, 110 M parameters."""

    vocab_size: int = 30_522
    hidden_size: int = 768
    layers: int = 12
    heads: int = 12
    intermediate_size: int = 3072
    max_positions: int = 512
    type_vocab_size: int = 2  # 0: no token types, as in DistilBERT
    dropout: float = 0.1  # of hidden states and of attention weights
    layer_norm_eps: float = 1e-12
    pad_id: int = 0

    # What transformers' config.json calls them, by its model_type.
    THEIRS: ClassVar[dict[str, dict[str, str]]] = {
        "bert": {
            "vocab_size": "vocab_size", "hidden_size": "hidden_size", "layers": "num_hidden_layers",
            "heads": "num_attention_heads", "intermediate_size": "intermediate_size",
            "max_positions": "max_position_embeddings", "type_vocab_size": "type_vocab_size",
            "dropout": "hidden_dropout_prob", "layer_norm_eps": "layer_norm_eps", "pad_id": "pad_token_id",
        },
        "distilbert": {
            "vocab_size": "vocab_size", "hidden_size": "dim", "layers": "n_layers", "heads": "n_heads",
            "intermediate_size": "hidden_dim", "max_positions": "max_position_embeddings", "dropout": "dropout",
            "pad_id": "pad_token_id",
        },
    }  # fmt: skip

    @classmethod
    def from_json(cls, source: Path | str | Mapping[str, Any]) -> "BertConfig":
        """Reads a config.json of transformers, of model_type bert or distilbert; what it leaves out has its default.

        Raises:
            CourseError: it is of another architecture, or of a variant of this one that is not here.
        """
        where = "this config" if isinstance(source, Mapping) else str(source)
        given = source if isinstance(source, Mapping) else read_json(Path(source))
        kind = given.get("model_type") if isinstance(given, Mapping) else None
        if kind not in cls.THEIRS:
            raise CourseError(f"{where}: model_type {kind!r}, but this week reads {' and '.join(cls.THEIRS)}.")
        for name, known in (("hidden_act", "gelu"), ("activation", "gelu"), ("position_embedding_type", "absolute")):
            if given.get(name, known) != known:
                raise CourseError(f"{where}: {name} {given[name]!r}, but this week's encoder has {known!r} only.")
        for name in cls.THEIRS[kind].values():
            if not isinstance(given.get(name), int | float | None):
                raise CourseError(f"{where}: {name} {given[name]!r} is no number.")
        half = {"layers": 6, "type_vocab_size": 0} if kind == "distilbert" else {}
        named = {ours: given[theirs] for ours, theirs in cls.THEIRS[kind].items() if given.get(theirs) is not None}
        config = cls(**(half | named))
        if config.hidden_size % config.heads:
            raise CourseError(f"{where}: {config.hidden_size} numbers are not to be shared by {config.heads} heads.")
        return config


# ---------------------------------------------------------------- the encoder


class Embeddings(nn.Module):
    """Figure 2 of the paper: what a token is, where it stands, and to which of two texts it belongs, added up."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_id)
        self.position = nn.Embedding(config.max_positions, config.hidden_size)
        self.kind = nn.Embedding(config.type_vocab_size, config.hidden_size) if config.type_vocab_size else None
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, ids: Ids, types: Ids | None = None) -> Hidden:
        time, places = ids.shape[1], len(self.position.weight)
        if time > places:
            raise CourseError(
                f"{time} tokens, but this model has been taught {places} positions. Cut the text into windows."
            )
        x = self.word(ids) + self.position.weight[:time]
        if self.kind is not None:
            x = x + (self.kind.weight[0] if types is None else self.kind(types))
        return self.dropout(self.norm(x))


def attention(q: Heads, k: Heads, v: Heads, mask: Real | None = None, dropout: float = 0.0) -> tuple[Heads, Weights]:
    """softmax(q k^T / sqrt(head_dim)) v, written out, and the softmax itself; nobody looks at padding."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (batch, heads, time, time)
    if mask is not None:  # the least number, not -inf: a row that is all padding stays a number
        scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1)
    return F.dropout(weights, dropout) @ v, weights


class SelfAttention(nn.Module):
    """Every token looks at all tokens, in several heads at once."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)  # one product in place of three
        self.output = nn.Linear(config.hidden_size, config.hidden_size)

    def split(self, x: Hidden) -> tuple[Heads, Heads, Heads]:
        """Queries, keys and values of each head."""
        batch, time, hidden = x.shape
        packed = self.qkv(x).view(batch, time, 3, self.heads, hidden // self.heads)
        q, k, v = packed.permute(2, 0, 3, 1, 4)  # three of (batch, heads, time, head_dim)
        return q, k, v

    def forward(self, x: Hidden, mask: Real | None = None, fused: bool = True) -> Hidden:
        """fused: by torch's scaled_dot_product_attention, which never keeps the (time, time) weights."""
        q, k, v = self.split(x)
        dropout = self.dropout if self.training else 0.0
        if fused:
            keys = None if mask is None else mask[:, None, None, :]
            mixed = F.scaled_dot_product_attention(q, k, v, keys, dropout)
        else:
            mixed, _ = attention(q, k, v, mask, dropout)
        return self.output(mixed.transpose(1, 2).reshape(x.shape))  # heads side by side again


class Block(nn.Module):
    """Self-attention and feed-forward, a residual connection around each, a norm behind each (post-norm)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.wide = nn.Linear(config.hidden_size, config.intermediate_size)
        self.narrow = nn.Linear(config.intermediate_size, config.hidden_size)
        self.output_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Hidden, mask: Real | None = None, fused: bool = True) -> Hidden:
        x = self.attention_norm(x + self.dropout(self.attention(x, mask, fused)))
        return self.output_norm(x + self.dropout(self.narrow(F.gelu(self.wide(x)))))


class Bert(nn.Module):
    """The encoder: token ids in, for every token a vector that knows its neighbours out."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.apply(initialise)

    def forward(self, ids: Ids, mask: Real | None = None, types: Ids | None = None, fused: bool = True) -> Hidden:
        """Hidden states of the last layer.

        Args:
            ids: token ids, [CLS] first.
            mask: True on tokens, False on padding; None where nothing is padded.
            types: 0 in the first text (the question), 1 in the second (the passage); a model without token types, as
                DistilBERT, passes over them.
            fused: False for the attention that is written out.

        Raises:
            CourseError: more tokens than the model has positions.
        """
        x = self.embeddings(ids, types)
        for layer in self.layers:
            x = layer(x, mask, fused)
        return x

    @torch.no_grad()
    def attentions(self, ids: Ids, mask: Real | None = None, types: Ids | None = None) -> list[Weights]:
        """Who looks at whom: of each layer the weights of each head, (batch, heads, queries, keys)."""
        x, found = self.embeddings(ids, types), []
        for layer in self.layers:
            found.append(attention(*layer.attention.split(x), mask)[1])
            x = layer(x, mask)
        return found


def initialise(module: nn.Module) -> None:
    """As the paper's code: weights from a normal distribution of standard deviation 0.02, biases 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        elif module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx])


# ---------------------------------------------------------------- heads


class MaskedLMHead(nn.Module):
    """Which token stands here? One more layer, then a product with the table of embeddings itself (tied)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.apply(initialise)

    def forward(
        self, hidden: Float[Tensor, "*places hidden"], table: Float[Tensor, "vocab hidden"]
    ) -> Float[Tensor, "*places vocab"]:
        """Logits over the vocabulary; `table` is bert.embeddings.word.weight."""
        return F.linear(self.norm(F.gelu(self.dense(hidden))), table, self.bias)


class SpanHead(nn.Module):
    """Section 4.2 of the paper: two vectors; the products with them say where an answer starts and ends."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.output = nn.Linear(config.hidden_size, 2)
        self.apply(initialise)

    def forward(self, hidden: Hidden) -> tuple[Float[Tensor, "batch time"], Float[Tensor, "batch time"]]:
        start, end = self.output(hidden).unbind(dim=-1)
        return start, end


class TokenHead(nn.Module):
    """Section 5.3: a class for every token."""

    def __init__(self, config: BertConfig, classes: int) -> None:
        super().__init__()
        self.dropout, self.output = nn.Dropout(config.dropout), nn.Linear(config.hidden_size, classes)
        self.apply(initialise)

    def forward(self, hidden: Hidden) -> Float[Tensor, "batch time classes"]:
        return self.output(self.dropout(hidden))
