"""What the command line does with CheXbert's files, by networks small enough for tests."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from commands import Run
from mrg_r1.cli.download import fetch
from mrg_r1.errors import ConfigError, DataError, MissingExtra, MrgError
from mrg_r1.findings import FINDINGS
from mrg_r1.labelers import chexbert
from mrg_r1.labelers.chexbert import ChexbertLabeler, TorchNetwork, int8
from mrg_r1.labelers.chexbert.int8 import Int8Network, agreement, write_int8
from tiny_chexbert import BERT, REPORTS, write_files


@pytest.fixture
def run(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, whose CheXbert is small."""
    monkeypatch.setattr(chexbert, "TorchNetwork", partial(TorchNetwork, bert=BERT))
    monkeypatch.setattr(int8, "write_int8", partial(write_int8, bert=BERT))
    return run


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_files(tmp_path_factory.mktemp("chexbert"))


@pytest.fixture(scope="module")
def small(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "chexbert-int8.onnx"
    write_int8(files[0], path, BERT)
    return path


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    path = tmp_path / "reports.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["report"], *([report] for report in REPORTS)])
    return path


def test_label_and_evaluate_take_chexbert(
    run: Run, files: tuple[Path, Path], reports: Path, tmp_path: Path
) -> None:
    labeler = ChexbertLabeler(TorchNetwork(files[0], "cpu", BERT), files[1])
    options = ("--labeler", "chexbert", "--weights", files[0], "--vocabulary", files[1])
    out = tmp_path / "labels.csv"
    for cache in ((), ("--cache", tmp_path / "cache.db"), ("--cache", tmp_path / "cache.db")):
        assert run("label", reports, *options, *cache, "-o", out).code == 0
        with open(out, newline="") as file:
            rows = list(csv.DictReader(file))
        for row, report, labels in zip(rows, REPORTS, labeler.label(REPORTS), strict=True):
            found = {finding.value: row[finding.value] for finding in FINDINGS}
            assert found == (labels.to_csv() if report else dict.fromkeys(found, ""))
    predictions = tmp_path / "predictions.jsonl"
    line = {"id": "1", "report": "No edema.", "reference": "Large pleural effusions."}
    predictions.write_text(json.dumps(line))
    done = run("evaluate", predictions, *options, "--resamples", 2, "--json")
    assert f"labeler:{labeler.identity}|" in done.out


def test_what_does_not_go_together_is_one_line(
    run: Run, files: tuple[Path, Path], reports: Path, tmp_path: Path
) -> None:
    label = ("label", reports, "-o", tmp_path / "out.csv")
    options = ("--labeler", "chexbert", "--weights", files[0], "--vocabulary", files[1])
    for args, message in {
        (*label, "--labeler", "chexbert"): "where is its chexbert.pth? add --weights FILE",
        (*label, "--weights", files[0]): "rules need no --weights or --vocabulary; add --labeler",
        (*label, *options, "--evidence", tmp_path / "e.jsonl"): "only rules tell what decided",
        (*label, *options[:-1], tmp_path / "v.txt"): "v.txt: no such file",
    }.items():
        done = run(*args)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert message in done.err


def test_check_shows_digests(run: Run, files: tuple[Path, Path]) -> None:
    check = ("chexbert", "check", "--weights", files[0], "--vocabulary", files[1])
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    found = json.loads(run(*check, "--json").out)
    assert [found["weights"], found["vocabulary"]] == digests
    assert found["labeler"].startswith(f"chexbert@{digests[0][:12]}")
    assert f"weights: sha256 {digests[0]}\n" in run(*check).out


@pytest.mark.slow
def test_int8_is_nearly_the_same(files: tuple[Path, Path], small: Path) -> None:
    exact = ChexbertLabeler(TorchNetwork(files[0], "cpu", BERT), files[1])
    found = ChexbertLabeler(Int8Network(small), files[1])
    reports = [*REPORTS, *("no edema " * n for n in range(1, 30))]
    difference = np.abs(exact.probabilities(reports) - found.probabilities(reports))
    assert 0 < difference.mean() < 0.05
    shares = agreement(exact.label(reports), found.label(reports))
    assert list(shares) == list(FINDINGS)
    assert 0.8 < sum(shares.values()) / 14 <= 1
    weights = hashlib.sha256(files[0].read_bytes()).hexdigest()[:12]
    own = hashlib.sha256(small.read_bytes()).hexdigest()[:12]
    assert found.identity.startswith(f"chexbert@{weights}+int8-{own}+vocabulary-")
    assert found.label(reports[::-1]) == found.label(reports)[::-1]
    assert [path.name for path in small.parent.iterdir()] == [small.name]


@pytest.mark.slow
def test_int8_reports_its_agreement(
    run: Run, files: tuple[Path, Path], reports: Path, tmp_path: Path
) -> None:
    out = tmp_path / "small.onnx"
    options = ("--weights", files[0], "--vocabulary", files[1])
    made = run("chexbert", "int8", reports, *options, "-o", out, "--json")
    found = json.loads(made.out)
    assert found["reports"] == len({report for report in REPORTS if report})
    assert found["equal"] == pytest.approx(sum(found["findings"].values()) / 14)
    assert f"{out}: chexbert@" in made.err
    options = ("--labeler", "chexbert", "--weights", out, "--vocabulary", files[1])
    assert run("label", reports, *options, "-o", tmp_path / "labels.csv").code == 0
    wrong = run("chexbert", "int8", reports, *options[2:], "-o", tmp_path / "small.bin")
    assert (wrong.code, "call it small.onnx" in wrong.err) == (2, True)


def test_other_onnx_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    with pytest.raises(DataError, match="no such file"):
        Int8Network(path)
    path.write_bytes(b"no model")
    with pytest.raises(DataError, match="not made by 'mrg-r1 chexbert int8'"):
        Int8Network(path)


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tmp_path / "small.onnx"
    small.touch()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"int8 needs onnxruntime; type: pip install 'mrg-r1\["):
        Int8Network(small)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtra, match="needs onnxscript"):
        write_int8(small, small)


