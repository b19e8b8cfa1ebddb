"""A search page in the browser: type words, drop a picture, weigh both: `./course run 14 app FOLDER`.

Everything stays on this machine: no fonts or scripts from elsewhere, no statistics; what a visitor drops is looked at,
and goes after an hour.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week14_clip/app.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from annotated_types import Ge, Le
from PIL import Image

from shared import browser, cli
from shared.device import choose
from shared.errors import CourseError
from shared.pictures import read_picture
from shared.terminal import printable
from week14_clip.index import Index
from week14_clip.search import indexed, question, top_k
from week14_clip.trained import Encoder, Which, opened

LARGEST = "25mb"  # of a picture that a visitor drops
LONGEST = 500  # characters of a question
SIDE = 400  # pixels of a picture that is shown
MOST = 60  # pictures that are shown at once
STYLE = """
.gradio-container { width: 100% !important; max-width: 1280px !important; margin: 0 auto !important; }
#words textarea::placeholder { color: var(--body-text-color) !important; opacity: 0.65; }
footer { display: none !important; }
"""
Hit = tuple[Image.Image, str]


@dataclass
class Config(Which):
    """The flags of app."""

    folder: tyro.conf.Positional[str] = ""
    """The folder of pictures that is searched."""
    run: str = ""
    """The run whose towers look (default: week 14's newest)."""
    host: str = "127.0.0.1"
    """Who can reach it: this machine alone, or 0.0.0.0: everybody who reaches this machine sees the folder's
    pictures."""
    port: Annotated[int, Ge(0), Le(65_535)] = 7860
    """Where it listens; 0: at a free place."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there."""


def found(
    index: Index, towers: Encoder, words: str, picture: str | None, weight: float, k: int
) -> tuple[list[Hit], str]:
    """([(picture, what stands under it)], a line): what is most like the words, the picture, or both.

    Args:
        index: of the folder.
        towers: what looks.
        words: a text, or a sum of texts as "2:dog - people"; files are not read by their names here.
        picture: the file of a picture; None: none.
        weight: of the picture, from 0 to 1; the words have the rest.
        k: how many.
    """
    words = printable(words or "").strip()
    if len(words) > LONGEST:
        raise CourseError(f"{len(words):,} characters: a question has at most {LONGEST}.")
    if not words and not picture:
        raise CourseError("type what to look for, or drop a picture.")
    total = np.zeros(towers.dim, np.float32)
    if words:
        total += (1 - weight if picture else 1) * question(words, towers, None)
    if picture:
        total += (weight if words else 1) * towers.of_pictures([read_picture(Path(picture), least=towers.side)])[0]
    length = np.linalg.norm(total)
    if length < 1e-4:
        raise CourseError("the words and the picture cancel: weigh them otherwise.")
    names, hits = index.names, []
    for row, score in zip(*top_k((total / length).astype(np.float32), index.matrix, min(k, MOST)), strict=True):
        try:
            one = read_picture(index.folder / names[row], least=SIDE)
        except CourseError:  # it has gone meanwhile
            continue
        one.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
        hits.append((one, f"{score:.2f}  {printable(names[row])}"))
    return hits, f"{len(hits)} of {len(names):,} pictures"


def answering(index: Index, towers: Encoder) -> Callable[..., tuple[list[Hit], str]]:
    """What the page calls: one question at a time, and what is wrong with one is said in the line."""
    lock = Lock()

    def answer(words: str, picture: str | None, weight: float | int, k: float | int) -> tuple[list[Hit], str]:
        try:
            with lock:
                return found(index, towers, words, picture, min(max(float(weight), 0.0), 1.0), max(1, int(k)))
        except CourseError as error:
            said = str(error)
            if picture:
                said = said.replace(str(picture), Path(picture).name)  # where it lies here is nobody's business
            return [], printable(said)

    return answer


def build(index: Index, towers: Encoder) -> Any:
    """The page, as gradio's Blocks."""
    gr = browser.gradio()

    answer = answering(index, towers)
    with gr.Blocks(title="Image search", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        gr.Markdown("# Image search")
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=260):
                words = gr.Textbox(
                    label="Words", placeholder="a dog in the snow, or 2:dog - people", max_length=LONGEST, max_lines=3,
                    submit_btn=True, autofocus=True, elem_id="words",
                )  # fmt: skip
                picture = gr.Image(label="A picture", type="filepath", sources=["upload", "clipboard"], height=220)
                weight = gr.Slider(0, 1, 0.5, step=0.05, label="Weight of the picture beside the words")
                k = gr.Slider(1, MOST, 12, step=1, label="How many")
            with gr.Column(scale=5, min_width=320):
                line = gr.Textbox(
                    f"{len(index.names):,} pictures", show_label=False, interactive=False, lines=1, container=False
                )
                shown = gr.Gallery(
                    show_label=False, label="Found", columns=4, height=760, object_fit="contain", format="jpeg",
                    interactive=False, elem_id="found",
                )  # fmt: skip
        given, gives = [words, picture, weight, k], [shown, line]
        words.submit(answer, given, gives, api_name="search")
        for event in (picture.change, weight.release, k.release):
            event(lambda *one: answer(*one) if one[0] or one[1] else ([], ""), given, gives, api_visibility="private")
    return page


def main(cfg: Config) -> dict[str, Any]:
    """Serves the page until Ctrl-C. The folder is brought up to date once, at the start.

    Returns where it was.
    """
    folder = Path(cfg.folder).expanduser()
    if not cfg.folder or not folder.is_dir():
        said = f"{cfg.folder}: no such folder." if cfg.folder else "which folder?"
        raise CourseError(f"{said} For example: ./course run 14 app my_photos")
    towers = opened(cfg, choose(cfg.device))
    page = build(indexed(folder, towers), towers)
    return browser.serve(page, cfg.host, cfg.port, LARGEST, STYLE)


if __name__ == "__main__":
    cli.launch(main, Config)
