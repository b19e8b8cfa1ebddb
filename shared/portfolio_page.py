"""How the portfolio looks: one HTML page, without a script and without anything from elsewhere.

Every text goes through `html.escape`, pictures are inlined and bounded in size, and the page's own rules forbid the
browser all else (Content-Security-Policy). Light or dark as the reader's system is; from 320 pixels on.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from shared.achieved import Solved, as_floats, higher_is_better
from shared.errors import CourseError
from shared.report_file import again
from shared.terminal import number

WIDEST, MOST = 960, 150_000
"""Pixels a side, and bytes, of a picture in the page: sixteen of them are 3 MB."""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf6; --card: #ffffff; --ink: #24292f; --soft: #57606a; --line: #d8d6cf;
  --ours: #0072b2; --theirs: #b9bcc1; --on: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --card: #1d2125; --ink: #e8e6e1; --soft: #a4abb3;
  --line: #363c42; --ours: #56b4e9; --theirs: #5b636b; --on: #14171a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif;
  overflow-wrap: anywhere; }
main, header, footer { max-width: 1120px; margin: 0 auto; padding: 0 16px; }
header { padding-top: 40px; }
h1 { font-size: clamp(1.6rem, 5vw, 2.4rem); line-height: 1.15; margin: 0 0 8px; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 0; }
h3 { font-size: 0.85rem; margin: 20px 0 4px; color: var(--soft); text-transform: uppercase; letter-spacing: 0.04em; }
p { margin: 0 0 10px; }
.soft { color: var(--soft); }
.weeks { display: flex; flex-wrap: wrap; gap: 6px; list-style: none; padding: 0; margin: 20px 0 28px; }
.weeks > * { min-width: 40px; padding: 6px 8px; border: 1px solid var(--line); border-radius: 8px; text-align: center;
  color: var(--soft); text-decoration: none; }
.weeks > a { background: var(--ours); border-color: var(--ours); color: var(--on); font-weight: 600; }
article { margin: 0 0 20px; padding: 20px; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; }
.two { display: grid; gap: 4px 28px; }
@media (min-width: 760px) { .two { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); } }
figure { margin: 16px 0 0; }
img { display: block; max-width: 100%; max-height: 420px; height: auto; border-radius: 8px; background: #fbfaf6; }
figcaption { font-size: 0.85rem; color: var(--soft); margin-top: 4px; }
table { width: 100%; margin-bottom: 10px; border-collapse: collapse; font-size: 0.95rem; }
td { padding: 5px 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
td + td { text-align: right; padding-left: 12px; white-space: nowrap; font-variant-numeric: tabular-nums; }
.bar { display: block; height: 5px; border-radius: 3px; background: var(--theirs); margin-top: 3px; }
.mine { font-weight: 600; }
.mine .bar { background: var(--ours); }
.demo { display: inline-block; margin: 14px 0 0; padding: 8px 14px; border-radius: 8px; background: var(--ours);
  color: var(--on); font-weight: 600; text-decoration: none; }
blockquote { margin: 0; padding: 2px 0 2px 14px; border-left: 3px solid var(--ours); white-space: pre-line; }
details { margin-top: 16px; font-size: 0.9rem; }
summary { cursor: pointer; color: var(--soft); padding: 4px 0; }
code { font: 0.85rem/1.5 ui-monospace, monospace; }
a:focus-visible, summary:focus-visible { outline: 3px solid var(--ours); outline-offset: 2px; }
footer { color: var(--soft); font-size: 0.85rem; padding-bottom: 40px; }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


NOTHING = Solved((), (), 0)


@dataclass(frozen=True)
class Entry:
    """What the page shows of a week.

    Attributes:
        week, title, lesson: as the week says of itself.
        record: what a report holds (shared/achieved.py), or {} where there is no run.
        exercises, bugs: what is solved and found.
        words: the learner's own; "" where there is no report.
        picture: as a data address, or "".
        whose: "own" where the learner's programs have drawn it, "given", or "lesson".
        space: the address of a live demo, or "".
    """

    week: int
    title: str
    lesson: str
    record: Mapping[str, Any] = field(default_factory=dict)
    exercises: Solved = NOTHING
    bugs: Solved = NOTHING
    words: str = ""
    picture: str = ""
    whose: str = "own"
    space: str = ""

    @property
    def begun(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.record or self.exercises.titles or self.bugs.titles or self.space)


def page(name: str, entries: Sequence[Entry]) -> str:
    """The whole page.

    Args:
        name: the learner's, or "".
        entries: one for each week that is here.
    """
    title = f"{name}: sixteen weeks of deep learning" if name else "Sixteen weeks of deep learning"
    begun = [entry for entry in entries if entry.begun]
    chips = [f'<a href="#week{e.week}">{e.week}</a>' if e.begun else f"<span>{e.week}</span>" for e in entries]
    cards = "\n".join(map(card, begun)) or '<p class="soft">Nothing to show yet: the first week is about to begin.</p>'
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="description" content="{escape(totals(begun))}">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p>From a perceptron in NumPy to a multimodal agent, one program a week. {escape(totals(begun))}</p>
<nav class="weeks" aria-label="Weeks">{"".join(chips)}</nav>
</header>
<main>
{cards}
</main>
<footer><p>Every number was measured by a program, beside its baselines, and comes with the command that measures it
again.</p></footer>
</body>
</html>
"""


