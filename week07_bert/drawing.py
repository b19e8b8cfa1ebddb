"""This week's pictures: who looks where, where an answer may start and end, embeddings before and after fine-tuning,
and what more questions bring."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from shared.plots import BLUE, COLOURS, GREY, HEADING, INK, ORANGE, band, figure
from week07_bert import qa
from week07_bert.model import Bert
from week07_bert.tokenizer import WordPiece

Weights = Float[np.ndarray, "heads queries keys"]


def attention(path: Path, weights: Weights, tokens: Sequence[str], layer: int) -> None:
    """Where every head of a layer looks: a map for each, a row for each token."""
    heads = len(weights)
    columns = 4 if heads > 4 else heads
    rows = -(-heads // columns)
    with figure(path, rows, columns, (2.6 * columns, 2.7 * rows + 0.4)) as (drawing, axes):
        for head, ax in enumerate(np.atleast_1d(axes).flat):
            if head >= heads:
                ax.axis("off")
                continue
            ax.imshow(np.sqrt(weights[head]), cmap="Blues", vmin=0, vmax=1, aspect="auto")  # roots: faint ones show
            ax.grid(False)
            ax.set_title(f"head {head + 1}", fontsize=9)
            ax.set_xticks(range(len(tokens)) if head >= heads - columns else [])
            ax.set_yticks(range(len(tokens)) if head % columns == 0 else [])
            if head >= heads - columns:
                ax.set_xticklabels(tokens, rotation=90, fontsize=6)
            if head % columns == 0:
                ax.set_yticklabels(tokens, fontsize=6)
        drawing.suptitle(f"layer {layer + 1}: a row for each token, the darker the more it looks there", **HEADING)


def start_and_end(path: Path, window: qa.Window, start: np.ndarray, end: np.ndarray, tokens: Sequence[str]) -> None:
    """How likely each token is the answer's first or last one."""
    with figure(path, 1, 1, (9.5, 3.4)) as (_, ax):
        places = np.arange(len(tokens))
        ax.bar(places - 0.2, start, 0.4, color=BLUE, label="start")
        ax.bar(places + 0.2, end, 0.4, color=ORANGE, label="end")
        ax.axvline(window.first - 0.5, color=GREY, linestyle=":", linewidth=1)
        ax.set_xticks(places, tokens, rotation=90, fontsize=7)
        ax.set_xlim(-0.8, len(tokens) - 0.2)
        ax.set_ylabel("probability")
        ax.legend(loc="upper right")
        ax.set_title("where the answer starts and ends (question before the dotted line)")


def embeddings(path: Path, before: np.ndarray, after: np.ndarray, groups: Sequence[str]) -> None:
    """Tokens in the two directions in which they differ most, before and after fine-tuning.

    Args:
        before, after: hidden states (N, H) of the same tokens.
        groups: what each token is; the names stand in the legend.
    """
    names = list(dict.fromkeys(groups))
    with figure(path, 1, 2, (9.5, 4.0)) as (_, axes):
        for ax, states, title in zip(axes, (before, after), ("before", "after fine-tuning"), strict=True):
            flat = in_two_dimensions(states)
            for name, colour in zip(names, [GREY, *COLOURS[:6]], strict=False):
                mine = [row for row, group in enumerate(groups) if group == name]
                size = 8 if name == names[0] else 22
                ax.scatter(*flat[mine].T, s=size, color=colour, label=name, alpha=0.8, linewidths=0)
            ax.set_title(title)
            ax.set_xticks([])
            ax.set_yticks([])
        axes[1].legend(loc="best", fontsize=8)


def in_two_dimensions(states: np.ndarray) -> np.ndarray:
    """Principal components: (N, H) -> (N, 2)."""
    centred = states - states.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:2].T


def learning_curve(path: Path, rows: Sequence[Mapping[str, Any]], constant: float, metric: str = "F1") -> None:
    """F1 against the number of questions, a band over the seeds, and the baseline as a line.

    Args:
        rows: {examples, seed, f1} of each training.
        constant: the baseline's F1.
    """
    sizes = sorted({row["examples"] for row in rows})
    seeds = sorted({row["seed"] for row in rows})
    by = {(row["examples"], row["seed"]): 100 * row["f1"] for row in rows}
    runs = [[by[size, seed] for size in sizes] for seed in seeds if all((size, seed) in by for size in sizes)]
    with figure(path, 1, 1, (6.4, 3.6)) as (_, ax):
        band(ax, sizes, runs, "fine-tuned", color=BLUE, marker="o")
        ax.axhline(100 * constant, color=INK, linestyle="--", linewidth=1, label="word overlap")
        ax.set_xscale("log")
        ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
        ax.minorticks_off()
        ax.set_xlabel("questions to train on")
        ax.set_ylabel(f"{metric} on val, %")
        ax.legend()


@torch.no_grad()
def states_of(bert: Bert, encoded: Any, rows: Sequence[int]) -> np.ndarray:
    """The last layer's states (N, H) of the first pieces of the words of these windows."""
    found = []
    for row in rows:
        ids, mask, _ = encoded.inputs([row])
        found.append(bert(ids, mask)[0, encoded.windows[row].firsts].numpy())
    return np.concatenate(found)


def names_of(tokenizer: WordPiece, ids: Sequence[int]) -> list[str]:
    """The tokens of ids as they are written."""
    return [tokenizer.tokens[number] for number in ids]
