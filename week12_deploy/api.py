"""The routes: documents in and out, questions, and how the service is. `create` makes the application."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, File, Path, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.exceptions import HTTPException
from starlette.routing import Match

from shared.errors import CourseError
from week12_deploy import docs, models, problems, uploads
from week12_deploy.answering import Place
from week12_deploy.gate import Gate, broken
from week12_deploy.library import Listed
from week12_deploy.problems import Problem
from week12_deploy.service import Service

ABOUT = """Answers questions from PDFs, and shows the words that it has the answer from. Errors are
`application/problem+json` (RFC 9457) with one line in `detail`; an answer's `X-Request-ID` stands in the log, too."""
SAID = {
    400: "The body cannot be read.",
    401: "No key, or a wrong one.",
    404: "There is no such document.",
    408: "The body came too slowly.",
    413: "Too large: in bytes, or in pages.",
    415: "What was sent is no PDF.",
    422: "The request, or the PDF in it, is not as it should be.",
    429: "Too many requests for now; Retry-After says how long.",
    500: "Something went wrong here.",
    503: "Not ready, too busy, or what it needs does not answer.",
    504: "It took too long.",
}
Identity = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="The document's id.")]
KEY = [Depends(HTTPBearer(auto_error=False)), Depends(APIKeyHeader(name="X-API-Key", auto_error=False))]
"""Only so that /docs and /openapi.json tell of them: the gate has looked at the key long before."""


def wrong(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These problems as an operation's `responses`; those that every one may have are among them."""
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    every = sorted({401, 429, 500, *statuses})
    return {s: {"description": SAID[s], "content": {problems.MEDIA: {"schema": schema}}} for s in every}


def create(service: Service) -> FastAPI:
    """The application, behind its gate."""
    app = FastAPI(
        title="Talk to your data", version="1.0.0", description=ABOUT, lifespan=service.running, docs_url=None,
        redoc_url=None,
    )  # fmt: skip
    app.state.refused = lambda reason: service.metrics.refused.labels(reason).inc()
    app.add_middleware(Gate, cfg=service.cfg, metrics=service.metrics)
    for kind, handler in ((HTTPException, of_http), (RequestValidationError, of_validation)):
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]
    documents(app, service)
    questions(app, service)
    about(app, service)
    describe(app)
    return app


# ---------------------------------------------------------------- documents


def shown(row: Listed) -> models.Document:
    r = row.record
    return models.Document(
        id=r.id, name=r.name, bytes=r.bytes, pages=r.pages, chunks=row.chunks, status=row.status, detail=row.detail,
        added=r.added,
    )  # fmt: skip


def documents(app: FastAPI, service: Service) -> None:
    """Upload, list, one, delete."""

    async def one(identity: str) -> models.Document:
        row = next((row for row in await service.listed() if row.record.id == identity), None)
        if row is None:
            raise Problem(404, f"there is no document {identity}: GET /documents lists them.")
        return shown(row)

    @app.post(
        "/documents", status_code=201, tags=["documents"], summary="Store a PDF", dependencies=KEY,
        responses={
            200: {"model": models.Document, "description": "These very bytes are stored already."},
            202: {"model": models.Document, "description": "Stored and safe; found as soon as it is indexed."},
            **wrong(400, 408, 413, 415, 422, 503),
        },
    )  # fmt: skip
    async def upload(file: Annotated[UploadFile, File(description="A PDF.")], response: Response) -> models.Document:
        """Stores a PDF and indexes it. When this answers 201 or 202 the document is on the disk, whatever happens next.
        One of the same name is replaced."""
        _, library, _ = service.opened()
        name = uploads.name_of(file.filename)
        with uploads.room():
            identity, received, _ = await asyncio.to_thread(library.store.receive, file.file)
        try:
            pages = (await service.look(received, name)).pages if library.store.get(identity) is None else 0
            with uploads.room():
                record, new = await asyncio.to_thread(library.keep, identity, received, name, pages)
        finally:
            received.unlink(missing_ok=True)
        if not new and (found := await one(identity)).status != "failed":
            response.status_code = 200 if found.status == "ready" else 202
            return found
        try:
            with uploads.room():
                done = await service.index(record)
        except (CourseError, Problem) as error:
            await asyncio.to_thread(library.forget, identity)
            if isinstance(error, Problem):
                raise
            line = uploads.in_words(error, library.store.file(identity), name)
            raise Problem(422 if name in line else 503, line) from None
        service.metrics.documents.set(len(library.store.records()))
        response.status_code = 201 if done else 202
        response.headers["Location"] = f"/documents/{identity}"
        return await one(identity)

    @app.get("/documents", tags=["documents"], summary="All documents", dependencies=KEY, responses=wrong(503))
    async def list_all() -> models.Documents:
        """All documents, by name."""
        return models.Documents(documents=[shown(row) for row in await service.listed()])

    @app.get(
        "/documents/{identity}", tags=["documents"], summary="One document", dependencies=KEY,
        responses=wrong(404, 422, 503),
    )  # fmt: skip
    async def get_one(identity: Identity) -> models.Document:
        """A document, and whether it can be found yet."""
        return await one(identity)

    @app.delete(
        "/documents/{identity}", status_code=204, tags=["documents"], summary="Take a document out", dependencies=KEY,
        responses=wrong(404, 422, 503),
    )  # fmt: skip
    async def delete(identity: Identity) -> None:
        """Takes a document out of the store and the index."""
        _, library, _ = service.opened()
        try:
            there = await asyncio.to_thread(library.remove, identity)
        except CourseError as error:
            raise Problem(503, str(error), {"Retry-After": "5"}) from None
        if not there:
            raise Problem(404, f"there is no document {identity}: GET /documents lists them.")
        service.metrics.documents.set(len(library.store.records()))


