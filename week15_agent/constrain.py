"""Constrained decoding: whatever a model's logits are, what it writes is a turn of the ReAct protocol.

    Thought: …            a line, or none
    Action: search[…]     one or more, each on a line; or   Answer: …

A small automaton reads characters and knows in every state which may come next. A token is allowed where all its
characters are, and where so many tokens are left that the turn can still be brought to its end. What that comes to
depends on the state alone, so it is worked out once for each state that is met, and then only looked up.

A turn as `ReAct.write` writes it passes unchanged, token by token, if the model would have written it by itself;
but an answer has one line here, since a small model that may go on behind it does.

References
    Willard and Louf, "Efficient guided generation for large language models", arXiv:2307.09702: masks by state
    Geng et al., "Grammar-constrained decoding for structured NLP tasks without finetuning", arXiv:2305.13971
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

NEVER = 10_000
"""So many more tokens: what is not allowed."""


@dataclass(frozen=True)
class State:
    """Where in a turn we are.

    Attributes:
        place: a fork ("begin", "thought", "action": what has just been ended), or within a text (in_thought, in_input,
            closed: just behind a "]", in_answer, answered: behind its first letter).
        read: at a fork, what has been read of one of the words that may stand there.
    """

    place: str
    read: str = ""


START = State("begin")


class Grammar:
    """The automaton of ReAct turns over characters.

    Args:
        tools: the names that may stand behind "Action: ".
    """

    def __init__(self, tools: Sequence[str]) -> None:
        actions = {f"Action: {name}[": State("in_input") for name in tools}
        answer = {"Answer: ": State("in_answer")}
        self.words: dict[str, Mapping[str, State]] = {
            "begin": {"Thought: ": State("in_thought")} | actions | answer,
            "thought": actions | answer,
            "action": actions,
        }

    def after(self, state: State, char: str) -> State | None:
        """The state behind one more character; None where it may not come."""
        if state.place in self.words:
            read = state.read + char
            words = self.words[state.place]
            if read in words:
                return words[read]
            return State(state.place, read) if any(word.startswith(read) for word in words) else None
        if state.place == "in_answer":  # an answer is not of spaces alone
            return State("in_answer") if char == " " else State("answered") if char.isprintable() else None
        if state.place == "answered":
            return state if char.isprintable() else None
        if char == "\n":
            return {"in_thought": State("thought"), "closed": State("action")}.get(state.place)
        if not char.isprintable():  # what str.splitlines breaks a line at is not printable either
            return None
        if state.place == "in_thought":
            return state
        return State("closed") if char == "]" else State("in_input")

    def follow(self, state: State | None, text: str) -> State | None:
        """The state behind a text."""
        for char in text:
            if state is None:
                return None
            state = self.after(state, char)
        return state

    def ends(self, state: State) -> bool:
        """Whether a turn may be over here."""
        return state.place in ("closed", "answered")

    def distance(self, state: State) -> int:
        """So many characters at least lie between a state and an end."""
        if state.place in self.words:
            words = self.words[state.place].items()
            return min(
                len(word) - len(state.read) + self.distance(to) for word, to in words if word.startswith(state.read)
            )
        if state.place == "in_thought":
            return 1 + self.distance(State("thought"))
        return 0 if self.ends(state) else 1


class Constraint:
    """The grammar over the tokens of a model.

    Args:
        tokenizer: of the model. Every single character of the grammar's words is a token of it.
        end: the token that ends a turn.
        tools: the names that may be called.
        size: how many logits the model has; there may be more than the tokenizer has tokens.
    """

    def __init__(self, tokenizer: Any, end: int, tools: Sequence[str], size: int = 0) -> None:
        self.grammar, self.end = Grammar(tools), end
        self.texts = texts_of(tokenizer)
        self.size = max(size, len(self.texts))
        self.known: dict[State, Int[np.ndarray, " vocab"]] = {}

    def costs(self, state: State) -> Int[np.ndarray, " vocab"]:
        """For each token, how many more are needed behind it at least until the turn is over, its end token included:
        0 for the end token itself, NEVER for what is not allowed here."""
        if state not in self.known:
            self.known[state] = self._costs(state)
        return self.known[state]

    def _costs(self, state: State) -> Int[np.ndarray, " vocab"]:
        # exercise 3: the mask of a state
        # state -> (self.size,) whole numbers, one a token: how many tokens at least must follow it until the turn is
        # over. self.texts[token] is a token's text, "" where it has none of its own (special tokens): these are never
        # allowed, but self.end is, where the grammar lets a turn end (then nothing must follow it: 0). A token is
        # allowed where the grammar can follow its whole text; behind it come grammar.distance(its state) tokens, each
        # of one character if need be, and the end token. Whatever is not allowed costs NEVER.
        # hint: begin with NEVER everywhere. Then walk each token's text through the grammar from this state: where it
        # gets through, what is left from there to the end, and one for the end token, is its cost. The end token last.
        found = np.full(self.size, NEVER, np.int32)
        for token, text in enumerate(self.texts):
            behind = self.grammar.follow(state, text) if text else None
            if behind is not None:
                found[token] = self.grammar.distance(behind) + 1
        if self.grammar.ends(state):
            found[self.end] = 0
        return found
        # end of exercise 3

    def allowed(self, state: State, left: int) -> Bool[np.ndarray, " vocab"]:
        """Which tokens may come next, if `left` tokens are left, this one and the end token included."""
        return self.costs(state) < left

    def after(self, state: State, token: int) -> State:
        """The state behind a token that is allowed; the end token changes nothing."""
        return state if token == self.end else self.grammar.follow(state, self.texts[token])

    @property
    def least(self) -> int:
        """So many tokens a turn must be given, so that any can be brought to its end."""
        return self.grammar.distance(START) + 1

    def masked(
        self, logits: Float[Tensor, "rows vocab"], states: Sequence[State], left: int
    ) -> Float[Tensor, "rows vocab"]:
        """The logits with minus infinity where a row's state allows no token."""
        open_to = torch.from_numpy(np.stack([self.allowed(state, left) for state in states]))
        return logits.masked_fill(~open_to.to(logits.device), -torch.inf)


def texts_of(tokenizer: Any) -> list[str]:
    """The text of each token as it stands within a line: "" of special tokens, and of those that are parts of a
    character (a character above the first two thousand may take several; calls do without)."""
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    many = max(tokenizer.get_vocab().values()) + 1
    anchor = tokenizer("a", add_special_tokens=False)["input_ids"]
    before = len(tokenizer.decode(anchor))
    both = tokenizer.batch_decode([[*anchor, token] for token in range(many)], clean_up_tokenization_spaces=False)
    texts = ["" if token in special else text[before:] for token, text in enumerate(both)]
    return ["" if "\ufffd" in text else text for text in texts]
