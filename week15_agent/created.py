"""The same agent once more, by LangChain's create_agent: what one gets with a few lines, and what is missing.

create_agent is itself a graph of a model node and a tool node. It wants a chat model of LangChain, so ours is wrapped
in one (`ChatModel`); limits, repeated calls and turns that are none are put in by middleware (`Promises`), which is
what it has for that. Asked the same, it does the same as week15_agent/loop.py, event by event.

References
    https://docs.langchain.com/oss/python/langchain/agents, .../middleware
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any

os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")  # asked for at import

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelCallLimitMiddleware, hook_config
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import StructuredTool

from week15_agent.loop import AT_ONCE, LIMITS, Event, Limits, again, gave_up, shown
from week15_agent.minds import Mind
from week15_agent.protocol import Message, Unparsable, begin, harmless
from week15_agent.tools import Call, Observation, Tools, act

TOLD = "told"
"""The name of a message that tells the model that what it wrote was no turn."""


class ChatModel(BaseChatModel):
    """Any Mind as a chat model of LangChain. Its prompt names the tools already, so they need not be bound to it."""

    mind: Any
    tools: Any

    @property
    def _llm_type(self) -> str:
        return "mind"

    def bind_tools(self, tools: Any, **options: Any) -> "ChatModel":
        return self

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **options: Any
    ) -> ChatResult:
        text = self.mind.say([self.chat(messages)], self.tools)[0].text
        try:
            turn = self.mind.form.parse(text, self.tools)
        except Unparsable as error:
            kept = {"text": harmless(text), "unparsable": str(error)}
            said = AIMessage(content=text, additional_kwargs=kept)
        else:
            number = len(messages)
            calls = [{"name": call.tool, "args": dict(call.arguments), "id": f"call_{number}_{place}"}
                     for place, call in enumerate(turn.calls)]  # fmt: skip
            kept = {"text": self.mind.form.write(turn, self.tools), "thought": turn.thought}
            said = AIMessage(content=turn.answer or turn.thought, tool_calls=calls, additional_kwargs=kept)
        return ChatResult(generations=[ChatGeneration(message=said)])

    def chat(self, messages: Sequence[BaseMessage]) -> list[Message]:
        """LangChain's messages as ours: what the tools said at once is one turn."""
        out: list[Message] = []
        results: list[Observation] = []
        for message, behind in zip(messages, [*messages[1:], None], strict=True):
            text = str(message.content)
            if isinstance(message, ToolMessage):
                results.append(Observation(text))
                if not isinstance(behind, ToolMessage):
                    out.append(self.mind.form.observed(results))
                    results = []
            elif isinstance(message, AIMessage):
                out.append({"role": "assistant", "content": message.additional_kwargs.get("text", text)})
            elif message.name == TOLD:
                out.append(self.mind.form.observed([Observation(text)]))
            else:
                out.append({"role": "system" if isinstance(message, SystemMessage) else "user", "content": text})
        return out


class Promises(AgentMiddleware):
    """What the loop promises and create_agent does not: calls are carried out by `act`, and once; what is no turn is
    told to the model, which may try again."""

    def __init__(self, tools: Tools) -> None:
        super().__init__()
        self.ours = tools

    @hook_config(can_jump_to=["model"])
    def after_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        wrong = state["messages"][-1].additional_kwargs.get("unparsable")
        if not wrong:
            return None
        return {"messages": [HumanMessage(content=f"Error: {wrong}", name=TOLD)], "jump_to": "model"}

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> ToolMessage:
        asked = request.tool_call
        call, texts, made = Call(asked["name"], asked["args"]), {}, {}
        for message in request.state["messages"]:  # the calls of this question, and what came of them
            if isinstance(message, HumanMessage) and message.name != TOLD:
                texts, made = {}, {}
            elif isinstance(message, ToolMessage):
                texts[message.tool_call_id] = str(message.content)
            elif isinstance(message, AIMessage):
                for one in message.tool_calls:
                    made.setdefault(Call(one["name"], one["args"]).key, one["id"])
        at_once = [one["id"] for one in request.state["messages"][-1].tool_calls]
        if asked["id"] in at_once[AT_ONCE:]:
            found = Observation(f"Error: not done. At most {AT_ONCE} calls at once.", ok=False)
        elif made[call.key] == asked["id"]:
            found = act(call, self.ours)
        else:
            found = again(texts[made[call.key]] if made[call.key] in texts else act(call, self.ours).text)
        return ToolMessage(
            content=found.text, tool_call_id=asked["id"], name=call.tool, status="success" if found.ok else "error"
        )


class Agent:
    """create_agent with our model, tools and promises; asked as the loop and the graph are.

    Args:
        mind: the language model.
        tools: what it may use.
        checkpointer: where threads are kept; None: nowhere.
        limits: of steps and time.
        today: for the system prompt.
    """

    def __init__(
        self, mind: Mind, tools: Tools, checkpointer: Any = None, limits: Limits = LIMITS, today: date | None = None
    ) -> None:
        self.tools, self.limits = tools, limits
        wrapped = [
            StructuredTool(name=one.name, description=one.description, args_schema=one.arguments, func=one.run)
            for one in tools.values()
        ]
        self.graph = create_agent(
            ChatModel(mind=mind, tools=tools), wrapped, checkpointer=checkpointer,
            system_prompt=begin(mind.form, tools, "", today, mind.brief)[0]["content"],
            middleware=[Promises(tools), ModelCallLimitMiddleware(run_limit=limits.steps)],
        )  # fmt: skip

    def ask(self, question: str, thread: str = "1") -> Iterator[Event]:
        """The events of a question; the last is an answer, or gave_up."""
        asked = {"messages": [HumanMessage(content=harmless(question))]}
        # create_agent sets a recursion limit of 9,999. A step is five nodes here: limit, model, twice after it, tools
        config = {"recursion_limit": 5 * self.limits.steps + 5, "configurable": {"thread_id": thread}}
        step, waiting, start = 0, {}, time.monotonic()
        for update in self.graph.stream(asked, config, stream_mode="updates"):
            for message in (update.get("model") or {}).get("messages", ()):
                step += 1
                kept = message.additional_kwargs
                if "unparsable" in kept:
                    yield Event("unparsable", kept["unparsable"], ok=False, step=step)
                    continue
                if kept["thought"]:
                    yield Event("thought", kept["thought"], step=step)
                if not message.tool_calls:
                    yield Event("answer", str(message.content), step=step)
                    return
                waiting = dict.fromkeys(one["id"] for one in message.tool_calls)
                for one in message.tool_calls:
                    yield Event("action", shown(Call(one["name"], one["args"]), self.tools), step=step)
            for message in (update.get("tools") or {}).get("messages", ()):
                waiting[message.tool_call_id] = message
            if waiting and all(waiting.values()):  # in the order of the calls, not in that of their ends
                for message in waiting.values():
                    yield Event("observation", str(message.content), message.status == "success", step)
                waiting = {}
            if time.monotonic() - start > self.limits.seconds:
                break
        yield gave_up(step)
