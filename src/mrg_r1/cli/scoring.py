"""`mrg-r1 evaluate`: scores of systems side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mrg_r1.cli.app import Json, app, busy, note, print_json, screen
from mrg_r1.cli.readers import Cache, LabelerName, OnDevice, Vocabulary, Weights, reader
from mrg_r1.errors import ConfigError

if TYPE_CHECKING:
    from mrg_r1.evaluate.systems import Systems
    from mrg_r1.metrics.presets import Preset
    from mrg_r1.metrics.radeval import RadEvalMetrics
    from mrg_r1.records import Evaluation, Prediction

PresetName = Literal["f1chexbert", "r2gen", "cxrmate", "promptmrg", "ifcc", "mrg-r1"]


@app.command(epilog="Example: mrg-r1 evaluate ours.jsonl theirs.csv -o evaluation.json")
def evaluate(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Predictions (CSV, JSON or JSON lines), or runs."),
    ],
    name: Annotated[
        list[str] | None,
        typer.Option(help="A system's name; repeat it, one per file, in their order."),
    ] = None,
    prediction_column: Annotated[
        str | None, typer.Option(help="Else report, prediction or completion.")
    ] = None,
    reference_column: Annotated[str | None, typer.Option(help="Else reference.")] = None,
    id_column: Annotated[str, typer.Option(help="The column that names a sample.")] = "id",
    references: Annotated[
        Path | None, typer.Option(help="The file of references, if they are elsewhere.")
    ] = None,
    untagged: Annotated[
        bool, typer.Option("--untagged", help="Take completions without tags as reports.")
    ] = False,
    train_references: Annotated[
        Path | None,
        typer.Option(help="Training references, for baselines and words (CSV, JSON, JSON lines)."),
    ] = None,
    train_column: Annotated[
        str | None, typer.Option(help="Else reference, report or findings.")
    ] = None,
    image_root: Annotated[
        Path | None, typer.Option(help="Where image paths start; else beside the file.")
    ] = None,
    text_preparation: Annotated[
        Literal["raw", "r2gen-iu", "r2gen-mimic"],
        typer.Option(help="How texts are prepared for BLEU, ROUGE-L and CIDEr."),
    ] = "raw",
    meteor: Annotated[
        bool, typer.Option("--meteor", help="Compute METEOR too, where java and its jar are.")
    ] = False,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="By RadEval: radgraph, ratescore, green, bertscore; with models of yours.",
        ),
    ] = None,
    model_cache: Annotated[
        Path | None, typer.Option(help="Where their models are, laid out as ~/.cache; else there.")
    ] = None,
    download_models: Annotated[
        bool, typer.Option("--download-models", help="Let RadEval fetch models that are missing.")
    ] = False,
    preset: Annotated[
        PresetName | None, typer.Option(help="Show the CE scores that this code base reports.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The row to compare all others with; else the first.")
    ] = None,
    published: Annotated[
        Literal["iu-xray", "mimic-cxr"] | None,
        typer.Option(help="Show the paper's table I beside it."),
    ] = None,
    labeler: LabelerName = "rules",
    labeler_preset: Annotated[
        Literal["chexbert", "chexpert"] | None,
        typer.Option(help="Whose conventions the rules follow; else the preset's, else chexbert."),
    ] = None,
    weights: Weights = None,
    vocabulary: Vocabulary = None,
    device: OnDevice = "auto",
    cache: Cache = None,
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write all scores, as JSON.")
    ] = None,
    audit: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Leave reports, labels, scores and their page there."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Print every score with its signature.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Scores systems side by side.

    Beside them stand reports that never look at the image: constant ones and, of
    --train-references, a random one and the one whose image is nearest. The tables show
    headlines, intervals, and a paired test against the first row; --all, --json and -o hold
    every variant, each with its signature.
    """
    from mrg_r1 import evaluate as verb
    from mrg_r1.data.training import read_training
    from mrg_r1.metrics.meteor import absent
    from mrg_r1.metrics.presets import PRESETS
    from mrg_r1.metrics.text import TextPreparation

    convention = PRESETS[preset] if preset else None
    rules = labeler_preset or (convention.conventions if convention else "chexbert")
    judges = _judges(metrics, model_cache, download_models)
    reads = reader(labeler, rules, weights, vocabulary, device, cache)
    paths = [path / "predictions.jsonl" if path.is_dir() else path for path in files]
    systems = {
        system: verb.read_predictions(
            path,
            prediction_column=prediction_column,
            reference_column=reference_column,
            id_column=id_column,
            references=references,
            untagged=untagged,
        )
        for system, path in zip(_names(files, name or ()), paths, strict=True)
    }
    training = read_training(train_references, train_column) if train_references else None
    texts = None if training is None else [report.text for report in training]
    text = TextPreparation.of(text_preparation, texts)
    nearest = None
    named = (*([train_references] if train_references else ()), *paths)
    roots = [image_root] if image_root else [path.parent for path in named]
    if training:
        with busy("looking for the nearest images"):
            nearest, reason = verb.nearest_reports(_with_images(systems), training, roots)
        if nearest is None:
            note(f"no row nearest-train: {reason}")
    reason = absent() if meteor else "add --meteor"
    if reason:
        note(f"no METEOR: {reason}")
    with busy("labelling and scoring"):
        evaluation = verb.evaluate(
            systems,
            reads,
            train_references=texts,
            nearest=nearest,
            text=text,
            meteor=not reason,
            judges=judges,
            baseline=baseline,
            resamples=resamples,
            seed=seed,
        )
    if out:
        evaluation.write(out)
        note(f"{out}: {len(evaluation.systems)} systems, baselines included")
    if audit:
        from mrg_r1.audit import write_audit
        from mrg_r1.evaluate.kept import keep

        with busy("drawing the page"):
            keep(
                audit,
                systems,
                evaluation,
                reads,
                train_references=texts,
                nearest=nearest,
                image_folders=roots,
                seed=seed,
            )
            note(f"audit page: {write_audit(audit)}")
    if as_json:
        print_json(dataclasses.asdict(evaluation))
    elif everything:
        screen.print(verb.complete_table(evaluation))
    else:
        _show(evaluation, convention, published)


