"""Servers as processes of their own, and calls over sockets."""

from __future__ import annotations

import base64
import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

BOUNDARY = "a-boundary"

# A policy server whose completions tell the image's mean grey and the seed; slow, or failing.
STUB = """
import json, sys, time
from mrg_r1.completion import render
from mrg_r1.policy.asks import Written
from mrg_r1.serve.app import make_app
from mrg_r1.serve.http import serve
from mrg_r1.serve.uploads import MIB, Limits
from mrg_r1.serve.writers import LocalWriter

port, options = int(sys.argv[1]), json.loads(sys.argv[2])

def one(ask):
    if "fail" in ask.instruction:
        raise KeyError(ask.instruction)
    grey = round(sum(ask.images[0].convert("L").resize((8, 8)).tobytes()) / 64)
    asked = ask.instruction.replace("<", "(")
    given = "".join(f" [{kind}: {text}]" for kind, text in ask.context.items())
    text = render(f"grey {grey}, seed {ask.seed}, {len(ask.images)} images, {asked}{given}",
        "Large right pleural effusion. No pneumothorax. Possible edema in a chest of \\u00b5.")
    for end in range(0, len(text), 20):
        if ask.listener: ask.listener(text[:end])
        deadline = time.monotonic() + options.get("delay", 0) * 20 / len(text)
        while time.monotonic() < deadline and not ask.gone.is_set():
            time.sleep(0.005)
    return Written(text, len(text), 7, True)

writer = LocalWriter("stub", lambda asks: [one(ask) for ask in asks],
    spelled=lambda text: "<|" if "<|" in text else "", batch=options.get("batch", 32),
    waiting=options.get("waiting", 128))
app = make_app(writer, context=options.get("context", ()), token=options.get("token", ""),
    limits=Limits(**options.get("limits", {})))
serve(app, "127.0.0.1", port)
"""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class Server(NamedTuple):
    port: int
    log: Path
    pid: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        raw: str | bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        content = raw if raw is not None else json.dumps(body)
        kind = {"Content-Type": "application/json", **(headers or {})}
        connection.request(method, path, content, kind)
        response = connection.getresponse()
        names = {key.lower(): value for key, value in response.getheaders()}
        answer = Answer(response.status, names, response.read())
        connection.close()
        return answer

    def upload(self, path: str, *files: bytes, **fields: object) -> Answer:
        """Posts files named 'image', and other fields, as a form."""
        return self.call("POST", path, raw=form(files, fields), headers=FORM)

    def metric(self, name: str) -> float:
        found = re.findall(rf"^mrg_r1_serve_{re.escape(name)} (\S+)$", self.metrics(), re.MULTILINE)
        return float(found[0]) if found else 0.0

    def metrics(self) -> str:
        return self.call("GET", "/metrics").text

    def resident(self) -> float:
        """MiB of memory that the process holds."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(files: Sequence[bytes], fields: dict[str, object]) -> bytes:
    """A multipart body; files have names that tell a patient's, as they do."""
    parts = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = b'Content-Disposition: form-data; name="image"; filename="Doe^Zebra.dcm"\r\n\r\n'
    parts += [head + file + b"\r\n" for file in files]
    mark = f"--{BOUNDARY}".encode()
    return b"".join(mark + b"\r\n" + part for part in parts) + mark + b"--\r\n"


def png(grey: int = 128, side: int = 64) -> bytes:
    """A PNG of one grey."""
    return encoded(Image.new("L", (side, side), grey))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def dicom(grey: int = 128, side: int = 64, **elements: Any) -> bytes:
    """A DICOM file of one grey, of a patient whom nobody may hear of."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = DigitalXRayImageStorageForPresentation
    data.SOPInstanceUID = generate_uid()
    data.PatientName, data.PatientID = "Doe^Zebra", "zebra-1"
    data.Modality, data.PhotometricInterpretation = "DX", "MONOCHROME2"
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.Rows = data.Columns = side
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    data.PixelData = np.full((side, side), grey, np.uint8).tobytes()
    data["PixelData"].VR = "OB"
    for name, value in elements.items():
        setattr(data, name, value)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def chat(*files: bytes, text: str = "Report this.", **more: Any) -> dict[str, Any]:
    """A question with images, for the chat route of the stub."""
    urls = [f"data:image/png;base64,{base64.b64encode(file).decode()}" for file in files]
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    content = [*images, {"type": "text", "text": text}]
    return {"model": "stub", "messages": [{"role": "user", "content": content}], **more}


def think(grey: int, seed: int = 0, images: int = 1) -> str:
    """How the stub's think part begins."""
    return f"grey {grey}, seed {seed}, {images} images,"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def started(log: Path, *command: str, port: int) -> tuple[subprocess.Popen[bytes], Server]:
    with open(log, "wb") as file:
        process = subprocess.Popen([sys.executable, *command], stdout=file, stderr=file)
    server, deadline = Server(port, log, process.pid), time.monotonic() + 120
    while True:
        try:
            server.call("GET", "/health")
            return process, server
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "the server does not come up"
            time.sleep(0.05)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=40)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


@contextmanager
def stub(folder: Path, **options: Any) -> Generator[Server]:
    """A server of the stub above."""
    port = free_port()
    log = folder / "server.log"
    process, server = started(log, "-c", STUB, str(port), json.dumps(options), port=port)
    try:
        yield server
    finally:
        stop(process)


@contextmanager
def serving(log: Path, *words: str) -> Generator[Server]:
    """A server that the command starts."""
    port = free_port()
    command = ("-m", "mrg_r1", "serve", *words, "--port", str(port))
    process, server = started(log, *command, port=port)
    try:
        yield server
    finally:
        stop(process)


def events(content: bytes) -> Iterator[tuple[str, Any]]:
    """Name and data of server-sent events."""
    for block in content.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line[1:])
        if "event" in lines:
            yield lines["event"], json.loads(lines["data"])
