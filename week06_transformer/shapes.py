"""The week's task as a program: random tensors through every module, and what each step makes of them.

`./course run 6 shapes --batch 2 --seq 5 --d-model 12 --heads 3` prints the name, the shape and the meaning of every
intermediate as a tree. Each is computed here step by step; that the modules come to the same numbers is checked.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week06_transformer/shapes.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from shared import cli
from shared.config import Count, Seed
from shared.errors import CourseError
from week06_transformer.attention import MultiHeadAttention, attention, causal_mask, merge_heads, split_heads
from week06_transformer.model import DecoderBlock, EncoderBlock, Transformer, TransformerConfig


@dataclass
class Config:
    """The flags of shapes."""

    batch: Count = 2
    """Sentences side by side."""
    seq: Count = 5
    """Tokens of the source."""
    target_seq: Count = 4
    """Tokens of the target."""
    d_model: Count = 12
    """The length of a token's vector."""
    heads: Count = 3
    """How many attentions side by side; --d-model must be divisible by it."""
    d_ff: Count = 48
    """The width inside of the feed-forward layers."""
    words: Count = 20
    """The size of the vocabulary."""
    seed: Seed = 0
    """What the random tensors follow from. The shapes do not depend on it."""


@dataclass
class Node:
    """A line of the tree."""

    name: str
    tensor: Tensor | None
    meaning: str
    inside: list["Node"] = field(default_factory=list)


def of_attention(layer: MultiHeadAttention, x: Tensor, context: Tensor | None, causal: bool, name: str) -> Node:
    """What happens inside a multi-head attention."""
    heads, d_model = layer.heads, x.shape[-1]
    head_dim, weight, bias = d_model // heads, layer.in_proj.weight, layer.in_proj.bias
    kind = "self" if context is None else "cross"
    node = Node(name, None, f"{kind}-attention: {heads} heads of d_model / heads = {head_dim} numbers each")
    seen = x if context is None else context
    if context is None:
        both = layer.in_proj(x)
        node.inside.append(Node("in_proj(x)", both, "X W^Q, X W^K, X W^V side by side: 3 d_model numbers a token"))
        q, k, v = both.chunk(3, dim=-1)
    else:
        q = F.linear(x, weight[:d_model], bias[:d_model])
        k, v = F.linear(seen, weight[d_model:], bias[d_model:]).chunk(2, dim=-1)
        node.inside.append(Node("X W^Q", q, "queries, from the target"))
        node.inside.append(Node("M W^K, M W^V", k, "keys and values, from the encoder's memory; each of this shape"))
    q, k, v = (split_heads(part, heads) for part in (q, k, v))
    node.inside.append(Node("queries", q, "cut into heads: what each token looks for"))
    node.inside.append(Node("keys, values", k, "likewise: where it is found, and what is found there"))
    scores = q @ k.transpose(-2, -1) / math.sqrt(head_dim)
    node.inside.append(Node("scores", scores, f"Q K^T / sqrt({head_dim}): how well each query fits each key"))
    mask = causal_mask(x.shape[1], seen.shape[1]) if causal else None
    if mask is not None:
        node.inside.append(Node("mask", mask, "True where a query may look: at itself, and back"))
    found, weights = attention(q, k, v, mask)
    node.inside.append(Node("weights", weights, "softmax over the last dimension: each row sums to 1"))
    node.inside.append(Node("weights @ values", found, "what each query has found, head by head"))
    merged = merge_heads(found)
    node.inside.append(Node("merged", merged, "the heads side by side again: Concat"))
    node.tensor = layer.out_proj(merged)
    node.inside.append(Node("out_proj(merged)", node.tensor, "W^O mixes what the heads have found"))
    return checked(node, layer(x, context, causal=causal))


def checked(node: Node, right: Tensor) -> Node:
    """The node, where its tensor is what the module itself gives; a CourseError where it is not."""
    if node.tensor.shape != right.shape or not torch.allclose(node.tensor, right, atol=1e-5):
        raise CourseError(
            f"{node.name}: step by step it is not what the module computes. `./course check 6` says more."
        )
    return node


def of_feed_forward(layer: torch.nn.Module, x: Tensor) -> Node:
    """What happens inside a feed-forward layer."""
    inner = F.relu(layer.linear1(x))
    out = layer.linear2(inner)
    inside = [Node("relu(x W_1 + b_1)", inner, "wider, each token by itself"), Node("… W_2 + b_2", out, "and back")]
    return checked(Node("feed_forward", out, "equation (2)", inside), layer(x))


