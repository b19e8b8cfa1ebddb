"""Makes the README's pictures again, from runs that are there.

./course train 15 && ./course eval 15
./course run 15 figures
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week15_agent/figures.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np

from shared import cli, runs
from shared.errors import CourseError
from shared.files import read_json
from shared.progress import read_metrics
from week15_agent.loop import Event

FIGURES = Path(__file__).parent / "figures"
ASKED = "How many more people live in France than in Spain?"
SCRIPT = (
    "Thought: two facts, then a sum.\nAction: search[population of France]\nAction: search[population of Spain]",
    "Action: calculator[68512806 - 47280433]",
    "Answer: 21232373",
)
"""A trace to draw where there is no trained agent: the words are written by hand, what the tools say is real."""
LOOKS = {  # {kind of event: (its name in the picture, colour of the box's edge)}
    "question": ("question", "INK"), "thought": ("thought", "PURPLE"), "action": ("action", "BLUE"),
    "observation": ("observation", "GREEN"), "unparsable": ("no turn", "VERMILLION"),
    "answer": ("answer", "ORANGE"), "gave_up": ("gave up", "VERMILLION"),
}  # fmt: skip
WIDE = 92  # letters of a line in the picture of a trace


@dataclass
class Config:
    """The flags of figures."""

    run: str = ""
    """The folder of a run of train that eval has scored (default: the newest)."""
    out: str = str(FIGURES)
    """Where the pictures go."""
    asked: str = ASKED
    """The question whose trace is drawn."""


def traced(question: str, folder: str) -> list[Event]:
    """What the trained agent of a run does with a question; without a run, what SCRIPT does."""
    from week15_agent import loop, opening, snapshot
    from week15_agent.calculator import CALCULATOR
    from week15_agent.minds import Scripted
    from week15_agent.search import Search, tool
    from week15_agent.tools import by_name

    tools = by_name(CALCULATOR, tool(Search(snapshot.documents())))
    try:
        mind = opening.thinking(opening.Which(run=folder))
    except CourseError as error:
        print(f"the trace is a script's: {error}")
        mind = Scripted(SCRIPT)
    return list(loop.run(mind, tools, question))


def trace(path: Path, question: str, events: Sequence[Event]) -> None:
    """A question and what an agent did with it, from top to bottom: whose words each box holds, and in which turn."""
    from shared import plots

    lines = [("question", question, 0), *((one.kind, one.text, one.step) for one in events)]
    blocks = [(kind, wrap(text, WIDE) or [""], step) for kind, text, step in lines]
    heights = [0.24 + 0.2 * len(text) for _, text, _ in blocks]
    with plots.figure(path, size=(8.8, 0.2 + sum(heights))) as (_, axes):
        axes.set_axis_off()
        axes.set(xlim=(0, 10), ylim=(-sum(heights), 0))
        top = 0.0
        for (kind, text, step), height in zip(blocks, heights, strict=True):
            name, colour = LOOKS[kind][0], getattr(plots, LOOKS[kind][1])
            theirs = kind in ("observation", "question")
            box = {"boxstyle": "round,pad=0.35", "fc": "#FFFFFF" if theirs else "#F1F3F5", "ec": colour, "lw": 1.3}
            middle = {"y": top - height / 2, "va": "center", "fontsize": 9}
            axes.text(0.0, s=f"{step}" if step else "", ha="left", color=plots.GREY, **middle)
            axes.text(1.35, s=name, ha="right", color=colour, fontweight="bold", **middle)
            axes.text(1.6, s="\n".join(text), ha="left", bbox=box, **middle)
            top -= height


def families(path: Path, shares: Mapping[str, Mapping[str, float]]) -> None:
    """How many questions of each family were answered right, by whom.

    Args:
        shares: {who: {family: share}}, as eval leaves it in families.json.
    """
    from shared import plots

    names = [name for name in next(iter(shares.values())) if name != "all"]
    width = 0.8 / len(shares)
    with plots.figure(path, size=(8.4, 3.8)) as (_, axes):
        for number, (who, found) in enumerate(shares.items()):
            at = np.arange(len(names)) + (number - (len(shares) - 1) / 2) * width
            bars = axes.bar(at, [100 * found.get(name, 0.0) for name in names], width, label=who)
            axes.bar_label(bars, fmt="%.0f", fontsize=7, padding=1)
        axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
        axes.set(title="Right answers, per cent", ylim=(0, 108))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=min(4, len(shares)), fontsize=8)


def training(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """What the agent learns: the loss of a token, and the share of val's questions that it answers right."""
    from shared import plots

    steps = [row["step"] for row in rows]
    with plots.figure(path, 1, 2, size=(8.4, 3.2)) as (_, (left, right)):
        for name, label, colour in (("train_loss", "train", plots.BLUE), ("val_loss", "val", plots.ORANGE)):
            found = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
            if found:
                left.plot(*zip(*found, strict=True), color=colour, label=label, marker="o", markersize=3)
        left.set(title="Loss of a token that it is to say, nats", xlabel="steps", yscale="log")
        left.legend()
        shown = [name for name in rows[-1] if name.startswith("val_success")]
        for name in shown:
            label = "all" if name == "val_success" else name.removeprefix("val_success_").replace("_", " ")
            values = [100 * row.get(name, float("nan")) for row in rows]
            right.plot(steps, values, label=label, lw=2.6 if label == "all" else 1.2, marker="o", markersize=3)
        right.set(title="Right answers on val, per cent", xlabel="steps", ylim=(-3, 103))
        right.legend(fontsize=8)


