"""The policy behind HTTP, and a page that calls it.

`POST /report` writes about one study, `/reports` about several; `/preview` shows an image,
`/labels` reads and compares texts, `/export/{form}` turns an answer into a file; `/v1` is OpenAI's
chat route. Images stay in memory; no image and no text is logged or kept.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from PIL.Image import Image
from pydantic import ValidationError
from starlette.types import ASGIApp

from mrg_r1 import __version__
from mrg_r1.errors import MissingExtra
from mrg_r1.exports import MEDIA_TYPES, SUFFIXES, export
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.policy.asks import Ask, Written
from mrg_r1.serve import chat
from mrg_r1.serve.calls import Service, decoded, deltas, finished, listening, read_form
from mrg_r1.serve.forms import Answer, Answers, Compared, Options, Texts, upload_schema
from mrg_r1.serve.guard import Guard, Seen
from mrg_r1.serve.http import Refused, add_errors, exposition
from mrg_r1.serve.reports import answer_of, compared, document_of
from mrg_r1.serve.uploads import Limits, Readers
from mrg_r1.serve.writers import Writer

PREFIX = "mrg_r1_serve"
_PAGES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/assets/page.css": ("page.css", "text/css; charset=utf-8"),
    "/assets/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/assets/viewer.js": ("viewer.js", "text/javascript; charset=utf-8"),
    "/assets/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
}


def make_app(
    writer: Writer,
    *,
    model: str = "",
    context: Sequence[str] = (),
    token: str = "",
    local: bool = True,
    limits: Limits | None = None,
) -> ASGIApp:
    """The application.

    Args:
        writer: writes completions.
        model: which policy it is, with a fingerprint; the writer's name if empty.
        context: the kinds of context the policy was trained with, which the page asks for.
        token: who sends it is let in; empty lets everybody in.
        local: whether only names of this machine are answered to.
        limits: of requests.
    """
    limits = limits or Limits()
    model, labeler = model or writer.name, RulesLabeler()
    service = Service(writer, Readers(limits), limits, model, labeler, tuple(context))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        running = asyncio.create_task(writer.run())
        yield
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await service.readers.close()

    app = FastAPI(
        title="MRG-R1",
        version=__version__,
        description="Chest X-ray reports by a trained policy. Research software, not for care.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's page loads scripts from other hosts; ours does not
        redoc_url=None,
    )
    add_errors(app, chat.shape)
    _add_pages(app)
    _add_reports(app, service)
    _add_texts(app, service)
    chat.add_routes(app, service)
    seen = Seen()
    _add_health(app, service, seen)
    return Guard(app, token=token, local=local, limits=limits, seen=seen)


def _add_pages(app: FastAPI) -> None:
    def add(path: str, content: bytes, kind: str) -> None:
        async def page() -> Response:
            return Response(content, media_type=kind)

        app.add_api_route(path, page, include_in_schema=False)

    assets = resources.files("mrg_r1.serve") / "assets"
    for path, (name, kind) in _PAGES.items():
        add(path, (assets / name).read_bytes(), kind)
    colours = resources.files("mrg_r1.audit") / "templates" / "audit.css"
    add("/assets/audit.css", colours.read_bytes(), "text/css; charset=utf-8")


def _add_reports(app: FastAPI, service: Service) -> None:
    limits = service.limits

    @app.post("/report", response_model=Answer, openapi_extra=upload_schema(limits, "one study"))
    async def report(request: Request) -> Any:
        """Writes the report of one study, of one image or several views.

        With `stream`, events 'delta' tell what is written (of the first draft, where there are
        several), and the event 'answer' brings what is answered without it.
        """
        files, fields = await read_form(request, limits)
        options = _options(fields, service)
        if options.prior_images >= len(files):
            raise Refused("prior_images", "leaves no image of the study itself")
        names = ["image"] if len(files) == 1 else [f"image.{n}" for n in range(len(files))]
        images = await decoded(request, service, files, names)
        if options.stream:
            return _streamed(service, images, options)
        answer = service.writer.submit(_asks(images, options, limits))
        return answer_of(service, await finished(request, answer, limits.seconds), options)

    @app.post(
        "/reports", response_model=Answers, openapi_extra=upload_schema(limits, "a study each")
    )
    async def reports(request: Request) -> Any:
        """Writes the reports of several studies of one image each, in order, all or none."""
        files, fields = await read_form(request, limits)
        options = _options(fields, service)
        for field in ("stream", "indication", "prior_report", "prior_images"):
            if getattr(options, field):
                raise Refused(field, "is for one study; POST it to /report")
        if len(files) * options.drafts > limits.images:
            raise Refused("drafts", f"{limits.images} completions or fewer at once")
        names = [f"image.{number}" for number in range(len(files))]
        images = await decoded(request, service, files, names)
        asks = [ask for image in images for ask in _asks([image], options, limits)]
        written = await finished(request, service.writer.submit(asks), limits.seconds)
        size = options.drafts
        parts = [written[at : at + size] for at in range(0, len(written), size)]
        return Answers(reports=[answer_of(service, part, options) for part in parts])

    @app.post(
        "/preview",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}},
        openapi_extra=upload_schema(limits, "one only", options=False),
    )
    async def preview(request: Request) -> Response:
        """An image's grey values, to be windowed: 16-bit little-endian numbers, row by row.

        The header X-Image holds rows, columns, and what a number means: value = offset + step x
        number, shown black at `low` and white at `high`.
        """
        files, fields = await read_form(request, limits)
        if fields or len(files) > 1:
            raise Refused("body", "takes one image and nothing else")
        header, content = await service.readers.greys(files[0], "image")
        return Response(
            content,
            media_type="application/octet-stream",
            headers={"X-Image": json.dumps(header)},
        )


def _options(fields: dict[str, str], service: Service) -> Options:
    limits = service.limits
    try:
        options = Options.model_validate(fields)
    except ValidationError as error:
        raise RequestValidationError(
            [{**e, "loc": ("body", *e["loc"])} for e in error.errors(include_context=False)]
        ) from None
    if options.drafts > limits.drafts:
        raise Refused("drafts", f"{limits.drafts} or fewer")
    if (options.max_tokens or 0) > limits.tokens:
        raise Refused("max_tokens", f"{limits.tokens} or fewer")
    if options.drafts > 1 and not options.heat:
        raise Refused("temperature", "is 0, so that all drafts are the same; raise it")
    for field in ("indication", "prior_report"):
        if problem := service.writer.problem(getattr(options, field)):
            raise Refused(field, problem)
    return options


def _asks(
    images: Sequence[Image], options: Options, limits: Limits, listener: Any = None
) -> list[Ask]:
    """An ask per draft; the first one is listened to."""
    return [
        Ask(
            images=tuple(images),
            max_tokens=options.max_tokens or limits.tokens,
            context=options.context(),
            temperature=options.heat,
            top_p=options.top_p,
            seed=options.seed + draft,
            listener=None if draft else listener,
        )
        for draft in range(options.drafts)
    ]


def _streamed(service: Service, images: Sequence[Image], options: Options) -> StreamingResponse:
    heard, listener = listening()
    asks = _asks(images, options, service.limits, listener)
    answer = service.writer.submit(asks)

    async def events() -> AsyncGenerator[str]:
        try:
            async for text in deltas(answer, heard, service.limits.seconds):
                yield _event("delta", {"text": text}) if text else ": still there\n\n"
            written: list[Written] = answer.result()
            yield _event("answer", answer_of(service, written, options).model_dump())
        except Refused as refused:
            yield _event("error", {"problem": refused.problem})
        except Exception as error:
            yield _event("error", {"problem": f"failed: {type(error).__name__}"})

    return StreamingResponse(events(), media_type="text/event-stream")


def _event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _add_texts(app: FastAPI, service: Service) -> None:
    @app.post("/labels")
    async def labels(texts: Texts) -> Compared:
        """What a report claims and where, and how that stands to a reference."""
        return compared(texts.report, texts.reference, service.labeler)

    @app.post(
        "/export/{form}",
        response_class=Response,
        responses={200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}}},
    )
    async def exported(
        form: Literal["text", "json", "fhir", "dicom-sr"], answer: Answer
    ) -> Response:
        """An answer as a file, which says that a model wrote it; it names no patient."""
        try:
            content = export(document_of(service, answer), form, now=datetime.now(UTC))
        except MissingExtra as missing:
            raise Refused("form", str(missing), 404) from None
        name = f'attachment; filename="report{SUFFIXES[form]}"'
        headers = {"Content-Disposition": name}
        return Response(content, media_type=MEDIA_TYPES[form], headers=headers)


def _add_health(app: FastAPI, service: Service, seen: Seen) -> None:
    @app.get("/health")
    async def health() -> dict[str, Any]:
        """That the server is there, which policy it serves, and how many completions wait."""
        return {
            "status": "ok",
            "version": __version__,
            "model": service.model,
            "waiting": service.writer.waiting,
            "drafts": service.limits.drafts,
            "context": list(service.context),
        }

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> str:
        """Counters since the start, in Prometheus' text format."""
        return exposition(PREFIX, service.writer.metrics()) + seen.exposition(PREFIX)
