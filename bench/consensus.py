"""What the consensus of N sampled reports brings in F1, and how far its agreement can be trusted.

    python bench/consensus.py POLICY --draw 384 --iu-xray FOLDER -o consensus.json
    python bench/consensus.py POLICY --iu-xray FOLDER --drafts 1,4,8,16 --most 100

POLICY is a run folder, a saved policy or a model folder. `--draw N` draws N studies under a seed
that no recipe uses, so that none was trained on; `--iu-xray` takes frontal views of its val split.
As many drafts as the largest N are sampled of each image, once, and kept in OUT.SET.drafts.jsonl,
from which a run that was stopped goes on. For a smaller N they are parted into disjoint groups of
N, whose counts are averaged, so that each N is measured on the same drafts.

F1 is micro-averaged over 13 findings, uncertain as positive on both sides, of the chosen reports,
beside the greedy report's. The confidence is the share of drafts that affirm a finding (positive or
uncertain), for all 13 findings of each study. Brier: its mean squared difference from the
reference's 0 or 1. ECE: the mean difference of confidence and share affirmed over ten equal bins,
weighted by their size. Below them what always claiming each finding's share in these references
would get (ECE 0 by construction). Intervals are 95 % percentile bootstraps over studies.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mrg_r1.completion import parse
from mrg_r1.config import load_recipe
from mrg_r1.consensus import Consensus, consensus, labels_of
from mrg_r1.data import iu_xray, phantom
from mrg_r1.data.samples import samples
from mrg_r1.data.study import Sample
from mrg_r1.findings import DISEASES, Labels, Status
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.metrics.arrays import Floats
from mrg_r1.metrics.clinical import CE, positives, rates
from mrg_r1.metrics.score import Estimates, Measure, Signature, estimate
from mrg_r1.policy.identity import identity
from mrg_r1.policy.settings import Decoding
from mrg_r1.records import write_json

HELD_OUT = 1_000_003
"""The seed of the drawn studies; those of the recipes are small."""

BINS = 10
READER = RulesLabeler()
Drafts = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Measured:
    """One number of drafts: scores, their differences to one draft, and per finding."""

    drafts: int
    groups: int
    scores: list[dict[str, Any]]
    differences: list[dict[str, Any]]
    findings: dict[str, dict[str, float]]
    claims: list[dict[str, float]]


def write(
    policy: Any, model: str, chosen: Sequence[Sample], decoding: Decoding, n: int, kept: Path
) -> Drafts:
    """`n` drafts of each sample, from the file where they are kept or else written now."""
    from mrg_r1.policy.writing import write_drafts
    from mrg_r1.run import drop_torn_line

    if kept.exists():
        drop_torn_line(kept)
    with open(kept, "a+", encoding="utf-8") as file:
        file.seek(0)
        by, rows = f"{model}, {decoding.describe()}", [json.loads(line) for line in file]
        if others := {row["by"] for row in rows} - {by}:
            raise SystemExit(f"{kept}: written by {min(others)}, not by {by}; remove it")
        known = {row["id"]: row["drafts"] for row in rows}
        left = [sample for sample in chosen if len(known.get(sample.id, ())) < n]
        start = time.perf_counter()
        for done, (sample, drafts) in enumerate(write_drafts(policy, left, decoding, drafts=n), 1):
            known[sample.id] = drafts
            file.write(json.dumps({"id": sample.id, "by": by, "drafts": drafts}) + "\n")
            file.flush()
            if done % 50 == 0:
                print(f"  {done} of {len(left)}, {time.perf_counter() - start:.0f} s", flush=True)
    return {sample.id: known[sample.id][:n] for sample in chosen}


def read(drafts: Sequence[str]) -> list[Labels | None]:
    """What each draft says, None where it has no report."""
    return labels_of([parse(draft).report for draft in drafts], READER)


def chosen_of(labels: Sequence[Sequence[Labels | None]], n: int) -> list[list[Consensus]]:
    """The consensus of each disjoint group of n drafts of each sample."""
    return [[consensus(row[at : at + n]) for at in range(0, len(row) - n + 1, n)] for row in labels]


def affirmed(rows: Sequence[Labels | None]) -> Floats:
    """Which of the 13 findings are positive or uncertain, (n, 13)."""
    known = [row or Labels.of({}) for row in rows]
    return positives(known, "positive")[:, : len(DISEASES)].astype(np.float64)


def efficacy(generated: Floats, reference: Floats, n: int) -> Measure:
    """Micro-averaged CE of groups of reports: (s, g, 13) and (s, 13), 0 or 1."""
    wanted = reference[:, None]
    counts = [generated * wanted, generated * (1 - wanted), (1 - generated) * wanted]
    terms = np.stack([cells.sum(axis=2).mean(axis=1) for cells in counts], axis=1)  # (s, 3)
    signature = Signature(
        labeler=READER.identity, uncertain="positive", labels=len(DISEASES), avg="micro", n=n
    )
    names = tuple((metric, signature) for metric in CE)
    return Measure(names, terms, lambda sums: np.moveaxis(rates(*np.moveaxis(sums, -1, 0)), 0, -1))


def calibration(confidence: Floats, reference: Floats, n: int) -> list[Measure]:
    """Brier and ECE over all findings: (s, g, 13) in [0, 1], and (s, 13)."""
    errors = ((confidence - reference[:, None]) ** 2).mean(axis=(1, 2))  # (s,)
    signature = Signature(labeler=READER.identity, uncertain="positive", labels=13, n=n)
    brier = Measure(
        (("brier", signature),),
        np.stack([errors, np.ones_like(errors)], axis=1),
        lambda sums: sums[..., :1] / sums[..., 1:],
    )
    terms = binned(confidence, reference).mean(axis=1).sum(axis=1).reshape(len(reference), -1)
    return [brier, Measure((("ece", signature),), terms, lambda sums: ece(sums)[..., None])]


def binned(confidence: Floats, reference: Floats) -> Floats:
    """Per cell its bin's count, confidence and truth: (s, g, 13) to (s, g, 13, bins, 3)."""
    index = np.minimum((confidence * BINS).astype(int), BINS - 1)
    inside = (index[..., None] == np.arange(BINS)).astype(np.float64)
    truth = np.broadcast_to(reference[:, None], confidence.shape)
    return np.stack([inside, inside * confidence[..., None], inside * truth[..., None]], axis=-1)


