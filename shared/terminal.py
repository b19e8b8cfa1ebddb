"""Between a program and the terminal: what was typed to start it, what it prints, and how it ends.

Standard library only.
"""

import codecs
import errno
import os
import re
import shlex
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from shared import starting
from shared.errors import CourseError, Stopped

PLAIN = str.maketrans("✓✗·…→←−–—×“”’│█", '+x-.><---x""\'|#') | {ord("±"): "+-"}
"""What stands for our own signs on a terminal that has not got them."""
MEASURED = ("seconds", "tokens_per_second", "mfu")
"""What of a row of the log differs from run to run."""
SHARES = (
    "accuracy", "exact", "f1", "mfu", "oracle", "within_2", "within_5", "_kind", "qa_right", "qa_text_only",
    "sensitivity", "specificity",
)  # fmt: skip
"""How the names of shares of 1 end."""
TOO_LARGE = re.compile(
    "out of memory|allocate memory|not enough memory|array is too big|Maximum allowed dimension|size.* overflow"
)


def mine() -> str:
    """` --mine` where a learner's own code runs in a week's place, that is, lies in front of it; else nothing.

    Behind it stands the folder where that is another one than exercises/weekNN.
    """
    weeks = [module for name, module in sys.modules.items() if re.fullmatch(r"week\d\d_\w+", name)]
    own = [Path(week.__path__[0]) for week in weeks if len(getattr(week, "__path__", ())) > 1]
    if not own:
        return ""
    usual = re.fullmatch(r"week\d\d", own[0].name) and own[0].parent.name == "exercises"
    return " --mine" if usual else f" --mine {shlex.quote(os.path.relpath(own[0]))}"


def is_share(metric: str) -> bool:
    """Whether a number is a share of 1, told in percent: accuracies, successes, exact matches, F1, utilisation."""
    return metric.endswith(SHARES) or any(part in metric for part in ("success", "pointing_"))


def number(metric: str, value: float) -> str:
    """A share as a percentage, BLEU and chrF (0 to 100) with two decimals, a rate with none, else four."""
    if is_share(metric):
        return f"{value:.2%}"
    if metric.endswith("per_second"):
        return f"{value:,.0f}"
    return f"{value:.2f}" if metric.endswith(("bleu", "chrf")) else f"{value:.4f}"


def printable(text: str, breaks: bool = False) -> str:
    """A foreign text without what steers a terminal; tabs become spaces, and line breaks unless they are wanted."""
    text = re.sub(r"\t" if breaks else r"[\n\t\r]", " ", text)
    return "".join(char for char in text if char == "\n" or unicodedata.category(char) not in ("Cc", "Cf", "Cs"))


def command() -> str:
    """What one types to start the running program: `./course train 1`, or its file's name where it is of no week."""
    program = Path(sys.argv[0]).resolve()
    if program.stem in ("repeat", "space") and program.parent.name == "shared" and sys.argv[1:]:
        return f"./course {program.stem} {sys.argv[1]}{mine()}"
    if program.stem in ("curve", "report", "portfolio") and program.parent.name == "shared":
        return f"./course {program.stem}"
    if program.stem == "verify" and program.parent.name == "shared":
        return "./course report --verify"
    week = re.match(r"week(\d\d)", program.parent.name)
    if not week:
        return program.name
    number = int(week[1])
    words = [program.stem, number] if program.stem in ("train", "eval") else ["run", number, program.stem]
    return " ".join(map(str, ["./course", *words])) + mine()


def arguments() -> list[str]:
    """The flags that were typed after `command()`."""
    return sys.argv[1 + command().startswith(("./course repeat", "./course space")) :]


def typed(*without: str) -> str:
    """The whole line that was typed, `./course train 1 --data 'my digits'`, but without these flags."""
    return shlex.join([*command().split(), *(word for word in arguments() if word not in without)])


def plainly(error: UnicodeError) -> tuple[str, int]:
    """What is printed in the place of characters that the terminal's encoding lacks (see codecs.register_error)."""
    text = error.object[error.start : error.end].translate(PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error("plainly", plainly)


def prepare_output() -> None:
    """No character makes a print fail from here on.

    Raises:
        CourseError: nobody can read what is printed, because standard output is closed.
    """
    if sys.stderr is None:  # closed (2>&-)
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (until the program ends)
    if sys.stdout is None:
        raise CourseError("standard output is closed (>&-): send it somewhere, if only to /dev/null.")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="plainly")


def silence_output() -> None:
    """Drops what is still to be printed: Python would try again at the end, and complain."""
    with suppress(OSError, ValueError, AttributeError):  # a stream without a file, in a test
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def in_words(error: Exception) -> str | None:
    """One line for what the person at the keyboard, or the machine, can put right; None for an error in the program."""
    said = str(error)
    if isinstance(error, CourseError):
        return said
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError | ValueError) and TOO_LARGE.search(said)):
        asked = re.search(r"allocate ([\d.]+) (\w+)", said)
        amount = (
            (float(asked[1]) / 2**30, "GiB") if asked and asked[2] == "bytes" else asked and (float(asked[1]), asked[2])
        )
        needed = f" ({amount[0]:.4g} {amount[1]} more were asked for)" if amount else ""
        return f"not enough memory{needed}: lower what makes the model or its batches large; --help says what does."
    if isinstance(error, RuntimeError) and "can't start new thread" in said:
        return "this system allows no more threads (ulimit -u): end other programs, then try again."
    if isinstance(error, RuntimeError) and "home directory" in said:
        return "there is no such home: what follows ~ at the start of a path is a user's name. Write the path in full."
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        cure = " Free some space, then try again." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return f"{place}{error.strerror or said}.{cure}"
    return None


def end(code: int, line: str = "") -> NoReturn:
    """Ends the program with a line on stderr."""
    try:
        sys.stdout.flush()
    except (OSError, AttributeError):
        silence_output()
    if line:
        print(" ".join(line.splitlines()), file=sys.stderr)
    sys.exit(code)


@contextmanager
def endings(begin: str = "error") -> Iterator[None]:
    """What a program runs in, so that it ends in one line (`error: …`) where nobody has made a mistake in writing it.

    Code 2 for what a person can put right, 130 after Ctrl-C, and 141 without a word where nobody reads on (`| head`),
    as of other programs. Other errors keep their traceback.
    """
    try:
        prepare_output()
        yield
        try:
            sys.stdout.flush()  # what is wrong with it shows here, not only when Python ends
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CourseError(f"standard output cannot be written to: {error.strerror}.") from None
    except Stopped as stopped:
        end(130, str(stopped))
    except KeyboardInterrupt:
        end(130, "stopped.")
    except BrokenPipeError:
        silence_output()
        end(141)
    except Exception as error:
        line = in_words(error)
        if line is None:
            raise
        end(2, f"{begin}: {line}")


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Ends with main's exit code: for programs without flags."""
    starting.done()
    with endings():
        code = main()
    sys.exit(code)
