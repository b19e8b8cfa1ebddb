"""A folder put on the hub as a Space, through huggingface_hub; whatever goes wrong there is one line.

The token is that of `hf auth login`, or HF_TOKEN of the environment. It is never an argument: a command line is read by
every user of a machine (`ps`), and kept by the shell.
"""

import os
import re
import warnings
from pathlib import Path
from typing import Literal

from shared.errors import CourseError

Sdk = Literal["gradio", "docker"]
NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9])?/[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9])?", re.ASCII)
TOKENS = "under Settings, Access Tokens"
NOTHING = "nothing was made"


def check_name(name: str) -> None:
    """CourseError where this cannot be the name of a Space, `user/name`."""
    if not NAME.fullmatch(name) or "--" in name or ".." in name:
        raise CourseError(f"--push {name}: must be user/name, of letters, digits, dots, dashes and underscores.")


def token() -> str:
    """The token of this user.

    Raises:
        CourseError: there is none.
    """
    from huggingface_hub import get_token

    found = get_token()
    if not found:
        raise CourseError(
            f"the hub needs a token with the right to write: make one on {endpoint()} {TOKENS}, then `hf auth login`, "
            "or put it into the environment as HF_TOKEN."
        )
    return found


def endpoint() -> str:
    """The address of the hub."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def push(folder: Path, name: str, sdk: Sdk, private: bool = False, update: bool = False) -> str:
    """Makes the Space `name` and puts the files of `folder` into it.

    A push that was cut short is done again with `update`: what the hub has already is not sent twice.

    Args:
        folder: what the Space shall hold.
        name: user/name.
        sdk: gradio or docker, as its front matter says.
        private: whether only its owner sees it.
        update: takes a Space of this name that is there; files that `folder` lacks leave it, and stay in its history.

    Returns:
        The address of the Space.

    Raises:
        CourseError: no token, a wrong one or one that may not write there, a Space that is there (without `update`), a
            hub that refuses or does not answer.
    """
    check_name(name)
    import httpx2  # what huggingface_hub speaks with: an error of the network is one of its
    from huggingface_hub import HfApi

    key, address = token(), endpoint()
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise CourseError("HF_HUB_OFFLINE is set in the environment: nothing is sent. Unset it to push.")
    api, done = HfApi(endpoint=address, token=key), NOTHING
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not api.repo_exists(name, repo_type="space"):
                api.create_repo(name, repo_type="space", space_sdk=sdk, private=private)
                done = f"{name} was made, and is empty"
            elif not update:
                raise CourseError(there_already(address, name))
            api.upload_folder(
                repo_id=name, repo_type="space", folder_path=str(folder), delete_patterns="*",
                commit_message="As the course packs it",
            )  # fmt: skip
    except CourseError:
        raise
    except (httpx2.HTTPError, OSError, ValueError, RuntimeError, KeyError) as error:
        raise CourseError(in_words(error, address, name, done)) from None
    return f"{address}/spaces/{name}"


def in_words(error: Exception, endpoint: str, name: str, done: str) -> str:
    """One line for what the hub, or the way to it, has answered. A token never stands in it."""
    import httpx2

    chain = [error]  # an upload wraps what has stopped it
    while cause := chain[-1].__cause__:
        chain.append(cause)
    status = next((e.response.status_code for e in chain if getattr(e, "response", None) is not None), 0)
    said = next((text for e in chain if (text := getattr(e, "server_message", None))), "")
    again = "" if done == NOTHING else f" ({done}: push again with --update)"
    if status == 401:
        return (
            f"{endpoint} does not take this token (401): it is mistyped, has expired or was withdrawn. Make a new one "
            f"{TOKENS}{again}."
        )
    if status == 402:
        return f"{endpoint} wants to be paid for a Space of this kind (402{told(said)}): choose another account{again}."
    if status == 403:
        user = name.partition("/")[0]
        return f"this token may not write to {user}'s Spaces (403): make one with the right to write {TOKENS}{again}."
    if status == 409 and done == NOTHING:  # one that this token does not see
        return there_already(endpoint, name)
    if status == 429:
        return f"{endpoint} has had too many requests from you (429): wait some minutes, then push again{again}."
    if status:
        return f"{endpoint} refused {name} ({status}{told(said)}){again}."
    if any(isinstance(e, httpx2.TransportError | OSError) for e in chain):
        why = next((str(e) for e in reversed(chain) if str(e)), type(error).__name__)
        return f"{endpoint} does not answer ({' '.join(why.split())[:200]}): is there a network?{again}"
    return f"{endpoint} refused {name} ({' '.join(str(error).split())[:300]}){again}."


def there_already(endpoint: str, name: str) -> str:
    return (
        f"{endpoint}/spaces/{name} is there already. --update puts this folder in its place (its history keeps what it "
        "was); or choose another name."
    )


def told(said: str) -> str:
    """What the hub said itself, after a comma; nothing where it said nothing."""
    return f", it says: {' '.join(said.split())[:200]}" if said else ""
