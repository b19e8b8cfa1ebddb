"""What reading costs, and what saves it: `./course run 3 bench [batches|layers]`. Two races.

batches   The same reviews of the bundled sample, the same LSTM (torch.nn's), forward and backward; they differ in how
          reviews of unequal length are put into one tensor:
              bucketed         reviews of about the same length share a batch (data.py); padded to its longest
              random           reviews are drawn blindly; padded to the batch's longest
              to max_len       drawn blindly; every batch is padded to the same --max-len words
              packed           drawn blindly; pack_padded_sequence, torch's own way to leave the padding out

layers    One LSTM layer over random numbers, forward and backward:
              nn.LSTM          torch's; on an Intel or AMD processor one call into the oneDNN library, which fuses all
              without oneDNN   torch's own loop over the steps, which it takes elsewhere
              model.py         ours: one product for all inputs, then the steps by unbind
              by hand          the same, and the way back written by hand (here, `ByHand`): no graph of small operations
              four gates       a loop as one first writes it: four gates, two products each, inputs by slicing

How the contestants take turns, and what counts: shared/race.py. With more than one thread the numbers are wild as soon
as anything else runs.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week03_lstm/bench.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import tyro
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from shared import cli, race, results
from shared.config import Count
from week03_lstm import data
from week03_lstm.model import Recurrent, pool
from week03_lstm.sentiment_model import SentimentClassifier, SentimentConfig

Inputs = Float[Tensor, "batch time features"]
Outputs = Float[Tensor, "batch time hidden"]


@dataclass
class Config(race.BenchConfig):
    """The flags of bench."""

    parts: tyro.conf.Positional[tuple[Literal["batches", "layers"], ...]] = ("batches", "layers")
    """Which races."""
    data: str = "sample"
    """The reviews, as in train.py (batches)."""
    reviews: Count = 640
    """Reviews a round (batches)."""
    max_len: Count = 400
    """Words read of a review (batches)."""
    length: Count = 200
    """Steps of a sequence (layers)."""
    batch_size: Count = 32
    """Sequences in a batch."""
    embed: Count = 100
    """Numbers per word."""
    hidden: Count = 128
    """Units of the LSTM."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"rounds": 1, "threads": (1,), "reviews": 24, "max_len": 20, "length": 10, "batch_size": 8, "embed": 8,
              "hidden": 8},
    "quick": {},
    "full": {"rounds": 9, "reviews": 1600},
}  # fmt: skip


# ---------------------------------------------------------------- batches


class Packed(SentimentClassifier):
    """The week's classifier over pack_padded_sequence: the textbook's way to leave padding out."""

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        layer = self.recurrent.layers[0][0]
        packed = pack_padded_sequence(self.words(tokens), lengths, batch_first=True, enforce_sorted=False)
        outputs, _ = pad_packed_sequence(layer(packed)[0], batch_first=True)
        return self.head(pool(outputs, lengths, self.config.pool))


def words_in(ids: list[list[int]], cfg: Config) -> int:
    """How many words of these reviews are read."""
    return sum(min(len(text), cfg.max_len) for text in ids)


def passes(
    model: nn.Module, ids: list[list[int]], labels: np.ndarray, cfg: Config, bucketed: bool, full: bool = False
) -> Callable[[], None]:
    """One pass over the reviews, forward and backward, in batches that are cut and padded beforehand."""
    ready = []
    rng = np.random.default_rng(cfg.seed)
    for tokens, lengths, classes in data.batches(ids, labels, cfg.batch_size, rng, bucketed, cfg.max_len):
        if full:
            tokens = np.pad(tokens, ((0, 0), (0, cfg.max_len - tokens.shape[1])), constant_values=data.PAD)
        ready.append(tuple(torch.from_numpy(array) for array in (tokens, lengths, classes)))

    def once() -> None:
        for tokens, lengths, classes in ready:
            model.zero_grad()
            F.cross_entropy(model(tokens, lengths), classes).backward()

    return once


def race_batches(cfg: Config, threads: int) -> tuple[str, dict[str, Any]]:
    """Four ways of batching the same reviews, in real words per second: a table, and its numbers."""
    reviews = data.load(cfg.data).train
    vocabulary = data.Vocabulary.build(reviews.texts)
    drawn = np.random.default_rng(cfg.seed).permutation(len(reviews))[: cfg.reviews]
    ids, labels = [vocabulary.encode(reviews.texts[row]) for row in drawn], reviews.labels[drawn]
    few = ids[: 2 * cfg.batch_size]  # enough for the slow one
    config = SentimentConfig(vocab=len(vocabulary), embed=cfg.embed, hidden=cfg.hidden)
    padding, packing = SentimentClassifier(config), Packed(config)
    packing.load_state_dict(padding.state_dict())
    contestants = {
        "bucketed": passes(padding, ids, labels, cfg, bucketed=True),
        "random": passes(padding, ids, labels, cfg, bucketed=False),
        "to max_len": passes(padding, ids, labels, cfg, bucketed=False, full=True),
        "packed": passes(packing, few, labels[: len(few)], cfg, bucketed=False),
    }
    words = words_in(ids, cfg)
    work = dict.fromkeys(contestants, words) | {"packed": words_in(few, cfg)}
    table, numbers = race.table(race.take_turns(contestants, cfg.rounds), work, "words", "random", threads)
    about = (
        f"{len(ids):,} reviews of {cfg.data}, {words / len(ids):.0f} words on average, at most {cfg.max_len}; "
        f"{cfg.batch_size} a batch, {cfg.embed} numbers a word, an LSTM with {cfg.hidden} units, forward and backward. "
        f"(A round of packed is {len(few):,} of them.)"
    )
    return f"{about}\n\n{table}", numbers


