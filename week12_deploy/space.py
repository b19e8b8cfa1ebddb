"""Writes the folder of a Hugging Face Space, runs it here as the hub would, and pushes it there.

./course run 12 space                            the service in its container, to runs/week12/space
./course run 12 space --week 11                  week 11's program as it is, with the hub's Gradio
./course run 12 space --dry-run                  and runs it: the hub's user, port and folders
./course run 12 space --push ada/bot             and pushes it; the token from `hf auth login`, or HF_TOKEN
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week12_deploy/space.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from shared import cli
from shared.config import Positive
from shared.errors import CourseError
from shared.runs import RUNS
from week12_deploy import bundle, hub, pins

MOST = 1_000_000_000
"""Bytes of a Space's repository."""
PORTS = {11: 7860, 12: 8000}
"""The hub's own port for Gradio, and that of our image."""
SDKS: dict[int, hub.Sdk] = {11: "gradio", 12: "docker"}
PYTHON = "3.11"
AS_A_SPACE = """

# ---- As a Space runs it, which builds the last stage: the pages are open to everybody, the API to those who have the
# key in the Space's secret COURSE_API_KEY; without one, to nobody.
FROM service AS space
CMD ["--lm", "{lm}", "--ui", "open"]
"""
APP = '''"""What the Space starts: week 11's program, with the run that lies beside it, where the hub looks for it."""

import os
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
os.environ.setdefault("COURSE_HOME", str(HERE))  # the published networks lie in models/
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
run, port = str(HERE / "baked" / "week11"), os.environ.get("GRADIO_SERVER_PORT", "{port}")
sys.argv = [sys.argv[0], "--run", run, "--lm", "{lm}", "--host", "0.0.0.0", "--port", port, *sys.argv[1:]]
signal.signal(signal.SIGTERM, signal.default_int_handler)  # to process 1 of a container it means nothing by itself

from shared import cli  # noqa: E402
from week11_rag import app  # noqa: E402

if __name__ == "__main__":
    cli.launch(app.main, app.Config)
'''
ABOUT = """
# {title}

{what} It is the bot of a course's week 11, deployed by its week 12.

- **Answers rest on words of the document.** Each has the page and the quoted words that it rests on; what no words
  support is not shown, and what the document does not say is answered with "This is not in the document."
- **It starts without a network**: the networks and the sample document are in this repository.
- {how}

The code is under the MIT licence, the sentence encoder (all-MiniLM-L6-v2) under Apache-2.0. The sample document is the
Debian Developer's Reference, GPL-2 or later, by its authors.
"""
HOW = {
    11: "What one visitor uploads, others can ask about, until the Space is started anew.",
    12: "The API is described at `/docs`. It wants a key: give the Space a secret `COURSE_API_KEY` of at least 16 "
    "characters (Settings, Variables and secrets). Without one, only the pages are open.",
}


@dataclass
class Config:
    """The flags of space."""

    week: Literal[11, 12] = 12
    """12: the service, in its container (sdk docker). 11: the program of week 11 (sdk gradio)."""
    out: str = str(RUNS / "week12" / "space")
    """The Space's folder; one that this program has written before is written anew."""
    run: str = ""
    """Week 11's run that goes along, with its documents (default: the newest)."""
    model: str = ""
    """Week 12's run with the exported embedder (default: the newest); of week 12's Space."""
    lm: str = "extractive"
    """Who answers: extractive (quotes, offline), in week 11's Space also smollm2 (0.7 GB come along); or the address of
    an OpenAI-compatible service, whose key is to be a secret of the Space, COURSE_LM_KEY."""
    title: str = "Talk to your data"
    """What the Space is called."""
    dry_run: bool = False
    """Run it here as the hub would, and ask it a question."""
    fresh: bool = False
    """With --dry-run: install requirements.txt into an environment of its own first, which proves that it is enough."""
    question: str = "How do I orphan a package?"
    """With --dry-run: what it is asked."""
    healthy: Positive = 120.0
    """With --dry-run: seconds that it may take to start."""
    push: str = ""
    """user/name of the Space to make. The token is that of `hf auth login`, or HF_TOKEN; never a flag."""
    private: bool = False
    """With --push: only you see it."""
    update: bool = False
    """With --push: put this version into a Space of yours that is there."""


