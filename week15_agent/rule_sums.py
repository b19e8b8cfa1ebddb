"""Sums in words, by rules: numbers in words, phrases as a small grammar, chains and stories by the words in them.

    sum_of("what is the sum of 4 and twice 3?")             ->  ((4)+((3)*2))
    sum_of("start with 4. double it. what do you get?")     ->  ((4)*2)

What stands for an operation is in rules.txt. It is half of the baseline; rules.py is the other.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from week15_agent.wording import ONES, TENS

N = r"-?\d+(?:\.\d+)?"

# ---------------------------------------------------------------- numbers in words

WORTH = {word: number for number, word in enumerate(ONES)} | {word: 10 * n for n, word in enumerate(TENS) if n > 1}
ONE = "|".join(sorted(WORTH, key=len, reverse=True))
IN_WORDS = re.compile(rf"\b(?:{ONE})(?:(?:[- ]| and )(?:{ONE}|hundred|thousand|million))*\b", re.I)


def in_digits(text: str) -> str:
    """`three hundred and five` as 305. Two numbers that are joined by an `and` stay two: `five and six`."""

    def read(match: re.Match[str]) -> str:
        found, total, last, scaled = [], 0, 0, False
        for word in re.split(r"[- ]", match[0].lower()):
            if word == "and":
                if not scaled:
                    found.append(total + last)
                    found.append(word)
                    total, last = 0, 0
            elif word == "hundred":
                last, scaled = last * 100, True
            elif word in ("thousand", "million"):
                total, last, scaled = (total + last) * (1000 if word == "thousand" else 10**6), 0, True
            else:
                last, scaled = last + WORTH[word], False
        return " ".join(map(str, [*found, total + last]))

    return IN_WORDS.sub(lambda match: match[0] if match[0].lower() == "one" else read(match), text)


# ---------------------------------------------------------------- phrases

ALONE = (("half (?:of )?{p}", "({p})/2"), ("(?:double|twice) {p}", "({p})*2"), ("(?:triple|thrice) {p}", "({p})*3"))
SIGNS = str.maketrans({"×": "*", "÷": "/", "−": "-"})


@cache
def said(kind: str) -> list[tuple[str, str]]:
    """[(line, what it stands for)] of the sections of rules.txt of a kind: phrase, does or fact."""
    found, name = [], ""
    for line in (Path(__file__).parent / "rules.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            name = line.removeprefix(f"== {kind} ") if line.startswith(f"== {kind} ") else ""
        elif name and line and not line.startswith("#"):
            found.append((line, name))
    return found


@cache
def patterns() -> list[tuple[re.Pattern[str], str]]:
    return [
        (re.compile("^" + text.replace("{p}", "(?P<p>.+?)").replace("{q}", "(?P<q>.+)") + "$"), op)
        for text, op in said("phrase")
    ]


def expression(phrase: str) -> str | None:
    """A phrase as the calculator takes it, or None. `the sum of 4 and twice 3` is ((4)+((3)*2))."""
    phrase = re.sub(r"^(?:the number|the value of) ", "", phrase.strip(" ,.?!:"))
    plain = re.sub(r"(?<=[\d)]) ?x ?(?=[\d(])", "*", phrase.translate(SIGNS))
    if re.fullmatch(r"[\d\s.+\-*/()]*\d[\d\s.+\-*/()]*", plain):
        return plain if re.fullmatch(N, plain) or re.search(r"[-+*/]", plain) else None
    for pattern, op in patterns():
        for p, q in splits(pattern, phrase):
            left, right = expression(p), expression(q)
            if left is not None and right is not None:
                if op.startswith("<"):
                    left, right, op = right, left, op[1:]
                return f"(({left})*({right})/100)" if op == "%" else f"(({left}){op}({right}))"
    for text, made in ALONE:
        if match := re.fullmatch(text.replace("{p}", "(.+)"), phrase):
            inner = expression(match[1])
            return made.format(p=inner) if inner is not None else None
    return None


def splits(pattern: re.Pattern[str], phrase: str) -> Iterator[tuple[str, str]]:
    """Every way in which a pattern cuts a phrase in two: `the sum of 2 and the sum of 3 and 4` has two."""
    match = pattern.match(phrase)
    while match:
        yield match["p"], match["q"]
        longer = pattern.pattern.replace("(?P<p>.+?)", f"(?P<p>.{{{len(match['p']) + 1},}}?)")
        match = re.match(longer, phrase)


def last_phrase(text: str) -> str | None:
    """The longest end of a text that is a phrase and has all its numbers: of `What do I get for 3 and 4 together?` the
    last four words."""
    text = text.strip(" ,.?!:")
    first = re.search(r"\d", text)
    starts = [0, *(match.end() for match in re.finditer(r"[ (]+", text))]
    for start in starts:
        if first and start <= first.start():
            found = expression(text[start:])
            if found is not None:
                return found
    return None


def in_symbols(text: str) -> str | None:
    """A sum that stands there in signs, if it has all numbers of the text."""
    plain = re.sub(r"(?<=[\d)]) ?x ?(?=[\d(])", "*", text.translate(SIGNS))
    found = max(re.findall(r"[\d(][\d\s.+\-*/()]*[\d)]", plain), key=len, default="")
    whole = len(re.findall(N, found)) == len(re.findall(N, plain)) and re.search(r"[-+*/]", found)
    return found if whole and found.count("(") == found.count(")") else None


# ---------------------------------------------------------------- chains and stories

EACH = re.compile(r"\b(?:each|every|per|apiece|an? (?:hour|day|week|minute|month)|rows? of|trays? of|classes of)\b")
SHARE = re.compile(r"\b(?:equal|equally|evenly|fairly|split|shared?|divided|heirs?)\b|\bhow many \w+ (?:are|is) needed")


def operation(clause: str) -> str:
    """What a clause does: + - * / % or one with its number, as /2; "" where no word says so."""
    return next((op for pattern, op in said("does") if re.search(pattern, clause)), "")


def then(so_far: str, op: str, number: str) -> str:
    """The next step of a chain."""
    if op == "%":
        return f"(({so_far})*{number}/100)"
    return f"(({so_far}){op if len(op) > 1 else op + number})"


def clauses(text: str) -> list[str]:
    """The sentences, and the steps within them."""
    parts = re.split(r"(?<=[a-z%\d)])[.;:?!](?:\s+|$)|, (?:then|and|after that) |; |, then ", text)
    return [part.strip(" ,") for part in parts if part.strip(" ,")]


CHAIN = re.compile(
    r"^(?:start|take|begin|think|let|i have the|you have|write|given|type|we start|my number|here is|say|set out|enter"
    r"|the first|put|suppose|imagine|our|pick|choose|assume|with|from|first)\b"
)
ASIDE = re.compile(
    r"^(?:i am|i slept|i have|my |it is \d+ degrees|room \d|page \d|the bus leaves|there are \d+ people here)"
)


def chain(text: str) -> str | None:
    """`Start with 4. Double it. What do you get?`: from the first number on, each clause a step."""
    so_far = None
    for clause in clauses(text):
        clause = re.sub(r"\b1 (?=of \d+ equal)|\bkeep 1\b|\beach 1\b| into your calculator| to begin", "", clause)
        found = re.findall(N, clause)
        op = operation(clause)
        if so_far is None:
            so_far = last_phrase(clause) or (found[0] if found else None)
        elif len(op) > 1:
            so_far = then(so_far, op, "")
        elif op and len(found) == 1:
            so_far = then(so_far, op, found[0])
        elif found:
            return None
    return so_far if so_far is not None and re.search(r"[-+*/]", so_far) else None


def story(text: str) -> str | None:
    """A word problem, by the words in it; None where it has no numbers or too many."""
    parts = clauses(text)
    parts = [part for part in parts if not ASIDE.match(part)]
    text = ". ".join(parts)
    found = re.findall(N, text)
    if not 2 <= len(found) <= 4:
        return running(parts)
    last = parts[-1]
    together = re.search(r"\b(?:together|in all|altogether|both|add up|sum|all of them)\b", last)
    if re.search(r"%|\bpercent", text):
        return of_share(text, found, last)
    if "average" in last:
        many = 2 if re.search(r"\b(?:two|2)\b", last) else 3 if len(found) > 3 else len(found)
        found = found[:many]
        return f"(({'+'.join(found[:many])})/{many})"
    a, b, *more = found
    times = re.search(rf"({N}) times as", text)
    if times and len(found) == 2:
        base = b if times[1] == a else a
        product = f"({base}*{times[1]})"
        return f"({base}+{product})" if together else f"({product}-{base})" if "how many more" in last else product
    if len(found) == 3 and (rate := by_rate(text, found)):
        return rate
    if len(found) == 2 and together and (apart := re.search(r"\b(?:more|older|(fewer|less|younger))\b", text)):
        return f"({a}+({a}{'-' if apart[1] else '+'}{b}))"
    if re.search(r"\bfence|all (?:a)?round|border of", last) and len(found) == 2:
        return f"(({a}+{b})*2)"
    grouped = EACH.search(text) or re.search(r"\blong and\b|\bmeasures\b", text)
    if SHARE.search(text):
        if not more:
            return f"({a}/{b})" if float(a) >= float(b) else f"({b}/{a})"
        if len(more) == 1:
            if re.search(r"\btogether\b|\bpool", text):
                return f"(({a}+{b})/{more[0]})"
            if re.search(r"\bshare the (?:cost|price|bill)", text):
                return f"({b}*{more[0]}/{a})"
            if re.search(r"\brest\b|\bwhat is left|\bremain", text):
                return f"(({a}-{b})/{more[0]})"
            whose = next((number for number, part in enumerate(parts) if SHARE.search(part)), 0)
            if whose == 0 and not grouped:  # shared first, and then something happens to a part
                few, many = sorted((a, b), key=float)
                return then(f"({many}/{few})", operation(" ".join(parts[1:])) or "-", more[0])
            if grouped:
                return f"(({a}*{b})/{more[0]})"
            return f"({then(a, '+' if operation(parts[0]) == '+' else '-', b)}/{more[0]})"
    if len(found) == 3 and re.search(r"\d+ grams of \w+ and \d+ grams", text):
        return f"(({a}+{b})*{more[0]})"
    if grouped:
        return of_groups(text, parts, a, b, more)
    return running(parts)


def by_rate(text: str, found: list[str]) -> str | None:
    """So much a month for so many months, and a third number that is added, or that this is taken from."""
    rate = re.search(
        rf"({N}) (?:\w+ ){{0,3}}(?:an?|per|every|each) (hour|day|week|month|minute|year|kilometre|metre)\b", text
    )
    many = rate and re.search(rf"({N}) {rate[2]}s\b", text)
    if not rate or not many or rate[1] == many[1]:
        return None
    rest = list(found)
    rest.remove(rate[1])
    rest.remove(many[1])
    product = f"({rate[1]}*{many[1]})"
    if SHARE.search(text):
        return f"({product}/{rest[0]})"
    if re.search(r"\b(?:fee|bonus|in all|delivery|already|before|altogether|gift|plan)\b", text):
        return f"({product}+{rest[0]})"
    if re.search(r"\b(?:left|remain|remains|still|faulty|thrown|tax|taken off|off|over)\b", text):
        return (
            f"({rest[0]}-{product})" if float(rest[0]) > float(rate[1]) * float(many[1]) else f"({product}-{rest[0]})"
        )
    return f"({product}*{rest[0]})"


def of_share(text: str, found: list[str], last: str) -> str | None:
    """Percent of something; less that, or more by that."""
    share = re.search(rf"({N})(?:%| percent)", text)
    rest = [one for one in found if share and one != share[1]]
    if not share or len(rest) != 1:
        return None
    part = f"({rest[0]}*{share[1]}/100)"
    if re.search(r"\b(?:save|saves|saved)\b", last):
        return part
    if re.search(r"\b(?:cheaper|off|discount|others?|not|against|free|no|loses?|left)\b", text):
        return f"({rest[0]}-{part})"
    return f"({rest[0]}+{part})" if re.search(r"\b(?:up|tax|more|raise|rises|dearer|tip)\b", text) else part


def of_groups(text: str, parts: list[str], a: str, b: str, more: list[str]) -> str | None:
    """So many of so many each; and then something more or less, or that again, or all of it shared."""
    last, product = parts[-1], f"({a}*{b})"
    if not more:
        fits = (
            re.search(r"how (?:many|long)", last)
            and not re.search(r"for (?:one|1) \w+", text)
            and max(float(a), float(b)) > 10 * min(float(a), float(b))
        )
        whole = re.search(
            r"\bfinish|\binto each|\bhow many (?:hours|days|minutes|boxes|cartons|bags)|how long does", text
        )
        return f"({max((a, b), key=float)}/{min((a, b), key=float)})" if fits and whole else product
    if len(more) == 2:
        return f"({product}+({more[0]}*{more[1]}))"
    c = more[0]
    if re.search(
        r"\bcosts? \d+ dollars (?:per|a) square|\bof \d+ [\w ]+ each with|\bin \d+ weeks|\bin each of"
        r"|\ba day\. .*in \d+ days|\beach\. how many .* in \d+",
        text,
    ):
        return f"({product}*{c})"
    if re.search(rf"(?:room for|takes|into|to a \w+|per) {c}\b|{c} (?:to a|in each|per) |\beach bus", text):
        return f"({product}/{c})"
    if re.search(r"\bpays with|\bhas (?:a note|a bill)", text):
        return f"({c}-{product})"
    if float(a) > float(b) * float(c) and re.search(r"\bleft|\bremain|\bover\b", last):
        return f"({a}-({b}*{c}))"
    clause = next((part for part in parts if re.search(rf"(?<!\d){c}(?!\d)", part)), "")
    clause = re.sub(
        r"\beach\b|\bearns\b|\bbuys\b|\bcosts?\b|\bpays?\b|\bis paid\b", "", re.split(rf"(?<!\d){b}(?!\d)", clause)[-1]
    )
    op = operation(clause) or operation(last)
    return then(product, op if op in ("+", "-") else "+", c)


def running(parts: list[str]) -> str | None:
    """A count that goes up and down."""
    so_far = None
    for part in parts:
        for clause in re.split(r", (?=\w+ )| and (?=\w+ )", part):
            found = re.findall(N, clause)
            if not found:
                continue
            if so_far is None:
                so_far = found[0]
                found = found[1:]
            op = operation(clause)
            for one in found:
                so_far = then(so_far, op if op in ("+", "-") else "+", one)
    return so_far if so_far and re.search(r"[-+*/]", so_far) else None


# ---------------------------------------------------------------- which of them


def sum_of(plain: str) -> str | None:
    """What is to be reckoned, in a question whose facts are numbers already."""
    whole = plain.rstrip("?.! ")
    more = re.fullmatch(rf"(?:by how much is|how much more is) ({N}) (?:larger |more )?than ({N})", whole)
    than = re.fullmatch(rf"how much (?:more|larger) than ({N}) is ({N})", whole)
    if more or than:
        return f"({more[1]}-{more[2]})" if more else f"({than[2]}-{than[1]})"
    said = re.match(
        rf"(?P<verb>add|subtract|take|multiply|divide|split|increase|raise|reduce) (?P<p>{N})"
        rf" (?P<how>and|to|from|by|into|with) (?P<q>{N})\b",
        whole,
    )
    if said:
        op = dict.fromkeys(("add", "increase", "raise"), "+") | dict.fromkeys(("subtract", "take", "reduce"), "-")
        op["multiply"] = "*"
        sides = (said["q"], said["p"]) if said["how"] == "from" else (said["p"], said["q"])
        return f"({sides[0]}{op.get(said['verb'], '/')}{sides[1]})"
    alone = in_symbols(whole) or last_phrase(whole)
    if alone is not None:
        return alone if re.search(r"[-+*/]", alone.lstrip("-")) else None  # of one number there is nothing to reckon
    together = re.fullmatch(rf"(?:how much are|what do) ({N}) and ({N}) (?:make )?(?:together|in all)", whole)
    if together:
        return f"({together[1]}+{together[2]})"
    return (chain(plain) or story(plain)) if CHAIN.match(plain) else (story(plain) or chain(plain))
