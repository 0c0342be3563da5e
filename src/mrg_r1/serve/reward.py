"""The reward behind HTTP, for trainers that call once a sample or from elsewhere.

`POST /reward` scores one completion, `POST /rewards` several, `POST /openrlhf` is what OpenRLHF
sends to a remote reward; `GET /health` and `GET /metrics` (Prometheus) tell how it goes. Texts
are patients': none is logged, and the default address answers this machine only.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mrg_r1 import __version__
from mrg_r1.errors import DataError
from mrg_r1.rewards.integrations import openrlhf
from mrg_r1.rewards.total import Scorer
from mrg_r1.serve.batching import Batcher, Busy, ScoringFailed

RETRY_AFTER = 1
"""Seconds after which a client that was refused may ask again."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; leave out studies without a report")
    return text


_Text = Annotated[str, Field(max_length=1_000_000)]
_Reference = Annotated[_Text, AfterValidator(_not_blank)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class One(_Body):
    """One completion and its reference."""

    completion: _Text
    reference: _Reference


class Many(_Body):
    """Completions and as many references."""

    completions: list[_Text]
    references: list[_Reference]


class OpenRlhf(_Body):
    """What OpenRLHF posts: queries (prompt, completion, end tokens), prompts, references."""

    query: list[_Text]
    prompts: list[_Text]
    labels: list[_Reference]


class _Refused(Exception):
    """A body that is well formed and cannot be scored."""

    def __init__(self, field: str, problem: str) -> None:
        self.detail = [{"field": field, "problem": problem}]


def make_app(scorer: Scorer, *, name: str, waiting: int = 4096, batch: int = 256) -> FastAPI:
    """The application.

    Args:
        scorer: gives the rewards of a batch.
        name: what is scored, for `/health`.
        waiting: how many samples may wait; calls beyond are told to come back (429).
        batch: how many samples are scored at once.
    """
    batcher = Batcher(scorer, waiting=waiting, batch=batch)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        running = asyncio.create_task(batcher.run())
        yield
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    app = FastAPI(title="MRG-R1 reward", version=__version__, lifespan=lifespan)
    _add_errors(app)

    async def scored(
        field: str, completions: list[str], references: list[str]
    ) -> list[dict[str, float]]:
        if len(completions) != len(references):
            raise _Refused(field, f"{len(references)} for {len(completions)} completions")
        if len(completions) > waiting:
            raise _Refused(field, f"{len(completions)} at once; send {waiting} or fewer")
        return await batcher.score(completions, references)

    @app.post("/reward")
    async def reward(body: One) -> dict[str, float]:
        """The total as 'reward', and each component by its name."""
        return (await scored("reference", [body.completion], [body.reference]))[0]

    @app.post("/rewards")
    async def rewards(body: Many) -> dict[str, list[dict[str, float]]]:
        """The same of many, in order."""
        return {"rewards": await scored("references", body.completions, body.references)}

    @app.post("/openrlhf")
    async def for_openrlhf(body: OpenRlhf) -> dict[str, Any]:
        """What OpenRLHF takes as rewards."""
        if len(body.prompts) != len(body.query):
            raise _Refused("prompts", f"{len(body.prompts)} for {len(body.query)} queries")
        try:
            texts = list(map(openrlhf.completion_of, body.query, body.prompts))
        except DataError:
            raise _Refused("query", "does not hold the end of its prompt") from None
        return openrlhf.answer(await scored("labels", texts, body.labels))

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """That the server is there, what it scores, and how many samples wait."""
        return {"status": "ok", "version": __version__, "reward": name, "waiting": batcher.waiting}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> str:
        """Counters since the start, in Prometheus' text format."""
        return _exposition(batcher)

    return app


def serve(app: FastAPI, host: str, port: int) -> None:
    """Answers until it is interrupted; logs neither requests nor texts."""
    # A connection is a file: a thousand at once are more than many systems allow by default.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    uvicorn.run(app, host=host, port=port, access_log=False, log_level="warning", backlog=4096)


def _add_errors(app: FastAPI) -> None:
    """Answers for what is wrong: 422 names the field, 429 says when to come back."""

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        detail = [{"field": _field(e["loc"]), "problem": e["msg"]} for e in error.errors()]
        return JSONResponse({"detail": detail}, 422)

    @app.exception_handler(_Refused)
    async def refused(_: Request, error: _Refused) -> JSONResponse:
        return JSONResponse({"detail": error.detail}, 422)

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> JSONResponse:
        retry = {"Retry-After": str(RETRY_AFTER)}
        return JSONResponse({"detail": "too many samples wait; come back"}, 429, retry)

    @app.exception_handler(ScoringFailed)
    async def failed(_: Request, error: ScoringFailed) -> JSONResponse:
        return JSONResponse({"detail": f"scoring failed: {error}"}, 500)


def _field(place: tuple[int | str, ...]) -> str:
    """'references.2' for ('body', 'references', 2); 'body' where it is no object at all."""
    return ".".join(str(part) for part in place[1:] if part != "body") or "body"


def _exposition(batcher: Batcher) -> str:
    tally = batcher.tally
    rows = (
        ("samples_total", "counter", "Completions scored.", tally.samples),
        ("batches_total", "counter", "Batches scored.", tally.batches),
        ("scoring_seconds_total", "counter", "Seconds spent scoring.", tally.seconds),
        ("refused_total", "counter", "Calls answered 429.", tally.refused),
        ("failed_total", "counter", "Calls answered 500.", tally.failed),
        ("waiting_samples", "gauge", "Completions that wait.", batcher.waiting),
    )
    return "".join(
        f"# HELP mrg_r1_reward_{name} {text}\n# TYPE mrg_r1_reward_{name} {kind}\n"
        f"mrg_r1_reward_{name} {value:g}\n"
        for name, kind, text, value in rows
    )
