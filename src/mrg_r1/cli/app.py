"""The application and what its commands share: consoles, progress, JSON, missing packages."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mrg_r1 import __version__
from mrg_r1.errors import MissingExtra

# No pretty tracebacks: they print local variables, and those hold patients' reports.
app = typer.Typer(
    name="mrg-r1",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# In a pipe nothing bounds the width of a table; rich would assume 80 columns.
screen = Console(width=None if sys.stdout.isatty() else 240)
"""Results, on standard output."""

notes = Console(stderr=True)
"""Progress and remarks, on standard error, so that results can be piped."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
"""The `--json` option of every command whose result a program may read."""


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Trains and judges models that write chest X-ray reports."""
    if version:
        typer.echo(f"mrg-r1 {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def note(text: str) -> None:
    """A remark on standard error, printed as it is."""
    notes.print(text, markup=False, highlight=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Writes a document as JSON on standard output."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def busy(title: str) -> AbstractContextManager[object]:
    """Shows on a terminal that something takes its time."""
    return notes.status(title) if notes.is_terminal else nullcontext()


class Rate(ProgressColumn):
    """How many are done a second."""

    def render(self, task: Task) -> Text:
        """The rate of late; nothing before two steps are done."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


@contextmanager
def counting(title: str, total: int | None = None) -> Generator[Callable[[int], None]]:
    """A progress bar with its rate on a terminal, which is told how many more are done."""
    with _bar() as progress:
        task = progress.add_task(title, total=total)
        yield lambda more: progress.update(task, advance=more)


@contextmanager
def reaching(title: str) -> Generator[Callable[[int, int], None]]:
    """As `counting`, but told how many are done so far, of how many."""
    with _bar() as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate())
    return Progress(
        *columns,
        TimeRemainingColumn(),
        console=notes,
        transient=True,
        disable=not notes.is_terminal,
    )


@contextmanager
def loading(extra: str) -> Generator[None]:
    """Shows that a verb's packages are loading, which takes seconds.

    Raises:
        MissingExtra: one of them is not installed.
    """
    try:
        with busy("loading packages"):
            yield
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition(".")[0] == "mrg_r1":
            raise
        raise MissingExtra(
            f"{error.name} is not installed; type: pip install 'mrg-r1[{extra}]'"
        ) from None