# ---------------------------------------------------------------- layers


class WithoutOneDNN(nn.LSTM):
    """torch's layer where it may not call oneDNN."""

    def forward(self, x: Inputs) -> tuple[Tensor, Any]:
        # (What is ignored is a warning that the switch also concerns GPUs which are not there.)
        with warnings.catch_warnings(action="ignore"), torch.backends.mkldnn.flags(enabled=False):
            return super().forward(x)


class FourGates(nn.Module):
    """An LSTM as one first writes it: at each step slice the input, and for each gate multiply twice."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.x = nn.ModuleList(nn.Linear(input_size, hidden_size) for _ in range(4))
        self.h = nn.ModuleList(nn.Linear(hidden_size, hidden_size) for _ in range(4))

    def copy(self, layer: nn.LSTM) -> None:
        """Takes over the weights of torch's layer."""
        state = layer.state_dict()
        for gates, which in ((self.x, "ih"), (self.h, "hh")):
            weights, biases = (state[f"{name}_{which}_l0"].chunk(4) for name in ("weight", "bias"))
            for gate, weight, bias in zip(gates, weights, biases, strict=True):
                gate.load_state_dict({"weight": weight, "bias": bias})

    def forward(self, x: Inputs) -> tuple[Outputs, ...]:
        """All outputs (B, T, H) of x (B, T, I)."""
        h = c = x.new_zeros(len(x), self.hidden_size)
        outputs = []
        for t in range(x.shape[1]):
            x_t = x[:, t]
            i = torch.sigmoid(self.x[0](x_t) + self.h[0](h))
            f = torch.sigmoid(self.x[1](x_t) + self.h[1](h))
            g = torch.tanh(self.x[2](x_t) + self.h[2](h))
            o = torch.sigmoid(self.x[3](x_t) + self.h[3](h))
            c = f * c + i * g
            h = o * torch.tanh(c)
            outputs.append(h)
        return (torch.stack(outputs, dim=1),)


# The slopes of σ and tanh as torch computes them: dx from dy and y; into a tensor that is there, or a new one.
sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
tanh_backward, new_tanh_backward = torch.ops.aten.tanh_backward.grad_input, torch.ops.aten.tanh_backward.default


