"""This week's pictures: who looks where, positions, schedules, and what ablate.py, leak.py and bench.py have found."""

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from shared.plots import BLUE, GREY, HEADING, INK, ORANGE, VERMILLION, band, figure
from shared.sentence_pairs import BOS
from week06_transformer.attention import MultiHeadAttention, rotated, sinusoidal
from week06_transformer.model import Transformer
from week06_transformer.train import learning_rate

Weights = Float[np.ndarray, "heads queries keys"]


# ---------------------------------------------------------------- attention


@contextmanager
def watched(model: Transformer):
    """Inside `with`, the weights of every attention of the model are kept, in {name of the layer: (B, H, T, S)}."""
    kept: dict[str, torch.Tensor] = {}
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, MultiHeadAttention)]

    def looking(name: str, layer: MultiHeadAttention):
        def forward(*inputs: Any, **options: Any) -> torch.Tensor:
            found, kept[name] = type(layer).forward(layer, *inputs, **options, need_weights=True)
            return found

        return forward

    for name, layer in layers:
        layer.forward = looking(name, layer)
    try:
        yield kept
    finally:
        for _, layer in layers:
            del layer.forward


@torch.no_grad()
def maps(trained: Any, text: str, answer: str | None = None) -> tuple[list[str], list[str], dict[str, Weights]]:
    """(source tokens, target tokens, weights by layer) of a text, with what the network writes (or `answer`)."""
    answer = trained.answers([text])[0] if answer is None else answer
    words = trained.spell.split(answer)
    ids = trained.spell.target.encode(words)
    source = torch.tensor([trained.encode(text)])
    with watched(trained.model) as kept:
        trained.model(source, torch.tensor([[BOS, *ids[:-1]]]))
    weights = {name: values[0].numpy() for name, values in kept.items()}
    return [*trained.spell.split(text), "end"], [*words, "end"], weights


def grid(axis: Any, weights: Float[np.ndarray, "queries keys"], rows: Sequence[str], columns: Sequence[str]) -> None:
    """One head: a row for each token that is written, a column for each that is looked at."""
    axis.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    turn = 0 if max(map(len, columns[:-1])) == 1 else 60
    axis.set_xticks(range(len(columns)), columns, fontsize=8, rotation=turn, ha="right" if turn else "center")
    axis.set_yticks(range(len(rows)), rows, fontsize=8)
    axis.tick_params(length=0)
    axis.grid(False)


def cross_attention(path: Path, trained: Any, text: str, layers: Sequence[int] = (), title: str = "") -> None:
    """Where every head of the decoder looks in the source while it writes: a row of pictures for each block."""
    source, target, weights = maps(trained, text)
    names = [name for name in weights if "cross" in name]
    names = [names[number] for number in layers] if layers else names
    heads = trained.config.heads
    size = (2.3 * heads + 0.6, len(names) * (0.6 + 0.22 * len(target)) + 0.6)
    with figure(path, rows=len(names), columns=heads, size=size) as (drawing, axes):
        axes = np.array(axes, dtype=object).reshape(len(names), heads)
        drawing.suptitle(title or f"{text}: row by row what is written, and where each head looks", **HEADING)
        for row, name in zip(axes, names, strict=True):
            block = int(name.split(".")[1]) + 1
            for head, axis in enumerate(row):
                grid(axis, weights[name][head], target, source)
                axis.set_title(f"block {block}, head {head + 1}", fontsize=8, fontweight="normal", loc="center")


# ---------------------------------------------------------------- positions and the schedule


