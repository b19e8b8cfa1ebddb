"""Exports week 11's embedder to ONNX, in floats and in bytes, and holds it against torch's: `./course train 12`.

`python -m week12_deploy.train --help` tells its flags.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week12_deploy/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from annotated_types import Ge

from shared import band, cli, race, runs
from shared.config import Count, Natural, TrainConfig
from shared.device import Device
from shared.errors import CourseError
from shared.files import write_json
from shared.interrupt import StopRequest
from shared.terminal import mine
from week12_deploy import cpu, data, export, parity, speed
from week12_deploy.export import FLOAT, INT8, VARIANTS, Exporter, Variant
from week12_deploy.onnx_embedder import CARD, OnnxEmbedder
from week12_deploy.parity import Embedded, Finder

WEEK_NUMBER = 12
TORCH = "torch, eager"


@dataclass
class Config(TrainConfig):
    """The flags of week 12."""

    data: str = "sample"
    """What the exported embedder is held to: `sample` (week 11's handbook with its questions), a PDF, or a folder with
    PDFs. Without questions beside them cosines alone are measured."""
    embedder: str = "minilm"
    """What is exported: `minilm` (offline), a sentence encoder of the hub, or its folder."""
    exporter: Exporter = "dynamo"
    """dynamo; or script, torch's old exporter: much quicker, and on its way out."""
    size: Annotated[int, Ge(16)] = 256
    """Tokens of a passage, as in week 11."""
    overlap: Natural = 32
    """How many of them are those of the passage before."""
    first: Natural = 0
    """Read so many pages of each PDF only; 0: all."""
    rounds: Count = 5
    """How often each variant has its turn while they are timed."""
    texts: Count = 16
    """So many short questions it is given in a turn."""
    threads: Natural = 0
    """CPU threads of the embedding (0: as many as torch takes). Timed is always one."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"exporter": "script", "first": 16, "rounds": 2, "texts": 4},
    "quick": {},
    "full": {"rounds": 20, "texts": 32},
}
# What --resume may change: how long it is timed, and where it computes.
FREE = ("rounds", "texts", "device", "threads")


def build(cfg: Config, folder: Path, embedder: Any, variant: Variant) -> Path:
    """The file of a variant; made where it is not there yet."""
    path = folder / variant.file
    if not path.is_file():
        if variant is FLOAT:
            export.to_onnx(embedder, path, cfg.exporter)
        else:
            export.to_int8(folder / FLOAT.file, path, variant)
    return path


def fit(
    cfg: Config, run: runs.Run, embedder: Any, texts: data.Texts, theirs: Embedded, finder: Finder
) -> list[runs.Row]:
    """Builds and measures one variant after the other; a row of the log for each.

    Raises:
        Stopped: Ctrl-C was pressed; the variants that are measured are kept.
    """
    seconds = run.rows[-1]["seconds"] if run.rows else 0.0
    with StopRequest() as stop, run.log() as log:
        for number, variant in enumerate(VARIANTS, 1):
            if number <= len(run.rows):
                continue
            began = time.perf_counter()
            path = build(cfg, run.folder, embedder, variant)
            card(run.folder, embedder, [one for one in VARIANTS if (run.folder / one.file).is_file()], FLOAT.name)
            embedder_here = OnnxEmbedder(run.folder, variant.name, cfg.threads or race.cores())
            ours = Embedded.by(embedder_here, texts, "val", sentences=variant in (FLOAT, INT8))
            found = parity.near(ours, theirs) | finder.all_scores(ours, theirs)
            found = {f"val_{name}": value for name, value in found.items()}
            seconds += time.perf_counter() - began
            log({"epoch": number, "step": number, **found, "megabytes": path.stat().st_size / 1e6, "seconds": seconds})
            run.save({"step": number})
            if stop and number < len(VARIANTS):
                raise run.stopped(f"stopped after {number} of {len(VARIANTS)} variants; they are kept.")
    return run.rows


def card(folder: Path, embedder: Any, variants: Sequence[Variant], chosen: str) -> None:
    """Writes what OnnxEmbedder reads."""
    files = {variant.name: variant.file for variant in variants}
    write_json(folder / CARD, {
        "name": embedder.name, "dimension": embedder.dimension, "longest": embedder.longest, "chosen": chosen,
        "files": files,
    })  # fmt: skip


def timed(cfg: Config, folder: Path, embedder: Any, texts: data.Texts) -> dict[str, dict[str, float]]:
    """How long a short question takes, on one thread, beside torch."""
    asked, chunks = [one.text for one in texts.asked("val")], [chunk.text for chunk in texts.chunks]
    some = speed.some_texts(asked, chunks, "short", cfg.texts, cfg.seed)
    contestants = {speed.PEER: embedder} | {one.name: OnnxEmbedder(folder, one.name) for one in VARIANTS}
    with race.on_threads(1):
        return speed.run(contestants, some, 1, cfg.rounds)


def choose(rows: Sequence[runs.Row], torchs: Mapping[str, float]) -> Variant:
    """What is deployed: bytes, where they hold what parity asks for on val, else floats.

    Raises:
        CourseError: floats do not either: something is wrong with the export.
    """
    found = {
        variant: {name.removeprefix("val_"): value for name, value in row.items() if name.startswith("val_")}
        for variant, row in zip(VARIANTS, rows, strict=True)
    }
    for variant in (INT8, FLOAT):
        if parity.holds(variant.name, found[variant], dict(torchs)):
            return variant
    raise CourseError(
        f"the exported network is not torch's: the smallest cosine is {found[FLOAT]['cosine']:.4f}, at least "
        f"{parity.LEAST['fp32']} is asked for. Try --exporter script."
    )


def show(rows: Sequence[runs.Row], torchs: Mapping[str, float], times: Mapping[str, Mapping[str, float]]) -> None:
    """The variants beside torch."""
    labels = {"cosine": "cosine", "cosine_mean": "mean", "hit_at_5": "hit@5", "mrr": "MRR", "dense_mrr": "MRR dense"}
    columns = [(name, label) for name, label in labels.items() if f"val_{name}" in rows[0]]
    head = "".join(f"{label:>12}" for _, label in columns)
    print(f"\n{'':14}{'MB':>8}{head}{'ms a question':>16}{'x torch':>9}")
    lines = [(speed.PEER, {f"val_{name}": value for name, value in torchs.items()})]
    lines += [(variant.name, row) for variant, row in zip(VARIANTS, rows, strict=True)]
    for name, row in lines:
        cells = [f"{row[f'val_{key}']:12.4f}" if f"val_{key}" in row else f"{'':12}" for key, _ in columns]
        size = f"{row['megabytes']:8.1f}" if "megabytes" in row else f"{'':8}"
        print(f"{name:14}{size}{''.join(cells)}{times[name]['ms']:16.2f}{times[name]['ratio']:9.2f}")


def main(cfg: Config) -> dict[str, Any]:
    """Exports week 11's embedder for onnxruntime, in floats and in bytes, and says whether it is still the same.

    Held against torch's: the vectors of all passages, what is found with them on val, and the time of a question.
    """
    import torch

    from week11_rag.embed import Embedder

    if cfg.overlap >= cfg.size:
        raise CourseError(f"--overlap {cfg.overlap}: must be below --size {cfg.size}.")
    data.found(cfg.data)
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    print(f"reading {cfg.data} and its questions, and the embedder (some seconds) ...", flush=True)
    embedder = Embedder(cfg.embedder, cfg.device)
    texts = data.load(cfg.data, cfg.size, cfg.overlap, cfg.first, embedder)
    run = runs.begin(WEEK_NUMBER, cfg, FREE)
    if (run.folder / "result.json").is_file():
        raise run.finished("start a new run.")
    export.tokenizer_of(embedder, run.folder / "tokenizer.json")
    print(f"{texts.name}: {len(texts.chunks):,} passages, {len(texts.asked('val'))} questions to choose by")
    print(f"{embedder.name} on {embedder.device}\nbytes here: {cpu.in_words()}")
    params = sum(weight.numel() for weight in embedder.model.parameters())

    def torchs() -> dict[str, Any]:
        print("embedding all of it with torch, then by each of four files; a row when one is done ...", flush=True)
        began = time.perf_counter()
        found = Embedded.by(embedder, texts, "val")
        vectors = {name: torch.from_numpy(rows) for name, rows in vars(found).items()}
        return {"vectors": vectors, "seconds": time.perf_counter() - began}

    kept = run.once("torch", torchs)
    theirs = Embedded(**{name: rows.numpy() for name, rows in kept["vectors"].items()})
    finder = Finder(texts, "val", embedder.name)
    before = finder.all_scores(theirs, theirs)
    rows = fit(cfg, run, embedder, texts, theirs, finder)
    chosen = choose(rows, before)
    card(run.folder, embedder, VARIANTS, chosen.name)
    times = timed(cfg, run.folder, embedder, texts)
    return finish(cfg, run, embedder.device, params, chosen, rows, before, times, kept["seconds"])


def finish(
    cfg: Config, run: runs.Run, device: Device, params: int, chosen: Variant, rows: Sequence[runs.Row],
    torchs: Mapping[str, float], times: Mapping[str, Mapping[str, float]], seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """Writes the result and the picture, and says what to do with them."""
    from week12_deploy import drawing

    best = dict(zip(VARIANTS, rows, strict=True))[chosen]
    metrics = {name: value for name, value in best.items() if name.startswith("val_")}
    metrics |= {"times_torch": times[chosen.name]["ratio"], "ms": times[chosen.name]["ms"]}
    scores = {f"val_{name}": value for name, value in torchs.items()}
    baselines = [{"name": TORCH, "params": params, "seconds": round(seconds, 2), "val_cosine": 1.0, **scores}]
    began = 0.0  # a row of the log has the seconds of those before it, too
    for variant, row in zip(VARIANTS, rows, strict=True):
        if variant is not chosen:
            own = {name: value for name, value in row.items() if name.startswith("val_")}
            baselines.append(
                {"name": variant.name, "params": params, "seconds": round(row["seconds"] - began, 2), **own}
            )
        began = row["seconds"]
    run.save_model({"chosen": chosen.name, "variants": [asdict(variant) for variant in VARIANTS]})
    result = run.record(
        metrics, device, params, rows[-1]["seconds"], baselines, chosen=chosen.name, times=times,
        processor=race.processor(), bytes=cpu.in_words(),
    )  # fmt: skip
    show(rows, torchs, times)
    least = parity.LEAST[chosen.name]
    print(
        f"\nchosen: {chosen.name} (cosine at least {least:g} for every text, hit@5 and MRR within a point of torch's)"
    )
    drawing.variants(run.folder / "variants.png", dict(zip([v.name for v in VARIANTS], rows, strict=True)), times)
    if place := band.say(WEEK_NUMBER, asdict(cfg), rows[: VARIANTS.index(chosen) + 1]):  # the last: what is chosen
        print(f"\n{place}")
    if mine():
        run.compare_with_reference()
    where = "" if run.is_newest() else f" --run {shlex.quote(str(run.folder))}"
    print(f"\nrun folder: {run.folder}\ntest questions, and the service under load: ./course eval 12{mine()}{where}")
    print(f"serve it: ./course run 12 serve --no-key{where.replace('--run', '--model')}")
    return result | {"run": str(run.folder)}


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, WEEK_NUMBER)
