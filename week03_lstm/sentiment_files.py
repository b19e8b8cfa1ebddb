"""Reviews out of files of one's own: tables, folders of positive and negative texts, archives; and what labels mean."""

import io
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from shared.archives import unpack
from shared.errors import CourseError
from shared.files import is_hidden
from week03_lstm import tables

Rows = list[tuple[str, int]]  # (text, label)
Splits = dict[str, Rows]  # of train, val and test
Meaning = TypeVar("Meaning")

# What columns, splits and folders are called, in capitals or not.
TEXTS = ("text", "review", "review_text", "reviewtext", "content", "sentence", "comment")
LABELS = ("label", "sentiment", "polarity", "rating", "stars", "class", "target", "score")
SPLITS = {name: name for name in ("train", "val", "test")} | dict.fromkeys(("valid", "validation", "dev"), "val")
GROUPS = {"neg": 0, "negative": 0, "pos": 1, "positive": 1}
UNLABELLED = ("unsup", "unsupervised")

# What labels mean; None is neither, and left out.
WORDS = {"neg": 0, "negative": 0, "false": 0, "pos": 1, "positive": 1, "true": 1, "neutral": None}
NUMBERS: tuple[tuple[dict[int, int | None], str], ...] = (
    ({0: 0, 1: 1}, ""),
    ({1: 0, 2: 1}, "labels 1 and 2: took 1 for negative, 2 for positive"),
    ({-1: 0, 1: 1}, "labels -1 and 1: took -1 for negative, 1 for positive"),
    ({0: 0, 2: None, 4: 1}, "labels 0 to 4: took 0 for negative, 4 for positive"),
    ({1: 0, 2: 0, 3: None, 4: 1, 5: 1}, "stars 1 to 5: took 1 and 2 for negative, 4 and 5 for positive"),
    ({stars: 0 if stars < 5 else 1 if stars > 6 else None for stars in range(1, 11)},
     "stars 1 to 10: took 1 to 4 for negative, 7 to 10 for positive"),
)  # fmt: skip
LAYOUT = (
    f"expected a file that ends in {', '.join(tables.ENDINGS)} (also .gz, .zip), or a folder with pos and neg in it, "
    "itself or in its folders train and test, one .txt file a review."
)


def read(path: Path, text: str = "text", label: str = "label") -> tuple[Splits, tuple[str, ...]]:
    """The reviews of a file, a folder or an archive, by split, and what was guessed or left out.

    Args:
        path: a table with a column of texts and one of labels (see read_table), or a folder (see read_folder), or a
            .zip or .tar(.gz) of one.
        text, label: the columns; where they have their usual names, the likeliest of TEXTS and LABELS will do.

    Raises:
        CourseError: what is wrong, and in which line.
    """
    if path.is_dir():
        return read_folder(path, text, label)
    name = path.name.lower()
    if re.search(r"\.(tar(\.\w+)?|tgz)$", name):
        return read_archive(path, text, label)
    if name.endswith(".zip") and sum(map(tables.is_table, tables.inside(path))) != 1:
        return read_archive(path, text, label)
    return read_table(path, text, label)


def read_archive(path: Path, text: str, label: str) -> tuple[Splits, tuple[str, ...]]:
    """A folder that is packed: unpacked for as long as it is read."""
    with tempfile.TemporaryDirectory() as place:
        folder = unpack(path, Path(place) / "unpacked", tables.LIMIT)
        try:
            return read_folder(folder, text, label)
        except CourseError as error:
            raise CourseError(str(error).replace(str(folder), str(path))) from None


# ---------------------------------------------------------------- folders


def read_folder(folder: Path, text: str = "text", label: str = "label") -> tuple[Splits, tuple[str, ...]]:
    """A folder of tables called train…, test… (as the hub has them), or the folders pos and neg, one .txt file a
    review; these in train and test, as IMDB was published, or alone. Another folder around all this is gone into."""
    root = _inner(folder)
    if files := [file for file in sorted(root.iterdir()) if _is_table(file)]:
        return _tables(files, text, label)
    return _polarity(root)


def _seen(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if not is_hidden(path.name)]


def _is_table(file: Path) -> bool:
    return tables.is_table(file.name) and not file.name.lower().endswith(".txt") and not is_hidden(file.name)


def _named(folder: Path, names: Mapping[str, Meaning]) -> dict[Meaning, Path]:
    """The folders in it whose names mean something."""
    return {names[path.name.lower()]: path for path in _seen(folder) if path.name.lower() in names and path.is_dir()}


