"""The same agent as a graph of LangGraph: what the loop of week15_agent/loop.py does in one function, in two nodes.

    START ──▶ model ──▶ route ──▶ tools ──▶ model …          and from route to END: an answer, or a limit

A graph keeps its state outside of the code: after each node it is written down, so that a conversation can be stopped
and gone on with, looked at, and drawn. That is what LangGraph is for; thinking, acting and observing stay as they are.

References
    https://docs.langchain.com/oss/python/langgraph/graph-api: state, nodes, conditional edges, recursion limit
    Yao et al., "ReAct", arXiv:2210.03629
"""

import operator
import os
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")  # asked for at import

from langgraph.graph import END, START, StateGraph
from langgraph.types import StreamWriter

from week15_agent import memory
from week15_agent.loop import LIMITS, Event, Limits, gave_up, observe, shown
from week15_agent.minds import Mind
from week15_agent.protocol import Message, Unparsable, begin, harmless, said
from week15_agent.tools import Call, Observation, Tools


class State(TypedDict, total=False):
    """What the nodes hand on. Plain values only: it is written to a file, and read again, without pickle.

    Attributes:
        messages: the conversation of this thread, without the system prompt; a node's new ones are appended.
        calls: {tool, arguments} of the calls that wait for the tools.
        answer: of the model; "" as long as there is none.
        steps: turns of the model since the question.
        seen: of each call since the question, what came of it.
        until: when to give up, in seconds of time.time().
    """

    messages: Annotated[list[Message], operator.add]
    calls: list[dict[str, Any]]
    answer: str
    steps: int
    seen: dict[str, str]
    until: float


def route(state: State, limits: Limits) -> Literal["tools", "model", "__end__"]:
    """Where the graph goes on after the model has spoken.

    Args:
        state: after the model's turn.
        limits: of steps.
    """
    # exercise 4: the loop, as the router of a graph
    # state, after a turn of the model, and limits -> the name of the next node, or END. An answer ends it all, that is
    # a state["answer"] that is not "". Calls (state["calls"], a list) go to "tools", in the last step as well: what was
    # asked for is done. Neither: what the model wrote was no turn, and it was told so; then "model" speaks again if a
    # step is left (state["steps"] have been taken, limits.steps are allowed) and time is left (time.time() is below
    # state["until"]); otherwise END.
    # hint: three ifs in this order; END is langgraph's "__end__"; may_go_on looks at both limits.
    if state["answer"]:
        return END
    if state["calls"]:
        return "tools"
    return "model" if may_go_on(state, limits) else END
    # end of exercise 4


def may_go_on(state: State, limits: Limits) -> bool:
    """Whether a step and time are left."""
    return state["steps"] < limits.steps and time.time() < state["until"]


def build(
    mind: Mind, tools: Tools, checkpointer: Any = None, limits: Limits = LIMITS, today: date | None = None,
    remember: int = memory.REMEMBERED,
) -> Any:  # fmt: skip
    """The compiled graph.

    Args:
        mind: the language model.
        tools: what it may use.
        checkpointer: where threads are kept (week15_agent/memory.py); None: nowhere.
        limits: of steps and time.
        today: for the system prompt.
        remember: so many questions before this one, with their answers, are shown to the model.
    """

    def model(state: State, writer: StreamWriter) -> State:
        """The model speaks; its turn is read."""
        system = begin(mind.form, tools, "", today, mind.brief)[0]
        text = mind.say([[system, *memory.shown(state["messages"], remember)]], tools)[0].text
        step = state["steps"] + 1
        try:
            turn = mind.form.parse(text, tools)
        except Unparsable as error:
            writer(vars(Event("unparsable", str(error), ok=False, step=step)))
            told = mind.form.observed([Observation(f"Error: {error}", ok=False)])
            return {"messages": [{"role": "assistant", "content": harmless(text)}, told], "steps": step, "calls": []}
        if turn.thought:
            writer(vars(Event("thought", turn.thought, step=step)))
        if turn.answer:
            writer(vars(Event("answer", turn.answer, step=step)))
        calls = [{"tool": call.tool, "arguments": dict(call.arguments)} for call in turn.calls]
        return {"messages": [said(mind.form, turn, tools)], "steps": step, "calls": calls, "answer": turn.answer}

    def use_tools(state: State, writer: StreamWriter) -> State:
        """The calls are carried out, side by side."""
        calls, seen = [Call(**call) for call in state["calls"]], dict(state["seen"])
        for call in calls:
            writer(vars(Event("action", shown(call, tools), step=state["steps"])))
        observations = observe(calls, tools, seen)
        for one in observations:
            writer(vars(Event("observation", one.text, one.ok, state["steps"])))
        return {"messages": [mind.form.observed(observations)], "calls": [], "seen": seen}

    graph = StateGraph(State)
    graph.add_node("model", model)
    graph.add_node("tools", use_tools)
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", lambda state: route(state, limits), ["tools", "model", END])
    graph.add_conditional_edges("tools", lambda state: "model" if may_go_on(state, limits) else END, ["model", END])
    return graph.compile(checkpointer=checkpointer)