def positions(path: Path, length: int = 64, d_model: int = 64) -> None:
    """The table of sines and cosines; how alike two places are; and the same for rotary positions."""
    table = sinusoidal(length, d_model)
    with figure(path, columns=3, size=(10.2, 3.3)) as (_, (left, middle, right)):
        shown = left.imshow(table.numpy(), cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
        left.set(title="Sines and cosines", xlabel="dimension", ylabel="place")
        left.figure.colorbar(shown, ax=left, shrink=0.8)
        middle.imshow((table @ table.T).numpy(), cmap="Blues", aspect="auto")
        middle.set(title="How alike two places are", xlabel="place", ylabel="place")
        for axis in (left, middle):
            axis.grid(False)
        one = torch.ones(1, 1, length, d_model) / d_model**0.5
        turned = rotated(one)[0, 0]
        for at, colour in ((0, BLUE), (32, ORANGE)):
            right.plot((turned[at] @ turned.T).numpy(), color=colour, label=f"a query at place {at}")
        right.set(title="Rotary: nearer is higher", xlabel="place of an equal key", ylim=(-0.2, 1.18))
        right.legend(fontsize=8)


def schedule(path: Path, steps: int = 2000) -> None:
    """The learning rate of every step: the paper's, for two warm-ups, and ours, down in a line."""
    with figure(path, size=(6.4, 3.2)) as (_, axis):
        for warmup, colour in ((200, BLUE), (600, ORANGE)):
            rates = [learning_rate(step, steps, warmup, "paper") for step in range(steps)]
            axis.plot(rates, color=colour, label=f"paper, warm-up of {warmup} steps")
        rates = [learning_rate(step, steps, 200, "linear") for step in range(steps)]
        axis.plot(rates, color=GREY, linestyle="--", label="linear, warm-up of 200")
        axis.set(title="Learning rate, as a share of --lr", xlabel="step", ylim=(0, 1.05))
        axis.legend(fontsize=8)


# ---------------------------------------------------------------- what was measured


def longer(path: Path, rows: Mapping[tuple[str, int], Any], trained: int) -> None:
    """Sums right by the number of digits, for every kind of positions; grey: longer than any in training."""
    names = list(dict.fromkeys(name for name, _ in rows))
    with figure(path, size=(6.8, 3.6)) as (_, axis):
        for name, dash in zip(names, ("-", "--", ":", "-."), strict=False):  # equal ones must not hide each other
            curves = [row["by_length"] for (other, _), row in rows.items() if other == name and not row["diverged"]]
            if curves:
                lengths = list(range(1, len(curves[0]) + 1))
                band(axis, lengths, [[100 * share for share in curve] for curve in curves], name, linestyle=dash)
        last = max((len(row["by_length"]) for row in rows.values() if not row["diverged"]), default=trained + 1)
        axis.axvspan(trained + 0.5, last + 0.5, color=INK, alpha=0.06, linewidth=0)
        axis.text(trained + 0.6, 97, "longer than in training", fontsize=8)
        axis.set(title="Sums right (%)", xlabel="digits of the longer number", ylim=(-3, 104), xlim=(0.8, last + 0.5))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(fontsize=8, title="positions", loc="center right")


def norm(path: Path, rows: Mapping[tuple[str, int], Any]) -> None:
    """The training loss by epoch of pre- and post-norm, with and without warm-up."""
    names = list(dict.fromkeys(name for name, _ in rows))
    with figure(path, size=(6.8, 3.6)) as (_, axis):
        for name in names:
            curves = [row["curve"] for (other, _), row in rows.items() if other == name and not row["diverged"]]
            if curves:
                epochs = [epoch["epoch"] for epoch in curves[0]]
                dash = "--" if "no warm-up" in name else "-"
                colour = BLUE if name.startswith("pre") else VERMILLION
                band(
                    axis,
                    epochs,
                    [[e["train_loss"] for e in c] for c in curves],
                    name,
                    linestyle=dash,
                    color=colour,
                    marker="o",
                )
        axis.set(title="Training loss", xlabel="epoch", yscale="log")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(fontsize=8)


def leak(path: Path, rows: Mapping[str, Any], metric: str) -> None:
    """The losses of both, and what both are worth when they write on their own."""
    scale = 1 if metric == "bleu" else 100
    with figure(path, columns=2, size=(8.6, 3.4)) as (_, (left, right)):
        for (name, row), colour in zip(rows.items(), (BLUE, VERMILLION), strict=True):
            epochs = [epoch["epoch"] for epoch in row["curve"]]
            for which, dash in (("train_loss", "-"), ("val_loss", "--")):
                label = f"{name}, {which.replace('_', ' ')}"
                left.plot(epochs, [e[which] for e in row["curve"]], dash, color=colour, label=label, marker="o")
            right.plot(epochs, [scale * e[f"val_{metric}"] for e in row["curve"]], color=colour, label=name, marker="o")
        left.set(title="Loss, with the truth before their eyes", xlabel="epoch", yscale="log")
        what = "BLEU" if metric == "bleu" else "Whole answers right (%)"
        right.set(title=f"{what}, on their own", xlabel="epoch", ylim=(-3, 104))
        for axis in (left, right):
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.legend(fontsize=7)


def cost(path: Path, found: Sequence[Mapping[str, Any]]) -> None:
    """Time and memory of attention against the length, explicit and fused: {path, length, seconds, megabytes}."""
    with figure(path, columns=2, size=(8.6, 3.5)) as (_, (left, right)):
        for name, colour in (("explicit", VERMILLION), ("fused", BLUE)):
            mine = [row for row in found if row["path"] == name]
            lengths = [row["length"] for row in mine]
            left.plot(lengths, [1000 * row["seconds"] for row in mine], color=colour, marker="o", label=name)
            right.plot(lengths, [row["megabytes"] for row in mine], color=colour, marker="o", label=name)
        left.set(title="Milliseconds, forward and backward", ylabel="")
        right.set(title="Memory kept for the way back (MB)")
        for axis in (left, right):
            axis.set(xlabel="tokens", xscale="log", yscale="log")
            axis.set_xticks(lengths, [str(length) for length in lengths])
            axis.minorticks_off()
            axis.legend(fontsize=8)