def saturation(path: Path) -> None:
    """What a word adds to the score of a passage: by how often it stands there, and how long the passage is."""
    from shared import plots
    from week15_agent.bm25 import B, bm25_weight

    often = np.arange(0.0, 13.0)
    with plots.figure(path, 1, 2, size=(8.4, 3.0)) as (_, (left, right)):
        for k1 in (0.0, 0.5, 1.5, 5.0):
            with np.errstate(invalid="ignore"):
                left.plot(often, np.nan_to_num(bm25_weight(often, often * 0 + 10, 10.0, 1.0, k1)), label=f"k1 = {k1:g}")
        left.set(title="How often it stands there", xlabel="frequency", ylabel="what it adds, for idf 1")
        left.legend(fontsize=8)
        length = np.linspace(2.0, 40.0, 60)
        for b in (0.0, B, 1.0):
            right.plot(length, bm25_weight(length * 0 + 1, length, 10.0, 1.0, b=b), label=f"b = {b:g}")
        right.axvline(10, color=plots.GREY, lw=0.8, ls=":")
        right.set(title="How long the passage is (mean: 10)", xlabel="words", ylim=(0, None))
        right.legend(fontsize=8)


def draw_graph(path: Path) -> None:
    """Our graph, as LangGraph knows it."""
    from week15_agent import graph
    from week15_agent.minds import Scripted

    graph.draw(graph.build(Scripted([]), {}), path)


def main(cfg: Config) -> None:
    """Draws bm25.png, graph.png and trace.png; and families.png and training.png of a run, where there is one."""
    out = Path(cfg.out)
    saturation(out / "bm25.png")
    draw_graph(out / "graph.png")
    trace(out / "trace.png", cfg.asked, traced(cfg.asked, cfg.run))
    try:
        folder = Path(cfg.run) if cfg.run else runs.newest(15)
    except CourseError as error:
        print(f"left out families.png and training.png: {error}")
        folder = None
    if folder and (rows := read_metrics(folder / "metrics.jsonl")):
        training(out / "training.png", rows)
    if folder and (folder / "families.json").is_file():
        families(out / "families.png", read_json(folder / "families.json"))
    for picture in sorted(out.glob("*.png")):
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    cli.launch(main, Config)
