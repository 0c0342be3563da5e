"""What stands before every route: who may ask, how much, and what no answer lacks."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections import Counter
from pathlib import Path
from traceback import walk_tb
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mrg_r1.serve.batching import Busy
from mrg_r1.serve.http import RETRY_AFTER
from mrg_r1.serve.uploads import Limits, Memory

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_OPEN = ("/", "/docs", "/openapi.json", "/health")
_ELSEWHERE = ("cross-site", "same-site")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_LE = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Upper ends of the histogram of seconds."""


class Seen:
    """Answers so far: by status, and how long those took that had a body to read."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.buckets: Counter[float] = Counter()
        self.seconds = 0.0
        self.timed = 0

    def count(self, status: int, seconds: float | None) -> None:
        """Adds an answer; without seconds only its status."""
        self.statuses[status] += 1
        if seconds is not None:
            self.timed += 1
            self.seconds += seconds
            self.buckets.update(end for end in _LE if seconds <= end)

    def exposition(self, prefix: str) -> str:
        """In Prometheus' text format."""
        lines = [f"# HELP {prefix}_answers_total Answers by status."]
        lines += [f"# TYPE {prefix}_answers_total counter"]
        lines += [
            f'{prefix}_answers_total{{status="{status}"}} {n}'
            for status, n in sorted(self.statuses.items())
        ]
        lines += [f"# HELP {prefix}_answer_seconds From a request's arrival to its answer's end."]
        lines += [f"# TYPE {prefix}_answer_seconds histogram"]
        ends = [(f"{end:g}", self.buckets[end]) for end in _LE] + [("+Inf", self.timed)]
        lines += [f'{prefix}_answer_seconds_bucket{{le="{end}"}} {n}' for end, n in ends]
        lines += [f"{prefix}_answer_seconds_sum {self.seconds:g}"]
        lines += [f"{prefix}_answer_seconds_count {self.timed}"]
        return "\n".join(lines) + "\n"


class Guard:
    """An ASGI application around another.

    Args:
        app: what is guarded.
        token: without it in `Authorization: Bearer`, only the page and `/health` are shown; empty
            lets everybody in.
        local: whether only this machine's own names are answered to, so that a page elsewhere
            cannot reach the server under a name of its own.
        limits: `upload`, `body_seconds` and `memory`.
        seen: counts the answers.
    """

    def __init__(
        self, app: ASGIApp, *, token: str, local: bool, limits: Limits, seen: Seen
    ) -> None:
        self.app = app
        self.token = token
        self.local = local
        self.limits = limits
        self.seen = seen
        self.memory = Memory(limits.memory)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        call = _Call(self, scope, receive, send)
        try:
            await call.answer()
        finally:
            call.release()

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Why a request is not let in, as a status and a sentence."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        if self.local and host.strip("[]").lower() not in LOOPBACK:
            return 400, "this server answers to its own machine; call it 127.0.0.1"
        if scope["method"] != "GET" and headers.get("sec-fetch-site") in (
            "cross-site",
            "same-site",
        ):
            return 403, "called by a page of another site"
        if self.token and not self._known(headers) and not _open(scope["path"]):
            return 401, "needs its token, as 'Authorization: Bearer TOKEN'"
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.limits.upload:
            return 413, f"over {self.limits.upload:,} bytes"
        return None

    def _known(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        right = secrets.compare_digest(token.strip().encode(), self.token.encode())
        return scheme.lower() == "bearer" and right


def _open(path: str) -> bool:
    return path in _OPEN or path.startswith("/assets/")


class _Call:
    """One request: counts what it sends, and sees to it that it is answered."""

    def __init__(self, guard: Guard, scope: Scope, receive: Receive, send: Send) -> None:
        self.guard, self.scope, self._receive, self._send = guard, scope, receive, send
        self.start = time.monotonic()
        self.status = 0
        self.body = 0
        self.held = 0
        self.complete = False
        scope.setdefault("state", {})["hold"] = self.hold

    def hold(self, size: int) -> None:
        """Counts bytes as held until the request is answered; raises Busy beyond the limit."""
        self.guard.memory.take(size)
        self.held += size

    def release(self) -> None:
        """Counts what was held as released, and the answer as given."""
        self.guard.memory.give(self.held)
        seconds = time.monotonic() - self.start if self.body else None
        self.guard.seen.count(self.status or 499, seconds)

    async def answer(self) -> None:
        if refusal := self.guard.refusal(self.scope):
            await self._refuse(*refusal)
            return
        try:
            await self.guard.app(self.scope, self.receive, self.send)
        except Exception as error:
            _log(error)
            if not self.status:
                await self._refuse(500, "failed")

    async def receive(self) -> Message:
        """The next piece of the request, within the limits of size and time."""
        if self.complete:
            return await self._receive()
        limits = self.guard.limits
        left = self.start + limits.body_seconds - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.01))
        except TimeoutError:
            raise HTTPException(408, f"took over {limits.body_seconds:g} s to arrive") from None
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self.body += size
            if self.body > limits.upload:
                raise HTTPException(413, f"over {limits.upload:,} bytes")
            try:
                self.hold(size)
            except Busy:
                headers = {"Retry-After": str(RETRY_AFTER)}
                raise HTTPException(429, "too much is in memory already", headers) from None
            self.complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)

    async def _refuse(self, status: int, problem: str) -> None:
        challenge = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        detail: dict[str, Any] = {"detail": problem}
        if self.scope["path"].startswith("/v1/"):
            detail = {
                "error": {"message": problem, "type": "invalid_request_error", "code": status}
            }
        await JSONResponse(detail, status, challenge)(self.scope, self.receive, self.send)


def _log(error: Exception) -> None:
    """Where it was raised and of what kind; a message may quote a text."""
    *_, (frame, line) = walk_tb(error.__traceback__)
    place = Path(frame.f_code.co_filename).name
    print(f"error: {type(error).__name__} at {place}:{line}", file=sys.stderr, flush=True)  # noqa: T201
