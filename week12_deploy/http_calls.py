"""A plain client of HTTP/1.1 for measuring: a connection that is kept, and nothing between it and the clock."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

LONGEST = 2**26


@dataclass
class Reply:
    """What came back.

    Attributes:
        status, headers, body: as sent; names of headers in lower case.
        seconds: from the first byte sent to the last one received.
        first: of these, until the first server-sent event called `token`; None where there was none.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float
    first: float | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Connection:
    """A connection to a server on this machine.

    Args:
        port: where it listens.
        key: shown with each request; "": none.
        host: 127.0.0.1.
    """

    port: int
    key: str = ""
    host: str = "127.0.0.1"
    reader: asyncio.StreamReader | None = field(default=None, repr=False)
    writer: asyncio.StreamWriter | None = field(default=None, repr=False)

    async def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Reply:
        """One request and its answer. A body that is not bytes is sent as JSON.

        Raises:
            OSError: there is no connection, or it ended in the middle.
        """
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port, limit=LONGEST)
        head = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", f"Content-Length: {len(content)}"]
        head += [f"Content-Type: {kind}"] * bool(content) + [f"Authorization: Bearer {self.key}"] * bool(self.key)
        began = time.perf_counter()
        try:
            self.writer.write("\r\n".join([*head, "", ""]).encode() + content)
            await self.writer.drain()
            return await self._reply(began)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            self.close()
            raise ConnectionResetError(f"the answer broke off ({type(error).__name__})") from None
        except BaseException:
            self.close()
            raise

    async def upload(self, name: str, content: bytes) -> Reply:
        """Sends a file to /documents."""
        head = f'--xx\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
        body = head + content + b"\r\n--xx--\r\n"
        return await self.call("POST", "/documents", body, "multipart/form-data; boundary=xx")

    async def _reply(self, began: float) -> Reply:
        assert self.reader
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        body, first = b"", None
        if "chunked" in headers.get("transfer-encoding", ""):
            async for piece in self._pieces():
                body += piece
                if first is None and b"event: token" in body:
                    first = time.perf_counter() - began
        elif length := int(headers.get("content-length", 0)):
            body = await self.reader.readexactly(length)
        found = Reply(status, headers, body, time.perf_counter() - began, first)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return found

    async def _pieces(self) -> AsyncIterator[bytes]:
        assert self.reader
        while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
            yield await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readuntil(b"\r\n")

    def close(self) -> None:
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None
