"""A calculator for language models: exact, bounded, and without eval.

    compute("12% of 340")      ->  40.8             compute("9**9**9")         ->  ToolError: too large …
    compute("1/3 + 1/6")       ->  0.5              compute("60 km/h * 2 h")   ->  120 km
    compute("2^100")           ->  1267650600228229401496703205376
    compute("48-15; *3")       ->  99               a semicolon is the = key: what follows goes on with the result

A text goes three ways: its words and signs are cut into tokens and written as a Python expression (only tokens of this
page can come out: names of functions, numbers, operators); Python's own parser makes a tree of it; and `evaluate` walks
over the tree, a node at a time, with fractions. What a node may be is listed; nothing else is ever run.

The work is bounded before it is done: the length of the text, the depth of its brackets, the size of every number.

References
    https://docs.python.org/3/library/ast.html, https://docs.python.org/3/library/fractions.html
    CVE-2023-29374: LangChain's calculator handed a model's words to Python's exec
"""

import ast
import re
from dataclasses import replace
from decimal import Decimal, DecimalException
from fractions import Fraction
from itertools import zip_longest

from pydantic import Field

from week15_agent import units
from week15_agent.arithmetic import (
    CONSTANTS,
    CONTEXT,
    FUNCTIONS,
    OPERATIONS,
    Quantity,
    bits,
    called,
    decimal,
    suffixed,
    too_large,
)
from week15_agent.tools import Arguments, Tool, ToolError

LENGTH, DEPTH = 300, 20
"""Signs of an expression, brackets within brackets."""
SHOWN, DECIMALS = 60, 6
"""Digits of what is shown in full; decimals of what is rounded."""

# ---------------------------------------------------------------- from words to a Python expression

TOKEN = re.compile(
    r"(?P<number>(?:[0-9]+(?:,[0-9]{3}(?![0-9]))*(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+(?![a-z0-9.]))?)"
    r"|(?P<word>°[cf]\b|[a-z]+[2-9]?(?![a-z0-9]))|(?P<sign>\*\*|//|[-+*/^%()!,])|(?P<other>\S)"
)


def unit_power(match: re.Match[str]) -> str:
    """`m^2` is a unit, m2; `e^2` is a power."""
    return match[1] + match[2] if units.named(match[1]) else match[0]


PHRASES = (
    (r"\bto the power of\b", "^"), (r"\bmultiplied by\b", "*"), (r"\bdivided by\b", "/"), (r"\bper ?cent\b", "%"),
    (r"\bsquared\b", "^2"), (r"\bcubed\b", "^3"), (r"[×·∙⋅]", "*"), (r"[÷∕]", "/"), (r"[−–—]", "-"), (r"²", "^2"),
    (r"³", "^3"), (r"√\s*([0-9.]+)", r"sqrt(\1)"), (r"√", "sqrt"), (r"[$€£]", " "), (r"[=?\s]+$", ""),
    (r"\bdegrees?\b", ""), (r"(?<=[0-9)])x(?=[0-9(])", "*"), (r"\b([a-z]+) ?\^ ?([2-9])(?![0-9.])", unit_power),
    (r"(?<![0-9.^*/] )(?<![0-9.^*/])([0-9]+/[0-9]+)(?= ?[a-z])", r"(\1)"),  # 1/2 mile; but 100 km / 2 h
)  # fmt: skip
OPERATORS = {
    "of": "*", "times": "*", "x": "*", "plus": "+", "minus": "-", "over": "/", "per": "/", "mod": "%", "modulo": "%",
    "^": "**", "+": "+", "-": "-", "*": "*", "/": "/", "//": "//", "**": "**", "%": "%",
}  # fmt: skip


def expression(text: str) -> str:
    """The text as a Python expression that is made of this page's words alone: `48-15; *3` is `(48 - 15) * 3`.

    Raises:
        ToolError: as `written`.
        SyntaxError: a bracket is open where a semicolon stands.
    """
    found = ""
    for part in filter(str.strip, text.split(";")):
        found = f"({found}) {written(part, value=True)}" if found else written(part)
        if found.count("(") != found.count(")"):
            raise SyntaxError(part)
    return found