def ece(sums: Floats) -> Floats:
    """Expected calibration error of sums (..., bins * 3)."""
    count, sure, true = np.moveaxis(sums.reshape(*sums.shape[:-1], BINS, 3), -1, 0)
    return np.abs(sure - true).sum(axis=-1) / count.sum(axis=-1)


def per_finding(confidence: Floats, reference: Floats) -> dict[str, dict[str, float]]:
    """Calibration of each finding beside the share of references that affirm it."""
    sums = binned(confidence, reference).sum(axis=(0, 1)).reshape(len(DISEASES), -1)
    brier = ((confidence - reference[:, None]) ** 2).mean(axis=(0, 1))
    share = reference.mean(axis=0)
    columns = (share, brier, share * (1 - share), ece(sums))
    names = ("affirmed", "brier", "brier_of_share", "ece")
    return {
        finding.value: dict(zip(names, map(float, row), strict=True))
        for finding, row in zip(DISEASES, np.stack(columns, axis=1), strict=True)
    }


def claims(generated: Floats, confidence: Floats, reference: Floats) -> list[dict[str, float]]:
    """Of the findings that chosen reports affirm: how many are right, by confidence."""
    sure = confidence[generated == 1]
    right = np.broadcast_to(reference[:, None], generated.shape)[generated == 1]
    edges = (0.0, 0.25, 0.5, 0.75, 1.0, 1.1)
    rows: list[dict[str, float]] = []
    for low, high in pairwise(edges):
        inside = (sure >= low) & (sure < high)
        if inside.any():
            rows.append(
                {
                    "from": low,
                    "below": high,
                    "claims": int(inside.sum()),
                    "confidence": float(sure[inside].mean()),
                    "right": float(right[inside].mean()),
                }
            )
    return rows


def measure(
    drafts: Drafts, chosen: Sequence[Sample], sizes: Sequence[int], resamples: int
) -> Iterator[Measured]:
    """What each number of drafts brings, the first one being the baseline of the others."""
    labels = [read(drafts[sample.id]) for sample in chosen]
    reference = affirmed(READER.label([sample.reference for sample in chosen]))  # (s, 13)
    studies, count = [sample.study_id for sample in chosen], len(chosen)
    baseline: Estimates | None = None
    for size in sizes:
        agreed = chosen_of(labels, size)
        groups = len(agreed[0])
        kept = [
            row[group * size + found.chosen]
            for row, founds in zip(labels, agreed, strict=True)
            for group, found in enumerate(founds)
        ]
        generated = affirmed(kept).reshape(count, groups, -1)
        shares = np.array([[found.shares for found in founds] for founds in agreed])
        stated = shares[:, :, : len(DISEASES), [Status.POSITIVE, Status.UNCERTAIN]]
        confidence: Floats = stated.sum(axis=-1)  # (s, g, 13)
        measures = [efficacy(generated, reference, count)]
        measures += calibration(confidence, reference, count)
        found = estimate(measures, studies, resamples=resamples)
        baseline = baseline or found
        yield Measured(
            size,
            groups,
            [asdict(score) for score in found.scores()],
            [asdict(d) for d in found.minus(baseline, f"{sizes[0]} draft")] if size > 1 else [],
            per_finding(confidence, reference),
            claims(generated, confidence, reference),
        )


