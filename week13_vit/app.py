"""A radiograph, what the network says of it, and where it looks, in the browser: `./course run 13 app`.

This is a lesson, not a medical device. Everything stays on this machine: no fonts or scripts from elsewhere, no
statistics; what a visitor drops is looked at, and goes after an hour.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week13_vit/app.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import base64
import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from shared import browser, cli
from shared.device import choose
from shared.errors import CourseError
from shared.terminal import printable
from week13_vit import data, decoded, looks, measures, train
from week13_vit.eval import part_to_score
from week13_vit.model import on_grid
from week13_vit.trained import Trained, load

LARGEST = "25mb"  # of a picture that a visitor drops
SHOWN = 12  # test pictures to choose from
SIDE = 384  # pixels of a picture that is shown
CELL, GAP = 64, 6  # pixels of a head's map, and between two
MOST_CLASSES = 6
STYLE = f"""{browser.STYLE}
.warning {{ border: 2px solid #D55E00; border-radius: 10px; padding: 8px 14px; font-weight: 600;
  color: var(--body-text-color); }}
.looks {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px; }}
.looks figure {{ margin: 0; }}
.looks img {{ width: 100%; height: auto; border-radius: 8px; image-rendering: auto; }}
.looks figcaption {{ font-size: 0.92em; padding-top: 4px; color: var(--body-text-color); }}
.heads img {{ max-width: 100%; height: auto; border-radius: 8px; }}
.classes {{ display: grid; grid-template-columns: max-content 1fr max-content; gap: 6px 10px; align-items: center;
  margin: 8px 0 14px; color: var(--body-text-color); font-variant-numeric: tabular-nums; }}
.classes .track {{ position: relative; height: 14px; border-radius: 3px; background: var(--border-color-primary); }}
.classes .bar {{ position: absolute; inset: 0 auto 0 0; border-radius: 3px; background: #0072B2; }}
.classes .cut {{ position: absolute; top: -4px; bottom: -4px; width: 2px; background: var(--body-text-color); }}
#some .grid-wrap {{ height: auto !important; min-height: 0 !important; max-height: none !important;
  padding: 0 !important; }}
#some .grid-container {{ grid-template-columns: repeat(4, minmax(0, 1fr)) !important; }}
summary {{ cursor: pointer; color: var(--body-text-color); margin: 12px 0 6px; }}
"""


@dataclass
class Config(browser.Served):
    """The flags of app."""

    run: str = ""
    """The run's folder (default: the week's newest)."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there."""


class Looking:
    """The network of a run, the same with its weights shuffled, and some pictures that it has not seen."""

    def __init__(self, cfg: Config) -> None:
        self.net, self.device = load(cfg.run), choose(cfg.device)
        self.shuffled = looks.shuffled(self.net.model)
        self.some = examples(self.net)

    def read(self, path: str) -> data.Part:
        """A visitor's picture as the network wants it: the middle square, grey where all of its pictures were.

        Raises:
            CourseError: it cannot be read, or is all of one colour.
        """
        grey = bool(np.ptp(self.net.mean_std[0]) < 1e-6)
        pixels = decoded.decode(Path(path), self.net.side, "L" if grey else "RGB")
        one = data.Part(pixels[None], np.zeros(1, np.int64), np.zeros(1, np.int64))
        data.check_part(one, *self.net.mean_std)
        return one

    def look(self, part: data.Part) -> tuple[str, str]:
        """Of one picture, as HTML: what the network says, and where it looks."""
        mean_std = self.net.mean_std
        probs = train.probabilities(self.net.model, part, mean_std, self.device)
        maps = [looks.rollouts(model, part, mean_std, self.device)[0] for model in (self.net.model, self.shuffled)]
        return said(self.net, probs), shown(self.net, part, maps, self.heads(part))

    @torch.no_grad()
    def heads(self, part: data.Part) -> Float[np.ndarray, "blocks heads h w"]:
        """What each head of each block looks at."""

        def seen(images: Any) -> torch.Tensor:
            each = [on_grid(a, model.grid(images), model.config.pool) for a in model.attentions(images)]
            return torch.stack(each, dim=1).flatten(1)  # blocks x (N, heads, h, w) -> (N, blocks * heads * h * w)

        model = self.net.model.to(self.device.name).eval()
        rows = self.net.side // model.config.patch
        flat = train.outputs(seen, part, self.net.mean_std, self.device)
        return flat.reshape(model.config.depth, model.config.heads, rows, rows).numpy()


