"""`mrg-r1 generate`: reports of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from mrg_r1.cli.app import app, counting, loading, note, reaching, screen
from mrg_r1.cli.readers import LabelerName, OnDevice, Preset, Vocabulary, Weights, reader
from mrg_r1.cli.training import Changes
from mrg_r1.config import Recipe, load_recipe
from mrg_r1.data.context import given_context
from mrg_r1.data.study import LeftOut, Sample
from mrg_r1.errors import ConfigError
from mrg_r1.policy.settings import Decoding
from mrg_r1.records import to_line

if TYPE_CHECKING:
    from mrg_r1.document import Document
    from mrg_r1.exports.files import Exports

SOME_LEFT_OUT = 3
"""Exit code where an image could not be read, or an export not be made."""


class Form(StrEnum):
    """The forms of `mrg_r1.exports`, whose import would slow the help down."""

    TEXT = "text"
    JSON = "json"
    FHIR = "fhir"
    DICOM_SR = "dicom-sr"


_TO_SCREEN = Path("-")
_DRAFTS_TEMPERATURE = 1.0  # as candidates are sampled in training


@app.command(
    epilog="Example: mrg-r1 generate runs/quickstart images/ --consensus 8 -o reports.jsonl"
)
def generate(
    policy: Annotated[
        Path, typer.Argument(metavar="POLICY", help="A run, a saved policy, or a model folder.")
    ],
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="IMAGE",
            help="Chest X-rays (PNG, JPEG, DICOM), folders, patterns, or a CSV of their paths.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="RECIPE", help="Whose studies to report; else the run's own."),
    ] = None,
    split: Annotated[
        Literal["train", "val", "test"] | None,
        typer.Option(help="Which of its splits; else the one it is evaluated on."),
    ] = None,
    changes: Changes = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The reports, as JSON lines; - for the screen.")
    ] = Path("predictions.jsonl"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was stopped, or add images.")
    ] = False,
    together: Annotated[
        Literal["each", "study"],
        typer.Option(help="A report for each image, or for the images of a study or folder."),
    ] = "each",
    instruction: Annotated[
        str, typer.Option(metavar="TEXT", help="Ask in these words; else as it was trained.")
    ] = "",
    indication: Annotated[
        str, typer.Option(metavar="TEXT", help="Why these images were taken, for the prompt.")
    ] = "",
    prior_report: Annotated[
        str, typer.Option(metavar="TEXT", help="The patient's previous report, for the prompt.")
    ] = "",
    consensus: Annotated[
        int, typer.Option(metavar="N", min=1, help="Sample N reports; keep what most agree on.")
    ] = 1,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="0 is greedy; else that of the recipe.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0, max=1, help="Sample from this much probability.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the sampling.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Reports at a time.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="How long at most.")] = None,
    export: Annotated[
        list[Form] | None,
        typer.Option(help="Write each report in this form too; repeatable."),
    ] = None,
    export_to: Annotated[Path, typer.Option(help="The folder of such files.")] = Path("exports"),
    labeler: LabelerName = "rules",
    labeler_preset: Preset = "chexbert",
    weights: Weights = None,
    vocabulary: Vocabulary = None,
    device: OnDevice = "auto",
) -> None:
    """Writes reports of images.

    Of images that are named, or of a split of a recipe's studies. Decoding is the recipe's (that
    of --data, else that of the run, else greedy) unless options say otherwise. An image that
    cannot be read is named and the rest goes on; the exit code is 3 then.
    """
    if images and (data or split):
        raise ConfigError("generate: give images, or --data and --split, not both")
    given = given_context(indication, prior_report, 0)
    if given and not images:
        raise ConfigError("generate: of a split the data give the context; leave out yours")
    recipe = _recipe(policy, data, changes or ())
    read_by = reader(labeler, labeler_preset, weights, vocabulary, device, None)
    with loading("train"):
        from mrg_r1 import generate as verb
    if images:
        samples, left_out = _named(images, together, given)
    else:
        samples, left_out = _samples(policy, recipe, split)
    for left in left_out:
        note(f"left out: {len(left.ids):,} {left.reason}")
    decoding = _decoding(
        recipe, temperature, top_p, seed, batch_size, max_tokens, several=consensus > 1
    )
    to_screen = out == _TO_SCREEN

    with counting("writing reports", len(samples)) as advance:

        def on_document(document: Document) -> None:
            advance(1)
            if to_screen:
                typer.echo(to_line(document), nl=False)
            elif images:
                screen.print(Text(f"{document.id}: {document.report or '(no report)'}"))

        try:
            outcome = verb.generate(
                policy,
                samples,
                None if to_screen else out,
                decoding,
                drafts=consensus,
                instruction=instruction,
                labeler=read_by,
                exports=_exports(export_to, export) if export else None,
                resume=resume,
                on_document=on_document,
                on_bad=lambda reason: note(f"left out: {reason}"),
            )
        except KeyboardInterrupt:
            if not to_screen:
                note("interrupted; to go on, type the same with --resume")
            raise
    _conclude(out, outcome.written, outcome.kept, outcome.bad)


def _conclude(out: Path, written: Sequence[str], kept: Sequence[str], bad: Sequence[str]) -> None:
    there = f", {len(kept):,} were there" if kept else ""
    wrong = f", {len(bad):,} left out" if bad else ""
    note(f"{out}: {len(written):,} predictions{there}{wrong}")
    if bad:
        raise typer.Exit(SOME_LEFT_OUT)


def _decoding(
    recipe: Recipe | None,
    temperature: float | None,
    top_p: float | None,
    seed: int | None,
    batch_size: int | None,
    max_tokens: int | None,
    *,
    several: bool,
) -> Decoding:
    """The recipe's decoding, changed by options; drafts are sampled where the recipe is greedy."""
    decoding = recipe.evaluation.decoding if recipe else Decoding()
    if several and temperature is None and not decoding.temperature:
        temperature = _DRAFTS_TEMPERATURE
    options = {
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
        "batch_size": batch_size,
        "max_new_tokens": max_tokens,
    }
    return replace(decoding, **{k: v for k, v in options.items() if v is not None})


