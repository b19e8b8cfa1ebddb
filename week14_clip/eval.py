"""Scores trained towers on pictures they have not seen: `./course eval 14`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week14_clip/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared import cli, held_out
from shared.config import EvalConfig, Natural
from shared.device import choose
from shared.splits import Part
from week14_clip import baselines, data, measures, sheet, train
from week14_clip.features import Features
from week14_clip.trained import Towers, Which, opened

COLUMNS = (*(f"recall_at_{k}" for k in measures.KS), "mrr")


@dataclass
class Config(EvalConfig, Which):
    """The flags of eval. --data also takes flickr8k, unsplash-lite, or a folder of pictures with captions."""

    limit: Natural = 0
    """At most so many pictures of other data than the run's own; 0: all."""


def score(towers: Towers, pictures: data.Pictures) -> tuple[list[dict[str, Any]], Any]:
    """Rows of the table for some pictures: both directions, and the baselines; and what a picture of it needs."""
    part = towers.look(pictures)
    p, t = part.embed(towers.model, towers.device.name)
    right = part.right
    rows = [
        {"name": "this network, text → picture", **measures.summary(measures.ranks(t @ p.T, right))},
        {"name": "this network, picture → text", **measures.summary(measures.ranks(p @ t.T, right.T))},
    ]
    fitted = {}
    if towers.run and isinstance(part, Features):
        fitted = towers.run.baselines["regression"]
        before = towers.run.fill(train.build(towers.run.config), towers.run.baselines["model"])
        p0, t0 = part.embed(before, towers.device.name)
        rows.append({"name": baselines.UNTRAINED, **measures.summary(measures.ranks(t0 @ p0.T, right))})
    others = baselines.rows(pictures, part, fitted, "test")
    rows += [{key.removeprefix("test_"): value for key, value in row.items()} for row in others]
    return rows, (t @ p.T, right)


def hard_parts() -> dict[str, data.Pictures]:
    """Of the bundled drawings: what is new about them."""
    return {
        "new things, known styles": data.emoji("test", data.STYLES),
        "known things, new style": data.emoji("train", (data.NEW_STYLE,)),
    }


def published(name: str, found: Any) -> held_out.HeldOut:
    """What a published network is scored on: of a data set with a test part this, of others all of it."""
    note = "what it was trained on, its makers know: these pictures may have been among it"
    part, of = (found.test, f"{name} (test)") if found.own_test else (found.everything, name)
    return held_out.HeldOut(of, part, False, (*found.notes, note))


def printed(rows: Sequence[dict[str, Any]]) -> str:
    """A table."""
    width = max(26, *(len(row["name"]) + 2 for row in rows))
    head = f"{'':{width}}" + "".join(f"{name.replace('recall_at_', 'R@').upper():>9}" for name in COLUMNS)
    lines = [f"{row['name']:{width}}" + "".join(
        f"{row[name]:>9.3f}" if name == "mrr" else f"{row[name]:>9.1%}" for name in COLUMNS) for row in rows
    ]  # fmt: skip
    return "\n".join([head, *lines])


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test pictures and shows recall at 1, 5 and 10 and the mean reciprocal rank, beside the baselines.

    Returns what result.json holds now; the run folder is under "run".
    """
    towers = opened(cfg, choose(cfg.device), finished=True)
    run = towers.run
    name = cfg.data or (run.config.data if run else "sample")
    own = run and name == run.config.data
    limit = run.config.limit if own else cfg.limit
    found = data.load(name, limit, run.config.width if run else 400)
    chosen = held_out.choose(run, name, found, "pictures") if run else published(name, found)
    pictures: data.Pictures = Part(tuple(chosen.part.items))
    rows, shown = score(towers, pictures)
    print(f"{chosen.name}: {len(pictures):,} pictures, {sum(len(one.captions) for one in pictures.items):,} texts")
    print("".join(f"  {note}\n" for note in chosen.notes), end="")
    print(f"\n{printed(rows)}\n")
    if name == "sample" and not limit:
        for what, part in hard_parts().items():
            print(f"{what}: {len(part):,} pictures\n{printed(score(towers, part)[0])}\n")
    other = "" if chosen.own else chosen.name
    out = run.folder_for(cfg.out, other) if run else Path(cfg.out or towers.place.parent)
    out.mkdir(parents=True, exist_ok=True)
    sheet.questions(out / "search.png", pictures, *shown)
    print(f"a few of the questions, and what they find: {out / 'search.png'}")
    scores = {f"test_{key}": rows[0][key] for key in ("mrr", *COLUMNS[:-1])}
    if not run:
        return {"metrics": scores, "baselines": rows[2:], "scored": len(pictures)}
    result = run.scored(scores, {row["name"]: row["mrr"] for row in rows[2:]}, run.folder if chosen.own else None)
    return result | {"run": str(run.folder), "scored": len(pictures)}


if __name__ == "__main__":
    cli.launch(main, Config)
