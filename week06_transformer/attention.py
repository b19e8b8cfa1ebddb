"""Attention, to be read from top to bottom: one query after another, many heads at once, and who stands where.

References
    A. Vaswani et al., "Attention is all you need", arXiv:1706.03762: "the paper"; its sections and equations stand
        beside the lines that compute them
    J. Su et al., "RoFormer", arXiv:2104.09864, equations 14, 15 and 34: rotary positions
    N. Shazeer, "Fast Transformer decoding", arXiv:1911.02150, section 2.4: keys and values that are kept

A mask is True where a query may look, as in torch's scaled_dot_product_attention. In nn.MultiheadAttention a boolean
mask means the opposite: True is what is hidden.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shared.errors import CourseError

Vectors = Float[Tensor, "batch time d_model"]
Heads = Float[Tensor, "batch heads time head_dim"]
Queries = Float[Tensor, "batch heads queries head_dim"]
Keys = Float[Tensor, "batch heads keys head_dim"]


# ---------------------------------------------------------------- attention


def attention(
    queries: Float[Tensor, "*batch queries d_k"], keys: Float[Tensor, "*batch keys d_k"],
    values: Float[Tensor, "*batch keys d_v"], mask: Bool[Tensor, "..."] | None = None, dropout: float = 0.0,
) -> tuple[Float[Tensor, "*batch queries d_v"], Float[Tensor, "*batch queries keys"]]:  # fmt: skip
    """Scaled dot-product attention, written out (section 3.2.1): every query asks every key, and takes of the values.

    Args:
        queries, keys, values: what is looked for, where, and what is found there.
        mask: broadcasts to (*batch, queries, keys); True where a query may look. One that may look nowhere gets zeros.
        dropout: the share of weights that is silenced; 0 outside of training.

    Returns:
        What each query has found, and the weights: rows that sum to one.
    """
    d_k = queries.shape[-1]
    # exercise 1: scaled dot-product attention
    # queries (*batch, queries, d_k), keys (*batch, keys, d_k), values (*batch, keys, d_v), mask or None -> the found
    # (*batch, queries, d_v), and the weights (*batch, queries, keys) that were used: softmax(Q K^T / sqrt(d_k)) V. A
    # weight is 0 where mask is False, and a query whose whole row of the mask is False finds zeros, not NaN.
    # hint: scores = queries @ keys.transpose(-2, -1), divided by sqrt(d_k). Before the softmax over the last dimension
    # a masked score becomes the most negative number that there is (torch.finfo(dtype).min: where a whole row is -inf,
    # softmax gives NaN); after it, a masked weight becomes 0, which matters in such rows alone. Then F.dropout, and @.
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(d_k)  # (*batch, queries, keys): Q K^T / sqrt(d_k)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
    weights = F.dropout(weights, dropout)
    return weights @ values, weights  # equation (1): Attention(Q, K, V)
    # end of exercise 1


def causal_mask(queries: int, keys: int, device: torch.device | str = "cpu") -> Bool[Tensor, "queries keys"]:
    """Who may look where when the future is hidden (section 3.2.3). The queries are the last ones of the keys."""
    # exercise 3: causal mask
    # How many queries and keys -> (queries, keys), True where a query may look: at itself and at what comes before it.
    # There may be more keys than queries, when older ones were kept: the last query stands at the last key's place.
    # hint: query i stands at place keys - queries + i, key j at place j. The places of queries as a column, those of
    # keys as a row, and one comparison gives all pairs; or a triangle of ones (tril), shifted by what was kept.
    places = torch.arange(keys - queries, keys, device=device)
    return torch.arange(keys, device=device) <= places[:, None]
    # end of exercise 3


def split_heads(x: Vectors, heads: int) -> Heads:
    """Every vector cut into `heads` pieces, one for each head."""
    batch, time, d_model = x.shape
    # exercise 2: head split and merge, cutting
    # x (batch, time, d_model) -> (batch, heads, time, d_model / heads): head h has the h-th piece of every vector.
    # hint: view the last dimension as (heads, head_dim), then let time and heads change places (transpose). A view
    # alone to (batch, heads, time, head_dim) has the right shape, and mixes up who says what when.
    return x.view(batch, time, heads, d_model // heads).transpose(1, 2)  # (batch, heads, time, head_dim)
    # end of exercise 2


def merge_heads(x: Heads) -> Vectors:
    """The way back: the pieces of all heads side by side (the Concat of section 3.2.2)."""
    batch, heads, time, head_dim = x.shape
    # exercise 2: head split and merge, joining
    # x (batch, heads, time, head_dim) -> (batch, time, heads * head_dim), so that it undoes split_heads.
    # hint: transpose first, then reshape (which copies: after a transpose the numbers no longer lie in that order).
    return x.transpose(1, 2).reshape(batch, time, heads * head_dim)
    # end of exercise 2


class Cache:
    """The keys and values (batch, heads, time, head_dim) of what has been read so far, so that none is made twice."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def __len__(self) -> int:
        return 0 if self.keys is None else self.keys.shape[2]

    def append(self, keys: Heads, values: Heads) -> tuple[Keys, Keys]:
        """Keeps the new ones behind the old ones, and returns all of them."""
        # exercise 6: cached step
        # keys, values (batch, heads, new, head_dim) of the newest tokens -> those of all tokens so far, (batch, heads,
        # old + new, head_dim), which are in self.keys and self.values from now on; at first these are None.
        # hint: torch.cat([old, new], dim=2), where there are old ones: dimension 2 is time.
        if self.keys is not None:
            keys, values = torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values
        # end of exercise 6

    def take(self, rows: Int[Tensor, " rows"]) -> None:
        """Goes on with these rows of the batch, in this order (beam search)."""
        self.keys, self.values = self.keys[rows], self.values[rows]


