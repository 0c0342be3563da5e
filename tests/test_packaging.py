"""What ships: import cost, dependencies, and documents that must agree with the code."""

import ast
import doctest
import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mrg_r1.cli import app
from mrg_r1.config import recipe_names, recipe_text

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/ablation.md",
    "docs/cluster.md",
    "docs/commands.md",
    "docs/data.md",
    "docs/equations.md",
    "docs/evaluation.md",
    "docs/generate.md",
    "docs/labelers.md",
    "docs/measured.md",
    "docs/plan.md",
    "docs/rewards.md",
    "docs/serve.md",
    "docs/sharing.md",
    "docs/systems.md",
    "docs/trainers.md",
    "docs/training-options.md",
)
HEAVY = ("torch", "transformers", "trl", "datasets", "peft", "numpy", "pandas", "PIL", "pydicom")


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def loaded_after(code: str) -> set[str]:
    """The top-level modules that are loaded once the code has run."""
    shown = python(f"{code}\nimport json, sys; print('\\n' + json.dumps(list(sys.modules)))")
    return {name.partition(".")[0] for name in json.loads(shown.splitlines()[-1])}


def test_help_is_instant_and_loads_nothing_heavy() -> None:
    start = time.perf_counter()
    loaded = loaded_after(
        "import contextlib, sys; sys.argv = ['mrg-r1', '--help']\n"
        "from mrg_r1.cli import main\n"
        "with contextlib.suppress(SystemExit): main()"
    )
    assert loaded.isdisjoint(HEAVY)
    assert "mrg_r1" in loaded
    # About 0.25 s when idle; the bound only catches a heavy import that was overlooked.
    assert time.perf_counter() - start < 30


@pytest.mark.parametrize(
    "module",
    [
        "mrg_r1.rewards.mccs",
        "mrg_r1.rewards.format",
        "mrg_r1.labelers.rules",
        "mrg_r1.evaluate",
        "mrg_r1.audit",
        "mrg_r1.label",
        "mrg_r1.plan.tables",
        "mrg_r1.data.sources",
        "mrg_r1.serve.app",
        "mrg_r1.serve.upstream",
    ],
)
def test_what_needs_no_training_loads_no_torch(module: str) -> None:
    assert loaded_after(f"import {module}").isdisjoint(HEAVY[:5])


def lock() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert len({canonicalize_name(pin.name) for pin in pins}) == len(pins)
    return {canonicalize_name(pin.name): pin for pin in pins}


def test_the_lock_names_one_exact_version_and_no_place() -> None:
    for pin in lock().values():
        assert [specifier.operator for specifier in pin.specifier] == ["=="]
        assert pin.url is None


def test_the_lock_satisfies_what_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    pins = lock()
    tested = [*extras["train"], *extras["onnx"], *extras["serve"], *extras["dev"]]
    for text in [*project["dependencies"], *tested]:
        wanted = Requirement(text)
        (pinned,) = pins[canonicalize_name(wanted.name)].specifier
        assert wanted.specifier.contains(pinned.version), text


def test_the_command_page_is_generated() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "typer", "mrg_r1.cli", "utils", "docs"),
            *("--name", "mrg-r1", "--title", "Commands"),
        ],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert page.strip() == done.stdout.strip(), "type: make docs"


def written_commands() -> Iterator[tuple[str, str]]:
    """Every command that a document or the header of a recipe tells a reader to type."""
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS}
    texts |= {name: recipe_text(name) for name in recipe_names()}
    for name, text in texts.items():
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            yield from ((name, line) for line in block.splitlines())
        for block in re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            launched = re.findall(r"-m mrg_r1 (.*)", block)
            yield from ((name, f"mrg-r1 {words}") for words in launched)
        yield from ((name, line) for line in re.findall(r"^Example: (.*)", text, re.MULTILINE))
        yield from ((name, line) for line in re.findall(r"^#.*\s(mrg-r1 .*)", text, re.MULTILINE))
        yield from ((name, line) for line in re.findall(r"`(make [a-z]+)`", text))


COMMANDS = sorted(set(written_commands()))


def test_documents_tell_what_to_type() -> None:
    assert set(DOCUMENTS[:3]) | set(recipe_names()) <= {name for name, _ in COMMANDS}


@pytest.mark.parametrize(("document", "line"), COMMANDS)
def test_written_commands_exist_with_their_options(document: str, line: str) -> None:
    program, *words = shlex.split(line, comments=True)
    if program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert words[0] in re.findall(r"^([a-z]+):", makefile, re.MULTILINE)
    elif program == "pip":
        assert words[0] == "install"
    else:
        assert program == "mrg-r1"
        parse(typer.main.get_command(app), "mrg-r1", words)


def parse(command: Any, name: str, words: list[str], parent: Any = None) -> None:
    """Parses words as the program does, which refuses unknown ones; nothing runs."""
    context = command.make_context(name, list(words), parent=parent)
    left = [*getattr(context, "_protected_args", ()), *context.args]
    if hasattr(command, "commands") and left:
        name, inner, rest = command.resolve_command(context, left)
        parse(inner, name, rest, context)


def test_an_option_that_does_not_exist_would_be_found() -> None:
    with pytest.raises(typer.TyperException, match="--nonsense"):
        parse(typer.main.get_command(app), "mrg-r1", ["recipes", "show", "x", "--nonsense"])


def test_the_readme_computes_what_it_shows() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```pycon\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    test = doctest.DocTestParser().get_doctest(block, {}, "README", "README.md", 0)
    assert doctest.DocTestRunner().run(test) == (0, len(test.examples))


def equations() -> Iterator[tuple[str, str]]:
    text = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8")
    for path, names in re.findall(r"\| `(src/[^`]+)` \|([^|]*)\|", text):
        yield from ((path, name) for name in re.findall(r"`([^`]+)`", names) or [""])


@pytest.mark.parametrize(("path", "name"), list(equations()))
def test_the_equation_page_names_what_exists(path: str, name: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    if name:
        assert name in top_level_names(text)


def top_level_names(source: str) -> set[str]:
    """Functions, classes and constants of a module."""
    names: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_every_equation_is_on_the_page() -> None:
    text = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| eq\. (\d)", text, re.MULTILINE) == list("123456")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_between_documents_hold(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (ROOT / document).parent.joinpath(target).exists(), target
