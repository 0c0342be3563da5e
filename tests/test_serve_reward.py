"""The reward server, as a process of its own, called over sockets."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mrg_r1.completion import render
from mrg_r1.errors import DataError
from mrg_r1.rewards.integrations import verl
from mrg_r1.rewards.remote import RemoteReward
from serving import Server, free_port, started, stop

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

REFERENCE = "Large right pleural effusion. No pneumothorax."
HONEST = render("an effusion", "Right pleural effusion. No pneumothorax.")
SECRET = "zebra lesion of Mrs Example"

# A server whose scorer is slow, or raises on one text, to see what others notice.
SERVER = """
import sys, time
from mrg_r1.rewards.total import TotalReward
from mrg_r1.serve.http import serve
from mrg_r1.serve.reward import make_app

class Scorer:
    def components(self, completions, reference):
        time.sleep(float(sys.argv[2]))
        if any("raise" in text for text in completions):
            raise KeyError(completions)
        return TotalReward.paper().components(completions, reference)

serve(make_app(Scorer(), name="test", waiting=int(sys.argv[3])), "127.0.0.1", int(sys.argv[1]))
"""


def metric(server: Server, name: str) -> float:
    (line,) = [
        line
        for line in server.call("GET", "/metrics").text.splitlines()
        if line.startswith(f"mrg_r1_reward_{name} ")
    ]
    return float(line.split()[1])


def serving(log: Path, delay: float, waiting: int) -> Iterator[Server]:
    port = free_port()
    process, server = started(log, "-c", SERVER, str(port), str(delay), str(waiting), port=port)
    yield server
    stop(process)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from serving(tmp_path_factory.mktemp("fast") / "log", 0.0, 4096)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Server]:
    yield from serving(tmp_path / "log", 0.5, 3)


def test_the_command_serves_the_recipes_reward(tmp_path: Path) -> None:
    port = free_port()
    process, server = started(
        tmp_path / "log",
        *("-m", "mrg_r1", "serve-reward", "--set", "reward.margin=0.5", "--port", str(port)),
        port=port,
    )
    answer = server.call("POST", "/reward", {"completion": HONEST, "reference": REFERENCE})
    health = server.call("GET", "/health").json
    stop(process)
    assert answer.json == {"reward": pytest.approx(1.0), "mccs": pytest.approx(1.0), "format": 1.0}
    assert (health["status"], health["reward"]) == ("ok", "0.75 mccs + 0.25 format")
    assert "http://127.0.0.1" in server.log.read_text()


def test_one_many_and_the_client(server: Server) -> None:
    texts, references = [HONEST, "", "no tags"], [REFERENCE] * 3
    many = server.call("POST", "/rewards", {"completions": texts, "references": references})
    assert [row["reward"] for row in many.json["rewards"]] == pytest.approx([1.0, 0.0, 0.0])
    remote = RemoteReward(f"http://127.0.0.1:{server.port}")
    assert remote.components(texts, references) == many.json["rewards"]
    score = verl.make(remote)(data_source="x", solution_str=HONEST, ground_truth=REFERENCE)
    assert score["score"] == pytest.approx(1.0)
    none = server.call("POST", "/rewards", {"completions": [], "references": []})
    assert none.json == {"rewards": []}


def test_openrlhfs_own_call(server: Server) -> None:
    body = {"query": [f"P:{HONEST}</s>"], "prompts": ["P:"], "labels": [REFERENCE]}
    assert server.call("POST", "/openrlhf", body).json == {
        "rewards": pytest.approx(1.0),
        "scores": pytest.approx(1.0),
        "extra_logs": {"mccs": pytest.approx(1.0), "format": 1.0},
    }


ONE = {"completion": "a", "reference": "b"}
MALFORMED: dict[str, tuple[str, Any, str]] = {
    "no reference": ("/reward", {"completion": "a"}, "reference"),
    "a misspelt field": ("/reward", {**ONE, "refrence": "b"}, "refrence"),
    "a number": ("/reward", {**ONE, "completion": 3}, "completion"),
    "null": ("/reward", {**ONE, "completion": None}, "completion"),
    "an empty reference": ("/reward", {**ONE, "reference": " \n"}, "reference"),
    "a text too long": ("/reward", {**ONE, "completion": "x" * 1_000_001}, "completion"),
    "a list": ("/reward", [ONE], "body"),
    "one bad of many": (
        "/rewards",
        {"completions": ["a"] * 2, "references": ["r", ""]},
        "references.1",
    ),
    "too few references": (
        "/rewards",
        {"completions": ["a"] * 2, "references": ["r"]},
        "references",
    ),
    "too many at once": (
        "/rewards",
        {"completions": ["a"] * 4097, "references": ["r"] * 4097},
        "references",
    ),
    "another prompt": ("/openrlhf", {"query": ["a"], "prompts": ["b"], "labels": ["c"]}, "query"),
    "prompts missing": ("/openrlhf", {"query": ["a"], "prompts": [], "labels": ["c"]}, "prompts"),
}


@pytest.mark.parametrize(("path", "body", "field"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_body_is_422_and_names_the_field(
    server: Server, path: str, body: Any, field: str
) -> None:
    answer = server.call("POST", path, body)
    assert answer.status == 422
    assert [problem["field"] for problem in answer.json["detail"]] == [field]
    assert all(problem["problem"] for problem in answer.json["detail"])


@pytest.mark.parametrize("raw", ["", "{", "not json", '{"completion": "\\ud800"'])
def test_what_is_no_json_is_422(server: Server, raw: str) -> None:
    assert server.call("POST", "/reward", raw=raw).status == 422


def test_one_text_that_breaks_the_scorer_harms_no_other(server: Server) -> None:
    async def both() -> list[tuple[int, Any]]:
        texts = [HONEST] * 20 + ["raise"] + [HONEST] * 20
        return await asyncio.gather(*(post(server.port, text) for text in texts))

    answers = asyncio.run(both())
    assert [status for status, _ in answers] == [200] * 20 + [500] + [200] * 20
    assert answers[20][1] == {"detail": "failed: KeyError"}


def test_nothing_of_a_text_is_logged(server: Server) -> None:
    for text in (SECRET, f"raise {SECRET}"):
        server.call("POST", "/reward", {"completion": text, "reference": SECRET})
    server.call("POST", "/reward", {"completion": SECRET, "reference": 3})
    server.call("POST", "/reward", raw=SECRET)
    assert "zebra" not in server.log.read_text()
    assert "zebra" not in server.call("GET", "/metrics").text


async def post(port: int, completion: str) -> tuple[int, Any]:
    """A call on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"completion": completion, "reference": REFERENCE}).encode()
    writer.write(
        b"POST /reward HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    answer = await reader.read()
    writer.close()
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(content)


def test_a_thousand_calls_at_once_lose_nothing(server: Server) -> None:
    before = metric(server, "samples_total"), metric(server, "batches_total")
    texts = [
        render("a", f"Right pleural effusion, {i} cm. No pneumothorax.") if i % 2 else f"{i}"
        for i in range(1000)
    ]

    async def all_at_once() -> list[tuple[int, Any]]:
        return await asyncio.gather(*(post(server.port, text) for text in texts))

    start = time.perf_counter()
    answers = asyncio.run(all_at_once())
    seconds = time.perf_counter() - start
    assert [status for status, _ in answers] == [200] * 1000
    expected = [float(i % 2) for i in range(1000)]
    assert [row["reward"] for _, row in answers] == pytest.approx(expected)
    assert metric(server, "samples_total") - before[0] == 1000
    assert metric(server, "batches_total") - before[1] < 900
    # Under 5 s on one idle core (bench/rewards.py); this bound is for a machine that is busy.
    assert seconds < 30


def test_too_many_are_told_to_come_back(slow: Server) -> None:
    async def ten() -> list[tuple[int, Any]]:
        return await asyncio.gather(*(post(slow.port, HONEST) for _ in range(10)))

    statuses = [status for status, _ in asyncio.run(ten())]
    assert set(statuses) == {200, 429}
    assert 3 <= statuses.count(200) <= 8
    assert metric(slow, "refused_total") == statuses.count(429)
    refused = slow.call("POST", "/rewards", {"completions": ["a"] * 4, "references": ["r"] * 4})
    assert refused.status == 422


def test_the_client_comes_back(slow: Server) -> None:
    remote = RemoteReward(f"http://127.0.0.1:{slow.port}")

    async def eight() -> list[Any]:
        call = asyncio.to_thread
        return await asyncio.gather(
            *(call(remote.components, [HONEST], [REFERENCE]) for _ in range(8))
        )

    assert [rows[0]["format"] for rows in asyncio.run(eight())] == [1.0] * 8
    assert metric(slow, "refused_total") > 0


def test_a_client_killed_while_it_waits_harms_no_other(slow: Server) -> None:
    code = (
        "import http.client, json, sys\n"
        "c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]))\n"
        "c.request('POST', '/reward', json.dumps({'completion': 'x', 'reference': 'r'}))\n"
        "print('sent', flush=True); c.getresponse()"
    )
    clients = [
        subprocess.Popen([sys.executable, "-c", code, str(slow.port)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    for client in clients:
        assert client.stdout
        assert client.stdout.readline() == b"sent\n"
        os.kill(client.pid, signal.SIGKILL)
        client.wait()
        client.stdout.close()
    answer = slow.call("POST", "/reward", {"completion": HONEST, "reference": REFERENCE})
    assert answer.json["reward"] == pytest.approx(1.0)
    assert metric(slow, "failed_total") == 0


def test_a_client_that_stops_in_mid_body_harms_no_other(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as half:
        half.sendall(b'POST /reward HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"comp')
        answer = server.call("POST", "/reward", {"completion": HONEST, "reference": REFERENCE})
        assert answer.status == 200
    assert server.call("GET", "/health").json["waiting"] == 0


def test_no_server_is_one_line() -> None:
    with pytest.raises(DataError, match="type 'mrg-r1 serve-reward'"):
        RemoteReward(f"http://127.0.0.1:{free_port()}").components(["a"], ["b"])


def test_a_refusal_names_the_field(server: Server) -> None:
    with pytest.raises(DataError, match=r"422, .*references\.0"):
        RemoteReward(f"http://127.0.0.1:{server.port}").components(["a"], [" "])
