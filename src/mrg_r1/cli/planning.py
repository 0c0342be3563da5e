"""`mrg-r1 plan`: memory and time of a recipe, before GPUs are rented."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from mrg_r1.cli.app import Json, app, note, print_json, screen
from mrg_r1.config import load_recipe
from mrg_r1.errors import ConfigError


@app.command(epilog="Example: mrg-r1 plan paper-iu-xray --gpus 2xA100-80GB")
def plan(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a file.")
    ],
    gpus: Annotated[str, typer.Option(metavar="NxKIND", help="How many of which, as 2xA100-80GB.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; repeatable."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A published model's name; else that of policy.path.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(metavar="WxH", help="An image's pixels; else as data.root has.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="To train on; else counted in data.root.")
    ] = None,
    prompt_tokens: Annotated[
        int | None, typer.Option(min=1, help="Of the prompt's text; else estimated by its letters.")
    ] = None,
    completion_tokens: Annotated[
        float | None, typer.Option(min=1, help="Mean length, for time; else the longest allowed.")
    ] = None,
    mfu: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of a GPU's FLOP/s (assumed).")
    ] = 0.4,
    bandwidth: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of its memory bandwidth (assumed).")
    ] = 0.6,
    token_ms: Annotated[
        float, typer.Option(min=0, help="Least time of a sampled token without vLLM (assumed).")
    ] = 50,
    as_json: Json = False,
) -> None:
    """Plans memory and hours of a recipe's SRL.

    A yes or no for given GPUs; needs neither these nor weights. Counts are exact; lines marked
    with ~ and all times are estimates. Exit code 1 if it does not fit, with what to change.
    """
    from mrg_r1.plan import advice, tables
    from mrg_r1.plan.duration import Rates
    from mrg_r1.plan.planning import Given, make_plan

    checked = load_recipe(recipe, changes or ())
    given = Given(
        model=model or "",
        image=_size(image) if image else None,
        samples=samples or 0,
        prompt=prompt_tokens or 0,
        completion=completion_tokens or 0,
        rates=Rates(mfu, bandwidth, token_ms / 1e3),
    )
    made = make_plan(checked, gpus, given)
    found = [] if made.fits else advice.changes(checked, gpus, given)
    if as_json:
        print_json(tables.document(made, found))
        raise typer.Exit(int(not made.fits))
    screen.print(tables.facts(made))
    screen.print(tables.memory_table(made))
    screen.print(tables.verdict(made), markup=False, highlight=False)
    screen.print(tables.time_table(made))
    screen.print(tables.cost(made), markup=False, highlight=False)
    if checked.sft is not None or checked.policy.warmup is not None:
        note("the supervised start and the warm-up are not planned")
    if made.fits:
        return
    screen.print(tables.advice_table(found))
    enough = advice.gpus_that_fit(checked, made.job.gpus, given)
    note(f"unchanged it fits on as many of: {', '.join(enough) or 'none that is known'}")
    raise typer.Exit(1)


def _size(image: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", image.strip().lower())
    if not match:
        raise ConfigError(f"--image {image}: write it as width x height in pixels: 2544x3056")
    return int(match[1]), int(match[2])
