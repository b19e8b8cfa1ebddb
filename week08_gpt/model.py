"""GPT, to be read from top to bottom: attention that sees the past alone, its cache, the blocks, the whole.

References
    A. Radford et al., "Language models are unsupervised multitask learners", 2019: GPT-2; its section 2.3 says what is
        not as in the first Transformer (github.com/openai/gpt-2, src/model.py)
    H. Touvron et al., "LLaMA", arXiv:2302.13971, section 2.2: RMSNorm, SwiGLU, rotary positions (RoFormer,
        arXiv:2104.09864, equation 34)
    N. Shazeer, "GLU variants improve Transformer", arXiv:2002.05202, equation 6: SwiGLU
    J. Ainslie et al., "GQA", arXiv:2305.13245: fewer heads of keys and values than of queries
    N. Shazeer, "Fast Transformer decoding", arXiv:1911.02150, section 2.4: keys and values that are kept
    A. Chowdhery et al., "PaLM", arXiv:2204.02311, appendix B: operations of a token
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shared.errors import CourseError

Ids = Int[Tensor, "batch time"]
Vectors = Float[Tensor, "batch time d_model"]
Queries = Float[Tensor, "batch heads queries head_dim"]
Keys = Float[Tensor, "batch kv_heads new head_dim"]
AllKeys = Float[Tensor, "batch kv_heads _ head_dim"]
Mask = Bool[Tensor, "... queries keys"]  # True where a query may look


@dataclass(frozen=True)
class GPTConfig:
    """What a GPT looks like. The defaults are GPT-2's smallest, 124 M parameters; `llama` has Llama's choices."""

    vocab_size: int = 50_257
    block_size: int = 1_024  # tokens that it reads at most
    layers: int = 12
    heads: int = 12
    kv_heads: int = 0  # heads of keys and values; 0: as many as of queries
    d_model: int = 768
    d_ff: int = 0  # inner width of the feed-forward layer; 0: 4 d_model, for SwiGLU, which has three matrices, 8/3
    dropout: float = 0.0
    positions: str = "learned"  # or rope
    norm: str = "layer"  # or rms
    mlp: str = "gelu"  # or swiglu
    bias: bool = True
    tied: bool = True  # the output's matrix is the table of tokens
    eps: float = 1e-5  # of the norms
    rope_theta: float = 10_000.0

    def __post_init__(self) -> None:
        d_ff = 4 * self.d_model if self.mlp == "gelu" else (8 * self.d_model // 3 + 7) // 8 * 8
        object.__setattr__(self, "kv_heads", self.kv_heads or self.heads)
        object.__setattr__(self, "d_ff", self.d_ff or d_ff)
        if self.d_model % self.heads:
            raise CourseError(f"d_model {self.d_model} is not divisible by {self.heads} heads.")
        if self.heads % self.kv_heads:
            raise CourseError(f"{self.heads} heads are not divisible by {self.kv_heads} heads of keys and values.")
        if self.positions == "rope" and self.head_dim % 2:
            raise CourseError(f"rotary positions turn pairs of numbers: a head of {self.head_dim} has an odd one.")

    @property
    def head_dim(self) -> int:
        return self.d_model // self.heads

    @classmethod
    def gpt2(cls, size: str = "small", **changes: Any) -> "GPTConfig":
        """GPT-2's own: small, medium, large or xl (table 2 of the paper)."""
        shapes = {"small": (12, 12, 768), "medium": (24, 16, 1024), "large": (36, 20, 1280), "xl": (48, 25, 1600)}
        layers, heads, d_model = shapes[size]
        return replace(cls(layers=layers, heads=heads, d_model=d_model), **{"d_ff": 0, "kv_heads": 0} | changes)

    def llama(self, **changes: Any) -> "GPTConfig":
        """The same size with Llama's choices."""
        choices = {"positions": "rope", "norm": "rms", "mlp": "swiglu", "bias": False, "tied": False, "d_ff": 0}
        return replace(self, **choices | changes)


# ---------------------------------------------------------------- attention


