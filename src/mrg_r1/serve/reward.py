"""The reward behind HTTP, for trainers that call once a sample or from elsewhere.

`POST /reward` scores one completion, `POST /rewards` several, `POST /openrlhf` is what OpenRLHF
sends to a remote reward; `GET /health` and `GET /metrics` (Prometheus) tell how it goes. Texts
are patients': none is logged, and the default address answers this machine only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mrg_r1 import __version__
from mrg_r1.errors import DataError
from mrg_r1.rewards.integrations import openrlhf
from mrg_r1.rewards.total import Scorer
from mrg_r1.serve.batching import Batcher
from mrg_r1.serve.http import Refused, add_errors, exposition


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; leave out studies without a report")
    return text


_Text = Annotated[str, Field(max_length=1_000_000)]
_Reference = Annotated[_Text, AfterValidator(_not_blank)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class One(_Body):
    """One completion and its reference."""

    completion: _Text
    reference: _Reference


class Many(_Body):
    """Completions and as many references."""

    completions: list[_Text]
    references: list[_Reference]


class OpenRlhf(_Body):
    """What OpenRLHF posts: queries (prompt, completion, end tokens), prompts, references."""

    query: list[_Text]
    prompts: list[_Text]
    labels: list[_Reference]


def make_app(scorer: Scorer, *, name: str, waiting: int = 4096, batch: int = 256) -> FastAPI:
    """The application.

    Args:
        scorer: gives the rewards of a batch.
        name: what is scored, for `/health`.
        waiting: how many samples may wait; calls beyond are told to come back (429).
        batch: how many samples are scored at once.
    """

    def work(pairs: Sequence[tuple[str, str]]) -> list[dict[str, float]]:
        completions, references = zip(*pairs, strict=True) if pairs else ((), ())
        return scorer.components(completions, references)

    batcher = Batcher(work, waiting=waiting, batch=batch)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        running = asyncio.create_task(batcher.run())
        yield
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    app = FastAPI(title="MRG-R1 reward", version=__version__, lifespan=lifespan)
    add_errors(app)

    async def scored(
        field: str, completions: list[str], references: list[str]
    ) -> list[dict[str, float]]:
        if len(completions) != len(references):
            raise Refused(field, f"{len(references)} for {len(completions)} completions")
        if len(completions) > waiting:
            raise Refused(field, f"{len(completions)} at once; send {waiting} or fewer")
        return await batcher.submit(list(zip(completions, references, strict=True)))

    @app.post("/reward")
    async def reward(body: One) -> dict[str, float]:
        """The total as 'reward', and each component by its name."""
        return (await scored("reference", [body.completion], [body.reference]))[0]

    @app.post("/rewards")
    async def rewards(body: Many) -> dict[str, list[dict[str, float]]]:
        """The same of many, in order."""
        return {"rewards": await scored("references", body.completions, body.references)}

    @app.post("/openrlhf")
    async def for_openrlhf(body: OpenRlhf) -> dict[str, Any]:
        """What OpenRLHF takes as rewards."""
        if len(body.prompts) != len(body.query):
            raise Refused("prompts", f"{len(body.prompts)} for {len(body.query)} queries")
        try:
            texts = list(map(openrlhf.completion_of, body.query, body.prompts))
        except DataError:
            raise Refused("query", "does not hold the end of its prompt") from None
        return openrlhf.answer(await scored("labels", texts, body.labels))

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """That the server is there, what it scores, and how many samples wait."""
        return {"status": "ok", "version": __version__, "reward": name, "waiting": batcher.waiting}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> str:
        """Counters since the start, in Prometheus' text format."""
        return _exposition(batcher)

    return app


def _exposition(batcher: Batcher[tuple[str, str], dict[str, float]]) -> str:
    tally = batcher.tally
    rows = (
        ("samples_total", "counter", "Completions scored.", tally.items),
        ("batches_total", "counter", "Batches scored.", tally.batches),
        ("scoring_seconds_total", "counter", "Seconds spent scoring.", tally.seconds),
        ("refused_total", "counter", "Calls answered 429.", tally.refused),
        ("failed_total", "counter", "Calls answered 500.", tally.failed),
        ("waiting_samples", "gauge", "Completions that wait.", batcher.waiting),
    )
    return exposition("mrg_r1_reward", rows)
