"""Asks a PDF, its charts included: `./course run 16 ask report.pdf "What was revenue in 2019?"`.

./course run 16 ask report.pdf                            reads it, and lists its figures and tables
./course run 16 ask report.pdf "Summarise figure 3"
./course run 16 ask reports/ "Which city grew fastest from 2015 to 2019?"

The answer comes with its page, the box of the figure there (in points from the lower left corner), and a picture of it
with the values marked. What a question costs the second time is the search alone: pages are read once.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week16_capstone/ask.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from shared import cli
from shared.config import Count
from shared.errors import CourseError
from shared.files import written_whole
from shared.terminal import printable
from week16_capstone.store import SHELF

MOST_FILES = 200
SAMPLE = "sample"
"""In the place of a PDF's path: report NUMBER of val, made and drawn when it is first asked for."""
NUMBER = 7
EYES_SIDE = 160  # pixels that a figure is looked at in, to tell which look alike


@dataclass
class Config:
    """The flags of ask."""

    words: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """PDFs or folders of them (or `sample`, a report that was made up), then the question. Without a question: the list
    of figures and tables."""
    run: str = ""
    """The run whose reader reads charts that are bitmaps (default: the week's newest; without one, only charts that are
    drawn as vectors are read)."""
    shelf: str = str(SHELF)
    """Where what was read is kept."""
    lm: str = ""
    """What words summaries: nothing (sentences made by rule), smollm2, a folder, or a service's address; its numbers
    are held against the chart's."""
    endpoint: str = ""
    """The address of a service that speaks as OpenAI's does, as http://localhost:11434/v1#llama3.2: its model calls the
    tools then, in the place of the rules."""
    pages: Count = 400
    """Of a longer PDF only so many pages are read."""
    out: str = ""
    """The folder for the picture of the figure that was read (default: the shelf)."""
    steps: bool = False
    """Show what was done, step by step."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there."""


def divided(words: Sequence[str]) -> tuple[list[Path], str]:
    """(PDFs, question) of what stands on the command line.

    Raises:
        CourseError: no PDF is there, or something that looks like one is not.
    """
    files: list[Path] = []
    rest: list[str] = []
    folders: list[str] = []
    for word in filter(str.strip, words):  # an empty one would be the folder that one is in
        path = Path(word).expanduser()
        if path.is_dir():
            files += sorted(one for one in path.rglob("*") if one.suffix.lower() == ".pdf" and one.is_file())
            folders.append(word)
        elif word == SAMPLE:
            files.append(sample())
        elif path.suffix.lower() == ".pdf" or path.is_file():
            files.append(path)
        else:
            rest.append(word)
    if folders and not files:
        raise CourseError(f"there is no PDF in {' or '.join(folders)}.")
    if not files:
        raise CourseError('which PDF? Give its path, then the question: ask report.pdf "What was revenue in 2019?"')
    if len(files) > MOST_FILES:
        raise CourseError(f"{len(files):,} PDFs are more than {MOST_FILES}: give a folder with fewer.")
    return files, " ".join(rest)


def sample() -> Path:
    """A report that was made up and drawn for this course, as a file; drawn anew by code that has changed since."""
    from week16_capstone import reports

    path = SHELF.parent / "sample.pdf"
    code = max(one.stat().st_mtime for one in Path(__file__).parent.glob("*.py"))
    if not path.is_file() or path.stat().st_mtime < code:
        with written_whole(path) as temporary:
            temporary.write_bytes(reports.make(NUMBER, "val").content)
    return path


def reader_of(run: str) -> Any:
    """The reader of bitmaps of a run; None where there is no run, which is said.

    Raises:
        CourseError: the run that was named is not there.
    """
    from week16_capstone import trained

    try:
        return trained.load(run)
    except CourseError as error:
        if run:
            raise
        print(f"charts that are bitmaps are not read: {error}", file=sys.stderr)
        return None


def eyes_of(device: str) -> Any:
    """What looks at pictures, of week 14; None where its network cannot be had, which is said."""
    from shared.device import choose
    from week14_clip.features import Eyes

    try:
        return Eyes(choose(device), EYES_SIDE)
    except CourseError as error:
        print(f"figures are not compared by their looks: {error}", file=sys.stderr)
        return None


def opened(files: Sequence[Path], cfg: Any) -> Any:
    """The agent that answers from these PDFs; what cannot be read of several is named and left out.

    Raises:
        CourseError: none of them can be read.
    """
    from week11_rag.embed import Embedder
    from week11_rag.language import open_language
    from week16_capstone.agent import Agent
    from week16_capstone.endpoint import Caller
    from week16_capstone.index import Index
    from week16_capstone.ingest import ingest
    from week16_capstone.store import Shelf

    shelf, reader, ids = Shelf(cfg.shelf), reader_of(cfg.run), []
    for file in files:
        try:
            report = ingest(file, shelf, reader, cfg.pages)
        except CourseError as error:
            if len(files) == 1:
                raise
            print(f"left out: {printable(str(error))}", file=sys.stderr)
            continue
        for note in report.notes:
            print(f"{printable(file.name)}: {printable(note)}", file=sys.stderr)
        ids.append(report.document.id)
    if not ids:
        raise CourseError(f"none of these {len(files)} PDFs can be read.")
    index = Index(shelf, list(dict.fromkeys(ids)), Embedder("minilm", cfg.device), eyes_of(cfg.device))
    language = open_language(cfg.lm, cfg.device) if cfg.lm else None
    agent = Agent(index, language=language)
    return Caller(agent, cfg.endpoint) if cfg.endpoint else agent


def pictured(agent: Any, answer: Any, folder: str = "") -> Path | None:
    """Writes the picture of the figure that an answer rests on; returns its path."""
    from week16_capstone import places

    source = answer.sources[0] if answer.sources else None
    if source is None:
        return None
    file = agent.index.file(source.document)
    place = Path(folder) if folder else agent.index.shelf.place(source.document)
    path = place / f"answer-page{source.page}.png"
    picture = places.crop_picture(file, source.page, source.box, source.marks)
    with written_whole(path) as temporary:
        picture.save(temporary, "PNG")
    return path


def main(cfg: Config) -> dict[str, Any]:
    """Answers a question from PDFs, their charts included, with page, box and picture.

    Returns the answer, its source line and the picture's path.
    """
    files, question = divided(cfg.words)
    agent = opened(files, cfg)
    if not question:
        lines = agent.listed()
        print("\n".join(map(printable, lines)) or "no figures or tables were found.")
        return {"answer": "\n".join(lines), "source": "", "picture": ""}
    answer = agent.ask(question)
    print(printable(answer.text, breaks=True))
    if answer.note:
        print(f"({printable(answer.note)})")
    for source in answer.sources:
        print(f"  {printable(source.line)}")
    path = pictured(agent, answer, cfg.out)
    if path:
        print(f"  picture: {path}")
    if cfg.steps:
        print("\n".join(f"  {printable(step)}" for step in answer.steps))
    line = answer.sources[0].line if answer.sources else ""
    return {"answer": answer.text, "refused": answer.refused, "source": line, "picture": str(path or "")}


if __name__ == "__main__":
    cli.launch(main, Config)
