"""`./course report --verify report.md`: trains again what a report tells of, and says whether it comes out the same.

On the same machine, with the same code, versions and threads, every digit must be the same; elsewhere both results must
lie in the week's band. The command that is run is one of the course's own trainings, and is printed first.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import achieved, band, cli, origin, plan
from shared.errors import CourseError, Stopped
from shared.exercise import shown
from shared.files import ROOT, read_json
from shared.report_file import again, read
from shared.terminal import number

FOLDER = ROOT / "runs" / "verify"
"""Where what is trained again lies: not among the learner's own runs."""
SAME = {"hardware": "another processor", "threads": "another number of threads", "device": "another device",
        "dtype": "another dtype", "versions": "other versions", "code": "other code"}  # fmt: skip


@dataclass
class Config:
    """The flags of report --verify, behind the report's name."""

    data: str = ""
    """Where your copy of the data is, for a report on data of somebody's own."""


@dataclass(frozen=True)
class Verdict:
    """Whether it came out the same, and that in words."""

    same: bool
    line: str


def main(name: str, cfg: Config) -> int:
    """Trains again what a report tells of, in a folder of its own, and says whether it comes out the same.

    Returns 0 where it does, 1 where it does not.

    Raises:
        CourseError: the file is missing, no report, or was edited by hand; its command is none of the course's; its
            data are somebody's own, and --data does not say where they are; the training fails.
    """
    record = read(Path(name).expanduser(), name)
    week, flags, own = training(record)
    if record["own_data"] and not cfg.data:
        raise CourseError(f"{name} is on data of somebody's own ({record['data']}): say where yours are, by --data.")
    if cfg.data and not record["own_data"]:
        raise CourseError(f"--data {cfg.data}: {name} is on {record['data']}, which comes with the course.")
    print(f"{shown(Path(name))}: week {week}, {record['title']}; its seal is whole.")
    if record["code"] and record["code"] != origin.code(week, own):
        print("It is a report of other code than what is here: the digits need not be the same.")
    print(f"its command: {again(record)}")
    print(f"It trains again, which took {in_time(record['seconds'])} there.", flush=True)
    folder = new_folder(week, record["run"])
    if cfg.data:
        flags = [*achieved.without(flags, "--data"), "--data", str(Path(cfg.data).expanduser().absolute())]
    run(week, own, "train", [*flags, "--out", str(folder)])
    if record["scored"]:
        run(week, own, "eval", ["--run", str(folder)])
    found = achieved.record(week, folder)
    flags_there = band.flags_of(week, read_json(folder / "config.json"))
    one = next((one for one in band.bands(week) if not band.differences(one, flags_there)), None)
    verdict = judge(record, found, one)
    print(f"\n{verdict.line}\ntrained again in {shown(folder)}")
    return 0 if verdict.same else 1


def training(record: Mapping[str, Any]) -> tuple[int, list[str], Path | None]:
    """(week, flags, folder of the learner's own code or None) of a report's command.

    Raises:
        CourseError: it is no training of the course, writes into a folder, or reaches for another machine.
    """
    week = record["week"]
    try:
        words = shlex.split(record["command"])
    except ValueError:
        words = []
    flags = words[3:]
    bad = [w for w in flags if w.partition("=")[0].replace("_", "-") in ("--out", "--resume") or "://" in w]
    if words[:3] != ["./course", "train", str(week)] or bad:
        raise CourseError(f"the report's command is no training that is run again: {record['command']!r:.120}.")
    if not 1 <= week <= len(plan.FOLDERS) or not plan.is_there(week):
        raise CourseError(f"the report is of week {week}, which is not here.")
    if "--mine" not in flags:
        return week, flags, None
    at = flags.index("--mine")
    bug = flags[at + 1] if re.search(rf"week{week:02}-bug\d+$", "".join(flags[at + 1 : at + 2])) else ""
    own = ROOT / "exercises" / (Path(bug).name or f"week{week:02}")  # no folder but those of exercises
    if not own.is_dir():
        raise CourseError(f"the report is of code of somebody's own, and there is none in {shown(own)}.")
    return week, flags[:at] + flags[at + 1 + bool(bug) :], own


