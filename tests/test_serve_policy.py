"""A real policy behind HTTP: each answer belongs to its image, in any company."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import serving
from mrg_r1.policy import answering
from mrg_r1.policy.answering import answer
from mrg_r1.policy.asks import Ask
from mrg_r1.policy.load import Policy
from mrg_r1.policy.settings import Decoding
from mrg_r1.policy.writing import complete
from serving import Server, encoded
from tiny_runs import in_favour_of, tiny_policy, tiny_samples

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
TOKENS = 16


def pictures(number: int) -> list[Image.Image]:
    """Noise of several shapes, so that prompts differ in length."""
    random = np.random.default_rng(0)
    sides = [(64, 64), (48, 96), (96, 48)]
    return [
        Image.fromarray(random.integers(0, 256, sides[n % 3], dtype=np.uint8))
        for n in range(number)
    ]


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """A policy of large random weights: it writes nonsense, other nonsense for each image."""
    policy = tiny_policy(tiny_samples(tmp_path_factory.mktemp("studies")))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in policy.model.parameters():
            if weight.ndim > 1:
                weight.mul_(6)
    return policy


def ask(image: Image.Image, **options: Any) -> Ask:
    return Ask(images=(image,), **{"max_tokens": TOKENS, **options})


def test_a_row_does_not_know_its_neighbours(seeing: Policy) -> None:
    asks = [
        ask(image, temperature=n % 2, seed=n, max_tokens=4 + n, top_p=1.0 - 0.1 * (n % 3))
        for n, image in enumerate(pictures(6))
    ]
    alone = [answer(seeing, [one])[0] for one in asks]
    together = answer(seeing, asks)
    assert together == alone
    assert len({row.completion for row in alone}) == 6
    assert [row.tokens for row in together] == [4 + n for n in range(6)]
    assert not any(row.whole for row in together)


def test_context_is_asked_in_the_policys_words(seeing: Policy) -> None:
    (image,) = pictures(1)
    ours, context = replace(seeing, words={"indication": "Why: {}"}), {"indication": "Cough."}
    (given,) = answer(ours, [ask(image, context=context)])
    (worded,) = answer(seeing, [ask(image, instruction=f"{seeing.instruction}\nWhy: Cough.")])
    assert given == worded
    assert given.completion != answer(ours, [ask(image)])[0].completion
    (default,) = answer(seeing, [ask(image, context=context)])
    asked = f"{seeing.instruction}\nIndication: Cough."
    assert answer(seeing, [ask(image, instruction=asked)]) == [default]


def test_it_writes_what_generate_writes(seeing: Policy) -> None:
    images = pictures(4)
    expected = complete(seeing, [[image.convert("RGB")] for image in images], Decoding(TOKENS))
    assert [row.completion for row in answer(seeing, [ask(i) for i in images])] == expected
    hot = Decoding(TOKENS, temperature=1.0, top_p=0.8)
    expected = complete(seeing, [[i.convert("RGB")] for i in images], hot, seeds=range(4))
    asks = [ask(i, temperature=1.0, top_p=0.8, seed=n) for n, i in enumerate(images)]
    assert [row.completion for row in answer(seeing, asks)] == expected


def test_a_row_ends_with_its_listener_its_limit_or_its_end(
    seeing: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "_PAUSE", 0)
    heard: list[str] = []
    left, image = pictures(2)
    gone = ask(left, max_tokens=64)
    gone.gone.set()
    cut, whole = answer(seeing, [gone, ask(image, listener=heard.append, max_tokens=40)])
    assert len(cut.completion) < len(whole.completion) / 4
    assert len(heard) >= 39
    assert all(whole.completion.startswith(text) for text in heard)
    with in_favour_of(seeing, seeing.end_tokens()[:1]):
        (ended,) = answer(seeing, [ask(image)])
    assert (ended.completion, ended.tokens, ended.whole) == ("", 0, True)


@pytest.fixture(scope="module")
def server(seeing: Policy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    seeing.save(folder / "tiny")
    with serving.serving(
        folder / "log", str(folder / "tiny"), "--max-tokens", str(TOKENS)
    ) as server:
        yield server


def test_32_clients_and_500_requests_lose_and_mix_nothing(server: Server) -> None:
    files = [encoded(image) for image in pictures(40)]
    alone = [server.upload("/report", file).json["completion"] for file in files]
    assert len(set(alone)) >= 25, "the policy does not tell images apart"
    before = server.resident()
    answers = asyncio.run(many(server, files, requests=500, clients=32))
    assert [a.status for a in answers] == [200] * 500
    expected = [alone[n % len(files)] for n in range(500)]
    got = [a.json["completion"] for a in answers]
    differing = [n for n in range(500) if got[n] != expected[n]]
    # Another batch can round another way; whose image it is must never change.
    assert len(differing) <= 10
    assert not any(got[n] in alone for n in differing)
    assert server.resident() - before < 100
    assert server.metric("batches_total") < 400
    assert server.call("GET", "/health").json["waiting"] == 0


async def many(server: Server, files: Sequence[bytes], *, requests: int, clients: int) -> list[Any]:
    answers: list[Any] = [None] * requests
    numbers = iter(range(requests))

    async def client() -> None:
        for number in numbers:
            file = files[number % len(files)]
            answers[number] = await asyncio.to_thread(server.upload, "/report", file)

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(clients))
    await asyncio.gather(*(client() for _ in range(clients)))
    return answers


def test_the_calls_of_the_documents(server: Server, tmp_path: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("no curl on the PATH")
    text = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for name in ("frontal.png", "lateral.png"):
        (tmp_path / name).write_bytes(serving.png(7))
    (tmp_path / "chest.dcm").write_bytes(serving.dicom(9))
    for line in block.splitlines():
        command = line.replace("curl ", "curl --fail --silent ").replace(":8000", f":{server.port}")
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, line
        assert "completion" in done.stdout


def test_the_program_of_the_documents(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai")
    text = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    image = pictures(1)[0]
    image.save(tmp_path / "frontal.png")
    monkeypatch.chdir(tmp_path)
    program = block.replace(":8000", f":{server.port}")
    printed: list[str] = []
    exec(program, {"print": printed.append})
    assert printed == [server.upload("/report", encoded(image)).json["completion"]]
