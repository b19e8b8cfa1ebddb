"""What this week's Space is made of: `./course space 14`."""

from pathlib import Path
from typing import Any

from shared.space import Config, Space
from week14_clip import data
from week14_clip.picture import sheet

ABOUT = """
Type words, drop a picture, or weigh both, and see which of 1,202 drawings are most like it.

- **Two small towers on frozen networks**, trained for a minute on two cores to put pictures and words into one space.
- **The style was new to them** (OpenMoji; they learned from three others), and of the things 842 were not, 360 were.
- It knows drawings, no photographs, and it errs often: of 240 new things in the new style a third of the texts find
  theirs among the first ten.

The drawings are OpenMoji's, CC BY-SA 4.0; names and keywords are Unicode CLDR's. The licences stand in
`shared/samples/emoji_licences.txt`.
"""


def drawings(folder: Path) -> None:
    """Writes the drawings of the style that was not trained on as files, named by what they show."""
    (folder / "pictures").mkdir()
    for part in ("train", "val", "test"):
        for one in data.emoji(part, (data.NEW_STYLE,)).items:
            name = "".join(char if char.isalnum() or char in " -" else "" for char in one.captions[0]).strip()
            one.read().save(folder / "pictures" / f"{name} {one.place}.png")
    sheet.cache_clear()


def question(words: str) -> list[Any]:
    """The page's own four values: words, no picture, its weight, how many."""
    return [words, None, 0.5, 5]


def made_of(cfg: Config) -> Space:
    """The search page over the bundled drawings, with the run's towers."""
    return Space(
        title="Image search",
        emoji="🔎",
        short="Drawings found by words, by a picture, or by both",
        about=ABOUT,
        question="a cat",
        flags=("HERE/pictures", "--run", "RUN"),
        models=("efficientnet-lite0", "minilm"),
        samples=("emoji_licences.txt",),
        unused=("chromadb", "matplotlib"),
        add=drawings,
        event="search",
        values=question,
    )
