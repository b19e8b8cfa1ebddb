"""What is held against a file before pdfium opens it: that it is a whole PDF, and none that grows without end."""

import re
import zlib
from pathlib import Path

from shared.errors import CourseError
from shared.terminal import printable

MOST_BYTES = 500_000_000
MOST_OBJECTS = 1_000_000
MOST_UNPACKED = (
    300_000_000  # bytes of all that is neither picture nor font; the text of a thousand pages has 10 million
)
MOST_PIXELS = 150_000_000  # of a picture
BEGINS = {
    b"PK\x03\x04": "a Word, Excel or zip file",
    b"\xd0\xcf\x11\xe0": "an old Word or Excel file",
    b"{\\rtf": "RTF",
}


def whole_pdf(path: Path) -> bytes:
    """The bytes of a PDF.

    Raises:
        CourseError: the file is not there, empty, no PDF, cut short, or grows beyond bounds when it is unpacked.
    """
    if not path.is_file():
        raise CourseError(f"{path} is not there." if not path.exists() else f"{path} is a folder, no PDF.")
    size = path.stat().st_size
    if not size:
        raise CourseError(f"{path} is empty (0 bytes): copy or download it again.")
    if size > MOST_BYTES:
        raise CourseError(f"{path} has {size / 1e6:,.0f} MB, more than {MOST_BYTES / 1e6:,.0f}: split it.")
    content = path.read_bytes()
    if b"%PDF-" not in content[:1024]:
        raise CourseError(f"{path} is no PDF: {begins_with(content)}. Save or print it as PDF first.")
    if b"%%EOF" not in content[-2048:] and b"startxref" not in content[-2048:]:
        raise CourseError(f"{path} is cut short: the end of the PDF is missing. Copy or download it again.")
    if reason := bomb(content):
        raise CourseError(f"{path} may be a bomb, and is not read: {reason}, more than an honest PDF needs.")
    return content


def begins_with(content: bytes) -> str:
    """What a file seems to be, in words."""
    head = content[:1024].lstrip()
    if head[:1] == b"<":
        return "it is HTML or XML, as a page that a server sent in its place"
    kind = next((kind for start, kind in BEGINS.items() if head.startswith(start)), "")
    return f"it is {kind}" if kind else f"it begins with {printable(repr(content[:8]))}"


def bomb(content: bytes) -> str:
    """What is beyond bounds in a PDF, or nothing: its objects, the pixels of a picture, or what its streams unpack to.

    A deflated stream may hold a thousand times its size, and one deflated twice a million times.
    """
    objects = len(re.findall(rb"\d\s+obj\b", content))
    if objects > MOST_OBJECTS:
        return f"it has {objects:,} objects"
    left = MOST_UNPACKED
    for start in re.finditer(rb"stream\r?\n", content):
        if content[start.start() - 3 : start.start()] == b"end":
            continue
        about = content[max(0, start.start() - 2000) : start.start()]
        about = about[about.rfind(b" obj") + 1 :]
        if re.search(rb"/Subtype\s*/Image", about):
            sides = [
                int(number) for side in (rb"Width", rb"Height") for number in re.findall(rb"/%b\s+(\d+)" % side, about)
            ]
            if len(sides) == 2 and sides[0] * sides[1] > MOST_PIXELS:
                return f"a picture in it has {sides[0]:,} × {sides[1]:,} pixels"
            continue
        depth = len(re.findall(rb"/(?:FlateDecode|Fl)\b", about))
        if depth and not re.search(rb"/Filter\s*\[?\s*/(?!Fl)", about):
            left -= unpacked(content[start.end() : start.end() + MOST_BYTES], depth, left)
            if left < 0:
                return f"it unpacks to more than {MOST_UNPACKED / 1e6:,.0f} MB"
    return ""


def unpacked(data: bytes, depth: int, most: int) -> int:
    """How many bytes a stream has that is deflated so many times over; counting stops above `most`."""
    chain, total, at = [zlib.decompressobj() for _ in range(depth)], 0, 0
    step = 1 << 16
    while at < len(data) and total <= most and not chain[0].eof:
        pieces = [data[at : at + step]]
        at += step
        try:
            for inflate in chain:
                grown = []
                for piece in pieces:
                    while piece:
                        grown.append(inflate.decompress(piece, 1 << 20))
                        total += len(grown[-1])
                        piece = inflate.unconsumed_tail
                        if total > most or inflate.eof:
                            break
                pieces = grown
        except zlib.error:  # damaged, or no deflate at all: pdfium makes of it what it can
            break
    return total
