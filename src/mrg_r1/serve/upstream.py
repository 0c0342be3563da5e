"""A server with OpenAI's chat route writes the completions: vLLM, or another of ours."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import HTTPError, URLError

from mrg_r1.completion import INSTRUCTION
from mrg_r1.data.context import WORDS, prompt_of
from mrg_r1.errors import ConfigError
from mrg_r1.policy.asks import Ask, Written
from mrg_r1.serve.batching import Busy
from mrg_r1.serve.http import Refused
from mrg_r1.serve.writers import Rows, leave_with

_FAULTS = (URLError, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError)


class UpstreamWriter:
    """Sends each completion's images and instruction on, and nothing else.

    Args:
        url: the server's base, such as 'http://127.0.0.1:8000/v1'.
        model: its name there; the only one it serves if empty.
        key: sent as `Authorization: Bearer`, if any.
        instruction: of asks that have none.
        together: how many completions are asked for at a time.
        waiting: how many may wait beyond those.
        seconds: without a word from the server, after which it is given up.

    Raises:
        ConfigError: no such server, or it serves several models and none is named.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str = "",
        key: str = "",
        instruction: str = "",
        together: int = 64,
        waiting: int = 128,
        seconds: float = 120.0,
    ) -> None:
        self.url = url.rstrip("/")
        self.key = key
        self.seconds = seconds
        self.instruction = instruction or INSTRUCTION
        self.model = model or self._only_model()
        self.together, self.limit = together, waiting
        self._open = 0
        self._sent = self._refused = self._failed = self._tokens = 0
        self._threads = ThreadPoolExecutor(together, thread_name_prefix="upstream")

    @property
    def name(self) -> str:
        """Which policy it is."""
        return self.model

    @property
    def waiting(self) -> int:
        """How many completions wait to be begun."""
        return max(0, self._open - self.together)

    def submit(self, asks: Sequence[Ask]) -> asyncio.Future[list[Written]]:
        """The completions to come, in order; cancel the future to leave.

        Raises:
            Busy: too many wait already.
        """
        if self.waiting + len(asks) > self.limit:
            self._refused += 1
            raise Busy
        self._open += len(asks)
        answer = asyncio.ensure_future(self._written(asks))
        answer.add_done_callback(lambda _: self._close(len(asks)))
        leave_with(answer, asks)
        return answer

    def problem(self, instruction: str) -> str:
        """Why these words cannot be asked; the other server says."""
        return ""

    def metrics(self) -> Rows:
        """Counters since the start."""
        return (
            ("completions_total", "counter", "Completions asked for.", self._sent),
            ("tokens_total", "counter", "Tokens of completions.", self._tokens),
            ("refused_total", "counter", "Requests that found the queue full.", self._refused),
            ("failed_total", "counter", "Requests the other server failed on.", self._failed),
            ("waiting_completions", "gauge", "Completions that wait.", self.waiting),
        )

    async def run(self) -> None:
        """Has nothing to do until it is cancelled."""
        await asyncio.Event().wait()

    async def _written(self, asks: Sequence[Ask]) -> list[Written]:
        loop = asyncio.get_running_loop()
        # Threads that were begun leave by themselves once the ask is gone.
        calls = [loop.run_in_executor(self._threads, self._write, ask) for ask in asks]
        try:
            written = await asyncio.gather(*calls)
        except (HTTPError, *_FAULTS) as error:
            self._failed += 1
            raise _told(error) from None
        self._sent += len(written)
        self._tokens += sum(row.tokens for row in written)
        return written

    def _close(self, asks: int) -> None:
        self._open -= asks

    def _write(self, ask: Ask) -> Written:
        text, whole, usage = "", False, {}
        if ask.gone.is_set():
            return Written(text, 0, 0, whole)
        for chunk in self._chunks(ask):
            usage = chunk.get("usage") or usage
            for choice in chunk.get("choices", ()):
                text += choice["delta"].get("content") or ""
                whole = whole or choice.get("finish_reason") == "stop"
            if ask.listener is not None:
                ask.listener(text)
            if ask.gone.is_set():
                break
        return Written(
            text, usage.get("completion_tokens", 0), usage.get("prompt_tokens", 0), whole
        )

    def _chunks(self, ask: Ask) -> Iterator[dict[str, Any]]:
        with self._call("/chat/completions", self._body(ask)) as answer:
            for line in answer:
                data = line.removeprefix(b"data:").strip()
                if data == b"[DONE]":
                    return
                if line.startswith(b"data:"):
                    chunk = json.loads(data)
                    if "error" in chunk:
                        raise ValueError("failed in mid-answer")
                    yield chunk
        raise ValueError("stopped in mid-answer")

    def _body(self, ask: Ask) -> dict[str, Any]:
        images = [
            {"type": "image_url", "image_url": {"url": _data_url(image)}} for image in ask.images
        ]
        asked = prompt_of(ask.instruction or self.instruction, WORDS, ask.context)
        text = {"type": "text", "text": asked}
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": [*images, text]}],
            "max_tokens": ask.max_tokens,
            "temperature": ask.temperature,
            "top_p": ask.top_p,
            "seed": ask.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def _only_model(self) -> str:
        try:
            with self._call("/models") as answer:
                models = [model["id"] for model in json.load(answer)["data"]]
        except _FAULTS as error:
            raise ConfigError(
                f"{self.url}: no list of models there ({type(error).__name__}); check --upstream"
            ) from None
        if len(models) != 1:
            raise ConfigError(
                f"{self.url}: serves {', '.join(models)}; name one with --upstream-model"
            )
        return models[0]

    def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(self.url + path, data, headers)
        return urllib.request.urlopen(request, timeout=self.seconds)


def _data_url(image: Any) -> str:
    """The pixels as PNG, which holds nothing else."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _told(error: Exception) -> Exception:
    """What a client is told of another server's fault: its status, never its words."""
    if isinstance(error, HTTPError):
        if error.code == 429:
            return Busy()
        return Refused("upstream", f"the server behind this one answered {error.code}", 502)
    return Refused("upstream", f"the server behind this one failed ({type(error).__name__})", 502)