def examples(net: Trained) -> data.Part | None:
    """Some of what the network has not seen, as many of each class; None where the data are not there any more."""
    try:
        part = part_to_score("", net).part
    except CourseError:
        return None
    rows = [np.flatnonzero(part.labels == label) for label in range(len(net.classes))]
    turns = [row[place] for place in range(SHOWN) for row in rows if place < len(row)]
    return part.take(np.random.default_rng(0).permutation(turns[:SHOWN]))  # or their places would tell


# ---------------------------------------------------------------- what is shown


def said(net: Trained, probs: Float[np.ndarray, "1 classes"]) -> str:
    """The class that is said, and how likely each is, as HTML."""
    name = printable(net.classes[int(measures.decided(probs, net.threshold)[0])])
    two, bars = len(net.classes) == 2, []
    order = range(2) if two else np.argsort(-probs[0])[:MOST_CLASSES]
    for place in order:
        share = float(probs[0, place])
        cut = f'<div class="cut" style="left: {100 * net.threshold:.1f}%"></div>' if two and place == 1 else ""
        bars.append(f"<span>{browser.text(net.classes[place])}</span>"
                    f'<div class="track"><div class="bar" style="width: {100 * share:.1f}%"></div>{cut}</div>'
                    f"<span>{share:.1%}</span>")  # fmt: skip
    note = f"From {net.threshold:.1%} on, the mark, {net.classes[1]} is said: chosen on val." if two else ""
    return (f'<p class="said">It says: {browser.text(name)}</p><div class="classes">{"".join(bars)}</div>'
            f'<p class="note">{browser.text(note)}</p>')  # fmt: skip


def outlined(image: Image.Image, spots: Float[np.ndarray, "most 5"] | None) -> Image.Image:
    """The picture with the edge of each opacity that is known of, in blue."""
    draw, turn = ImageDraw.Draw(image), np.linspace(0, 2 * np.pi, 60)
    for row, column, high, wide, angle in [] if spots is None else spots[np.isfinite(spots[:, 0])]:
        across, along = wide * np.cos(turn), high * np.sin(turn)
        x = column + across * np.cos(angle) - along * np.sin(angle)
        y = row + across * np.sin(angle) + along * np.cos(angle)
        draw.line([(SIDE * a, SIDE * b) for a, b in zip(x, y, strict=True)], fill="#00E5FF", width=3)
    return image


def enlarged(pixels: UInt8[np.ndarray, "H W C"]) -> Image.Image:
    """A picture in the size that is shown."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
    return image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def heat(grid: Float[np.ndarray, "h w"], side: int) -> Image.Image:
    """A map as a picture: dark where nobody looks."""
    from matplotlib import colormaps

    bright = Image.fromarray(np.uint8(255 * grid / max(grid.max(), 1e-12)))
    smooth = np.asarray(bright.resize((side, side), Image.Resampling.BICUBIC))
    return Image.fromarray(np.uint8(255 * colormaps["inferno"](smooth)[..., :3]))


def over(image: Image.Image, grid: Float[np.ndarray, "h w"]) -> Image.Image:
    """A map over a picture, with a square on the hottest patch."""
    found = Image.blend(image, heat(grid, SIDE), 0.6)
    cell = SIDE / grid.shape[0]
    y, x = (cell * place for place in np.unravel_index(grid.argmax(), grid.shape))
    ImageDraw.Draw(found).rectangle((x, y, x + cell - 1, y + cell - 1), outline="white", width=2)
    return found


def of_heads(maps: Float[np.ndarray, "blocks heads h w"]) -> Image.Image:
    """What each head looks at: a row for each block."""
    blocks, heads = maps.shape[:2]
    sheet = Image.new("RGB", (heads * (CELL + GAP) - GAP, blocks * (CELL + GAP) - GAP), "#808080")
    for block in range(blocks):
        for head in range(heads):
            sheet.paste(heat(maps[block, head], CELL), (head * (CELL + GAP), block * (CELL + GAP)))
    return sheet


def tag(image: Image.Image, words: str) -> str:
    """A picture as HTML, all of it in the page."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return f'<img alt="{browser.text(words)}" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'


