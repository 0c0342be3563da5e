"""`mrg-r1 serve-reward`: the reward for trainers that call it over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from mrg_r1.cli.app import app, busy, loading, note

_PAPERS = "paper-iu-xray"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


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
