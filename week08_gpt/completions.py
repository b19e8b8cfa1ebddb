"""Functions of test, completed with each way of drawing tokens: which share is worth something (for eval.py)."""

from pathlib import Path
from typing import Any

from shared.results import markdown, publish
from week08_gpt import drawing, judge, sample
from week08_gpt.corpus import Part
from week08_gpt.sample import Sampling
from week08_gpt.trained import Trained

# How tokens are drawn, one thing changed at a time; everything else is as the model says.
SETTINGS = {
    "greedy": Sampling(temperature=0), "temperature 0.4": Sampling(0.4), "temperature 0.7": Sampling(0.7),
    "temperature 1": Sampling(1.0), "temperature 1.3": Sampling(1.3), "top-k 5": Sampling(top_k=5),
    "top-k 20": Sampling(top_k=20), "top-p 0.5": Sampling(top_p=0.5), "top-p 0.8": Sampling(top_p=0.8),
    "top-p 0.95": Sampling(top_p=0.95),
}  # fmt: skip


def complete_all(net: Trained, part: Part, train: Part, cfg: Any) -> tuple[list[list[Any]], list[judge.Task], Any]:
    """The table of the ways of drawing, the functions, and what was written for each of these, way by way.

    The first row is of the true bodies: what a person has written parses, but is not free of names of its module.
    """
    todo = judge.tasks(part, net.tokenizer, cfg.completions, net.model.config.block_size // 2)
    if not todo:
        return [], [], {}
    memory = judge.Memory(train)
    true = [judge.verdict(task, "\n" + task.body, net.tokenizer.encode(task.body), memory) for task in todo]
    rows, written = [["(the true bodies)", *judge.shares(true).values()]], {}
    seeds = [cfg.seed + number for number in range(len(todo))]
    for name, sampling in SETTINGS.items():
        prompts = [task.prompt for task in todo]
        written[name] = sample.complete(net.model, net.tokenizer, prompts, sampling, cfg.tokens, seeds=seeds)
        found = [judge.verdict(t, one.text, one.ids, memory) for t, one in zip(todo, written[name], strict=True)]
        rows.append([name, *judge.shares(found).values()])
    return rows, todo, written


def report(cfg: Any, rows: list[list[Any]], todo: list[judge.Task], written: Any, out: Path) -> None:
    """Prints the table and some completions, and draws validity.png."""
    columns = ["drawn with", "parses", "and all names defined", f"copies {judge.COPIED} tokens of train"]
    table = markdown(columns, [[way, *(f"{share:.0%}" for share in row)] for way, *row in rows])
    about = f"{len(todo)} functions of test, completed from signature and docstring, at most {cfg.tokens} tokens"
    print(f"\n{about}\n\n{table}")
    drawing.validity(out / "validity.png", rows)
    for number in range(min(cfg.show, len(todo))):
        print(f"\n----- {todo[number].name}, temperature 0.7\n{todo[number].prompt.rstrip()}"
              f"{written['temperature 0.7'][number].text}")  # fmt: skip
    if cfg.publish:
        publish(8, "eval completions", f"*{about}; no completion is run*\n\n{table}")
