"""Drawn folders for the audit's tests: every number, text and image in them is synthetic."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

from mrg_r1.completion import render
from mrg_r1.evaluate import evaluate
from mrg_r1.evaluate.kept import keep
from mrg_r1.findings import DISEASES, FINDINGS, FIVE, Finding, Labels, Status
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.records import (
    Evaluation,
    FindingScore,
    Prediction,
    Reading,
    SampledCompletion,
    Score,
    StepMetrics,
    SystemScores,
    write_json,
    write_jsonl,
)

POS, NEG, UNC = Status.POSITIVE, Status.NEGATIVE, Status.UNCERTAIN

PHRASES = {
    Finding.CARDIOMEGALY: ("the heart is enlarged", "heart size is normal"),
    Finding.LUNG_OPACITY: ("hazy opacity in the left lower zone", "no opacity"),
    Finding.EDEMA: ("interstitial edema", "no edema"),
    Finding.CONSOLIDATION: ("consolidation in the right lower lobe", "no consolidation"),
    Finding.ATELECTASIS: ("bands of atelectasis at both bases", "no atelectasis"),
    Finding.PNEUMOTHORAX: ("large left pneumothorax", "no pneumothorax"),
    Finding.PLEURAL_EFFUSION: ("right pleural effusion", "no pleural effusion"),
    Finding.SUPPORT_DEVICES: ("a catheter is in place", "no lines or tubes"),
}
NORMAL = Labels.of(
    {
        Finding.CARDIOMEGALY: NEG,
        Finding.CONSOLIDATION: NEG,
        Finding.PNEUMOTHORAX: NEG,
        Finding.PLEURAL_EFFUSION: NEG,
        Finding.NO_FINDING: POS,
    }
)


def write_run(folder: Path, *, studies: int = 24, steps: int = 160, seed: int = 7) -> Path:
    """A finished run whose policy learnt to affirm what it used to deny."""
    rng = random.Random(seed)
    ids = [f"drawn-{number:03d}" for number in range(1, studies + 1)]
    references = {id_: _reference(rng) for id_ in ids}
    reports = {
        "start": {id_: _policy(rng, references[id_], 0.12) for id_ in ids},
        "srl": {id_: _policy(rng, references[id_], 0.78) for id_ in ids},
    }
    for id_ in ids:
        draw_chest(folder / "images" / f"{id_}.png", references[id_], rng)
    _write_front(folder, studies)
    write_jsonl(folder / "metrics.jsonl", _metrics(rng, steps))
    write_jsonl(folder / "completions.jsonl", _sampled(ids, reports, steps))
    for file, system in (("predictions-start", "start"), ("predictions", "srl")):
        predictions = [_prediction(id_, references[id_], reports[system][id_]) for id_ in ids]
        write_jsonl(folder / f"{file}.jsonl", predictions)
    write_jsonl(folder / "readings.jsonl", _readings(references, reports))
    everything = {**reports, "constant-normal": dict.fromkeys(ids, NORMAL)}
    evaluation(references, everything).write(folder / "evaluation.json")
    return folder


SYSTEMS = ("ours", "theirs", "<b>third</b>")


def write_comparison(folder: Path, *, studies: int = 12, seed: int = 7) -> Path:
    """Three systems of rising skill and two baselines, scored and kept as `evaluate` does."""
    rng = random.Random(seed)
    ids = [f"drawn-{number:03d}" for number in range(1, studies + 1)]
    references = {id_: _reference(rng) for id_ in ids}
    systems: dict[str, list[Prediction]] = {}
    for name, skill in zip(SYSTEMS, (0.9, 0.6, 0.2), strict=True):
        reports = {id_: _policy(rng, references[id_], skill) for id_ in ids}
        found = [_prediction(id_, references[id_], reports[id_]) for id_ in ids]
        systems[name] = found if name == "ours" else [replace(p, completion="") for p in found]
    for id_ in ids:
        draw_chest(folder.parent / "images" / f"{id_}.png", references[id_], rng)
    labeler, training = RulesLabeler(), [write_text(_reference(rng)) for _ in range(5)]
    evaluation = evaluate(systems, labeler, train_references=training, resamples=20)
    keep(
        folder,
        systems,
        evaluation,
        labeler,
        train_references=training,
        image_folders=[folder.parent],
    )
    return folder


_TINY = {"vision_depth": 2, "vision_width": 64, "text_layers": 2, "text_width": 64}


def _write_front(folder: Path, studies: int) -> None:
    recipe = {
        "name": "drawn-chests",
        "seed": 7,
        "data": {"source": "phantom", "section": "findings", "views": "each", "test": studies},
        "policy": {"path": "", "tiny": dict(_TINY)},
        "reward": {"margin": 0.3, "clinical_weight": 0.75, "format_weight": 0.25},
        "sft": {"max_steps": 60},
        "srl": {"num_generations": 4},
    }
    write_json(folder / "recipe.json", recipe)
    write_json(folder / "versions.json", {"mrg-r1": "0.0.0"})


def _reference(rng: random.Random) -> Labels:
    statuses = {f: rng.choices((POS, NEG, UNC), (0.3, 0.62, 0.08))[0] for f in PHRASES}
    statuses = {f: s for f, s in statuses.items() if rng.random() < 0.8}
    if not any(status in (POS, UNC) for status in statuses.values()):
        statuses[Finding.NO_FINDING] = POS
    return Labels.of(statuses)


def _policy(rng: random.Random, reference: Labels, skill: float) -> Labels:
    """Copies each status with probability `skill`, else the normal template's or anything."""
    statuses = {
        f: reference[f]
        if rng.random() < skill
        else rng.choice((POS, NEG, UNC))
        if f in PHRASES and rng.random() < 0.15
        else NORMAL[f]
        for f in DISEASES
    }
    if not any(status in (POS, UNC) for status in statuses.values()):
        statuses[Finding.NO_FINDING] = POS
    return Labels.of(statuses)


