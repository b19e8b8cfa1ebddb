"""What this week's Space is made of: the service in its container. `./course space 12` packs, runs and pushes it.

./course run 12 space                            the same: its folder, to runs/week12/space
./course run 12 space --dry-run                  and runs it: the hub's user, port and folders
./course run 12 space --push ada/bot             and pushes it; the token from `hf auth login`, or HF_TOKEN
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week12_deploy/space.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared import cli, space
from shared.box import Box
from shared.errors import CourseError
from shared.terminal import printable
from week12_deploy import bundle

WEEK_NUMBER = 12
PORT = 8000
"""Of our image."""
KEY = "COURSE_API_KEY"
AS_A_SPACE = """

# ---- As a Space runs it, which builds the last stage: the pages are open to everybody, the API to those who have the
# key in the Space's secret COURSE_API_KEY; without one, to nobody.
FROM service AS space
CMD ["--lm", "{lm}", "--ui", "open"]
"""
ABOUT = """
Ask a PDF, and see the page and the words that the answer has: the bot of the course's week 11, deployed by its week 12.

- **Answers rest on words of the document.** Each has the page and the quoted words that it rests on; what no words
  support is not shown, and what the document does not say is answered with "This is not in the document."
- The API is described at `/docs`. It wants a key: give the Space a secret `COURSE_API_KEY` of at least 16 characters
  (Settings, Variables and secrets). Without one, only the pages are open.

The sentence encoder (all-MiniLM-L6-v2, in 8 bits) is under Apache-2.0. The sample document is the Debian Developer's
Reference, GPL-2 or later, by its authors.
"""


@dataclass
class Config(space.Config):
    """The flags of space."""

    run: str = ""
    """Week 11's run that goes along, with its documents (default: the newest)."""
    model: str = ""
    """Week 12's run with the exported embedder (default: the newest)."""
    lm: str = "extractive"
    """Who answers: extractive (quotes, offline), or the address of an OpenAI-compatible service, whose key is to be a
    secret of the Space, COURSE_LM_KEY."""


@dataclass(frozen=True)
class Service(space.Space):
    """A Space that is a container, and asked over HTTP.

    Attributes:
        model, lm: as the flags say.
    """

    model: str = ""
    lm: str = "extractive"

    def pack(self, folder: Path, number: int, given: str) -> None:
        """Writes what the image is built of, with a last stage for the hub."""
        bundle.service(folder, given, self.model)
        dockerfile = (folder / "Dockerfile").read_text(encoding="utf-8")
        bundle.write(folder / "Dockerfile", dockerfile + AS_A_SPACE.format(lm=self.lm))
        (folder / "compose.yaml").unlink()

    def ask(self, box: Box, port: int, question: str, secrets: Mapping[str, str]) -> str:
        """The service's answer with its sources, as text."""
        sent = {"Authorization": f"Bearer {secrets[KEY]}"}
        status, text = box.ask(port, "/ask", {"question": question}, headers=sent)
        if status != 200:
            raise CourseError(f"the Space answers {status}: {printable(text)[:300]}")
        answer = json.loads(text)
        sources = [f"[{c['number']}] {c['name']}, page {c['page']}: {c['quote']}" for c in answer["citations"]]
        return "\n".join([answer["text"], *sources])


def made_of(cfg: Config) -> Service:
    """The service, with week 11's run and this week's embedder."""
    if cfg.lm == "smollm2":
        raise CourseError("--lm smollm2: week 12's Space goes without torch. Take `./course space 11`, or an address.")
    if re.search(r"[\s\"'\\{}]", cfg.lm):
        raise CourseError(f"--lm {cfg.lm}: must be extractive, or an address.")
    return Service(
        title="Talk to your data",
        emoji="📖",
        short="Answers from a PDF, with page and quote",
        about=ABOUT,
        question="How do I orphan a package?",
        sdk="docker",
        head={"app_port": PORT, "base_path": "/ui/", "models": ["sentence-transformers/all-MiniLM-L6-v2"]},
        model=cfg.model,
        lm=cfg.lm,
        ready=("/health", "/ready", "/ui/"),
        secrets=(KEY,),
    )


def main(cfg: Config) -> dict[str, Any]:
    """Writes the folder of a Space; runs it as the hub would (--dry-run); pushes it there (--push user/name).

    Returns {files, bytes}, of --dry-run what was measured, too, and of --push the address.
    """
    return space.main(WEEK_NUMBER, sys.modules[__name__], cfg)


if __name__ == "__main__":
    cli.launch(main, Config)
