"""From lines to blocks: what runs along every page goes, headings get their level, words broken at line ends are whole.

What needs the whole document is seen here first: the size of its plain text, its outline, what repeats from page to
page, and which words it has, to tell a hyphen of a word from one of a line's end.
"""

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from week11_rag.columns import Item, Table, in_reading_order
from week11_rag.lines import Line, Raw
from week11_rag.pages import Block, Kind, around

BULLET = re.compile(r"(?:[•◦▪‣●○■□–—∙·*o-]|\(?(?:\d{1,3}|[a-z]|[ivx]{1,4})[.)])\s+\S")
NUMBERED = re.compile(r"^(?i:chapter|part|appendix)?\s*((?:\d+|[A-Z])(?:\.\d+)*)\.?\s+(?=\S)")
CONTENTS = re.compile(r"(?:\.\s?){4,}\s*\w{0,6}$|…+\s*\w{0,6}$")
CONTINUES = re.compile(r"\((?:continue[sd]|continuation).{0,20}page\)", re.IGNORECASE)
ARROWS = ("˓→", ",→", "↪", "↳")  # what shows that a line of code was too long
LABEL = re.compile(r"(?:chapter|part|appendix)(?: \w{1,9})?", re.IGNORECASE)  # above the title of a chapter
ENDS = (".", "!", "?", ":", "。", "”", '"')
EDGE = {"top": 0.12, "bottom": 0.17}  # of the page's height, where running lines stand


@dataclass(frozen=True)
class Entry:
    """A heading in the outline of a PDF: its level from 1, its title, and its page from 1."""

    level: int
    title: str
    page: int


@dataclass
class Style:
    """What is usual in a document: the size of its text and the distance of its lines (in sizes), the words in it, its
    outline by page, sizes of headings."""

    body: float
    pitch: float
    words: Counter[str]
    outline: dict[int, dict[str, Entry]]
    sizes: list[float] = field(default_factory=list)


def blocks_of(raws: Sequence[Raw], outline: Sequence[Entry]) -> tuple[list[list[Block]], list[str]]:
    """The blocks of each page of a document, and notes on what was left out.

    Args:
        raws: its pages.
        outline: its bookmarks, where it has some.
    """
    running = running_lines(raws, outline)
    kept = [[line for line in raw.lines if id(line) not in running] for raw in raws]
    contents = {number for number, lines in enumerate(kept) if is_contents(lines)}
    kept = [[] if number in contents else lines for number, lines in enumerate(kept)]
    style = style_of(kept, outline)
    ordered = [in_reading_order(lines, raw.rules) for lines, raw in zip(kept, raws, strict=True)]
    style.sizes = heading_sizes(ordered, style)
    pages = [
        [block for column in columns for block in column_blocks(column, number, style)]
        for number, columns in enumerate(ordered, 1)
    ]
    notes = [f"left out the table of contents: {page_list(sorted(n + 1 for n in contents))}"] if contents else []
    return pages, notes