def write_text(labels: Labels) -> str:
    sentences: list[str] = []
    for finding, (affirmed, denied) in PHRASES.items():
        status = labels[finding]
        text = {POS: affirmed, NEG: denied, UNC: f"possibly {affirmed}"}.get(status)
        if text:
            sentences.append(text[0].upper() + text[1:] + ".")
    return " ".join(sentences) or "Chest."


def _prediction(id_: str, reference: Labels, labels: Labels) -> Prediction:
    think = "I see: " + ", ".join(f.value.lower() for f in labels.having(POS)) + "."
    report = write_text(labels)
    completion = render(think, report)
    return Prediction(
        id_, id_, completion, think, report, write_text(reference), (f"images/{id_}.png",)
    )


def ccs(a: Labels, b: Labels) -> float:
    signs = {Status.BLANK: 0, POS: 1, NEG: -1, UNC: 1}
    x, y = ([signs[labels[f]] for f in DISEASES] for labels in (a, b))
    norm = math.sqrt(sum(map(abs, x)) * sum(map(abs, y)))
    return sum(p * q for p, q in zip(x, y, strict=True)) / norm if norm else 0.0


def reward(agreement: float) -> float:
    return 0.75 * max((agreement - 0.3) / 0.7, 0.0) + 0.25


def _readings(
    references: Mapping[str, Labels], reports: Mapping[str, Mapping[str, Labels]]
) -> list[Reading]:
    found = [Reading(i, "reference", tuple(r.statuses), 1.0, 1.0) for i, r in references.items()]
    for system, labels in reports.items():
        for id_, read in labels.items():
            agreed = ccs(read, references[id_])
            found.append(Reading(id_, system, tuple(read.statuses), agreed, reward(agreed)))
    return found


def _metrics(rng: random.Random, steps: int) -> list[StepMetrics]:
    sft = [
        StepMetrics("sft", step, {"loss": 0.4 + 3.2 * math.exp(-step / 15) + rng.gauss(0, 0.06)})
        for step in range(1, 61)
    ]
    return sft + [StepMetrics("srl", step, _step(rng, step / steps)) for step in range(1, steps)]


def _step(rng: random.Random, time: float) -> dict[str, float]:
    def between(value: float, noise: float) -> float:
        return min(1.0, max(0.0, value + rng.gauss(0, noise)))

    mccs = between(0.22 + 0.5 * (1 - math.exp(-3 * time)), 0.06)
    form = between(1 - 0.5 * math.exp(-9 * time), 0.03)
    return {
        "loss": rng.gauss(0, 0.01),
        "reward": 0.75 * mccs + 0.25 * form,
        "reward_std": 0.2,
        "rewards/mccs/mean": mccs,
        "rewards/format/mean": form,
        "completions/mean_length": 58 + 14 * time + rng.gauss(0, 3),
        "completions/clipped_ratio": between(0.1 * math.exp(-6 * time), 0.01),
        "frac_reward_zero_std": between(0.06 + 0.2 * time, 0.04),
        "kl": max(0.0, 0.09 * (1 - math.exp(-2 * time)) + rng.gauss(0, 0.006)),
        "entropy": 0.9 * math.exp(-1.6 * time) + 0.1 + rng.gauss(0, 0.02),
        "learning_rate": 5e-6 * (1 - time),
    }


