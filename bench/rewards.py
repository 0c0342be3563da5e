"""What the reward and its watching cost in a GRPO step, and how fast the reward server is.

    python bench/rewards.py [--steps 3] [--calls 1000]

The step is a real one of TRL's GRPOTrainer with quickstart's tiny policy and batch (64 completions
of at most 64 tokens, G = 4), the smallest and fastest this program trains: a larger policy makes
the share smaller. The reward is timed apart, on the drawn reports of as many studies, since a
policy of random weights writes nothing that a labeler would have to read. Both are CPU time of
one thread, which other work on the machine does not change much. The server is a process of its
own on the same core as its clients, one connection a call.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import io
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mrg_r1.completion import render
from mrg_r1.config import load_recipe
from mrg_r1.data import phantom
from mrg_r1.recipe_rewards import (
    make_readers,
    make_rewards,
    the_labeler,
    training_references,
)
from mrg_r1.rewards.health import health, observe, sampled
from mrg_r1.rewards.total import TotalReward

BATCH = 64


def main() -> None:
    """Prints both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--calls", type=int, default=1000)
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    references = training_references(load_recipe("quickstart", [f"data.train={20 * BATCH}"]))
    reward, watching = reward_seconds(references)
    print(f"reward: {1000 * reward:.2f} ms a batch of {BATCH}, {BATCH / reward:,.0f} completions/s")
    print(f"watching it: {1000 * watching:.2f} ms")
    for name, seconds in server_seconds(references, args.calls):
        print(f"server, {name}: {seconds:.2f} s, {args.calls / seconds:,.0f} calls/s")
    step = step_seconds(args.steps)
    print(f"GRPO step: {step:.2f} s; the reward is {100 * reward / step:.2f} % of it,", end=" ")
    print(f"watching it {100 * watching / step:.2f} %")


def reward_seconds(references: list[str]) -> tuple[float, float]:
    """Median CPU seconds of a batch whose texts are all new, and of computing its health."""
    times: list[tuple[float, float]] = []
    recipe = load_recipe("quickstart")
    for start in range(0, len(references), BATCH):
        batch = references[start : start + BATCH]
        # Another study's report: nothing that a cache would know.
        completions = [render("a", f"{text} Compared {start}.") for text in batch[1:] + batch[:1]]
        labeler = the_labeler(recipe.labeler)
        readers = make_readers(recipe, labeler)
        rewards = make_rewards(recipe.reward, labeler, references)
        began = time.process_time()
        values = [reward(completions, reference=batch) for reward, _ in rewards]
        rewarded = time.process_time()
        weights = [weight for _, weight in rewards]
        chosen = sampled(BATCH, recipe.health.sample)
        facts = observe(completions, batch, values, weights, readers, chosen)
        health(facts, [reward.__name__ for reward, _ in rewards], 4, "ce_f1")
        times.append((rewarded - began, time.process_time() - rewarded))
    first, second = zip(*times, strict=True)
    return statistics.median(first), statistics.median(second)


def step_seconds(steps: int) -> float:
    """Median CPU seconds of a GRPO step, the first left out."""
    import torch
    from transformers import TrainerCallback
    from trl.trainer.grpo_trainer import GRPOTrainer

    from mrg_r1.data.samples import samples
    from mrg_r1.policy.load import load_policy
    from mrg_r1.policy.tiny import build_tiny
    from mrg_r1.trainers.options import forbid, grpo_config
    from mrg_r1.trainers.rows import rows

    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.process_time())

    torch.set_num_threads(1)
    recipe = load_recipe("quickstart")
    assert recipe.policy.tiny
    with tempfile.TemporaryDirectory() as folder:
        studies = phantom.draw(Path(folder) / "studies", train=BATCH, val=0, test=0, size=112)
        drawn, _ = samples(studies.studies, views="frontal")
        texts = [sample.reference for sample in drawn] * 4
        build_tiny(texts, recipe.policy.tiny, seed=0).save(Path(folder) / "policy")
        policy = load_policy(Path(folder) / "policy", trainable=True)
        options = {**recipe.srl, "max_steps": steps + 1, "max_completion_length": 64}
        total = TotalReward.paper()
        config = grpo_config(
            {**options, "save_steps": 1000}, Path(folder) / "srl", 0, reward_weights=[1.0]
        )
        forbid(config, policy.forbidden_tokens())
        trainer = GRPOTrainer(
            model=policy.model,
            reward_funcs=[total],
            args=config,
            train_dataset=rows(drawn, recipe.policy.instruction),
            processing_class=policy.processor,
            callbacks=[Clock()],
        )
        with contextlib.redirect_stdout(io.StringIO()):
            trainer.train()
    return statistics.median(b - a for a, b in itertools.pairwise(ends))


def server_seconds(references: list[str], calls: int) -> list[tuple[str, float]]:
    """Seconds for so many single calls at once, and for the same one after another."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "mrg_r1", "serve-reward", "--port", str(port)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        bodies = [
            json.dumps({"completion": render("a", f"{text} Seen {i}."), "reference": text}).encode()
            for i, text in zip(
                range(calls), references * (calls // len(references) + 1), strict=False
            )
        ]
        _wait(port)
        began = time.perf_counter()
        statuses = asyncio.run(_all_at_once(port, bodies))
        together = time.perf_counter() - began
        assert statuses == [200] * calls, "calls were lost"
        began = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for body in bodies:
            connection.request("POST", "/reward", body, {"Content-Type": "application/json"})
            connection.getresponse().read()
        alone = time.perf_counter() - began
    finally:
        server.terminate()
        server.wait()
    return [("all at once", together), ("one after another", alone)]


def _wait(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server does not come up")


async def _all_at_once(port: int, bodies: list[bytes]) -> list[int]:
    return await asyncio.gather(*(_post(port, body) for body in bodies))


async def _post(port: int, body: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /reward HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1])


if __name__ == "__main__":
    main()
