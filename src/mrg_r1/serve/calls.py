"""From a request to completions and back: uploads, waiting, and words as they are written."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Sequence
from dataclasses import dataclass

from fastapi import Request
from PIL.Image import Image
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.policy.asks import Listener, Written
from mrg_r1.serve.http import Refused
from mrg_r1.serve.uploads import Limits, Readers
from mrg_r1.serve.writers import Writer

# It would quote characters of bodies that are no forms.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)

_FIELD_BYTES = 80_000
"""Of 20,000 characters, in UTF-8."""
_KEEP_ALIVE = 10.0
"""Seconds without a word after which a stream says that it is still there."""

Answer = asyncio.Future[list[Written]]


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes work with.

    Attributes:
        writer: writes completions.
        readers: decode uploads.
        limits: of a request.
        model: which policy it is, for exports: name and fingerprint.
        labeler: reads what reports claim, and where.
        context: the kinds of context the policy was trained with.
    """

    writer: Writer
    readers: Readers
    limits: Limits
    model: str
    labeler: RulesLabeler
    context: tuple[str, ...] = ()


class _InMemory(MultiPartParser):
    spool_max_size = sys.maxsize  # never a temporary file


async def read_form(request: Request, limits: Limits) -> tuple[list[bytes], dict[str, str]]:
    """The files named 'image' of a multipart body, in memory, and its other fields.

    Raises:
        Refused: 415 for another type of body; 422 for no image, too many, or a field twice.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Refused("body", "send the image as multipart/form-data, in a field 'image'", 415)
    try:
        form = await _InMemory(
            request.headers,
            request.stream(),
            max_files=limits.images,
            max_fields=20,
            max_part_size=_FIELD_BYTES,
        ).parse()
    except MultiPartException as error:
        raise Refused("body", error.message) from None
    files: list[bytes] = []
    fields: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != "image":
                raise Refused("body", "name the files 'image'")
            files.append(await value.read())
        elif name == "image":
            raise Refused("image", "is a text; send it as a file")
        elif name in fields:
            raise Refused("body", "has a field twice")
        else:
            fields[name] = value
    if not files:
        raise Refused("image", "is missing")
    return files, fields


async def decoded(
    request: Request, service: Service, files: Sequence[bytes], fields: Sequence[str]
) -> list[Image]:
    """The images of files; `fields` say which is which in a refusal.

    Raises:
        Refused: a file cannot be read.
        Busy: too much is in memory.
    """
    reading = [service.readers.image(*pair) for pair in zip(files, fields, strict=True)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_caught(read)) for read in reading]
    images: list[Image] = []
    for task in tasks:
        result = task.result()
        if isinstance(result, Refused):
            raise result
        images.append(result)
        request.state.hold(result.width * result.height * len(result.getbands()))
    return images


async def _caught(reading: Awaitable[Image]) -> Image | Refused:
    """A refusal as a value: raised, it would leave its group as a group."""
    try:
        return await reading
    except Refused as refused:
        return refused


def listening() -> tuple[asyncio.Queue[str | None], Listener]:
    """A queue of texts so far, and the listener that fills it from any thread."""
    heard: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    return heard, lambda text: _ignore_closed(loop, heard, text)


def _ignore_closed(
    loop: asyncio.AbstractEventLoop, heard: asyncio.Queue[str | None], text: str
) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(heard.put_nowait, text)


async def finished(request: Request, answer: Answer, seconds: float) -> list[Written]:
    """The completions, unless the client leaves or time is up; both end the writing.

    Raises:
        Refused: time is up.
        ClientDisconnect: nobody waits any more.
    """
    leaving = asyncio.ensure_future(_left(request))
    try:
        done, _ = await asyncio.wait(
            {answer, leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if answer in done:
            return answer.result()
        if leaving in done:
            raise ClientDisconnect
        raise _too_late(seconds)
    finally:
        leaving.cancel()
        answer.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def deltas(
    answer: Answer, heard: asyncio.Queue[str | None], seconds: float
) -> AsyncGenerator[str]:
    """What is added to the first completion, as it is written; '' where nothing was for long.

    Raises:
        Refused: time is up.
    """
    answer.add_done_callback(lambda _: heard.put_nowait(None))
    end = time.monotonic() + seconds
    sent = ""
    try:
        while True:
            left = end - time.monotonic()
            try:
                text = await asyncio.wait_for(heard.get(), min(max(left, 0), _KEEP_ALIVE))
            except TimeoutError:
                if left <= 0:
                    raise _too_late(seconds) from None
                yield ""
                continue
            if text is None:
                text = answer.result()[0].completion
                if len(text) > len(sent):
                    yield text[len(sent) :]
                return
            if len(text) > len(sent):
                yield text[len(sent) :]
                sent = text
    finally:
        answer.cancel()


def _too_late(seconds: float) -> Refused:
    return Refused("request", f"took over {seconds:g} s; ask for less, or later", 504)
