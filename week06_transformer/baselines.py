"""The baseline: a recurrent network that reads and writes without attention, as in week 3, with as many parameters."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from shared.sentence_pairs import PAD

NAME = "GRU without attention"


class State:
    """All that the writer knows: one state (layers, batch, hidden)."""

    def __init__(self, hidden: Float[Tensor, "1 batch hidden"]) -> None:
        self.hidden = hidden

    def take(self, rows: Int[Tensor, " rows"]) -> None:
        self.hidden = self.hidden[:, rows]


class GRU(nn.Module):
    """Cho et al. (arXiv:1406.1078), section 2.2: one GRU reads into a state, another one writes from it."""

    def __init__(self, source_words: int, target_words: int, embed: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.source_table = nn.Embedding(source_words or target_words, embed)
        self.target_table = nn.Embedding(target_words, embed) if source_words else self.source_table
        self.reader = nn.GRU(embed, hidden, batch_first=True)
        self.writer = nn.GRU(embed, hidden, batch_first=True)
        self.dropout, self.narrow = nn.Dropout(dropout), nn.Linear(hidden, embed)  # the output is tied, as ours is

    def encode(self, source: Int[Tensor, "batch keys"]) -> State:
        states, _ = self.reader(self.dropout(self.source_table(source)))
        last = (source != PAD).sum(dim=1) - 1  # not the state behind the padding
        return State(states[torch.arange(len(source)), last][None].contiguous())

    def forward(self, source: Int[Tensor, "batch keys"], target: Int[Tensor, "batch steps"]) -> Tensor:
        states, _ = self.writer(self.dropout(self.target_table(target)), self.encode(source).hidden)
        return F.linear(self.narrow(self.dropout(states)), self.target_table.weight)

    def step(self, tokens: Int[Tensor, "batch 1"], state: State) -> Float[Tensor, "batch words"]:
        states, state.hidden = self.writer(self.target_table(tokens), state.hidden.contiguous())
        return F.linear(self.narrow(states[:, -1]), self.target_table.weight)


def as_large(params: int, source_words: int, target_words: int, embed: int, dropout: float = 0.0) -> GRU:
    """The network of this kind whose number of parameters comes nearest to `params`."""
    tables = (source_words + target_words) * embed

    def size(hidden: int) -> int:
        return tables + 2 * (3 * hidden * (embed + hidden) + 6 * hidden) + embed * (hidden + 1)

    hidden = min(range(1, 2000), key=lambda hidden: abs(size(hidden) - params))
    return GRU(source_words, target_words, embed, hidden, dropout)
