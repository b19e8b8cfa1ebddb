"""A pytest plugin of `./course hint N P`: the smallest call of a learner's function that does not do what it should.

While a test of the piece runs, every call of the functions that the piece stands in is noted: what went in, what came
out, and what the call changed (its arguments, `self`). Behind a failure each is done again by the reference, on copies
of what went in. The smallest one that differs is what is shown: its shapes (level 1), its numbers (level 2).
"""

import ast
import copy
import importlib.util
import inspect
import re
import sys
import textwrap
from collections.abc import Generator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import numpy as np
import pytest

from shared import exercise, plan
from shared.exercise import ROOT, Piece, number_of, shown
from shared.exercise_check import WIDTH
from shared.exercise_plugin import pieces_of, tell

MOST_CALLS, MOST_NUMBERS, MOST_ENTRIES, PRINTED, ROWS = 200, 100_000, 2000, 60, 30
TOLERANCE = 1e-4  # of the largest number
NAME = 16  # columns for a name


Frame = tuple[int, CodeType]
"""A call's frame by its number in memory, which a later call may have again, and by what ran in it."""


class Unfit(Exception):
    """A value that cannot be copied, or a call that the reference does not do either."""


@dataclass
class Call:
    """One call of a learner's function. `after` has what it returned, its arguments and `self` as it left them."""

    piece: Piece
    frame: Frame
    before: dict[str, Any] | None
    state: Any = None
    random: Any = None
    after: dict[str, Any] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=dict)
    line: int = 0
    raised: str = ""
    should: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many numbers went in."""
        return sum(count(value) for value in (self.before or {}).values())


class Recorder:
    """Notes calls; to be set by sys.setprofile."""

    def __init__(self, folder: Path, todo: list[Piece]) -> None:
        self.wanted = {(str(folder / piece.file), piece.function): piece for piece in todo}
        self.calls: list[Call] = []
        self.open: dict[int, Call] = {}

    def __call__(self, frame: FrameType, event: str, value: Any) -> None:
        code = frame.f_code
        piece = self.wanted.get((code.co_filename, code.co_qualname))
        if piece is None or code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE):
            return
        if event == "call" and len(self.calls) < MOST_CALLS:
            call = Call(piece, (id(frame), code), *self.taken(frame))
            self.calls.append(call)
            self.open[id(frame)] = call
        elif event == "return" and (call := self.open.pop(id(frame), None)):
            call.line, call.names = (
                frame.f_lineno,
                {n: shape(v) for n, v in frame.f_locals.items() if n != "self" and n[0] != "_"},
            )
            try:
                call.after = outcome(value, {name: frame.f_locals.get(name) for name in call.before or {}})
            except Unfit:
                call.before = None

    @staticmethod
    def taken(frame: FrameType) -> tuple[dict[str, Any] | None, Any, Any]:
        """Copies of the arguments, None where one cannot be copied; and where the random numbers of torch stand."""
        code = frame.f_code
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        torch = sys.modules.get("torch")
        try:
            given = {name: frame.f_locals[name] for name in names if name in frame.f_locals}
            many = [len(value) for value in given.values() if isinstance(value, dict | list | tuple | str)]
            if max(many, default=0) > MOST_ENTRIES:
                raise Unfit  # a vocabulary: 200 copies of it take longer than the test, and nobody would read it
            arguments = {name: copied(value) for name, value in given.items()}
        except Unfit:
            arguments = None
        if arguments and sum(count(value) for value in arguments.values()) > MOST_NUMBERS:
            arguments = None
        return arguments, None, torch.get_rng_state() if torch else None


# ---------------------------------------------------------------- values


def is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def copied(value: Any) -> Any:
    """A copy that shares nothing; of a tensor its numbers. Unfit where there is none."""
    if is_tensor(value):
        return value.detach().clone()
    if isinstance(value, list | tuple) and any(map(is_tensor, value)):
        parts = [copied(item) for item in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, dict):
        return {copied(name): copied(item) for name, item in value.items()}
    try:
        return copy.deepcopy(value)
    except Exception:
        raise Unfit from None


def leaves(name: str, value: Any, depth: int = 4) -> dict[str, Any]:
    """{name: array or plain value} of all that a value is made of."""
    if is_tensor(value):
        value = value.detach().cpu()
        return {name: value.float().numpy() if value.is_floating_point() else value.numpy()}
    if isinstance(value, np.ndarray):
        return {name: value}
    parts: dict[str, Any] = {}
    if isinstance(value, dict):
        parts = {f"{name}[{key!r}]": item for key, item in value.items()}
    elif isinstance(value, list | tuple) and any(is_tensor(v) or hasattr(v, "__dict__") or not plain(v) for v in value):
        parts = {f"{name}[{i}]": item for i, item in enumerate(value)}
    elif hasattr(value, "state_dict") and "_parameters" in vars(value):  # not before its __init__ has called torch's
        own = {key: item for key, item in vars(value).items() if key[0] != "_" and plain(item)}
        parts = {f"{name}.{key}": item for key, item in (own | value.state_dict()).items()}
    elif is_dataclass(value) and not isinstance(value, type):
        parts = {f"{name}.{one.name}": getattr(value, one.name) for one in fields(value)}
    elif hasattr(value, "__dict__") and not callable(value) and depth > 1 and type(value).__module__[:4] == "week":
        parts = {f"{name}.{key}": item for key, item in vars(value).items()}
    if not parts or depth == 0:
        return {name: value.item() if isinstance(value, np.generic) else value} if plain(value) else {}
    return {key: leaf for part, item in parts.items() for key, leaf in leaves(part, item, depth - 1).items()}


def plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | list | tuple | np.generic)


def count(value: Any) -> int:
    """How many numbers a value is made of."""
    return sum(leaf.size if isinstance(leaf, np.ndarray) else 1 for leaf in leaves("", value).values())


def outcome(returned: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Leaves of what a call returned, and of what it left in its arguments."""
    found = leaves("returned", copied(returned) if is_tensor(returned) else returned)
    for name, value in arguments.items():
        found |= leaves(name, value)
    return {name: leaf.copy() if isinstance(leaf, np.ndarray) else leaf for name, leaf in found.items()}


