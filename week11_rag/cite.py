"""Claims and where they stand: what an answer says is tied to words of a passage, checked letter by letter.

A claim is a sentence of the answer. It is supported where a few sentences in a row of one passage, or of two, have
its words: all of its numbers and names, most of the others, and a "not" where it has one. What a model writes as its
source, [2], says where to look first, and no more. This is a check of words, not of logic: a claim that turns round who
does what to whom has the right words, too. What is shown is therefore always the claim beside the words it rests on.

References
    N. F. Liu, T. Zhang, P. Liang, arXiv:2304.09848: answers of search engines, and whether what they cite supports them
    T. Gao et al., arXiv:2305.14627 (ALCE): citation recall and precision
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

from week11_rag import wording
from week11_rag.chunks import Chunk
from week11_rag.retrieve import Passage

COVERED = 0.6  # the least share of a claim's words that its sources have, and of those that the question has not
COVERED_BESIDE = 0.4  # the same where a number or a name, which nobody can paraphrase, is among the new ones
WINDOW = 4  # sentences in a row that may support a claim together
OPEN = frozenset({"who", "whom", "whose", "what", "which", "when", "where", "why", "how"})  # no yes or no will do
CANDIDATES = 10  # spans that are looked at closely
LONGEST = 700  # characters of a quote
MARKER = re.compile(r"\s*[\[【](\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*)[\]】]")
BULLET = re.compile(r"^\s*(?:[-*•–]|\(?\d{1,2}[.)])\s+")
SIGNS = str.maketrans("“”„’‘`´", "\"\"\"''''")


@dataclass(frozen=True)
class Citation:
    """Words of a document that support a claim.

    Attributes:
        number: as it stands in the answer, [1]; in the order in which the answer needs them.
        document: the id of the document.
        name: the document's name.
        page: where the quote begins.
        quote: the words, as the chunk has them: chunk.text[start:end].
        start, end: where, in the chunk's text.
        chunk: the id of the chunk.
        pieces: (page, words) of each page that the quote is on: one, or two where it runs over a page break.
    """

    number: int
    document: str
    name: str
    page: int
    quote: str
    start: int
    end: int
    chunk: str = ""
    pieces: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Claim:
    """A sentence of an answer, without markers, and the numbers of the citations that support it."""

    text: str
    numbers: tuple[int, ...]

    def __str__(self) -> str:
        """With its markers, before the full stop: `It is called sid [1].`"""
        end = re.search(r"[.!?:]*$", self.text).start()  # type: ignore[union-attr]
        return f"{self.text[:end]} {''.join(f'[{number}]' for number in self.numbers)}{self.text[end:]}"


@dataclass(frozen=True)
class Grounded:
    """What is left of an answer: its claims that have support, and the citations; `dropped` are the others."""

    claims: tuple[Claim, ...]
    citations: tuple[Citation, ...]
    dropped: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The claims with their markers: `It is called sid [1]. …`."""
        return " ".join(map(str, self.claims))


@dataclass(frozen=True)
class Span:
    """Sentences in a row of a passage: passages[place].chunk.text[start:end]."""

    place: int
    start: int
    end: int


# ---------------------------------------------------------------- the same words


@lru_cache(maxsize=4_096)
def folded(text: str) -> tuple[str, tuple[int, ...]]:
    """A text without what differs between a page and a quote from it: spaces, line breaks, hyphens, shapes of quotation
    marks. And, for each character of that, where it stands in the text."""
    kept, places = [], []
    for place, char in enumerate(text.translate(SIGNS)):
        for part in unicodedata.normalize("NFKC", char):
            if not part.isspace() and unicodedata.category(part) not in ("Pd", "Cf", "Cc"):
                kept.append(part)
                places.append(place)
    return "".join(kept), tuple(places)


def same(one: str, other: str) -> bool:
    """Whether two texts have the same words, but for a list's mark in front and the full stop."""
    first, second = (folded(BULLET.sub("", text))[0].casefold().rstrip(".;:,") for text in (one, other))
    return first == second


def find(quote: str, text: str) -> tuple[int, int] | None:
    """Where a quote stands in a text, as (start, end); None where it does not, word for word. Whole words only."""
    needle, (hay, places) = folded(quote)[0], folded(text)
    at = hay.find(needle) if needle else -1
    while at >= 0:
        start, end = places[at], places[at + len(needle) - 1] + 1
        if not _inside(text, start) and not _inside(text, end):
            return start, end
        at = hay.find(needle, at + 1)
    return None


def _inside(text: str, place: int) -> bool:
    """Whether a word runs over this place."""
    return 0 < place < len(text) and text[place - 1].isalnum() and text[place].isalnum()