def in_time(seconds: float) -> str:
    """`40 s`, `9 min`: how long something took, in round numbers."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def new_folder(week: int, run_hash: str) -> Path:
    """The next free folder in runs/verify for what is trained again."""
    digits = re.sub(r"[^0-9a-f]", "", run_hash)[:8]
    number = 1
    while (folder := FOLDER / f"week{week:02}-{digits}-{number}").exists():
        number += 1
    return folder


def run(week: int, own: Path | None, program: str, flags: list[str]) -> None:
    """Runs a program of the week in a process of its own, on this terminal.

    Raises:
        CourseError: it ends with an error, which it has told.
        Stopped: Ctrl-C.
    """
    module = [f"{plan.folder(week)}.{program}"]
    if own:
        module = ["shared.exercise_commands", "run", str(own), program]
    try:
        code = subprocess.run([sys.executable, "-P", "-m", *module, *flags]).returncode
    except KeyboardInterrupt:
        code = 130
    if code == 130:
        raise Stopped("stopped; nothing is verified.")
    if code:
        raise CourseError(f"nothing is verified: `{program}` of week {week} has failed (exit code {code}), see above.")


def judge(told: Mapping[str, Any], found: Mapping[str, Any], one: band.Band | None) -> Verdict:
    """Whether a run is what a report tells of: to the last digit where all is as it was there, else within the band.

    Args:
        told: the record of the report.
        found: that of the same command, run here.
        one: the band of its flags, where there is one.
    """
    if told["examples"] and found["examples"] and told["examples"] != found["examples"]:
        return Verdict(False, "NOT THE SAME: the data are others than those of the report.")
    names = [name for name in told["metrics"] if not achieved.is_timed(name)]
    wrong = [name for name in names if told["metrics"][name] != found["metrics"].get(name)]
    if told["run"] == found["run"] and not wrong:
        first = (told["columns"] or names)[:1]
        return Verdict(True, f"THE SAME, to the last digit: {facts(told, found, first)}, and every row of the log.")
    first = [name for name in (*told["columns"], *names) if name in wrong][:1]
    apart = facts(told, found, first) if first else "the scores are the same, rows of the log are not"
    other = [words for key, words in SAME.items() if told.get(key) != found.get(key)]
    if not other and found["device"] != "cpu":
        other = ["a GPU, which adds up in another order each time,"]
    if not other:
        return Verdict(False, f"NOT THE SAME: {apart}, with the same code, versions and hardware.")
    where = f"{', '.join(other)} here"
    if one is None:
        return Verdict(False, f"NOT THE SAME DIGITS: {apart}; {where}. No band of seeds has these flags, so nobody "
                       "can say whether that is luck.")  # fmt: skip
    for metric in achieved.twins(one.metric):
        if metric in told["metrics"] and metric in one.scores:
            low, high = one.scored(metric)
            limits = f"the band {number(metric, low)} to {number(metric, high)}"
            for who, record in (("the report", told), ("this run", found)):
                if not low <= record["metrics"].get(metric, float("nan")) <= high:
                    return Verdict(False, f"NOT THE SAME: {facts(told, found, [metric])}; {who} is outside {limits}.")
            apart = f"{facts(told, found, [metric])}, {limits}"
    return Verdict(True, f"THE SAME, within the band: {apart} ({where}).")


def facts(told: Mapping[str, Any], found: Mapping[str, Any], names: list[str]) -> str:
    """`val accuracy 97.90% in the report, 97.80% here`, with all digits where fewer would look the same."""
    lines = []
    for name in names:
        theirs, ours = told["metrics"].get(name), found["metrics"].get(name)
        if theirs == ours:
            lines.append(f"{name.replace('_', ' ')} {number(name, ours)}")
            continue
        texts = [number(name, value) if value is not None else "nothing" for value in (theirs, ours)]
        texts = [repr(theirs), repr(ours)] if texts[0] == texts[1] else texts
        lines.append(f"{name.replace('_', ' ')} {texts[0]} in the report, {texts[1]} here")
    return ", ".join(lines)


if __name__ == "__main__":
    report = sys.argv.pop(1) if sys.argv[1:] and not sys.argv[1].startswith("-") else ""
    if not report:
        print("error: which report? For example: ./course report --verify reports/week01/report.md", file=sys.stderr)
        sys.exit(2)
    codes: list[int] = []
    cli.launch(lambda cfg: codes.append(main(report, cfg)), Config)
    sys.exit(codes[0])