def differ(found: Any, wanted: Any) -> bool:
    if isinstance(found, np.ndarray) and isinstance(wanted, np.ndarray):
        if found.shape != wanted.shape or found.dtype.kind not in "biufc" or wanted.dtype.kind not in "biufc":
            return found.shape != wanted.shape or bool((found != wanted).any())
        scale = max(1.0, float(np.abs(wanted).max(initial=0)))
        return not np.allclose(found, wanted, rtol=0, atol=TOLERANCE * scale, equal_nan=True)
    if isinstance(found, float) and isinstance(wanted, float | int):
        return not np.isclose(found, wanted, rtol=TOLERANCE, equal_nan=True)
    return type(found) is not type(wanted) or found != wanted


def shape(value: Any) -> str:
    """How a value is named among shapes: `(2, 3)`, or itself where it is a number; `` for what has none."""
    if is_tensor(value) or isinstance(value, np.ndarray):
        return str(tuple(value.shape))
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, np.generic):
        return "()"
    if isinstance(value, list | tuple) and len(value) < 7:
        parts = [shape(item) for item in value]
        first, last = "[]" if isinstance(value, list) else "()"
        comma = "," * (len(parts) == 1 and isinstance(value, tuple))
        return f"{first}{', '.join(parts)}{comma}{last}" if all(parts) else ""
    return ""


def kind(value: Any) -> str:
    """What a result is, and not what it says: its shape, `a number`, `a text`; the next hint has the numbers."""
    if isinstance(value, bool | np.bool_ | None):
        return shape(value)
    return "a text" if isinstance(value, str) else "a number" if isinstance(value, int | float) else shape(value)


