r"""Reports a second of every labeler in one run, as ratios.

    python bench/labelers.py --reports annotation.json --folder made \
        --medspacy OTHER/bin/python --f1chexbert OLDER/bin/python

Contenders take turns, round by round, so that a machine that slows down slows all of them; a
ratio is the median over rounds of two neighbours' ratio. By the wall, and by the processor time
of all threads, which other programs on the machine change less but in which waiting threads count.

CheXbert runs with random weights of its true size unless --folder holds `chexbert.pth`, and with
a vocabulary learnt from the reports unless it holds `vocab.txt`; what is made is kept there. One
report at a time is how f1chexbert runs it, batches in order of arrival are how RadEval (16) and
CheXbert's own code (18) do, here with our network. medspaCy and f1chexbert itself need older
packages than ours, so each runs in a Python of its own (`pip install medspacy`; `pip install
f1chexbert 'transformers<4.47'`): medspaCy with the phrases and cues of the rules, f1chexbert with
the files of --folder.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tokenizers import BertWordPieceTokenizer

from mrg_r1.data import phantom
from mrg_r1.labelers.chexbert import ChexbertLabeler, TorchNetwork
from mrg_r1.labelers.chexbert.checkpoint import load_weights, read_checkpoint
from mrg_r1.labelers.chexbert.int8 import Int8Network, write_int8
from mrg_r1.labelers.chexbert.model import BERT_BASE_UNCASED, Chexbert
from mrg_r1.labelers.chexbert.tokens import Vocabulary
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.labelers.rules.lexicon import lexicon

PIECES = 500
"""Of a vocabulary learnt from the reports: cuts words about as often as BERT's does."""

Seconds = tuple[float, float]
"""By the wall and by the processor."""


@dataclass(frozen=True)
class Contender:
    """What labels all reports once and tells the seconds; `base` is what it is compared with."""

    name: str
    threads: int
    base: str
    count: int
    run: Callable[[], Seconds]


def main() -> None:
    """Prints a line for each contender."""
    args = arguments()
    with TemporaryDirectory() as temporary:
        reports = read_reports(args.reports, Path(temporary))
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        some, few = spread(reports, args.some), spread(reports, args.few)
        contenders = light(some, args.medspacy)
        if not args.no_chexbert:
            make_files(folder, reports)
            contenders += chexbert(folder, few, args.threads, args.f1chexbert)
        rounds = [[each.run() for each in contenders] for _ in range(args.rounds)]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{len(some)} reports, {len(few)} for CheXbert; {args.rounds} rounds; load {load}")
    show(contenders, rounds)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--reports", type=Path, help="R2Gen's annotation.json, or a CSV; else drawn"
    )
    parser.add_argument("--folder", type=Path, help="keeps what is made for CheXbert")
    parser.add_argument("--medspacy", type=Path, help="a Python that has medspaCy")
    parser.add_argument("--f1chexbert", type=Path, help="a Python that has f1chexbert")
    parser.add_argument("--no-chexbert", action="store_true")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--some", type=int, default=600, help="reports for rules and medspaCy")
    parser.add_argument("--few", type=int, default=64, help="reports for CheXbert")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def read_reports(path: Path | None, temporary: Path) -> list[str]:
    """The reports of a file, or drawn ones."""
    if path is None:
        studies = phantom.draw(temporary / "studies", train=400, val=0, test=0, size=64).studies
        return [study.findings for study in studies]
    if path.suffix == ".json":
        annotation = json.loads(path.read_text(encoding="utf-8"))
        return [study["report"] for split in annotation.values() for study in split]
    with open(path, encoding="utf-8-sig", newline="") as file:
        return [row["report"] for row in csv.DictReader(file)]


