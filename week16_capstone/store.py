"""Where what was read of PDFs is kept: a folder a document, a file a page, so that nothing is done twice.

    shelf/<id of the document>/0007.json      the figures of page 7, as they were read
                               0007-1.png     the picture of the first of them
                               document.json  all of it: blocks, exhibits with their captions, the PDF's place
                               vectors.safetensors  of texts and pictures, as index.py embeds them

The id is a hash of the PDF's bytes: another version of a report is another document.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shared.errors import CourseError
from shared.files import read_json, write_json, written_whole
from shared.runs import RUNS
from week11_rag.pages import Block, Document, Page
from week16_capstone.exhibits import Exhibit, as_json, from_json

SHELF = RUNS / "week16" / "shelf"
ID = re.compile(r"[0-9a-f]{16}")


class Shelf:
    """A folder of documents."""

    def __init__(self, folder: str | Path = SHELF) -> None:
        self.folder = Path(folder)

    def place(self, document: str) -> Path:
        """The folder of a document.

        Raises:
            CourseError: this is no id of one.
        """
        if not ID.fullmatch(document):
            raise CourseError(f"{document!r} is no id of a document: those have 16 digits from 0 to f.")
        return self.folder / document

    # ------------------------------------------------------------ pages

    def page(self, document: str, number: int, version: int, reader: str) -> dict[str, Any] | None:
        """What was found on a page before, {figures, rules}; None where it was not read, or by another reader."""
        path = self.place(document) / f"{number:04}.json"
        try:
            held = read_json(path)
        except CourseError:
            return None  # not there, or damaged: it is read again
        same = isinstance(held, dict) and (held.get("version"), held.get("reader")) == (version, reader)
        return held["found"] if same and isinstance(held.get("found"), dict) else None

    def keep_page(self, document: str, number: int, version: int, reader: str, found: dict[str, Any]) -> None:
        path = self.place(document) / f"{number:04}.json"
        write_json(path, {"version": version, "reader": reader, "found": found})

    def keep_crop(self, document: str, page: int, place: int, picture: Any) -> str:
        """Writes the picture of a figure; returns its file's name."""
        name = f"{page:04}-{place}.png"
        with written_whole(self.place(document) / name) as temporary:
            picture.save(temporary, "PNG")
        return name

    # ------------------------------------------------------------ documents

    def keep(self, document: Document, exhibits: Sequence[Exhibit], path: Path) -> None:
        """Writes a document as a whole."""
        pages = [asdict(page) for page in document.pages]
        write_json(self.place(document.id) / "document.json", {
            "name": document.name, "path": str(path.absolute()), "notes": list(document.notes), "pages": pages,
            "exhibits": [as_json(one) for one in exhibits],
        })  # fmt: skip

    def read(self, document: str) -> tuple[Document, list[Exhibit], Path]:
        """(document, its exhibits, where its PDF lay).

        Raises:
            CourseError: it is not there, or its file is damaged.
        """
        held = read_json(self.place(document) / "document.json")
        try:
            pages = tuple(
                Page(page["number"], page["width"], page["height"],
                     tuple(Block(**block | {"box": tuple(block["box"])}) for block in page["blocks"]), page["scanned"])
                for page in held["pages"]
            )  # fmt: skip
            found = Document(document, held["name"], pages, tuple(held["notes"]))
            return found, [from_json(row) for row in held["exhibits"]], Path(held["path"])
        except (KeyError, TypeError) as error:
            raise CourseError(f"{self.place(document)} is damaged ({error}): delete it, and read again.") from None

    def documents(self) -> list[str]:
        """The ids of all that are whole."""
        if not self.folder.is_dir():
            return []
        return sorted(
            path.parent.name for path in self.folder.glob("*/document.json") if ID.fullmatch(path.parent.name)
        )

    def crop(self, document: str, exhibit: Exhibit) -> Path | None:
        """The picture of a figure; None where it has none."""
        path = self.place(document) / exhibit.crop if exhibit.crop else None
        return path if path and path.is_file() else None
