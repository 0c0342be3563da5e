"""A plan as tables for the terminal, and as a document for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from mrg_r1.plan.advice import Change
from mrg_r1.plan.duration import rows_of_step
from mrg_r1.plan.memory import GIB, Line, peak
from mrg_r1.plan.planning import Plan

_TIGHT = 0.9


def facts(plan: Plan) -> Table:
    """What is planned: model, data, tokens, steps."""
    shown = Table("plan", plan.recipe)
    for name, text in _facts(plan):
        shown.add_row(Text(name), Text(text))
    return shown


def _facts(plan: Plan) -> Iterator[tuple[str, str]]:
    job, load, data, shape = plan.job, plan.load, plan.data, plan.model.shape
    resolution = plan.model.resolution
    yield "model", f"{shape.weights:,} weights, from {plan.model.source}"
    kind = f"LoRA, rank {plan.weights.lora.rank}" if plan.weights.lora else "all of them"
    yield "learning", f"{plan.learning:,} weights ({kind})"
    yield "data", f"{data.train:,} samples to train on, {data.judged:,} to judge on"
    yield "data's source", data.source
    yield (
        "image tokens",
        f"{load.image:,} a sample: {data.images} of {data.width} x {data.height} pixels, a token "
        f"for each {resolution.step} x {resolution.step}, at most {resolution.most:,} pixels",
    )
    yield "prompt", f"{load.prompt:,} tokens; completions of {job.completion} at most"
    yield (
        "step",
        f"{job.batch} completions = {job.gpus} GPU{'s' * (job.gpus > 1)} x {job.each} at once x "
        f"{job.parts}; {job.batch / job.group:g} prompts of {job.group}",
    )
    count = rows_of_step(job) if plan.shared else job.batch
    prompt = f"({load.prompt:,} - 1)" if plan.shared else f"{load.prompt:,}"
    yield (
        "tokens a step",
        f"{plan.tokens:,.0f} = {count} x {prompt} + {job.batch} x {plan.completion:g}",
    )
    yield "steps", _steps(plan)


def _steps(plan: Plan) -> str:
    job = plan.job
    if job.max_steps > 0:
        return f"{plan.steps:,} (srl.max_steps)"
    again = f" x {job.iterations} iterations" if job.iterations > 1 else ""
    epochs = "1 epoch" if job.epochs == 1 else f"{job.epochs:g} epochs"
    return (
        f"{plan.steps:,} = {epochs} x {plan.data.train:,} samples x {job.group} / "
        f"{job.batch}{again}, whole generations only"
    )


def memory_table(plan: Plan) -> Table:
    """Memory of a GPU, line by line, with sums."""
    shown = Table("memory of a GPU", "GiB", "when", "formula")
    for line in plan.lines:
        about = "~" if line.estimate else ""
        shown.add_row(
            Text(line.name), f"{about}{line.size / GIB:.2f}", line.when, Text(line.formula)
        )
    for phase, size in peak(plan.lines).items():
        shown.add_row(f"peak, {phase}", f"{size / GIB:.2f}", phase, "sum of 'always' and its own")
    return shown


def verdict(plan: Plan) -> str:
    """Whether it fits, in words."""
    needed, there = plan.peak / GIB, plan.gpu.memory / GIB
    sizes = f"{needed:.1f} of {there:.1f} GiB on each {plan.gpu.name}"
    if not plan.fits:
        return f"fits: no, {sizes}"
    tight = ", tightly: estimates may be off by that much" if needed > _TIGHT * there else ""
    return f"fits: yes, {sizes}{tight}"


def time_table(plan: Plan) -> Table:
    """Seconds of a step, part by part, and hours."""
    shown = Table("time of a step", "seconds", "formula")
    for part in plan.parts:
        shown.add_row(Text(part.name), f"{part.seconds:.2f}", Text(part.formula))
    shown.add_row("a step", f"{plan.step_seconds:.2f}", "their sum")
    shown.add_row(
        Text(plan.judging.name), f"{plan.judging.seconds:.0f}", Text(plan.judging.formula)
    )
    return shown


def cost(plan: Plan) -> str:
    """Hours and GPU-hours, with the formula."""
    return (
        f"time: {plan.hours:.1f} hours = ({plan.steps:,} steps x {plan.step_seconds:.2f} s + "
        f"{plan.judging.seconds:.0f} s) / 3600; {plan.hours * plan.job.gpus:.1f} GPU-hours"
    )


def advice_table(found: Sequence[Change]) -> Table:
    """What to change, with the memory that each change leaves."""
    shown = Table("to change", "alone, GiB", "fits", "with those above", "fits", "hours then")
    for change in found:
        alone, after = change.alone, change.after
        shown.add_row(
            Text(change.text),
            f"{alone.peak / GIB:.1f}",
            "yes" if alone.fits else "no",
            f"{after.peak / GIB:.1f}",
            "yes" if after.fits else "no",
            f"{after.hours:.1f}",
        )
    return shown


def document(plan: Plan, found: Sequence[Change]) -> dict[str, Any]:
    """A plan as JSON, in bytes, seconds and hours."""
    job, load = plan.job, plan.load
    return {
        "recipe": plan.recipe,
        "gpus": job.gpus,
        "gpu": plan.gpu.name,
        "model": plan.model.source,
        "weights": plan.model.shape.weights,
        "learning": plan.learning,
        "samples": plan.data.train,
        "image_tokens": load.image,
        "prompt_tokens": load.prompt,
        "completions_per_step": job.batch,
        "tokens_per_step": plan.tokens,
        "steps": plan.steps,
        "memory": [_line(line) for line in plan.lines],
        "peak": peak(plan.lines),
        "capacity": plan.gpu.memory,
        "fits": plan.fits,
        "seconds": {part.name: part.seconds for part in plan.parts},
        "judging_seconds": plan.judging.seconds,
        "hours": plan.hours,
        "gpu_hours": plan.hours * job.gpus,
        "changes": [
            {"change": change.text, "peak": change.after.peak, "fits": change.after.fits}
            for change in found
        ],
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "name": line.name,
        "bytes": line.size,
        "when": line.when,
        "estimate": line.estimate,
        "formula": line.formula,
    }
