"""Merges the adapters of a run into their base, and shows what becomes of the answers: `./course run 9 merge`

"It worked until I merged": an adapter was trained beside one set of weights, and is added to another. So four ways to
go on from a run are saved, loaded again in a new process, and held side by side:

    adapter on its base        as it was trained: the base in the precision of the training, the adapter beside it
    merged into float32        the published weights and the change: exact where the training was on these
    merged into what NF4 gives the weights that 4 bits stand for and the change: exact where the training was on NF4
    merged and quantised again the sum, rounded to 4 bits once more: the change is smaller than a step of the rounding
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week09_lora/merge.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from shared import cli, results
from shared.config import Count
from shared.errors import CourseError
from shared.files import ROOT, write_json

JOB = "job.json"  # beside what a way has saved: what the new process is to do, and then what it found
LOGITS = "logits.safetensors"
ALONE = "import sys; from week09_lora.merge import score; score(sys.argv[1])"


@dataclass
class Config:
    """The flags of merge."""

    run: str = ""
    """The run's folder (default: the week's newest)."""
    into: Literal["auto", "float32", "nf4"] = "auto"
    """What the exported model is the sum of: the change, and the published weights (float32) or what NF4 makes of them
    (nf4). auto takes what it was trained on."""
    out: str = ""
    """Folder of the exported model, for transformers and all that reads its files (default: `merged` in the run)."""
    compare: bool = True
    """Hold the four ways side by side; it takes two more copies of the model on the disk, for a while."""
    rows: Count = 32
    """So many held-out examples (of val) for the loss."""
    publish: bool = False
    """Put the table into the week's RESULTS.md (for whoever looks after the lesson)."""


@dataclass(frozen=True)
class Way:
    """One way from a run to a model.

    Attributes:
        name: as in the table.
        model: what chat_models.load_model is to load: a name or a folder.
        quantize: and how.
        adapter: the folder of the adapter that is put beside it; empty: none.
    """

    name: str
    model: str
    quantize: str = "none"
    adapter: str = ""


