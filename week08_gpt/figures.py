"""Makes the README's pictures again, from runs that are there.

./course repeat 8 --seeds 5 --out runs/week08/five;  ./course run 8 figures --runs runs/week08/five
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week08_gpt/figures.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import shutil
from dataclasses import dataclass

from shared import cli
from shared.errors import CourseError
from shared.files import read_json
from shared.progress import read_metrics
from week08_gpt import drawing, ngram
from week08_gpt.trained import load

FIGURES = Path(__file__).parent / "figures"


@dataclass
class Config:
    """The flags of figures."""

    runs: str = ""
    """A folder of repeat with the runs of several seeds (loss.png); empty: the one run alone."""
    run: str = ""
    """The run for the other pictures (default: the week's newest, or the first of --runs)."""
    text: str = "def remove(self, key, value):\n    return self.table.pop(key)\n"
    """What the head that copies reads twice (induction.png)."""
    prompt: str = 'def get(self, name, default=None):\n    """Return the value of name."""\n'
    """What is gone on from under three temperatures (temperatures.png)."""
    out: str = str(FIGURES)
    """Where the pictures go."""


def main(cfg: Config) -> None:
    """Draws loss.png, induction.png and temperatures.png, and takes validity.png, which eval has left in the run."""
    out = Path(cfg.out)
    several = sorted(path.parent for path in Path(cfg.runs).glob("*/result.json")) if cfg.runs else []
    if cfg.runs and not several:
        raise CourseError(f"--runs {cfg.runs}: no finished run in it. ./course repeat 8 --out FOLDER makes them.")
    net = load(cfg.run or (several[0] if several else ""), finished=True)
    folders = several or [net.run.folder]
    logs = [read_metrics(folder / "metrics.jsonl") for folder in folders]
    rows = read_json(folders[0] / "result.json")["baselines"]
    (baseline,) = (row["val_bits_per_byte"] for row in rows if row["name"] == ngram.NAME)
    drawing.loss(out / "loss.png", logs, baseline)
    layer, head, share = drawing.induction(out / "induction.png", net.model, net.tokenizer, cfg.text)
    print(f"the head that copies most: layer {layer + 1}, head {head + 1}, {share:.0%} of its weight")
    drawing.temperatures(out / "temperatures.png", net.model, net.tokenizer, cfg.prompt)
    if (net.run.folder / "validity.png").is_file():
        shutil.copyfile(net.run.folder / "validity.png", out / "validity.png")
    else:
        print(f"left out validity.png: `./course eval 8 --run {net.run.folder}` draws it")
    for picture in sorted(out.glob("*.png")):
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    cli.launch(main, Config)
