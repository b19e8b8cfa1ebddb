"""Reads a PDF and says what it found, as a line of JSON.

    python -m week12_deploy.looking FILE PAGES MEGABYTES SECONDS

A process of its own, started for each upload: the library that reads PDFs is written in C++, and a file that is made to
break it, or to fill the memory, does so here. It may take so many megabytes and seconds, and then it is ended.
"""

import json
import sys
from contextlib import suppress
from pathlib import Path

RATIO, AT_LEAST = 100, 20_000_000
"""What a PDF may unpack to, in bytes: so many times its own size, but in any case so much. Text packs 5 to 20 times,
and deflate can do a thousand."""


def limit(megabytes: int, seconds: int) -> None:
    """Limits what this process may take, where the system can (Linux, macOS). Where memory runs out all the same, as
    in a container that is smaller than that, Linux is to end this process, and not the service."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    try:
        import resource
    except ImportError:
        return
    for what, most in (
        (resource.RLIMIT_AS, megabytes * 2**20),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.setrlimit(what, (most, most))
        except (ValueError, OSError):  # already less, or not to be had
            continue


def look(path: Path, pages: int) -> dict:
    """{pages, notes} of a PDF that can be read; {wrong, reason} of one that cannot."""
    from shared.errors import CourseError
    from week11_rag import checks, pdf

    checks.MOST_UNPACKED = min(
        checks.MOST_UNPACKED, max(AT_LEAST, RATIO * path.stat().st_size)
    )  # of this process alone
    try:
        document = pdf.read(path, most_pages=pages)
    except CourseError as error:
        line = str(error)
        reason = next((word for word in ("encrypted", "bomb", "empty", "pictures", "pages") if word in line), "damaged")
        return {"wrong": line, "reason": f"{reason}-pdf", "large": "more than" in line and "pages" in line}
    except MemoryError:
        return {"wrong": f"{path} takes more memory to read than it may: split it.", "reason": "bomb-pdf"}
    return {"pages": len(document.pages), "notes": list(document.notes)}


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.stderr.write("error: looking is started by the service. Give it FILE PAGES MEGABYTES SECONDS.\n")
        sys.exit(2)
    limit(int(sys.argv[3]), int(sys.argv[4]))
    print(json.dumps(look(Path(sys.argv[1]), int(sys.argv[2]))))
