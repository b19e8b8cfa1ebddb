"""What a program does first: until all its libraries are loaded, Ctrl-C ends it with one word. Standard library only.

An exception would not do: a library that is half loaded swallows it, or turns it into an error of its own.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn


def stop(*_: object) -> NoReturn:
    """Answers a Ctrl-C that comes before there is anything to save."""
    with suppress(OSError):
        os.write(2, b"stopped.\n")
    os._exit(130)


def done() -> None:
    """The program begins: from here on Ctrl-C is the usual KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def refuse_copies(program: Path) -> None:
    """Ends a learner's copy that was started by itself: the rest of the week would be the reference, without a word."""
    number, bug, _ = program.parent.name.removeprefix("week").lstrip("0").partition("-bug")
    if program.parent.parent.name == "exercises" and number.isdecimal():
        words = program.stem if program.stem in ("train", "eval") else "run"
        words += f" {number}" + f" {program.stem}" * (words == "run") + " --mine"
        words += f" exercises/{program.parent.name}" * bool(bug)
        print(f"error: {program.name} is one file of a program: run it as ./course {words}", file=sys.stderr)
        sys.exit(2)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not one who asked to hear no Ctrl-C (nohup)
    with suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, stop)
if hasattr(signal, "pthread_sigmask"):  # the launcher lets none through while Python itself starts
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
refuse_copies(Path(sys.argv[0]).resolve())
