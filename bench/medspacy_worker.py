"""medspaCy as a contender of `bench/labelers.py`, in a Python of its own.

Reads one line of JSON from standard input, `{"rules": [[phrase, kind], ...], "reports": [...]}`,
with the kinds of `mrg_r1.labelers.rules.lexicon`. Then labels all reports for each further line,
and answers it with the seconds that took, by the wall and by the processor.
"""

import json
import sys
import time

import medspacy
from loguru import logger
from medspacy.context import ConTextRule
from medspacy.target_matcher import TargetRule

CONTEXT = {
    "negation_before": ("NEGATED_EXISTENCE", "FORWARD"),
    "negation_after": ("NEGATED_EXISTENCE", "BACKWARD"),
    "hedge_before": ("POSSIBLE_EXISTENCE", "FORWARD"),
    "hedge_after": ("POSSIBLE_EXISTENCE", "BACKWARD"),
    "unsure": ("POSSIBLE_EXISTENCE", "BIDIRECTIONAL"),
    "normal": ("NEGATED_EXISTENCE", "BIDIRECTIONAL"),
    "enlarged": ("ENLARGED", "BIDIRECTIONAL"),
    "stable": ("STABLE", "BIDIRECTIONAL"),
    "versus": ("POSSIBLE_EXISTENCE", "BIDIRECTIONAL"),
    "stop": ("CONJ", "TERMINATE"),
}
TARGETS = {
    "abnormal",
    "hedged",
    "never_hedged",
    "only_negated",
    "only_asserted",
    "structure",
    "ignore",
}


def pipeline(rules):
    """Loads medspaCy with these phrases, and none of its own."""
    logger.remove()  # its sentence splitter logs each sentence
    parts = ["medspacy_pyrush", "medspacy_target_matcher"]
    nlp = medspacy.load(medspacy_enable=parts)
    nlp.add_pipe("medspacy_context", config={"rules": None})
    targets = [TargetRule(phrase, kind) for phrase, kind in rules if kind in TARGETS]
    cues = [
        ConTextRule(phrase, category, direction=direction)
        for phrase, kind in rules
        if kind in CONTEXT
        for category, direction in [CONTEXT[kind]]
    ]
    nlp.get_pipe("medspacy_target_matcher").add(targets)
    nlp.get_pipe("medspacy_context").add(cues)
    return nlp


def label(nlp, reports):
    """Mentions with their kind, negation and uncertainty: what a labeler would aggregate."""
    return [
        [(entity.label_, entity._.is_negated, entity._.is_uncertain) for entity in document.ents]
        for document in nlp.pipe(reports)
    ]


def main():
    """Answers each line with the seconds it took."""
    job = json.loads(sys.stdin.readline())
    nlp = pipeline(job["rules"])
    label(nlp, job["reports"][:5])
    print("ready", flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        label(nlp, job["reports"])
        print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)


if __name__ == "__main__":
    main()