def sets(args: argparse.Namespace) -> Iterator[tuple[str, list[Sample]]]:
    """The studies to measure on, by name."""
    if args.draw:
        recipe = args.policy / "recipe.json"
        size = load_recipe(str(recipe)).data.size if recipe.exists() else args.size
        folder = Path(tempfile.gettempdir()) / f"mrg-r1-held-out-{args.draw}-{size}"
        studies = phantom.draw(folder, train=0, val=0, test=args.draw, seed=HELD_OUT, size=size)
        yield "drawn", samples(studies.of_split("test"), views="frontal")[0]
    if args.iu_xray:
        studies = iu_xray.load(args.iu_xray)
        yield "iu-xray-val", samples(studies.of_split("val"), views="frontal")[0]


def show(name: str, greedy: Mapping[str, Any], rows: Sequence[Measured]) -> None:
    """One table of scores, and the largest number's findings and claims."""

    def cell(score: Mapping[str, Any]) -> str:
        return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"

    print(f"\n## {name}\n\n| drafts | precision | recall | F1 micro-13 | Brier | ECE | F1 - one |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print(f"| greedy | {' | '.join(cell(s) for s in greedy['scores'][:3])} | | | |")
    for row in rows:
        gain = next((d for d in row.differences if d["metric"] == "ce_f1"), None)
        gained = f"{cell(gain)}, p {gain['p']:.3f}" if gain else ""
        print(f"| {row.drafts} | {' | '.join(map(cell, row.scores))} | {gained} |")
    last = rows[-1]
    print(f"\n| finding, {last.drafts} drafts | affirmed | Brier | of the share alone | ECE |")
    print("| --- | --- | --- | --- | --- |")
    for finding, numbers in last.findings.items():
        print(f"| {finding} | {' | '.join(f'{value:.3f}' for value in numbers.values())} |")
    print(f"\n| confidence of a claim, {last.drafts} drafts | claims | mean | right |")
    print("| --- | --- | --- | --- |")
    for claim in last.claims:
        span = "1" if claim["from"] == 1 else f"[{claim['from']:g}, {claim['below']:g})"
        print(f"| {span} | {claim['claims']} | {claim['confidence']:.2f} | {claim['right']:.2f} |")


def main() -> None:
    """Samples, measures, prints tables and leaves all figures in a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("policy", type=Path)
    parser.add_argument("--draw", type=int, default=0, help="how many studies to draw")
    parser.add_argument("--size", type=int, default=112, help="of drawn images, for no run")
    parser.add_argument("--iu-xray", type=Path)
    parser.add_argument("--drafts", default="1,4,8,16", help="numbers, the first the baseline")
    parser.add_argument("--most", type=int, help="samples of each set; else all")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("-o", "--out", type=Path, default=Path("consensus.json"))
    args = parser.parse_args()
    from mrg_r1.policy.load import load_policy

    sizes = [int(size) for size in args.drafts.split(",")]
    decoding = Decoding(args.max_tokens, args.temperature, 1.0, args.batch_size, args.seed)
    policy, model, found = load_policy(args.policy), identity(args.policy), {}
    for name, everything in sets(args):
        chosen = everything[: args.most]
        kept = args.out.with_suffix(f".{name}.drafts.jsonl")
        drafts = write(policy, model, chosen, decoding, max(sizes), kept)
        first, greedily = kept.with_suffix(".greedy.jsonl"), replace(decoding, temperature=0.0)
        plain = write(policy, model, chosen, greedily, 1, first)
        (greedy,) = map(asdict, measure(plain, chosen, [1], args.resamples))
        rows = list(measure(drafts, chosen, sizes, args.resamples))
        show(name, greedy, rows)
        found[name] = {"samples": len(chosen), "greedy": greedy, "drafts": [*map(asdict, rows)]}
    write_json(args.out, {"model": model, "decoding": decoding.describe(), "sets": found})


if __name__ == "__main__":
    main()