class MultiHeadAttention(nn.Module):
    """Section 3.2.2: several attentions side by side, each in a smaller space of its own, then one matrix W^O.

    `in_proj` holds W^Q, W^K and W^V of all heads, one below the other, as nn.MultiheadAttention's in_proj_weight does.
    """

    def __init__(self, d_model: int, heads: int, dropout: float = 0.0, rope: bool = False, fused: bool = True) -> None:
        super().__init__()
        if d_model % heads:
            raise CourseError(f"d_model {d_model} is not divisible by {heads} heads: each head gets d_model / heads.")
        if rope and d_model // heads % 2:
            raise CourseError(f"rotary positions turn pairs of numbers: a head of {d_model // heads} has an odd one.")
        self.heads, self.dropout, self.rope, self.fused = heads, dropout, rope, fused
        self.in_proj = nn.Linear(d_model, 3 * d_model)
        self.out_proj = nn.Linear(d_model, d_model)
        nn.init.xavier_uniform_(self.in_proj.weight)
        for linear in (self.in_proj, self.out_proj):
            nn.init.zeros_(linear.bias)

    def forward(
        self, x: Float[Tensor, "batch queries d_model"], context: Float[Tensor, "batch _ d_model"] | None = None, *,
        mask: Tensor | None = None, key_mask: Tensor | None = None, causal: bool = False, cache: Any = None,
        need_weights: bool = False,
    ) -> Any:  # fmt: skip
        """(batch, queries, d_model); with need_weights a pair of that and the weights (batch, heads, queries, keys).

        Args:
            x: where the queries come from, and without a context the keys and values, too (self-attention).
            context: where keys and values come from (cross-attention): the encoder's output.
            mask: broadcasts to (batch, heads, queries, keys); True where a query may look.
            key_mask: (batch, keys), False on padding.
            causal: hides the future as well; the queries are the last ones of the keys.
            cache: a Cache (or None) of keys and values of before; those of a context are made once and kept.
            need_weights: computes explicitly, since the fused path never has the weights as a whole.

        Raises:
            CourseError: a mask that is not boolean, or has the wrong shape.
        """
        q, k, v = self.project(x, context, cache)
        shape = (len(x), self.heads, q.shape[2], k.shape[2])
        allowed = combined(mask, key_mask, shape)
        dropout = self.dropout if self.training else 0.0
        explicit = need_weights or not self.fused
        alone = causal and allowed is None and shape[2] == shape[3] and not explicit  # SDPA knows this mask itself
        if causal and not alone:
            hidden = causal_mask(shape[2], shape[3], x.device)
            allowed = hidden if allowed is None else allowed & hidden
        if explicit:
            found, weights = attention(q, k, v, allowed, dropout)
        else:
            found = F.scaled_dot_product_attention(q, k, v, allowed, dropout, is_causal=alone)
        out = self.out_proj(merge_heads(found))  # 3.2.2: MultiHead(Q, K, V) = Concat(head_1, ..., head_h) W^O
        return (out, weights) if need_weights else out

    def project(
        self, x: Float[Tensor, "batch queries d_model"], context: Float[Tensor, "batch _ d_model"] | None,
        cache: Any,
    ) -> tuple[Queries, Keys, Keys]:  # fmt: skip
        """Queries, keys and values: X W^Q, X W^K and X W^V of each head, (batch, heads, time, head_dim)."""
        if context is None:
            q, k, v = (split_heads(part, self.heads) for part in self.in_proj(x).chunk(3, dim=-1))  # one product
            if self.rope:
                start = len(cache) if cache is not None else 0
                q, k = rotated(q, start), rotated(k, start)
            return q, *(cache.append(k, v) if cache is not None else (k, v))
        d_model = x.shape[-1]
        weight, bias = self.in_proj.weight, self.in_proj.bias
        q = split_heads(F.linear(x, weight[:d_model], bias[:d_model]), self.heads)
        if cache is not None and len(cache):
            return q, cache.keys, cache.values
        both = F.linear(context, weight[d_model:], bias[d_model:]).chunk(2, dim=-1)
        k, v = (split_heads(part, self.heads) for part in both)
        return q, *(cache.append(k, v) if cache is not None else (k, v))


