"""How well the rules agree with the real CheXbert labels of IU X-Ray and with people, and how fast.

    python bench/label_agreement.py IU_XRAY_FOLDER [--split val] [--preset chexbert] [--show 20]

The folder holds `annotation.json` (the R2Gen split), `indiana_reports.csv` and, under `labels/`,
`chexbert_labels.csv` (or another file of the same columns named by --labels),
`chexpert_labeler_labels.csv` (the published rule labeler) and `human_tags_nih14.csv`.

Agreement is over four-class cells of the 14 findings; F1 counts positive or uncertain, a finding
absent on both sides left out of the macro. Against people only a positive counts: a tag is there
or not.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import Counter
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from statistics import mean

from mrg_r1.findings import FINDINGS, Finding, Labels, Status
from mrg_r1.labelers.rules import RulesLabeler

PUBLISHED = "chexpert_labeler_labels.csv"
SHOWN = {
    Status.BLANK: "blank",
    Status.POSITIVE: "pos",
    Status.NEGATIVE: "neg",
    Status.UNCERTAIN: "unc",
}
STATED = (Status.POSITIVE, Status.UNCERTAIN)
TAGS = {
    Finding.CARDIOMEGALY: "Cardiomegaly",
    Finding.EDEMA: "Edema",
    Finding.CONSOLIDATION: "Consolidation",
    Finding.PNEUMONIA: "Pneumonia",
    Finding.ATELECTASIS: "Atelectasis",
    Finding.PNEUMOTHORAX: "Pneumothorax",
    Finding.PLEURAL_EFFUSION: "Effusion",
    Finding.NO_FINDING: "normal",
}
"""The findings that correspond to a tag one to one; Fracture is added from the MeSH codes."""

Pairs = Sequence[tuple[Labels, Labels]]


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


def read_tags(folder: Path, ids: Sequence[str]) -> dict[Finding, list[bool]]:
    """Whether people tagged each study with each finding of TAGS, and with a fracture."""
    with open(folder / "labels" / "human_tags_nih14.csv", encoding="utf-8", newline="") as file:
        rows = {row["filename"]: row for row in csv.DictReader(file)}
    with open(folder / "indiana_reports.csv", encoding="utf-8", newline="") as file:
        mesh = {f"CXR{row['uid']}": row["MeSH"].lower() for row in csv.DictReader(file)}
    patients = [i.split("_")[0] for i in ids]
    tags = {f: [rows[p][tag] == "1" for p in patients] for f, tag in TAGS.items()}
    return tags | {Finding.FRACTURE: ["fracture" in mesh[p] for p in patients]}


def f1(tp: int, fp: int, fn: int) -> float:
    """F1 from counts; 0 where there is nothing."""
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0


def counts(pairs: Pairs, finding: Finding) -> tuple[int, int, int]:
    """True positives, false positives and false negatives of positive-or-uncertain."""
    tally = Counter((ours[finding] in STATED, ref[finding] in STATED) for ours, ref in pairs)
    return tally[True, True], tally[True, False], tally[False, True]


def same(pairs: Pairs, finding: Finding) -> float:
    """The share of reports on which both sides say the same of a finding."""
    return mean(ours[finding] is ref[finding] for ours, ref in pairs)


def print_table(pairs: Pairs, published: Pairs) -> None:
    """One line a finding, the published rule labeler's figures beside; then the totals."""
    print(f"{'finding':28}{'cells':>7}{'F1':>7}{'tp':>6}{'fp':>5}{'fn':>5}   published labeler")
    for finding in FINDINGS:
        tp, fp, fn = counts(pairs, finding)
        print(f"{finding.value:28}{same(pairs, finding):7.3f}", end="")
        print(f"{f1(tp, fp, fn):7.3f}{tp:6}{fp:5}{fn:5}", end="")
        print(f"{same(published, finding):10.3f}{f1(*counts(published, finding)):7.3f}")
    for name, compared in (("rules", pairs), ("published labeler", published)):
        totals = [counts(compared, f) for f in FINDINGS]
        macro = mean(f1(*c) for c in totals if sum(c))
        micro = f1(*(sum(column) for column in zip(*totals, strict=True)))
        cells = mean(same(compared, f) for f in FINDINGS)
        print(f"{name:18} cells {cells:.4f}   macro-F1 {macro:.4f}   micro-F1 {micro:.4f}")


def print_people(tags: dict[Finding, list[bool]], pairs: Pairs) -> None:
    """F1 of positives against the human tags, of the rules and of the reference labeler."""
    print(f"\n{'against people':28}{'tagged':>7}{'rules':>8}{'labels':>8}{'':>4}difference")
    scores: list[tuple[float, float]] = []
    for finding, tagged in tags.items():
        ours, theirs = (
            f1(*of_people([labels[side] for labels in pairs], finding, tagged)) for side in (0, 1)
        )
        scores.append((ours, theirs))
        print(f"{finding.value:28}{sum(tagged):7}{ours:8.3f}{theirs:8.3f}{ours - theirs:+12.3f}")
    ours, theirs = (mean(column) for column in zip(*scores, strict=True))
    print(f"{'mean':28}{'':7}{ours:8.3f}{theirs:8.3f}{ours - theirs:+12.3f}")


def of_people(
    found: Sequence[Labels], finding: Finding, tagged: Sequence[bool]
) -> tuple[int, int, int]:
    """True positives, false positives and false negatives of positives against tags."""
    tally = Counter(
        (labels[finding] is Status.POSITIVE, tag) for labels, tag in zip(found, tagged, strict=True)
    )
    return tally[True, True], tally[True, False], tally[False, True]


def print_disagreements(ids: Sequence[str], pairs: Pairs, show: int) -> None:
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
    parser.add_argument("--about", default="", help="show only reports with these words")
    args = parser.parse_args()
    ids, reports, references = read(args.folder, args.labels, args.split)
    _, _, published = read(args.folder, PUBLISHED, args.split)
    labeler = RulesLabeler(args.preset)
    labeler.label(reports[:1])
    start = time.process_time()
    ours = labeler.label(reports)
    seconds = time.process_time() - start
    pairs = list(zip(ours, references, strict=True))
    print(f"{labeler.identity} against {args.labels}, split {args.split}, n {len(reports)}\n")
    print_table(pairs, list(zip(published, references, strict=True)))
    print_people(read_tags(args.folder, ids), pairs)
    about = [args.about in report.lower() for report in reports]
    print_disagreements(list(compress(ids, about)), list(compress(pairs, about)), args.show)
    print(f"\n{len(reports) / seconds:,.0f} reports/s")


if __name__ == "__main__":
    main()
