"""jaxtyping's complaint about a call, in words: `conv2d returns (2, 4, 3), should be (N, C_out, H, W) with N 2`."""

import re

KINDS = {"f": "floats", "bf": "floats", "i": "integers", "u": "unsigned integers", "b": "booleans", "c": "complex"}
WANTED = {"Float": "floats", "Int": "integers", "UInt": "unsigned integers", "Bool": "booleans", "Complex": "complex"}
ARRAY = re.compile(r"([a-z]+)\d*\[([\d,]*)\]\(\w+\)")  # f32[2,3](torch)
TYPE = re.compile(r"(?:jaxtyping\.)?(\w+)\[(\w+), '([^']*)'\]")  # Float[Tensor, 'N C']


def type_error(text: str) -> tuple[str, str]:
    """What came, and what should have, from the text of a TypeCheckError; and the function that it is about, with its
    module. All of the text and "" where it reads otherwise."""
    about = re.search(r"whilst checking the (parameters|return value) of (\S+?)\.?\n", text)
    actual, expected = (re.search(rf"{word}: (.*)", text) for word in ("Actual value", "Expected type"))
    if not about or not actual or not expected:
        return " ".join(text.split()), ""
    actual, expected = actual[1].strip(), re.sub(r"^<class '(.*)'>$", r"\1", expected[1].strip().removesuffix("."))
    parameter = re.search(r"typechecking parameter '(\w+)'", text)
    name = about[2].rpartition(".")[2]
    verb = f"{name} gets {parameter[1]}" if parameter else f"{name} returns"
    came, wanted = ARRAY.fullmatch(actual), TYPE.fullmatch(expected)
    if came and wanted and KINDS.get(came[1]) != WANTED.get(wanted[1], KINDS.get(came[1])):
        return f"{verb}{' as' * bool(parameter)} {KINDS.get(came[1], came[1])}, should be {WANTED[wanted[1]]}", about[2]
    if came and wanted and (dtypes := widths(actual, wanted[1])):
        return f"{verb}{' as' * bool(parameter)} {dtypes[0]}, should be {dtypes[1]}", about[2]
    equals = " =" * bool(parameter and not came and not actual.startswith("("))
    lost = ": is `return` missing?" * (actual == "None" and not parameter)
    sizes = dict(re.findall(r"^(\w+)=(\d+)$", text, re.M))
    return f"{verb}{equals} {value(actual)}, should be {kind(expected, sizes)}{lost}", about[2]


def widths(actual: str, wanted: str) -> tuple[str, str] | None:
    """(float64, float32) where an array of f64 came and Float32 was wanted; None where no width is wanted, or this."""
    names = {"f": "float", "i": "int", "u": "uint"}
    came, should = re.match(r"([fiu])(\d+)\[", actual), re.fullmatch(r"(Float|Int|UInt)(\d+)", wanted)
    if not came or not should or came[2] == should[2]:
        return None
    return names[came[1]] + came[2], should[1].lower() + should[2]


def shape(axes: list[str]) -> str:
    """`(N, C)`, `(C,)`."""
    return f"({', '.join(axes)}{',' * (len(axes) == 1)})"


def parts(text: str) -> list[str]:
    """What commas separate, outside brackets and quotes."""
    found, depth, quoted = [""], 0, False
    for character in text:
        quoted ^= character == "'"
        depth += (character in "([{") - (character in ")]}") if not quoted else 0
        if character == "," and not depth and not quoted:
            found.append("")
        else:
            found[-1] += character
    return [part.strip() for part in found if part.strip()]


def value(text: str) -> str:
    """jaxtyping's sketch of a value, as a person would say it."""
    if came := ARRAY.fullmatch(text):
        return shape([axis for axis in came[2].split(",") if axis])
    if text[:1] == "(" and text[-1:] == ")":
        return f"a tuple of {', '.join(map(value, parts(text[1:-1])))}"
    if text[:1] == "[" and text[-1:] == "]":
        return f"a list of {', '.join(map(value, parts(text[1:-1])))}"
    if text[-1:] == "(" and text[:-1].strip().isidentifier():  # the first of many lines of a repr
        return f"an object {text[:-1].strip()}"
    return text


def kind(text: str, sizes: dict[str, str]) -> str:
    """A type, as a person would say it; `sizes` are those of the axes that are known."""
    axes = [axis for _, _, names in TYPE.findall(text) for axis in names.split()]
    known = ", ".join(f"{axis} {sizes[axis]}" for axis in dict.fromkeys(axes) if axis in sizes)
    return _kind(text) + f" with {known}" * bool(known)


def _kind(text: str) -> str:
    if wanted := TYPE.fullmatch(text):
        return shape(wanted[3].split()) if wanted[3] else f"{wanted[2].removeprefix('nd').lower()} of shape ()"
    if pair := re.fullmatch(r"(tuple|list)\[(.*)\]", text):
        return f"a {pair[1]} of {', '.join(map(_kind, parts(pair[2])))}"
    if " | " in text:
        return " or ".join(map(_kind, text.split(" | ")))
    if text in ("NoneType", "None"):
        return "nothing (None)"
    return f"of type {text}"