def page_list(numbers: Sequence[int]) -> str:
    """`page 3`, `pages 3-5, 8`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    said = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)
    return f"page{'s' * (len(numbers) > 1)} {said}"


# ---------------------------------------------------------------- what runs along the pages


def running_lines(raws: Sequence[Raw], outline: Sequence[Entry] = ()) -> set[int]:
    """The ids of lines that are headers, footers and page numbers.

    They stand at the same height of many pages, close to the edge, and say the same; or have a number in them that
    grows with the pages; or are on most pages, well apart from the text. Headings of the outline are never among them,
    nor are larger ones that say something else on each page: titles of slides.
    """
    sizes = Counter(line.size for raw in raws for line in raw.lines for _ in line.letters)
    title = 1.2 * sizes.most_common(1)[0][0] if sizes else 0.0
    titles = {(entry.page, key(entry.title)) for entry in outline}
    places: dict[tuple[str, int, float], list[tuple[int, list[Line], bool]]] = defaultdict(list)
    for number, raw in enumerate(raws, 1):
        for edge, row, apart in edge_rows(raw):
            if (number, key(text_of(row))) not in titles:
                places[edge, round(row[0].base / 4), row[0].size].append((number, row, apart))
    found: set[int] = set()
    many = max(3, 0.02 * len(raws)) if len(raws) > 3 else 2
    for (edge, place, size), rows in places.items():
        near = rows + [row for step in (-1, 1) for row in places.get((edge, place + step, size), [])]
        texts = Counter(text_of(row) for _, row, _ in near)
        offsets = Counter(offset for number, row, _ in near for offset in offsets_of(row, number))
        grows = {offset for offset, count in offsets.items() if count >= max(many, 0.3 * len(near))}
        usual = len(near) > 2 and len(near) >= 0.6 * len(raws) and sum(a for _, _, a in near) >= 0.9 * len(near)
        for number, row, _ in rows:
            counted = size < title and (usual or grows & set(offsets_of(row, number)))
            if counted or texts[text_of(row)] >= many:
                found |= {id(line) for line in row}
    if len(raws) == 1:
        alone = re.compile(r"\W*(page )?\d+([-–.]\d+)?( (of|/) \d+)?\W*", re.IGNORECASE)
        found |= {id(line) for _, row, _ in edge_rows(raws[0]) for line in row if alone.fullmatch(text_of(row))}
    return found


def edge_rows(raw: Raw) -> list[tuple[str, list[Line], bool]]:
    """The two uppermost and the two lowest rows of a page, where they stand at its edge; and whether each is the
    outermost one and well apart from the next."""
    rows: dict[float, list[Line]] = {}
    for line in sorted(raw.lines, key=lambda line: -line.base):
        near = next((base for base in rows if abs(base - line.base) < 0.3 * line.size), line.base)
        rows.setdefault(near, []).append(line)
    ordered = [sorted(row, key=lambda line: line.left) for row in rows.values()]
    found = []
    for edge, outer in (("top", ordered[:3]), ("bottom", ordered[:-4:-1])):
        for place, row in enumerate(outer[:2]):
            base, size = row[0].base, row[0].size
            apart = place == 0 and len(outer) > 1 and abs(base - outer[1][0].base) > 2.2 * size
            if (raw.height - base if edge == "top" else base) < EDGE[edge] * raw.height:
                found.append((edge, row, apart))
    return found


def text_of(row: Sequence[Line]) -> str:
    return " ".join(line.text for line in row)


def offsets_of(row: Sequence[Line], number: int) -> list[int]:
    """By how much each number of a row differs from that of its page; roman ones count, too."""
    words = re.findall(r"\b\d{1,4}\b|\b[ivxlc]{1,7}\b", text_of(row).lower())
    return (
        [(int(word) if word.isdigit() else 10_000 + roman(word)) - number for word in {words[0], words[-1]}]
        if words
        else []
    )


def roman(word: str) -> int:
    values = [{"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}[letter] for letter in word]
    return sum(-value if value < max(values[at:]) else value for at, value in enumerate(values))


def is_contents(lines: Sequence[Line]) -> bool:
    """Whether a page is a table of contents: most of its lines end in dots and a number."""
    dotted = sum(bool(CONTENTS.search(line.text)) for line in lines)
    return dotted >= 4 and dotted >= 0.5 * len(lines)


# ---------------------------------------------------------------- the document's style


def style_of(pages: Sequence[Sequence[Line]], outline: Sequence[Entry]) -> Style:
    """What is usual in a document."""
    sizes: Counter[float] = Counter()
    words: Counter[str] = Counter()
    for line in (line for lines in pages for line in lines):
        if not line.mono:
            sizes[line.size] += len(line.letters)
        words.update(re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*(?!-?$)", line.text.lower()))
    by_page: dict[int, dict[str, Entry]] = defaultdict(dict)
    for entry in outline:
        by_page[entry.page].setdefault(key(entry.title), entry)
    body = sizes.most_common(1)[0][0] if sizes else 10.0
    return Style(body, leading([line for lines in pages for line in lines], body) / body, words, by_page)


def key(text: str) -> str:
    """What of a heading is compared: its letters and digits, without its number in front."""
    return re.sub(r"\W|_", "", NUMBERED.sub("", text.strip(), count=1).casefold()) or re.sub(
        r"\W|_", "", text.casefold()
    )


def heading_sizes(pages: Sequence[Sequence[Sequence[Item]]], style: Style) -> list[float]:
    """The sizes of lines that are larger than the text, the largest first; those on one page alone, as a title, too."""
    found = Counter(
        line.size for columns in pages for column in columns for line in column
        if isinstance(line, Line) and line.size >= 1.12 * style.body and len(line.letters) < 150
    )  # fmt: skip
    return sorted(found, reverse=True)


def heading_level(lines: Sequence[Line], page: int, style: Style, after: Item | None) -> int:
    """The level of a heading that these lines are, or 0 where they are none."""
    text = " ".join(line.text for line in lines)
    entry = style.outline.get(page, {}).get(key(text))
    first = lines[0]
    larger = first.size >= 1.12 * style.body
    marked = first.share("bold") > 0.9 or first.share("italic") > 0.9
    if entry and (larger or marked or key(text) != key(entry.title) or len(text) < 100):
        return entry.level
    number = NUMBERED.match(text)
    deep = number and "." in number[1]
    ends = (",", ";", ":", "-") if larger and deep else (".", ",", ";", ":", "-")
    short = len(text) <= 120 and not text.endswith(ends) and re.search(r"[^\W\d_]{2}", text)
    if not short or first.mono or (len(style.outline) >= 5 and not larger and not deep):
        return 0
    if larger:
        return number[1].count(".") + 1 if number and number[1][:1].isdigit() else style.sizes.index(first.size) + 1
    plain = isinstance(after, Line) and after.share("bold") < 0.5 and after.share("italic") < 0.5
    close = isinstance(after, Line) and 0 < first.base - after.base < 3 * style.body
    if marked and first.size >= 0.95 * style.body and plain and close and (deep or text[:1].isupper()):
        return number[1].count(".") + 1 if number and number[1][:1].isdigit() else len(style.sizes) + 1
    return 0


# ---------------------------------------------------------------- blocks


def column_blocks(column: Sequence[Item], page: int, style: Style) -> list[Block]:
    """The blocks of a column of a page."""
    blocks: list[Block] = []
    column = without_labels(column, page, style)
    lines = [line for line in column if isinstance(line, Line)]
    right = max((line.right for line in lines), default=0.0)
    at = 0
    while at < len(column):
        item = column[at]
        if isinstance(item, Table):
            blocks.append(Block(page, item.text, "table", item.box))
            at += 1
            continue
        count, level = heading_at(column, at, page, style)
        if level:
            taken = [line for line in column[at : at + count] if isinstance(line, Line)]
            blocks.append(block(taken, "heading", page, style, level))
            at += count
            continue
        taken = [item]
        at += 1
        while at < len(column) and isinstance(following := column[at], Line):
            if starts_block(taken, following, style.pitch, right) or heading_at(column, at, page, style)[1]:
                break
            taken.append(following)
            at += 1
        taken = [line for line in taken if not CONTINUES.fullmatch(line.text.strip())]
        if taken:
            blocks.append(block(taken, kind_of(taken), page, style))
    return blocks


def without_labels(column: Sequence[Item], page: int, style: Style) -> list[Item]:
    """The column without `CHAPTER` and `ONE`, where the title of a chapter stands below them."""
    items = list(column)
    for at, item in enumerate(items[:1]):
        if not (isinstance(item, Line) and LABEL.fullmatch(item.text.strip())):
            break
        for count in (2, 1):
            short = all(isinstance(one, Line) and len(one.text) < 12 for one in items[at : at + count])
            if short and len(items) > count and heading_at(items, at + count, page, style)[1] == 1:
                return items[at + count :]
    return items


def heading_at(column: Sequence[Item], at: int, page: int, style: Style) -> tuple[int, int]:
    """How many lines from here on are a heading, and its level; (0, 0) where none begins."""
    first = column[at]
    if not isinstance(first, Line):
        return 0, 0
    run = [first]
    for line in column[at + 1 : at + 8]:
        if not isinstance(line, Line) or abs(line.size - first.size) > 0.5 or run[-1].base - line.base > 2 * first.size:
            break
        run.append(line)
    for count in range(len(run), 0, -1):  # the longest that the outline knows
        if key(text_of(run[:count])) in style.outline.get(page, {}):
            level = heading_level(run[:count], page, style, None)
            if level:
                return count, level
    if first.size >= 1.12 * style.body:
        level = heading_level(run, page, style, None)
        return (len(run), level) if level else (0, 0)
    after = column[at + 1] if at + 1 < len(column) else None
    return 1, heading_level([first], page, style, after)


def leading(lines: Sequence[Line], size: float = 0.0) -> float:
    """The most usual distance of two lines that follow each other (of a size, if one is given)."""
    steps = Counter(
        round(2 * (a.base - b.base)) / 2 for a, b in pairwise(lines)
        if 0.9 * a.size < a.base - b.base < 2.2 * a.size and (not size or a.size == b.size == size)
    )  # fmt: skip
    return max(steps, key=lambda step: (steps[step], -step)) if steps else 1.2 * (size or 10.0)


def starts_block(block: Sequence[Line], line: Line, pitch: float, right: float) -> bool:
    """Whether a line begins another block than the lines before it are."""
    last, first, size = block[-1], block[0], block[-1].size
    step, pitch = last.base - line.base, pitch * size
    if first.mono and line.text.startswith(ARROWS):
        return False
    other = abs(line.size - size) > 0.05 * size or abs(line.left - last.left) > size or step > 1.2 * pitch
    if first.mono != line.mono and other:
        return True
    if first.mono and line.mono:
        return step > 2.5 * pitch
    note = line.letters[0].char.isdigit() and line.letters[0].font.size < 0.85 * line.size
    if abs(line.size - size) > 0.12 * size or BULLET.match(line.text) or note:
        return True
    if step > 1.3 * pitch or step < -size:
        return True
    hanging = BULLET.match(first.text) is not None
    if hanging and line.left < first.left + 0.5 * size:
        return True
    ended = last.text.endswith(ENDS)
    if not hanging and len(block) > 0 and line.left > last.left + 0.8 * size and ended:
        return True
    return ended and last.right < right - 0.25 * (right - first.left) and line.text[:1].isupper() and len(block) > 1


def kind_of(lines: Sequence[Line]) -> Kind:
    """What a block is that is no heading and no table."""
    coded = sum(line.mono or line.text.startswith(ARROWS) for line in lines)
    if lines[0].mono and coded > 0.7 * len(lines):
        return "code"
    return "list" if BULLET.match(lines[0].text) else "paragraph"


def block(lines: Sequence[Line], kind: Kind, page: int, style: Style, level: int = 0) -> Block:
    """The block that these lines are."""
    text = code(lines) if kind == "code" else join([line.text for line in lines], style.words)
    entry = style.outline.get(page, {}).get(key(text)) if kind == "heading" and text.isupper() else None
    text = entry.title if entry else text  # CAPITALS OF A CHAPTER are nicer to read as the outline has them
    return Block(page, text, kind, around([line.box for line in lines]), level)


def code(lines: Sequence[Line]) -> str:
    """Lines of code with their indents and empty lines, as far as one can see them."""
    left, pitch = min(line.left for line in lines), leading(lines)
    wide = statistics.median([letter.right - letter.left for line in lines for letter in line.letters]) or 6.0
    text, last = "", None
    for line in lines:
        if last is not None and line.text.startswith(ARROWS):
            text += line.text.lstrip("".join(ARROWS))
            last = line
            continue
        if last is not None:
            text += "\n" * max(1, min(2, round((last.base - line.base) / pitch)))
        text += " " * round((line.left - left) / wide) + line.text
        last = line
    return text


def join(texts: Sequence[str], words: Counter[str]) -> str:
    """Lines as running text: broken words are whole again, addresses have no gaps."""
    found = ""
    for text in texts:
        found = glue(found, text, words) if found else text
    return re.sub(" {2,}", " ", found)


def glue(before: str, after: str, words: Counter[str]) -> str:
    """Two lines as one text."""
    last, first = re.split(r"\s", before)[-1], re.split(r"\s", after)[0]
    if re.search(r"[\u3040-\u30ff\u4e00-\u9fff]$", before) and re.match(r"[\u3040-\u30ff\u4e00-\u9fff]", after):
        return before + after
    address = "://" in last or "@" in last or last.startswith(("www.", "/", "~")) or last in ("http:", "https:")
    if last.count("/") > 1 and last.endswith("/") and re.match(r"\w", first):
        return before + after
    address |= (last.endswith("/") and len(last) > 2) or bool(re.search(r"\w\.\w+\.$|^(www|ftp|lists)\.$", last))
    if address and re.search(r"[/.:_=?&#@-]$", last) and re.match(r"[a-z0-9/~%]", first):
        return before + after
    broken = re.search(r"([^\W\d_]+)-$", last)
    following = re.match(r"[^\W\d_]+", first)
    if broken and following and not re.search(r"\d-$", last):
        whole, hyphened = (broken[1] + following[0]).lower(), f"{broken[1]}-{following[0]}".lower()
        if first[:1].isupper() or words[hyphened] > words[whole]:
            return before + after
        return before[:-1] + after
    return f"{before} {after}"