def of_encoder_block(block: EncoderBlock, x: Tensor, name: str) -> Node:
    """A pre-norm block of the encoder."""
    node = Node(name, None, "pre-norm: x + f(norm(x)), twice")
    normed = block.norm1(x)
    node.inside += [Node("norm1(x)", normed, "each vector to mean 0, variance 1")]
    node.inside += [of_attention(block.attention, normed, None, False, "attention")]
    x = x + node.inside[-1].tensor
    node.inside += [Node("x + …", x, "residual: what was found is added")]
    node.inside += [of_feed_forward(block.feed_forward, block.norm2(x))]
    node.tensor = x + node.inside[-1].tensor
    return node


def of_decoder_block(block: DecoderBlock, x: Tensor, memory: Tensor, name: str) -> Node:
    """A pre-norm block of the decoder."""
    node = Node(name, None, "the same, with cross-attention in between")
    node.inside += [of_attention(block.attention, block.norm1(x), None, True, "attention")]
    x = x + node.inside[-1].tensor
    node.inside += [of_attention(block.cross_attention, block.norm2(x), memory, False, "cross_attention")]
    x = x + node.inside[-1].tensor
    node.inside += [of_feed_forward(block.feed_forward, block.norm3(x))]
    node.tensor = x + node.inside[-1].tensor
    return node


def of_transformer(model: Transformer, source: Tensor, target: Tensor) -> Node:
    """The whole, block by block."""
    x = model.embedded(model.source_table, source)
    root = Node("Transformer", None, "figure 1 of the paper")
    root.inside += [Node("source", source, "numbers of tokens")]
    root.inside += [Node("embedded(source)", x, "a vector a token, times sqrt(d_model), plus its place's")]
    for number, block in enumerate(model.encoder, 1):
        root.inside += [checked(of_encoder_block(block, x, f"encoder block {number}"), block(x))]
        x = root.inside[-1].tensor
    memory = model.encoder_norm(x)
    root.inside += [Node("memory", memory, "a last norm: what the decoder looks at")]
    y = model.embedded(model.words, target)
    root.inside += [Node("target", target, "what has been written so far"), Node("embedded(target)", y, "likewise")]
    for number, block in enumerate(model.decoder, 1):
        root.inside += [checked(of_decoder_block(block, y, memory, f"decoder block {number}"), block(y, memory))]
        y = root.inside[-1].tensor
    root.tensor = F.linear(model.decoder_norm(y), model.words.weight)
    root.inside += [Node("logits", root.tensor, "by the same matrix as the vectors: one number for each word")]
    return checked(root, model(source, target))


def lines(node: Node, before: str = "", branch: str = "") -> Iterator[tuple[str, str, str]]:
    """(name in its place in the tree, shape, meaning) of a node and all that is inside."""
    yield branch + node.name, str(tuple(node.tensor.shape)), node.meaning
    for number, child in enumerate(node.inside, 1):
        last = number == len(node.inside)
        yield from lines(child, before + ("   " if last else "│  "), before + ("└─ " if last else "├─ "))


@torch.no_grad()
def main(cfg: Config) -> list[tuple[str, str, str]]:
    """Prints the tree of a Transformer with one block on each side. Returns its lines."""
    if cfg.d_model % cfg.heads:
        divide = [str(heads) for heads in range(1, cfg.d_model + 1) if cfg.d_model % heads == 0]
        raise CourseError(
            f"--d-model {cfg.d_model} is not divisible by --heads {cfg.heads}: every head gets d_model / heads numbers "
            f"of each vector. These divide it: {', '.join(divide)}."
        )
    if cfg.d_model % 2:
        raise CourseError(f"--d-model {cfg.d_model}: must be even, for positions come as pairs of sine and cosine.")
    torch.manual_seed(cfg.seed)
    shape = {"d_model": cfg.d_model, "heads": cfg.heads, "d_ff": cfg.d_ff, "layers": 1, "dropout": 0.0}
    model = Transformer(TransformerConfig(cfg.words + 4, cfg.words + 4, **shape)).eval()
    source, target = (torch.randint(4, cfg.words + 4, (cfg.batch, length)) for length in (cfg.seq, cfg.target_seq))
    found = list(lines(of_transformer(model, source, target)))
    print(f"batch {cfg.batch}, source of {cfg.seq} tokens, target of {cfg.target_seq}, d_model {cfg.d_model}, "
          f"{cfg.heads} heads, d_ff {cfg.d_ff}\n")  # fmt: skip
    wide, long = (max(len(line[column]) for line in found) for column in (0, 1))
    for name, size, meaning in found:
        print(f"{name:{wide}s}  {size:{long}s}  {meaning}")
    print(f"\nA matrix of weights holds batch x heads x queries x keys = "
          f"{cfg.batch * cfg.heads * cfg.seq * cfg.seq:,} numbers; twice the length, four times "
          "as many.")  # fmt: skip
    return found


if __name__ == "__main__":
    cli.launch(main, Config)
