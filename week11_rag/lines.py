"""Lines of text on a page: letters as pdfium has them, put together by where they stand.

A line here ends where its column or its cell of a table does: what is far apart, or has a rule between, is two lines.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from week11_rag.pages import Box

APART = 1.6  # in sizes of the font: a wider gap ends a line
SPACE = 0.25  # likewise: a wider gap is a space
MOST_LETTERS = 200_000  # of a page: a poster has 20,000


class Font(NamedTuple):
    """What of a font matters here."""

    size: float
    mono: bool
    bold: bool
    italic: bool


class Letter(NamedTuple):
    """A letter: what it is, from where to where it goes, its baseline, and its font; whether a space precedes it."""

    char: str
    left: float
    right: float
    base: float
    font: Font
    spaced: bool


class Rule(NamedTuple):
    """A straight line that is drawn on a page, as a box."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def upright(self) -> bool:
        return self.top - self.bottom > self.right - self.left


@dataclass
class Line:
    """Letters that follow each other."""

    letters: list[Letter] = field(default_factory=list)

    @cached_property
    def size(self) -> float:
        """Of most of its letters."""
        return Counter(letter.font.size for letter in self.letters).most_common(1)[0][0]

    @cached_property
    def base(self) -> float:
        return Counter(letter.base for letter in self.letters if letter.font.size == self.size).most_common(1)[0][0]

    @cached_property
    def left(self) -> float:
        return min(letter.left for letter in self.letters)

    @cached_property
    def right(self) -> float:
        return max(letter.right for letter in self.letters)

    @property
    def top(self) -> float:
        return self.base + 0.75 * self.size

    @property
    def bottom(self) -> float:
        return self.base - 0.25 * self.size

    @property
    def box(self) -> Box:
        return self.left, self.bottom, self.right, self.top

    def share(self, what: str) -> float:
        """The share of its letters that are mono, bold or italic."""
        return sum(getattr(letter.font, what) for letter in self.letters) / len(self.letters)

    @cached_property
    def mono(self) -> bool:
        """Whether it is in a font whose letters are equally wide, but for a sign or two."""
        return self.share("mono") > 0.85

    @cached_property
    def read(self) -> list[tuple[str, Letter]]:
        """The characters of its text, each with the letter that it comes from; without marks of footnotes."""
        found: list[tuple[str, Letter]] = []
        marks = any(letter.font.size < 0.8 * self.size for letter in self.letters)
        for number, letter in enumerate(self.letters):
            if found and marks and self.is_mark(number):
                continue
            if found and letter.spaced:
                gap = letter.left - found[-1][1].right
                found += [(" ", letter)] * (max(1, round(gap / (0.6 * self.size))) if self.mono else 1)
            found += [(char, letter) for char in clean(letter.char)]
        return found

    @cached_property
    def text(self) -> str:
        return "".join(char for char, _ in self.read)

    def is_mark(self, number: int) -> bool:
        """Whether a letter is part of a footnote's mark: a small raised digit behind a word or a sign."""
        letters, start = self.letters, number
        while start and self.is_raised(letters[start]) and not letters[start].spaced:
            start -= 1
        if start == number or self.is_raised(letters[start]):
            return False
        before = "".join(letter.char for letter in letters[max(0, start - 2) : start + 1])
        after = letters[number + 1].char if number + 1 < len(letters) else ""
        return after not in ("/", "\u2044") and bool(re.search(r"[^\W\d_]{3}$|[.,;:!?)\]”\"’']$", before))

    def is_raised(self, letter: Letter) -> bool:
        small = letter.font.size < 0.8 * self.size and letter.base > self.base + 0.15 * self.size
        return small and (letter.char.isdigit() or letter.char in ")*†‡")


@lru_cache(maxsize=4096)
def clean(char: str) -> str:
    """A character as it is to be read: ligatures as their letters, hyphens as pdfium marks them (2), no controls."""
    if char in ("\x02", "\xad", "\u2010", "\u2011"):
        return "-"
    if "\ufb00" <= char <= "\ufb06":
        return unicodedata.normalize("NFKC", char)
    return "" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co") else char