def written(text: str, value: bool = False) -> str:
    """A text without semicolons as a part of a Python expression; `value`: it goes on behind a result.

    What stands behind a value and belongs to it becomes what binds most tightly in Python, a dot and a name:
    `100 km / 2 h` is `100 .km / 2 .h`, and `340 + 12%` is `340 + 12 .percent`. A percent sign before a value is the
    remainder: `17 % 5`.

    Raises:
        ToolError: a sign or word that is none of the calculator's; two values without an operator.
    """
    text = text.lower()
    for old, new in PHRASES:
        text = re.sub(old, new, text)
    found = list(TOKEN.finditer(text))
    out: list[str] = []
    functions: list[bool] = []  # of each open bracket, whether it is a function's: there a comma separates arguments
    for match, next_match in zip_longest(found, found[1:]):
        token, kind, behind = match[0], match.lastgroup, next_match[0] if next_match else ""
        function = token in FUNCTIONS and behind == "("
        if value and units.named(token):
            out.append(f".{token.replace('°', 'deg')}")
        elif value and token == "!":
            out.append(".factorial")
        elif value and token == "%" and not (behind[:1].isdigit() or behind in ("(", *FUNCTIONS, *CONSTANTS)):
            out.append(".percent")
        elif value and token == "," and not any(functions[-1:]):
            raise ToolError("a comma stands between thousands (1,234) or between a function's arguments.")
        elif value and (token in OPERATORS or token in (")", ",")):
            out.append(OPERATORS.get(token, token))
            value = token == ")"
        elif value and kind != "other":
            raise ToolError(f"write an operator before {token[:30]!r}.")
        elif kind == "number":
            if "," in token and any(functions[-1:]):
                raise ToolError(f"{token} may be one number or two. Write {token.replace(',', '')}, or a space.")
            out.append(plain(token))
            value = True
        elif not function and (units.named(token) or token in CONSTANTS):
            out.append(token.replace("°", "deg"))
            value = True
        elif function or token in ("(", "+", "-"):
            out.append(token)
        elif token in OPERATORS or token in (")", ","):
            raise ToolError(f"a number is missing before {token!r}.")
        else:
            raise ToolError(f"{token[:30]!r} is not understood. Numbers, + - * / ^ %, units, {', '.join(FUNCTIONS)}.")
        if token == "(":
            functions.append(bool(out[:-1]) and out[-2] in FUNCTIONS)
        elif token == ")":
            functions = functions[:-1]
        if len(functions) > DEPTH:
            raise ToolError(f"more than {DEPTH} brackets within brackets. Compute it in steps.")
    return " ".join(out)


def plain(number: str) -> str:
    """A number without thousands' commas, as an integer or a fraction: 1.5 is (3/2), so nothing is lost.

    Raises:
        ToolError: its exponent is too large.
    """
    mantissa, _, power = number.replace(",", "").partition("e")
    if len(power.lstrip("+-")) > 4 or abs(int(power or 0)) > 1200:
        raise too_large()
    value = Fraction(mantissa.rstrip(".") or 0) * Fraction(10) ** int(power or 0)
    return str(value) if value.denominator == 1 else f"({value})"


# ---------------------------------------------------------------- from a tree to a value


def compute(text: str) -> Quantity:
    """The value of an expression.

    Raises:
        ToolError: and nothing else, in a line that says what to write instead.
    """
    if len(text) > LENGTH:
        raise ToolError(f"longer than {LENGTH} signs. Compute it in steps.")
    parts = re.split(r"\b(?:in|into|to|as)\b(?! the power)", text.lower())
    if len(parts) > 2 or (len(parts) == 2 and ";" in parts[1]):
        raise ToolError("convert once, at the end: 5 km in miles.")
    try:
        found = [evaluate(ast.parse(expression(part), mode="eval").body) for part in parts]
        if len(found) == 1:
            return found[0]
        value, target = found
        return replace(value, value=units.convert(value.value, value.units, target.units), units=target.units)
    except SyntaxError:
        raise ToolError("not an expression: is a bracket or a number missing? Write it as (12 + 3) * 7.") from None
    except ZeroDivisionError:
        raise ToolError("division by zero.") from None
    except (DecimalException, OverflowError, MemoryError, RecursionError):
        raise too_large() from None