# ---------------------------------------------------------------- questions


def questions(app: FastAPI, service: Service) -> None:
    """Ask, ask and hear it as it comes, search."""

    async def place() -> AsyncIterator[Place]:
        """The right to be worked on, before anything of the answer is sent."""
        _, _, answering = service.opened()
        found = await answering.place()
        try:
            yield found
        finally:
            if not found.begun:
                found.give_back()

    def history(asked: models.Question) -> list[tuple[str, str]]:
        return [(turn.question, turn.answer) for turn in asked.history]

    def note(answer: Any) -> models.Answer:
        outcome = "refused" if answer.refused else "given" if answer.complete else "broken off"
        service.metrics.answers.labels(outcome).inc()
        return models.answer_of(answer)

    At = Annotated[Place, Depends(place)]

    @app.post(
        "/ask", tags=["questions"], summary="Ask", dependencies=KEY, responses=wrong(400, 408, 413, 422, 503, 504)
    )  # fmt: skip
    async def ask(asked: models.Question, at: At) -> models.Answer:
        """The answer, with the words of the documents that it rests on; or that it is not in them."""
        bot, _, answering = service.opened()
        async for event in answering.events(at, bot, asked.question, history(asked)):
            if event.kind == "answer":
                return note(event.answer)
        raise RuntimeError("the bot's stream had no answer in it")

    @app.post(
        "/ask/stream", tags=["questions"], summary="Ask, and hear it as it comes", dependencies=KEY,
        response_class=EventSourceResponse,
        responses={
            200: {"description": EVENTS, "content": {"text/event-stream": {"itemSchema": EVENT}}},
            **wrong(400, 408, 413, 422, 503, 504),
        },
    )  # fmt: skip
    async def ask_and_stream(asked: models.Question, at: At, request: Request) -> AsyncIterator[ServerSentEvent]:
        """The answer as server-sent events."""
        bot, _, answering = service.opened()
        began, loop = asyncio.get_running_loop().time(), asyncio.get_running_loop()
        first = True
        try:
            async for event in answering.events(at, bot, asked.question, history(asked)):
                if event.kind == "passages":
                    yield ServerSentEvent(
                        data=models.Found(passages=models.passages_of(event.passages)), event="passages"
                    )
                elif event.kind == "token":
                    if first:
                        service.metrics.first_token.observe(loop.time() - began)
                        first = False
                    yield ServerSentEvent(data=models.Token(text=event.text), event="token")
                else:
                    yield ServerSentEvent(data=note(event.answer), event="answer")
        except Exception as error:  # the status is on its way already: what went wrong is an event, too
            problem = error if isinstance(error, Problem) else broken(error, request.scope["state"]["request_id"])
            service.metrics.refused.labels(problem.reason).inc()
            body = problem.body(request.scope["path"], request.scope["state"]["request_id"])
            yield ServerSentEvent(data=body, event="error")

    @app.post(
        "/search", tags=["questions"], summary="Only the passages", dependencies=KEY,
        responses=wrong(400, 408, 413, 422, 503, 504),
    )  # fmt: skip
    async def search(asked: models.Search, at: At) -> models.Found:
        """The passages that belong to a question, best first; no language model is asked."""
        bot, _, answering = service.opened()
        found = await answering.run(at, lambda: bot.retrieve(asked.question, asked.k))
        return models.Found(passages=models.passages_of(found))