def _judges(asked: str | None, cache: Path | None, download: bool) -> RadEvalMetrics | None:
    """The metrics that can be computed of those asked for; says what the others lack."""
    from mrg_r1.metrics.radeval import RadEvalMetrics

    if asked is None:
        if cache or download:
            raise ConfigError("--model-cache and --download-models are for --metrics; add NAME,...")
        return None
    judges = RadEvalMetrics.of(asked, cache=cache, download=download)
    absent = judges.absent()
    for name, reason in absent.items():
        note(f"no {name}: {reason}")
    names = tuple(name for name in judges.names if name not in absent)
    return dataclasses.replace(judges, names=names) if names else None


def _show(evaluation: Evaluation, convention: Preset | None, data_set: str | None) -> None:
    """Prints the headline tables, and what they leave unsaid."""
    from mrg_r1 import evaluate as verb
    from mrg_r1.metrics.published import published

    rows = published(data_set) if data_set else ()
    if convention:
        note(f"CE scores after {convention.source}")
        shown = verb.table(evaluation, convention.variants, convention.uncertain, published=rows)
    else:
        shown = verb.table(evaluation, published=rows)
    screen.print(shown, verb.overlap_table(evaluation))
    for further in (verb.judged_table(evaluation), verb.difference_table(evaluation)):
        if further is not None:
            screen.print(further)
    note(f"95 % intervals and paired p by bootstrap: {evaluation.systems[0].bootstrap}")
    if rows:
        note(verb.PUBLISHED_REMARK)


def _with_images(systems: Systems) -> Sequence[Prediction]:
    """The predictions of the first system that names images, else of the first."""
    everyone = list(systems.values())
    return next((found for found in everyone if all(p.images for p in found)), everyone[0])


def _names(files: Sequence[Path], given: Sequence[str]) -> Sequence[str]:
    """The given names; else those of files and runs, or of their folders where these are alike."""
    if given and len(given) != len(files):
        raise ConfigError(f"evaluate: {len(given)} names for {len(files)} files; name each once")
    own = [path.resolve().name if path.is_dir() else path.stem for path in files]
    folders = [path.resolve().parent.name for path in files]
    for names in (given,) if given else (own, folders):
        if len(set(names)) == len(names):
            return names
    raise ConfigError("evaluate: systems need different names; give one --name per file")
