"""How fast is it, and beside whom? `./course run 14 bench [query|search|index]`

    query     a question to a folder that has been looked at, beside the same question where it has not
    search    25,000 vectors of real pictures: our exact search beside NumPy's full sort and beside Chroma; and how many
              of the ten nearest Chroma finds
    index     a folder looked at by our index, beside a loop that opens, shrinks and encodes one picture at a time, as
              the first example of every such library has it; small photos, and those of a phone

Photos are made of the bundled drawings, scaled up, with grain: what is on them does not matter to the clock. Nor does
what the towers have learned: they are as `train` begins them.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week14_clip/bench.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import tyro
from PIL import Image

from shared import cli, race
from shared.config import Count
from shared.device import Device, choose
from shared.minilm import Reader
from shared.progress import bar
from shared.runs import RUNS
from week14_clip import data, efficientnet, train, zero_shot
from week14_clip.chroma import Chroma
from week14_clip.efficientnet import SIDE
from week14_clip.features import Eyes
from week14_clip.index import Index
from week14_clip.search import question, top_k
from week14_clip.trained import Encoder

PARTS = ("query", "search", "index")
K = 10
QUESTIONS = ("a dog", "a red car", "something to eat", "a ship at sea", "a smiling face", "two birds", "a green plant")
PHONE, SMALL = (4032, 3024), (500, 375)  # pixels of a phone's photo, and of Flickr's


@dataclass
class Config(race.BenchConfig):
    """The flags of bench."""

    parts: tyro.conf.Positional[tuple[Literal["query", "search", "index"], ...]] = PARTS
    """Which parts."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    vectors: Count = 25_000
    """search: how many are searched."""
    questions: Count = 200
    """search: questions a round."""
    photos: Count = 96
    """query, index: photos in the folder; of a phone a sixth as many."""
    out: str = str(RUNS / "week14" / "bench")
    """The folder for the numbers, and for the vectors that are made once."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"rounds": 1, "vectors": 40, "questions": 3, "photos": 6, "threads": (1,)},
    "quick": {},
    "full": {"rounds": 10, "photos": 400},
}


class Fresh:
    """Towers as `train` begins them: what they find is chance, and they take the time of others."""

    def __init__(self, device: Device, side: int = SIDE) -> None:
        self.model = train.build(train.Config()).to(device.name).eval()
        self.device, self.dim, self.side = device, self.model.config.dim, side
        self.eyes, self.reader = Eyes(device, side), Reader(device.name)

    @torch.no_grad()
    def of_pictures(self, pictures: Any) -> np.ndarray:
        return self.model.picture_tower(self.eyes.encode(pictures).to(self.device.name)).cpu().numpy()

    @torch.no_grad()
    def of_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self.model.text_tower(self.reader.encode(texts).to(self.device.name)).cpu().numpy()


def photos(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """So many JPEGs of a size, no two the same."""
    folder.mkdir(parents=True)
    items = data.emoji("train", data.STYLES).items
    rng = np.random.default_rng(0)
    for number, row in enumerate(rng.permutation(len(items))[:count]):
        picture = items[row].read().resize(size, Image.Resampling.BICUBIC)
        grain = Image.effect_noise((size[0] // 4, size[1] // 4), 40).resize(size)  # a drawing alone is too easy to pack
        Image.blend(picture, grain.convert("RGB"), 0.3).save(folder / f"{number}.jpg", quality=88)
    return folder


# ---------------------------------------------------------------- query


def bench_query(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Seconds of a question to a folder, with its index and without one."""
    towers = Fresh(device)
    with tempfile.TemporaryDirectory() as place:
        folder, asked = photos(Path(place) / "photos", cfg.photos, SMALL), iter(range(10**9))

        def ask(index: Path) -> None:
            one = Index(folder, index, "bench", towers.dim)
            one.update(towers.of_pictures, towers.side)
            top_k(question(QUESTIONS[next(asked) % len(QUESTIONS)], towers, None), one.matrix, K)

        kept, names = Path(place) / "kept.safetensors", ("with the index", "without one")
        fresh = (Path(place) / f"{number}.safetensors" for number in range(10**9))
        ask(kept)
        laps = race.take_turns({names[0]: lambda: ask(kept), names[1]: lambda: ask(next(fresh))}, cfg.rounds)
    table, numbers = race.table(laps, dict.fromkeys(names, 1), "questions", names[1], threads)
    about = (
        f"{cfg.photos} photos of {SMALL[0]} x {SMALL[1]} pixels, {device}; from the words to the pictures, with a look "
        "at what has changed in the folder."
    )
    return f"{about}\n\n{table}", numbers


# ---------------------------------------------------------------- search


