"""The Transformer, to be read from top to bottom: norms, blocks, encoder and decoder. Its attention: attention.py.

References
    A. Vaswani et al., "Attention is all you need", arXiv:1706.03762: "the paper"; its sections and equations stand
        beside the lines that compute them
    J. Ba, J. Kiros, G. Hinton, "Layer normalization", arXiv:1607.06450, equation 4
    B. Zhang, R. Sennrich, "Root mean square layer normalization", arXiv:1910.07467, equation 4
    R. Xiong et al., "On layer normalization in the Transformer architecture", arXiv:2002.04745: pre- against post-norm
    O. Press, L. Wolf, "Using the output embedding to improve language models", arXiv:1608.05859: tied embeddings

Tokens are numbers of words, PAD behind the end of a sentence. A mask is True where one may look.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shared.errors import CourseError
from shared.sentence_pairs import PAD
from week06_transformer.attention import Cache, MultiHeadAttention, sinusoidal

POSITIONS = ("sinusoidal", "learned", "rope", "none")
Vectors = Float[Tensor, "batch time d_model"]
Memory = Float[Tensor, "batch keys d_model"]
Tokens = Int[Tensor, "batch time"]
Real = Bool[Tensor, "batch keys"]  # True where there is a token, False on padding


# ---------------------------------------------------------------- norms, feed-forward, blocks


def layer_norm(
    x: Float[Tensor, "*batch d_model"], weight: Float[Tensor, " d_model"], bias: Float[Tensor, " d_model"], eps: float
) -> Float[Tensor, "*batch d_model"]:
    """Every vector brought to mean 0 and variance 1 by itself, whatever else is in the batch; then scaled, shifted."""
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = (centred * centred).mean(dim=-1, keepdim=True)
    return centred * torch.rsqrt(variance + eps) * weight + bias


class LayerNorm(nn.Module):
    """layer_norm, as torch computes it in one go: a step of training takes a sixth less time."""

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps, self.weight, self.bias = eps, nn.Parameter(torch.ones(d_model)), nn.Parameter(torch.zeros(d_model))

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)


class RMSNorm(nn.Module):
    """The same without the mean: only the length of a vector is normalised."""

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps, self.weight = eps, nn.Parameter(torch.ones(d_model))

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        return x * torch.rsqrt((x * x).mean(dim=-1, keepdim=True) + self.eps) * self.weight


@dataclass(frozen=True)
class TransformerConfig:
    """What a Transformer looks like. The paper's base model: 512 wide, 8 heads, 6 layers, d_ff 2048, post-norm."""

    source_words: int = 30
    target_words: int = 30  # with source_words 0: one vocabulary for both sides
    d_model: int = 64
    heads: int = 4
    layers: int = 2  # of the encoder, and of the decoder
    d_ff: int = 256
    dropout: float = 0.1
    norm: str = "pre"  # pre: x + f(norm(x)), as today; post: norm(x + f(x)), as in the paper
    rms: bool = False  # RMSNorm in place of LayerNorm
    positions: str = "sinusoidal"
    max_len: int = 256  # how many learned positions there are

    def __post_init__(self) -> None:
        if self.positions == "sinusoidal" and self.d_model % 2:
            raise CourseError(f"d_model {self.d_model} is odd: sinusoidal positions come in pairs, sine and cosine.")

    def norm_layer(self) -> nn.Module:
        return (RMSNorm if self.rms else LayerNorm)(self.d_model)

    def attention_layer(self, own: bool = True) -> MultiHeadAttention:
        """Rotary positions turn queries and keys of one sequence, not those of two."""
        return MultiHeadAttention(self.d_model, self.heads, self.dropout, self.positions == "rope" and own)


class FeedForward(nn.Module):
    """Section 3.3, equation (2): max(0, x W_1 + b_1) W_2 + b_2, at each place by itself."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(config.d_model, config.d_ff), nn.Linear(config.d_ff, config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Vectors) -> Vectors:
        return self.linear2(self.dropout(F.relu(self.linear1(x))))


class EncoderBlock(nn.Module):
    """Section 3.1: self-attention and feed-forward, each with a residual connection and a norm."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm, self.dropout = config.norm, nn.Dropout(config.dropout)
        self.attention, self.feed_forward = config.attention_layer(), FeedForward(config)
        self.norm1, self.norm2 = config.norm_layer(), config.norm_layer()

    def forward(self, x: Vectors, key_mask: Real | None = None) -> Vectors:
        if self.norm == "post":  # the paper: LayerNorm(x + Sublayer(x))
            x = self.norm1(x + self.dropout(self.attention(x, key_mask=key_mask)))
            return self.norm2(x + self.dropout(self.feed_forward(x)))
        # exercise 5: one pre-norm block
        # x (batch, time, d_model), key_mask (batch, time) or None -> the same shape as x. Two steps, self-attention and
        # feed-forward; each reads a normed x and adds what it finds, after dropout, to x itself.
        # hint: each step is four in a row: a norm, the layer, dropout, a sum. Nothing stands on the way of x itself
        # from below to above: what is added to is x, and not the normed x. Only attention must know of padding.
        x = x + self.dropout(self.attention(self.norm1(x), key_mask=key_mask))
        return x + self.dropout(self.feed_forward(self.norm2(x)))
        # end of exercise 5


