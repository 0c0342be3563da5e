"""OpenAI's chat route, so that clients which speak it get reports too.

Images come as data URLs, in user messages. Texts of the messages, if any, take the place of the
policy's own instruction. What would change the answer and is not supported is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from mrg_r1.policy.asks import Ask, Listener, Written
from mrg_r1.serve.calls import Answer, Service, decoded, deltas, finished, listening
from mrg_r1.serve.http import Problems, Refused

_TEXT = 20_000
_NOT_OURS = (
    "audio",
    "frequency_penalty",
    "functions",
    "logit_bias",
    "logprobs",
    "presence_penalty",
    "response_format",
    "stop",
    "tools",
)


class _Loose(BaseModel):
    """Other clients send more than we read."""

    model_config = ConfigDict(extra="allow")


class ImageUrl(_Loose):
    """A data URL; nothing is fetched."""

    url: str


class ImagePart(_Loose):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageUrl


class TextPart(_Loose):
    """Words."""

    type: Literal["text"]
    text: Annotated[str, Field(max_length=_TEXT)]


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(_Loose):
    """What is asked, in one turn or several; answers of the past are not taken."""

    role: Literal["system", "developer", "user"]
    content: Annotated[str, Field(max_length=_TEXT)] | Annotated[list[Part], Field(max_length=200)]


class StreamOptions(_Loose):
    """Whether the stream ends with a count of tokens."""

    include_usage: bool | None = False


class Chat(_Loose):
    """A request for completions of the chat."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1, max_length=50)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    seed: int | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None


def shape(request: Request, status: int, problems: Problems | str) -> Any:
    """What is wrong: as OpenAI's clients read it under /v1, else as FastAPI writes it."""
    if not request.url.path.startswith("/v1/"):
        return {"detail": problems}
    field = None
    if not isinstance(problems, str):
        field = problems[0]["field"]
        problems = "; ".join(f"{row['field']}: {row['problem']}" for row in problems)
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": problems, "type": kind, "param": field, "code": str(status)}}


def add_routes(app: FastAPI, service: Service) -> None:
    """Adds /v1/models and /v1/chat/completions."""
    name = service.writer.name

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The one policy there is."""
        return {
            "object": "list",
            "data": [{"id": name, "object": "model", "created": 0, "owned_by": "mrg-r1"}],
        }

    @app.post("/v1/chat/completions", response_model=None)
    async def completions(chat: Chat, request: Request) -> Any:
        """A completion, with its tags, of the images in the messages."""
        _check(chat, service)
        files, instruction = _read(chat.messages, service)
        places = [f"messages.image.{number}" for number in range(len(files))]
        images = await decoded(request, service, files, places)
        heard, listener = listening()
        asks = _asks(chat, service, tuple(images), instruction, listener)
        answer = service.writer.submit(asks)
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": name}
        if chat.stream:
            events = _chunks(chat, answer, heard, service.limits.seconds, head)
            return StreamingResponse(events, media_type="text/event-stream")
        written = await finished(request, answer, service.limits.seconds)
        return {**head, "object": "chat.completion", **_choices(written)}


def _check(chat: Chat, service: Service) -> None:
    name, limits = service.writer.name, service.limits
    if chat.model != name:
        raise Refused("model", f"does not exist; this server has '{name}'", 404)
    for option in _NOT_OURS:
        if (chat.model_extra or {}).get(option):
            raise Refused(option, "is not supported", 400)
    if (chat.n or 1) > limits.drafts:
        raise Refused("n", f"{limits.drafts} or fewer", 400)
    if chat.stream and (chat.n or 1) > 1:
        raise Refused("n", "is 1 in a stream", 400)
    if not abs(chat.seed or 0) < 2**62:
        raise Refused("seed", "is too large", 400)


def _read(messages: Sequence[Message], service: Service) -> tuple[list[bytes], str]:
    """Files and words of the messages, in order."""
    files: list[bytes] = []
    words: list[str] = []
    for message in messages:
        parts = message.content
        for part in [parts] if isinstance(parts, str) else parts:
            if isinstance(part, ImagePart):
                files.append(_data(part.image_url.url))
            else:
                words.append(part if isinstance(part, str) else part.text)
    instruction = "\n".join(filter(str.strip, words))
    if not files:
        raise Refused("messages", "hold no image; add a part of type image_url", 400)
    if len(files) > service.limits.images:
        raise Refused("messages", f"hold over {service.limits.images} images", 400)
    if len(instruction) > _TEXT:
        raise Refused("messages", f"hold over {_TEXT:,} characters", 400)
    if problem := service.writer.problem(instruction):
        raise Refused("messages", problem, 400)
    return files, instruction


def _data(url: str) -> bytes:
    """The content of a base64 data URL, whatever type it claims."""
    head, comma, data = url.partition(",")
    if not head.startswith("data:") or not comma:
        raise Refused("image_url", "is no data URL; this server fetches nothing", 400)
    if not head.endswith(";base64"):
        raise Refused("image_url", "is not base64", 400)
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("image_url", "is not base64", 400) from None


def _asks(
    chat: Chat, service: Service, images: tuple[Any, ...], instruction: str, listener: Listener
) -> list[Ask]:
    limit = service.limits.tokens
    # As servers of language models do: what is over the limit is cut to it, and says 'length'.
    wanted = chat.max_completion_tokens or chat.max_tokens or limit
    seed = uuid.uuid4().int >> 66 if chat.seed is None else abs(chat.seed)
    return [
        Ask(
            images=images,
            max_tokens=min(wanted, limit),
            instruction=instruction,
            # Greedy unless asked: a report should not depend on luck.
            temperature=chat.temperature or 0.0,
            top_p=chat.top_p or 1.0,
            seed=seed + number,
            listener=listener if chat.stream else None,
        )
        for number in range(chat.n or 1)
    ]


def _choices(written: Sequence[Written]) -> dict[str, Any]:
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": row.completion},
            "finish_reason": _reason(row),
            "logprobs": None,
        }
        for index, row in enumerate(written)
    ]
    return {"choices": choices, "usage": _usage(written)}


def _reason(written: Written) -> str:
    return "stop" if written.whole else "length"


def _usage(written: Sequence[Written]) -> dict[str, int]:
    prompt, tokens = written[0].prompt_tokens, sum(row.tokens for row in written)
    return {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}


async def _chunks(
    chat: Chat, answer: Answer, heard: Any, seconds: float, head: dict[str, Any]
) -> AsyncGenerator[str]:
    head = {**head, "object": "chat.completion.chunk"}
    delta: dict[str, str] = {"role": "assistant", "content": ""}
    try:
        yield _line({**head, "choices": [_choice(delta, None)]})
        async for text in deltas(answer, heard, seconds):
            if text:
                yield _line({**head, "choices": [_choice({"content": text}, None)]})
            else:
                yield ": still there\n\n"
        written = answer.result()
        yield _line({**head, "choices": [_choice({}, _reason(written[0]))]})
        if chat.stream_options and chat.stream_options.include_usage:
            yield _line({**head, "choices": [], "usage": _usage(written)})
        yield "data: [DONE]\n\n"
    except Refused as refused:
        yield _line({"error": {"message": refused.problem, "type": "server_error"}})
    except Exception as error:
        message = f"failed: {type(error).__name__}"
        yield _line({"error": {"message": message, "type": "server_error"}})


def _choice(delta: dict[str, str], reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}


def _line(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"
