"""Uploads become images in memory, decoded by other processes with limits."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from PIL import Image

from mrg_r1.serve.batching import Busy
from mrg_r1.serve.http import Refused
from mrg_r1.serve.reader import GREYS, IMAGE, LENGTH, REQUEST

MIB = 1 << 20
_DIED = (asyncio.IncompleteReadError, BrokenPipeError, ConnectionResetError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for.

    Attributes:
        upload: bytes of a request's body.
        pixels: of an image; twice those of the largest chest radiographs.
        images: of a study, or studies of a batch.
        drafts: completions of a study.
        tokens: of a completion.
        seconds: from a request's last byte to its answer.
        body_seconds: from its first byte to its last.
        decoding_seconds: to decode one image.
        memory: bytes of uploads and images of all requests at a time.
    """

    upload: int = 64 * MIB
    pixels: int = 40_000_000
    images: int = 32
    drafts: int = 16
    tokens: int = 256
    seconds: float = 120.0
    body_seconds: float = 60.0
    decoding_seconds: float = 20.0
    memory: int = 2048 * MIB


class Memory:
    """Counts the bytes that requests hold, and refuses beyond a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def take(self, size: int) -> None:
        """Counts bytes as held.

        Raises:
            Busy: too many are held already; a request alone is never refused.
        """
        if self.held and self.held + size > self.limit:
            raise Busy
        self.held += size

    def give(self, size: int) -> None:
        """Counts them as released."""
        self.held -= size


class Readers:
    """Processes that decode, each one file at a time.

    Args:
        limits: `pixels` and `decoding_seconds`.
        number: how many processes, started when they are first needed.
    """

    def __init__(self, limits: Limits, number: int = 2) -> None:
        self.limits = limits
        self._idle: asyncio.LifoQueue[Process | None] = asyncio.LifoQueue()
        for _ in range(number):
            self._idle.put_nowait(None)

    async def image(self, data: bytes, field: str) -> Image.Image:
        """The image of a file, 8-bit, 'L' where all is grey, else 'RGB'.

        Raises:
            Refused: 413, 415 or 422, and what is wrong with the file; `field` says which.
        """
        header, content = await self._ask(IMAGE, data, field)
        return Image.frombytes(header["mode"], tuple(header["size"]), content)

    async def greys(self, data: bytes, field: str) -> tuple[dict[str, Any], bytes]:
        """Its values before they are windowed: see `mrg_r1.serve.reader.decode`.

        Raises:
            Refused: as `image`.
        """
        return await self._ask(GREYS, data, field)

    async def close(self) -> None:
        """Ends the processes that are idle."""
        while not self._idle.empty():
            await _end(self._idle.get_nowait())

    async def _ask(self, wanted: bytes, data: bytes, field: str) -> tuple[dict[str, Any], bytes]:
        async with self._process() as process:
            try:
                async with asyncio.timeout(self.limits.decoding_seconds):
                    header, content = await _exchange(process, wanted, data, self.limits.pixels)
            except _DIED:
                raise Refused(field, "takes too much time or memory to decode", 413) from None
        if "problem" in header:
            raise Refused(field, header["problem"], header["status"])
        return header, content

    @asynccontextmanager
    async def _process(self) -> AsyncGenerator[Process]:
        """A process of one's own for a while; one that was left in mid-answer is not used again."""
        process = await self._idle.get()
        try:
            process = process or await _start()
            yield process
        except BaseException:
            self._idle.put_nowait(None)
            await _end(process)
            raise
        self._idle.put_nowait(process)


async def _start() -> Process:
    command = (sys.executable, "-m", "mrg_r1.serve.reader")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment
    )


async def _exchange(
    process: Process, wanted: bytes, data: bytes, pixels: int
) -> tuple[dict[str, Any], bytes]:
    assert process.stdin
    assert process.stdout
    process.stdin.write(REQUEST.pack(wanted, pixels, len(data)))
    process.stdin.write(data)
    await process.stdin.drain()
    (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    header = json.loads(await process.stdout.readexactly(length))
    return header, await process.stdout.readexactly(header["bytes"])


async def _end(process: Process | None) -> None:
    if process is not None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