def causal_mask(queries: int, keys: int, device: torch.device | str = "cpu") -> Bool[Tensor, "queries keys"]:
    """Who may look where: each at itself and at what comes before it. The queries are the last ones of the keys."""
    # exercise 1: causal self-attention, the mask
    # How many queries and keys -> (queries, keys), True where a query may look. There are more keys than queries where
    # older ones were kept: the last query stands at the last key's place.
    # hint: query i stands at place keys - queries + i and sees the keys up to there: a tril, moved by keys - queries.
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)
    # end of exercise 1


def attention(
    queries: Float[Tensor, "batch heads queries head_dim"], keys: Float[Tensor, "batch kv_heads keys head_dim"],
    values: Float[Tensor, "batch kv_heads keys head_dim"], mask: Mask, dropout: float = 0.0,
) -> tuple[Float[Tensor, "batch heads queries head_dim"], Float[Tensor, "batch heads queries keys"]]:  # fmt: skip
    """Attention, written out: what each query has found, and the weights it took it with: rows that sum to one, before
    dropout.

    There may be fewer heads of keys and values than of queries: then as many queries' heads in a row share one (GQA).
    """
    # exercise 1: causal self-attention, the weights
    # queries (batch, heads, queries, head_dim), keys and values (batch, kv_heads, keys, head_dim), mask (…, queries,
    # keys), True where a query may look -> the found (batch, heads, queries, head_dim), and the weights
    # (batch, heads, queries, keys), which are 0 where the mask is False and sum to one over the keys; then `dropout` of
    # them are dropped, in what is found and in what is returned. With 4 heads and 2 kv_heads, heads 0 and 1 ask head 0
    # of the keys, heads 2 and 3 ask head 1.
    # hint: repeat_interleave keys and values along dim=1 to `heads` of them. Then softmax(Q K^T / sqrt(head_dim)) V:
    # before the softmax a hidden score becomes torch.finfo(dtype).min; then F.dropout(weights, dropout), and @ values.
    shared = queries.shape[1] // keys.shape[1]
    keys, values = keys.repeat_interleave(shared, dim=1), values.repeat_interleave(shared, dim=1)
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])  # (batch, heads, queries, keys)
    weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=-1)
    weights = F.dropout(weights, dropout)
    return weights @ values, weights
    # end of exercise 1


def rotated(x: Queries, turn: tuple[Tensor, Tensor]) -> Queries:
    """Rotary positions: numbers i and i + head_dim / 2 are a pair, turned by an angle that grows with the place.
    `turn` has the cosines and the sines, (batch or 1, 1, time, head_dim / 2). (RoFormer pairs neighbours.)"""
    cos, sin = turn
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class Cache:
    """Keys and values of what has been read so far, of every layer, so that none is computed twice.

    Attributes:
        keys, values: of each layer (batch, kv_heads, room, head_dim); the first `len(cache)` places are filled.
        padding: how many tokens at the left of each row are only there to make rows equally long; None: none anywhere.
    """

    def __init__(
        self, config: GPTConfig, batch: int, padding: Int[Tensor, " batch"] | None, room: int, like: Tensor
    ) -> None:
        shape = (batch, config.kv_heads, room, config.head_dim)
        self.keys, self.values = ([like.new_zeros(shape) for _ in range(config.layers)] for _ in range(2))
        self.padding, self.length = padding, 0

    def __len__(self) -> int:
        return self.length

    def append(self, layer: int, keys: Keys, values: Keys) -> tuple[AllKeys, AllKeys]:
        """Keeps the new ones behind the old ones of that layer, and returns all of them."""
        # exercise 2: the cache, keeping
        # keys, values (batch, kv_heads, new, head_dim) of the newest tokens -> those of all tokens so far, (batch,
        # kv_heads, old + new, head_dim). There are len(self) old ones; len(self) itself grows later, once all layers
        # have appended.
        # hint: copy them into self.keys[layer] and self.values[layer], to the places old to old + new of dimension 2
        # (x.narrow(2, old, new) is that part of x), and return the part from 0 to old + new.
        new, end = keys.shape[2], self.length + keys.shape[2]
        self.keys[layer].narrow(2, self.length, new).copy_(keys)
        self.values[layer].narrow(2, self.length, new).copy_(values)
        return self.keys[layer].narrow(2, 0, end), self.values[layer].narrow(2, 0, end)
        # end of exercise 2


