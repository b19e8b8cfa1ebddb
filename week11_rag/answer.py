"""The bot: question → rewritten with the history → passages → support → prompt → language model → checked citations.

Each arrow is a `|` between runnables of langchain_core: `Bot.find` ends with the support, `Bot.chain` with the answer.
Nothing that a model writes is shown before it is checked: what streams is whole sentences, with their sources.

References
    P. Lewis et al., arXiv:2005.11401: retrieval-augmented generation
    A. Asai et al., arXiv:2310.11511: an answer is kept where passages support it
"""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from shared.errors import CourseError
from shared.files import read_json
from week11_rag import cite, follow, guard, prompt, wording
from week11_rag.cite import Citation, Grounder
from week11_rag.extractive import Sentence, best, reader_of
from week11_rag.follow import Turn
from week11_rag.language import CUT, Language
from week11_rag.prompt import REFUSAL
from week11_rag.retrieve import Passage, Retriever
from week11_rag.support import Support, Verdict

SOURCES = "sources.json"  # of a run: {id of a document: where its PDF lies}
LONGEST = 2_000
"""Characters of a question; longer ones are refused."""
MOST, MOST_SMALL = 200, 64
"""Tokens of an answer, and of one by a small model."""
QUOTABLE = 10  # of the sentences nearest to a question, those that may be quoted
CLAIMS = 4
"""Sentences of an answer; small models do not always find an end."""
WHOLE = re.compile(r"[.!?][\"')]*(?:\s*\[[\d, ]+\][.!?]?)*\s*$")
State = dict[str, Any]
"""What runs through the chain: question, history, began; then asked (rewritten), passages, verdict."""


@dataclass(frozen=True)
class Answer:
    """What the bot says.

    Attributes:
        text: claims with their markers [1], or REFUSAL.
        citations: by number; each quote stands in the document, word for word.
        refused: whether the document does not answer the question.
        passages: what was found.
        question: what was searched for: the question, rewritten to stand alone.
        seconds: it took.
        support: how the support was judged.
        complete: False where the language model broke off; `note` then says why, in one line.
        note: why it was refused, or broke off, or what was left out.
        dropped: what the model said and nothing supports; not shown.
    """

    text: str
    citations: tuple[Citation, ...]
    refused: bool
    passages: tuple[Passage, ...]
    question: str
    seconds: float
    support: Verdict | None = None
    complete: bool = True
    note: str = ""
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Event:
    """What `stream` yields: once the passages; then text as it is checked, a sentence at a time (`token`); at the end
    the answer."""

    kind: Literal["passages", "token", "answer"]
    text: str = ""
    passages: tuple[Passage, ...] = ()
    answer: Answer | None = None


