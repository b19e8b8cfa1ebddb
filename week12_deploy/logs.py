"""A line of JSON for each thing that happens: what was asked for, how it ended, how long it took. Never what stands in
a document or a question, and never a key."""

import json
import logging
import sys
import time
import traceback
from pathlib import Path
from typing import Any

NAME = "week12"
log = logging.getLogger(NAME)


class AsJson(logging.Formatter):
    """{time, level, event, …}: the message is the event, and `extra={"fields": {…}}` the rest."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {"time": f"{at}.{int(record.msecs):03d}Z", "level": record.levelname.lower(),
                                "event": record.getMessage()}  # fmt: skip
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1]:
            line |= whereabouts(record.exc_info[1])
        return json.dumps(line, ensure_ascii=True, default=str)


def whereabouts(error: BaseException) -> dict[str, Any]:
    """What kind of error it is and where it happened. Not its words: they may be those of a document."""
    frames = traceback.extract_tb(error.__traceback__)
    return {"error": type(error).__name__, "at": [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames[-6:]]}


def set_up(level: str = "info") -> None:
    """Sends our lines, and what uvicorn has to say, to standard output as JSON. Uvicorn's own line for each request is
    left out: it has the path with all that was sent in it."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(AsJson())
    for name in (NAME, "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())
    logging.getLogger("uvicorn.error").handlers = []
    logging.getLogger("uvicorn.error").propagate = True
    logging.getLogger("uvicorn.access").disabled = True


def tell(event: str, level: int = logging.INFO, error: BaseException | None = None, **fields: Any) -> None:
    """Writes a line."""
    log.log(level, event, extra={"fields": fields}, exc_info=error)
