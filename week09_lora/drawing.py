"""This week's pictures: where the 16 levels of NF4 lie, what fewer bits cost, and what fills the memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shared.plots import BLUE, GREEN, GREY, HEADING, ORANGE, PURPLE, SKY, VERMILLION, figure
from week09_lora import quant
from week09_lora.memory import GIB, Need

PARTS = {"weights": GREY, "adapters": VERMILLION, "optimizer": ORANGE, "activations": BLUE, "logits": SKY,
         "gradients": PURPLE}  # fmt: skip


def levels(path: Path, weight: Float[Tensor, "rows columns"], name: str) -> None:
    """The levels of NF4 as quantiles of the normal distribution, and how often each is taken by a matrix."""
    codes, absmax = quant.quantise_blocks(weight)
    whole = codes[: codes.numel() // quant.BLOCK * quant.BLOCK]
    scaled = quant.in_blocks(weight, quant.BLOCK) / absmax.clamp(min=1e-38)[:, None]
    with figure(path, columns=2, size=(9.6, 3.6)) as (drawing, (left, right)):
        left.hist(scaled.flatten().numpy(), bins=161, range=(-1, 1), density=True, color=GREY, alpha=0.35,
                  label=f"numbers of {name}")  # fmt: skip
        both = (("NF4", quant.NF4, BLUE), ("4-bit integers", quant.integer_levels(4), ORANGE))
        for number, (kind, all_levels, colour) in enumerate(both):
            left.plot(all_levels, np.full(len(all_levels), -0.12 - 0.16 * number), "|", color=colour, markersize=11,
                      markeredgewidth=2, label=f"levels of {kind}")  # fmt: skip
        left.set(title="Levels are dense where numbers are", xlabel="a number over the largest of its block")
        left.set_ylim(-0.4, 1.75)
        left.set_yticks([0, 0.5, 1])
        left.legend(fontsize=8, loc="upper right")
        counts = torch.bincount(whole.long(), minlength=16).double()
        plain = quant.quantise_blocks(weight, quant.integer_levels(4))[0]
        others = torch.bincount(plain.long(), minlength=15).double()
        places = np.arange(16)
        right.bar(places - 0.2, 100 * counts / counts.sum(), 0.4, color=BLUE, label="NF4")
        right.bar(places[:15] + 0.3, 100 * others / others.sum(), 0.4, color=ORANGE, label="4-bit integers")
        right.axhline(100 / 16, color=GREY, linestyle="--", linewidth=1, label="1/16: all equally often")
        right.set(title="How often each is taken, %", xlabel="level", xticks=places[::3])
        right.legend(fontsize=8)
        drawing.suptitle("NF4: levels at the quantiles of a normal distribution", **HEADING)


def errors(path: Path, found: Sequence[tuple[str, float, float]], name: str) -> None:
    """The error of every way to store a matrix, over its bits; rows as of quant.errors."""
    with figure(path, size=(6.8, 4.0)) as (drawing, axis):
        for kind, colour in (("int", ORANGE), ("NF", BLUE)):
            some = [(bits, error) for title, bits, error in found if title.startswith(kind) and "blocks of 64" in title]
            label = {"int": "integers, blocks of 64", "NF": "normal levels, blocks of 64"}[kind]
            axis.plot(*zip(*some, strict=True), color=colour, marker="o", label=label)
        single = {"int8, row by row": (VERMILLION, "s"), "NF4, double quantisation": (GREEN, "D")}
        for title, bits, error in found:
            if title in single:
                colour, marker = single[title]
                axis.plot([bits], [error], marker, color=colour, label=title, markersize=8)
        axis.set(
            xlabel="bits for each number, scales included", ylabel="rms error, share of the weight's rms", yscale="log"
        )
        axis.legend(fontsize=8)
        drawing.suptitle(f"What fewer bits cost: {name}", **HEADING)


def memory(path: Path, needs: Mapping[str, Need], title: str, room: tuple[str, float]) -> None:
    """What fills the memory at the fullest moment of a step: a bar for each way to train, and a line for the card."""
    with figure(path, size=(8.6, 0.9 + 0.55 * len(needs))) as (drawing, axis):
        for place, need in enumerate(needs.values()):
            start = 0.0
            for part, colour in PARTS.items():
                size = getattr(need, part) / GIB
                size = min(size, max(0.0, need.peak / GIB - start))  # gradients come while activations go
                label = part.replace("optimizer", "optimiser") if not place else None
                axis.barh(place, size, left=start, color=colour, label=label)
                start += size
            beside = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "fontsize": 9}
            ground = {"facecolor": axis.get_facecolor(), "edgecolor": "none", "pad": 1}  # over the line of the card
            axis.annotate(f"{need.peak / GIB:.1f}", (need.peak / GIB, place), **beside, bbox=ground)
        name, size = room
        axis.axvline(size, color=VERMILLION, linestyle="--", linewidth=1.2)
        axis.text(size, -0.75, f" {name}", color=VERMILLION, fontsize=9)
        axis.set_yticks(range(len(needs)), list(needs))
        axis.invert_yaxis()
        axis.grid(False, axis="y")
        axis.set(xlabel="GiB", xlim=(0, 1.12 * max(need.peak / GIB for need in needs.values())))
        axis.legend(fontsize=8, loc="lower right", ncols=2)
        drawing.suptitle(title, **HEADING)