BODY = bytes(range(256)) * 10_000


class Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path in ("/plain", "/again"):
            self.send_response(302)
            port = self.server.server_address[1]
            place = "http://127.0.0.1/x" if self.path == "/plain" else f"https://localhost:{port}/x"
            self.send_header("Location", place)
            self.end_headers()
            return
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:1000] if self.path == "/torn" else BODY)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ssl.SSLContext]]:
    """An https server on this machine, and the context that trusts it."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate")
    folder = tmp_path_factory.mktemp("server")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", *words.split(), *names, "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    http = HTTPServer(("127.0.0.1", 0), Server)
    http.socket = context.wrap_socket(http.socket, server_side=True)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    trusting = ssl.create_default_context(cafile=certificate)
    yield f"https://localhost:{http.server_address[1]}", trusting
    http.shutdown()
    http.server_close()


def test_a_file_is_fetched_whole(server: tuple[str, ssl.SSLContext], tmp_path: Path) -> None:
    address, trusting = server
    digest = hashlib.sha256(BODY).hexdigest()
    pieces: list[int] = []
    path = tmp_path / "vocab.txt"
    assert fetch(f"{address}/x", path, context=trusting, on_bytes=pieces.append) == digest
    assert path.read_bytes() == BODY
    assert sum(pieces) == len(BODY)
    second = tmp_path / "second"
    assert fetch(f"{address}/again", second, sha256=digest.upper(), context=trusting) == digest


NOT_FETCHED: dict[str, tuple[str, type[MrgError], str]] = {
    "redirected to http": ("/plain", ConfigError, "http://127.0.0.1/x: not fetched; give an addr"),
    "not there": ("/none", DataError, "HTTP Error 404"),
    "torn": ("/torn", DataError, "ended after 1,000 of 2560000 bytes; try again"),
    "another digest": ("/x", DataError, "its sha256 is "),
}


@pytest.mark.parametrize("case", NOT_FETCHED)
def test_what_is_not_fetched_leaves_nothing(
    server: tuple[str, ssl.SSLContext], tmp_path: Path, case: str
) -> None:
    place, error, message = NOT_FETCHED[case]
    sha256 = "0" * 64 if case == "another digest" else ""
    with pytest.raises(error, match=message):
        fetch(server[0] + place, tmp_path / "file", sha256=sha256, context=server[1])
    assert list(tmp_path.iterdir()) == []


def test_a_server_nobody_vouches_for_is_not_trusted(
    server: tuple[str, ssl.SSLContext], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="certificate"):
        fetch(f"{server[0]}/x", tmp_path / "file")


def test_download_takes_only_https_and_new_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    for url, name, message in (
        ("http://localhost/x", "new", "give an address that starts with https://"),
        ("file:///etc/hostname", "new", "give an address that starts with https://"),
        ("https://localhost/x", "there", "exists already; name another file"),
    ):
        done = run("chexbert", "download", url, tmp_path / name)
        assert (done.code, message in done.err) == (2, True)
