"""Language models behind one flag, `--lm`: they are given messages, and write text piece by piece.

    smollm2                          comes with the course, offline
    extractive                       no language model: it quotes (week11_rag/extractive.py)
    FOLDER, OWNER/NAME               a chat model as transformers saves it, of a folder or of the hub
    http://localhost:11434/v1#NAME   any service that speaks as OpenAI's does (Ollama, vLLM, hosted ones); #NAME is the
                                     model there, and may be left out where there is only one

A key, where the service wants one, is read from COURSE_LM_KEY, or, for https alone, from OPENAI_API_KEY.
"""

import os
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from shared.errors import CourseError

Message = dict[str, str]
"""{role, content}: role is system, user or assistant."""
EXTRACTIVE = "extractive"
CUT = " …"
"""The last piece of an answer that had no room to end."""
SMALL = 1_000_000_000  # parameters: with fewer, a model is not asked to rewrite questions, and is given little to read
ROOM_SMALL, ROOM = 320, 2_400  # tokens of passages for those and for others
SPECIAL = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|<[｜][^<>\n]{1,40}[｜]>|</?s>|<</?SYS>>|\[/?INST\]|</?(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>|"
    r"</?think>",
    re.I,
)
"""What chat templates write around turns, of models that we cannot look into."""


@runtime_checkable  # the tests check types
class Language(Protocol):
    """A language model that a bot can speak with.

    Attributes:
        name: what --lm said.
        small: whether it is too small to be asked more than to answer.
        room: how many tokens of passages it is given.
    """

    name: str
    small: bool
    room: int

    def write(self, messages: Sequence[Message], most: int) -> Iterator[str]:
        """Its answer, piece by piece, of at most so many tokens; where they are too few, CUT is the last piece.

        Raises:
            CourseError: it cannot be reached, or broke off.
        """

    def count(self, text: str) -> int:
        """How many tokens a text has, or about."""

    def harmless(self, text: str) -> str:
        """A foreign text in which nothing is left that the model would take for the beginning or the end of a turn."""


def pulled_apart(text: str, special: re.Pattern[str] = SPECIAL) -> str:
    """`<|im_end|>` becomes `< |im_end| >`: it can still be read, and is a special token no longer.

    It is done again until nothing is found, since taking one apart can make another.
    """
    while special.search(text):
        text = special.sub(lambda match: " ".join([match[0][0], match[0][1:-1], match[0][-1]]), text)
    return text


def open_language(lm: str, device: str = "auto", timeout: float = 120.0) -> "Language | None":
    """The model that `--lm` names; None for `extractive`.

    Args:
        lm: as above.
        device: where a local model computes.
        timeout: how many seconds a service may be silent.

    Raises:
        CourseError: there is no such model, or no such service.
    """
    if lm == EXTRACTIVE:
        return None
    if not lm.strip():
        raise CourseError("--lm '': must be smollm2, extractive, a folder, a name of the hub, or an http(s) address.")
    return Service(lm, timeout) if re.match(r"https?://", lm, re.I) else Local(lm, device)


# ---------------------------------------------------------------- here


