"""Makes the README's pictures of quantisation and of memory again: `./course run 9 figures`"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week09_lora/figures.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass
from typing import Any

from shared import chat_models, cli, results
from week09_lora import drawing, memory, quant
from week09_lora.model import linear_layers

FIGURES = Path(__file__).parent / "figures"


@dataclass
class Config:
    """The flags of figures."""

    model: str = "smollm2"
    """Whose matrix is quantised (nf4_levels.png, bits.png)."""
    layer: str = "model.layers.15.mlp.up_proj"
    """Which matrix."""
    publish: bool = False
    """Put the table of errors into the week's RESULTS.md (for whoever looks after the lesson)."""
    out: str = str(FIGURES)
    """Where the pictures go."""


def ways() -> dict[str, memory.Need]:
    """Llama 3 of 8 B at 4 x 1024 tokens: from all weights to QLoRA with every saving."""
    shape, given = memory.KNOWN["llama3"], {"batch": 4, "length": 1024, "dtype": "float16"}
    more: dict[str, dict[str, Any]] = {
        "LoRA, 16 bits": {},
        "+ checkpointing": {"checkpointing": True},
        "+ NF4 (QLoRA)": {"checkpointing": True, "quantize": "nf4"},
        "+ a row at a time": {"checkpointing": True, "quantize": "nf4", "accumulate": 4},
    }
    return {name: memory.predict(shape, **given | change) for name, change in more.items()}


def main(cfg: Config) -> None:
    """Draws nf4_levels.png and bits.png from a matrix of a model, and memory.png from sizes alone."""
    out = Path(cfg.out)
    model = chat_models.load_model(cfg.model)
    weight = linear_layers(model)[cfg.layer].weight.detach().float()
    name = f"{cfg.model}, {cfg.layer.removeprefix('model.')}"
    drawing.levels(out / "nf4_levels.png", weight, name)
    found = quant.errors(weight)
    drawing.errors(out / "bits.png", found, name)
    title = "Llama 3 8B, rank 16, 4 x 1024 tokens: GiB at the fullest moment"
    drawing.memory(out / "memory.png", ways(), title, memory.CARDS["t4"])
    rows = [[kind, f"{bits:.3f}", f"{100 * error:.2f} %"] for kind, bits, error in found]
    table = results.markdown(["", "bits a number", "rms error"], rows)
    print(f"{name}, {tuple(weight.shape)}\n\n{table}")
    if cfg.publish:
        results.publish(9, "bits and errors", f"`./course run 9 figures --publish`: {name}\n\n{table}")


if __name__ == "__main__":
    cli.launch(main, Config)
