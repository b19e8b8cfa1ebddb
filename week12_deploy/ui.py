"""Week 11's pages at /ui, brought up behind the service: it answers before gradio, which takes seconds, is imported."""

import asyncio
import hmac
import logging
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from shared.errors import CourseError
from week12_deploy import uploads
from week12_deploy.gate import Receive, Scope, Send
from week12_deploy.logs import tell
from week12_deploy.problems import Problem
from week12_deploy.settings import Settings, digest

AT = "/ui"
WAIT = b"""<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<meta name="color-scheme" content="light dark"><title>One moment</title>
<p style="font-family: system-ui; margin: 3em">The pages are being brought up. This one looks again by itself.</p>"""


class Careful:
    """A bot that looks at a visitor's PDF in a process of its own (uploads.py) before it reads it."""

    def __init__(self, bot: Any, cfg: Settings) -> None:
        self.bot, self.cfg, self.one = bot, cfg, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bot, name)

    def beside(self, path: str | Path, name: str) -> Any:
        """As the bot has it; called from a thread.

        Raises:
            CourseError: it cannot be read.
        """
        cfg, name = self.cfg, uploads.name_of(name)
        try:
            with self.one:
                asyncio.run(uploads.look(Path(path), name, cfg.pages, cfg.memory, cfg.reading))
        except Problem as problem:
            raise CourseError(problem.detail) from None
        return self.bot.beside(path, name)


class Pages:
    """An ASGI application at /ui: a page that says to wait, and then week 11's.

    Args:
        cfg: the settings: whether a key is asked for, how large an upload may be.
        build: makes gradio's Blocks of a bot (week11_rag.app.build).
    """

    def __init__(self, cfg: Settings, build: Callable[[Any], Any]) -> None:
        self.cfg, self.build = cfg, build
        self.app: Any = None
        self.stack = AsyncExitStack()
        self.wrong = False

    async def open(self, bot: Any) -> None:
        """Brings the pages up. What goes wrong here takes nothing else with it."""
        try:
            self.app = await self.stack.enter_async_context(_Mounted(await asyncio.to_thread(self._mounted, bot)))
            tell("pages ready", at=AT)
        except Exception as error:
            self.wrong = True
            tell("no pages", logging.ERROR, error)

    async def close(self) -> None:
        await self.stack.aclose()

    def _mounted(self, bot: Any) -> Any:
        """The pages of a bot whose visitors' PDFs are looked at as those of /documents are."""
        import gradio
        from fastapi import FastAPI

        asked = self.cfg.keys and self.cfg.ui != "open"
        carrier = FastAPI(openapi_url=None)
        return gradio.mount_gradio_app(
            carrier, self.build(Careful(bot, self.cfg)), AT, auth=self.knows if asked else None,
            max_file_size=self.cfg.most_bytes,
            auth_message="Any name, and a key of this service as the password." if asked else None,
            footer_links=[], run_history=False, show_error=False, ssr_mode=False, enable_monitoring=False,
        )  # fmt: skip

    def knows(self, _: str, key: str) -> bool:
        """Whether this is one of the keys."""
        found = [hmac.compare_digest(digest(key), known) for known in self.cfg.keys]
        return any(found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.app is not None:
            # Mounted below /ui once by us; the carrier mounts it there itself.
            scope = dict(scope) | {"path": scope["path"], "root_path": scope.get("root_path", "").removesuffix(AT)}
            await self.app(scope, receive, send)
            return
        status, body = (500, b"The pages could not be brought up: the log says why.") if self.wrong else (503, WAIT)
        headers = [(b"content-type", b"text/html; charset=utf-8"), (b"retry-after", b"2")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _Mounted:
    """An application within its lifespan."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __aenter__(self) -> Any:
        self.life = self.app.router.lifespan_context(self.app)
        await self.life.__aenter__()
        return self.app

    async def __aexit__(self, *error: Any) -> None:
        await self.life.__aexit__(*error)
