"""Online search by flag: three published interfaces behind one call. `--search wikipedia` needs no key.

    wikipedia    the MediaWiki action API: the first sentences of the articles that fit best
    brave        Brave Search; its key stands in $BRAVE_API_KEY
    tavily       Tavily; its key stands in $TAVILY_API_KEY

A key is read from the environment when it is used, and shown or written nowhere. What comes back is other people's
text: it is cut short, freed of marks, and handed on as an observation, never as an instruction.

References
    https://www.mediawiki.org/wiki/API:Search, …/Extension:TextExtracts: action=query, generator=search, prop=extracts
    https://api-dashboard.search.brave.com/app/documentation/web-search
    https://docs.tavily.com/documentation/api-reference/endpoint/search
"""

import html
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from shared.errors import CourseError
from week15_agent.search import LONGEST, Result, observation
from week15_agent.tools import Arguments, Tool, ToolError

SECONDS = 4.0  # without a byte
DEADLINE = 10.0  # for everything: the tries and the waiting between them
TRIES = 3
LARGEST = 1 << 20  # bytes of an answer
SENTENCES, CHARACTERS = 2, 300  # of each passage
AGENT = "sixteen-weeks/1.0 (an open deep-learning course)"
ELSE = "Answer without it, or say that you could not look it up."


@dataclass(frozen=True)
class Request:
    """What is sent."""

    method: str
    url: str
    params: dict[str, Any] | None = None
    body: dict[str, Any] | None = None
    headers: dict[str, str] | None = None


@dataclass(frozen=True)
class Provider:
    """One published interface.

    Attributes:
        url: where it is asked.
        key: the variable of the environment that holds the key; "" where there is none.
        ask: (url, query, k, key) -> the request.
        read: the JSON of an answer -> results; it may raise KeyError, TypeError, ValueError where it has another form.
    """

    name: str
    url: str
    key: str
    ask: Callable[[str, str, int, str], Request]
    read: Callable[[Any], list[Result]]


def ask_wikipedia(url: str, query: str, k: int, key: str) -> Request:
    search = {"action": "query", "generator": "search", "gsrsearch": query, "gsrlimit": k}
    text = {"prop": "extracts|revisions", "exintro": 1, "explaintext": 1, "exsentences": SENTENCES, "exlimit": "max"}
    return Request("GET", url, search | text | {"rvprop": "timestamp", "format": "json", "formatversion": 2})


def read_wikipedia(answer: Any) -> list[Result]:
    if "error" in answer:
        raise ToolError(f"the search refused that ({clean(answer['error']['info'], 80)}). {ELSE}")
    found = []
    for page in sorted(answer.get("query", {}).get("pages", []), key=lambda page: page.get("index", 0)):
        if page.get("extract"):
            date = page.get("revisions", [{}])[0].get("timestamp", "")[:10]
            found.append(Result(clean(page["title"], 100), clean(page["extract"]), date, "Wikipedia", 0.0))
    return found


def ask_brave(url: str, query: str, k: int, key: str) -> Request:
    headers = {"X-Subscription-Token": key, "Accept": "application/json"}
    return Request("GET", url, {"q": query, "count": k, "text_decorations": "false"}, headers=headers)


def read_brave(answer: Any) -> list[Result]:
    found = []
    for one in answer.get("web", {}).get("results", []):
        date = (one.get("page_age") or "")[:10]
        found.append(Result(clean(one["title"], 100), clean(one["description"]), date, site(one["url"]), 0.0))
    return found


def ask_tavily(url: str, query: str, k: int, key: str) -> Request:
    body = {"query": query, "max_results": k, "search_depth": "basic"}
    return Request("POST", url, body=body, headers={"Authorization": f"Bearer {key}"})


def read_tavily(answer: Any) -> list[Result]:
    found = []
    for one in answer["results"]:
        found.append(Result(clean(one["title"], 100), clean(one["content"]), "", site(one["url"]), float(one["score"])))
    return found


PROVIDERS = {
    one.name: one
    for one in (
        Provider("wikipedia", "https://en.wikipedia.org/w/api.php", "", ask_wikipedia, read_wikipedia),
        Provider("brave", "https://api.search.brave.com/res/v1/web/search", "BRAVE_API_KEY", ask_brave, read_brave),
        Provider("tavily", "https://api.tavily.com/search", "TAVILY_API_KEY", ask_tavily, read_tavily),
    )
}


