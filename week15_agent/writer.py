"""A language model that writes turns in several conversations at once: `decode.ask` and `minds.Local` speak by it.

What has been read is kept (keys and values of every layer), also from turn to turn: each turn costs its own tokens
alone. Rows that have less to read are padded on the left; the mask hides it, and positions are counted without it.
"""

from collections.abc import Sequence
from typing import Any

import torch

from week15_agent.constrain import START, Constraint


class Writer:
    """Several conversations with one model, which it has read up to some place.

    Args:
        model: a causal language model of transformers, in evaluation mode.
        end: the token that ends a turn; it pads, too.
    """

    def __init__(self, model: Any, end: int) -> None:
        self.model, self.end, self.device = model, end, next(model.parameters()).device
        self.cache: Any = None
        self.mask = torch.zeros(0, 0, dtype=torch.long)
        self.known: list[list[int]] = []  # the tokens that were read, of each conversation

    @torch.no_grad()
    def read(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Reads on in every conversation (some may have nothing new), and gives the logits behind the last token."""
        time_ = max(1, *(len(row) for row in rows))
        ids = torch.tensor([[self.end] * (time_ - len(row)) + list(row) for row in rows])
        new = torch.tensor([[0] * (time_ - len(row)) + [1] * len(row) for row in rows])
        before = self.mask.sum(1, keepdim=True) if self.cache is not None else torch.zeros(len(rows), 1).long()
        self.mask = torch.cat([self.mask, new], 1) if self.cache is not None else new
        positions = (before + new.cumsum(1) - 1).clamp(min=0)  # (rows, time), without the padding
        out = self.model(
            input_ids=ids.to(self.device), attention_mask=self.mask.to(self.device), use_cache=True,
            position_ids=positions.to(self.device), past_key_values=self.cache, logits_to_keep=1,
        )  # fmt: skip
        self.cache = out.past_key_values
        self.known = [[*old, *row] for old, row in zip(self.known or [[]] * len(rows), rows, strict=True)]
        return out.logits[:, -1].float()  # (rows, time, vocab) -> (rows, vocab)

    def keep(self, rows: Sequence[int]) -> None:
        """Only these conversations go on."""
        self.cache.batch_select_indices(torch.tensor(rows, device=self.device))
        self.mask = self.mask[list(rows)]
        self.known = [self.known[row] for row in rows]

    def read_whole(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """As `read`, of conversations that are given from their beginnings: only what is new is read. Where one was
        read otherwise (a turn is told as it was understood, not letter by letter), that is hidden and read again."""
        news = []
        for row, prompt in enumerate(prompts):
            known = self.known[row] if self.known else []
            alike = next((at for at, (a, b) in enumerate(zip(known, prompt, strict=False)) if a != b), len(known))
            alike = min(alike, len(prompt) - 1)  # the logits are those behind a token that is read now
            if alike < len(known):
                self.mask[row, self.mask[row].nonzero()[alike:, 0]] = 0
                self.known[row] = known[:alike]
            news.append(prompt[alike:])
        return self.read(news)

    def turn(
        self, logits: torch.Tensor, most: int, constraint: Constraint | None = None, stop: Sequence[str] = (),
        decode: Any = None,
    ) -> list[list[int]]:  # fmt: skip
        """Writes a turn in each conversation: the likeliest tokens, up to the end token, which is among them, or to
        `most` tokens. With a constraint, every turn is one of its grammar's."""
        count = len(logits)
        written: list[list[int]] = [[] for _ in range(count)]
        states, open_ = [START] * count, [True] * count
        for left in range(most, 0, -1):
            if constraint:
                logits = constraint.masked(logits, states, left)
            best = logits.argmax(-1).tolist()
            for row, token in enumerate(best):
                if not open_[row]:
                    continue
                written[row].append(token)
                open_[row] = token != self.end
                if constraint:
                    states[row] = constraint.after(states[row], token)
                elif stop and open_[row] and len(written[row]) % 4 == 0:  # it goes on with what the tools should say
                    open_[row] = not any(mark in decode(written[row]) for mark in stop)
            if not any(open_):
                break
            logits = self.read([written[row][-1:] if open_[row] else [] for row in range(count)])
        return written
