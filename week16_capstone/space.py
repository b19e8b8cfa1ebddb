"""What this week's Space is made of: `./course space 16`."""

from pathlib import Path

from shared.space import Config, Space
from week16_capstone import reports

REPORT = "synthetic_report.pdf"
SEED = 2
ABOUT = """
Ask a PDF, its charts included, and see the page, the figure and the values that the answer rests on.

- **Charts become numbers**: drawn as vectors they are read exactly, as bitmaps by a small network and a reader of
  print. Sums and comparisons are computed, not guessed, and what no figure and no text says is not answered.
- A PDF of your own is read for you alone, and goes within the hour.
- The report that is open at first is made up, every number of it. It reads bars, lines and pies; not photographs of
  paper, and no chart whose axis it does not understand, which it says.
"""


def report(folder: Path) -> None:
    """Draws the report that is open at first."""
    (folder / REPORT).write_bytes(reports.make(SEED).content)


def made_of(cfg: Config) -> Space:
    """The page, over a report whose numbers are known."""
    return Space(
        title="Ask a report",
        emoji="📊",
        short="Charts in a PDF become numbers, with page and figure",
        about=ABOUT,
        question="By how much did tickets sold of Old site change from 2004 to 2006?",
        flags=(f"HERE/{REPORT}", "--run", "RUN"),
        models=("minilm", "efficientnet-lite0"),
        unused=(
            "accelerate", "fastapi", "gguf", "langchain", "onnx", "onnxscript", "open-clip-torch", "peft",
            "prometheus-client", "reportlab", "sentence-transformers", "torchvision", "uvicorn",
        ),
        add=report,
    )  # fmt: skip