def spread(reports: Sequence[str], count: int) -> list[str]:
    """So many of the reports, evenly spread over the file."""
    return list(reports[:: max(1, len(reports) // count)][:count])


def timed(work: Callable[[], object]) -> Seconds:
    """The seconds of some work in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def light(reports: Sequence[str], medspacy: Path | None) -> list[Contender]:
    """The rules, and medspaCy with their phrases, on the same reports."""
    rules = RulesLabeler()
    rules.label(reports[:1])
    n = len(reports)
    found = [Contender("rules", 1, "medspaCy", n, lambda: timed(lambda: rules.label(reports)))]
    if medspacy:
        run = worker(medspacy, "medspacy_worker.py", {"rules": phrases(), "reports": reports})
        found.append(Contender("medspaCy", 1, "", n, run))
    return found


def phrases() -> list[list[str]]:
    """The phrases and cues of the rules, each with its kind."""
    entries = lexicon("chexbert").entries.items()
    return [[" ".join(phrase), e.kind.value] for phrase, found in entries for e in found]


def worker(python: Path, script: str, job: Mapping[str, object]) -> Callable[[], Seconds]:
    """Labels a job's reports once a call, in a process of another Python."""
    process = subprocess.Popen(
        [python, Path(__file__).with_name(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    writer, reader = process.stdin, process.stdout
    print(json.dumps(job), file=writer, flush=True)
    if reader.readline() != "ready\n":
        raise SystemExit(f"{python} {script}: does not start; see the head of this file")

    def run() -> Seconds:
        print("go", file=writer, flush=True)
        wall, cpu = map(float, reader.readline().split())
        return wall, cpu

    return run


def make_files(folder: Path, reports: Sequence[str]) -> None:
    """Makes what is not there: random weights, a vocabulary, and the int8 file."""
    weights, vocabulary, int8 = (folder / name for name in FILES)
    if not weights.exists():
        torch.manual_seed(0)
        state = {f"module.{key}": value for key, value in Chexbert().state_dict().items()}
        torch.save({"model_state_dict": state}, weights)
    if not vocabulary.exists():
        learnt = BertWordPieceTokenizer(lowercase=True)
        learnt.train_from_iterator(reports, vocab_size=PIECES, show_progress=False)
        pieces = sorted(learnt.get_vocab(), key=learnt.get_vocab().__getitem__)
        unused = [f"[unused{n}]" for n in range(BERT_BASE_UNCASED.vocab_size - len(pieces))]
        vocabulary.write_text("\n".join(pieces + unused) + "\n", encoding="utf-8")
    if not int8.exists():
        write_int8(weights, int8)


FILES = ("chexbert.pth", "vocab.txt", "chexbert-int8.onnx")


def chexbert(
    folder: Path, reports: Sequence[str], threads: Sequence[int], f1chexbert: Path | None
) -> list[Contender]:
    """CheXbert as it is run elsewhere, and here; compared with f1chexbert if that is there."""
    weights, vocabulary, int8 = (folder / name for name in FILES)
    labeler = ChexbertLabeler(TorchNetwork(weights, "cpu"), vocabulary)
    plain = Chexbert()
    load_weights(plain, read_checkpoint(weights))
    plain.eval()
    lengths = list(map(len, labeler.vocabulary.ids(reports)))
    print(f"CheXbert: {statistics.mean(lengths):.0f} tokens a report, at most {max(lengths)}")
    found: list[Contender] = []
    for count in threads:
        small = ChexbertLabeler(Int8Network(int8, count), vocabulary)
        ways: dict[str, Callable[[], object]] = {
            "CheXbert, one at a time": lambda: in_order(plain, labeler.vocabulary, reports, 1),
            "CheXbert, 16 as they come": lambda: in_order(plain, labeler.vocabulary, reports, 16),
            "CheXbert, 18 as they come": lambda: in_order(plain, labeler.vocabulary, reports, 18),
            "chexbert": lambda: labeler.label(reports),
            "chexbert int8": lambda small=small: small.label(reports),
        }
        base, n = next(iter(ways)), len(reports)
        if f1chexbert:
            job = {"folder": str(folder), "threads": count, "reports": reports}
            base = "f1chexbert"
            run = worker(f1chexbert, "f1chexbert_worker.py", job)
            found.append(Contender(base, count, base, n, run))
        found += [
            Contender(name, count, base, n, with_threads(count, work))
            for name, work in ways.items()
        ]
    return found


def with_threads(count: int, work: Callable[[], object]) -> Callable[[], Seconds]:
    """Times work on so many threads of torch."""

    def run() -> Seconds:
        torch.set_num_threads(count)
        return timed(work)

    return run


@torch.no_grad()
def in_order(
    network: Chexbert, vocabulary: Vocabulary, reports: Sequence[str], size: int
) -> list[list[int]]:
    """Batches in order of arrival, each padded to its longest; tokens are made one by one."""
    found: list[list[int]] = []
    for start in range(0, len(reports), size):
        rows = [vocabulary.ids([report])[0] for report in reports[start : start + size]]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        found += network(ids, mask).argmax(dim=2).tolist()
    return found


def show(contenders: Sequence[Contender], rounds: Sequence[Sequence[Seconds]]) -> None:
    """A line for each contender: rates, and ratios to what it is compared with."""
    print(f"{'labeler':28}{'threads':>8}{'/s wall':>10}{'/s CPU':>10}  ratio wall, CPU")
    rates = {
        (each.name, each.threads): [
            [each.count / seconds[index][clock] for seconds in rounds] for clock in (0, 1)
        ]
        for index, each in enumerate(contenders)
    }
    for each in contenders:
        wall, cpu = own = rates[each.name, each.threads]
        line = f"{each.name:28}{each.threads:8}"
        line += f"{statistics.median(wall):10.1f}{statistics.median(cpu):10.1f}"
        base = rates.get((each.base, each.threads))
        if base and each.name != each.base:
            ratios = [
                statistics.median(a / b for a, b in zip(mine, theirs, strict=True))
                for mine, theirs in zip(own, base, strict=True)
            ]
            line += f"  {ratios[0]:.2f}, {ratios[1]:.2f} x {each.base}"
        print(line)


if __name__ == "__main__":
    main()
