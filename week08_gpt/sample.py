"""Writing with a language model: which tokens may come next, drawing one, and when to stop.

    ./course run 8 sample "def area(radius):" --temperature 0.8 --top-p 0.9

References
    A. Holtzman et al., "The curious case of neural text degeneration", arXiv:1904.09751, section 3.1: top-p
    A. Fan, M. Lewis, Y. Dauphin, "Hierarchical neural story generation", arXiv:1805.04833, section 5.4: top-k
    M. Nguyen et al., "Turning up the heat: min-p sampling", arXiv:2407.01082, section 3
    N. Keskar et al., "CTRL", arXiv:1909.05858, section 4.1: the penalty on repetition

The filters stand in the order of transformers: penalty, temperature, top-k, top-p, min-p; each sees what the one before
it has left.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week08_gpt/sample.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import io
import re
import tokenize
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
import tyro
from annotated_types import Gt, Le
from jaxtyping import Bool, Float, Int
from torch import Tensor

from shared import cli
from shared.config import Count, Natural, NonNegative, Positive, Seed, Share
from shared.errors import CourseError

Logits = Float[Tensor, "batch vocab"]


# ---------------------------------------------------------------- which tokens may come next


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen. As they stand here, all tokens may come, each as likely as the model says.

    Attributes:
        temperature: the logits are divided by it: below 1 likely tokens become likelier; 0 takes the likeliest one.
        top_k: only the k likeliest may come (and those as likely as the k-th); 0: all.
        top_p: only the fewest that together reach this probability.
        min_p: only those at least this much as likely as the likeliest.
        repetition_penalty: what the row has already is made less likely, above 1.

    Raises:
        CourseError: one of them is out of its bounds.
    """

    temperature: float | int = 1.0
    top_k: int = 0
    top_p: float | int = 1.0
    min_p: float | int = 0.0
    repetition_penalty: float | int = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.top_p <= 1:
            raise CourseError(f"top-p {self.top_p:g}: must be above 0 and at most 1.")
        if not 0 <= self.min_p < 1:
            raise CourseError(f"min-p {self.min_p:g}: must be at least 0 and below 1.")
        if not 0 <= self.temperature < float("inf"):
            raise CourseError(f"temperature {self.temperature:g}: must be 0 or more.")
        if self.top_k < 0:
            raise CourseError(f"top-k {self.top_k}: must be 0 (all) or more.")
        if not 0 < self.repetition_penalty < float("inf"):
            raise CourseError(f"repetition penalty {self.repetition_penalty:g}: must be above 0; 1 is none.")


def penalised(logits: Logits, seen: Bool[Tensor, "batch vocab"], penalty: float) -> Logits:
    """CTRL: logits of tokens that were seen over the penalty; negative ones times it (as is done since)."""
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def keep_top_k(logits: Logits, k: int) -> Logits:
    """-inf for all but the k largest logits of each row, and those equal to the k-th."""
    # exercise 3: top-k and top-p, top-k
    # logits (batch, vocab), k >= 1, also more than vocab -> logits with -inf where a token may not come.
    # hint: find the k-th largest logit of each row (torch.topk takes no k above vocab), a column; hide what is below.
    smallest = logits.topk(min(k, logits.shape[-1])).values[:, -1:]  # (batch, 1)
    return logits.masked_fill(logits < smallest, float("-inf"))
    # end of exercise 3


def keep_top_p(logits: Logits, p: float) -> Logits:
    """-inf for all but the fewest tokens of each row, from the likeliest on, whose probabilities together reach p."""
    # exercise 3: top-k and top-p, top-p
    # logits (batch, vocab), 0 < p <= 1 -> logits with -inf where a token may not come. The token with which the sum
    # reaches p is among those that may.
    # hint: sort in descending order; softmax; a token stays if the sum of those *before* it, cumsum minus its own, is
    # below p. So the first one always stays. Then back from the sorted order: scatter(1, order, dropped).
    ranked, order = logits.sort(descending=True, dim=-1)
    probs = ranked.softmax(dim=-1)
    dropped = probs.cumsum(dim=-1) - probs >= p  # (batch, vocab), in sorted order
    return logits.masked_fill(dropped.scatter(1, order, dropped), float("-inf"))
    # end of exercise 3


def keep_min_p(logits: Logits, p: float) -> Logits:
    """-inf for tokens less than p times as likely as the likeliest one."""
    probs = logits.softmax(dim=-1)
    return logits.masked_fill(probs < p * probs.amax(dim=-1, keepdim=True), float("-inf"))