def pieces(chunk: Chunk, start: int, end: int) -> tuple[tuple[int, str], ...]:
    """(page, words) of chunk.text[start:end], page by page."""
    found = [
        (page, chunk.text[max(start, a) : min(end, b)].strip()) for page, a, b in chunk.spans if a < end and start < b
    ]
    return tuple((page, words) for page, words in found if words)


# ---------------------------------------------------------------- what a model wrote


def parse(text: str) -> list[tuple[str, tuple[int, ...]]]:
    """(sentence without markers, the numbers of its markers) of each sentence of an answer.

    Markers behind a full stop belong to the sentence before it; `[1, 3]`, `[1][3]` and `[1-3]` are understood.
    """
    found: list[tuple[str, tuple[int, ...]]] = []
    for start, end in wording.sentences(text):
        sentence = text[start:end]
        ahead = re.match(rf"(?:{MARKER.pattern})+", sentence)
        if ahead and found:  # left over from the sentence before
            found[-1] = (found[-1][0], (*found[-1][1], *numbers(ahead[0])))
            sentence = sentence[ahead.end() :]
        claim = BULLET.sub("", MARKER.sub("", sentence).strip())
        if any(char.isalnum() for char in claim):
            found.append((claim, numbers(sentence)))
    return found


def numbers(text: str) -> tuple[int, ...]:
    """The numbers of the markers in a text, each once."""
    found: list[int] = []
    for match in MARKER.finditer(text):
        for part in re.split(r"[,;]", match[1]):
            low, *high = (int(number) for number in re.findall(r"\d+", part))
            found += range(low, (high[0] if high and low <= high[0] < low + 20 else low) + 1)
    return tuple(dict.fromkeys(found))


# ---------------------------------------------------------------- what supports it


