"""Cuts en_fr_15k.tsv.gz, the English and French sentences of weeks 5 and 6, from LibreOffice's help in both languages.

Two packages of Debian 12 hold the help as HTML: libreoffice-help-en-us and libreoffice-help-fr, version
4:7.4.7-1+deb12u14. A page has the same blocks (headings, paragraphs, cells) in both languages, in the same order. Left
out are pages where it has not, blocks whose text differs by platform or was never translated, and those that fall into
another number of sentences in French. Kept are sentences of three to twelve words, each pair once.

A split is drawn (seed 0) by the English sentence, whatever its capitals and punctuation: none of test is in train with
another translation. Of the English sentences 1,000 are for val and 1,000 for test, with all their translations.

    apt-get download libreoffice-help-en-us libreoffice-help-fr
    python -m shared.samples.cut_en_fr libreoffice-help-en-us_*.deb libreoffice-help-fr_*.deb
"""

import gzip
import io
import re
import sys
import tarfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from shared.files import written_whole

BLOCKS = {"h1", "h2", "h3", "h4", "h5", "h6", "p"}
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-ZÀ-ÖØ-Þ«])")
MOST, HELD_OUT = 15_000, 1_000


class Blocks(HTMLParser):
    """The texts of a page's headings and paragraphs, in order; None for one that differs by platform or holds code."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str | None] = []
        self.text: list[str] | None = None
        self.odd = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in BLOCKS:
            self.text, self.odd = [], False
        kind = dict(attributes).get("class") or ""
        self.odd |= tag in ("pre", "code", "input") or any(word in kind for word in ("switch", "code", "literal"))

    def handle_endtag(self, tag: str) -> None:
        if tag in BLOCKS and self.text is not None:
            self.found.append(None if self.odd else " ".join("".join(self.text).split()))
            self.text = None

    def handle_data(self, data: str) -> None:
        if self.text is not None:
            self.text.append(data)


def pages(package: Path, language: str) -> dict[str, list[str | None]]:
    """{path of a page: its blocks} of a .deb, an ar archive with a tar archive in it."""
    raw, at = package.read_bytes(), 8
    while not raw[at:].startswith(b"data.tar"):
        size = int(raw[at + 48 : at + 58])
        at += 60 + size + size % 2
    data = raw[at + 60 : at + 60 + int(raw[at + 48 : at + 58])]
    found, start = {}, f"./usr/share/libreoffice/help/{language}/text/"
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            if member.isfile() and member.name.startswith(start) and member.name.endswith(".html"):
                html = archive.extractfile(member).read().decode()
                parser = Blocks()
                parser.feed(html[html.index('id="DisplayArea"') :] if 'id="DisplayArea"' in html else "")
                found[member.name.removeprefix(start)] = parser.found
    return found


def words(sentence: str) -> list[str]:
    return re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", sentence)


def key(sentence: str) -> str:
    """What decides the split: the words of a sentence."""
    return " ".join(words(sentence)).lower()


def fit(english: str, french: str) -> bool:
    """Whether a pair is of three to twelve words on either side, translated, and a sentence rather than a list."""
    counts = len(words(english)), len(words(french))
    odd = any(re.search(r"[<>{}\[\]|=\\_@#$]|\.\w|\w:\S|\d{3}|^\W|^Title is|, ?,", text) for text in (english, french))
    even = max(counts) <= 2.2 * min(counts) + 1
    return min(counts) >= 3 and max(counts) <= 12 and key(english) != key(french) and even and not odd


def pairs(english: Path, french: Path) -> list[tuple[str, str]]:
    """All pairs of sentences, each once, in the order of the pages."""
    ours, theirs = pages(english, "en-US"), pages(french, "fr")
    found: dict[tuple[str, str], None] = {}
    for name in sorted(ours.keys() & theirs.keys()):
        if len(ours[name]) != len(theirs[name]):
            continue
        for one, other in zip(ours[name], theirs[name], strict=True):
            if one and other and one != other:
                many, others = SENTENCE_END.split(one), SENTENCE_END.split(other)
                if len(many) == len(others):
                    found |= dict.fromkeys(pair for pair in zip(many, others, strict=True) if fit(*pair))
    return list(found)


if __name__ == "__main__":
    found = pairs(Path(sys.argv[1]), Path(sys.argv[2]))
    by_source: dict[str, list[tuple[str, str]]] = {}
    for pair in found:
        by_source.setdefault(key(pair[0]), []).append(pair)
    rng = np.random.RandomState(0)
    sources = list(by_source)
    lines, taken = [], 0
    for place, row in enumerate(rng.permutation(len(sources))):
        split = "val" if place < HELD_OUT else "test" if place < 2 * HELD_OUT else "train"
        group = by_source[sources[row]]
        if taken + len(group) <= MOST:
            lines += ["\t".join((*pair, split)) + "\n" for pair in group]
            taken += len(group)
    with written_whole(Path(__file__).parent / "en_fr_15k.tsv.gz") as temporary:
        text = "source\ttarget\tsplit\n" + "".join(lines)
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))  # no date: same lines, same bytes
    print(f"{len(found)} pairs, {len(sources)} English sentences; kept {taken}")