def _inner(folder: Path) -> Path:
    for _ in range(4):
        folders = [path for path in _seen(folder) if path.is_dir()]
        own = [path for path in folders if path.name == "aclImdb"] or folders
        if len(own) != 1 or _named(folder, GROUPS) or _named(folder, SPLITS) or any(map(_is_table, folder.iterdir())):
            break
        folder = own[0]
    return folder


def _tables(files: Sequence[Path], text: str, label: str) -> tuple[Splits, tuple[str, ...]]:
    """One table, or several whose names begin with their split."""
    if len(files) == 1:
        return read_table(files[0], text, label)
    found: Splits = {"train": [], "val": [], "test": []}
    told: dict[str, None] = {}
    for file in files:
        word = re.match("[a-z]*", file.name.lower())[0]
        if word in UNLABELLED:
            continue
        if word not in SPLITS:
            raise CourseError(
                f"{file}: one of {len(files)} tables, but not called train…, val… or test…. Give one of them."
            )
        rows, notes = read_table(file, text, label)
        found[SPLITS[word]] += [row for part in rows.values() for row in part]
        told |= dict.fromkeys(notes)
    return found, tuple(told)


def _polarity(root: Path) -> tuple[Splits, tuple[str, ...]]:
    found: Splits = {"train": [], "val": [], "test": []}
    notes: dict[str, None] = {}
    empty = 0
    places = _named(root, SPLITS) or {"train": root}
    for split, place in places.items():
        groups = _named(place, GROUPS)
        if len(groups) < 2:
            missing = f"{place / ('pos' if 0 in groups else 'neg')} is missing" if groups else f"{place}: no reviews"
            raise CourseError(f"{missing}; {LAYOUT}")
        for label, group in sorted(groups.items()):
            files = [file for file in _seen(group) if file.suffix.lower() == ".txt"]
            if not files:
                raise CourseError(f"{group} holds no .txt files; {LAYOUT}")
            for file in files:
                review, guess = tables.decoded(file.read_bytes(), file)
                notes |= dict.fromkeys(f"{note} ({file.name}, and perhaps others)" for note in guess if not notes)
                if review.strip():
                    found[split].append((review, label))
                else:
                    empty += 1
    if empty:
        notes[f"left out {empty:,} empty file{'s' * (empty > 1)}"] = None
    if "test" not in places:
        notes["no folder test: the reviews were cut in three, a fifth of them for test"] = None
    return found, tuple(notes)


# ---------------------------------------------------------------- tables

Record = tuple[str, dict[str, Any]]  # where it stands, and its cells by column


def read_table(path: Path, text: str = "text", label: str = "label") -> tuple[Splits, tuple[str, ...]]:
    """A table: text with a heading, a JSON object a line, a JSON array of objects, or parquet; packed or not. A column
    `split` (train, val, test) is obeyed.

    Raises:
        CourseError: naming the line: a column that is missing (and those that are there), a label that is none, a
            split of another name, an empty review, JSON that is broken.
    """
    raw, name = tables.read_bytes(path)
    if not tables.is_table(name):
        raise CourseError(f"{path}: {LAYOUT}")
    told: list[str] = []
    if name.endswith(".parquet"):
        records = _parquet(raw, path)
    else:
        content, notes = tables.decoded(raw, path)
        told += notes
        as_json = "json" in name.rpartition(".")[2] or (name.endswith(".txt") and content.lstrip()[:1] in ("{", "["))
        records = (_json if as_json else _csv)(content, path)
    records = list(records)
    if not records:
        raise CourseError(f"{path}: no review in it.")
    names = list(records[0][1])
    columns = [_column(path, names, *wanted) for wanted in ((text, "text", TEXTS), (label, "label", LABELS))]
    if [column.lower() for column in columns] != [text.lower(), label.lower()]:
        told.append(f"took {columns[0]!r} for the text and {columns[1]!r} for the label; --text and --label choose")
    split = next((name for name in names if name.lower() == "split"), "split")
    for where, row in records:
        if missing := [column for column in columns if column not in row]:
            raise CourseError(f"{path}, {where}: {_no_column(missing[0], row)}")
    numbers, note = _numbers([row[columns[1]] for _, row in records])
    found: Splits = {"train": [], "val": [], "test": []}
    middle = 0
    for where, row in records:
        review, sense = _text_of(row[columns[0]], path, where), _label_of(row[columns[1]], numbers, path, where)
        if sense is None:
            middle += 1
        else:
            found[_split_of(row.get(split), path, where)].append((review, sense))
    told += [note] if note else []
    told += [f"left out {middle:,} reviews that are neither"] if middle else []
    return found, tuple(told)


