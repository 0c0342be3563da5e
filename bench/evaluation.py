"""How long an evaluation takes, and against pycocoevalcap and RadEval for what they also compute.

    python bench/evaluation.py [--reports 3000] [--resamples 1000] [--rounds 3]

Texts are drawn from sentences of a chest X-ray vocabulary, so nothing is needed but the package
and, for the comparison, pycocoevalcap (the `dev` extra) and, where it is installed, RadEval (2.2.1
installs beside this package's versions; in an environment of its own, it brings spaCy and more).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec

os.environ.setdefault("OMP_NUM_THREADS", "2")

from mrg_r1.evaluate import evaluate
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.metrics.overlap import References, bleu, bleu_terms, cider, ngrams, rouge_l
from mrg_r1.metrics.text import TextPreparation
from mrg_r1.records import Prediction

PLACES = ("left", "right", "bilateral", "left lower lobe", "right upper lobe", "basilar")
THINGS = (
    *("pleural effusion", "pneumothorax", "focal consolidation", "interstitial edema"),
    *("airspace opacity", "atelectasis", "rib fracture", "nodule", "pneumonia"),
)
FRAMES = (
    *("There is a small {place} {thing}.", "No {thing}.", "No {thing} or {other}."),
    *("Possible {place} {thing}.", "The {place} {thing} is unchanged.", "Heart size is normal."),
    *("The cardiomediastinal silhouette is within normal limits.", "The lungs are clear."),
)


def draw(generator: random.Random) -> str:
    """A report of three to nine sentences."""
    return " ".join(
        generator.choice(FRAMES).format(
            place=generator.choice(PLACES),
            thing=generator.choice(THINGS),
            other=generator.choice(THINGS),
        )
        for _ in range(generator.randint(3, 9))
    )


def fastest(function: Callable[[], object], rounds: int) -> float:
    """Seconds of the fastest of several rounds."""
    seconds: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def whole(candidates: Sequence[str], references: Sequence[str], resamples: int) -> None:
    """Labels, all variants, overlap, baselines and the bootstrap."""
    predictions = [
        Prediction(str(i), str(i), "", "", report, reference)
        for i, (report, reference) in enumerate(zip(candidates, references, strict=True))
    ]
    train = list(reversed(references))
    evaluate(
        {"system": predictions},
        RulesLabeler(),
        train_references=train,
        text=TextPreparation.of("r2gen-iu", train),
        resamples=resamples,
    )


def compare(candidates: Sequence[str], references: Sequence[str], rounds: int) -> None:
    """Each overlap metric here and in pycocoevalcap, one after the other, as ratios."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    ours = {i: [text] for i, text in enumerate(candidates)}
    theirs = {i: [text] for i, text in enumerate(references)}

    def our_bleu() -> object:
        return bleu(bleu_terms(ngrams(candidates), ngrams(references)).sum(axis=0))

    def our_cider() -> object:
        prepared = References.of(references)
        return cider(ngrams(candidates), prepared.grams, prepared.frequencies)

    pairs = {
        "BLEU-1 to 4": (our_bleu, lambda: Bleu(4).compute_score(theirs, ours, verbose=0)),
        "ROUGE-L": (
            lambda: rouge_l(candidates, references),
            lambda: Rouge().compute_score(theirs, ours),
        ),
        "CIDEr": (our_cider, lambda: Cider().compute_score(theirs, ours)),
    }
    print(f"{'':14}{'here':>9}{'pycocoevalcap':>15}{'ratio':>8}{'RadEval':>10}{'ratio':>8}")
    for name, (here, there) in pairs.items():
        mine, other = fastest(here, rounds), fastest(there, rounds)
        line = f"{name:14}{mine:8.2f}s{other:14.2f}s{other / mine:7.0f}x"
        if radeval := of_radeval(name, candidates, references):
            seconds = fastest(radeval, rounds)
            line += f"{seconds:9.2f}s{seconds / mine:7.0f}x"
        print(line)


def of_radeval(
    name: str, candidates: Sequence[str], references: Sequence[str]
) -> Callable[[], object] | None:
    """RadEval's computation of a metric: BLEU for n = 1 to 4, and ROUGE-1, 2 and L with beta 1."""
    metric = {"BLEU-1 to 4": "bleu", "ROUGE-L": "rouge"}.get(name)
    if metric is None or find_spec("radeval") is None:
        return None
    from radeval import RadEval

    scorer = RadEval(metrics=[metric])
    return lambda: scorer(refs=list(references), hyps=list(candidates))


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reports", type=int, default=3000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    generator = random.Random(0)
    candidates, references = ([draw(generator) for _ in range(args.reports)] for _ in "cr")
    seconds = fastest(lambda: whole(candidates, references, args.resamples), args.rounds)
    words = sum(len(text.split()) for text in references) / len(references)
    print(f"{args.reports:,} reports of {words:.0f} words, {args.resamples:,} resamples")
    print(f"one system with all variants, overlap and baselines: {seconds:.1f} s\n")
    compare(candidates, references, args.rounds)


if __name__ == "__main__":
    main()