@dataclass
class Raw:
    """A page before it is understood: its size, lines in no order of reading, rules, and whether it shows pictures.

    `broken` is the share of its letters that stand for nothing (fonts without a table of characters).
    """

    width: float
    height: float
    lines: list[Line]
    rules: list[Rule]
    pictures: bool = False
    broken: float = 0.0
    scanned: bool = False


def read_page(page: Any) -> Raw:
    """A page of pdfium."""
    width, height = page.get_size()
    place = placing(page)
    rules, pictures = drawn(page, place)
    letters = list(letters_of(page, place))
    broken = sum(
        unicodedata.category(letter.char) in ("Cn", "Co", "Cc") or letter.char == "\ufffd" for letter in letters
    )
    return Raw(width, height, lines_of(letters, rules), rules, pictures, broken / max(1, len(letters)))


def placing(page: Any) -> Any:
    """A function from a point of the page's own to one of the page as it is shown: cropped and turned."""
    left, bottom, right, top = page.get_cropbox()
    turned = page.get_rotation()
    if turned == 90:
        return lambda x, y: (y - bottom, right - x)
    if turned == 180:
        return lambda x, y: (right - x, top - y)
    if turned == 270:
        return lambda x, y: (top - y, x - left)
    return lambda x, y: (x - left, y - bottom)


def letters_of(page: Any, place: Any) -> Iterable[Letter]:
    """The letters of a page in the order of the file, upright ones alone (a page's watermark or stamp is not)."""
    import ctypes
    import math

    import pypdfium2.raw as pdfium

    text = page.get_textpage()
    raw, turned = text.raw, math.radians(page.get_rotation())
    box, x, y = pdfium.FS_RECTF(), ctypes.c_double(), ctypes.c_double()
    code_of, owner_of, box_of, origin_of = (
        pdfium.FPDFText_GetUnicode, pdfium.FPDFText_GetTextObject, pdfium.FPDFText_GetLooseCharBox,
        pdfium.FPDFText_GetCharOrigin,
    )  # fmt: skip
    known: dict[int, Font | None] = {0: None}
    spaced = False
    for number in range(min(pdfium.FPDFText_CountChars(raw), MOST_LETTERS)):
        char = chr(code_of(raw, number))
        if (char <= " " and char != "\x02") or char.isspace():
            spaced = True
            continue
        pointer = owner_of(raw, number)
        owner = ctypes.addressof(pointer.contents) if pointer else -number - 1
        if owner not in known:
            angle = pdfium.FPDFText_GetCharAngle(raw, number) + turned
            known[owner] = font_of(raw, number) if math.cos(angle) > 0.9 else None
        font = known[owner]
        if font is None or not box_of(raw, number, box):
            continue
        origin_of(raw, number, x, y)
        (a, _), (b, _), (_, base) = place(box.left, box.bottom), place(box.right, box.top), place(x.value, y.value)
        yield Letter(char, a if a < b else b, b if a < b else a, round(base, 1), font, spaced)
        spaced = False
    text.close()


def font_of(raw: Any, number: int) -> Font:
    """The font of a letter, its size as it is shown."""
    import ctypes

    import pypdfium2.raw as pdfium

    matrix, flags, name = pdfium.FS_MATRIX(), ctypes.c_int(), ctypes.create_string_buffer(128)
    size = pdfium.FPDFText_GetFontSize(raw, number)
    if pdfium.FPDFText_GetMatrix(raw, number, matrix):
        size *= (matrix.c**2 + matrix.d**2) ** 0.5
    pdfium.FPDFText_GetFontInfo(raw, number, name, len(name), flags)
    called, bits = name.value.decode("utf-8", "replace").lower(), flags.value
    mono = bool(bits & 1) or bool(re.search(r"mono|courier|consol|typewriter|menlo|sourcecode|tt(\d+|-.*)?$", called))
    bold = bool(bits & 1 << 18) or bool(re.search(r"bold|black|heavy|cmbx", called))
    italic = bool(bits & 1 << 6) or bool(re.search(r"italic|oblique|cmti|cmsl", called))
    return Font(round(size, 1), mono, bold or pdfium.FPDFText_GetFontWeight(raw, number) >= 600, italic)


