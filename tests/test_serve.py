"""The policy server, as a process of its own: answers, streams, batches, who is let in."""

from __future__ import annotations

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
from typer.testing import CliRunner

import serving
from mrg_r1.cli import app
from mrg_r1.errors import ConfigError
from serving import Server, chat, dicom, events, form, png, think

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving.stub(tmp_path_factory.mktemp("stub")) as server:
        yield server


def test_a_report_has_its_parts_labels_and_evidence(server: Server) -> None:
    answer = server.upload("/report", png(77)).json
    assert answer["think"] == think(77)
    assert answer["findings"] == {
        "Pleural Effusion": "positive",
        "Pneumothorax": "negative",
        "Edema": "uncertain",
    }
    report = answer["report"]
    sentences = {
        e["finding"]: report[e["sentence_start"] : e["sentence_end"]] for e in answer["evidence"]
    }
    assert sentences["Pneumothorax"] == "No pneumothorax."
    (edema,) = (e for e in answer["evidence"] if e["finding"] == "Edema")
    assert report[edema["start"] : edema["end"]] == "edema"
    assert report[edema["cue_start"] : edema["cue_end"]] == edema["cue"] == "Possible"
    assert "not for clinical use" in answer["notice"]
    assert (answer["model"], answer["decoding"], answer["drafts"]) == ("stub", "greedy", 1)
    assert answer["violations"] == []
    assert answer["agreement"] == {}


def test_a_dicom_file_and_several_views(server: Server) -> None:
    assert server.upload("/report", dicom(50)).json["think"] == think(50)
    assert server.upload("/report", dicom(50), png(9)).json["think"] == think(50, images=2)


def test_drafts_give_an_agreement(server: Server) -> None:
    answer = server.upload("/report", png(1), drafts=4, seed=5).json
    assert answer["drafts"] == 4
    assert answer["agreement"]["Pneumothorax"] == {"negative": 1.0}
    assert answer["decoding"] == "consensus of 4, temperature 1, top-p 1, seed 5"
    assert answer["think"] in {think(1, seed) for seed in range(5, 9)}


def test_several_studies_keep_their_order(server: Server) -> None:
    files = [png(grey) for grey in (3, 200, 90)]
    answers = server.upload("/reports", *files, drafts=2).json["reports"]
    assert [answer["think"].split(",")[0] for answer in answers] == [
        "grey 3",
        "grey 200",
        "grey 90",
    ]


def test_a_stream_adds_up_to_its_answer(server: Server) -> None:
    answer = server.upload("/report", png(8), stream="true")
    assert answer.headers["content-type"].startswith("text/event-stream")
    heard = list(events(answer.content))
    assert {name for name, _ in heard[:-1]} == {"delta"}
    name, last = heard[-1]
    assert name == "answer"
    assert "".join(data["text"] for _, data in heard[:-1]) == last["completion"]
    assert last["think"] == think(8)


def test_a_preview_is_what_the_file_holds(server: Server) -> None:
    answer = server.upload("/preview", dicom(40, WindowCenter=100, WindowWidth=51))
    image = json.loads(answer.headers["x-image"])
    assert (image["rows"], image["columns"]) == (64, 64)
    assert (image["low"], image["high"]) == (74.5, 124.5)
    assert image["offset"] == 40
    assert answer.content == bytes(64 * 64 * 2)


def test_comparing_names_the_kinds_of_the_audit(server: Server) -> None:
    body = {"report": "No pneumothorax. Large effusion.", "reference": "Pneumothorax. Edema."}
    answer = server.call("POST", "/labels", body).json
    kinds = {row["finding"]: row["kind"] for row in answer["kinds"]}
    assert kinds == {
        "Pneumothorax": "polarity",
        "Edema": "omission",
        "Pleural Effusion": "invention",
    }
    alone = server.call("POST", "/labels", {"report": "Edema."}).json
    assert alone["reference"] is None
    assert alone["kinds"] == []
    assert alone["report"]["findings"] == {"Edema": "positive"}