def filtered(logits: Logits, sampling: Sampling, seen: Bool[Tensor, "batch vocab"] | None = None) -> Logits:
    """The logits of the distribution that is drawn from; -inf where a token may not come.

    Args:
        logits: (batch, vocab), as the model gives them for the next token.
        sampling: the filters. Their order: penalty, temperature, top-k, top-p, min-p.
        seen: the tokens that each row has already, prompt and all; only the penalty asks.
    """
    if sampling.repetition_penalty != 1 and seen is not None:
        logits = penalised(logits, seen, sampling.repetition_penalty)
    if sampling.temperature == 0:  # the limit: all on the likeliest, the first of equals
        best = logits.argmax(dim=-1, keepdim=True)
        return torch.full_like(logits, float("-inf")).scatter(1, best, 0.0)
    if sampling.temperature != 1:
        logits = logits / sampling.temperature
    if sampling.top_k:
        logits = keep_top_k(logits, sampling.top_k)
    if sampling.top_p < 1:
        logits = keep_top_p(logits, sampling.top_p)
    if sampling.min_p:
        logits = keep_min_p(logits, sampling.min_p)
    return logits


def drawn(probs: Float[Tensor, "batch vocab"], uniform: Float[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """One token a row: the first at which the sum of probabilities passes a number drawn evenly from [0, 1)."""
    sums = probs.double().cumsum(dim=-1)
    wanted = uniform[:, None] * sums[:, -1:]
    return torch.searchsorted(sums, wanted, right=True)[:, 0].clamp(max=probs.shape[-1] - 1)


# ---------------------------------------------------------------- when to stop


class EndOfFunction:
    """Finds where the function that a prompt has begun ends: before the next line that is no deeper than its `def`.

    Blank lines and lines inside brackets or strings do not count. Without a `def` in the prompt it never ends.
    """

    def __init__(self, prompt: str) -> None:
        found = [*re.finditer(r"^([ \t]*)(?:async[ \t]+)?def\b", prompt, re.MULTILINE)]
        self.depth = len(found[-1][1].expandtabs(8)) if found else None
        self.begun = prompt[found[-1].start() :] if found else ""

    def __call__(self, written: str) -> int | None:
        """How many characters of what was written belong to the function, or None: it goes on."""
        if self.depth is None:
            return None
        for line in re.finditer(r"\n([ \t]*)(?=[^\s])", written):
            if len(line[1].expandtabs(8)) <= self.depth and not is_open(self.begun + written[: line.start() + 1]):
                return len(written[: line.start()].rstrip()) + 1  # with the end of its last line
        return None


def is_open(code: str) -> bool:
    """Whether some code ends inside brackets or inside a string of several lines."""
    try:
        for _ in tokenize.generate_tokens(io.StringIO(code).readline):
            pass
    except tokenize.TokenError as error:
        return "multi-line" in str(error) or "triple-quoted" in str(error)
    except SyntaxError:  # of indentation; it says nothing about brackets
        pass
    return False


def held(text: str, stops: Sequence[str]) -> int:
    """How much of a text may be shown: not what may yet become a stop, white space behind the end, or half a letter."""
    shown = len(text.rstrip().rstrip("\N{REPLACEMENT CHARACTER}"))
    for stop in stops:
        for size in range(min(len(stop), len(text)), 0, -1):
            if text.endswith(stop[:size]):
                shown = min(shown, len(text) - size)
                break
    return shown


@dataclass
class Written:
    """What was written behind a prompt.

    Attributes:
        text: up to where it stopped.
        ids: the tokens, also those of which the text shows nothing.
        probs: how likely each was in the distribution that it was drawn from.
        why: end (the model ended it), function, stop (a stop string) or length.
    """

    text: str = ""
    ids: list[int] = field(default_factory=list)
    probs: list[float] = field(default_factory=list)
    why: str = "length"


# ---------------------------------------------------------------- writing


@torch.inference_mode()
def generate(
    model: Any, prompts: Sequence[Sequence[int]], sampling: Sampling, most: int, *, seeds: Sequence[int] = (),
    ended: Callable[[int, int, float], bool] | None = None,
) -> list[list[int]]:  # fmt: skip
    """What the model writes behind each prompt, all at once and with a cache.

    A row gives what it gives alone: short prompts are padded on the left, the padding is hidden, places are counted
    from a row's own first token, and each row draws from its own seed. A row that has filled the block goes on from its
    last half block, which is read anew: it forgets what came before, and its places begin at 0 again.

    Args:
        model: a GPT, in evaluation mode.
        prompts: ids, each of 1 to block size.
        sampling: how tokens are chosen.
        most: tokens to write for each.
        seeds: one for each row; default: 0, 1, 2, …
        ended: called with (row, token, its probability) after each token; True ends that row, with this token.

    Raises:
        CourseError: a prompt that is empty or longer than the block.
    """
    block, device = model.config.block_size, model.tokens.weight.device
    for number, prompt in enumerate(prompts, 1):
        if not 0 < len(prompt) <= block:
            raise CourseError(
                f"prompt {number} has {len(prompt)} tokens: the model reads from 1 to {block} (its block size). "
                "Cut it from the left, or train with a larger --block-size."
            )
    contexts = [list(prompt) for prompt in prompts]  # what each row reads, the newest token last
    written: list[list[int]] = [[] for _ in prompts]
    draws = [torch.Generator().manual_seed(seed) for seed in seeds or range(len(prompts))]
    over, cache = [False] * len(prompts), None
    seen = torch.zeros(len(prompts), model.config.vocab_size, dtype=torch.bool, device=device)
    for row, prompt in enumerate(prompts):
        seen[row, list(prompt)] = True
    for _ in range(most):
        if cache is None:  # at the start, where a row was full, and where half of the rows have ended: read all again
            rows = [row for row in range(len(prompts)) if not over[row]]
            ids, padding = left_padded([contexts[row] for row in rows])
            padding = padding.to(device) if padding.any() else None
            ids, cache = ids.to(device), model.cache(len(rows), padding, min(block, ids.shape[1] + most))
        logits = model(ids, cache, last=True)[:, -1].float()  # (rows, vocab)
        logits = filtered(logits, sampling, seen[rows] if sampling.repetition_penalty != 1 else None)
        probs = logits.softmax(dim=-1)
        if sampling.temperature == 0:
            tokens = probs.argmax(dim=-1)
        else:
            uniform = torch.stack([torch.rand((), generator=draws[row], dtype=torch.float64) for row in rows])
            tokens = drawn(probs, uniform.to(device))
        ids = tokens[:, None]  # (rows, 1): what is read next
        seen[rows, tokens] = True
        for row, token, prob in zip(rows, tokens.tolist(), probs.gather(1, ids)[:, 0].tolist(), strict=True):
            if over[row]:
                continue
            written[row].append(token)
            contexts[row].append(token)
            over[row] = ended is not None and ended(row, token, prob)
            if len(contexts[row]) > block:
                contexts[row], cache = contexts[row][-max(1, block // 2) :], None
        if all(over):
            break
        full = cache is not None and len(cache) == block  # of a row that has ended, and was the longest
        if full or 2 * sum(over[row] for row in rows) >= len(rows):
            cache = None
    return written


def left_padded(rows: Sequence[Sequence[int]]) -> tuple[Int[Tensor, "batch time"], Int[Tensor, " batch"]]:
    """Rows of ids made equally long by zeros on the left, and how many each got."""
    longest = max(map(len, rows))
    padding = [longest - len(row) for row in rows]
    ids = [[0] * pad + list(row) for pad, row in zip(padding, rows, strict=True)]
    return torch.tensor(ids), torch.tensor(padding)


def complete(
    model: Any, tokenizer: Any, prompts: Sequence[str], sampling: Sampling, most: int, *, function: bool = True,
    stops: Sequence[str] = (), seeds: Sequence[int] = (), show: Callable[[int, str], None] | None = None,
) -> list[Written]:  # fmt: skip
    """What the model writes behind each text.

    White space at the end of a prompt is left away: the tokens of code have theirs in front (" return"), and behind
    white space of its own the model would have to go on as it never does in training.

    Args:
        model: a GPT, in evaluation mode, of this tokenizer.
        tokenizer: of tokenizer.py.
        prompts: the texts.
        sampling: how tokens are chosen.
        most: tokens to write for each.
        function: stop at the end of the function that the prompt has begun.
        stops: strings to stop before.
        seeds: of each row.
        show: called with (row, new text) as it grows, for a terminal; what may yet be cut off again is held back.

    Raises:
        CourseError: as generate.
    """
    prompts = [prompt.rstrip() for prompt in prompts]
    ids = [[tokenizer.end, *tokenizer.encode(prompt)] for prompt in prompts]  # as a document begins in training
    ends = [EndOfFunction(prompt) if function else None for prompt in prompts]
    found, shown = [Written() for _ in prompts], [0] * len(prompts)

    def ended(row: int, token: int, prob: float) -> bool:
        one = found[row]
        one.ids.append(token)
        one.probs.append(prob)
        if token == tokenizer.end:
            one.why = "end"
        else:
            one.text = tokenizer.decode(one.ids)
            cuts = [(at, "stop") for stop in stops if (at := one.text.find(stop)) >= 0]
            if ends[row] is not None and (at := ends[row](one.text)) is not None:
                cuts.append((at, "function"))
            if cuts:
                at, one.why = min(cuts)
                one.text = one.text[:at]
        over = one.why != "length"
        if show is not None:
            upto = len(one.text) if over else held(one.text, stops)
            if upto > shown[row]:
                show(row, one.text[shown[row] : upto])
                shown[row] = upto
        return over

    generate(model, ids, sampling, most, seeds=seeds, ended=ended)
    for row, one in enumerate(found):
        if show is not None and shown[row] < len(one.text):
            show(row, one.text[shown[row] :])
    return found


# ---------------------------------------------------------------- the program


@dataclass
class Config:
    """The flags of sample."""

    prompt: tyro.conf.Positional[str] = ""
    """What to go on from, as "def area(radius):"."""
    run: str = ""
    """The run's folder (default: the week's newest)."""
    model: str = ""
    """In place of a run: a published GPT-2, as a folder with config.json, model.safetensors, vocab.json and merges.txt,
    or by its name on the hub (openai-community/gpt2)."""
    count: Count = 1
    """How many continuations, each with a seed of its own."""
    tokens: Count = 200
    """How many tokens to write at most."""
    temperature: NonNegative = 0.8
    """Below 1 likely tokens become likelier; 0 always takes the likeliest."""
    top_k: Natural = 0
    """Only the k likeliest tokens may come; 0: all."""
    top_p: Annotated[float, Gt(0), Le(1)] = 0.95
    """Only the fewest tokens that together reach this probability may come; 1: all."""
    min_p: Share = 0.0
    """Only tokens at least this much as likely as the likeliest may come."""
    repetition_penalty: Positive = 1.0
    """Above 1, what is there already becomes less likely."""
    function: bool = True
    """Stop at the end of the function that the prompt begins."""
    stop: tuple[str, ...] = ()
    """Stop before any of these strings."""
    seed: Seed = 0
    """Of the first continuation; the others have the next ones."""


def main(cfg: Config) -> list[Written]:
    """Writes on from a prompt, token by token as they come. Returns what it has written."""
    if not cfg.prompt.strip():
        raise CourseError('write a beginning behind it, as `./course run 8 sample "def area(radius):"`.')
    if cfg.model:
        from week08_gpt import published, tokenizer

        folder = published.folder_of(cfg.model)
        model, tokens = published.load(folder).for_writing(), tokenizer.load(folder)
        if tokens.vocab_size > model.config.vocab_size:
            raise CourseError(
                f"{folder}: the tokenizer has {tokens.vocab_size} tokens, the model {model.config.vocab_size}: "
                "they do not belong together."
            )
    else:
        from week08_gpt import trained

        net = trained.load(cfg.run)
        model, tokens = net.model, net.tokenizer
    sampling = Sampling(cfg.temperature, cfg.top_k, cfg.top_p, cfg.min_p, cfg.repetition_penalty)
    written = []
    for number in range(cfg.count):
        pieces: list[str] = []  # the prompt is shown with the first of them: one that is refused is not

        def show(_: int, text: str, pieces: list[str] = pieces) -> None:
            print(text if pieces else cfg.prompt.rstrip() + text, end="", flush=True)
            pieces.append(text)

        written += complete(
            model, tokens, [cfg.prompt], sampling, cfg.tokens, function=cfg.function, stops=cfg.stop,
            seeds=[cfg.seed + number], show=show,
        )  # fmt: skip
        if not pieces:
            print(cfg.prompt.rstrip(), end="")
        print("" if written[-1].text.endswith("\n") else "\n")
    return written


if __name__ == "__main__":
    cli.launch(main, Config)