class Bot:
    """Answers from documents. One bot may be asked by several threads at once.

    Args:
        retriever: finds passages.
        support: says whether they answer the question.
        language: writes the answer; None: the best sentences are quoted.
        k: how many passages.
        folder: of the run.
    """

    def __init__(
        self, retriever: Retriever, support: Support, language: Language | None = None, k: int = 5,
        folder: Path | None = None,
    ) -> None:  # fmt: skip
        self.retriever, self.support, self.language, self.k, self.folder = retriever, support, language, k, folder
        self.reader, self._writing = reader_of(retriever), threading.Lock()
        self.files: dict[str, Path] = {}

    @classmethod
    def open(
        cls, run: str | Path = "", lm: str = "smollm2", device: str = "auto", k: int = 5, embedder: Any = None,
        **search: Any,
    ) -> "Bot":  # fmt: skip
        """The bot of a run of train.py.

        Args:
            run: its folder; default: the week's newest.
            lm: as language.open_language has it.
            device: where embedder and language model compute.
            k: passages of an answer.
            embedder: another one that makes the same vectors, as week 12's; default: the run's own.
            search: how, rescore, mmr, where they are to differ from the run's.

        Raises:
            CourseError: there is no such run, or it has not come to its end; no such model or service.
        """
        from shared import runs
        from week11_rag.embed import Embedder
        from week11_rag.index import open_index
        from week11_rag.language import open_language
        from week11_rag.sentences import Sentences
        from week11_rag.support import load
        from week11_rag.train import INDEX, SENTENCES, SUPPORT, WEEK_NUMBER, Config

        found = runs.load(WEEK_NUMBER, Config, run, finished=True)
        cfg, folder = found.config, found.folder
        embedder = embedder or Embedder(cfg.embedder, device, cfg.batch)
        index = open_index(cfg.server or folder / INDEX)
        flags = {"how": cfg.how, "rescore": cfg.rescore, "mmr": cfg.mmr} | search
        retriever = Retriever(index, embedder, **flags, sentences=Sentences(embedder, folder / SENTENCES))
        return cls(retriever, load(folder / SUPPORT), open_language(lm, device), k, folder)

    # ------------------------------------------------------------ documents

    def documents(self) -> list[Any]:
        """What it answers from: id, name, pages, chunks of each."""
        return self.retriever.index.documents()

    def add(self, path: str | Path, name: str | None = None) -> Any:
        """Reads a PDF into the index; one of the same name is replaced, the same one again changes nothing.

        Raises:
            CourseError: it is no PDF that can be read, or there is no text in it.
        """
        from week11_rag import chunks, pdf

        path, index, embedder = Path(path), self.retriever.index, self.retriever.embedder
        document = pdf.read(path, name=name or path.name)
        settings = index.settings
        parts = chunks.split(document, settings.size, settings.overlap, embedder.count)
        if not parts:
            raise CourseError(f"{document.name}: there is no text in it.")
        with self._writing:
            self.files[document.id] = path.absolute()
            if not any(stored.id == document.id for stored in index.documents()):
                index.add(document, parts, embedder.encode([chunk.embedded for chunk in parts]))
                self.reader.sentences.add(parts)
            for stored in index.documents():
                if stored.name == document.name and stored.id != document.id:
                    index.remove(stored.id)
        return next(stored for stored in index.documents() if stored.id == document.id)

    def remove(self, document_id: str) -> bool:
        """Takes a document out of the index; False where it was not there."""
        with self._writing:
            if not any(stored.id == document_id for stored in self.documents()):
                return False
            self.retriever.index.remove(document_id)
        return True

    def beside(self, path: str | Path, name: str | None = None) -> "Bot":
        """A bot with the same models that knows one PDF alone, in memory.

        Raises:
            CourseError: as add.
        """
        from week11_rag.exact import ExactIndex
        from week11_rag.sentences import Sentences

        old = self.retriever
        index, sentences = ExactIndex(None, old.index.settings), Sentences(old.embedder)
        bot = Bot(Retriever(index, old.embedder, old.how, old.rescore, old.mmr, sentences), self.support,
                  self.language, self.k)  # fmt: skip
        bot.add(path, name)
        return bot

    def file(self, document_id: str) -> Path:
        """The PDF of a document, for pictures of its pages.

        Raises:
            CourseError: it is not where it was read.
        """
        path = self.files.get(document_id)
        if path is None and self.folder and (self.folder / SOURCES).is_file():
            path = self.folder / read_json(self.folder / SOURCES).get(document_id, "")  # a whole path stays as it is
        if path is None or not path.is_file():
            raise CourseError(f"the PDF of document {document_id} is not where it was read.")
        return path

    # ------------------------------------------------------------ the chain

    @cached_property
    def find(self) -> Any:
        """{question, history, began} → the same with `asked`, `passages` and `verdict`: a runnable."""
        from langchain_core.runnables import RunnablePassthrough

        return (
            RunnablePassthrough.assign(asked=self.alone)
            | RunnablePassthrough.assign(passages=lambda state: tuple(self.retriever.search(state["asked"], self.k)))
            | RunnablePassthrough.assign(verdict=self.judged)
        )

    @cached_property
    def chain(self) -> Any:
        """The same → events, the last of which has the answer: a runnable."""
        return self.find | streaming(self.answered)

    def alone(self, state: State) -> str:
        """The question so that it can be understood without the history."""
        question, history = state["question"], state["history"][-follow.TURNS :]
        if self.language is None or self.language.small:
            return follow.carried(question, history)
        return follow.rewritten(question, history, lambda said, most: "".join(self.language.write(said, most)))

    def judged(self, state: State) -> Verdict:
        """Whether the passages have an answer."""
        return self.support.judge(state["asked"], state["passages"], self.retriever)

    def answered(self, state: State) -> Iterator[Event]:
        """The passages, the claims as they are written and checked, the answer."""
        asked, passages, verdict = state["asked"], state["passages"], state["verdict"]
        yield Event("passages", passages=passages)
        barred = [(place, *span) for place, p in enumerate(passages) for span in guard.orders(p.chunk.text)]
        pages = sorted({passages[place].chunk.page_at(start) for place, start, _ in barred})
        notes = [f"Orders to language models on page {', '.join(map(str, pages))} were left out."] if pages else []
        grounder, complete = Grounder(passages, asked, barred), True
        if not passages:
            notes.append("Nothing was found.")
        elif not verdict.supported:
            notes.append(f"Support {verdict.probability:.2f}, at least {self.support.threshold:.2f} is needed.")
        else:
            point = state["question"] if len(wording.content(state["question"])) > 1 else asked  # nothing carried along
            ranked = [s for s in self.reader.rank(point, passages) if (s.place, s.start, s.end) not in barred]
            says = (s for s in ranked[:QUOTABLE] if grounder.support(s.text, (s.place,)))  # one that asks says nothing
            try:
                yield from self.said(self.written(asked, passages, ranked) if self.language else quoted(says), grounder)
            except CourseError as error:
                if not grounder.claims:
                    raise
                complete = False
                notes.append(str(error))
            if not grounder.claims and self.language:
                why = "Nothing that it said stands in the passages."
                if grounder.declined:
                    why = "The model found no answer."
                if self.language.small:
                    why = "What the model said stands nowhere in the passages: these are their own words."
                    yield from self.said(quoted(says), grounder)
                notes.append(why)
            elif not grounder.claims:
                notes.append("No sentence of the passages says more than the question.")
        found = grounder.result()
        refused = not found.claims
        if refused:
            yield Event("token", REFUSAL)
        yield Event("answer", answer=Answer(
            REFUSAL if refused else found.text, found.citations, refused, passages, asked,
            time.perf_counter() - state["began"], verdict, complete, " ".join(notes), found.dropped,
        ))  # fmt: skip

    def said(self, claims: Iterable[tuple[str, tuple[int, ...]]], grounder: Grounder) -> Iterator[Event]:
        """The claims that have support, up to the first that says there is none, or says again what was said."""
        for claim, markers in claims:
            grounder.declined = prompt.declines(claim)
            if grounder.declined:
                return
            if found := grounder.add(claim, markers):
                yield Event("token", f"{' ' * (len(grounder.claims) > 1)}{found}")
            if grounder.repeated or len(grounder.claims) >= CLAIMS:
                return

    def written(
        self, asked: str, passages: Sequence[Passage], ranked: Sequence[Sentence]
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        """(claim, its markers) of each sentence that the language model writes, as soon as it is whole."""
        from langchain_core.runnables import RunnableLambda

        most = MOST_SMALL if self.language.small else MOST
        fill = RunnableLambda(lambda state: prompt.messages(state["asked"], passages, ranked, self.language))
        speak = streaming(lambda messages: self.language.write(messages, most))
        yield from sentences((fill | speak).stream({"asked": asked}))

    # ------------------------------------------------------------ asking

    def retrieve(self, question: str, k: int = 5) -> list[Passage]:
        """The best passages for a question."""
        return self.retriever.search(checked(question), k)

    def stream(self, question: str, history: Sequence[Turn] = ()) -> Iterator[Event]:
        """The answer as it comes.

        Raises:
            CourseError: as ask.
        """
        state = {"question": checked(question), "history": list(history), "began": time.perf_counter()}
        return self.chain.stream(state)

    def ask(self, question: str, history: Sequence[Turn] = ()) -> Answer:
        """The answer.

        Raises:
            CourseError: the question is empty or too long; or the language model cannot be reached.
        """
        *_, last = self.stream(question, history)
        return last.answer


def quoted(ranked: Iterable[Sentence]) -> list[tuple[str, tuple[int, ...]]]:
    """(sentence, the number of its passage) of those to quote."""
    return [(one.text, (one.place + 1,)) for one in best(ranked)]


def streaming(step: Callable[[Any], Iterator[Any]]) -> Any:
    """A runnable of what yields: `stream` gives all of that as it comes, `invoke` the last."""
    from langchain_core.runnables import Runnable

    class Step(Runnable):
        def invoke(self, input: Any, config: Any = None, **_: Any) -> Any:
            *_, last = step(input)
            return last

        def stream(self, input: Any, config: Any = None, **_: Any) -> Iterator[Any]:
            yield from step(input)

    return Step()


def checked(question: str) -> str:
    """A question without space around it.

    Raises:
        CourseError: nothing is left, or too much.
    """
    question = question.strip()
    if len(question) > LONGEST:
        raise CourseError(f"a question of {len(question):,} characters: it may have {LONGEST:,}. Ask for less at once.")
    if not any(char.isalnum() for char in question):
        raise CourseError("there is no word in that question: ask something that the document may answer.")
    return question


def sentences(pieces: Iterator[str]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(sentence without markers, its markers) of a text that comes in pieces, each as soon as the next one begins.
    The last is left out where it was cut off, unless it is the only one."""
    text, some = "", False
    try:
        for piece in pieces:
            text += piece
            spans = wording.sentences(text)
            if len(spans) > 1 and text[spans[-1][0]] not in "[【":  # markers behind a full stop belong before it
                yield from cite.parse(text[: spans[-2][1]])
                text, some = text[spans[-1][0] :], True
    except CourseError:
        if WHOLE.search(text):
            yield from cite.parse(text)
        raise
    if not (some and text.endswith(CUT)):
        yield from cite.parse(text)