def numbers(value: Any) -> str:
    """A value with its numbers, where there are few of them."""
    if isinstance(value, np.ndarray) and value.size > PRINTED:
        return f"{value.shape}, {value.size} numbers from {value.min():.4g} to {value.max():.4g}"
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, suppress_small=True, max_line_width=WIDTH - NAME - 4)
    return repr(value)


# ---------------------------------------------------------------- the reference


def reference(piece: Piece, package: str) -> ModuleType:
    """The reference's module, under a name of its own."""
    name = f"{package}.reference_{Path(piece.file).stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / package / piece.file)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


def done_right(call: Call, package: str) -> dict[str, Any]:
    """What the call should have come to, as `Call.after`. Unfit where the reference cannot tell."""
    arguments = copied(call.before)
    owner: Any = reference(call.piece, package)
    *path, name = call.piece.function.split(".")
    torch = sys.modules.get("torch")
    before = torch.get_rng_state() if torch else None
    try:
        for part in path:
            owner = getattr(owner, part)
        if path and "self" in arguments:
            arguments["self"].__class__ = owner
        if call.random is not None:
            torch.set_rng_state(call.random)
        static = inspect.getattr_static(owner, name)
        function = getattr(static, "__func__", static)
        keywords = {other: value for other, value in arguments.items() if other != "self"}
        held = [arguments["self"]] if "self" in arguments else []
        returned = function(*held, *([owner] if isinstance(static, classmethod) else []), **keywords)
        return outcome(returned, arguments)
    except Exception:
        raise Unfit from None
    finally:
        if torch:
            torch.set_rng_state(before)


def smallest(calls: list[Call], raised: dict[Frame, tuple[int, str]], package: str) -> Call | None:
    """The smallest of the calls that does not do what the reference does."""
    for call in sorted((call for call in calls if call.before is not None), key=lambda call: call.size):
        if call.frame in raised and call is [c for c in calls if c.frame == call.frame][-1]:
            call.line, call.raised = raised[call.frame]
        try:
            call.should = done_right(call, package)
        except Unfit:
            continue
        if call.raised or wrong(call):
            return call
    return None


# ---------------------------------------------------------------- what is shown of it


def rows(table: dict[str, str]) -> list[str]:
    """Names and values in two columns; a value of several lines stays in its own."""
    lines = []
    for name, text in table.items():
        lines += textwrap.indent(text, " " * (NAME + 2)).splitlines()
        head = f"  {name:{NAME - 1}} "
        if len(head) > NAME + 2 and "\n" in text:  # too long a name: its numbers stand below it
            lines.insert(-len(text.splitlines()), head.rstrip())
        else:
            lines[-len(text.splitlines()) or -1] = head + (text.splitlines()[0] if text else "")
    return lines


def wrong(call: Call) -> list[str]:
    """What differs, by name, of what the reference returns or changes."""
    given = {name: leaf for key, value in (call.before or {}).items() for name, leaf in leaves(key, value).items()}
    done = {name: v for name, v in call.should.items() if name not in given or differ(given[name], v)}
    return [
        name for name, wanted in done.items() if (name not in call.after or differ(call.after[name], wanted))
        and not (call.raised and wanted is None)
    ]  # fmt: skip


def shapes_of(call: Call, folder: Path) -> list[str]:
    """Level 1: the shapes at the line that failed, or at the function's end, and what should have come."""
    path = folder / call.piece.file
    code = exercise.read(path).splitlines()[call.line - 1].strip()
    arguments = {name: shape(value) for name, value in (call.before or {}).items() if name != "self"}
    told = ", ".join(f"{name} {text}" for name, text in arguments.items() if text)
    lines = textwrap.wrap(f"{call.piece.function}({told})", WIDTH, subsequent_indent="  ")
    lines += ["", *textwrap.wrap(f"in {shown(path)}:{call.line}: {code}", WIDTH, subsequent_indent="  ")]
    inner = {name: text for name, text in call.names.items() if name not in arguments and text}
    if call.raised and not call.raised.startswith("NotImplementedError"):
        inner = {name: text for name, text in call.names.items() if text and name in code}
        lines += rows(inner)
    elif not call.raised:
        lines += rows(inner)
    lines.append("")
    for name in wrong(call)[:3]:
        should = kind(call.should[name])
        several = "several values" if f"{name}[0]" in call.after else "nothing"
        came = several if call.raised or call.after.get(name) is None else kind(call.after[name])
        if came == should:
            lines.append(f"{name}: {came}, as it should be; but another one" if came.startswith("a ") else
                         f"{name}: {came}, as it should be; but not its numbers")  # fmt: skip
        else:
            lines.append(f"{name}: {came}, should be {should}" if not call.raised else f"{name}: should be {should}")
    return lines