def test_exports_say_who_wrote_them(server: Server) -> None:
    answer = server.upload("/report", png()).json
    forged = {**answer, "model": "Dr. Example", "notice": "checked by a radiologist"}
    for name in ("text", "json", "fhir"):
        exported = server.call("POST", f"/export/{name}", forged)
        assert exported.status == 200
        assert "attachment" in exported.headers["content-disposition"]
        assert "not for clinical use" in exported.text
        assert "stub" in exported.text
        assert "Example" not in exported.text
        assert "checked by a radiologist" not in exported.text


@pytest.mark.slow
def test_exports_are_what_their_formats_want(server: Server) -> None:
    fhir = pytest.importorskip("fhir.resources.R4B.diagnosticreport")
    sr = pytest.importorskip("highdicom.sr")
    answer = server.upload("/report", png(), drafts=2).json
    fhir.DiagnosticReport.model_validate(server.call("POST", "/export/fhir", answer).json)
    content = server.call("POST", "/export/dicom-sr", answer).content
    with (Path(server.log).parent / "sr.dcm").open("wb") as file:
        file.write(content)
    assert sr.srread(file.name).PatientName in (None, "")


def test_health_metrics_and_documents(server: Server) -> None:
    health = server.call("GET", "/health").json
    assert (health["status"], health["model"], health["waiting"]) == ("ok", "stub", 0)
    before = server.metric("completions_total")
    server.upload("/report", png(), drafts=3)
    assert server.metric("completions_total") - before == 3
    assert server.metric("answer_seconds_count") > 0
    assert "/report" in server.call("GET", "/openapi.json").json["paths"]
    for path in ("/", "/docs"):
        assert "://" not in server.call("GET", path).text


