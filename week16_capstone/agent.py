"""The agent: route → read the chart → calculate → cite, or retrieve text → cite; a LangGraph with a typed state.

    agent = Agent(index)
    answer = agent.ask("What was revenue in 2019?")
    answer.text, answer.sources[0].page, answer.sources[0].box, answer.sources[0].crop

Nothing is computed by a language model, and nothing is answered from a chart that was refused: it is named, and why it
could not be read.

References
    S. Yao et al., "ReAct", arXiv:2210.03629: thoughts, actions and observations in turn
    P. Lewis et al., "Retrieval-Augmented Generation", arXiv:2005.11401
    F. Liu et al., "DePlot", arXiv:2212.10505: a chart is turned into a table first, and the table is reasoned about
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

from shared.errors import CourseError
from week11_rag import answer as week11
from week11_rag import pdf
from week11_rag.extractive import reader_of
from week11_rag.retrieve import Passage, Retriever
from week11_rag.support import DEFAULT, Support, Verdict, load
from week16_capstone import summarise
from week16_capstone.answer import Found, Missing, answered
from week16_capstone.chart import around
from week16_capstone.exhibits import LOW, Exhibit
from week16_capstone.index import Index, Shown
from week16_capstone.understand import LONGEST, Wanted, wanted

ABOUT = 0.62
"""An exhibit that has less than this share of a question's words is not what it is about."""
FLOOR = 0.2
"""With less confidence a value is not said."""
UNREAD = 0.45  # the same of one that was not read, whose names nobody knows
LOOKED_AT = 4  # exhibits that are tried for an answer
NEAR, LEAD = 0.5, 0.2  # cosines: of the nearest sentence, and how far it is ahead of the next
STEPS = 12  # of the graph, at most
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Source:
    """What an answer rests on: a place of a page, and the picture of the figure there.

    Attributes:
        document, name: the id and name of the PDF.
        page, box: the place.
        what: `Figure 3`, or the quoted words.
        marks: boxes of the single values that were used.
        crop: the figure's picture.
    """

    document: str
    name: str
    page: int
    box: Box
    what: str
    marks: tuple[Box, ...] = ()
    crop: Path | None = None

    @property
    def line(self) -> str:
        """`report.pdf, page 7, Figure 3, box 72 310 520 560`."""
        sides = " ".join(f"{side:.0f}" for side in self.box)
        return f"{self.name}, page {self.page}, {self.what}, box {sides}"


@dataclass(frozen=True)
class Answer:
    """What the agent says.

    Attributes:
        text, refused: the answer, or why there is none.
        number, names: the same as data.
        confidence: how sure its least sure value is; of quoted text, 1.
        note: what else one should know: low confidence, an order that is not sure.
        sources: its places.
        steps, exhibit: what was done, a line each; the figure that was read, if one was.
    """

    text: str
    refused: bool
    number: float | None = None
    names: tuple[str, ...] = ()
    confidence: float = 1.0
    note: str = ""
    sources: tuple[Source, ...] = ()
    steps: tuple[str, ...] = ()
    exhibit: Exhibit | None = field(default=None, repr=False)
    seconds: float = 0.0


class State(TypedDict, total=False):
    """What goes through the graph."""

    question: str
    wanted: Wanted
    shown: Shown
    found: Found
    why: str
    told: Any
    answer: Answer
    steps: list[str]


