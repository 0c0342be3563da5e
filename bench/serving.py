"""Times the policy server: one at a time, and in batches, by many clients at once, in one run.

Draws chest X-rays, serves a policy twice (`--batch 1`, then `--batch 32`), and lets clients post
images without a pause, each answer compared with the one its image gets alone:

    python bench/serving.py runs/quickstart

Prints throughput, median and 95th percentile of the time to an answer, and how many answers were
lost, or differ from the one the image gets alone. Greedy decoding in another batch can choose
another token where two are equally likely to the last digit; an answer that is another image's is
counted as mixed up, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mrg_r1.data import phantom

BOUNDARY = "a-boundary"


@dataclass(frozen=True)
class Round:
    """What one round of requests came to; `seconds` of each answer, in order of the requests."""

    answers: list[str]
    seconds: list[float]
    total: float

    def tell(self, name: str) -> str:
        """A line of the table."""
        ordered = sorted(self.seconds)
        middle, late = ordered[len(ordered) // 2], ordered[int(0.95 * len(ordered))]
        rate = len(ordered) / self.total
        return f"{name:<32}{rate:10.2f}{middle:10.2f}{late:10.2f}"


def main() -> int:
    """Runs the rounds and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("policy")
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument(
        "--alone", type=int, default=100, help="requests of the rounds without batches"
    )
    parser.add_argument("--port", type=int, default=18764)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        studies = phantom.draw(Path(folder), train=asked.images, val=0, test=0, size=112).studies
        files = [study.views[0].path.read_bytes() for study in studies]
    with_one = Served(asked.policy, asked.port, 1)
    single = with_one.round(files, len(files), 1)
    queued = with_one.round(files, asked.alone, asked.clients)
    with_one.stop()
    batched = Served(asked.policy, asked.port, asked.clients)
    full = batched.round(files, asked.requests, asked.clients)
    batched.stop()
    print(f"{'':<32}{'reports/s':>10}{'median s':>10}{'p95 s':>10}")
    print(single.tell("one at a time, 1 client"))
    print(queued.tell(f"one at a time, {asked.clients} clients"))
    print(full.tell(f"in batches, {asked.clients} clients"))
    rates = [len(r.seconds) / r.total for r in (queued, full)]
    print(f"batches: {rates[1] / rates[0]:.1f} times the throughput")
    return compare(single.answers, full.answers)


def compare(alone: Sequence[str], together: Sequence[str]) -> int:
    """Tells lost, differing and mixed-up answers; returns whether any was mixed up or lost."""
    lost = together.count("")
    differing = mixed = 0
    for number, answer in enumerate(together):
        own = alone[number % len(alone)]
        if answer not in ("", own):
            differing += 1
            mixed += answer in alone
    print(f"{len(set(alone))} different answers to {len(alone)} images")
    print(
        f"of {len(together)} answers: {lost} lost, {differing} differ, {mixed} are another image's"
    )
    return int(bool(lost or mixed))


class Served:
    """A server process."""

    def __init__(self, policy: str, port: int, batch: int) -> None:
        self.port = port
        words = ["serve", policy, "--port", str(port), "--batch", str(batch)]
        self.process = subprocess.Popen([sys.executable, "-m", "mrg_r1", *words])
        deadline = time.monotonic() + 300
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def round(self, files: Sequence[bytes], requests: int, clients: int) -> Round:
        """Requests for the files in turn, by so many clients at once."""
        return asyncio.run(self._round(files, requests, clients))

    async def _round(self, files: Sequence[bytes], requests: int, clients: int) -> Round:
        answers, seconds = [""] * requests, [0.0] * requests
        numbers = iter(range(requests))

        async def client() -> None:
            for number in numbers:
                start = time.perf_counter()
                answers[number] = await self._post(files[number % len(files)])
                seconds[number] = time.perf_counter() - start

        await self._post(files[0])  # what is done once
        start = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        return Round(answers, seconds, time.perf_counter() - start)

    async def _post(self, file: bytes) -> str:
        mark = f"--{BOUNDARY}\r\n"
        head = f'{mark}Content-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
        body = head.encode() + file + f"\r\n--{BOUNDARY}--\r\n".encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        request = (
            "POST /report HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        writer.write(request.encode() + body)
        answer = await reader.read()
        writer.close()
        head_, _, content = answer.partition(b"\r\n\r\n")
        return json.loads(content)["completion"] if b" 200 " in head_[:20] else ""

    def stop(self) -> None:
        """Ends it."""
        self.process.terminate()
        self.process.wait()


if __name__ == "__main__":
    sys.exit(main())
