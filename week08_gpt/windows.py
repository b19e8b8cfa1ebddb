"""Windows of tokens to train on, and what a trained network makes of every token of a part."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from week08_gpt.corpus import Part

AT_ONCE = 2_048  # tokens that are read side by side where nothing is learned: their logits stay in the cache


class Windows:
    """All windows of a part in a random order, without end, and without a state: window number n is always the same.

    One pass cuts the tokens into windows, from a random place on, and shuffles them; so each token is read once a pass,
    next to other neighbours in the next one. The order of a pass follows from the seed and its number.
    """

    def __init__(self, part: Part, block: int, seed: int) -> None:
        self.part, self.block, self.seed = part, block, seed
        self.each = max(1, (part.tokens - 1) // block - 1)  # windows of a pass, wherever it begins
        self.order: tuple[int, Int[np.ndarray, " each"]] | None = None

    def starts(self, first: int, count: int) -> list[int]:
        """Where the windows number `first` to `first + count` begin."""
        found = []
        for number in range(first, first + count):
            turn, place = divmod(number, self.each)
            if self.order is None or self.order[0] != turn:
                rng = np.random.default_rng([self.seed, turn])
                free = self.part.tokens - 1 - self.each * self.block
                self.order = turn, rng.permutation(self.each) * self.block + rng.integers(0, min(free, self.block) + 1)
            found.append(int(self.order[1][place]))
        return found

    def batch(self, starts: list[int], device: str) -> tuple[Int[Tensor, "batch block"], Int[Tensor, "batch block"]]:
        """The tokens of these windows, and what is to be said at each place: the token behind it."""
        rows = torch.from_numpy(np.stack([self.part.window(start, self.block + 1) for start in starts]))
        if device == "cuda":
            rows = rows.pin_memory().to(device, non_blocking=True)
        return rows[:, :-1].to(device), rows[:, 1:].to(device)


@torch.no_grad()
def losses(
    model: Any, part: Part, block: int, stride: int = 0
) -> tuple[Float[np.ndarray, " tokens"], Int[np.ndarray, " tokens"]]:
    """What each token of a part but the first costs, in nats, and its rank among the guesses: 0 is the first one.

    Args:
        model: in evaluation mode.
        part: what to read.
        block: tokens read at once.
        stride: so many places further each time; the tokens before them are read again to guess from. 0: a block, where
            the first tokens of each window have next to nothing before them.
    """
    stride, device = stride or block, next(model.parameters()).device
    ids = part.window(0, part.tokens)
    nats, ranks = np.zeros(len(ids) - 1), np.zeros(len(ids) - 1, np.int64)
    jobs = [(max(0, s + stride - block), s, min(s + stride, len(ids) - 1)) for s in range(0, len(ids) - 1, stride)]
    while jobs:
        length = jobs[0][2] - jobs[0][0]  # those of one length side by side
        size = 1
        while size < len(jobs) and size < max(1, AT_ONCE // block) and jobs[size][2] - jobs[size][0] == length:
            size += 1
        now, jobs = jobs[:size], jobs[size:]
        rows = torch.from_numpy(np.stack([ids[begin : end + 1] for begin, _, end in now])).to(device)
        logits = model(rows[:, :-1]).float()  # (rows, length, vocab)
        target = rows[:, 1:]
        cost = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view(target.shape)
        above = (logits > logits.gather(2, target[:, :, None])).sum(dim=2)
        for row, (begin, new, end) in enumerate(now):
            nats[new:end] = cost[row, new - begin :].cpu().numpy()
            ranks[new:end] = above[row, new - begin :].cpu().numpy()
    return nats, ranks


def bits_per_byte(nats: Float[np.ndarray, " tokens"], part: Part) -> float:
    """What a byte of the text costs, in bits: so models with other tokens can be compared."""
    return float(nats.sum() / np.log(2) / part.text_bytes)
