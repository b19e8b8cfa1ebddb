"""The Unsplash Lite data set: tables of 25,000 photographs as published, the pictures by their addresses.

https://github.com/unsplash/datasets: photos.tsv000 and keywords.tsv000 (or .csv000; more parts end in 001, …). The
pictures themselves are not in the archive. They come one by one, with a pause, in a width of one's choice; what is here
already is not asked for again, and what is gone is counted.
"""

import csv
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from shared.errors import CourseError, Stopped
from shared.files import written_whole
from shared.interrupt import StopRequest
from shared.pictures import DAMAGE
from shared.progress import bar
from week14_clip.picture import Picture, digest

AGENT = "sixteen-weeks course (one picture at a time; for learning)"
PAUSE = 0.1  # seconds between two pictures
TRIES, BACKOFF, TIMEOUT = 4, 1.0, 20  # of one picture; seconds before the second try, then twice as long; of silence
LARGEST = 1 << 25  # bytes of a picture
SURE = 40.0  # per cent that a service must be sure of a keyword
GONE = (400, 401, 403, 404, 410, 451)  # it is not to be had: no use to ask again
IN_A_ROW = 20  # so many pictures that cannot be reached, and it is the network


def tables(folder: Path, name: str) -> list[Path]:
    """The parts of a table, in their order."""
    return sorted([*folder.glob(f"{name}.tsv*"), *folder.glob(f"{name}.csv*")])


def is_there(folder: Path) -> bool:
    """Whether a folder has the published tables."""
    return bool(tables(folder, "photos"))


