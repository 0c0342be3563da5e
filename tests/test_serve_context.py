"""Indication and previous study, from a call's fields to the prompt and back in the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import serving
from mrg_r1.data.context import KINDS, WORDS, prompt_of
from mrg_r1.policy.asks import Ask
from mrg_r1.serve.upstream import UpstreamWriter
from serving import Server, png, think

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving.stub(tmp_path_factory.mktemp("stub"), context=["indication"]) as server:
        yield server


def test_context_reaches_the_policy_and_comes_back(server: Server) -> None:
    fields = {"indication": "___F  with\ncough", "prior_report": "Old \u00b5.", "prior_images": 1}
    answer = server.upload("/report", png(77), png(9), **fields).json
    given = {"indication": "___F with cough", "prior-report": "Old \u00b5.", "prior-images": "1"}
    assert answer["context"] == given
    told = "".join(f" [{kind}: {text}]" for kind, text in given.items())
    assert answer["think"] == f"{think(77, images=2)} {told}"
    document = server.call("POST", "/export/json", answer)
    assert document.status == 200
    assert json.loads(document.content)["context"] == given


def test_without_context_nothing_is_said(server: Server) -> None:
    answer = server.upload("/report", png(77), indication="___", prior_report=" ").json
    assert (answer["context"], answer["think"]) == ({}, think(77))


def test_the_page_is_told_what_the_policy_knows(server: Server) -> None:
    assert server.call("GET", "/health").json["context"] == ["indication"]
    page = server.call("GET", "/").text
    assert all(f'data-kind="{kind}"' in page for kind in KINDS if kind != "prior-images")


@pytest.mark.parametrize(
    ("path", "fields", "field"),
    [
        ("/report", {"indication": "<|image|>"}, "indication"),
        ("/report", {"prior_report": "<|image|>"}, "prior_report"),
        ("/report", {"indication": "x" * 20_001}, "indication"),
        ("/report", {"prior_images": 1}, "prior_images"),
        ("/report", {"prior_images": -1}, "prior_images"),
        ("/reports", {"indication": "Cough."}, "indication"),
        ("/reports", {"prior_images": 1}, "prior_images"),
        ("/report", {"indication": "x" * 90_000}, "body"),
    ],
)
def test_context_that_cannot_be_is_refused(
    server: Server, path: str, fields: dict[str, Any], field: str
) -> None:
    answer = server.upload(path, png(), **fields)
    assert answer.status == 422
    assert field in answer.text
    assert "xxx" not in answer.text


def test_a_server_behind_is_asked_in_the_default_words(server: Server) -> None:
    writer = UpstreamWriter(f"{server.url}/v1", instruction="Report.")
    context = {"indication": "Cough."}
    body = writer._body(Ask((), 4, context=context))
    assert body["messages"][0]["content"][-1]["text"] == prompt_of("Report.", WORDS, context)
