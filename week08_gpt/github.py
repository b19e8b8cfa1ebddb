"""The Python files of GitHub under free licences: codeparrot/github-code-clean, streamed, filtered, as tokens on disk.

The hub has a conversion of the data set to parquet, one configuration for each language and licence. Files arrive one
after another and are never kept: each is looked at (language, licence, size, seen before?), becomes tokens, and goes
into the shard that is being filled. A shard that is full is written, and with it how far the stream has been read, so
that a download that was stopped goes on there. A repository's name decides its split: none is in two of them.
"""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from shared import held_out
from shared.assets import home
from shared.errors import CourseError
from shared.files import read_json, write_json
from shared.interrupt import StopRequest
from shared.progress import bar
from week08_gpt import corpus as store
from week08_gpt import tokenizer
from week08_gpt.corpus import PARTS, Corpus
from week08_gpt.tokenizer import KINDS, Tokenizer

LICENCES = ("mit", "apache-2.0", "bsd-3-clause", "bsd-2-clause", "isc", "unlicense", "cc0-1.0")
ADDRESS = "hf://datasets/codeparrot/github-code-clean@refs%2Fconvert%2Fparquet/Python-{}/partial-train/*.parquet"
LONGEST = 100_000  # characters of a file; longer ones are tables or were made by a program
SHARD = 10_000_000  # tokens of train in a shard
LEARNED_ON = 20_000_000  # characters that the tokenizer is trained on
HELD_OUT = 200  # one repository of so many goes to val, and one to test


def folder_of(kind: str, vocab: int) -> Path:
    return home() / "week08" / f"github-code-clean-{kind}{vocab if kind == 'bpe' else ''}"


def rows(skip: int = 0) -> Iterator[dict[str, Any]]:
    """The rows of the stream from number `skip` on: {code, repo_name, path, language, license, size}.

    Parquet files that lie in `$COURSE_HOME/github-code-clean` take the place of the hub.

    Raises:
        CourseError: the hub does not answer.
    """
    import datasets

    own = sorted(str(path) for path in (home() / "github-code-clean").rglob("*.parquet"))
    files = own or [ADDRESS.format(licence) for licence in LICENCES]
    try:
        stream = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
        yield from stream.skip(skip)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise CourseError(
            f"github-code-clean: the hub does not answer ({type(error).__name__}: {str(error)[:120]}). Try again: what "
            f"has arrived is kept. Or put its Python parquet files into {home() / 'github-code-clean'}."
        ) from None


def fit(row: dict[str, Any]) -> bool:
    """Whether a file is Python, free, and neither empty nor endless."""
    free = row["license"] in LICENCES and row.get("language", "Python") == "Python"
    return free and bool(row["code"].strip()) and len(row["code"]) <= LONGEST


def part_of(repository: str) -> str:
    """The split of a repository, by its name alone."""
    place = int.from_bytes(blake2b(repository.encode(), digest_size=8).digest(), "little") % HELD_OUT
    return {0: "val", 1: "test"}.get(place, "train")


def load(kind: str, vocab: int, max_tokens: int, tokens: Tokenizer | None = None) -> Corpus:
    """The corpus with the tokenizer of its kind and size; what is missing of `max_tokens` is downloaded first.

    Raises:
        CourseError: the hub does not answer; `tokens` is another tokenizer than that of the files.
    """
    folder = folder_of(kind, vocab)
    if not (folder / "tokenizer.json").is_file():
        learn_tokenizer(folder, kind, vocab)
    own = tokenizer.load(folder / "tokenizer.json")
    if tokens is not None:
        tokens.hold_to(own.fingerprint, f"{folder}")
    download(folder, own, max_tokens)
    return store.read(folder)


def learn_tokenizer(folder: Path, kind: str, vocab: int) -> None:
    """Trains the tokenizer on the first files of train."""
    texts, size = [], 0
    for row in rows():
        if fit(row) and part_of(row["repo_name"]) == "train":
            texts.append(row["code"])
            size += len(row["code"])
            if size >= LEARNED_ON:
                break
    KINDS[kind].train(texts, vocab).save(folder / "tokenizer.json")


def download(folder: Path, tokens: Tokenizer, max_tokens: int) -> None:
    """Fills shards until train has `max_tokens` or the stream has come to its end; goes on where it was stopped.

    Raises:
        Stopped: Ctrl-C was pressed; what is in whole shards is kept.
    """
    path = folder / "state.json"
    state = read_json(path) if path.is_file() else {"read": 0, "tokens": 0, "ended": False, "files": {}}
    if state["ended"] or state["tokens"] >= max_tokens:
        return
    files = {name: list(state["files"].get(name, ())) for name in PARTS}
    seen: set[int] = set()
    for name in PARTS:
        if files[name]:
            part = store.read_part(folder, files[name], "uint16" if tokens.vocab_size <= 1 << 16 else "uint32", True)
            seen |= set(part.prints.tolist())
    read, waiting, size = state["read"], {name: [] for name in PARTS}, 0

    def keep(ended: bool) -> None:
        """Writes what waits as a shard of each part, and then how far that was."""
        nonlocal size
        for name in PARTS:
            if waiting[name] or not files[name]:
                part = store.encoded(waiting[name], tokens)
                files[name].append(store.write_part(folder, f"{name}-{len(files[name]):05d}", part))
                state["tokens"] += part.tokens * (name == "train")
            waiting[name] = []
        size = 0
        store.note(folder, "github-code-clean", tokens, files, True)
        write_json(path, state | {"read": read, "ended": ended, "files": files})

    with StopRequest() as stop, bar(max_tokens, state["tokens"], "github-code-clean") as told:
        for row in rows(read):
            if stop:
                raise KeyboardInterrupt
            read += 1
            one = int(held_out.fingerprints([row["code"]])[0])
            if not fit(row) or one in seen:
                continue
            seen.add(one)
            name = part_of(row["repo_name"])
            waiting[name].append(row["code"])
            if name == "train":
                size += len(tokens.encode(row["code"])) + 1
                told.update(len(row["code"]) // 3)
                if size >= SHARD or state["tokens"] + size >= max_tokens:
                    keep(ended=False)
                    if state["tokens"] >= max_tokens:
                        return
        keep(ended=True)
