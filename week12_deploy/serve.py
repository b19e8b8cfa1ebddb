"""Serves the bot over HTTP: `./course run 12 serve`, or `python -m week12_deploy.serve --help`.

export COURSE_API_KEY=$(openssl rand -hex 24)
./course run 12 serve --lm extractive
curl -H "Authorization: Bearer $COURSE_API_KEY" -F file=@paper.pdf http://127.0.0.1:8000/documents
curl -H "Authorization: Bearer $COURSE_API_KEY" --json '{"question": "…?"}' http://127.0.0.1:8000/ask
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week12_deploy/serve.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import os
import signal
import socket
import tempfile
from typing import Any

from shared import cli
from shared.errors import CourseError
from week12_deploy import settings
from week12_deploy.settings import Flags

Config = Flags
FACTORY = "week12_deploy.serve:application"
LATER = 2
"""Seconds that uvicorn waits longer than the service itself does for what is still being answered."""


def application() -> Any:
    """What uvicorn runs, made of the settings that the environment holds; in a worker, too."""
    from week12_deploy import assembly, logs

    cfg = settings.handed_over()
    logs.set_up(cfg.log)
    return assembly.application(cfg)


def options(cfg: Flags) -> dict[str, Any]:
    """How uvicorn is to serve: what is not said here would have no bound."""
    return {
        "host": cfg.host, "port": cfg.port, "log_config": None, "access_log": False, "server_header": False,
        "backlog": 256, "limit_concurrency": 4 * (cfg.at_once + cfg.queue), "timeout_keep_alive": 10,
        "timeout_graceful_shutdown": int(cfg.drain) + LATER, "h11_max_incomplete_event_size": 32_768, "ws": "none",
        "lifespan": "on",
    }  # fmt: skip


def free(cfg: Flags) -> None:
    """CourseError where nothing can listen on that port."""
    family = socket.AF_INET6 if ":" in cfg.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((cfg.host, cfg.port))
        except OSError as error:
            raise CourseError(f"--host {cfg.host} --port {cfg.port}: {error.strerror}. Choose another port.") from None


def main(cfg: Config) -> None:
    """Serves week 11's bot over HTTP, until Ctrl-C or SIGTERM: documents, questions, pages at /ui, docs at /docs."""
    given = settings.with_keys(cfg)
    free(cfg)
    settings.hand_over(given)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(cfg.threads)
    import uvicorn

    if cfg.workers > 1:
        with tempfile.TemporaryDirectory(prefix="course-metrics-") as folder:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
            uvicorn.run(FACTORY, factory=True, workers=cfg.workers, **options(cfg))
        return
    app = application()
    server = uvicorn.Server(uvicorn.Config(app, **options(cfg)))
    wrong: list[str] = []

    def stop(line: str) -> None:
        wrong.append(line)
        server.should_exit = True

    app.state.service.failed = stop
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn hears it, ends, and raises it again: by then all is done
    server.run()
    if wrong:
        raise CourseError(wrong[0])


if __name__ == "__main__":
    cli.launch(main, Config)
