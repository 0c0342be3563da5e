"""What every server of ours answers alike: what is wrong, how it goes, and no word in a log."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from mrg_r1.serve.batching import Busy, WorkFailed

RETRY_AFTER = 1
"""Seconds after which a client that was refused may ask again."""


class Refused(Exception):
    """A request that is well formed and cannot be carried out.

    Args:
        field: where it is wrong.
        problem: what is wrong there, and what to do.
        status: the status of the answer.
    """

    def __init__(self, field: str, problem: str, status: int = 422) -> None:
        self.field, self.problem, self.status = field, problem, status


Problems = list[dict[str, str]]
Shape = Callable[[Request, int, Problems | str], Any]
"""The body of an answer that tells what is wrong."""


def _plain(_: Request, status: int, problems: Problems | str) -> Any:
    return {"detail": problems}


def add_errors(app: FastAPI, shape: Shape = _plain) -> None:
    """Answers for what is wrong: 422 names the field, 429 says when to come back."""

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        problems = [{"field": _field(e["loc"]), "problem": e["msg"]} for e in error.errors()]
        return JSONResponse(shape(request, 422, problems), 422)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        problems = [{"field": error.field, "problem": error.problem}]
        return JSONResponse(shape(request, error.status, problems), error.status)

    @app.exception_handler(Busy)
    async def busy(request: Request, error: Busy) -> JSONResponse:
        body = shape(request, 429, "too many wait already; come back")
        return JSONResponse(body, 429, {"Retry-After": str(RETRY_AFTER)})

    @app.exception_handler(WorkFailed)
    async def failed(request: Request, error: WorkFailed) -> JSONResponse:
        return JSONResponse(shape(request, 500, f"failed: {error}"), 500)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        body = shape(request, error.status_code, str(error.detail))
        return JSONResponse(body, error.status_code, error.headers)


def _field(place: tuple[int | str, ...]) -> str:
    """'references.2' for ('body', 'references', 2); 'body' where it is no object at all."""
    return ".".join(str(part) for part in place[1:] if part != "body") or "body"


def exposition(prefix: str, rows: Iterable[tuple[str, str, str, float]]) -> str:
    """Metrics in Prometheus' text format.

    Args:
        prefix: of every name.
        rows: name, 'counter' or 'gauge', what it is, and its value.
    """
    return "".join(
        f"# HELP {prefix}_{name} {text}\n# TYPE {prefix}_{name} {kind}\n{prefix}_{name} {value:g}\n"
        for name, kind, text, value in rows
    )


def serve(app: ASGIApp, host: str, port: int) -> None:
    """Answers until it is interrupted; logs neither requests nor texts."""
    # A connection is a file: a thousand at once are more than many systems allow by default.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    uvicorn.run(
        app,
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        backlog=4096,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
