"""What this week's Space is made of: `./course space 9`."""

from shared.space import Config, Space

ABOUT = """
One small language model before and after its tuning, side by side: SmolLM2 (135 M parameters), and the same with LoRA
adapters that were trained in minutes on two cores.

- It learned **to do exactly what an instruction says**: a list, a number, one word, JSON. On new wordings of such tasks
  it does so about every second time, where the untuned model hardly ever does.
- It learned nothing else, and forgot a little. What it says of the world is often wrong.
"""


def made_of(cfg: Config) -> Space:
    """The page, with the run's adapters in the model that they belong to."""
    return Space(
        title="Before and after",
        emoji="🎚",
        short="A small language model before and after its tuning",
        about=ABOUT,
        question="Tell me only the object that stands last below. Please bring a brush, a basket and a kite.",
        models=("smollm2",),
        unused=("bitsandbytes", "datasets", "gguf", "matplotlib", "trl"),
    )