def _exports(folder: Path, forms: Sequence[Form]) -> Exports:
    from mrg_r1.exports.files import Exports

    return Exports(folder, tuple(form.value for form in dict.fromkeys(forms)))


def _named(
    images: Sequence[Path], together: Literal["each", "study"], given: Mapping[str, str]
) -> tuple[Sequence[Sample], Sequence[LeftOut]]:
    """The samples of files, with what is given of all of them; a list's own context prevails."""
    from mrg_r1.data.inputs import find_inputs

    found = find_inputs(images, together)
    samples = [replace(sample, context={**given, **sample.context}) for sample in found.samples]
    return samples, found.left_out


def _recipe(policy: Path, data: str | None, changes: Sequence[str]) -> Recipe | None:
    """The recipe named by --data, else that of a run, else none."""
    of_run = policy / "recipe.json"
    if data or of_run.is_file():
        return load_recipe(data or str(of_run), changes)
    if changes:
        raise ConfigError(f"generate: {policy} is no run, so --set needs --data RECIPE")
    return None


def _samples(
    policy: Path, recipe: Recipe | None, split: str | None
) -> tuple[Sequence[Sample], Sequence[LeftOut]]:
    """The samples of a split; studies that were drawn for a run are in its folder.

    Their context is what the policy was trained with, or what the recipe says where its folder
    does not tell.
    """
    from mrg_r1.data.samples import samples, without_context
    from mrg_r1.data.sources import load
    from mrg_r1.policy.load import trained_context

    if recipe is None:
        raise ConfigError(f"generate: {policy} is no run; give images, or --data RECIPE")
    data, context = recipe.data, trained_context(policy)
    if context is None:
        context = data.context
    elif set(context) != set(data.context):
        note(f"context of the prompts, as it was trained: {', '.join(context) or 'none'}")
    root = Path(data.root) if data.root else policy / "studies"
    with reaching("reading studies") as on_progress:
        studies = load(data.source, root, on_progress=on_progress, **data.loading)
    chosen = studies.of_split(split or data.eval_split)
    found, left_out = samples(chosen, section=data.section, views=data.views, context=context)
    for kind, count in without_context(found, context).items():
        note(f"{count:,} of {len(found):,} samples without {kind}")
    return found, left_out
