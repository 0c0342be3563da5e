"""OpenAI's chat route of the policy server, called by hand and by OpenAI's own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import serving
from serving import Server, chat, png, think

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving.stub(tmp_path_factory.mktemp("chat")) as server:
        yield server


def test_openais_route(server: Server) -> None:
    assert server.call("GET", "/v1/models").json["data"][0]["id"] == "stub"
    answer = server.call("POST", "/v1/chat/completions", chat(png(66), n=2, seed=4)).json
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert [
        f"{think(66, seed)} Report this." in text for seed, text in zip((4, 5), texts, strict=True)
    ] == [True] * 2
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["prompt_tokens"] == 7


def test_openais_own_client(server: Server) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    body = chat(png(66), seed=0)
    with client:
        whole = client.chat.completions.create(**body)
        chunks = list(
            client.chat.completions.create(
                **body, stream=True, stream_options={"include_usage": True}
            )
        )
        assert [model.id for model in client.models.list()] == ["stub"]
        with pytest.raises(openai.NotFoundError, match="this server has 'stub'"):
            client.chat.completions.create(**{**body, "model": "gpt"})
        with pytest.raises(openai.BadRequestError, match="tools"):
            client.chat.completions.create(
                **body, tools=[{"type": "function", "function": {"name": "f"}}]
            )
    text = whole.choices[0].message.content
    assert text.startswith(f"<think>{think(66)}")
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens > 0


REFUSED_CHATS: dict[str, tuple[dict[str, Any], int]] = {
    "no image": ({"messages": [{"role": "user", "content": "Report."}]}, 400),
    "no messages": ({"messages": []}, 422),
    "an address": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}}
                    ],
                }
            ]
        },
        400,
    ),
    "a file of this machine": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}],
                }
            ]
        },
        400,
    ),
    "no base64": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,@@@"}}
                    ],
                }
            ]
        },
        400,
    ),
    "no image in it": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
                    ],
                }
            ]
        },
        415,
    ),
    "an answer of the past": ({"messages": [{"role": "assistant", "content": "Normal."}]}, 422),
    "control tokens": (chat(png(), text="<|image_pad|>"), 400),
    "a stop word": (chat(png(), stop=["."]), 400),
    "too many choices": (chat(png(), n=17), 400),
    "a huge seed": (chat(png(), seed=2**80), 400),
    "a hot temperature": (chat(png(), temperature=9), 422),
}


@pytest.mark.parametrize(("change", "status"), REFUSED_CHATS.values(), ids=REFUSED_CHATS)
def test_a_chat_that_is_refused(server: Server, change: dict[str, Any], status: int) -> None:
    answer = server.call("POST", "/v1/chat/completions", {**chat(png()), **change})
    assert answer.status == status
    assert answer.json["error"]["message"]