def merged(name: str, adapter: Path, rounded: bool) -> Any:
    """A plain float32 model: the published one, or with `rounded` what NF4 makes of its weights, and the change."""
    from shared import chat_models
    from week09_lora import model, quant

    found = chat_models.load_model(name)
    if rounded:
        quant.round_to_nf4(found)
    model.load_adapter(found, adapter)
    model.merge(found)
    return found


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Writes a model with its tokenizer as transformers does; the folder is whole or as it was."""
    from shared import chat_models

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".merging-") as beside:
        with chat_models.quiet():
            model.save_pretrained(beside)
            tokenizer.save_pretrained(beside)
        made = Path(beside) / "model"
        made.mkdir()
        for path in [path for path in Path(beside).iterdir() if path.is_file()]:
            path.rename(made / path.name)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def score(job: str) -> None:
    """Loads a way's model as anybody would, and writes its logits and its held-out loss beside the job. In a process of
    its own: what was in memory before cannot help it."""
    from safetensors.torch import save_file

    from shared import chat_models
    from shared.device import choose
    from shared.terminal import endings
    from week09_lora import model, train

    with endings():
        import torch

        about = json.loads(Path(job).read_text(encoding="utf-8"))
        way, device = Way(**about["way"]), choose("cpu")
        cfg = replace(train.Config(**about["config"]), most_val=about["rows"])
        tokenizer = chat_models.load_tokenizer(cfg.model)
        found = chat_models.load_model(way.model, way.quantize)
        if way.adapter:
            model.load_adapter(found, Path(way.adapter))
        _, _, val = train.prepared(cfg, tokenizer)
        loss = train.evaluate(found.eval(), val, device)["loss"]
        batch = val.batch([[number] for number in range(min(4, len(val)))], val.end)
        with torch.inference_mode():
            mask = batch.mask if batch.mask.ndim == 4 else batch.mask.long()
            logits = found(input_ids=batch.ids, attention_mask=mask, position_ids=batch.positions).logits
        save_file({"logits": logits[batch.targets != train.IGNORE].contiguous()}, str(Path(job).with_name(LOGITS)))
        write_json(Path(job), about | {"loss": loss})


def in_a_new_process(way: Way, config: dict[str, Any], rows: int, folder: Path) -> tuple[float, Any]:
    """(held-out loss, logits (tokens, vocab) of a few responses) of a way.

    Raises:
        CourseError: with the line that the other process ended in.
    """
    from safetensors.torch import load_file

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / JOB, {"way": asdict(way), "config": config, "rows": rows})
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    command = [sys.executable, "-P", "-c", ALONE, str(folder / JOB)]
    ended = subprocess.run(command, env=env, capture_output=True, encoding="utf-8")
    if ended.returncode:
        line = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        raise CourseError(f"{way.name}: {line}")
    loss = json.loads((folder / JOB).read_text(encoding="utf-8"))["loss"]
    return loss, load_file(folder / LOGITS)["logits"]


def side_by_side(ways: list[Way], config: dict[str, Any], rows: int, folder: Path) -> list[list[Any]]:
    """[name, rms logit error against the first way, largest one, share of tokens guessed alike, held-out loss] each."""
    found, first = [], None
    for number, way in enumerate(ways):
        loss, logits = in_a_new_process(way, config, rows, folder / str(number))
        first = logits if first is None else first
        off = (logits - first).float()
        alike = float((logits.argmax(dim=-1) == first.argmax(dim=-1)).float().mean())
        found.append([way.name, float(off.square().mean().sqrt()), float(off.abs().max()), alike, loss])
        print(f"{way.name}: held-out loss {loss:.4f}", flush=True)
    return found


def main(cfg: Config) -> list[list[Any]]:
    """Exports a run as one merged model, and holds four ways to go on from it side by side.

    Returns the rows of the table, empty with --no-compare.
    """
    from shared import chat_models, runs
    from week09_lora import train

    run = runs.load(train.WEEK_NUMBER, train.Config, cfg.run)
    if not run.config.rank:
        raise CourseError(f"{run.folder}: all weights were trained, there is no adapter to merge.")
    name, how = run.config.model, run.config.quantize
    rounded = cfg.into == "nf4" or (cfg.into == "auto" and how == "nf4")
    out = Path(cfg.out) if cfg.out else run.folder / "merged"
    tokenizer = chat_models.load_tokenizer(name)
    save(merged(name, run.folder, rounded), tokenizer, out)
    print(f"merged into {'what NF4 makes of the weights' if rounded else 'float32'}: {out}", flush=True)
    if not cfg.compare:
        return []
    with tempfile.TemporaryDirectory(dir=run.folder, prefix=".merging-") as beside:
        other = Path(beside) / "other"
        save(merged(name, run.folder, not rounded), tokenizer, other)
        exact, four = (other, out) if rounded else (out, other)
        ways = [
            Way(f"adapter on its base ({'float32' if how == 'none' else how})", name, how, str(run.folder)),
            Way("merged into float32", str(exact)),
            Way("merged into what NF4 gives", str(four)),
            Way("merged and quantised again", str(four if rounded else exact), "nf4"),
            Way("the base alone, untuned", name, how),
        ]
        found = side_by_side(ways, asdict(run.config), cfg.rows, Path(beside))
    rows = [[n, f"{rms:.4f}", f"{most:.3f}", f"{alike:.1%}", f"{loss:.4f}"] for n, rms, most, alike, loss in found]
    columns = ["", "logits off by (rms)", "at most", "same first guess", "held-out loss"]
    text = f"{cfg.rows} held-out examples; each way in a process of its own.\n\n{results.markdown(columns, rows)}"
    print(f"\n{text}")
    if cfg.publish:
        results.publish(9, "merge", text)
    return found


if __name__ == "__main__":
    cli.launch(main, Config)