def totals(begun: Sequence[Entry]) -> str:
    """`3 weeks trained, 11 exercises solved, 2 planted bugs found, 1 live demo.`; only of what there is."""
    counts = {
        "week": (sum(bool(entry.record) for entry in begun), "trained"),
        "exercise": (sum(len(entry.exercises.titles) for entry in begun), "solved"),
        "planted bug": (sum(len(entry.bugs.titles) for entry in begun), "found"),
        "live demo": (sum(bool(entry.space) for entry in begun), ""),
    }
    told = [f"{many} {what}{'s' * (many > 1)} {how}".strip() for what, (many, how) in counts.items() if many]
    return f"{', '.join(told)}." if told else ""


def card(entry: Entry) -> str:
    """A week."""
    demo = f'<a class="demo" href="{escape(entry.space)}" rel="noopener">Try it live</a>' if entry.space else ""
    left = result(entry) + solved(entry) + demo
    right = shown_picture(entry)
    body = f'<div class="two"><div>{left}</div><div>{right}</div></div>' if right else left
    return f"""<article id="week{entry.week}">
<h2>Week {entry.week}: {escape(entry.title)}</h2>
<p class="soft">{escape(entry.lesson)}</p>
{body}
{said(entry.words)}{where_from(entry)}
</article>"""


def result(entry: Entry) -> str:
    """The number that tells most, beside the baselines', with a bar each."""
    columns, ours = entry.record.get("columns") or [], entry.record.get("metrics") or {}
    ours = as_floats(ours) if isinstance(ours, Mapping) else {}
    metric = next((name for name in columns if name in ours), "")
    if not metric:
        return ""
    rows = [("this run", ours[metric])]
    for row in entry.record.get("baselines", []):
        if isinstance(row, Mapping) and metric in as_floats(row):
            rows.append((str(row.get("name")), as_floats(row)[metric]))
    most = max(abs(value) for _, value in rows) or 1.0
    lines = "".join(
        f'<tr{" class=mine" * (at == 0)}><td>{escape(name)}<span class="bar" style="width:{abs(value) / most:.1%}">'
        f"</span></td><td>{escape(number(metric, value))}</td></tr>"
        for at, (name, value) in enumerate(rows)
    )
    less = "" if higher_is_better(entry.week, metric) else " (less is better)"
    band = entry.record.get("band") or {}
    place = band.get("line", "") if isinstance(band, Mapping) else ""
    line = f'<p class="soft">{escape(place[:1].upper() + place[1:])}.</p>' if isinstance(place, str) and place else ""
    synthetic = ", synthetic" if entry.record.get("synthetic") else ""
    data = f"{entry.record.get('data', '')}{synthetic}"
    head = f"{metric.replace('_', ' ')}{less}, on {data}"
    return f"<h3>{escape(head)}</h3><table><tbody>{lines}</tbody></table>{line}"


def solved(entry: Entry) -> str:
    """Exercises and bugs, in a line each."""
    lines = []
    if entry.exercises.titles:
        hints = f", {len(entry.exercises.hinted)} with hints" if entry.exercises.hinted else ""
        count = f"{len(entry.exercises.titles)} of {entry.exercises.total} pieces of its core"
        lines.append(f"Written by myself: {count}{hints} ({'; '.join(entry.exercises.titles)})")
    if entry.bugs.titles:
        lines.append(
            f"Found: {len(entry.bugs.titles)} of {entry.bugs.total} planted bugs ({'; '.join(entry.bugs.titles)})"
        )
    return "".join(f"<p>{escape(line)}.</p>" for line in lines)


def shown_picture(entry: Entry) -> str:
    if not entry.picture:
        return ""
    captions = {"own": "Drawn by my own run", "lesson": "The lesson's picture"}
    caption = captions.get(entry.whose, "My picture")
    words = f"Week {entry.week}, {entry.title}: a picture"
    return (
        f'<figure><img src="{escape(entry.picture)}" alt="{escape(words)}"><figcaption>{caption}</figcaption></figure>'
    )


def said(words: str) -> str:
    """The learner's own words: Markdown's headings as headings, all else as it is written."""
    parts = []
    for part in re.split(r"(?m)^(#+ .*)$", words):
        if part.startswith("#"):
            parts.append(f"<h3>{escape(part.lstrip('# '))}</h3>")
        elif part.strip():
            parts.append(f"<blockquote>{escape(part.strip())}</blockquote>")
    return "".join(parts)


def where_from(entry: Entry) -> str:
    """The command that measures it again, and the hashes."""
    record = entry.record
    if not record:
        return ""
    hashes = [f"{name} {record[name][:16]}" for name in ("code", "run") if isinstance(record.get(name), str)]
    about = ", ".join(filter(None, [str(record.get("hardware", "")), *(h for h in hashes if not h.endswith(" "))]))
    return (
        f"<details><summary>Run it again</summary><p><code>{escape(again(record))}</code></p>"
        f'<p class="soft">{escape(about)}</p></details>'
    )


def inlined(path: Path) -> str:
    """A picture as an address that holds all of it, at most `MOST` bytes before it is written in letters; "" for a
    file that is no picture."""
    from shared.pictures import read_picture

    try:
        picture = read_picture(path)
    except CourseError:
        return ""
    picture.thumbnail((WIDEST, WIDEST))
    for kind, quality in (("png", 0), ("jpeg", 85), ("jpeg", 60)):
        raw = io.BytesIO()
        picture.save(raw, format=kind, optimize=True, **({"quality": quality} if quality else {}))
        if raw.tell() <= MOST:
            return f"data:image/{kind};base64,{base64.b64encode(raw.getvalue()).decode()}"
    while raw.tell() > MOST:  # noise, which nothing makes small but less of it
        picture = picture.resize((max(1, picture.width // 2), max(1, picture.height // 2)))
        raw = io.BytesIO()
        picture.save(raw, format="jpeg", quality=60)
    return f"data:image/jpeg;base64,{base64.b64encode(raw.getvalue()).decode()}"
