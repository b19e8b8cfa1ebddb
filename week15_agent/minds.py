"""Language models behind one interface: conversations go in, and what the model says next comes out, as text.

    Local(tokenizer, model, form)                  a causal language model of transformers, as trained here or published
    Service("http://localhost:11434/v1#NAME")      any service that speaks as OpenAI's does (Ollama, vLLM, hosted ones)
    Scripted(["Action: calculator[1 + 1]", …])     says what it is told: for tests, and for looking at the loop alone

Whatever stands in a conversation, be it a question or a search result, cannot end a turn or begin one: the special
tokens of the model are pulled apart in all of it before the template writes its own around it.
"""

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from shared.errors import CourseError
from week15_agent.protocol import FORMATS, Format, Message, Turn, Unparsable, harmless
from week15_agent.tools import Call, Tools

MOST = 96
"""Tokens of a turn."""


@dataclass(frozen=True)
class Said:
    """What a model said: the text, how many tokens that took, and whether it ended by itself."""

    text: str
    tokens: int = 0
    stopped: bool = True


@runtime_checkable
class Mind(Protocol):
    """A language model that an agent thinks with.

    Attributes:
        name: what it is called in tables.
        form: the protocol that it writes.
        brief: whether it was trained on that protocol, so that the system prompt need not explain it.
    """

    name: str
    form: Format
    brief: bool

    def say(self, chats: Sequence[Sequence[Message]], tools: Tools) -> list[Said]:
        """What it says next in each of these conversations.

        Raises:
            CourseError: it cannot be reached.
        """


class Scripted:
    """A model that says the given texts, one after the other, or what a function of the conversation returns."""

    def __init__(self, script: Sequence[str] | Callable[[Sequence[Message]], str], form: Format | None = None) -> None:
        self.name, self.form, self.brief = "scripted", form or FORMATS["react"], True
        self.script = script if callable(script) else list(script)
        self.heard: list[list[Message]] = []

    def say(self, chats: Sequence[Sequence[Message]], tools: Tools) -> list[Said]:
        self.heard += [list(chat) for chat in chats]
        return [Said(self.script(chat) if callable(self.script) else self.script.pop(0)) for chat in chats]


# ---------------------------------------------------------------- here