def test_answers_carry_the_headers_that_confine_a_page(server: Server) -> None:
    for path in ("/", "/health", "/nothing", "/report"):
        headers = server.call("GET", path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_pages_of_other_sites_cannot_call(server: Server) -> None:
    renamed = server.call("GET", "/health", headers={"Host": "attacker.example"})
    assert renamed.status == 400
    crossed = server.call(
        "POST", "/labels", {"report": "x"}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert crossed.status == 403
    assert "access-control-allow-origin" not in crossed.headers


@pytest.mark.slow
def test_a_token_is_asked_for(tmp_path: Path) -> None:
    with serving.stub(tmp_path, token="rose") as server:
        assert server.call("GET", "/").status == 200
        assert server.call("GET", "/health").status == 200
        for token in ("", "Bearer ros", "Bearer rose2", "Basic rose", "rose"):
            answer = server.call("GET", "/metrics", headers={"Authorization": token})
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        assert server.upload("/report", png()).status == 401
        let_in = {"Authorization": "Bearer rose"}
        assert server.call("GET", "/v1/models", headers=let_in).status == 200


def test_no_server_answers_others_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MRG_R1_TOKEN", raising=False)
    done = CliRunner().invoke(app, ["serve", "runs/none", "--host", "0.0.0.0"])
    assert isinstance(done.exception, ConfigError)
    assert "add --token" in str(done.exception)
    for words in (["serve"], ["serve", "runs/none", "--upstream", "http://127.0.0.1:1/v1"]):
        done = CliRunner().invoke(app, words)
        assert isinstance(done.exception, ConfigError)
        assert "--upstream" in str(done.exception)


def test_an_upstream_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    command = ("-m", "mrg_r1", "serve", "--upstream", f"http://127.0.0.1:{serving.free_port()}/v1")
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "check --upstream" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_server_before_another(server: Server, tmp_path: Path) -> None:
    with serving.serving(tmp_path / "log", "--upstream", f"{server.url}/v1") as front:
        answer = front.upload("/report", dicom(31)).json
        assert answer["think"].startswith(think(31))
        assert answer["model"] == "stub"
        streamed = list(events(front.upload("/report", png(32), stream="true").content))
        assert streamed[-1][1]["think"].startswith(think(32))
        drafts = front.upload("/report", png(33), drafts=3).json
        assert drafts["agreement"]["Pneumothorax"] == {"negative": 1.0}
        failed = front.call("POST", "/v1/chat/completions", chat(png(), text="fail"))
        assert failed.status == 502
        assert "zebra" not in front.log.read_text().lower()


def test_nothing_of_an_image_or_a_text_is_logged_or_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    valid = dicom(1, side=1200, PatientBirthDate="19990101")
    invalid = valid.replace(b"19990101", b"zebra-99")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(kept))
        with serving.stub(tmp_path) as server:
            # Over a megabyte, where a form parser would write a temporary file; an invalid header.
            server.upload("/report", invalid)
            server.upload("/report", dicom(1, BitsAllocated=7))
            server.upload("/report", b"zebra")
            server.upload("/report", png(), zebra="zebra")
            server.call("POST", "/labels", {"report": "zebra", "reference": "zebra"})
            server.call("POST", "/v1/chat/completions", chat(png(), text="fail zebra"))
            assert "zebra" not in server.metrics()
        assert "zebra" not in server.log.read_text().lower()
    assert list(kept.iterdir()) == []


def test_one_that_fails_harms_no_other(server: Server) -> None:
    async def all_at_once() -> list[int]:
        texts = ["a"] * 5 + ["fail"] + ["b"] * 5
        calls = [
            asyncio.to_thread(server.call, "POST", "/v1/chat/completions", chat(png(), text=text))
            for text in texts
        ]
        return [answer.status for answer in await asyncio.gather(*calls)]

    assert asyncio.run(all_at_once()) == [200] * 5 + [500] + [200] * 5


@pytest.mark.slow
def test_too_many_are_told_to_come_back(tmp_path: Path) -> None:
    with serving.stub(tmp_path, delay=0.4, batch=2, waiting=3) as server:

        async def twelve() -> list[Any]:
            calls = [asyncio.to_thread(server.upload, "/report", png()) for _ in range(12)]
            return await asyncio.gather(*calls)

        answers = asyncio.run(twelve())
        statuses = [answer.status for answer in answers]
        assert set(statuses) == {200, 429}
        assert 3 <= statuses.count(200) <= 9
        assert {a.headers["retry-after"] for a in answers if a.status == 429} == {"1"}
        assert server.metric("refused_total") == statuses.count(429)
        assert server.upload("/report", png(), drafts=4).status == 429


@pytest.mark.slow
def test_what_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with serving.stub(tmp_path, delay=30, limits={"seconds": 0.5}) as server:
        start = time.monotonic()
        assert server.upload("/report", png()).status == 504
        streamed = list(events(server.upload("/report", png(), stream="true").content))
        assert streamed[-1][0] == "error"
        # The writing itself stops too: the next call is not behind 30 seconds of the last.
        assert time.monotonic() - start < 20


CLIENT = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
connection.request("POST", "/report", sys.stdin.buffer.read(), {"Content-Type": sys.argv[2]})
print("sent", flush=True)
connection.getresponse().read()
"""


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["false", "true"])
def test_clients_that_are_killed_leave_the_queue(tmp_path: Path, stream: str) -> None:
    with serving.stub(tmp_path, delay=60, batch=1) as server:
        body = form([png()], {"stream": stream})
        for _ in range(4):
            command = [sys.executable, "-c", CLIENT, str(server.port), serving.FORM["Content-Type"]]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
                assert client.stdin
                assert client.stdout
                client.stdin.write(body)
                client.stdin.close()
                assert client.stdout.readline() == b"sent\n"
                time.sleep(0.3)
                os.kill(client.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while server.call("GET", "/health").json["waiting"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.slow
def test_a_client_that_stops_in_mid_body_is_told_so(tmp_path: Path) -> None:
    with (
        serving.stub(tmp_path, limits={"body_seconds": 0.5}) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as half,
    ):
        kind = serving.FORM["Content-Type"]
        half.sendall(
            f"POST /report HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            "Content-Length: 1000\r\n\r\n--a-bound".encode()
        )
        assert half.recv(100).split()[1] == b"408"
        assert server.upload("/report", png()).status == 200