def rows(paths: Sequence[Path], needed: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows of a table, part by part; each part has the header.

    Raises:
        CourseError: a column is missing, or it is no table.
    """
    csv.field_size_limit(1 << 20)
    for path in paths:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                tabs = ".tsv" in path.name or "\t" in file.readline()
                file.seek(0)
                reader = csv.DictReader(file, delimiter="\t" if tabs else ",")
                missing = [name for name in needed if name not in (reader.fieldnames or ())]
                if missing:
                    raise CourseError(f"{path}: the column {missing[0]} is missing; is it the published table?")
                for row in reader:
                    yield {name: value or "" for name, value in row.items() if isinstance(name, str)}
        except (UnicodeDecodeError, csv.Error) as error:
            raise CourseError(f"{path}: not a table in UTF-8 ({error}).") from None


def keywords(folder: Path, wanted: set[str]) -> dict[str, list[str]]:
    """{photo: keywords} that a person has suggested or a service is sure of."""
    found: dict[str, list[str]] = {}
    for row in rows(tables(folder, "keywords"), ("photo_id", "keyword")):
        if row["photo_id"] not in wanted or not row["keyword"].strip():
            continue
        confidences = [row.get(f"ai_service_{number}_confidence", "") for number in (1, 2)]
        sure = max((float(one) for one in confidences if one.replace(".", "", 1).isdigit()), default=0.0)
        if row.get("suggested_by_user", "") in ("t", "true", "1") or sure >= SURE:
            found.setdefault(row["photo_id"], []).append(row["keyword"].strip())
    return found


def load(folder: Path, limit: int, width: int) -> tuple[list[Picture], tuple[str, ...]]:
    """Pictures with the descriptions that photographer and service have given; those that are not here are fetched.

    Raises:
        CourseError: the tables are not as published, or no picture is to be had.
        Stopped: Ctrl-C was pressed; what is here stays.
    """
    wanted: dict[str, tuple[str, list[str]]] = {}
    for row in rows(tables(folder, "photos"), ("photo_id", "photo_image_url")):
        texts = [row.get(name, "").strip() for name in ("photo_description", "ai_description")]
        texts = [text for text in dict.fromkeys(texts) if text]
        if texts and is_plain(row["photo_id"]):
            wanted[row["photo_id"]] = (row["photo_image_url"], texts)
        if limit and len(wanted) == limit:
            break
    if not wanted:
        raise CourseError(f"{folder}: no photo in these tables has a description.")
    there = folder / f"width_{width}"
    missing = fetch_all({photo: url for photo, (url, _) in wanted.items()}, there, width)
    tags = keywords(folder, set(wanted))
    found = []
    for photo, (_, texts) in wanted.items():
        path = there / f"{photo}.jpg"
        if path.is_file():
            concept = texts[0].casefold()
            found.append(Picture(path.name, tuple(texts), concept, digest(path), path, tags=tuple(tags.get(photo, ()))))
    notes = (f"{missing:,} of {len(wanted):,} pictures are no longer to be had",) if missing else ()
    return found, notes


def is_plain(photo: str) -> bool:
    """Whether an id is fit for a file's name, as all published ones are."""
    return photo.replace("-", "").replace("_", "").isalnum() and photo.isascii() and len(photo) < 64


def address(url: str, width: int) -> str:
    """Where a picture is, in a width."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CourseError(f"not an address of a picture: {url!r:.100}")
    return urlunsplit(parts._replace(query=urlencode({"w": width, "fm": "jpg", "q": 80, "fit": "max"}), fragment=""))


def fetch_all(urls: dict[str, str], folder: Path, width: int, sleep: Callable[[float], None] = time.sleep) -> int:
    """Brings the pictures that are not here, one after the other. Returns how many are not to be had.

    A list beside them (missing.txt) remembers those, so that no second call asks for them again; delete it to ask.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "missing.txt"
    gone = set(listed.read_text(encoding="utf-8").split()) if listed.is_file() else set()
    todo = [photo for photo in urls if photo not in gone and not (folder / f"{photo}.jpg").is_file()]
    if todo:
        print(f"fetching {len(todo):,} pictures of {len(urls):,}, {width} pixels wide, into {folder}", file=sys.stderr)
    unreached = 0
    with StopRequest() as stop, bar(len(urls), len(urls) - len(todo), "pictures") as told:
        for number, photo in enumerate(todo):
            if stop:
                raise Stopped(f"stopped; {number:,} more pictures are here now, and the same command goes on.")
            if number:
                sleep(PAUSE)
            try:
                content = fetch(address(urls[photo], width), sleep)
            except Unreachable as error:
                unreached += 1
                have = sum(1 for _ in folder.glob("*.jpg"))
                if unreached == IN_A_ROW or (number + 1 == len(todo) and not have):
                    raise CourseError(
                        f"the pictures cannot be reached ({error}); {have:,} are here, and the same command goes on."
                    ) from None
                continue  # it is asked for again next time
            unreached = 0
            if content is None:
                gone.add(photo)
                with written_whole(listed) as temporary:
                    temporary.write_text("".join(f"{one}\n" for one in sorted(gone)), encoding="utf-8")
            else:
                with written_whole(folder / f"{photo}.jpg") as temporary:
                    temporary.write_bytes(content)
            told.update()
    return sum(not (folder / f"{photo}.jpg").is_file() for photo in urls)


class Unreachable(Exception):
    """A picture that may be there, and does not come."""


def fetch(url: str, sleep: Callable[[float], None] = time.sleep) -> bytes | None:
    """A picture's bytes; None where it is gone, or no picture.

    Raises:
        Unreachable: the network, or the host, did not answer in several tries.
    """
    why, wait = "", BACKOFF
    for attempt in range(TRIES):
        if attempt:
            sleep(wait)
            wait = BACKOFF * 2**attempt
        try:
            with urlopen(Request(url, headers={"User-Agent": AGENT}), timeout=TIMEOUT) as response:
                content = response.read(LARGEST + 1)
                length = response.headers.get("Content-Length", "")
            if length.isdigit() and len(content) < min(int(length), LARGEST):
                why = "cut off"
                continue
            return content if len(content) <= LARGEST and is_whole(content) else None
        except HTTPError as error:
            error.close()
            if error.code in GONE:
                return None
            asked = error.headers.get("Retry-After", "")
            wait = max(wait, min(float(asked), 60.0)) if asked.isdigit() else wait
            why = f"HTTP {error.code}"
        except (URLError, OSError, ValueError) as error:
            why = str(getattr(error, "reason", error)) or type(error).__name__
    raise Unreachable(why)


def is_whole(content: bytes) -> bool:
    """Whether these bytes are a picture to its end."""
    import io

    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
    except DAMAGE:
        return False
    return True