def shown(
    net: Trained, part: data.Part, maps: list[Float[np.ndarray, "h w"]], heads: Float[np.ndarray, "blocks heads h w"]
) -> str:  # fmt: skip
    """The picture, where the network looks, and where it does with its weights shuffled, as HTML."""
    spots = None if part.spots is None else part.spots[0]
    image, known = enlarged(part.images[0]), spots is not None and np.isfinite(spots[:, 0]).any()
    words = ["what it is shown" + ("; blue: where the opacity is" if known else ""),
             "where it looks: attention rollout, and a square on the hottest patch",
             "the same network with its weights shuffled, which has learned nothing"]  # fmt: skip
    images = [image, *(over(image, grid) for grid in maps)]
    figures = "".join(f"<figure>{tag(outlined(one.copy(), spots), what)}<figcaption>{what}</figcaption></figure>"
                      for one, what in zip(images, words, strict=True))  # fmt: skip
    title = f"Each of its {heads.shape[0]} blocks (down) and {heads.shape[1]} heads (across)"
    sheet = tag(of_heads(heads), "what each head looks at")
    return (f'<div class="looks">{figures}</div><details><summary>{title}</summary><div class="heads">{sheet}</div>'
            "</details>")  # fmt: skip


# ---------------------------------------------------------------- the page


def build(looking: Looking) -> Any:
    """The page, as gradio's Blocks."""
    gr = browser.gradio()
    net, some = looking.net, looking.some
    which = "radiographs that a program drew (sample)" if net.config.data == "sample" else Path(net.config.data).name
    about = f"It was trained on {which}, and answers whatever it is shown, be it a photograph of a cat."

    def uploaded(path: str) -> tuple[str, str]:
        try:
            return looking.look(looking.read(path))
        except CourseError as error:
            said = str(error).replace(path, Path(path).name)  # where it lies here is nobody's business
            return f'<p class="said">{browser.text(said)}</p>', ""

    def chosen(event: gr.SelectData) -> tuple[str, str]:
        one = some.take(np.array([event.index]))
        words, pictures = looking.look(one)
        return f'{words}<p class="note">In truth: {browser.text(net.classes[int(one.labels[0])])}.</p>', pictures

    with gr.Blocks(title="Where does it look?", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        gr.Markdown("# Where does it look?")
        gr.HTML(f'<p class="warning">{train.NO_DEVICE}</p><p class="note">{browser.text(about)}</p>',
                padding=False, elem_id="about")  # fmt: skip
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=300):
                if some is not None:
                    gr.HTML("Choose a picture; it has seen none of these.", padding=False)
                    found = gr.Gallery(
                        [enlarged(pixels) for pixels in some.images], show_label=False, label="Pictures", columns=4,
                        allow_preview=False, object_fit="cover", format="jpeg", interactive=False, buttons=[],
                        elem_id="some",
                    )  # fmt: skip
                own = gr.UploadButton("A picture of your own", file_types=["image"], elem_id="upload", size="sm")
            with gr.Column(scale=3, min_width=320):
                words = gr.HTML("", elem_id="said", padding=False)
                pictures = gr.HTML("", elem_id="looks", padding=False)
        own.upload(uploaded, own, [words, pictures], api_name="look", show_progress="hidden")
        if some is not None:
            found.select(chosen, None, [words, pictures], api_visibility="private", show_progress="hidden")
    return page


def main(cfg: Config) -> dict[str, Any]:
    """Serves the page until Ctrl-C.

    Returns where it was.
    """
    return browser.serve(build(Looking(cfg)), cfg.host, cfg.port, LARGEST, STYLE)


if __name__ == "__main__":
    cli.launch(main, Config)