class LSTMByHand(torch.autograd.Function):
    """An LSTM layer, forward and backward. Time comes first in every tensor, so that a step lies in one piece.

    Autograd writes down every small operation of every step and plays them back one by one; and at each step it adds
    to the gradient of W_hh, a matrix. Here each step's gates are computed in place, and the gradients of all matrices
    come from one product over all time steps at the end, as the inputs' share comes from one at the beginning.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, h: Tensor, c: Tensor) -> Any:
        """Hidden states and cells, each (T, B, H), from x (T, B, I), h and c (B, H)."""
        (T, B, _), H = x.shape, h.shape[1]
        gates = F.linear(x, w_ih, bias)  # (T, B, 4H): before the steps W_ih x + b, after them i, f, g, o
        hs, cs, tanh_cs = x.new_empty(T + 1, B, H), x.new_empty(T + 1, B, H), x.new_empty(T, B, H)
        hs[0], cs[0] = h, c
        w_t = w_hh.t().contiguous()
        every = gates, gates[..., : 2 * H], *gates.chunk(4, dim=2), hs[:-1], cs[:-1], hs[1:], cs[1:], tanh_cs
        for all_four, i_and_f, i, f, g, o, h, c, new_h, new_c, tanh_c in steps(every):
            all_four.addmm_(h, w_t)
            i_and_f.sigmoid_(), g.tanh_(), o.sigmoid_()
            torch.mul(f, c, out=new_c).addcmul_(i, g)
            torch.mul(o, torch.tanh(new_c, out=tanh_c), out=new_h)
        ctx.save_for_backward(x, w_ih, w_hh, gates, hs, cs, tanh_cs)
        ctx.set_materialize_grads(False)  # None, where a gradient is 0 because nobody used the output
        return hs[1:], cs[1:]

    @staticmethod
    def backward(ctx: Any, dhs: Tensor | None, dcs: Tensor | None) -> Any:
        """Backpropagation through time: dh and dc are the gradients that come from the steps after."""
        x, w_ih, w_hh, gates, hs, cs, tanh_cs = ctx.saved_tensors
        dgates = torch.empty_like(gates)  # before σ and tanh
        dh, dc = torch.zeros_like(hs[0]), torch.zeros_like(hs[0])
        dhs = dh.expand_as(hs[1:]) if dhs is None else dhs
        every = dhs, dgates, cs[:-1], tanh_cs, *gates.chunk(4, dim=2), *dgates.chunk(4, dim=2)
        for t, (dh_out, dgate, c, tanh_c, i, f, g, o, di, df, dg, do) in reversed(list(enumerate(steps(every)))):
            dh = dh + dh_out
            dc = dc if dcs is None else dc + dcs[t]
            dc = dc + new_tanh_backward(dh * o, tanh_c)
            sigmoid_backward(dc * g, i, grad_input=di)
            sigmoid_backward(dc * c, f, grad_input=df)
            tanh_backward(dc * i, g, grad_input=dg)
            sigmoid_backward(dh * tanh_c, o, grad_input=do)
            dc = dc * f
            dh = dgate @ w_hh
        flat = dgates.flatten(0, 1)  # (T*B, 4H)
        dx = (flat @ w_ih).view_as(x) if ctx.needs_input_grad[0] else None
        # (aᵀ d)ᵀ is dᵀ a; over thousands of rows this way round is the quicker one.
        dw_ih, dw_hh = ((inputs.flatten(0, 1).t() @ flat).t() for inputs in (x, hs[:-1]))
        return dx, dw_ih, dw_hh, flat.sum(dim=0), dh, dc


def steps(tensors: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """Step by step what the tensors (T, B, …) hold: views, made all at once, which is quicker than one by one."""
    return zip(*(tensor.unbind() for tensor in tensors), strict=True)


class ByHand(nn.LSTM):
    """One layer, one direction of torch.nn.LSTM, batch first, computed by LSTMByHand."""

    def forward(self, x: Inputs) -> tuple[Outputs, ...]:
        """All outputs (B, T, H) of x (B, T, I)."""
        zeros = x.new_zeros(len(x), self.hidden_size)
        bias = self.bias_ih_l0 + self.bias_hh_l0
        hs, _ = LSTMByHand.apply(
            x.transpose(0, 1).contiguous(), self.weight_ih_l0, self.weight_hh_l0, bias, zeros, zeros
        )
        return (hs.transpose(0, 1),)


def contestants(input_size: int, hidden_size: int) -> dict[str, nn.Module]:
    """LSTM layers with the same weights."""
    layers: dict[str, nn.Module] = {
        "nn.LSTM": nn.LSTM(input_size, hidden_size, batch_first=True),
        "without oneDNN": WithoutOneDNN(input_size, hidden_size, batch_first=True),
        "model.py": Recurrent("lstm", input_size, hidden_size),
        "by hand": ByHand(input_size, hidden_size, batch_first=True),
        "four gates": FourGates(input_size, hidden_size),
    }
    for name in ("without oneDNN", "model.py", "by hand"):
        layers[name].load_state_dict(layers["nn.LSTM"].state_dict())
    layers["four gates"].copy(layers["nn.LSTM"])
    return layers


def race_layers(cfg: Config, threads: int) -> tuple[str, dict[str, Any]]:
    """Five LSTM layers with the same weights, in steps times sequences per second: a table, and its numbers."""
    x = torch.randn(cfg.batch_size, cfg.length, cfg.embed, requires_grad=True)  # as if an embedding were below
    dy = torch.randn(cfg.batch_size, cfg.length, cfg.hidden)

    def once(layer: nn.Module) -> None:
        layer.zero_grad()
        x.grad = None
        layer(x)[0].backward(dy)

    layers = contestants(cfg.embed, cfg.hidden)
    laps = race.take_turns({name: lambda layer=layer: once(layer) for name, layer in layers.items()}, cfg.rounds)
    work = dict.fromkeys(layers, cfg.batch_size * cfg.length)
    table, numbers = race.table(laps, work, "tokens", "nn.LSTM", threads)
    about = (
        f"{cfg.batch_size} sequences of {cfg.length} steps, {cfg.embed} inputs, {cfg.hidden} units, forward and "
        "backward."
    )
    return f"{about}\n\n{table}", numbers


RACES = {"batches": race_batches, "layers": race_layers}


def main(cfg: Config) -> dict[str, Any]:
    """Times ways of batching reviews, and ways of writing an LSTM layer, against each other.

    Returns the numbers of each race, under its name and number of threads.
    """
    found: dict[str, Any] = {}
    for part in dict.fromkeys(cfg.parts):
        texts = []
        for threads in race.thread_counts(cfg.threads):
            torch.manual_seed(cfg.seed)
            with race.on_threads(threads):
                text, found[f"{part}, {threads} threads"] = RACES[part](cfg, threads)
            texts.append(f"{race.circumstances(cfg.rounds, threads)}\n\n{text}")
            print(f"\n{texts[-1]}")
        if cfg.publish:
            results.publish(3, f"bench {part}", "\n\n".join(texts))
    return found


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