def _column(path: Path, names: list[str], given: str, default: str, usual: Sequence[str]) -> str:
    """The column that is meant: as it is called, in other capitals, or, where nothing was said, the only usual one."""
    for found in (
        [name for name in names if name == given],
        [name for name in names if name.lower() == given.lower()],
        [name for name in names if name.lower() in usual and given == default],
    ):
        if len(found) > 1:
            raise CourseError(f"{path}: {', '.join(found)}: which column is the {default}? Choose with --{default}.")
        if found:
            return found[0]
    raise CourseError(f"{path}: {_no_column(given, names)}")


def _no_column(column: str, names: Any) -> str:
    there = ", ".join(str(name)[:30] for name in names) or "none"
    data = any(len(name) > 60 or name.strip().lower() in WORDS or name.strip().isdigit() for name in names)
    hint = " Or write the missing heading above its first line: text,label" if data else ""
    return f"no column {column!r}; there are: {there}. Choose with --text and --label.{hint}"


def _csv(content: str, path: Path) -> Iterator[Record]:
    rows = tables.rows(content, path)
    _, names = next(rows, (0, []))
    names = [name.strip() for name in names]
    for name in names:
        if name and names.count(name) > 1:
            raise CourseError(f"{path}: two columns {name!r}. Rename one of them in the first line.")
    for line, cells in rows:
        if len(cells) < len(names):
            raise CourseError(
                f"{path}: line {line} has too few fields ({len(cells)} of {len(names)}); is a quote open?"
            )
        if any(cells[len(names) :]):
            raise CourseError(
                f"{path}: line {line} has {len(cells)} fields, the first line {len(names)}: put texts with a separator "
                "in them in quotes."
            )
        yield f"line {line}", dict(zip(names, cells, strict=False))


def _json(content: str, path: Path) -> Iterator[Record]:
    """Objects, one a line or in an array."""
    if content.lstrip().startswith("["):
        with suppress(json.JSONDecodeError, RecursionError):
            for number, row in enumerate(json.loads(content), 1):
                yield f"object {number}", _object(row, path, f"object {number}")
            return
    for line, one in enumerate(content.split("\n"), 1):  # not splitlines(): a text may hold other line separators
        if not one.strip():
            continue
        try:
            row = json.loads(one)
        except (json.JSONDecodeError, RecursionError) as error:
            raise CourseError(f"{path}, line {line}: broken JSON ({error}).") from None
        yield f"line {line}", _object(row, path, f"line {line}")


def _object(row: object, path: Path, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise CourseError(f'{path}, {where}: expected an object as {{"text": …, "label": …}}.')
    return row


def _parquet(raw: bytes, path: Path) -> Iterator[Record]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(io.BytesIO(raw))
    except (pyarrow.ArrowException, OSError) as error:
        raise CourseError(f"{path}: broken parquet ({str(error).splitlines()[0]}).") from None
    for number, row in enumerate(table.to_pylist(), 1):
        yield f"row {number}", row


# ---------------------------------------------------------------- cells


def _text_of(value: object, path: Path, where: str) -> str:
    if not isinstance(value, str) or value.strip().lower() in ("", "nan", "null"):
        raise CourseError(f"{path}, {where}: the review is empty or no text. Remove the line.")
    return value


def _plain(value: object) -> int | str:
    """A label as a whole number, or as a word in lower case."""
    word = str(value).strip().lower()
    with suppress(ValueError):
        number = float(word)
        if number.is_integer():
            return int(number)
    return word


def _numbers(labels: Sequence[object]) -> tuple[dict[int, int | None], str]:
    """What the numbers among the labels of a column mean, all together, and how to say that."""
    there = {number for number in map(_plain, labels) if isinstance(number, int)}
    for meaning, note in NUMBERS:
        if there <= meaning.keys() and (not note or {meaning[number] for number in there} >= {0, 1}):
            return meaning, note
    return NUMBERS[0]


def _label_of(value: object, numbers: dict[int, int | None], path: Path, where: str) -> int | None:
    known = WORDS | numbers
    if (word := _plain(value)) not in known:
        raise CourseError(
            f"{path}, {where}: the label {value!r} is outside 0 and 1 (or negative and positive, neg and pos)."
        )
    return known[word]


def _split_of(value: object, path: Path, where: str) -> str:
    name = str("train" if value is None else value).strip().lower() or "train"
    if name not in SPLITS:
        raise CourseError(f"{path}, {where}: the split {value!r} is none of train, val, test.")
    return SPLITS[name]
