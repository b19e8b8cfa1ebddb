"""What the container starts: the service, with its key from where containers have theirs. Standard library only.

COURSE_API_KEY_FILE=/run/secrets/api_key    a file with the key, as compose and Kubernetes mount secrets: unlike a
                                            variable, `docker inspect` does not show it
--ui open, and no key at all                a key that nobody knows is made up: the pages are open, the rest is closed
                                            (a Space to try things on)
"""

import os
import secrets
import sys
from pathlib import Path

KEYS = "COURSE_API_KEY"  # as settings.py, which takes libraries to import


def main(arguments: list[str]) -> None:
    """Becomes the service."""
    if file := os.environ.pop(f"{KEYS}_FILE", ""):
        try:
            os.environ[KEYS] = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            sys.exit(f"error: {KEYS}_FILE {file}: {getattr(error, 'strerror', None) or 'is no text'}.")
    if not os.environ.get(KEYS, "").strip() and open_to_all(arguments):
        os.environ[KEYS] = secrets.token_hex(24)
        print(f"no {KEYS}: /ui is open to everybody, all else is closed", file=sys.stderr, flush=True)
    os.execv(sys.executable, [sys.executable, "-P", "-m", "week12_deploy.serve", *arguments])


def open_to_all(arguments: list[str]) -> bool:
    """Whether the last word on --ui is `open`."""
    said = ""
    for word, behind in zip(arguments, [*arguments, ""][1:], strict=True):
        if word == "--ui" or word.startswith("--ui="):
            said = word.partition("=")[2] or behind
    return said == "open"


if __name__ == "__main__":
    main(sys.argv[1:])
