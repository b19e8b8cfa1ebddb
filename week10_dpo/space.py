"""What this week's Space is made of: `./course space 10`."""

from typing import Any

from shared.space import Config, Space

ABOUT = """
Two answers to a question: which one does a small language model (SmolLM2, 135 M parameters) prefer since DPO taught it
manners, by how much, and because of which words?

- The margin is DPO's own: the first answer's reward less the second's, each β times how many nats likelier the answer
  has become.
- It learned from answers that were **made up** to be polite or rude. It prefers the tone, not what is true or safe.
"""


def pair(question: str) -> list[Any]:
    """The page's three values: the question, a polite answer and a rude one."""
    return [
        question,
        "With pleasure! A judge decides cases in court.",
        "Is that so hard? A judge decides cases in court.",
    ]


def made_of(cfg: Config) -> Space:
    """The page, with the run's model at its three stages."""
    return Space(
        title="Polite or rude?",
        emoji="🎩",
        short="Which answer does a model prefer, and by which words?",
        about=ABOUT,
        question="Tell me what a judge does.",
        models=("smollm2",),
        samples=("synthetic_manners.jsonl.gz",),
        unused=("datasets", "gguf", "matplotlib", "scikit-learn", "trl"),
        values=pair,
    )
