"""Is my curve right? A run drawn over the band of several seeds, with a verdict: `./course curve 2`."""

import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import achieved, band, cli, plan, runs
from shared.errors import CourseError
from shared.files import read_json
from shared.terminal import is_share

TITLES = {
    "inside": "inside the band",
    "below": "worse than the band",
    "sudden": "suddenly worse than the band",
    "good": "better than the band",
    "outside": "in and out of the band",
}


@dataclass
class Config:
    """The flags of curve."""

    run: str = ""
    """The run's folder (default: the week's newest)."""


def draw(path: Path, one: band.Band, rows: list[runs.Row], title: str) -> None:
    """The number that decides, and the training's loss, over what the seeds have of them."""
    from shared import plots

    names = [name for name in (one.metric, "train_loss", "val_loss") if name in one.curves][:2]
    with plots.figure(path, columns=len(names), size=(4.2 * len(names), 3.4)) as (drawing, axes):
        for axis, name in zip(axes if len(names) > 1 else [axes], names, strict=True):
            scale, unit = (100, " (%)") if is_share(name) else (1, "")
            means = [scale * sum(values) / len(values) for values in one.curves[name]]
            low, high = zip(*one.limits(name), strict=True)
            low, high = ([scale * value for value in side] for side in (low, high))
            seeds = len(one.curves[name][0])
            axis.fill_between(one.steps, low, high, color=plots.GREY, alpha=0.25, linewidth=0, label="99 % of runs")
            axis.plot(one.steps, means, color=plots.GREY, linewidth=1, label=f"mean of {seeds} seeds")
            mine = [(row["step"], scale * row[name]) for row in rows if name in row]
            axis.plot(
                *zip(*mine, strict=True), color=plots.BLUE, label="this run", marker="o" * (len(mine) == 1) or None
            )
            top = 3 * max(high)
            if name.endswith("loss") and max(value for _, value in mine) > top:  # or the band would be a hairline
                axis.set_ylim(0, top)
            axis.set(title=name.replace("val_", "validation ").replace("_", " ").capitalize() + unit, xlabel="step")
        (axes[0] if len(names) > 1 else axes).legend(fontsize=8)
        drawing.suptitle(title, **plots.HEADING)


def newest(week: int) -> Path:
    """The run that was started last and has the band's flags, whatever they are set to: other programs of a week have
    others. Without one the newest of all.

    Raises:
        CourseError: there is none yet.
    """
    flags = [one.flags.keys() for one in band.bands(week)]
    logs = (runs.RUNS / f"week{week:02}").glob("*/metrics.jsonl")
    configs = [path.with_name("config.json") for path in logs if path.with_name("config.json").is_file()]
    own = [path for path in configs if band.flags_of(week, achieved.read_dict(path)).keys() in flags]
    last = max(own, key=lambda path: path.stat().st_mtime_ns, default=None)
    return last.parent if last else runs.newest(week, "metrics.jsonl")


def main(week: int, cfg: Config) -> dict[str, Any]:
    """Draws curve.png into the run's folder and prints where the run lies. Returns {kind, line, picture}.

    Raises:
        CourseError: there is no run or no band, or the run has other flags than any band.
    """
    folder = Path(cfg.run) if cfg.run else newest(week)
    if not (folder / "config.json").is_file() or not (folder / "metrics.jsonl").is_file():
        raise CourseError(f"no run of week {week} in {folder}: it has no config.json, or no metrics.jsonl.")
    from shared.progress import read_metrics

    rows, flags = read_metrics(folder / "metrics.jsonl"), band.flags_of(week, read_json(folder / "config.json"))
    one = band.nearest(week, flags)
    if one is None:
        raise CourseError(f"week {week} has no band yet: ./course repeat {week} --seeds 5 --band makes one.")
    if other := band.differences(one, flags):
        more = f", and {len(other) - 4} more" * (len(other) > 4)
        told = f"{folder} has other flags than the band: {', '.join(other[:4])}{more}."
        raise CourseError(f"{told} Train without them, or name another run: --run FOLDER.")
    verdict = band.judge(one, rows)
    draw(folder / "curve.png", one, rows, f"Week {week}: {TITLES[verdict.kind]}")
    print(textwrap.fill(verdict.line, 100))
    result = folder / "result.json"
    here = read_json(result)["versions"] if result.is_file() else runs.versions()
    moved = [
        f"{name} {here[name]} (the band: {v})" for name, v in one.made["versions"].items() if here.get(name, v) != v
    ]
    if moved:
        print(f"other versions than the band's, which may move it a little: {', '.join(moved)}")
    print(f"band: {one.made['command']}, {one.made['hardware']}\npicture: {folder / 'curve.png'}")
    return {"kind": verdict.kind, "line": verdict.line, "picture": str(folder / "curve.png")}


if __name__ == "__main__":
    number = int(sys.argv.pop(1)) if sys.argv[1:] and sys.argv[1].isdecimal() else 0
    if not 1 <= number <= len(plan.FOLDERS) or not plan.is_there(number):
        print("error: which week? For example: ./course curve 2", file=sys.stderr)
        sys.exit(2)
    cli.launch(lambda cfg: main(number, cfg), Config)
