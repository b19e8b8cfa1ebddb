"""What no network is needed for: questions by the words that a sentence shares with them, names from a list.

Both learn from train, a little: how rare each word is, how long answers are; which names are of which kind.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from shared.splits import Part
from week07_bert import qa, tagging
from week07_bert.conll import Sentence
from week07_bert.squad import Question

NAMES = {"qa": "word overlap", "ner": "list of names from train"}
CONSTANT = {"qa": "the first sentence, always", "ner": "each run of capitalised words"}
WORD = re.compile(r"\w+")
NUMBER = re.compile(r"\b(how (many|much|old|long|far)|when|what (year|date|number|percentage))\b", re.IGNORECASE)


class WordOverlap:
    """The sentence whose words are rarest among those that it shares with the question; in it, the best candidate.

    Candidates are numbers where the question asks how many, how much or when, else runs of capitalised words; none that
    the question names itself, and the one nearest to the words that are shared. Where there is none, as many words as
    train's answers have, behind those.
    """

    def __init__(self, train: Part) -> None:
        counts: Counter[str] = Counter()
        for context in {question.context for question in train.items}:
            counts.update(set(words(context)))
        most = max(counts.values())
        self.rarity = {word: math.log((1 + most) / count) for word, count in counts.items()}
        self.unseen = math.log(1 + most)
        lengths = [len(text.split()) for question in train.items for text, _ in question.answers[:1]]
        self.length = sorted(lengths)[len(lengths) // 2] if lengths else 1

    @property
    def params(self) -> int:
        return len(self.rarity) + 1

    def weight(self, shared: set[str]) -> float:
        return sum((self.rarity.get(word, self.unseen) for word in shared), 0.0)

    def answer(self, question: Question) -> str:
        asked = set(words(question.text))
        pieces = [question.context[begin:past] for begin, past in qa.sentences_of(question.context)]
        sentence = max(pieces, key=lambda piece: self.weight(asked & set(words(piece))))
        places = [match.start() for match in WORD.finditer(sentence) if match[0].lower() in asked]
        middle = sum(places) / len(places) if places else 0
        number = NUMBER.search(question.text)
        pattern = r"\d[\d,.]*\d|\d" if number else r"[A-Z][\w'’-]*(?: (?:of |the |de |von )?[A-Z][\w'’-]*)*"
        found = [match for match in re.finditer(pattern, sentence) if not set(words(match[0])) <= asked]
        if found:
            return min(found, key=lambda match: abs(match.start() - middle))[0]
        rest = [word for word in sentence.split() if not set(words(word)) & asked]
        return " ".join(rest[: self.length])


class Gazetteer:
    """Every name of train with the kind that it has most often there; the longest from the left."""

    def __init__(self, train: Part) -> None:
        kinds: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for sentence in train.items:
            for kind, first, last in tagging.entities(sentence.tags):
                kinds[key(sentence.words[first : last + 1])][kind] += 1
        self.kind = {name: counts.most_common(1)[0][0] for name, counts in kinds.items()}
        self.longest = max(map(len, self.kind), default=0)

    @property
    def params(self) -> int:
        return len(self.kind)

    def tags(self, sentence: Sentence) -> list[str]:
        found, place = ["O"] * len(sentence.words), 0
        while place < len(found):
            for size in range(min(self.longest, len(found) - place), 0, -1):
                kind = self.kind.get(key(sentence.words[place : place + size]))
                if kind:
                    found[place : place + size] = [f"B-{kind}", *[f"I-{kind}"] * (size - 1)]
                    place += size - 1
                    break
            place += 1
        return found


def key(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word.lower() for word in words)


def words(text: str) -> list[str]:
    return [word.lower() for word in WORD.findall(text)]


def first_sentence(question: Question) -> str:
    """The same answer to every question on a passage."""
    begin, past = qa.sentences_of(question.context)[0]
    return question.context[begin:past]


def capitalised(sentence: Sentence, kind: str) -> list[str]:
    """Every run of words with a capital letter is an entity of one kind."""
    found = ["O"] * len(sentence.words)
    for place, word in enumerate(sentence.words):
        if word[:1].isupper():
            found[place] = f"{'I' if place and found[place - 1] != 'O' else 'B'}-{kind}"
    return found


def commonest_kind(train: Part) -> str:
    """The kind of most of train's entities."""
    counts = Counter(kind for s in train.items for kind, _, _ in tagging.entities(s.tags))
    return min(counts, key=lambda kind: (-counts[kind], kind))


def scored(task: str, train: Part, some: Part) -> dict[str, float]:
    """{name: F1} of both baselines of a task, learned from train, on some part."""
    if task == "qa":
        reader = WordOverlap(train)
        answers = [[reader.answer(question) for question in some.items], [first_sentence(q) for q in some.items]]
        found = [qa.scores_of(texts, some) for texts in answers]
    else:
        names, kind = Gazetteer(train), commonest_kind(train)
        tags = [[names.tags(s) for s in some.items], [capitalised(s, kind) for s in some.items]]
        found = [tagging.scores_of(one, some) for one in tags]
    return {name: scores["f1"] for name, scores in zip((NAMES[task], CONSTANT[task]), found, strict=True)}


def params(task: str, train: Part) -> int:
    """How many numbers, or names, the first of them has learned."""
    return (WordOverlap(train) if task == "qa" else Gazetteer(train)).params