class Agent:
    """Answers questions from an index.

    Args:
        index: of the documents.
        support: week 11's, which says whether passages have an answer.
        calculate: an expression's value; default: week 15's calculator.
        language: a language model that words summaries (summarise.py); None: sentences made by rule.
    """

    def __init__(
        self, index: Index, support: Support | None = None, calculate: Callable[[str], float] | None = None,
        language: Any = None,
    ) -> None:  # fmt: skip
        self.index, self.calculate, self.language = index, calculate or calculator, language
        self.reader = week11.Bot(index.prose, support or ahead())

    # ------------------------------------------------------------ the graph

    @cached_property
    def graph(self) -> Any:
        """The compiled graph."""
        from langgraph.graph import END, START, StateGraph

        graph = StateGraph(State)
        for name in (
            "route",
            "list_figures",
            "compare_looks",
            "read_chart",
            "summarise",
            "calculate",
            "retrieve_text",
            "cite",
            "refuse",
        ):
            graph.add_node(name, getattr(self, f"_{name}"))
        graph.add_edge(START, "route")
        graph.add_conditional_edges("route", after_route, ["list_figures", "compare_looks", "read_chart"])
        graph.add_conditional_edges("read_chart", after_chart, ["calculate", "summarise", "retrieve_text", "refuse"])
        graph.add_edge("calculate", "cite")
        graph.add_conditional_edges("retrieve_text", after_text, ["cite", "refuse"])
        for name in ("list_figures", "compare_looks", "summarise", "cite", "refuse"):
            graph.add_edge(name, END)
        return graph.compile()

    def ask(self, question: str) -> Answer:
        """The answer.

        Raises:
            CourseError: the question is empty or too long.
        """
        began = time.perf_counter()
        question = " ".join(question.split())
        if not question:
            raise CourseError("the question is empty.")
        if len(question) > LONGEST:
            raise CourseError(f"the question has {len(question):,} characters, more than {LONGEST}: ask for one thing.")
        state = self.graph.invoke({"question": question, "steps": []}, {"recursion_limit": STEPS})
        answer: Answer = state["answer"]
        return Answer(**{**answer.__dict__, "steps": tuple(state["steps"]), "seconds": time.perf_counter() - began})

    def _route(self, state: State) -> State:
        found = wanted(state["question"])
        about = found.figure and f", of {'table' if found.table else 'figure'} {found.figure}"
        return {"wanted": found, "steps": [*state["steps"], f"route: {found.what}{about}"]}

    def _compare_looks(self, state: State) -> State:
        """The figures whose pictures look like that of the one that is named."""
        found = [one for one in self.index.exhibits(state["wanted"]) if state["wanted"].figure][:1]
        near = self.index.alike(found[0]) if found else []
        lines = [f"{one.exhibit.head}, page {one.exhibit.page} (cosine {cosine:.2f})" for one, cosine in near]
        text = "\n".join(lines) or "There is no such figure, or no other one to hold it against."
        sources = tuple(self.source(one) for one, _ in near)
        return {
            "answer": Answer(text, not near, sources=sources),
            "steps": [*state["steps"], f"look: {len(near)} alike"],
        }

    def _list_figures(self, state: State) -> State:
        return {"answer": Answer("\n".join(self.listed()) or "No figures or tables were found.", not self.index.shown)}

    def _read_chart(self, state: State) -> State:
        """Which exhibit the question is about, and its values; or why there is none."""
        asked, steps = state["wanted"], list(state["steps"])
        ranked = self.index.exhibits(asked) if self.index.charts else []
        if asked.figure and not ranked:
            name = f"{'table' if asked.table else 'figure'} {asked.figure}"
            return {"why": f"There is no {name}.", "steps": [*steps, f"read chart: no {name}"]}
        likely = [one for one in ranked if asked.figure or one.cover >= (ABOUT if one.exhibit.chart else UNREAD)]
        likely = likely[:LOOKED_AT]
        if asked.what == "summary" and likely:
            return {"shown": likely[0], "steps": [*steps, f"read chart: {likely[0].exhibit.name}"]}
        why = ""
        for one in likely:
            exhibit = one.exhibit
            if exhibit.chart is None:
                why = why or f"{exhibit.placed} is about this, but was not read: {exhibit.reason}."
                steps.append(f"read chart: {exhibit.name} was refused ({exhibit.reason})")
                if one.cover >= likely[0].cover - 0.1:
                    return {"shown": one, "why": why, "steps": steps}
                continue
            try:
                if other := self.index.foreign(asked, exhibit):
                    raise Missing(f"it has no {', '.join(other)}")
                found = answered(asked, exhibit, self.calculate)
                if found.confidence < FLOOR:
                    raise Missing(f"it was read too unsurely ({found.confidence:.2f}) to say")
            except Missing as error:
                steps.append(f"read chart: {exhibit.name}: {error}")
                why = why or f"{exhibit.placed} is about this, but {error}."
                continue
            steps.append(f"read chart: {exhibit.name}, {len(found.used)} values")
            return {"shown": one, "found": found, "steps": steps}
        return {"why": why, "steps": steps or [*steps, "read chart: none is about this"]}

    def _calculate(self, state: State) -> State:
        found = state["found"]
        said = f"calculate: {found.expression} = {found.number:.6g}" if found.expression else "calculate: nothing to do"
        return {"steps": [*state["steps"], said]}

    def _retrieve_text(self, state: State) -> State:
        told = self.reader.ask(state["question"])
        if state["wanted"].what != "value" and not re.search(r"\d", re.sub(r"\[[\d, ]+\]", "", told.text)):
            told = replace(told, refused=True)  # what is to be computed or compared is no sentence without a number
        said = f"retrieve text: {len(told.passages)} passages, {'no support' if told.refused else 'an answer'}"
        return {"told": told, "steps": [*state["steps"], said]}

    def _summarise(self, state: State) -> State:
        exhibit = state["shown"].exhibit
        if exhibit.chart is None:
            text = f"{exhibit.head}. It was not read: {exhibit.reason}."
            return {
                "answer": Answer(text, True, sources=(self.source(state["shown"]),), confidence=0.0, exhibit=exhibit)
            }
        text, how = summarise.summary(exhibit, self.language)
        note = low(exhibit.chart.confidence)
        said = Answer(text, False, confidence=exhibit.chart.confidence, note=note, exhibit=exhibit,
                      sources=(self.source(state["shown"]),))  # fmt: skip
        return {"answer": said, "steps": [*state["steps"], f"summarise: {how}"]}

    def _cite(self, state: State) -> State:
        """The answer with its places."""
        if found := state.get("found"):
            shown, exhibit = state["shown"], state["shown"].exhibit
            notes = [low(found.confidence), "The order of the first two is not sure." if found.close else ""]
            source = self.source(shown, tuple(value.box for value in found.used))
            note = " ".join(filter(None, notes))
            answer = Answer(found.text, False, found.number, found.names, found.confidence, note,
                            (source,), exhibit=exhibit)  # fmt: skip
            return {"answer": answer, "steps": [*state["steps"], f"cite: {source.line}"]}
        told, sources = state["told"], []
        for one in told.citations:
            boxes = self.boxes(one)
            box = around(boxes) if boxes else self.index.sheet(one.document, one.page)
            sources.append(Source(one.document, one.name, one.page, box, f"“{one.quote[:80]}”", tuple(boxes)))
        lines = [f"cite: {one.line}" for one in sources]
        return {"answer": Answer(told.text, False, sources=tuple(sources)), "steps": [*state["steps"], *lines]}

    def _refuse(self, state: State) -> State:
        why = state.get("why") or "Neither the text nor a figure answers this."
        shown = state.get("shown")
        sources = (self.source(shown),) if shown else ()
        return {"answer": Answer(why, True, confidence=0.0, sources=sources, exhibit=shown.exhibit if shown else None),
                "steps": [*state["steps"], "refuse"]}  # fmt: skip

    # ------------------------------------------------------------ places

    def boxes(self, citation: Any) -> list[Box]:
        """Where quoted words stand; [] where the PDF is gone: the page is known all the same."""
        try:
            return pdf.text_boxes(self.index.file(citation.document), citation.page, citation.quote)
        except CourseError:
            return []

    def source(self, shown: Shown, marks: Sequence[Box] = ()) -> Source:
        exhibit = shown.exhibit
        return Source(shown.document, self.index.titles[shown.document], exhibit.page, exhibit.box, exhibit.name,
                      tuple(marks) if exhibit.source != "table" else (), self.index.crop(shown))  # fmt: skip

    def listed(self) -> list[str]:
        """A line for each figure and table."""
        lines = []
        for one in self.index.shown:
            exhibit = one.exhibit
            state = f"not read: {exhibit.reason}"
            if exhibit.chart:
                state = f"{len(exhibit.chart.values)} values, confidence {exhibit.chart.confidence:.2f}"
            lines.append(f"page {exhibit.page}: {exhibit.head} [{exhibit.kind or 'figure'}, {state}]")
        return lines