class Local:
    """A causal language model of transformers. It says its likeliest tokens, so always the same.

    Args:
        tokenizer: with a chat template.
        model: the network, adapters and all.
        form: the protocol that it is to write.
        name: for tables.
        brief: see Mind.
        most: tokens of a turn; what is longer is cut.
        constraint: what may be written (week15_agent/constrain.py), or None: anything.
        size: conversations that are computed at once.
    """

    def __init__(
        self, tokenizer: Any, model: Any, form: Format | None = None, name: str = "local", brief: bool = True,
        most: int = MOST, constraint: Any = None, size: int = 32,
    ) -> None:  # fmt: skip
        self.tokenizer, self.model, self.form = tokenizer, model, form or FORMATS["react"]
        self.name, self.brief, self.most, self.constraint, self.size = name, brief, most, constraint, size
        tokens = {*tokenizer.all_special_tokens, *map(str, tokenizer.added_tokens_decoder.values())}
        own = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True) if len(token) > 1)
        self.special = re.compile(own, re.I) if own else re.compile(r"(?!)")
        from shared.conversation import end_of_turn

        self.end, self.kept = end_of_turn(tokenizer), (None, [])  # what was read, and the tokens of it
        self.knows = {role: knows_role(tokenizer, role) for role in ("system", "tool")}
        self.calls_itself = self.form.name == "native" and "tools" in tokenizer.chat_template

    def prompt(self, chat: Sequence[Message], tools: Tools) -> tuple[list[Any], list[Any] | None]:
        """(messages, tools) as the template is given them: nothing in a message is a special token of this model."""
        safe = [{**message, "content": harmless(message["content"], self.special)} for message in chat]
        if self.calls_itself and not self.brief:  # the template has words of its own for tools
            rest = [message for message in safe if message["role"] != "system"]
            return structured(rest, self.form, tools), [tool.schema for tool in tools.values()]
        if not self.knows["tool"]:
            safe = [{**one, "role": "user"} if one["role"] == "tool" else one for one in safe]
        if not self.knows["system"] and safe[0]["role"] == "system":
            first, second, *rest = safe
            safe = [{"role": "user", "content": f"{first['content']}\n\n{second['content']}"}, *rest]
        return safe, None

    def ids(self, chat: Sequence[Message], tools: Tools) -> list[int]:
        """The tokens of a conversation up to where the model is to speak."""
        from shared.conversation import ids_of, render

        messages, schemas = self.prompt(chat, tools)
        return ids_of(self.tokenizer, render(self.tokenizer, messages, answer=True, tools=schemas))

    def say(self, chats: Sequence[Sequence[Message]], tools: Tools) -> list[Said]:
        prompts, found = [self.ids(chat, tools) for chat in chats], {}
        order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))  # of about the same length together
        for start in range(0, len(order), self.size):
            rows = order[start : start + self.size]
            for row, ids in zip(rows, self.written([prompts[row] for row in rows]), strict=True):
                stopped = ids[-1:] == [self.end]
                text = self.tokenizer.decode(ids, skip_special_tokens=True).strip()
                found[row] = Said(text, len(ids) - stopped, stopped)
        return [found[row] for row in range(len(prompts))]

    def written(self, prompts: list[list[int]]) -> list[list[int]]:
        """The tokens of a turn behind each prompt. Of a conversation that goes on, only what is new is read."""
        from week15_agent.writer import Writer

        writer, before = self.kept if len(prompts) == 1 else (None, [])
        if writer is None or not before or prompts[0][: len(before)] != before or len(prompts[0]) == len(before):
            writer, before = Writer(self.model, self.end), []
        self.kept = (None, [])  # of a turn that is broken off, nothing is known
        new = [prompt[len(before) :] for prompt in prompts]
        turns = writer.turn(writer.read(new), self.most, self.constraint, self.form.stop, self.tokenizer.decode)
        if len(prompts) == 1:  # the last token was written, and read only if it was not the end
            read = turns[0][:-1] if turns[0][-1:] == [self.end] else turns[0]
            self.kept = (writer, [*prompts[0], *read])
        return turns


def knows_role(tokenizer: Any, role: str) -> bool:
    """Whether the chat template writes turns of this role, and does not refuse or lose them."""
    from shared.conversation import render

    mark = "content-7"
    talk = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}, {"role": role, "content": mark}]
    try:
        return mark in render(tokenizer, talk[2:] + talk[:2] if role == "system" else talk)
    except CourseError:
        return False


# ---------------------------------------------------------------- function calling as services want it


def structured(chat: Sequence[Message], form: Format, tools: Tools, as_text: bool = False) -> list[dict[str, Any]]:
    """A conversation in the native protocol with its calls as fields: `tool_calls`, and a message for each result.

    Args:
        chat: the conversation.
        form: the native protocol.
        tools: that may be called.
        as_text: arguments as a JSON text, as services have them; templates take an object.
    """
    out: list[dict[str, Any]] = []
    waiting: list[str] = []
    for message in chat:
        if message["role"] == "tool":
            results = re.findall(r"<tool_response>\n(.*?)\n</tool_response>", message["content"], re.S)
            if not waiting:  # what was written was no turn, and this says so
                out.append({"role": "user", "content": "\n".join(results)})
            for number, result in zip(waiting, results, strict=False):
                out.append({"role": "tool", "tool_call_id": number, "content": result})
            waiting = []
            continue
        turn = read(message, form, tools)
        if turn is None or not turn.calls:
            out.append(dict(message) if turn is None else {"role": "assistant", "content": turn.answer})
            continue
        waiting = [f"call_{len(out)}_{number}" for number in range(len(turn.calls))]
        calls = [
            {"id": number, "type": "function", "function": {
                "name": call.tool,
                "arguments": json.dumps(dict(call.arguments)) if as_text else dict(call.arguments),
            }}
            for number, call in zip(waiting, turn.calls, strict=True)
        ]  # fmt: skip
        out.append({"role": "assistant", "content": turn.thought, "tool_calls": calls})
    return out