def _sampled(
    ids: Sequence[str], reports: Mapping[str, Mapping[str, Labels]], steps: int
) -> list[SampledCompletion]:
    def sample(step: int, id_: str, system: str, broken: bool) -> SampledCompletion:
        text = write_text(reports[system][id_])
        completion = f"{text} <report>{text}" if broken else render("I see the chest.", text)
        total = 0.2 if broken else 0.8
        parts = {"mccs": total, "format": 0.0 if broken else 1.0}
        return SampledCompletion(step, id_, completion, total, parts)

    stages = ((1, "start", True), (steps // 2, "srl", True), (steps - 1, "srl", False))
    return [
        sample(step, id_, system, broken and index % 2 == 0)
        for step, system, broken in stages
        for index, id_ in enumerate(ids[:4])
    ]


def evaluation(
    references: Mapping[str, Labels], systems: Mapping[str, Mapping[str, Labels]]
) -> Evaluation:
    """Real counts; the intervals are a fixed width, for nothing is resampled here."""
    return Evaluation(
        tuple(_system(name, references, reports) for name, reports in systems.items())
    )


def _system(
    name: str, references: Mapping[str, Labels], reports: Mapping[str, Labels]
) -> SystemScores:
    n = len(references)
    pairs = [(references[id_], reports[id_]) for id_ in references]
    scores: list[Score] = []
    for average in ("micro", "macro"):
        for labels in (FINDINGS, DISEASES, FIVE):
            for uncertain in ("positive", "negative"):
                yes = {POS, UNC} if uncertain == "positive" else {POS}
                signature = (
                    f"labeler:drawn@0|uncertain:{uncertain}|labels:{len(labels)}"
                    f"|avg:{average}|absent:0|n:{n}|v:0.0.0"
                )
                counts = [_counts(pairs, finding, yes) for finding in labels]
                for metric, value in zip(_RATES, _averaged(counts, average), strict=True):
                    low, high = max(0.0, value - 0.06), min(1.0, value + 0.06)
                    scores.append(Score(metric, value, low, high, signature))
    mean = sum(ccs(a, b) for a, b in pairs) / n
    scores.append(Score("ccs", mean, mean - 0.05, mean + 0.05, f"labeler:drawn@0|n:{n}|v:0.0.0"))
    scores.append(Score("bleu-4", mean / 3, mean / 4, mean / 2, f"text:r2gen|n:{n}|v:0.0.0"))
    return SystemScores(name, n, tuple(scores), tuple(_finding(pairs, f) for f in FINDINGS))


_RATES = ("ce_precision", "ce_recall", "ce_f1")


def _counts(
    pairs: Iterable[tuple[Labels, Labels]], finding: Finding, yes: set[Status]
) -> tuple[int, int, int]:
    seen = [(a[finding] in yes, b[finding] in yes) for a, b in pairs]
    return seen.count((True, True)), seen.count((False, True)), seen.count((True, False))


def _rates(tp: int, fp: int, fn: int) -> tuple[float, float, float]:
    return (
        tp / (tp + fp) if tp + fp else 0.0,
        tp / (tp + fn) if tp + fn else 0.0,
        2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0,
    )


def _averaged(counts: Sequence[tuple[int, int, int]], average: str) -> tuple[float, ...]:
    if average == "micro":
        return _rates(*map(sum, zip(*counts, strict=True)))
    rates = [_rates(*count) for count in counts]
    return tuple(sum(column) / len(rates) for column in zip(*rates, strict=True))


def _finding(pairs: Sequence[tuple[Labels, Labels]], finding: Finding) -> FindingScore:
    counts = _counts(pairs, finding, {POS, UNC})
    return FindingScore(finding.value, *counts, *_rates(*counts))


def draw_chest(path: Path, labels: Labels, rng: random.Random) -> None:
    """A grey drawing with lungs and a heart, changed a little by some of the findings."""
    image = Image.new("L", (320, 320), 30)
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 10, 300, 420), fill=150)
    for left in (55, 175):
        draw.ellipse((left, 50, left + 90, 270), fill=55)
    for top in range(60, 270, 30):
        draw.arc((40, top, 280, top + 70), 200, 340, fill=105, width=5)
    width = 70 if labels[Finding.CARDIOMEGALY] is POS else 42
    draw.ellipse((165 - width, 150, 175 + width, 265), fill=185)
    if labels[Finding.PNEUMOTHORAX] is POS:
        draw.chord((205, 45, 268, 200), 230, 60, fill=18)
    if labels[Finding.PLEURAL_EFFUSION] is POS:
        draw.chord((50, 190, 150, 290), 0, 180, fill=190)
    if labels[Finding.CONSOLIDATION] is POS:
        draw.ellipse((75, 170, 120, 225), fill=150)
    image = image.filter(ImageFilter.GaussianBlur(3))
    noise = Image.frombytes("L", image.size, rng.randbytes(320 * 320))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.blend(image, noise, 0.06).save(path)
