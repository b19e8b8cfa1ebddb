"""Week 11's pages before the service: `./course run 12 app`, which is serve for a person and a browser."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week12_deploy/app.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass, replace
from typing import Literal

from shared import cli
from week12_deploy import serve, settings, ui
from week12_deploy.served import free_port


@dataclass
class Config(settings.Flags):
    """The flags of app: those of serve, which begin otherwise."""

    lm: str = "extractive"
    """Who answers: extractive (quotes, quick), smollm2, a folder, a name of the hub, or an address."""
    port: settings.Port = 7860
    """0: any that is free."""
    key: bool = False
    """The pages ask for a key of $COURSE_API_KEY; --no-key: they do not, on loopback only."""
    log: Literal["info", "warning"] = "warning"
    """warning: what went wrong alone; info: a line for each request."""


def main(cfg: Config) -> None:
    """Serves week 11's pages, and the service beneath them, until Ctrl-C: serve with --no-key, at another port."""
    cfg = replace(cfg, port=cfg.port or free_port())
    settings.with_keys(cfg)
    serve.free(cfg)
    print(f"open http://{cfg.host}:{cfg.port}{ui.AT}/ in some seconds   (Ctrl-C ends it)", flush=True)
    serve.main(cfg)


if __name__ == "__main__":
    cli.launch(main, Config)
