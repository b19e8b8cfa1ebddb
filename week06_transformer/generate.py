"""Writing token by token with a trained Transformer: greedily, or with a beam. Both read from the caches.

Anything will do as a model that has `encode(source) -> state` and `step(tokens, state) -> logits`, and whose state can
`take(rows)`: the baseline is one, too.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from shared.sentence_pairs import BOS, EOS, PAD, batch_rows, padded
from week06_transformer.data import Speller

Sources = Int[Tensor, "batch keys"]


@torch.no_grad()
def greedy(model: Any, source: Sources, most: int) -> Int[Tensor, "batch steps"]:
    """The likeliest token at each step, which is then read back in, up to EOS in every row or `most` tokens."""
    state = model.encode(source)
    token = source.new_full((len(source), 1), BOS)
    ended = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    written = []
    for _ in range(most):
        token = model.step(token, state).argmax(dim=-1, keepdim=True)  # (batch, 1)
        token = token.masked_fill(ended[:, None], PAD)
        written.append(token)
        ended |= token[:, 0] == EOS
        if ended.all():
            break
    return torch.cat(written, dim=1)


@torch.no_grad()
def beam(model: Any, source: Sources, most: int, width: int, alpha: float = 0.6) -> Int[Tensor, "batch steps"]:
    """The best of `width` beginnings that are kept at each step, by log-probability over a power of the length.

    The power is ((5 + length) / 6)^alpha of Wu et al. (arXiv:1609.08144, equation 14); the paper takes alpha 0.6. Rows
    batch * width + k of the state are the beginnings of one sentence. An ended one stays as it is, at no cost.
    """
    batch, device = len(source), source.device
    state = model.encode(source)
    state.take(torch.arange(batch, device=device).repeat_interleave(width))
    token = source.new_full((batch * width, 1), BOS)
    scores = torch.full((batch, width), float("-inf"), device=device)
    scores[:, 0] = 0.0  # at first all beginnings are the same: one of them counts
    written = source.new_zeros(batch, width, 0)
    lengths = torch.zeros(batch, width, device=device)
    ended = torch.zeros(batch, width, dtype=torch.bool, device=device)
    for _ in range(most):
        log_probs = model.step(token, state).float().log_softmax(dim=-1).view(batch, width, -1)
        words = log_probs.shape[2]
        log_probs = log_probs.masked_fill(ended[:, :, None], float("-inf"))
        log_probs[:, :, PAD] = torch.where(ended, 0.0, float("-inf"))  # behind its end a sentence has padding alone
        grown = scores[:, :, None] + log_probs  # (batch, width, words)
        longer = (lengths + ~ended)[:, :, None]
        best = (grown / ((5 + longer) / 6) ** alpha).flatten(1).topk(width, dim=1).indices  # (batch, width)
        parents, chosen = best // words, best % words
        scores = grown.flatten(1).gather(1, best)
        lengths, ended = longer[:, :, 0].gather(1, parents), ended.gather(1, parents) | (chosen == EOS)
        written = torch.cat([written.gather(1, parents[:, :, None].expand_as(written)), chosen[:, :, None]], dim=2)
        if ended.all():
            break
        state.take((torch.arange(batch, device=device)[:, None] * width + parents).flatten())
        token = chosen.reshape(batch * width, 1)
    final = (scores / ((5 + lengths) / 6) ** alpha).argmax(dim=1)
    return written[torch.arange(batch, device=device), final]


def answers(
    model: Any, sources: Sequence[Sequence[int]], spell: Speller, longest: int, width: int = 1, size: int = 250
) -> list[str]:
    """What the model writes for each source, in evaluation mode, in which it is left. Width 1 is greedy.

    Args:
        sources: numbers of tokens, EOS behind them.
        longest: tokens that an answer may have at most, EOS among them.
        size: sentences at a time; of about the same length together.
    """
    device = next(model.parameters()).device
    model.eval()
    found = [""] * len(sources)
    for rows in batch_rows(torch.tensor([len(one) for one in sources]).numpy(), size, None):
        source = torch.from_numpy(padded([sources[row] for row in rows])).to(device)
        written = greedy(model, source, longest) if width == 1 else beam(model, source, longest, width)
        for row, ids in zip(rows, written.tolist(), strict=True):
            found[row] = spell.join(spell.target.decode(ids))
    return found