# ---------------------------------------------------------------- which way


def after_route(state: State) -> str:
    return {"list": "list_figures", "alike": "compare_looks"}.get(state["wanted"].what, "read_chart")


def after_chart(state: State) -> str:
    """A summary is of a chart alone; a refused chart is not answered around; what is in no chart may be in text."""
    if state["wanted"].what == "summary" and "shown" in state:
        return "summarise"
    if "found" in state:
        return "calculate"
    return "refuse" if state.get("why") else "retrieve_text"


def after_text(state: State) -> str:
    return "refuse" if state["told"].refused else "cite"


def low(confidence: float) -> str:
    """What is said of a confidence that is low."""
    return f"Read with low confidence ({confidence:.2f})." if confidence < LOW else ""


class Ahead(Support):
    """Week 11's support, which also believes a sentence that is near the question and far ahead of all others: a report
    of a few pages has too few words to weigh them as a handbook's."""

    def judge(self, question: str, passages: Sequence[Passage], retriever: Retriever) -> Verdict:
        verdict = super().judge(question, passages, retriever)
        cosines = sorted((one.cosine for one in reader_of(retriever).rank(question, passages)), reverse=True)
        lead = len(cosines) > 1 and cosines[0] >= NEAR and cosines[0] - cosines[1] >= LEAD
        return replace(verdict, supported=True) if lead and not verdict.features["numberless"] else verdict


def ahead() -> Ahead:
    """As it was fitted on week 11's questions."""
    return Ahead(**load(DEFAULT).__dict__)


def calculator(expression: str) -> float:
    """The value of an expression, by week 15's calculator."""
    from week15_agent.calculator import compute

    return float(compute(expression).value)
