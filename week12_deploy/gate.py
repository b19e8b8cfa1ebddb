"""What every request passes through before the service sees it: a number, a key, a rate, a limit for its body; and what
it leaves in the log and in the metrics.

It stands in front of FastAPI, because FastAPI reads a request's whole body before it asks for a key.
"""

import asyncio
import hmac
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from week12_deploy.limits import Limiter
from week12_deploy.logs import tell
from week12_deploy.metrics import Metrics
from week12_deploy.problems import MEDIA, Problem, encoded
from week12_deploy.settings import Settings, digest

Scope, Message = MutableMapping[str, Any], MutableMapping[str, Any]
Receive, Send = Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]
OPEN = {"/", "/health", "/ready", "/docs", "/openapi.json"}
"""What anybody may ask for: whether it lives, and how it is to be spoken to."""
PAGES = ("/ui",)
SMALL = 256_000
"""Bytes of a body that is no upload."""
AROUND = 64_000
"""Bytes that a form may add to the file in it."""
REQUEST_ID = re.compile(rb"[\w.-]{1,64}", re.ASCII)


class Gate:
    """An ASGI application around another one."""

    def __init__(self, app: Any, cfg: Settings, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self.app, self.cfg, self.metrics = app, cfg, metrics
        self.limiter = Limiter(cfg.rate, cfg.burst, clock)
        self.uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _Passage(self, scope, receive, send).through()
        elif scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        else:  # a web socket: nothing here speaks over one
            await send({"type": "websocket.close", "code": 1008})

    def caller(self, scope: Scope) -> str:
        """Who is asking, as the limiter and the log know them: the beginning of the key's digest, or the address.

        Raises:
            Problem: no key, or a wrong one (401); too many requests (429).
        """
        address = (scope.get("client") or ("unknown",))[0]
        pages = scope["path"].startswith(PAGES)  # which ask for the key themselves, and are of many small files
        if scope["path"] in OPEN or (pages and scope["method"] != "POST"):
            return address
        who, wrong = address, None
        if self.cfg.keys and not pages:
            given = key_of(scope)
            # All are compared, and each to its end: how long it takes tells nothing about a key.
            known = [hmac.compare_digest(digest(given), key) for key in self.cfg.keys]
            if any(known):
                who = digest(given)[:8]
            else:
                how = "send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
                line = f"the key is not known here: {how}." if given else f"this needs a key: {how}."
                wrong = Problem(401, line, {"WWW-Authenticate": "Bearer"}, "wrong-key" if given else "no-key")
        if wait := self.limiter.take(who):
            seconds = max(1, int(wait) + (wait > int(wait)))
            line = f"more than {self.cfg.rate:g} requests a second: the next one in {seconds} s."
            raise Problem(429, line, {"Retry-After": str(seconds)})
        if wrong:
            raise wrong
        return who

    def most(self, scope: Scope) -> int:
        """How many bytes the body of this request may have."""
        return self.cfg.most_bytes + AROUND if uploads(scope) else SMALL

    @contextmanager
    def upload(self, scope: Scope) -> Iterator[None]:
        """Counts those that send a file: each may take so many bytes of the disk until it is looked at.

        Raises:
            Problem: too many do so at once (503).
        """
        one = scope["method"] == "POST" and uploads(scope)
        if one and self.uploads >= self.cfg.uploads:
            raise Problem(503, "too many uploads at the moment: send it again in 5 s.", {"Retry-After": "5"}, "busy")
        self.uploads += one
        try:
            yield
        finally:
            self.uploads -= one


class _Passage:
    """One request on its way."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        self.gate, self.scope, self.receive, self.send = gate, scope, receive, send
        given = header(scope, b"x-request-id")
        self.id = given.decode() if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        self.status, self.read, self.body_is_in, self.who = 0, 0, False, ""
        self.began = time.perf_counter()
        scope.setdefault("state", {})["request_id"] = self.id

    async def through(self) -> None:
        metrics, gate = self.gate.metrics, self.gate
        metrics.open.inc()
        try:
            try:
                self.who = gate.caller(self.scope)
                self.most = gate.most(self.scope)
                self.refuse_declared()
                with gate.upload(self.scope):
                    await gate.app(self.scope, self.bounded, self.marked)
            except Problem as problem:
                await self.answer(problem)
            except asyncio.CancelledError:  # the service is being stopped, and has waited long enough
                if self.status:
                    raise
                line = "the service is being stopped: ask again in a minute. An upload may be stored all the same."
                await self.answer(Problem(503, line, {"Retry-After": "60", "Connection": "close"}, "stopping"))
            except Exception as error:
                await self.answer(broken(error, self.id))
        finally:
            metrics.open.dec()
            seconds, route = time.perf_counter() - self.began, route_of(self.scope)
            metrics.requests.labels(self.scope["method"], route, str(self.status)).inc()
            metrics.seconds.labels(route).observe(seconds)
            if not route.startswith(("/health", "/ready", "/metrics")) or self.status >= 400:
                tell(
                    "request", request_id=self.id, method=self.scope["method"], route=route, status=self.status,
                    ms=round(1000 * seconds, 1), bytes=self.read, caller=self.who,
                )  # fmt: skip

    def refuse_declared(self) -> None:
        """Problem where the request says itself that its body is too long: none of it is read."""
        length = header(self.scope, b"content-length")
        if length.isdigit() and int(length) > self.most:
            raise self.too_large()

    def too_large(self) -> Problem:
        allowed = self.most - AROUND if self.most > SMALL else self.most
        line = f"the body is larger than {allowed / 1e6:g} MB, which is the most here."
        return Problem(413, line, {"Connection": "close"})

    async def bounded(self) -> Message:
        """The next message of the request: no byte more than allowed is taken, and none waited for too long."""
        if self.body_is_in:
            return await self.receive()  # until the caller leaves
        try:
            message = await asyncio.wait_for(self.receive(), self.gate.cfg.body_timeout)
        except TimeoutError:
            line = f"no byte of the body came for {self.gate.cfg.body_timeout:g} seconds."
            raise Problem(408, line, {"Connection": "close"}) from None
        if message["type"] == "http.request":
            self.read += len(message.get("body", b""))
            self.body_is_in = not message.get("more_body", False)
            if self.read > self.most:
                raise self.too_large()
        return message

    async def marked(self, message: Message) -> None:
        """Sends, with the request's number on it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [(b"x-request-id", self.id.encode()), (b"x-content-type-options", b"nosniff")]
            message["headers"] = [*message.get("headers", ()), *own]
        await self.send(message)

    async def answer(self, problem: Problem) -> None:
        """Sends a problem, where no answer has begun yet."""
        if self.status:
            return
        self.gate.metrics.refused.labels(problem.reason).inc()
        content = encoded(problem.body(self.scope["path"], self.id))
        headers = {"content-type": MEDIA, "content-length": str(len(content)), **(problem.headers or {})}
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self.marked({"type": "http.response.start", "status": problem.status, "headers": raw})
        await self.marked({"type": "http.response.body", "body": b"" if self.scope["method"] == "HEAD" else content})


def uploads(scope: Scope) -> bool:
    """Whether a request may bring a file."""
    path = scope["path"].rstrip("/")
    return path == "/documents" or (path.startswith(PAGES) and path.endswith("/upload"))


def broken(error: Exception, request_id: str) -> Problem:
    """What a mistake in the program looks like from outside; the log says where it is."""
    tell("error", logging.ERROR, error, request_id=request_id)
    return Problem(500, "something went wrong here: whoever runs this finds it in the log.")


def header(scope: Scope, name: bytes) -> bytes:
    """The value of a header of the request; empty where it has none."""
    return next((value for key, value in scope["headers"] if key == name), b"")


def key_of(scope: Scope) -> str:
    """The key that a request shows. X-API-Key comes first: in front of a service there may be somebody who wants an
    Authorization of his own, as a private Space does."""
    if given := header(scope, b"x-api-key"):
        return given.decode("latin-1")
    kind, _, token = header(scope, b"authorization").partition(b" ")
    return token.strip().decode("latin-1") if kind.lower() == b"bearer" else ""


def route_of(scope: Scope) -> str:
    """The route's own path, /documents/{identity}: what a caller has made up is never a label."""
    if scope["path"].startswith(PAGES):
        return PAGES[0]
    return getattr(scope.get("route"), "path", "") or (scope["path"] if scope["path"] in OPEN else "other")