def real_vectors(cfg: Config, towers: Encoder) -> np.ndarray:
    """Vectors of the bundled drawings and photographs, each as it is, mirrored, and cut closer; made once."""
    path = Path(cfg.out) / f"vectors-{cfg.vectors}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        parts = [data.emoji(part, (*data.STYLES, data.NEW_STYLE)) for part in ("train", "val", "test")]
        read = [one.read for part in parts for one in part.items]
        read += [one for part in ("train", "val", "test") for one in zero_shot.cifar10(part).pictures]
        views: list[Callable[[Image.Image], Image.Image]] = [
            lambda one: one,
            lambda one: one.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
            lambda one: one.crop((one.width // 8, one.height // 8, one.width * 7 // 8, one.height * 7 // 8)),
        ]
        todo = [(one, view) for view in views for one in read][: cfg.vectors]
        with bar(len(todo), 0, "looking") as told:

            def pictures() -> Any:
                for one, view in todo:
                    told.update()
                    yield view(one())

            np.save(path, towers.of_pictures(pictures()))
    return np.load(path)


def full_sort(asked: np.ndarray, matrix: np.ndarray, k: int) -> np.ndarray:
    """The simplest top k."""
    return np.argsort(-(matrix @ asked), kind="stable")[:k]


def bench_search(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Milliseconds a search, and Chroma's recall."""
    towers = Fresh(device, side=64)
    matrix = real_vectors(cfg, towers)
    rng = np.random.default_rng(cfg.seed)
    # A question lies near some picture, and not on it, as a text does.
    asking = matrix[rng.permutation(len(matrix))[: cfg.questions]]
    asking = asking + 0.5 * rng.standard_normal(asking.shape) / np.sqrt(towers.dim)
    asking = (asking / np.linalg.norm(asking, axis=1, keepdims=True)).astype(np.float32)
    names = [f"{row}" for row in range(len(matrix))]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        began = time.perf_counter()
        chroma = Chroma(Path(folder), "bench")
        chroma.sync(names, matrix)
        filling = time.perf_counter() - began
        ways: dict[str, Callable[[np.ndarray], Any]] = {
            "exact": lambda one: top_k(one, matrix, K),
            "a full sort": lambda one: full_sort(one, matrix, K),
            "Chroma": lambda one: chroma.query(one, K),
        }
        shares = [len({names[row] for row in top_k(one, matrix, K)[0]} & set(chroma.query(one, K)))
                  / min(K, len(matrix)) for one in asking]  # fmt: skip
        times: dict[str, list[float]] = {name: [] for name in ways}

        def a_round(name: str) -> Callable[[], None]:
            def work() -> None:
                for one in asking:
                    start = time.perf_counter()
                    ways[name](one)
                    times[name].append(time.perf_counter() - start)

            return work

        laps = race.take_turns({name: a_round(name) for name in ways}, cfg.rounds)
    table, numbers = race.table(laps, dict.fromkeys(ways, len(asking)), "searches", "Chroma", threads)
    for name, all_of_them in times.items():
        numbers[name]["p50"] = 1000 * statistics.median(all_of_them[len(asking) :])  # the first round warms up
    recall = statistics.mean(shares)
    numbers["Chroma"] |= {"recall_at_10": recall, "filling": filling}
    said = ", ".join(f"{name} {numbers[name]['p50']:.2f} ms" for name in ways)
    about = (
        f"{len(matrix):,} vectors of {matrix.shape[1]} numbers, {len(asking)} questions. Median of a search: {said}. "
        f"Of the ten nearest Chroma finds {recall:.1%}; filling it took {filling:.1f} s."
    )
    return f"{about}\n\n{table}", numbers


# ---------------------------------------------------------------- index


def bench_index(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Photos a second, from the files to their vectors."""
    towers, found, texts = Fresh(device), {}, []
    plain = efficientnet.load().to(device.name)  # as published, and as one calls it first
    for what, size, count in (("a phone's", PHONE, max(2, cfg.photos // 6)), ("small", SMALL, cfg.photos)):
        with tempfile.TemporaryDirectory() as place:
            folder = photos(Path(place) / "photos", count, size)
            fresh = (Path(place) / f"{number}.safetensors" for number in range(10**9))

            def ours(folder: Path = folder, fresh: Any = fresh) -> None:
                Index(folder, next(fresh), "bench", towers.dim).update(towers.of_pictures, towers.side)

            def one_by_one(folder: Path = folder) -> None:
                for path in sorted(folder.iterdir()):
                    picture = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float().to(device.name)
                    with torch.no_grad():
                        towers.model.picture_tower(plain(pixels)).cpu()

            names = ("our index", "one by one")
            laps = race.take_turns(dict(zip(names, (ours, one_by_one), strict=True)), cfg.rounds)
        table, numbers = race.table(laps, dict.fromkeys(names, count), "photos", names[1], threads)
        texts.append(f"{count} {what} photos of {size[0]} x {size[1]} pixels, {device}.\n\n{table}")
        found |= {f"{what}, {name}": row for name, row in numbers.items()}
    return "\n\n".join(texts), found


BENCHES = {"query": bench_query, "search": bench_search, "index": bench_index}


def main(cfg: Config) -> dict[str, Any]:
    """Times questions, searches and the making of an index, beside named peers."""
    return race.parts(cfg, 14, BENCHES, choose(cfg.device))


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
