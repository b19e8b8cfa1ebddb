"""What is wrong, said to a program: application/problem+json, with one line for whoever reads it.

References
    RFC 9457, "Problem details for HTTP APIs"
"""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException

MEDIA = "application/problem+json"
SLUGS = {
    400: "malformed", 401: "key", 404: "unknown", 405: "method", 408: "slow-body", 409: "conflict", 413: "too-large",
    415: "no-pdf", 422: "invalid", 429: "rate", 500: "error", 502: "language-model", 503: "unavailable", 504: "timeout",
}  # fmt: skip
"""What `type` ends in, for programs; people read `detail`."""
SPOKEN = r"[\p{L}\p{N}]"
"""What a question has to have: a letter or a digit."""


class Problem(HTTPException):
    """Ends a request with a status and one line.

    One of Starlette's kind, since only these come whole out of what reads a body.

    Attributes:
        status: of HTTP.
        detail: what was wrong, and what to do.
        headers: of the answer.
        reason: a word for the metrics; not sent.
        more: further members of the answer.
    """

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None, reason: str = "", **more: Any
    ) -> None:
        super().__init__(status, " ".join(detail.split()), dict(headers or {}))
        self.status, self.more = status, more
        self.reason = reason or SLUGS.get(status, "other")

    def body(self, instance: str = "", request_id: str = "") -> dict[str, Any]:
        """What is sent."""
        found = {"type": f"urn:course:problem:{SLUGS.get(self.status, 'other')}", "title": title(self.status),
                 "status": self.status, "detail": self.detail}  # fmt: skip
        found |= {"instance": instance} if instance else {}
        found |= {"request_id": request_id} if request_id else {}
        return found | self.more


def title(status: int) -> str:
    """The status in words, as HTTP has them."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace")


def of_validation(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """What pydantic found wrong with a request, as one line and as a list. What was sent is not sent back."""
    found = [{"where": where(error.get("loc", ())), "what": what(error)} for error in errors[:8]]
    if found and errors[0].get("type") == "json_invalid":
        return Problem(400, f"the body is not JSON: {errors[0].get('ctx', {}).get('error', 'it cannot be read')}.")
    first = found[0] if found else {"where": "body", "what": "invalid"}
    rest = f" (and {len(errors) - 1} more)" * (len(errors) > 1)
    return Problem(422, f"{first['where']}: {first['what']}{rest}.", errors=found)


def what(error: Mapping[str, Any]) -> str:
    """What is wrong at that place, in pydantic's words; where these do not say what to do, in ours."""
    place = tuple(error.get("loc", ()))
    if place == ("body", "file"):
        return "send a PDF as multipart/form-data, with a file name (curl -F file=@paper.pdf)"
    if place == ("body",) and error.get("type") == "model_attributes_type":
        return "send a JSON object, with the header Content-Type: application/json"
    if error.get("ctx", {}).get("pattern") == SPOKEN:
        return "it needs a letter or a digit"
    return str(error.get("msg", "invalid"))


def where(place: Sequence[Any]) -> str:
    """`history.0.question` of ("body", "history", 0, "question"); a place that a caller has made up is cut short."""
    words = [str(word) for word in place]
    return (".".join(words[1:] or words) or "body")[:100]
