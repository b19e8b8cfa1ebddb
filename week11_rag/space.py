"""What this week's Space is made of: `./course space 11`."""

import re
from dataclasses import dataclass
from pathlib import Path

from shared import bundle, space
from shared.errors import CourseError
from shared.files import read_json, write_json
from shared.space import Space

SOURCES = "sources.json"
"""{document: its PDF} of a run; a path in it that is not absolute begins in the run's folder."""
ABOUT = """
Ask a PDF, and see the page and the words that the answer has.

- **Answers rest on words of the document.** Each has the page and the quoted words that it rests on; what no words
  support is not shown, and what the document does not say is answered with "This is not in the document."
- A PDF of your own is asked by you alone, and is gone when you leave.

The sample document is the Debian Developer's Reference, GPL-2 or later, by its authors.
"""


@dataclass
class Config(space.Config):
    """The flags of space."""

    lm: str = "extractive"
    """Who answers: extractive (quotes, offline), smollm2 (0.6 GB come along), or the address of an OpenAI-compatible
    service, whose key is to be a secret of the Space, COURSE_LM_KEY."""


def bake(source: Path, folder: Path) -> None:
    """Copies a run that a bot is opened with, and its documents.

    Raises:
        CourseError: a document is not there any more.
    """
    bundle.run(source, folder)
    sources = read_json(source / SOURCES)
    for identity, path in sources.items():
        if not (source / path).is_file():
            raise CourseError(f"{path} is not there any more, and a document of {source}: `./course train 11` anew.")
        bundle.copy(source / path, folder / "documents" / f"{identity}.pdf")
    write_json(folder / SOURCES, {identity: f"documents/{identity}.pdf" for identity in sources})
    (folder / SOURCES).chmod(0o644)


def made_of(cfg: Config) -> Space:
    """The week's page, with the run and its documents."""
    if re.search(r"[\s\"'\\{}]", cfg.lm):
        raise CourseError(f"--lm {cfg.lm}: must be extractive, smollm2, a name of the hub, or an address.")
    return Space(
        title="Talk to your data",
        emoji="📖",
        short="Answers from a PDF, with page and quote",
        about=ABOUT,
        flags=("--run", "RUN", "--lm", cfg.lm),
        models=("minilm", *(["smollm2"] if cfg.lm == "smollm2" else [])),
        unused=("langchain", "matplotlib", "scikit-learn", "sentence-transformers"),
        file=SOURCES,
        bake=bake,
        question="How do I orphan a package?",
    )
