"""`mrg-r1 audit`: a run or a comparison as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mrg_r1.cli.app import app, busy


@app.command(epilog="Example: mrg-r1 audit runs/quickstart -o audit.html")
def audit(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A run, finished or not, or what evaluate --audit left."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; else audit.html in the run.")
    ] = None,
    studies: Annotated[int, typer.Option(min=0, help="Studies shown side by side.")] = 60,
    images: Annotated[
        Literal["auto", "none", "mimic-cxr"],
        typer.Option(help="auto leaves out MIMIC-CXR's, which may not be passed on."),
    ] = "auto",
) -> None:
    """Draws a run as one HTML page.

    Curves, scores, images, and reports whose statements are marked by how they stand to the
    reference, in a file that needs nothing else.
    """
    from mrg_r1.audit import write_audit

    with busy("drawing the page"):
        page = write_audit(run, out, studies=studies, images=images)
    typer.echo(f"audit page: {page}")
