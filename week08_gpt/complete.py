"""Completes Python functions: from a beginning, at a line of a file, or token by token with you.

./course run 8 complete 'def mean(numbers):' --doc 'Return the arithmetic mean.'
./course run 8 complete --file area.py --line 12
./course run 8 complete                       # interactive: candidates with their probabilities, you choose
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week08_gpt/complete.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import re
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import tyro
from annotated_types import Gt, Le

from shared import cli
from shared.config import Count, Natural, NonNegative, Seed
from shared.errors import CourseError
from shared.overview import colour_wanted
from shared.sentence_pairs import text_of
from week08_gpt import judge, sample
from week08_gpt.sample import Sampling, filtered
from week08_gpt.trained import Trained, load


@dataclass
class Config:
    """The flags of complete."""

    signature: tyro.conf.Positional[str | None] = None
    """The beginning of a function, as 'def mean(numbers):'. Without it, and without --file: interactive."""
    doc: str = ""
    """Its docstring, which tells the network what it is to do."""
    file: str = ""
    """In the place of a signature: a Python file, completed behind --line."""
    line: Natural = 0
    """The last line of --file that it reads, from 1; 0: all of them."""
    run: str = ""
    """The run's folder (default: the week's newest)."""
    count: Count = 1
    """How many completions."""
    tokens: Count = 150
    """How many tokens each may have."""
    temperature: NonNegative = 0.7
    """Below 1 likely tokens become likelier; 0 always takes the likeliest."""
    top_k: Natural = 0
    """Only the k likeliest tokens may come; 0: all."""
    top_p: Annotated[float, Gt(0), Le(1)] = 0.9
    """Only the fewest tokens that together reach this probability may come; 1: all."""
    seed: Seed = 0
    """Of the first completion; the others have the next ones."""


def prompt_of(cfg: Config) -> str:
    """What is to be gone on from.

    Raises:
        CourseError: signature and file at once, no such file or line, or no beginning of a function.
    """
    if cfg.file:
        if cfg.signature is not None:
            raise CourseError("a signature or --file, not both.")
        path = Path(cfg.file).expanduser()
        if not path.is_file():
            raise CourseError(f"--file {cfg.file}: there is no such file.")
        lines = text_of(path).splitlines()
        if cfg.line > len(lines):
            raise CourseError(f"--line {cfg.line}: {cfg.file} has {len(lines)} lines.")
        return "\n".join(lines[: cfg.line or len(lines)])
    signature = (cfg.signature or "").rstrip()
    if not re.match(r"\s*(@|async\s+def\s|def\s)", signature):
        raise CourseError(f"{cfg.signature!r} is no beginning of a function, as 'def mean(numbers):'.")
    if "\n" not in signature and not signature.endswith(":"):
        signature += ":"
    if not cfg.doc:
        return signature
    indent = " " * (len(signature) - len(signature.lstrip()) + 4)
    return f'{signature}\n{indent}"""{cfg.doc}"""'


def fitted(net: Trained, prompt: str, cut: bool) -> str:
    """The prompt, where it and one token more fit into the block; of a file, where `cut`, as many last lines as do.

    Raises:
        CourseError: it is too long.
    """
    most = net.model.config.block_size - 1
    count = len(net.tokenizer.encode(prompt)) + 1  # and the end in front
    while count > most // 2 and cut and "\n" in prompt:
        prompt = prompt.partition("\n")[2]
        count = len(net.tokenizer.encode(prompt)) + 1
    if count > most:
        raise CourseError(f"a prompt of {count} tokens: the network reads {most + 1} at most (its block). Shorten it.")
    return prompt


def moved(prompt: str) -> tuple[str, str]:
    """A prompt that ends inside a method, from its `def` on, at the left margin, where the functions of the sample
    stand; and what was in front of each line. Any other prompt as it is."""
    found = [*re.finditer(r"^([ \t]+)((?:async[ \t]+)?def\b)", prompt, re.MULTILINE)]
    after = prompt[found[-1].start() :] if found else ""
    if not found or any(line.strip() and not line.startswith(found[-1][1]) for line in after.splitlines()):
        return prompt, ""
    return re.sub(rf"^{found[-1][1]}", "", after, flags=re.MULTILINE), found[-1][1]


def shaded(text: str, prob: float, colour: bool) -> str:
    """A token in green where it was likely (above one half), yellow (above a tenth), or red; plain without colours."""
    if not colour:
        return text
    return f"\33[{32 if prob > 0.5 else 33 if prob > 0.1 else 31}m{text}\33[0m"


def candidates(net: Trained, ids: list[int], sampling: Sampling, count: int = 5) -> list[tuple[int, float]]:
    """The likeliest next tokens with their probabilities, after the filters."""
    with torch.no_grad():
        logits = net.model(torch.tensor([ids[-net.model.config.block_size :]]), last=True)[:, -1]
    probs = filtered(logits.float(), sampling).softmax(dim=-1)[0]
    found = probs.topk(min(count, len(probs)))
    return [(int(token), float(prob)) for token, prob in zip(found.indices, found.values, strict=True) if prob > 0]


def interactive(net: Trained, sampling: Sampling, colour: bool) -> str:
    """Writes a function together with a person, and returns it.

    At each step it shows the likeliest tokens: a number takes one, Enter the first, `!` lets the network finish, text
    in quotes is put in as it is, and `.` (or the end of the input) ends it.
    """
    print("Begin a function, as: def mean(numbers):")
    text = ask("> ").rstrip()
    if not text:
        return ""
    ids = [net.tokenizer.end, *net.tokenizer.encode(text)]
    print("A number takes a candidate, Enter the first; 'text' puts it in; ! finishes; . ends.")
    while True:
        found = candidates(net, ids, sampling)
        print(f"\n{net.tokenizer.decode(ids[1:])}")
        words = [f"{n} {shaded(visible(net, t), p, colour)} {p:.0%}" for n, (t, p) in enumerate(found, 1)]
        answer = ask("   ".join(words) + "   > ", end=".")
        if answer == ".":
            break
        if answer == "!":
            prompt = net.tokenizer.decode(ids[1:])
            (one,) = sample.complete(net.model, net.tokenizer, [prompt], sampling, 150)
            return prompt.rstrip() + one.text
        if answer[:1] in "'\"" and answer:
            ids += net.tokenizer.encode(answer.strip(answer[0]).encode().decode("unicode_escape"))
            continue
        if answer and not (answer.isdecimal() and 1 <= int(answer) <= len(found)):
            print(f"{answer!r}: must be from 1 to {len(found)}, or ! or . or text in quotes.")
            continue
        token = found[int(answer or 1) - 1][0]
        if token == net.tokenizer.end:
            break
        ids.append(token)
    return net.tokenizer.decode(ids[1:])


def visible(net: Trained, token: int) -> str:
    """A token so that its spaces and line ends are seen."""
    return repr(net.tokenizer.decode([token]))[1:-1]


def ask(prompt: str, end: str = "") -> str:
    """What is typed; `end` at the end of the input."""
    try:
        return input(prompt)
    except EOFError:
        return end


def main(cfg: Config) -> list[str]:
    """Completes a function and says whether it parses and which of its names nobody defines. Returns what it wrote.

    Nothing that it writes is run.
    """
    net, colour = load(cfg.run), colour_wanted()
    sampling = Sampling(cfg.temperature, cfg.top_k, cfg.top_p)
    if cfg.signature is None and not cfg.file:
        text = interactive(net, sampling, colour)
        print(f"\n{text}")
        return [text]
    prompt, margin = moved(fitted(net, prompt_of(cfg), bool(cfg.file)))
    written: list[Any] = sample.complete(
        net.model, net.tokenizer, [prompt] * cfg.count, sampling, cfg.tokens,
        seeds=[cfg.seed + number for number in range(cfg.count)],
    )  # fmt: skip
    for number, one in enumerate(written, 1):
        shown, at = "", 0
        for token, prob in zip(one.ids, one.probs, strict=True):
            piece = net.tokenizer.decode([token])
            if token == net.tokenizer.end or at >= len(one.text):
                break
            shown += shaded(piece[: len(one.text) - at].replace("\n", f"\n{margin}"), prob, colour)
            at += len(piece)
        begun = prompt.rstrip().replace("\n", f"\n{margin}")
        begun = margin + (begun.splitlines()[-1].strip() if cfg.file and not margin else begun)
        print(f"{f'--- {number}' if cfg.count > 1 else ''}\n{begun}{shown.rstrip()}".lstrip("\n"))
        code = prompt.rstrip() + one.text
        if not judge.parses(code):
            print(f"# does not parse{' (it was cut off: --tokens)' if one.why == 'length' else ''}")
        elif strange := judge.undefined(code):
            print(f"# parses; not defined in it: {', '.join(sorted(strange))}")
        else:
            print("# parses, and all its names are defined")
    return [one.text for one in written]


if __name__ == "__main__":
    cli.launch(main, Config)