def combined(mask: Tensor | None, key_mask: Tensor | None, shape: tuple[int, int, int, int]) -> Tensor | None:
    """Both masks in one that broadcasts to `shape`, (batch, heads, queries, keys); CourseError where one does not."""
    batch, heads, queries, keys = shape
    for name, given in (("mask", mask), ("key_mask", key_mask)):
        if given is not None and given.dtype != torch.bool:
            raise CourseError(f"{name} is {given.dtype}: must be torch.bool, True where a query may look.")
    if key_mask is not None:
        if key_mask.shape != (batch, keys):
            raise CourseError(f"key_mask {tuple(key_mask.shape)}: must be (batch {batch}, keys {keys}).")
        key_mask = key_mask[:, None, None, :]  # (batch, 1, 1, keys)
    if mask is not None:
        pairs = zip(reversed(mask.shape), reversed(shape), strict=False)
        if mask.ndim > 4 or any(mine not in (1, whole) for mine, whole in pairs):
            must = f"must broadcast to (batch {batch}, heads {heads}, queries {queries}, keys {keys})."
            raise CourseError(f"mask {tuple(mask.shape)}: {must}")
        mask = mask[(None,) * (4 - mask.ndim)]
    return key_mask if mask is None else mask if key_mask is None else mask & key_mask


# ---------------------------------------------------------------- positions


def sinusoidal(length: int, d_model: int, start: int = 0) -> Float[Tensor, "length d_model"]:
    """Section 3.5: a sine and a cosine of the place in each pair of dimensions, from fast to slow."""
    # exercise 4: sinusoidal positions
    # How many places, from place `start` on, and d_model (even) -> (length, d_model): row p, columns 2i and 2i + 1 are
    # the sine and the cosine of (start + p) / 10000^(2i / d_model).
    # hint: places as a column, (length, 1), times rates 10000^(-2i / d_model) as a row, (d_model / 2,), give all angles
    # at once. Sines go into the even columns, table[:, 0::2], cosines into the odd ones.
    places = torch.arange(start, start + length, dtype=torch.float32)[:, None]
    rates = 10000.0 ** (-torch.arange(0, d_model, 2) / d_model)
    table = torch.empty(length, d_model)
    table[:, 0::2] = torch.sin(places * rates)
    table[:, 1::2] = torch.cos(places * rates)
    return table
    # end of exercise 4


def rotated(x: Heads, start: int = 0) -> Heads:
    """Rotary positions (RoFormer, equation 34): each pair of numbers turned by an angle that grows with the place.

    The dot product of two turned vectors depends on the difference of their angles: on how far apart they stand.
    """
    time, head_dim = x.shape[-2:]
    places = torch.arange(start, start + time, device=x.device, dtype=torch.float32)[:, None]
    rates = 10000.0 ** (-torch.arange(0, head_dim, 2, device=x.device) / head_dim)
    cos, sin = torch.cos(places * rates).to(x.dtype), torch.sin(places * rates).to(x.dtype)  # (time, head_dim / 2)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)
