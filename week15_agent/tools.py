"""Tools: what an agent can do, what a call of one has to look like, and what comes of it.

    calculator = Tool("calculator", "computes", Expression, run=lambda expression: str(…))
    act(Call("calculator", {"expression": "12 * 7"}), tools)   ->   Observation("84", ok=True)

A tool states its arguments once, as a pydantic model: it is held against every call, and is the JSON schema of function
calling. `act` never raises. Whatever goes wrong becomes one line that a language model can read and act upon.

References
    Yao et al., "ReAct", arXiv:2210.03629: actions, and observations that come back as text
    Schick et al., "Toolformer", arXiv:2302.04761: a calculator and a search, called from within a text
    https://json-schema.org, as pydantic writes it
"""

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

LONGEST = 600
"""Characters of an observation: a language model of 135 M parameters gets lost in more."""


class ToolError(ValueError):
    """What a tool refuses, in words for the model: what is wrong and what to write instead."""


class Arguments(BaseModel):
    """What the arguments of a tool inherit from: what is not in the schema is an error, not passed over."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Call:
    """A model's wish to use a tool, as it wrote it: neither the name nor the arguments need be right."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:  # a name is a word, as services demand it: it cannot break a protocol
        object.__setattr__(self, "tool", re.sub(r"[^\w.-]+", "_", self.tool.strip())[:64] or "_")

    @property
    def key(self) -> str:
        """Equal for calls that would do the same."""
        shown = {name: " ".join(v.split()) if isinstance(v, str) else v for name, v in self.arguments.items()}
        return f"{self.tool} {json.dumps(shown, sort_keys=True, default=str)}"


@dataclass(frozen=True)
class Observation:
    """What the world answers: a text, and whether the call did what it should."""

    text: str
    ok: bool = True


@dataclass(frozen=True)
class Tool:
    """Something an agent can do.

    Attributes:
        name: what a call names it by.
        description: for the model, in a few words.
        arguments: a pydantic model. The first field is what stands in the brackets of `calculator[12 * 7]`.
        run: is given the fields by name, validated, and returns text; it raises ToolError where it refuses.
        seconds: how long a call may take.
        longest: so many characters of what it returns are kept.
    """

    name: str
    description: str
    arguments: type[BaseModel]
    run: Callable[..., str]
    seconds: float = 5.0
    longest: int = LONGEST

    @property
    def first(self) -> str:
        """The name of the first argument."""
        return next(iter(self.arguments.model_fields))

    @property
    def schema(self) -> dict[str, Any]:
        """The tool as function calling describes it (OpenAI's format, which chat templates take as well)."""
        parameters = self.arguments.model_json_schema()
        parameters.pop("title", None)
        parameters.pop("description", None)
        for one in parameters.get("properties", {}).values():
            one.pop("title", None)
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}

    @property
    def usage(self) -> str:
        """How a call is written: `search[query, since, until]`."""
        return f"{self.name}[{', '.join(self.arguments.model_fields)}]"


Tools = Mapping[str, Tool]
"""By name."""


def by_name(*tools: Tool) -> dict[str, Tool]:
    """The tools as a protocol and `act` want them."""
    return {tool.name: tool for tool in tools}


def act(call: Call, tools: Tools) -> Observation:
    """Carries out a call: finds the tool, validates the arguments, runs it within its time. It never raises.

    A call that runs out of time is left to itself (Python cannot end a thread), so a tool has to be bounded in the work
    it does, too; the limit is for what waits for others, as a search on the network does.
    """
    tool = tools.get(call.tool)
    if tool is None:
        return Observation(f"Error: there is no tool {shortened(call.tool, 40)!r}. Use {any_of(tools)}.", ok=False)
    try:
        arguments = tool.arguments.model_validate(dict(call.arguments))
    except ValidationError as error:
        return Observation(f"Error: {tool.name}: {in_a_line(error)}. Write {tool.usage}.", ok=False)
    found: list[Observation] = []
    thread = threading.Thread(target=lambda: found.append(attempt(tool, arguments)), daemon=True)
    thread.start()
    thread.join(tool.seconds)
    if not found:
        return Observation(f"Error: {tool.name} took longer than {tool.seconds:g} seconds. Ask for less.", ok=False)
    return found[0]


def attempt(tool: Tool, arguments: BaseModel) -> Observation:
    """Runs a tool. Only what it says itself, as ToolError, is shown: other errors may hold what concerns nobody."""
    try:
        text = tool.run(**{name: getattr(arguments, name) for name in type(arguments).model_fields})
        return Observation(shortened(str(text).strip() or "nothing", tool.longest))
    except ToolError as error:
        return Observation(f"Error: {shortened(str(error), tool.longest)}", ok=False)
    except BaseException as error:  # nobody would hear of it: this is a thread of its own
        return Observation(f"Error: {tool.name} failed ({type(error).__name__}). Try it another way.", ok=False)


def any_of(tools: Iterable[str]) -> str:
    """`calculator or search`."""
    return " or ".join(tools) or "none: there is none"


def in_a_line(error: ValidationError) -> str:
    """What pydantic finds wrong, in a line, without what was given (it may be long)."""
    parts = []
    for one in error.errors(include_url=False, include_context=False, include_input=False)[:3]:
        where = ".".join(map(str, one["loc"]))
        parts.append(f"{shortened(where, 40)}: {one['msg'][:1].lower()}{one['msg'][1:]}" if where else one["msg"])
    return shortened("; ".join(parts), 200)


def shortened(text: str, most: int) -> str:
    """The text, or its first `most` characters, at a word's end where that is near, and a sign that more was there."""
    if len(text) <= most:
        return text
    kept = text[:most]
    kept = kept[: kept.rfind(" ")] if kept.rfind(" ") > most - 30 else kept
    return f"{kept.rstrip()} …"
