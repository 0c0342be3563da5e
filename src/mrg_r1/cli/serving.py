"""`mrg-r1 serve` and `serve-reward`: a policy, or a reward, behind HTTP."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mrg_r1.cli.app import app, busy, loading, note
from mrg_r1.errors import ConfigError

if TYPE_CHECKING:
    from mrg_r1.serve.uploads import Limits
    from mrg_r1.serve.writers import Writer

_PAPERS = "paper-iu-xray"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@app.command(epilog="Example: mrg-r1 serve runs/quickstart --port 8000")
def serve(
    policy: Annotated[
        Path | None,
        typer.Argument(metavar="POLICY", help="A run, a saved policy, or a model folder."),
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option(metavar="URL", help="An OpenAI-compatible server that writes instead."),
    ] = None,
    upstream_model: Annotated[
        str, typer.Option(metavar="NAME", help="Its model's name; else the only one it has.")
    ] = "",
    host: Annotated[str, typer.Option(help="The address to answer on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port.")] = 8000,
    token: Annotated[
        str,
        typer.Option(
            envvar="MRG_R1_TOKEN", help="Who calls must send it; needed beyond this machine."
        ),
    ] = "",
    batch: Annotated[int, typer.Option(min=1, help="Reports written at once.")] = 32,
    waiting: Annotated[
        int, typer.Option(min=1, help="Reports that may wait before calls are refused.")
    ] = 128,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="The longest report; else the run's own limit.")
    ] = None,
    max_upload: Annotated[int, typer.Option(min=1, help="MiB of a request.")] = 64,
    max_pixels: Annotated[int, typer.Option(min=1, help="Pixels of an image.")] = 40_000_000,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until a call is given up.")] = 120,
) -> None:
    """Serves a policy over HTTP, with a web page.

    Calls that come together are written together; what cannot wait is told to come back (429).
    Images stay in memory, and no image or text is logged. With --upstream a server such as vLLM
    writes, and MRG_R1_UPSTREAM_KEY is its key. OpenAI's clients call /v1.
    """
    if (policy is None) == (upstream is None):
        raise ConfigError("serve: name a POLICY, or a server with --upstream URL")
    local = host in _LOOPBACK
    if not local and not token:
        raise ConfigError(
            f"{host}: whoever reaches this address could send images; add --token, or set "
            "MRG_R1_TOKEN, or leave out --host"
        )
    with loading("serve"):
        from mrg_r1.serve.app import make_app
        from mrg_r1.serve.http import serve as answer
        from mrg_r1.serve.uploads import MIB, Limits

    limits = Limits(
        upload=max_upload * MIB,
        pixels=max_pixels,
        tokens=max_tokens or _longest(policy),
        seconds=timeout,
    )
    if policy is None:
        writer, model = _elsewhere(str(upstream), upstream_model, limits, waiting), ""
        context = ()
    else:
        writer, model, context = _here(policy, batch, waiting)
    made = make_app(writer, model=model, context=context, token=token, local=local, limits=limits)
    note(f"{model or writer.name} at http://{host}:{port}; stop it with Ctrl-C")
    note("research software: not for clinical use")
    warnings.simplefilter("ignore")  # a library's warning may quote what it was given
    answer(made, host, port)


def _longest(policy: Path | None) -> int:
    """Tokens of a report: the run's limit, else ours."""
    from mrg_r1.config import load_recipe
    from mrg_r1.policy.settings import Decoding

    recipe = policy and policy / "recipe.json"
    if recipe and recipe.is_file():
        return load_recipe(str(recipe)).evaluation.decoding.max_new_tokens
    return Decoding().max_new_tokens


def _here(policy: Path, batch: int, waiting: int) -> tuple[Writer, str, tuple[str, ...]]:
    """A policy of this process, its name with a fingerprint, and the context it is used to."""
    with loading("train"):
        from functools import partial

        from mrg_r1.policy.answering import answer
        from mrg_r1.policy.control_tokens import spelled
        from mrg_r1.policy.identity import identity
        from mrg_r1.policy.load import load_policy
    from mrg_r1.serve.writers import LocalWriter

    with busy("loading the policy"):
        loaded = load_policy(policy)
        model = identity(policy)
    writer = LocalWriter(
        model.partition("@")[0],
        partial(answer, loaded),
        spelled=partial(spelled, loaded),
        batch=batch,
        waiting=waiting,
    )
    return writer, model, tuple(loaded.words)


def _elsewhere(url: str, model: str, limits: Limits, waiting: int) -> Writer:
    """A server that speaks OpenAI's chat route."""
    from mrg_r1.serve.upstream import UpstreamWriter

    key = os.environ.get("MRG_R1_UPSTREAM_KEY", "")
    return UpstreamWriter(url, model=model, key=key, waiting=waiting, seconds=limits.seconds)


@app.command(
    "serve-reward", epilog="Example: mrg-r1 serve-reward --set reward.margin=0.2 --port 8765"
)
def serve_reward(
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE", help="Whose reward; else the paper's, read by rules."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; repeatable."),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to answer on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port.")] = 8765,
    waiting: Annotated[
        int, typer.Option(min=1, help="Samples that may wait before calls are refused.")
    ] = 4096,
    batch: Annotated[int, typer.Option(min=1, help="Samples scored at once.")] = 256,
) -> None:
    """Serves a recipe's reward over HTTP.

    Single calls that come together are scored together; what cannot wait is told to come back
    (429). /health and /metrics tell how it goes, /docs how to call. No text is logged.
    """
    from mrg_r1.config import load_recipe
    from mrg_r1.recipe_rewards import make_rewards, the_labeler, training_references
    from mrg_r1.rewards.total import TotalReward

    papers = ("labeler.name=rules", *(changes or ()))
    checked = load_recipe(recipe, changes or ()) if recipe else load_recipe(_PAPERS, papers)
    with loading("serve"):
        from mrg_r1.serve.http import serve
        from mrg_r1.serve.reward import make_app
    with busy("reading training references"):
        needed = checked.reward.kind == "overlap" or checked.reward.rarity_cap
        references = training_references(checked) if needed else []
        labeler = the_labeler(checked.labeler)
        total = TotalReward(tuple(make_rewards(checked.reward, labeler, references)))
    terms = " + ".join(f"{weight:g} {reward.__name__}" for reward, weight in total.parts)
    if host not in _LOOPBACK:
        note(f"{host}: whoever reaches this address can send texts; there is no password")
    note(f"{terms}, read by {labeler.identity}, at http://{host}:{port}; stop it with Ctrl-C")
    serve(make_app(total, name=terms, waiting=waiting, batch=batch), host, port)