def front_matter(cfg: Config) -> dict[str, Any]:
    """What the hub reads at the head of a Space's README."""
    found: dict[str, Any] = {
        "title": cfg.title,
        "emoji": "📖",
        "colorFrom": "blue",
        "colorTo": "gray",
        "sdk": SDKS[cfg.week],
    }
    if cfg.week == 11:
        version = pins.pinned()["gradio"].partition("==")[2]
        found |= {"sdk_version": version, "python_version": PYTHON, "app_file": "app.py"}
    else:
        found |= {"app_port": PORTS[12], "base_path": "/ui/"}
    return found | {
        "pinned": False,
        "license": "mit",
        "short_description": "Answers from a PDF, with page and quote",
        "models": ["sentence-transformers/all-MiniLM-L6-v2"],
        "startup_duration_timeout": "30m",
        "suggested_hardware": "cpu-basic",
    }


def readme(cfg: Config) -> str:
    """The Space's README.md."""
    head = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in front_matter(cfg).items())
    what = "Ask a PDF, and see the page and the words that the answer has."
    return f"---\n{head}---\n" + ABOUT.format(title=cfg.title, what=what, how=HOW[cfg.week])


def write(folder: Path, cfg: Config) -> dict[str, Any]:
    """Writes the Space's folder; returns {files, bytes, …}.

    Raises:
        CourseError: a run is missing, the folder is somebody else's, a secret lies in a file, or it is too large.
    """
    if cfg.week == 12 and cfg.lm == "smollm2":
        raise CourseError("--lm smollm2: week 12's Space goes without torch. Take --week 11, or an address.")
    if re.search(r"[\s\"'\\{}]", cfg.lm):
        raise CourseError(f"--lm {cfg.lm}: must be extractive, smollm2, a name of the hub, or an address.")
    found: dict[str, Any] = {}
    if cfg.week == 12:
        found = bundle.service(folder, cfg.run, cfg.model)
        dockerfile = (folder / "Dockerfile").read_text(encoding="utf-8")
        bundle.write(folder / "Dockerfile", dockerfile + AS_A_SPACE.format(lm=cfg.lm))
        (folder / "compose.yaml").unlink()
    else:
        run = bundle.run_of(11, cfg.run, bundle.SOURCES)
        bundle.new(folder)
        bundle.code(folder, ("shared", "week11_rag"))
        bundle.requirements(folder, "week11")
        bundle.week11_run(run, folder / "baked" / "week11")
        bundle.models_of("week11", folder)
        if cfg.lm == "smollm2":
            bundle.models_of("smollm2", folder)
        bundle.write(folder / "app.py", APP.format(port=PORTS[11], lm=cfg.lm))
    bundle.write(folder / "README.md", readme(cfg))
    found |= bundle.measured(folder)
    if found["bytes"] > MOST:
        raise CourseError(
            f"{folder} has {found['bytes'] / 1e9:.2f} GB, and a Space holds {MOST / 1e9:g} GB: take a run with fewer "
            "documents."
        )
    return found


def main(cfg: Config) -> dict[str, Any]:
    """Writes the folder of a Space; runs it as the hub would (--dry-run); pushes it there (--push user/name).

    Returns {files, bytes}, of --dry-run what was measured, too, and of --push the address.
    """
    if cfg.push:
        hub.check_name(cfg.push)
    folder = Path(cfg.out).expanduser().absolute()
    found = write(folder, cfg)
    print(f"{folder}: {found['files']} files, {found['bytes'] / 1e6:.0f} MB, sdk {SDKS[cfg.week]}; no secret in it")
    if cfg.dry_run:
        from week12_deploy import dry_run

        found |= dry_run.of(folder, cfg)
    if cfg.push:
        found["address"] = hub.push(folder, cfg.push, SDKS[cfg.week], cfg.private, cfg.update)
        print(f"pushed: {found['address']}\nthe hub builds it now; its page shows how far it is")
    elif not cfg.dry_run:
        print("next: --dry-run runs it here as the hub would, --push user/name puts it there")
    return found


if __name__ == "__main__":
    cli.launch(main, Config)