class DecoderBlock(nn.Module):
    """The same with cross-attention in between, and with the future hidden from self-attention."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm, self.dropout = config.norm, nn.Dropout(config.dropout)
        self.attention, self.cross_attention = config.attention_layer(), config.attention_layer(own=False)
        self.feed_forward = FeedForward(config)
        self.norm1, self.norm2, self.norm3 = (config.norm_layer() for _ in range(3))

    def forward(
        self, x: Vectors, memory: Memory, key_mask: Real | None = None,
        caches: tuple = (None, None), causal: bool = True,
    ) -> Vectors:  # fmt: skip
        own, cross = caches
        for norm, layer in (
            (self.norm1, lambda x: self.attention(x, causal=causal, cache=own)),
            (self.norm2, lambda x: self.cross_attention(x, memory, key_mask=key_mask, cache=cross)),
            (self.norm3, self.feed_forward),
        ):
            x = norm(x + self.dropout(layer(x))) if self.norm == "post" else x + self.dropout(layer(norm(x)))
        return x


# ---------------------------------------------------------------- the whole


class State:
    """Where decoding stands: the encoder's output, and of every block what its two attentions have kept."""

    def __init__(self, memory: Memory, key_mask: Real, layers: int) -> None:
        self.memory, self.key_mask, self.caches = memory, key_mask, [(Cache(), Cache()) for _ in range(layers)]

    def take(self, rows: Int[Tensor, " rows"]) -> None:
        """Goes on with these rows of the batch."""
        self.memory, self.key_mask = self.memory[rows], self.key_mask[rows]
        for cache in (cache for pair in self.caches for cache in pair if len(cache)):
            cache.take(rows)


class Transformer(nn.Module):
    """Figure 1 of the paper. `causal = False` takes the decoder's mask away (leak.py): never do that."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config, self.causal, pre = config, True, config.norm == "pre"
        self.source_table = nn.Embedding(config.source_words or config.target_words, config.d_model)
        self.target_table = nn.Embedding(config.target_words, config.d_model) if config.source_words else None
        self.places = nn.Embedding(config.max_len, config.d_model) if config.positions == "learned" else None
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = nn.ModuleList(EncoderBlock(config) for _ in range(config.layers))
        self.decoder = nn.ModuleList(DecoderBlock(config) for _ in range(config.layers))
        # In post-norm every block ends in a norm. In pre-norm none does, so one stands behind the last.
        self.encoder_norm, self.decoder_norm = (config.norm_layer() if pre else nn.Identity() for _ in range(2))
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=config.d_model**-0.5)  # so that times sqrt(d_model) it is near 1

    @property
    def words(self) -> nn.Embedding:
        """The target's vectors, which are the output's matrix, too (section 3.4)."""
        return self.target_table if self.target_table is not None else self.source_table

    def embedded(self, table: nn.Embedding, tokens: Tokens, start: int = 0) -> Vectors:
        """Vectors of tokens, times sqrt(d_model) (section 3.4), plus those of their places, from `start` on."""
        x, end = table(tokens) * math.sqrt(self.config.d_model), start + tokens.shape[1]
        if self.config.positions == "sinusoidal":
            x = x + sinusoidal(tokens.shape[1], self.config.d_model, start).to(x)
        elif self.places is not None:
            if end > self.config.max_len:
                raise CourseError(
                    f"length {end}: the learned positions end at {self.config.max_len}. Train with a larger --max-len,"
                    " or with --positions sinusoidal or rope."
                )
            x = x + self.places.weight[start:end]
        return self.dropout(x)

    def encode(self, source: Tokens) -> State:
        """Reads the source, (batch, keys) with PAD at the end."""
        x, key_mask = self.embedded(self.source_table, source), source != PAD
        for block in self.encoder:
            x = block(x, key_mask)
        return State(self.encoder_norm(x), key_mask, len(self.decoder))

    def forward(self, source: Tokens, target: Int[Tensor, "batch steps"]) -> Float[Tensor, "batch steps words"]:
        """The logits of each next token, given the source and the target so far, all steps at once."""
        state, x = self.encode(source), self.embedded(self.words, target)
        for block in self.decoder:
            x = block(x, state.memory, state.key_mask, causal=self.causal)
        return F.linear(self.decoder_norm(x), self.words.weight)

    def step(self, tokens: Int[Tensor, "batch new"], state: State) -> Float[Tensor, "batch words"]:
        """The logits of the next token, given the newest ones; what came before them is in the state's caches."""
        # exercise 6: cached step
        # tokens (batch, new), as a rule one new token a row; state: .memory, .key_mask, and .caches, a pair for each
        # block, each of which appends -> logits of the token after the last of them, (batch, words). The same numbers
        # as forward gives for the whole target, from a fraction of the work.
        # hint: the first of the new tokens stands behind all that a self-attention's cache has, len(state.caches[0][0])
        # of them, and its vector must say so: `embedded` takes a start. Then through the blocks as in forward, each
        # with its pair of caches; the norm behind the last; and the last place alone becomes logits.
        x = self.embedded(self.words, tokens, len(state.caches[0][0]))
        for block, caches in zip(self.decoder, state.caches, strict=True):
            x = block(x, state.memory, state.key_mask, caches, self.causal)
        return F.linear(self.decoder_norm(x[:, -1]), self.words.weight)
        # end of exercise 6


def count_parameters(module: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(parameter.numel() for parameter in module.parameters())
