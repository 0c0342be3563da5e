"""The `mrg-r1` command. What a command needs is imported when it runs, so `--help` is instant."""

from __future__ import annotations

import errno
import sys
from typing import NoReturn

import typer

# Importing a module adds its commands, in this order.
from mrg_r1.cli import studies, labelling, planning, training  # noqa: F401 # isort: skip
from mrg_r1.cli import generating, scoring, judging, serving  # noqa: F401 # isort: skip
from mrg_r1.cli import chexbert, catalogue  # noqa: F401 # isort: skip
from mrg_r1.cli.app import app
from mrg_r1.errors import MrgError

__all__ = ["app", "main"]

_ADVICE = {
    errno.ENOSPC: "free some space, or write elsewhere with -o or --out",
    errno.EDQUOT: "free some space, or write elsewhere with -o or --out",
    errno.EACCES: "change its permissions, or choose another path",
    errno.EPERM: "change its permissions, or choose another path",
    errno.EROFS: "write elsewhere with -o or --out",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "give a file, not a folder",
    errno.EEXIST: "give a folder, not a file",
    errno.ENAMETOOLONG: "give a shorter name",
}


def main() -> None:
    """Runs the command line. A user's mistake is one line on stderr and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except MrgError as error:
        _stop(str(error))
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "mrg-r1"
        problem = error.format_message().removesuffix(".").replace("Value error, ", "")
        _stop(f"{problem}; type '{command} --help'")
    except OSError as error:
        if error.errno not in _ADVICE:
            raise
        place = f"{error.filename}: " if error.filename else ""
        _stop(f"{place}{error.strerror}; {_ADVICE[error.errno]}")
    sys.exit(code)


def _stop(message: str) -> NoReturn:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(2)
