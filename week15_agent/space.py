"""What this week's Space is made of: `./course space 15`."""

from pathlib import Path

from shared import assets, bundle
from shared.space import Config, Space

ABOUT = """
An agent with a calculator and a search: see what it thinks, which tool it calls with what, and what comes back.

- **A language model of 135 M parameters** (SmolLM2), taught with adapters in minutes on two cores to think, act and
  observe.
- It searches 2,257 dated facts (states, elements, releases, the climate) that lie in this repository, not the web.
- It is small: it answers questions like the three examples, and little else. What it says of other things is often
  wrong.
"""


def vectors(folder: Path) -> None:
    """The passages as vectors, where this machine has made them; else the Space does, at its start."""
    for path in sorted((assets.home() / "week15").glob("vectors-*.npy")):
        bundle.copy(path, folder / "week15" / path.name)


def made_of(cfg: Config) -> Space:
    """The page, with the run's adapters in the model that they belong to."""
    return Space(
        title="An agent with tools",
        emoji="🧮",
        short="A small model that computes and looks things up",
        about=ABOUT,
        question="What is 17% of 2,350?",
        models=("smollm2", "minilm"),
        samples=("world_facts.jsonl.gz",),
        unused=("gguf", "langchain", "langchain-openai", "matplotlib", "rank-bm25"),
        add=vectors,
    )
