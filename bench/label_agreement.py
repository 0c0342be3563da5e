"""How well the rules agree with the real CheXbert labels of IU X-Ray, and how fast they are.

    python bench/label_agreement.py IU_XRAY_FOLDER [--split val] [--preset chexbert] [--show 20]

The folder holds `annotation.json` (the R2Gen split) and `labels/chexbert_labels.csv`, or another
label file of the same columns named by --labels. Agreement is over four-class cells of the 14
findings; F1 counts positive or uncertain, a finding absent on both sides left out of the macro.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mrg_r1.findings import FINDINGS, Finding, Labels, Status
from mrg_r1.labelers.rules import RulesLabeler

SHOWN = {
    Status.BLANK: "blank",
    Status.POSITIVE: "pos",
    Status.NEGATIVE: "neg",
    Status.UNCERTAIN: "unc",
}
STATED = (Status.POSITIVE, Status.UNCERTAIN)


def read(folder: Path, labels: str, split: str) -> tuple[list[str], list[str], list[Labels]]:
    """Ids, reports and reference labels of a split ('all' for every labelled report)."""
    with open(folder / "labels" / labels, encoding="utf-8", newline="") as file:
        rows = {row.get("Id") or row["id"]: Labels.from_csv(row) for row in csv.DictReader(file)}
    annotation = json.loads((folder / "annotation.json").read_text(encoding="utf-8"))
    studies = [
        study
        for name, part in annotation.items()
        if split in (name, "all")
        for study in part
        if study["id"] in rows
    ]
    ids = [study["id"] for study in studies]
    return ids, [study["report"] for study in studies], [rows[i] for i in ids]


def f1(tp: int, fp: int, fn: int) -> float:
    """F1 from counts; 0 where there is nothing."""
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0


def counts(pairs: Sequence[tuple[Labels, Labels]], finding: Finding) -> tuple[int, int, int]:
    """True positives, false positives and false negatives of positive-or-uncertain."""
    tally = Counter((ours[finding] in STATED, ref[finding] in STATED) for ours, ref in pairs)
    return tally[True, True], tally[True, False], tally[False, True]


def print_table(pairs: Sequence[tuple[Labels, Labels]]) -> None:
    """One line a finding, then the totals."""
    print(f"{'finding':28}{'cells':>7}{'F1':>7}{'tp':>6}{'fp':>5}{'fn':>5}")
    totals = {f: counts(pairs, f) for f in FINDINGS}
    same = {f: sum(ours[f] is ref[f] for ours, ref in pairs) / len(pairs) for f in FINDINGS}
    for f, (tp, fp, fn) in totals.items():
        print(f"{f.value:28}{same[f]:7.3f}{f1(tp, fp, fn):7.3f}{tp:6}{fp:5}{fn:5}")
    present = [f1(*c) for c in totals.values() if sum(c)]
    micro = f1(*(sum(column) for column in zip(*totals.values(), strict=True)))
    print(f"\ncells {sum(same.values()) / len(same):.4f}", end="   ")
    print(f"macro-F1 {sum(present) / len(present):.4f}   micro-F1 {micro:.4f}   n {len(pairs)}")


def print_disagreements(
    ids: Sequence[str], pairs: Sequence[tuple[Labels, Labels]], show: int
) -> None:
    """The most frequent kinds of disagreement, with a few study ids to look up."""
    examples: dict[tuple[str, str, str], list[str]] = {}
    for study, (ours, ref) in zip(ids, pairs, strict=True):
        for finding in FINDINGS:
            if ours[finding] is not ref[finding]:
                key = (finding.value, SHOWN[ours[finding]], SHOWN[ref[finding]])
                examples.setdefault(key, []).append(study)
    print(f"\n{'finding':28}{'rules':7}{'labels':8}{'n':>4}  for example")
    for key, studies in sorted(examples.items(), key=lambda item: -len(item[1]))[:show]:
        print(f"{key[0]:28}{key[1]:7}{key[2]:8}{len(studies):4}  {' '.join(studies[:3])}")


def main() -> None:
    """Prints agreement, disagreements and speed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--labels", default="chexbert_labels.csv")
    parser.add_argument("--split", default="val", choices=["train", "val", "all"])
    parser.add_argument("--preset", default="chexbert")
    parser.add_argument("--show", type=int, default=20)
    args = parser.parse_args()
    ids, reports, references = read(args.folder, args.labels, args.split)
    labeler = RulesLabeler(args.preset)
    labeler.label(reports[:1])
    start = time.process_time()
    ours = labeler.label(reports)
    seconds = time.process_time() - start
    pairs = list(zip(ours, references, strict=True))
    print(f"{labeler.identity} against {args.labels}, split {args.split}\n")
    print_table(pairs)
    print_disagreements(ids, pairs, args.show)
    print(f"\n{len(reports) / seconds:,.0f} reports/s")


if __name__ == "__main__":
    main()
