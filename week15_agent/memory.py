"""What an agent remembers: conversations in a file, by thread, that are gone on with after a restart.

    with saved(path) as checkpointer:       # a file of SQLite; LangGraph writes the state there after every node
        graph = build(mind, tools, checkpointer)

What is read from that file can do no harm: it is data (msgpack of plain values), never pickle. A pickle can run any
program when it is read, so whoever could write to the file could run what he likes.

References
    https://docs.python.org/3/library/pickle.html: "never unpickle data that could have come from an untrusted source"
    GHSA-wwqv-p2pp-99h5, GHSA-g48c-2wqr-h844: LangGraph's checkpoints and what they could be made to run
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from shared.errors import CourseError
from week15_agent.protocol import Message

REMEMBERED = 3
"""Questions before this one that the model sees, with their answers."""


def strict() -> Any:
    """What turns LangGraph's state into bytes and back: plain values only. All else, pickles above all, is refused."""
    os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")  # asked for at import
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    return JsonPlusSerializer(pickle_fallback=False, allowed_json_modules=None, allowed_msgpack_modules=None)


@contextlib.contextmanager
def saved(path: str | Path) -> Iterator[Any]:
    """A checkpointer of LangGraph that writes to a file; `:memory:` is forgotten at the end.

    Raises:
        CourseError: the file is no database, or cannot be written.
    """
    serde = strict()
    from langgraph.checkpoint.sqlite import SqliteSaver

    if str(path) != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    connection = None
    try:
        connection = sqlite3.connect(path, check_same_thread=False)
        saver = SqliteSaver(connection, serde=serde)
        saver.jsonplus_serde = serde  # it makes one of its own beside ours
        saver.setup()
        connection.execute("pragma synchronous = normal")  # a power cut may take the last step, and nothing else
    except sqlite3.DatabaseError as error:
        if connection:
            connection.close()
        raise CourseError(f"--memory {path}: {error}. Give another file, or none.") from None
    with contextlib.closing(connection):
        yield saver


def shown(messages: Sequence[Message], most: int = REMEMBERED) -> list[Message]:
    """What of a thread the model sees: the last question with all that came of it; of those before, up to `most`,
    question and answer alone. A small model has little room, and old observations are in the answers.
    """
    asked = [place for place, message in enumerate(messages) if message["role"] == "user"]
    if not asked:
        return list(messages)
    out: list[Message] = []
    for begin, end in list(pairwise(asked))[-most:] if most else []:
        if messages[end - 1]["role"] == "assistant":  # a question without an answer is of no use
            out += [messages[begin], messages[end - 1]]
    return [*out, *messages[asked[-1] :]]
