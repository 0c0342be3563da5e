"""`mrg-r1 audit`: a run as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrg_r1.cli.app import app, busy


@app.command(epilog="Example: mrg-r1 audit runs/quickstart -o audit.html")
def audit(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder, finished or not.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; else audit.html in the run.")
    ] = None,
    studies: Annotated[int, typer.Option(min=0, help="Studies shown side by side.")] = 60,
) -> None:
    """Draws a run as one HTML page.

    Curves, scores, images, reports and labels, in a file that needs nothing else.
    """
    from mrg_r1.audit import write_audit

    with busy("drawing the page"):
        page = write_audit(run, out, studies=studies)
    typer.echo(f"audit page: {page}")
