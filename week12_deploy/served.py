"""The service in a process of its own, for whoever measures it, tests it, or kills it."""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from shared.errors import CourseError
from shared.files import ROOT
from shared.printed import Printed
from week12_deploy.http_calls import Connection, Reply
from week12_deploy.settings import KEYS


class Served(Printed):
    """`serve` with these flags, as a process; ended when the `with` ends.

    Attributes:
        port, key: how to call it.
        cold: seconds from its start until it was ready.
    """

    def __init__(self, *flags: str, patience: float = 120.0, module: str = "week12_deploy.serve") -> None:
        self.flags, self.patience, self.module = flags, patience, module
        self.port, self.key, self.cold = free_port(), secrets.token_hex(16), 0.0

    def start(self) -> "Served":
        """Starts it, without waiting."""
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the `with` ends)
        command = [sys.executable, "-P", "-m", self.module, "--port", str(self.port), *self.flags]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", KEYS: self.key}
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        return self

    async def ready(self) -> "Served":
        """Waits until it is ready.

        Raises:
            CourseError: it ended, or is not ready in time; with its last line.
        """
        while time.perf_counter() - self.began < self.patience:
            if self.process.poll() is not None:
                raise CourseError(f"the service ended (code {self.process.returncode}): {self.last_line()}")
            with suppress(OSError):
                reply = await Connection(self.port).call("GET", "/ready")
                if reply.status == 200:
                    self.cold = time.perf_counter() - self.began
                    return self
            await asyncio.sleep(0.02)
        raise CourseError(f"the service was not ready after {self.patience:g} s: {self.last_line()}")

    def __enter__(self) -> "Served":
        self.start()
        try:
            return asyncio.run(self.ready())
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.log.close()

    def connection(self) -> Connection:
        return Connection(self.port, self.key)

    def call(self, method: str, path: str, body: Any = None) -> Reply:
        """One request, from where there is no event loop."""
        return asyncio.run(self.connection().call(method, path, body))

    def stop(self, seconds: float = 30.0) -> float:
        """Asks it to end (SIGTERM), and kills it after so many seconds. Returns how long it took."""
        began = time.perf_counter()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        return time.perf_counter() - began

    def kill(self) -> None:
        """Ends it at once, with all that it has started (kill -9)."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def flags_of(run: str | Path, model: str | Path, store: Path, *more: str) -> Sequence[str]:
    """The flags of a service that is measured: no limit of requests, no pages, few lines."""
    return ("--run", str(run), "--model", str(model), "--store", str(store), "--rate", "0", "--ui", "none",
            "--log", "warning", *more)  # fmt: skip