def numbers_of(call: Call, folder: Path) -> list[str]:
    """Level 2: the numbers that went in (of `self` those that the function names, or the reference's where nothing is
    written yet), what came and what should have."""
    given = {name: value for name, value in (call.before or {}).items() if name != "self"}
    table = {name: numbers(leaf) for key, value in given.items() for name, leaf in leaves(key, value).items()}
    stub = (call.raised or "").startswith("NotImplementedError")
    text = exercise.read((ROOT / plan.folder(number_of(folder.name)) if stub else folder) / call.piece.file)
    code = ast.get_source_segment(text, exercise.functions(ast.parse(text))[call.piece.function]) or ""
    state = leaves("self", call.before["self"]) if "self" in (call.before or {}) else {}
    used = {name: leaf for name, leaf in state.items() if re.search(rf"{re.escape(name)}\b", code)}
    table |= {name: numbers(leaf) for name, leaf in used.items()}
    lines = [f"{call.piece.function}, with", *rows(dict(list(table.items())[:ROWS]))]
    lines += [f"  … and {len(table) - ROWS} more"] * (len(table) > ROWS)
    for name in wrong(call)[:2]:
        came, should = call.after.get(name), call.should[name]
        alike = isinstance(came, np.ndarray) and isinstance(should, np.ndarray) and came.shape == should.shape
        if alike and should.size > PRINTED and not call.raised:
            at = tuple(map(int, np.argwhere(~np.isclose(came, should, rtol=TOLERANCE, atol=TOLERANCE))[0]))
            came, should, name = came[at], should[at], name + str(list(at))
        table = {f"{name}, before": numbers(state[name])} if name in state and name not in used else {}
        table |= {name: "nothing yet" if call.raised else numbers(came), "should be": numbers(should)}
        lines += ["", *rows(table)]
    return lines


# ---------------------------------------------------------------- pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    """A fixture calls the learner's functions, too."""
    folder = Path(item.config.getoption("--mine"))
    todo = [one for one in exercise.pieces(ROOT / plan.folder(number_of(folder.name))) if one.number in pieces_of(item)]
    item.recorder = Recorder(folder, todo)
    return (yield from noted(item, folder))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    return (yield from noted(item, Path(item.config.getoption("--mine"))))


def noted(item: pytest.Item, folder: Path) -> Generator[None, Any, Any]:
    """Notes the calls of a test; where it fails, tells of the smallest that is wrong."""
    sys.setprofile(item.recorder)
    try:
        return (yield)
    except (Exception, pytest.fail.Exception) as error:
        sys.setprofile(None)
        raised, step = {}, error.__traceback__
        while step:
            raised[id(step.tb_frame), step.tb_frame.f_code] = step.tb_lineno, f"{type(error).__name__}: {error}"
            step = step.tb_next
        call = smallest(item.recorder.calls, raised, plan.folder(number_of(folder.name)))
        source = textwrap.dedent(inspect.getsource(item.function)).splitlines()
        tell(
            shapes=shapes_of(call, folder) if call else [],
            numbers=numbers_of(call, folder) if call else [],
            region=call.piece.title if call else "",
            source=[f"{item.name}:", *source[:30], *["…"] * (len(source) > 30)],
        )
        raise
    finally:
        sys.setprofile(None)