class Grounder:
    """Grounds an answer sentence by sentence, so that each can be shown as soon as it is checked.

    Args:
        passages: what the model was given, in the order of the prompt: its marker [n] means passages[n - 1].
        question: what was asked.
        barred: sentences, as (place of the passage, start, end), that support nothing.
    """

    def __init__(
        self, passages: Sequence[Passage], question: str = "", barred: Sequence[tuple[int, int, int]] = ()
    ) -> None:
        self.passages, self.asked = passages, set(wording.content(question))
        self.open = any(word in OPEN for word in wording.words(question))
        no = set(barred)
        self.sentences = [
            [s for s in wording.sentences(p.chunk.text) if (place, *s) not in no] for place, p in enumerate(passages)
        ]
        self.claims: list[Claim] = []
        self.citations: list[Citation] = []
        self.dropped: list[str] = []
        self.repeated = self.declined = False
        self._known: dict[tuple[str, int, str], int] = {}

    def add(self, claim: str, markers: Sequence[int] = ()) -> Claim | None:
        """Checks a sentence. Returns it with its sources; None where it has none, or was said before (`repeated`)."""
        self.repeated = any(same(claim, old.text) for old in self.claims) or claim in self.dropped
        if self.repeated:
            return None
        spans = self.support(claim, [number - 1 for number in markers if 1 <= number <= len(self.passages)])
        if not spans:
            self.dropped.append(claim)
            return None
        found = Claim(claim, tuple(dict.fromkeys(self._cite(span) for span in spans)))
        self.claims.append(found)
        return found

    def result(self) -> Grounded:
        """All so far."""
        return Grounded(tuple(self.claims), tuple(self.citations), tuple(self.dropped))

    def support(self, claim: str, first: Sequence[int] = ()) -> list[Span]:
        """The sentences that support a claim: one span, else two; [] where there are none.

        A quotation in the claim has to stand in the span word for word. Of spans that do equally well, one of the
        passages `first` wins, then one of fewer sentences, then one of a passage that was found earlier.
        """
        said = [stem for stem in wording.content(claim) if stem not in wording.GLUE | wording.NEGATIONS]
        if not said or claim.rstrip().endswith("?"):
            return []
        if self.open and self.asked.issuperset(said) and not wording.negated(claim):
            return []  # it says nothing that was not in the question
        ranked = []
        for place, sentences in enumerate(self.sentences):
            for row in range(len(sentences)):
                for last in range(row, min(row + WINDOW, len(sentences))):
                    span = Span(place, sentences[row][0], sentences[last][1])
                    if last > row and span.end - span.start > LONGEST:
                        break
                    share = len(self._words(span).intersection(said)) / len(said)
                    if share >= COVERED / 2 and self._belongs(place, row, last):
                        whole = same(claim, self.text(span))
                        ranked.append((whole, share + 0.1 * (place in first) - 0.05 * (last - row), -place, -row, span))
        ranked.sort(reverse=True, key=lambda found: found[:4])
        spans = [found[-1] for found in ranked[:CANDIDATES]]
        if ranked and ranked[0][0]:
            return spans[:1]  # the very words
        one = next(([span] for span in spans if self._holds(claim, said, [span])), [])
        if one:
            return one
        pairs = (
            [a, b] for a, b in combinations(spans, 2) if a.place != b.place or a.end <= b.start or b.end <= a.start
        )
        two = next((pair for pair in pairs if self._holds(claim, said, pair)), [])
        if two:
            return sorted(two, key=lambda span: (span.place, span.start))
        new = set(said) - self.asked
        if any(wording.stem(word) in new for word in wording.exact(claim)):
            return next(([span] for span in spans if self._holds(claim, said, [span], COVERED_BESIDE)), [])
        return []

    def _belongs(self, place: int, row: int, last: int) -> bool:
        """Whether these sentences, or those beside them, or the heading above have a word of the question."""
        sentences, chunk = self.sentences[place], self.passages[place].chunk
        start, end = sentences[max(0, row - 1)][0], sentences[min(last + 1, len(sentences) - 1)][1]
        words = wording.content(" ".join([*chunk.headings[-1:], chunk.text[start:end]]))
        return not self.asked or not self.asked.isdisjoint(words)

    def _holds(self, claim: str, said: Sequence[str], spans: Sequence[Span], least: float = COVERED) -> bool:
        """Whether spans have the words of a claim between them, the new ones, too; its numbers, names and quotations;
        and deny what it denies."""
        have, texts = set().union(*map(self._words, spans)), [self.text(span) for span in spans]
        for words in (set(said), set(said) - self.asked):
            if len(have & words) < least * len(words):
                return False
        if not wording.exact(claim) <= {word for text in texts for word in wording.words(text)}:
            return False
        quotes = re.findall(r"[\"“]([^\"“”]{8,})[\"”]", claim)
        if any(all(find(quote, text) is None for text in texts) for quote in quotes):
            return False
        return wording.negated(claim) == any(_denies(text, said) for text in texts)

    def text(self, span: Span) -> str:
        """The words of a span."""
        return self.passages[span.place].chunk.text[span.start : span.end]

    def _words(self, span: Span) -> set[str]:
        """The stems of a span's words; of the headings above it, too: `It is …` may speak of them."""
        chunk = self.passages[span.place].chunk
        return {*wording.content(self.text(span)), *wording.content(" ".join(chunk.headings[-1:]))}

    def _cite(self, span: Span) -> int:
        """The number of a span's citation: a new one, unless the same words of that page have one already."""
        chunk = self.passages[span.place].chunk
        start, end = span.start, span.end
        key = chunk.document, chunk.page_at(start), folded(chunk.text[start:end])[0]
        if key not in self._known:
            self._known[key] = len(self.citations) + 1
            quote = chunk.text[start:end]
            self.citations.append(
                Citation(self._known[key], chunk.document, chunk.name, key[1], quote, start, end, chunk.id,
                         pieces(chunk, start, end))
            )  # fmt: skip
        return self._known[key]


def _denies(text: str, said: Sequence[str]) -> bool:
    """Whether those clauses of a text deny something that have most of these words."""
    clauses = [part for part in re.split(r"[,;:()\n]|(?<=[.!?])\s| but | unless ", text) if part.strip()]
    have = [len(set(wording.content(clause)).intersection(said)) for clause in clauses]
    most = max(have, default=0)
    return any(wording.negated(clause) for clause, count in zip(clauses, have, strict=True) if most and count == most)


def ground(text: str, passages: Sequence[Passage], question: str = "") -> Grounded:
    """Ties each sentence of an answer to words of the passages.

    Args:
        text: the answer as a model wrote it; its markers [n] mean passages[n - 1], and are checked, not believed.
        passages: what it was given, in the order of the prompt.
        question: what was asked: a claim has to have support for more than the words of the question.
    """
    grounder = Grounder(passages, question)
    for claim, markers in parse(text):
        grounder.add(claim, markers)
    return grounder.result()


def verified(citation: Citation, chunk: Chunk) -> bool:
    """Whether a citation's quote stands in its chunk, there and word for word, and on the pages it names."""
    where = find(citation.quote, chunk.text[citation.start : citation.end])
    return (
        citation.chunk == chunk.id and citation.document == chunk.document and where is not None
        and citation.page == chunk.page_at(citation.start)
        and citation.pieces == pieces(chunk, citation.start, citation.end)
    )  # fmt: skip