class Local:
    """A causal language model of transformers. It answers with its likeliest tokens, so always the same."""

    def __init__(self, lm: str, device: str = "auto") -> None:
        from shared import chat_models
        from shared.conversation import end_of_turn
        from shared.device import choose

        place = choose(device)
        try:
            self.tokenizer, self.model = chat_models.load(lm, device=place.name, dtype=place.dtype)
        except CourseError as error:
            raise CourseError(str(error).replace("--model", "--lm", 1)) from None
        self.name, self.end = lm, end_of_turn(self.tokenizer)
        parameters = sum(weight.numel() for weight in self.model.parameters())
        self.small = parameters < SMALL
        longest = int(getattr(self.model.config, "max_position_embeddings", None) or 4_096)
        self.room = min(ROOM_SMALL if self.small else ROOM, longest // 2)
        tokens = {*self.tokenizer.all_special_tokens, *map(str, self.tokenizer.added_tokens_decoder.values())}
        own = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True) if len(token) > 1)
        self._special = re.compile(f"{own}|{SPECIAL.pattern}" if own else SPECIAL.pattern, re.I)

    def harmless(self, text: str) -> str:
        return pulled_apart(text, self._special)

    def count(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def write(self, messages: Sequence[Message], most: int) -> Iterator[str]:
        """One token after the other, with the keys and values of those before kept."""
        import torch

        from shared.conversation import ids_of, render

        device = next(self.model.parameters()).device
        ids = torch.tensor([ids_of(self.tokenizer, render(self.tokenizer, messages, answer=True))], device=device)
        past, tokens, told = None, [], ""
        for _ in range(most):
            with torch.inference_mode():
                out = self.model(input_ids=ids, past_key_values=past, use_cache=True, logits_to_keep=1)
            past, token = out.past_key_values, int(out.logits[0, -1].argmax())
            if token == self.end or token == self.tokenizer.eos_token_id:
                return
            tokens.append(token)
            ids = torch.tensor([[token]], device=device)
            text = self.tokenizer.decode(tokens, skip_special_tokens=True)
            if len(text) > len(told) and not text.endswith("\N{REPLACEMENT CHARACTER}"):  # a sign of several tokens
                yield text[len(told) :]
                told = text
        yield CUT


# ---------------------------------------------------------------- elsewhere


class Service:
    """A model that is served elsewhere, spoken to as OpenAI's are, by langchain_openai."""

    small, room = False, ROOM

    def __init__(self, address: str, timeout: float = 120.0) -> None:
        self.name, self.timeout = address, timeout
        parts = urlsplit(address)
        self.address, self.model = address.partition("#")[0].rstrip("/"), parts.fragment
        if not parts.hostname:
            raise CourseError(f"--lm {address}: no host in that address; it is to look like http://localhost:11434/v1.")
        self.key_from = next((name for name in ("COURSE_LM_KEY", "OPENAI_API_KEY") if os.environ.get(name)), "")
        if self.key_from == "OPENAI_API_KEY" and parts.scheme != "https":
            self.key_from = ""  # it was not meant for whoever can listen
        from langchain_openai import ChatOpenAI
        from openai import OpenAI

        options: dict[str, Any] = {"base_url": self.address, "timeout": timeout, "max_retries": 1}
        options["api_key"] = os.environ.get(self.key_from) or "none"
        if not self.model:
            self.model = self._only_model(OpenAI(**options))
        # store, organisation and the like are OpenAI's own: a service need not know them
        self.chat = ChatOpenAI(model=self.model, temperature=0.0, stream_usage=False, **options)

    def _only_model(self, client: Any) -> str:
        try:
            names = [model.id for model in client.models.list().data]
        except Exception as error:
            raise self._in_words(error) from None
        if len(names) != 1:
            some = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
            which = f"it has {some}" if names else "it lists none"
            raise CourseError(f"--lm {self.address}: which model? Say {self.address}#NAME; {which}.")
        return names[0]

    def harmless(self, text: str) -> str:
        return pulled_apart(text)

    def count(self, text: str) -> int:
        return len(text) // 4  # English, roughly

    def write(self, messages: Sequence[Message], most: int) -> Iterator[str]:
        """As the service streams it.

        Raises:
            CourseError: it cannot be reached, refuses, is silent for too long, or ends before its answer does.
        """
        ended, latest = "", time.monotonic() + 5 * self.timeout
        try:
            for chunk in self.chat.stream(list(messages), max_tokens=most):
                text = chunk.content if isinstance(chunk.content, str) else chunk.text
                ended = chunk.response_metadata.get("finish_reason") or ended
                if text:
                    yield text
                if time.monotonic() > latest:
                    raise TimeoutError
        except GeneratorExit:
            raise
        except Exception as error:
            raise self._in_words(error) from None
        if not ended:
            raise CourseError(f"--lm {self.address}: the service ended the answer in the middle. Ask again.")
        if ended == "length":
            yield CUT

    def _in_words(self, error: Exception) -> CourseError:
        """One line for what a service may answer."""
        import httpx
        import openai

        status = getattr(error, "status_code", None)
        said = re.sub(r"\s+", " ", str(getattr(error, "message", "") or error))[:160]
        if status in (401, 403):
            what = f"refuses the key in {self.key_from}" if self.key_from else "wants a key: put it into COURSE_LM_KEY"
        elif status == 404:
            what = f"knows no model {self.model!r}, or nothing at this address (it usually ends in /v1)"
        elif status == 429:
            what = "has had enough of questions for now (429). Wait, or look at your account"
        elif status is not None:
            what = f"answers {status}: {said}"
        elif isinstance(error, openai.APITimeoutError | httpx.TimeoutException | TimeoutError):
            what = f"has been silent for {self.timeout:g} seconds, or too long in all"
        elif isinstance(error, openai.APIConnectionError | httpx.TransportError | OSError):
            what = "does not answer, or broke off. Is it running, and is the address right?"
        else:
            what = f"answers what is no answer ({type(error).__name__}: {said})"
        return CourseError(f"--lm {self.address}: the service {what.rstrip('.')}{'' if what[-1] == '?' else '.'}")
