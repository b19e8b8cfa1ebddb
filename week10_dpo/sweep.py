"""Trains with several betas, and shows the trade-off between being polite and staying what it was.

./course run 10 sweep
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week10_dpo/sweep.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import contextlib
import io
from dataclasses import dataclass, field, replace
from typing import Any

from shared import cli, results, runs, terminal, trials
from shared.config import Count, Natural, Positive
from shared.errors import Diverged
from shared.files import ROOT

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"betas": (0.05, 0.5), "seeds": 1, "prompts": 4, "questions": 3},
    "quick": {},
    "full": {},
}
COLUMNS = {"val_accuracy": "{:.2%}", "margin": "{:.3f}", "kl": "{:.3f}", "polite": "{:.1%}", "exact": "{:.1%}",
           "tokens": "{:.1f}", "repeats": "{:.1%}"}  # fmt: skip


@dataclass
class Config(trials.StudyConfig):
    """The flags of sweep: a training for each of --betas and each seed."""

    model: str = "smollm2"
    """The language model to begin with, as in train.py."""
    betas: tuple[Positive, ...] = field(default=(0.02, 0.1, 0.5, 2.0))
    """Which betas."""
    seeds: Count = 1
    """How often each is trained: from --seed and the seeds after it."""
    jobs: Natural = 1
    """Trainings side by side; each holds a model in memory."""
    prompts: Natural = 24
    """Prompts of val that are answered after each training."""
    questions: Natural = 30
    """Exact questions that are asked after each training."""


def one(flags: trials.Flags, threads: int) -> runs.Row:
    """A training with these flags, and how its model answers prompts of val.

    What is compared are the weights of the last step. The best on val would be those of the first look with every beta,
    where a leash has not been felt yet: so short a way any of them allows.
    """
    import tempfile

    import torch

    from shared.conversation import write
    from shared.device import choose
    from week10_dpo import data, exact, judge, measures, train, trained

    torch.set_num_threads(threads)
    flags = dict(flags)
    prompts, questions, preset = (flags.pop(name) for name in ("prompts", "questions", "preset"))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        cfg = replace(train.Config(preset=preset, **train.PRESETS[preset]), threads=threads, **flags)
        steps = cfg.epochs * cfg.steps_per_epoch
        cfg = replace(cfg, out=str(Path(folder) / "run"), epochs=1, steps_per_epoch=steps)
        try:
            result = train.main(cfg)
        except Diverged:
            return {"diverged": True}
        net = trained.load(cfg.out)
        rows = runs.Run(10, cfg, Path(cfg.out)).rows
        best = next(row for row in rows if row["val_accuracy"] == result["metrics"]["val_accuracy"])
        some = data.drawn(data.load(cfg.data).val, prompts)
        asked = [[{"role": "user", "content": question}] for question, _ in exact.QUESTIONS[:questions]]
        model = net.model("dpo", choose(cfg.device).name)
        answers = write(model, net.tokenizer, [pair.messages for pair in some.items] + asked, 40)
    texts = [answer.text for answer in answers]
    row = {"beta": cfg.beta, "val_accuracy": best["val_accuracy"], "seconds": result["seconds"]}
    row |= {"margin": best["val_margin"], "kl": best["val_kl"]} | measures.about(answers[: len(some)])
    row["polite"] = float(judge.Judge.trained().polite(texts[: len(some)]).mean())
    row["exact"] = float(exact.right(texts[len(some) :]).mean())
    return row


def main(cfg: Config) -> dict[str, Any]:
    """Trains with several betas and prints and draws the trade-off: polite answers, exact questions, KL, length.

    Returns {"rows": one for each beta and seed}.
    """
    from week10_dpo import drawing

    out = Path(cfg.out) if cfg.out else ROOT / "runs" / "week10" / f"sweep-{cfg.preset}"
    out.mkdir(parents=True, exist_ok=True)
    same = {"data": cfg.data, "device": cfg.device, "model": cfg.model, "preset": cfg.preset, "prompts": cfg.prompts,
            "questions": cfg.questions}  # fmt: skip
    todo = trials.over_seeds({f"beta {beta:g}": same | {"beta": beta} for beta in cfg.betas}, trials.seeds(cfg))
    rows = trials.run_all(todo, one, out, trials.side_by_side(cfg.jobs, cfg.device), cfg.threads)
    ended = [row for row in rows.values() if not row.get("diverged")]
    lines = [[f"{row['beta']:g}", *(form.format(row[name]) for name, form in COLUMNS.items())] for row in ended]
    table = results.markdown(["beta", *(name.replace("_", " ") for name in COLUMNS)], lines)
    print(f"\n{table}")
    if ended:
        drawing.trade_off(out / "trade_off.png", ended)
        print(f"\npicture: {out / 'trade_off.png'}")
    if cfg.publish:
        about = f"*`{terminal.typed('--publish')}`: {cfg.prompts} prompts of val, {cfg.questions} exact questions*"
        results.publish(10, "sweep of beta", f"{about}\n\n{table}")
    return {"rows": list(rows.values())}


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