def evaluate(node: ast.expr) -> Quantity:
    """The value of a node of the tree, and of what is below it.

    Raises:
        ToolError: the node is none of those that a calculator needs.
    """
    # exercise 1: one node of the tree
    # node, of Python's ast -> its Quantity. These nodes there are: an integer; the name of a constant (CONSTANTS) or of
    # a unit (1 of it, see suffixed); a value with a dot and a name behind it (suffixed: a unit, percent, factorial);
    # + or - before a value; one of OPERATIONS between two values; a call of one of FUNCTIONS by its name, with plain
    # arguments (called). Everything else, True (an int to Python) included, raises ToolError: the list says what may
    # run, and what is not in it never does. Nothing is computed but by OPERATIONS, called and suffixed: they bound the
    # work.
    # hint: match node: case ast.Constant(int(value)); ast.Name(name); ast.Attribute(inner, name); ast.UnaryOp(sign,
    # inner), with sign an ast.USub or ast.UAdd; ast.BinOp(left, operator, right), where OPERATIONS.get(type(operator))
    # is a function of two quantities; ast.Call(ast.Name(name), arguments, []). replace(quantity, value=…) copies one.
    match node:
        case ast.Constant(int(value)) if not isinstance(value, bool):
            return Quantity(Fraction(value))
        case ast.Name(name) if name in CONSTANTS:
            return CONSTANTS[name]
        case ast.Name(name):
            return suffixed(Quantity(Fraction(1)), name)
        case ast.Attribute(inner, name):
            return suffixed(evaluate(inner), name)
        case ast.UnaryOp(ast.UAdd(), inner):
            return evaluate(inner)
        case ast.UnaryOp(ast.USub(), inner):
            inside = evaluate(inner)
            return replace(inside, value=-inside.value)
        case ast.BinOp(left, operator, right) if type(operator) in OPERATIONS:
            return OPERATIONS[type(operator)](evaluate(left), evaluate(right))
        case ast.Call(ast.Name(name), arguments, []) if name in FUNCTIONS:
            return called(name, [evaluate(argument) for argument in arguments])
    raise ToolError("that is no arithmetic. Write an expression such as (12 + 3) * 7.")
    # end of exercise 1


# ---------------------------------------------------------------- what is shown


def show(one: Quantity) -> str:
    """The quantity as text: exact where that is short, else rounded, which is said."""
    unit = f" {units.shown(one.units)}" if one.units else ""
    value = one.value
    if one.exact and (written := short(value)):
        return written + unit
    near = decimal(value)
    if Decimal("0.001") <= abs(near) < Decimal(10) ** 15 or not near:
        text = f"{near.quantize(Decimal(1).scaleb(-DECIMALS), context=CONTEXT):f}".rstrip("0").rstrip(".")
    else:
        text = f"{near:.9e}"
    exactly = f", exactly {value}" if one.exact and 1 < value.denominator < 1000 and bits(value) < 64 else ""
    return f"{text}{unit} (rounded{exactly})"


def short(value: Fraction) -> str:
    """The value in full, as an integer or a decimal that ends; nothing where it is long or never ends."""
    scale = next((n for n in range(13) if 10**n % value.denominator == 0), None)
    if scale is None or value.numerator.bit_length() > 3.32 * SHOWN:
        return ""
    digits = str(abs(value.numerator) * 10**scale // value.denominator).zfill(scale + 1)
    return "-" * (value < 0) + digits[: len(digits) - scale] + "." * (scale > 0) + digits[len(digits) - scale :]


class Expression(Arguments):
    """What the calculator is given."""

    expression: str = Field(
        description="such as (12 + 3) * 7, 48 - 15; * 3, 12% of 340, 5 km in miles", max_length=2000
    )


CALCULATOR = Tool(
    "calculator",
    "computes exactly: + - * / ^, percentages, units, sqrt, round, min, max; a semicolon goes on with the result",
    Expression, run=lambda expression: show(compute(expression)), seconds=2.0,
)  # fmt: skip