EVENT = {
    "type": "object", "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["passages", "token", "answer", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}  # fmt: skip
EVENTS = """Events, each with a JSON object as its `data`: once `passages` (as Found), then `token` for each piece of
text that is checked (Token), and at the end `answer` (Answer), or `error` (ProblemDetails). Lines that
begin with a colon keep the connection open."""


# ---------------------------------------------------------------- how it is


def about(app: FastAPI, service: Service) -> None:
    """Alive, ready, measured."""

    @app.get("/health", tags=["service"], summary="Is it alive?")
    async def health() -> models.Health:
        """200 as long as the process answers at all; it asks nothing else. For whoever would start it anew."""
        return models.Health()

    @app.get("/ready", tags=["service"], summary="Can it answer?", responses={503: wrong(503)[503]})
    async def ready() -> models.Ready:
        """200 when the models are loaded, the index is up to date and answers. For whoever would send it requests."""
        rows = await service.listed(5.0)
        name = service.embedder.name if service.embedder else "none"
        return models.Ready(
            documents=sum(row.status == "ready" for row in rows), chunks=sum(row.chunks for row in rows),
            language_model=service.cfg.lm.partition("#")[0].rpartition("/")[2] or service.cfg.lm, embedder=name,
        )  # fmt: skip

    @app.get(
        "/metrics", tags=["service"], summary="For Prometheus", dependencies=KEY,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **wrong()},
        response_class=Response,
    )  # fmt: skip
    async def metrics() -> Response:
        """What was counted and measured since the start."""
        text, media = await asyncio.to_thread(service.metrics.text)
        return Response(text, media_type=media)

    @app.get("/docs", include_in_schema=False)
    async def read() -> HTMLResponse:
        return HTMLResponse(docs.page(app.openapi()))

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("/docs" if service.cfg.ui == "none" else "/ui/")


# ---------------------------------------------------------------- problems


def answered(request: Request, problem: Problem) -> Response:
    """A problem as an answer."""
    request.app.state.refused(problem.reason)
    body = problem.body(request.scope["path"], request.scope.get("state", {}).get("request_id", ""))
    return JSONResponse(body, problem.status_code, problem.headers, problems.MEDIA)


async def of_http(request: Request, error: HTTPException) -> Response:
    """A Problem; or what FastAPI itself finds wrong: no such route, or no such method there."""
    if isinstance(error, Problem):
        return answered(request, error)
    line = {404: "there is nothing here: /docs shows what there is.", 405: "this cannot be done here: see /docs."}
    detail = line.get(error.status_code, str(error.detail))
    headers = {"Allow": allowed(request)} if error.status_code == 405 else error.headers
    return answered(request, Problem(error.status_code, detail, headers))


def allowed(request: Request) -> str:
    """The methods that there are at the path of a request: FastAPI tells of those of one route alone."""
    here = [route for route in request.app.routes if route.matches(request.scope)[0] != Match.NONE]
    return ", ".join(sorted(set().union(*(getattr(route, "methods", None) or () for route in here))))


async def of_validation(request: Request, error: RequestValidationError) -> Response:
    """What pydantic finds wrong."""
    return answered(request, problems.of_validation(error.errors()))


def describe(app: FastAPI) -> None:
    """Adds to /openapi.json what FastAPI does not know of: how a problem looks, and headers of every answer."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            schema = plain()
            parts = schema["components"]["schemas"]
            own = models.ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
            parts |= own.pop("$defs", {}) | {"ProblemDetails": own}
            for unused in ("HTTPValidationError", "ValidationError"):
                parts.pop(unused, None)
            number = {"description": "The request's number in the log.", "schema": {"type": "string"}}
            wait = {"description": "Seconds.", "schema": {"type": "integer"}}
            for operation in (one for path in schema["paths"].values() for one in path.values()):
                for status, response in operation["responses"].items():
                    response.setdefault("headers", {})["X-Request-ID"] = number
                    if status in ("429", "503"):
                        response["headers"]["Retry-After"] = wait
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
