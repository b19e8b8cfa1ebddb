"""Makes the README's pictures again from a trained run: `./course run 5 figures`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week05_attention/figures.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import contextlib
import io
import shutil
import tempfile
from dataclasses import dataclass, replace
from typing import Any

from shared import cli, sentence_pairs
from shared.plots import curves
from shared.progress import read_metrics
from week05_attention import data, drawing, train
from week05_attention import eval as evaluation
from week05_attention.trained import Trained, load

FIGURES = Path(__file__).parent / "figures"
STEPS = (0, 50, 100, 200, 400, 800)  # of short trainings, whose maps are drawn at their ends


@dataclass
class Config:
    """The flags of figures."""

    run: str = ""
    """The trained run (default: week 5's newest)."""
    steps: tuple[int, ...] = STEPS
    """After how many steps the map of one sentence is drawn, from uniform to sharp."""
    out: str = str(FIGURES)
    """Where the pictures go."""


def over_training(net: Trained, steps: tuple[int, ...], path: Path) -> None:
    """The map of one val sentence while a translator learns: trained anew, from the same seed."""
    import torch

    from shared.device import Device

    pairs, words = net.pairs(), net.words
    row = next(n for n, text in enumerate(pairs.val.sources) if 6 <= sentence_pairs.count_words(text) <= 8)
    one = pairs.val.sources[row], pairs.val.references[row][0]
    alone = sentence_pairs.Part([one[0]], [(one[1],)])
    encoded = data.encode(pairs.train, *words)
    sentence = data.encode(alone, *words)
    device, maps = Device("cpu", "float32", "a picture"), []
    for count in steps:
        model = train.build(net.config, *map(len, words))
        if count:
            cfg = replace(net.config, max_steps=count)
            for _ in train.fit(cfg, encoded, sentence, alone, words, model, device):
                pass
        model.eval()
        with torch.no_grad():
            weights = model(*map(torch.from_numpy, sentence.batch([0])))[1][0].numpy()
        written = [*sentence_pairs.tokenize(one[1]), "(end)"]
        maps.append((sentence_pairs.tokenize(one[0]), written, weights))
    drawing.maps(path, maps, [f"after {count} steps" for count in steps])


def main(cfg: Config) -> dict[str, Any]:
    """Draws all of the lesson's pictures from a trained run."""
    net, out = load(cfg.run), Path(cfg.out)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.main(evaluation.Config(run=str(net.run.folder), out=folder, beams=(1,)))
        curves(made / "curves.png", read_metrics(net.run.folder / "metrics.jsonl"), "val_bleu")
        over_training(net, cfg.steps, made / "over_training.png")
        out.mkdir(parents=True, exist_ok=True)
        for picture in sorted(made.glob("*.png")):
            shutil.copyfile(picture, out / picture.name)
            print(f"{out / picture.name}: {picture.stat().st_size / 1000:.0f} kB")
    return {"pictures": len(list(out.glob("*.png")))}


if __name__ == "__main__":
    cli.launch(main, Config)