def clean(text: str, most: int = CHARACTERS) -> str:
    """Text of the network in one line, without its marks, cut at a word's end."""
    plain = " ".join(html.unescape(re.sub(r"<[^>]{0,200}>", " ", str(text))).split())
    return plain if len(plain) <= most else f"{plain[:most].rsplit(' ', 1)[0]} …"


def site(url: str) -> str:
    """The host of an address, without www."""
    found = re.match(r"https?://(?:www\.)?([\w.-]+)", str(url))
    return found[1][:60] if found else "unknown"


def key_of(provider: Provider) -> str:
    """The key, from the environment.

    Raises:
        CourseError: there is none, where one is needed.
    """
    key = os.environ.get(provider.key, "").strip() if provider.key else ""
    if provider.key and not key:
        raise CourseError(
            f"--search {provider.name} needs a key: put it into ${provider.key}. `--search wikipedia` needs none."
        )
    if not key.isascii() or not key.isprintable():
        raise CourseError(f"${provider.key} holds no key: it has characters that none has.")
    return key


def fetch(
    provider: Provider, query: str, k: int = 3, url: str = "", pause: Callable[[float], None] = time.sleep
) -> list[Result]:
    """Asks a provider, again where it is worth it: no connection, no time, too many requests, its own fault.

    Args:
        url: another address of the same interface.
        pause: how to wait, for the tests.

    Raises:
        ToolError: there is no answer, or none that can be read; the text says why, in a line for the model.
        CourseError: no key.
    """
    import httpx

    request = provider.ask(url or provider.url, query, k, key_of(provider))
    began, trouble = time.monotonic(), ""
    headers = {"User-Agent": AGENT, **(request.headers or {})}
    with httpx.Client(timeout=SECONDS, headers=headers) as client:  # it follows no redirect: a key goes to one place
        for attempt in range(TRIES):
            wait = 0.5 * 2**attempt
            try:
                options = {"params": request.params, "json": request.body}
                with client.stream(request.method, request.url, **options) as response:
                    status, kind = response.status_code, response.headers.get("content-type", "")
                    again = response.headers.get("retry-after", "")
                    body = limited(response, began)
            except httpx.TimeoutException:
                trouble = f"the search did not answer within {SECONDS:g} seconds"
            except httpx.TransportError as error:
                trouble = f"the search cannot be reached ({type(error).__name__}), as where there is no network"
            else:
                if status == 200:
                    return read(provider, body, kind)[:k]
                trouble = refusal(status)
                if status not in (429, 500, 502, 503, 504):
                    break
                wait = max(wait, float(again)) if re.fullmatch(r"\d{1,5}", again) else wait
            if attempt + 1 == TRIES or time.monotonic() - began + wait > DEADLINE:
                break
            pause(wait)
    raise ToolError(f"{trouble}. {ELSE}")


def limited(response: Any, began: float) -> bytes:
    """The body, if it is not too large and does not come too slowly."""
    body = bytearray()
    for block in response.iter_bytes():
        body += block
        if len(body) > LARGEST:
            raise ToolError(f"the search sent more than {LARGEST >> 20} MB. {ELSE}")
        if time.monotonic() - began > DEADLINE:
            raise ToolError(f"the search took longer than {DEADLINE:g} seconds. {ELSE}")
    return bytes(body)


def refusal(status: int) -> str:
    """What a status means, in words."""
    if status in (401, 403, 422):
        return f"the search refused the key, or the question ({status})"
    if status == 429:
        return "the search has had too many questions (429)"
    return f"the search answered {status}"


def read(provider: Provider, body: bytes, kind: str) -> list[Result]:
    """The results of an answer."""
    if "html" in kind or body.lstrip()[:1] == b"<":
        raise ToolError(f"the search answered with a web page, not with results: a login of the network? {ELSE}")
    try:
        return provider.read(json.loads(body))
    except ToolError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise ToolError(f"the search answered in another form than {provider.name}'s. {ELSE}") from None


class Query(Arguments):
    """What the agent may ask."""

    query: str = Field(min_length=1, max_length=LONGEST, description="what to look for, in a few words")


def tool(name: str, k: int = 2, url: str = "") -> Tool:
    """A provider as the agent's `search`.

    Raises:
        CourseError: there is no such provider, or no key for it.
    """
    provider = PROVIDERS.get(name)
    if provider is None:
        raise CourseError(f"--search {name}: there is no such search. Choose snapshot, {', '.join(PROVIDERS)}.")
    key_of(provider)

    def run(query: str) -> str:
        return observation(fetch(provider, query, k, url), query)

    return Tool("search", "looks things up on the network", Query, run, seconds=DEADLINE + SECONDS)
