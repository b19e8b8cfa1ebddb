"""The agent itself, without any library: think, act, observe, until there is an answer.

    for event in run(mind, tools, "What is 12 % of the population of France?"):
        print(event.kind, event.text)       # thought, action, observation, …, answer

The language model says what is to be done next; this loop does it and tells the model what came of it. It keeps three
promises: it ends (steps and seconds are counted), it does the same thing only once, and it never takes a tool's words
for the model's own.

References
    Yao et al., "ReAct", arXiv:2210.03629, section 2: thoughts are actions without an observation
    Kim et al., "An LLM compiler for parallel function calling", arXiv:2312.04511: calls that wait for nothing, at once
"""

import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Literal

from week15_agent.minds import Mind
from week15_agent.protocol import Format, Message, Unparsable, begin, bracketed, harmless, said
from week15_agent.tools import Call, Observation, Tools, act

Kind = Literal["thought", "action", "observation", "unparsable", "answer", "gave_up"]
Seen = MutableMapping[str, str]
"""Of each call that has been carried out, what came of it."""
AT_ONCE = 4
"""Calls of one turn; what is beyond is refused."""


@dataclass(frozen=True)
class Limits:
    """When an agent gives up: after so many turns of the model, or so many seconds."""

    steps: int = 8
    seconds: float = 120.0


LIMITS = Limits()


@dataclass(frozen=True)
class Event:
    """Something that happened: a thought, a call, what came of it, the answer, or that there is none.

    Attributes:
        kind: what it was.
        text: in words; of an action the call, as calculator[12 * 7].
        ok: False of observations that are errors.
        step: in which turn of the model, from 1.
    """

    kind: Kind
    text: str
    ok: bool = True
    step: int = 1


def run(
    mind: Mind, tools: Tools, question: str, history: Sequence[Message] = (), limits: Limits = LIMITS,
    today: date | None = None,
) -> Iterator[Event]:  # fmt: skip
    """Asks the agent. What happens is yielded as it happens; the last event is an answer, or gave_up.

    Args:
        mind: the language model.
        tools: what it may use.
        question: of the user.
        history: what was said before (questions and answers), for the model to see.
        limits: of steps and time.
        today: for the system prompt; None: the model is not told.
    """
    system, asked = begin(mind.form, tools, question, today, mind.brief)
    messages, seen = [system, *history, asked], {}
    # exercise 4: the loop
    # Yields Events until one is an "answer" or "gave_up", which is the last. messages: the conversation, from the
    # system prompt to the question; seen: a dict for take, empty at first.
    # Up to limits.steps times: the model speaks to the conversation as it stands, mind.say([messages], tools)[0].text,
    # and take(text, mind.form, tools, messages, seen, step), with step from 1, reads that turn, carries out its calls,
    # appends what was said and observed to messages, and yields what happens: pass it on as it comes. An answer ends
    # it all. Before each turn look at the clock, time.monotonic(): once limits.seconds have passed since the beginning,
    # the model is not asked again. Without an answer, yields gave_up(number of turns that there were).
    # hint: time.monotonic() before the loop; while both limits allow it: for event in take(…): yield event, and return
    # behind an event of kind "answer". `step` is 0 where the model was never asked.
    start, step = time.monotonic(), 0
    while step < limits.steps and time.monotonic() - start < limits.seconds:
        step += 1
        text = mind.say([messages], tools)[0].text
        for event in take(text, mind.form, tools, messages, seen, step):
            yield event
            if event.kind == "answer":
                return
    yield gave_up(step)
    # end of exercise 4


def gave_up(steps: int) -> Event:
    """That there is no answer."""
    return Event("gave_up", f"no answer after {steps} step{'s' * (steps != 1)}", ok=False, step=steps)


def take(text: str, form: Format, tools: Tools, messages: list[Message], seen: Seen, step: int = 1) -> Iterator[Event]:
    """What follows from one turn of the model: it is read, its calls are carried out, and both are put to `messages`.

    What is no turn is answered as well: the model is told what to write instead.
    """
    try:
        turn = form.parse(text, tools)
    except Unparsable as error:
        messages.append({"role": "assistant", "content": harmless(text)})
        messages.append(form.observed([Observation(f"Error: {error}", ok=False)]))
        yield Event("unparsable", str(error), ok=False, step=step)
        return
    messages.append(said(form, turn, tools))
    if turn.thought:
        yield Event("thought", turn.thought, step=step)
    if turn.answer:
        yield Event("answer", turn.answer, step=step)
        return
    for call in turn.calls:
        yield Event("action", shown(call, tools), step=step)
    observations = observe(turn.calls, tools, seen)
    for one in observations:
        yield Event("observation", one.text, one.ok, step)
    messages.append(form.observed(observations))


def shown(call: Call, tools: Tools) -> str:
    """A call as ReAct writes it, whichever protocol it came by."""
    return f"{call.tool}[{bracketed(call, tools)}]"


def observe(calls: Sequence[Call], tools: Tools, seen: Seen) -> list[Observation]:
    """What comes of calls, in their order. New ones are carried out side by side, and remembered in `seen`; a call that
    was made before is answered from there, with a word that it was: a model that repeats itself is to notice."""
    new = {call.key: call for call in reversed(calls[:AT_ONCE]) if call.key not in seen}
    if len(new) > 1:
        with ThreadPoolExecutor(len(new)) as pool:
            done = dict(zip(new, pool.map(lambda call: act(call, tools), new.values()), strict=True))
    else:
        done = {key: act(call, tools) for key, call in new.items()}
    found = []
    for number, call in enumerate(calls):
        if number >= AT_ONCE:
            found.append(Observation(f"Error: not done. At most {AT_ONCE} calls at once.", ok=False))
        elif call.key in done and call.key not in seen:
            found.append(done[call.key])
            seen[call.key] = done[call.key].text
        else:
            found.append(again(seen[call.key]))
    return found


def again(text: str) -> Observation:
    """What is said of a call that was made before."""
    return Observation(f"{text} (You have made this call before. Use its result, or do something else.)")


def many(
    mind: Mind, tools: Tools, questions: Sequence[str], limits: Limits = LIMITS, today: date | None = None
) -> list[list[Event]]:
    """The events of many questions, as `run` would yield them: the model speaks to all open conversations at once."""
    talks = [begin(mind.form, tools, question, today, mind.brief) for question in questions]
    events: list[list[Event]] = [[] for _ in questions]
    seen: list[dict[str, str]] = [{} for _ in questions]
    alive, start, step = list(range(len(questions))), time.monotonic(), 0
    while alive and step < limits.steps and time.monotonic() - start < limits.seconds * len(questions):
        step += 1
        texts = mind.say([talks[row] for row in alive], tools)
        for row, one in zip(alive, texts, strict=True):
            events[row] += take(one.text, mind.form, tools, talks[row], seen[row], step)
        alive = [row for row in alive if events[row][-1].kind != "answer"]
    for row in alive:
        events[row].append(gave_up(step))
    return events


def answer_of(events: Sequence[Event]) -> str:
    """The answer; nothing where the agent gave up."""
    return next((event.text for event in reversed(events) if event.kind == "answer"), "")


def counted(events: Sequence[Event]) -> Mapping[str, int]:
    """{steps, calls, errors, unparsable} of a run."""
    kinds = [event.kind for event in events]
    errors = sum(event.kind == "observation" and not event.ok for event in events)
    steps = max((event.step for event in events), default=0)
    return {"steps": steps, "calls": kinds.count("action"), "errors": errors, "unparsable": kinds.count("unparsable")}