class CausalSelfAttention(nn.Module):
    """Many heads of attention, each token asking itself and those before it.

    `in_proj` makes queries, keys and values of all heads in one product. Query head h asks key head h // (heads /
    kv_heads): GPT-2 has as many of both, Llama fewer keys, which the cache then need not hold.
    """

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.layer, self.dropout = layer, config.dropout
        self.in_proj = nn.Linear(config.d_model, (config.heads + 2 * config.kv_heads) * config.head_dim, config.bias)
        self.out_proj = nn.Linear(config.d_model, config.d_model, config.bias)

    def forward(self, x: Vectors, mask: Mask | None, turn: Any, cache: Any, weights: list | None) -> Vectors:
        """Without a mask: all tokens are new (causal), or one is (and may look everywhere)."""
        batch, time, d_model = x.shape
        qkv = self.in_proj(x).view(batch, time, -1, self.head_dim).transpose(1, 2)  # (batch, all heads, time, head_dim)
        q, k, v = qkv.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        if turn is not None:
            q, k = rotated(q, turn), rotated(k, turn)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)
        dropout = self.dropout if self.training else 0.0
        if weights is None:
            causal, grouped = mask is None and time > 1, self.heads != self.kv_heads
            found = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=causal, enable_gqa=grouped)
        else:
            found, used = attention(q, k, v, mask, dropout)
            weights.append(used)
        return self.out_proj(found.transpose(1, 2).reshape(batch, time, d_model))


# ---------------------------------------------------------------- blocks


class GELU(nn.Module):
    """GPT-2's feed-forward layer: four times as wide inside, with the tanh form of GELU."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.d_model, config.d_ff, config.bias)
        self.down = nn.Linear(config.d_ff, config.d_model, config.bias)

    def forward(self, x: Vectors) -> Vectors:
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class SwiGLU(nn.Module):
    """Llama's: one half of the inner numbers says how much of the other half passes."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.d_model, config.d_ff, config.bias)
        self.up = nn.Linear(config.d_model, config.d_ff, config.bias)
        self.down = nn.Linear(config.d_ff, config.d_model, config.bias)

    def forward(self, x: Vectors) -> Vectors:
        return self.down(F.silu(self.gate(x)) * self.up(x))


def norm_layer(config: GPTConfig) -> nn.Module:
    """The norms, as torch computes them in one go; week 6 writes them out."""
    if config.norm == "rms":
        return nn.RMSNorm(config.d_model, config.eps)
    return nn.LayerNorm(config.d_model, config.eps, bias=config.bias)


