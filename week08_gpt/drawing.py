"""This week's pictures: the loss, heads that copy, probabilities under three temperatures, validity of completions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from shared.plots import BLUE, GREEN, GREY, HEADING, INK, ORANGE, VERMILLION, band, figure
from week08_gpt.sample import Sampling, filtered
from week08_gpt.tokenizer import Tokenizer


def validity(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    """Shares of completions over temperature, top-k and top-p: a panel each; rows as of eval.completions."""
    found = {row[0]: row[1:] for row in rows}
    panels = {
        "temperature": [(0.0, "greedy"), *((float(n.split()[1]), n) for n in found if n.startswith("temperature"))],
        "top-k": [(float(n.split()[1]), n) for n in found if n.startswith("top-k")],
        "top-p": [*((float(n.split()[1]), n) for n in found if n.startswith("top-p")), (1.0, "temperature 1")],
    }
    with figure(path, columns=3, size=(9.6, 3.3)) as (drawing, axes):
        for axis, (name, points) in zip(axes, panels.items(), strict=True):
            labels = [f"{value:g}" for value, _ in points]
            if name == "top-k":
                points, labels = [*points, (0, "temperature 1")], [*labels, "all"]
            looks = (("parses", BLUE), ("and all names defined", ORANGE), ("copies 30 tokens of train", GREY))
            for column, (label, colour) in enumerate(looks):
                shares = [100 * found[way][column] for _, way in points]
                axis.plot(range(len(points)), shares, color=colour, marker="o", label=label)
            axis.set_xticks(range(len(points)), labels)
            axis.set(title=name, ylim=(-4, 104))
        axes[0].set_ylabel("% of completions")
        axes[2].legend(fontsize=8)
        drawing.suptitle("Completed functions: caution makes them valid", **HEADING)


def loss(path: Path, logs: Sequence[Sequence[Mapping[str, Any]]], baseline: float) -> None:
    """Bits per byte on val over the steps, mean and spread of all seeds, and the n-gram model as a line."""
    steps = [row["step"] for row in logs[0]]
    with figure(path, columns=2, size=(8.4, 3.3)) as (_, (left, right)):
        for name, colour in (("train", BLUE), ("val", ORANGE)):
            label = {"train": "training", "val": "validation"}[name]
            band(left, steps, [[row[f"{name}_loss"] for row in log] for log in logs], label, color=colour)
        left.set(title="Loss, nats a token", xlabel="step")
        left.legend()
        band(right, steps, [[row["val_bits_per_byte"] for row in log] for log in logs], "GPT", color=ORANGE)
        right.axhline(baseline, color=GREY, linestyle="--", label="Kneser–Ney n-gram")
        right.set(title="Validation, bits per byte", xlabel="step")
        right.legend()


@torch.no_grad()
def copying(model: Any, ids: Sequence[int]) -> tuple[int, int, float, Float[np.ndarray, "time time"]]:
    """The head that copies most in a text said twice: (layer, head, how much, its weights).

    In the second half a head that copies looks at the token *behind* the earlier occurrence of the present one (Olsson
    et al., arXiv:2209.11895): at place t - n + 1, where n tokens were repeated. How much: the mean weight there.
    """
    weights: list[torch.Tensor] = []
    model(torch.tensor([[*ids, *ids]]), weights=weights)
    n, best = len(ids), (0, 0, -1.0)
    for layer, one in enumerate(weights):  # (1, heads, 2n, 2n)
        score = one[0].diagonal(offset=1 - n, dim1=-2, dim2=-1)[:, 1:].mean(dim=-1)  # queries n … 2n - 1
        if float(score.max()) > best[2]:
            best = layer, int(score.argmax()), float(score.max())
    return *best, weights[best[0]][0, best[1]].numpy()


def induction(path: Path, model: Any, tokens: Tokenizer, text: str) -> tuple[int, int, float]:
    """Draws the head that copies most, over a text that is said twice. Returns (layer, head, how much)."""
    ids = tokens.encode(text)
    layer, head, share, weights = copying(model, ids)
    words = [tokens.decode([one]).replace("\n", "⏎").replace(" ", "␣") for one in ids] * 2
    with figure(path, size=(6.6, 6.2)) as (drawing, axis):
        axis.imshow(weights, cmap="Blues", vmin=0, vmax=max(0.3, float(weights[len(ids) :].max())))
        axis.set_xticks(range(len(words)), words, rotation=90, fontsize=7)
        axis.set_yticks(range(len(words)), words, fontsize=7)
        places = np.arange(len(ids), 2 * len(ids))
        axis.plot(places - len(ids) + 1, places, "s", mfc="none", mec=VERMILLION, ms=9, mew=1)
        axis.axhline(len(ids) - 0.5, color=INK, linewidth=0.8)
        axis.grid(False)
        axis.set(xlabel="looked at", ylabel="looking")
        title = (
            f"The head that copies most: layer {layer + 1}, head {head + 1}; {share:.0%} of its weight in the squares"
        )
        drawing.suptitle(title, **HEADING)
    return layer, head, share


@torch.no_grad()
def temperatures(
    path: Path, model: Any, tokens: Tokenizer, prompt: str, values: Sequence[float] = (0.4, 1.0, 1.6), count: int = 24
) -> None:
    """Writes on from a prompt with each temperature, and draws how likely each token was that came."""
    with figure(path, rows=len(values), size=(9.2, 5.6)) as (drawing, axes):
        for axis, value in zip(axes, values, strict=True):
            ids, found = [tokens.end, *tokens.encode(prompt.rstrip())], []
            draw = torch.Generator().manual_seed(0)
            for _ in range(count):
                plain = model(torch.tensor([ids]), last=True)[:, -1]
                probs = filtered(plain, Sampling(value)).softmax(dim=-1)[0]
                token = int(torch.multinomial(probs, 1, generator=draw))
                found.append((token, float(probs[token]), float(probs.max())))
                ids.append(token)
            places = range(len(found))
            axis.bar(places, [best for *_, best in found], color=GREY, alpha=0.35, label="the likeliest one")
            axis.bar(places, [own for _, own, _ in found], color=GREEN, label="the one that came")
            words = [tokens.decode([t]).replace("\n", "⏎").replace(" ", "␣") for t, *_ in found]
            axis.set_xticks(list(places), words, rotation=60, ha="right", fontsize=8)
            axis.set(title=f"temperature {value:g}", ylim=(0, 1), xlim=(-0.6, len(found) - 0.4))
        axes[0].legend(fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
        docstring = " and its docstring" if '"""' in prompt else ""
        first = prompt.strip().splitlines()[0]
        drawing.suptitle(f"After {first!r}{docstring}: probability of each token", **HEADING)