def read(message: Message, form: Format, tools: Tools) -> Turn | None:
    """The turn of an assistant's message; None of other messages, and of what is no turn."""
    if message["role"] != "assistant":
        return None
    try:
        return form.parse(message["content"], tools)
    except Unparsable:
        return None


class Service:
    """A model that is served elsewhere, spoken to as OpenAI's are.

    Args:
        address: as http://localhost:11434/v1#llama3.2; without #NAME where the service has one model only.
        form: react as text, or native by the service's own function calling.
        most: tokens of a turn.
        timeout: seconds of silence.

    A key, where the service wants one, is read from COURSE_LM_KEY, or, for https alone, from OPENAI_API_KEY.
    """

    def __init__(self, address: str, form: Format | None = None, most: int = 512, timeout: float = 60.0) -> None:
        self.name, self.form, self.brief, self.most = address, form or FORMATS["native"], False, most
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CourseError(f"--endpoint {address}: must look like http://localhost:11434/v1#NAME.")
        key = os.environ.get("COURSE_LM_KEY") or (os.environ.get("OPENAI_API_KEY") if parts.scheme == "https" else None)
        from openai import OpenAI

        base = address.partition("#")[0].rstrip("/")
        self.client = OpenAI(base_url=base, api_key=key or "none", timeout=timeout, max_retries=1)
        self.model = parts.fragment or self.only_model()

    def only_model(self) -> str:
        """The service's model, if it has a single one."""
        try:
            names = [model.id for model in self.client.models.list().data]
        except Exception as error:  # whatever a library of the network raises
            raise self.in_words(error) from None
        if len(names) != 1:
            raise CourseError(
                f"--endpoint {self.name}: which model? Add #NAME; it has {', '.join(names[:8]) or 'none'}."
            )
        return names[0]

    def say(self, chats: Sequence[Sequence[Message]], tools: Tools) -> list[Said]:
        return [self.say_one(chat, tools) for chat in chats]

    def say_one(self, chat: Sequence[Message], tools: Tools) -> Said:
        """What the service answers, as text of the protocol."""
        options: dict[str, Any] = {"model": self.model, "temperature": 0.0, "max_tokens": self.most}
        if self.form.name == "native":
            options |= {"messages": structured(chat, self.form, tools, as_text=True)}
            options |= {"tools": [tool.schema for tool in tools.values()]}
        else:
            talk = [{**one, "role": "user"} if one["role"] == "tool" else one for one in chat]
            options |= {"messages": talk, "stop": list(self.form.stop)}
        try:
            found = self.client.chat.completions.create(**options)
            choice = found.choices[0]
            text, calls = choice.message.content or "", choice.message.tool_calls or []
        except Exception as error:  # whatever a library of the network raises
            raise self.in_words(error) from None
        tokens = found.usage.completion_tokens if found.usage else 0
        if self.form.name == "native" and calls:
            turn = Turn(text, tuple(Call(one.function.name, arguments(one.function.arguments)) for one in calls))
            text = self.form.write(turn, tools)
        return Said(text, tokens, choice.finish_reason != "length")

    def in_words(self, error: Exception) -> CourseError:
        """One line for what a service may answer; the key is in none of them."""
        import openai

        status = getattr(error, "status_code", None)
        if status in (401, 403):
            what = "refuses the key, or wants one: put it into COURSE_LM_KEY"
        elif status == 404:
            what = f"knows no model {getattr(self, 'model', '')!r}, or nothing at this address (it usually ends in /v1)"
        elif status is not None:
            said = " ".join(str(getattr(error, "message", "") or error).split())
            what = f"answers {status}: {said[:160]}"
        elif isinstance(error, openai.APITimeoutError):
            what = "is silent for too long"
        elif isinstance(error, openai.APIConnectionError):
            what = "does not answer. Is it running, and is the address right?"
        else:
            what = f"answers what is no answer ({type(error).__name__})"
        return CourseError(f"--endpoint {self.name}: the service {what}{'' if what[-1] == '?' else '.'}")


def arguments(text: str) -> dict[str, Any]:
    """A call's arguments as a service writes them; what is no JSON object is left for the tool to refuse."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"input": text}