class Block(nn.Module):
    """Pre-norm (section 2.3 of GPT-2): x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.norm1, self.attention = norm_layer(config), CausalSelfAttention(config, layer)
        self.norm2, self.mlp = norm_layer(config), (SwiGLU if config.mlp == "swiglu" else GELU)(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Vectors, mask: Mask | None, turn: Any, cache: Any, weights: list | None) -> Vectors:
        x = x + self.dropout(self.attention(self.norm1(x), mask, turn, cache, weights))
        return x + self.dropout(self.mlp(self.norm2(x)))


# ---------------------------------------------------------------- the whole


class GPT(nn.Module):
    """A decoder alone: tokens and their places, blocks, a last norm, and a score for each token that may come next."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.places = nn.Embedding(config.block_size, config.d_model) if config.positions == "learned" else None
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = norm_layer(config)
        self.head = None if config.tied else nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.positions == "rope":
            rates = config.rope_theta ** (-torch.arange(0, config.head_dim, 2) / config.head_dim)
            angles = torch.arange(config.block_size)[:, None] * rates  # (block_size, head_dim / 2)
            self.register_buffer("cos", angles.cos(), persistent=False)
            self.register_buffer("sin", angles.sin(), persistent=False)
        self.initialise()

    def initialise(self, std: float = 0.02) -> None:
        """As published for GPT-2: 0.02 everywhere, and less where a block adds to x: over sqrt(2 layers), for there are
        two such sums in every layer, and their variances add up (section 2.3)."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                added = name.endswith(("out_proj.weight", "down.weight"))
                nn.init.normal_(parameter, std=std / math.sqrt(2 * self.config.layers) if added else std)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def for_writing(self) -> "GPT":
        """Evaluation mode, and every matrix laid the other way round in memory. No number changes; but a product with
        one vector at a time, as in writing, then takes half the time on a CPU."""
        for parameter in self.parameters():
            if parameter.ndim == 2:
                parameter.data = parameter.data.t().contiguous().t()
        return self.eval()

    def cache(self, batch: int = 1, padding: Int[Tensor, " batch"] | None = None, room: int = 0) -> Cache:
        """An empty cache for so many rows, with room for so many tokens (0: a block); `padding`: see Cache."""
        return Cache(self.config, batch, padding, room or self.config.block_size, self.tokens.weight)

    def forward(
        self, ids: Ids, cache: Any = None, *, last: bool = False, fused: bool = True, weights: list | None = None
    ) -> Float[Tensor, "batch _ vocab"]:
        """The logits of each next token, (batch, time, vocab), given the tokens up to there.

        Args:
            ids: (batch, time) tokens; with a cache those that follow what it has read, one or many.
            cache: a Cache (or None), which then has read these, too.
            last: only the logits of the last place are wanted, (batch, 1, vocab).
            fused: False writes attention out.
            weights: a list that gets each layer's attention weights (batch, heads, time, keys); they are written out.

        Raises:
            CourseError: more tokens than the block has places.
        """
        time = ids.shape[1]
        weights = [] if weights is None and not fused else weights
        # exercise 2: the cache, one chunk
        # ids (batch, time), cache a Cache (or None) -> start, how many tokens were read before these; and mask, (time,
        # start + time), True where a query may look. The fused path needs no mask (None) in two cases: nothing was
        # kept, and each token sees those before it; or there is one token, which sees all.
        # hint: the cache knows how many it has read. Only for several tokens behind others is the fused path's triangle
        # wrong (it ends at the upper left): they need piece 1's mask.
        start = len(cache) if cache is not None else 0
        mask = causal_mask(time, start + time, ids.device) if start and time > 1 else None
        # end of exercise 2
        end, padding = start + time, cache.padding if cache is not None else None
        if end > self.config.block_size:
            raise CourseError(f"{end} tokens: the model reads at most {self.config.block_size} (its block size).")
        places = torch.arange(start, end, device=ids.device)[None]  # (1, time)
        if mask is None and (weights is not None or padding is not None):  # else the fused path does without
            mask = causal_mask(time, end, ids.device)
        if padding is not None:  # each row counts from its first real token, and sees none before it
            places = (places - padding[:, None]).clamp(min=0)  # (batch, time)
            mask = mask & (torch.arange(end, device=ids.device) >= padding[:, None])[:, None, None]  # (batch, 1, …)
        x, turn = self.tokens(ids), None
        if self.places is not None:
            x = x + self.places(places)
        else:
            turn = self.cos[places][:, None].to(x.dtype), self.sin[places][:, None].to(x.dtype)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, mask, turn, cache, weights)
        if cache is not None:
            cache.length = end
        x = self.norm(x[:, -1:] if last else x)
        return F.linear(x, self.tokens.weight if self.head is None else self.head.weight)


def count_parameters(module: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(parameter.numel() for parameter in module.parameters())


def flops_per_token(config: GPTConfig, time: int) -> float:
    """Floating-point operations of a token in training, forward and backward, in texts of `time` tokens.

    PaLM, appendix B: 6 N + 12 L H Q T. Each weight of a product is multiplied and added once forward, twice backward;
    N leaves out what is only looked up: places, and a table of tokens that is not the output's matrix, too.
    """
    d, kv = config.d_model, config.kv_heads * config.head_dim
    block = 2 * d * d + 2 * d * kv + (3 if config.mlp == "swiglu" else 2) * d * config.d_ff
    products = config.layers * block + config.vocab_size * d
    return 6.0 * products + 12.0 * config.layers * config.heads * config.head_dim * time