class Agent:
    """The graph, asked as the loop is: what happens is yielded as it happens.

    Args:
        mind: the language model.
        tools: what it may use.
        checkpointer: where threads are kept; None: nowhere.
        limits: of steps and time.
        today: for the system prompt.
        remember: so many questions before this one, with their answers, are shown to the model.
    """

    def __init__(
        self, mind: Mind, tools: Tools, checkpointer: Any = None, limits: Limits = LIMITS, today: date | None = None,
        remember: int = memory.REMEMBERED,
    ) -> None:  # fmt: skip
        self.mind, self.tools, self.limits, self.kept = mind, tools, limits, checkpointer is not None
        self.graph = build(mind, tools, checkpointer, limits, today, remember)

    def config(self, thread: str) -> dict[str, Any]:
        """A step is two nodes at most. LangGraph's own limit would be 10,007 of them; its error is a bug of ours."""
        return {"recursion_limit": 2 * self.limits.steps + 2, "configurable": {"thread_id": thread}}

    def ask(self, question: str, thread: str = "1") -> Iterator[Event]:
        """The events of a question; the last is an answer, or gave_up. Threads know what was said in them before."""
        fresh: State = {"messages": [{"role": "user", "content": harmless(question)}], "calls": [], "answer": ""}
        fresh |= {"steps": 0, "seen": {}, "until": time.time() + self.limits.seconds}
        last = None
        for event in self.graph.stream(fresh, self.config(thread), stream_mode="custom"):
            last = Event(**event)
            yield last
        if last is None or last.kind != "answer":
            yield gave_up(last.step if last else 0)

    def history(self, thread: str = "1") -> list[Message]:
        """All that was said in a thread."""
        return list(self.graph.get_state(self.config(thread)).values.get("messages", [])) if self.kept else []


# ---------------------------------------------------------------- a picture


def mermaid(graph: Any) -> str:
    """The graph as text of mermaid, which many pages draw; nothing is asked of the network."""
    return graph.get_graph().draw_mermaid()


PLACES = {"__start__": (0.0, 0.0), "model": (2.2, 0.0), "tools": (5.2, 0.0), "__end__": (2.2, -1.5)}
NAMES = {"__start__": "question", "model": "model\nthinks", "tools": "tools\nact", "__end__": "answer"}


def draw(graph: Any, path: Path) -> None:
    """Draws a compiled graph as LangGraph knows it: its nodes and edges, the conditional ones dashed."""
    from shared import plots

    found = graph.get_graph()
    with plots.figure(path, size=(7.6, 3.4)) as (_, axes):
        axes.set_axis_off()
        axes.set(xlim=(-0.9, 6.4), ylim=(-2.0, 1.5))
        for name in found.nodes:
            end = name.startswith("__")
            box = {"boxstyle": "round,pad=0.5", "fc": "#FFFFFF" if end else plots.SKY, "ec": plots.INK, "lw": 1.4}
            axes.text(*PLACES[name], NAMES[name], ha="center", va="center", bbox=box, zorder=3)
        for edge in found.edges:
            (x, y), (to_x, to_y) = PLACES[edge.source], PLACES[edge.target]
            itself, bend = edge.source == edge.target, 0.0 if "__" in edge.source + edge.target else -0.25
            if (edge.source, edge.target) == ("tools", "__end__"):
                bend = -0.25
            begin, end = ((x - 0.3, y + 0.35), (x + 0.3, y + 0.35)) if itself else ((x, y), (to_x, to_y))
            gap = 2 if itself else 34 if "model" in edge.source + edge.target and y == to_y else 26
            arrow = {"arrowstyle": "-|>", "color": plots.INK, "lw": 1.4, "shrinkA": gap, "shrinkB": gap}
            arrow |= {"linestyle": "--" if edge.conditional else "-", "mutation_scale": 14}
            arrow |= {"connectionstyle": f"arc3,rad={-1.6 if itself else bend}"}
            axes.annotate("", end, begin, arrowprops=arrow, zorder=2)
        for place, text in (((3.7, 0.55), "calls"), ((3.7, -0.6), "observations"), ((2.2, 1.15), "no turn: told so"),
                            ((1.95, -0.85), "an answer,\nor no step left"), ((4.6, -1.4), "no step left")):  # fmt: skip
            side = "right" if place[0] < 2 else "center"
            axes.text(*place, text, fontsize=8.5, color=plots.GREY, ha=side, va="center")
