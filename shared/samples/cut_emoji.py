"""Draws emoji_*.webp and emoji.jsonl, the captioned pictures that week 14 ships with, from packages of npm.

Four sets of drawings of the same things: fluent, noto, twemoji and openmoji. Of the emoji that all four have, flags,
letters and symbols are left out, and of people those that tell only a sex or a skin from another one. What is left is
rendered once, 64 x 64 on white, and laid out on one sheet to a set, 50 in a row, in the order of emoji.jsonl. A line
there has the concept: its number in Unicode, its name, its keywords, its group, and its part: a tenth of the concepts,
drawn by seed 0, is to choose by (val), a fifth to test with, none of them in two parts.

Each sheet is under the licence of its set (SOURCES.md); names and keywords are Unicode's (CLDR), as emojibase has them.

    npm pack @iconify-json/fluent-emoji-flat@1.2.6 @iconify-json/noto@1.2.9 @iconify-json/twemoji@1.2.5 \\
        @iconify-json/openmoji@1.2.29 emojibase-data@17.0.0
    pip install resvg-py==0.5.0
    python -m shared.samples.cut_emoji FOLDER_OF_THE_PACKAGES
"""

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shared.files import written_whole

PACKAGES = {
    "fluent": "iconify-json-fluent-emoji-flat-1.2.6.tgz",
    "noto": "iconify-json-noto-1.2.9.tgz",
    "twemoji": "iconify-json-twemoji-1.2.5.tgz",
    "openmoji": "iconify-json-openmoji-1.2.29.tgz",
}
NAMES = "emojibase-data-17.0.0.tgz"
GROUPS = {
    0: "smileys", 1: "people", 3: "animals and nature", 4: "food and drink", 5: "travel and places", 6: "activities",
    7: "objects",
}  # fmt: skip
SIDE, MARGIN, COLUMNS = 64, 3, 50


def member(package: Path, name: str) -> Any:
    """A JSON file out of a package."""
    with tarfile.open(package) as archive:
        return json.load(archive.extractfile(f"package/{name}"))


def code(hexcode: str) -> str:
    """An emoji's number without what only asks for colours: FE0F."""
    return "-".join(part for part in hexcode.lower().split("-") if part != "fe0f")


def about_people(label: str) -> bool:
    """Whether a name tells only which sex or hair someone has who is there as a person already."""
    first, *more = label.split(" ")
    return bool(more) and first.rstrip(":") in ("man", "woman", "men", "women", "boy", "girl")


def render(icons: dict[str, Any], name: str) -> np.ndarray:
    """An icon as (SIDE, SIDE, 3) uint8, on white."""
    import resvg_py

    alias = icons.get("aliases", {}).get(name, {})
    icon = icons["icons"][alias.get("parent", name)] | {k: v for k, v in alias.items() if k != "parent"}
    width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
    left, top = icon.get("left", 0), icon.get("top", 0)
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    box = f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}"'
    svg = f"<svg {spaces} {box}>{icon['body']}</svg>"
    inside = SIDE - 2 * MARGIN
    drawn = resvg_py.svg_to_bytes(svg_string=svg, width=4 * inside, height=4 * inside)
    picture = Image.open(io.BytesIO(bytes(drawn))).convert("RGBA")
    white = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    page = Image.new("RGB", (SIDE, SIDE), "white")
    page.paste(white.resize((inside, inside), Image.Resampling.LANCZOS), (MARGIN, MARGIN))
    return np.asarray(page)


def main(folder: Path) -> None:
    """Writes the sheets and the names."""
    sets = {style: member(folder / package, "icons.json") for style, package in PACKAGES.items()}
    chars = {
        style: {code(number): name for number, name in member(folder / package, "chars.json").items()}
        for style, package in PACKAGES.items()
    }
    concepts, seen = [], set()
    for one in member(folder / NAMES, "en/data.json"):
        number, label = code(one["hexcode"]), one["label"]
        there = all(number in known for known in chars.values())
        if not there or one.get("group") not in GROUPS or about_people(label) or label in seen:
            continue
        seen.add(label)
        words = [tag for tag in one.get("tags", []) if tag != label]
        concepts.append({"code": number, "name": label, "keywords": words, "group": GROUPS[one["group"]]})
    order = np.random.default_rng(0).permutation(len(concepts))
    parts = np.full(len(concepts), "train", object)
    parts[order[: len(order) // 10]] = "val"
    parts[order[len(order) // 10 : 3 * len(order) // 10]] = "test"
    lines = [json.dumps(one | {"part": part}, ensure_ascii=False) for one, part in zip(concepts, parts, strict=True)]
    here = Path(__file__).parent
    with written_whole(here / "emoji.jsonl") as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    for style, icons in sets.items():
        rows = -(-len(concepts) // COLUMNS)
        sheet = Image.new("RGB", (COLUMNS * SIDE, rows * SIDE), "white")
        for place, one in enumerate(concepts):
            drawn = Image.fromarray(render(icons, chars[style][one["code"]]))
            sheet.paste(drawn, (place % COLUMNS * SIDE, place // COLUMNS * SIDE))
        with written_whole(here / f"emoji_{style}.webp") as temporary:
            sheet.save(temporary, "webp", quality=80, method=6)
    print(f"{len(concepts)} concepts: " + ", ".join(f"{(parts == p).sum()} {p}" for p in ("train", "val", "test")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