def drawn(page: Any, place: Any) -> tuple[list[Rule], bool]:
    """The rules of a page, and whether it has a picture that fills a good part of it."""
    import pypdfium2.raw as pdfium

    rules, area = [], 0.0
    wanted = (pdfium.FPDF_PAGEOBJ_PATH, pdfium.FPDF_PAGEOBJ_IMAGE)
    for number, item in enumerate(page.get_objects(wanted, max_depth=3)):
        if number > 20_000:  # a map or a plot: none of its lines rules a table
            break
        left, bottom, right, top = item.get_bounds()
        (left, bottom), (right, top) = place(left, bottom), place(right, top)
        left, right, bottom, top = min(left, right), max(left, right), min(bottom, top), max(bottom, top)
        if item.type == pdfium.FPDF_PAGEOBJ_IMAGE:
            area += (right - left) * (top - bottom)
        elif min(right - left, top - bottom) < 2.5 and max(right - left, top - bottom) > 5:
            rules.append(Rule(left, bottom, right, top))
    width, height = page.get_size()
    return rules, area > 0.1 * width * height


def lines_of(letters: list[Letter], rules: list[Rule]) -> list[Line]:
    """Letters in the order of the file as lines; of those that end up side by side without a gap, one is made."""
    upright = [rule for rule in rules if rule.upright]
    lines: list[Line] = []
    for letter in letters:
        if lines and follows(lines[-1].letters, letter, upright):
            lines[-1].letters.append(letter)
        else:
            lines.append(Line([letter]))
    return join_neighbours([Line(spaced(line.letters)) for line in lines], upright)


def follows(before: list[Letter], letter: Letter, upright: list[Rule]) -> bool:
    """Whether a letter goes on the line that these are."""
    last = before[-1]
    size = max(last.font.size, letter.font.size, before[0].font.size)
    scripts = min(last.font.size, letter.font.size) < 0.85 * size
    level = min(abs(letter.base - last.base), abs(letter.base - before[0].base)) <= (0.55 if scripts else 0.3) * size
    if level and abs(letter.left - last.left) < 0.1:  # two letters of a ligature
        return True
    gap = letter.left - last.right
    room = 12 * APART if last.font.mono and letter.font.mono else APART
    return level and -0.6 * size < gap < room * size and not (gap > 0 and ruled(last, letter, upright))


def ruled(last: Letter, letter: Letter, upright: list[Rule]) -> bool:
    """Whether a rule stands between two letters."""
    middle = letter.base + 0.3 * letter.font.size
    return any(last.right - 1 <= r.left <= letter.left + 1 and r.bottom <= middle <= r.top for r in upright)


def spaced(letters: list[Letter]) -> list[Letter]:
    """The letters, each marked as spaced where the gap before it is one."""
    found = letters[:1]
    for letter in letters[1:]:
        wide = letter.left - found[-1].right > SPACE * letter.font.size
        found.append(letter._replace(spaced=True) if wide and not letter.spaced else letter)
    return found


def join_neighbours(lines: list[Line], upright: list[Rule]) -> list[Line]:
    """Lines that go on each other, though something else lies between them in the file, as one."""
    found: list[Line] = []
    for line in sorted(lines, key=lambda line: (-round(line.base), line.left)):
        for other in reversed(found[-8:]):
            last, size = other.letters[-1], max(line.size, other.size)
            level = abs(line.base - other.base) <= 0.3 * size
            if (
                level
                and -0.1 * size <= line.left - last.right <= 0.5 * size
                and not ruled(last, line.letters[0], upright)
            ):
                wide = line.left - last.right > SPACE * size
                first = line.letters[0]._replace(spaced=wide or line.letters[0].spaced)
                found[found.index(other)] = Line([*other.letters, first, *line.letters[1:]])
                break
        else:
            found.append(line)
    return found
