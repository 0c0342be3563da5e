import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from literal_labeler import LiteralLabeler, write
from mrg_r1.completion import render
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.findings import DISEASES, FINDINGS, FIVE, Labels, Status
from mrg_r1.rewards.ce_f1 import CeF1Reward

LABELS = st.builds(
    lambda thirteen, normal: Labels((*thirteen, normal)),
    st.tuples(*[st.sampled_from(Status)] * len(DISEASES)),
    st.sampled_from([Status.BLANK, Status.POSITIVE]),
)
REFERENCE = "Edema+, Pneumonia+, Pneumothorax-, Fracture-"
EVERYTHING = ", ".join(f"{f.value}+" for f in DISEASES)

# What a cornered policy would write, its F1 with REFERENCE over 14 findings, by hand.
HOSTILE = {
    "the reference": (render("a", REFERENCE), 1.0),
    "only its positives": (render("a", "Edema+, Pneumonia+"), 1.0),
    "hedged": (render("a", "Edema?, Pneumonia?"), 1.0),
    "one of two": (render("a", "Edema+"), 2 / 3),
    "one of two, and one invented": (render("a", "Edema+, Fracture+"), 1 / 2),
    "everything affirmed": (render("a", EVERYTHING), 4 / 15),
    "everything denied": (render("a", EVERYTHING.replace("+", "-")), 0.0),
    "called normal": (render("a", "No Finding+"), 0.0),
    "negatives flipped": (render("a", REFERENCE.replace("-", "+")), 4 / 6),
    "nothing": ("", 0.0),
    "without tags": (REFERENCE, 0.0),
    "in the think part only": (f"<think>{REFERENCE}</think><report></report>", 0.0),
    "two reports": (f"<report>{REFERENCE}</report>" * 2, 0.0),
    "cut by the length limit": (f"<think>a</think><report>{REFERENCE}", 1.0),
}


@pytest.mark.parametrize(("completion", "expected"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_completions(completion: str, expected: float) -> None:
    assert CeF1Reward(LiteralLabeler())([completion], [REFERENCE]) == pytest.approx([expected])


def test_no_finding_counts_among_14_only() -> None:
    normal = render("a", "No Finding+"), "No Finding+, Fracture-"
    for labels, expected in ((14, 1.0), (13, 0.0), (5, 0.0)):
        assert CeF1Reward(LiteralLabeler(), labels)([normal[0]], [normal[1]]) == [expected]


def test_what_nobody_affirms_earns_both_empty() -> None:
    completions = [render("a", "Edema-"), render("a", "Edema+"), "", "Edema-"]
    reward = CeF1Reward(LiteralLabeler(), labels=13, both_empty=0.5)
    assert reward(completions, ["Fracture-"] * 4) == [0.5, 0.0, 0.0, 0.0]


def test_uncertain_as_negative() -> None:
    reward = CeF1Reward(LiteralLabeler(), uncertain="negative")
    assert reward([render("a", "Edema?, Pneumonia+")], [REFERENCE]) == pytest.approx([2 / 3])


@given(LABELS, LABELS, st.sampled_from([14, 13, 5]), st.sampled_from(["positive", "negative"]))
def test_it_is_the_f1_of_one_report(a: Labels, b: Labels, labels: int, uncertain: str) -> None:
    stated = {Status.POSITIVE, Status.UNCERTAIN} if uncertain == "positive" else {Status.POSITIVE}
    findings = {14: FINDINGS, 13: DISEASES, 5: FIVE}[labels]
    ours, theirs = ({f for f in findings if side[f] in stated} for side in (a, b))
    whole = len(ours) + len(theirs)
    expected = 2 * len(ours & theirs) / whole if whole else 0.0
    reward = CeF1Reward(LiteralLabeler(), labels, uncertain)  # type: ignore[arg-type]
    assert reward([render("a", write(a))], [write(b)]) == pytest.approx([expected])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": 12}, "labels is 12"),
        ({"uncertain": "blank"}, "uncertain is 'blank'"),
        ({"both_empty": math.nan}, "both_empty is nan"),
    ],
)
def test_options_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CeF1Reward(LiteralLabeler(), **options)  # type: ignore[arg-type]


def test_a_bad_reference_is_the_datas_fault() -> None:
    with pytest.raises(DataError, match="ce_f1: reference 1 is empty"):
        CeF1Reward(LiteralLabeler())(["a", "b"], ["Edema+", " "])


def test_a_batch_one_call_and_pickle() -> None:
    labeler = LiteralLabeler()
    reward = CeF1Reward(labeler)
    completions = [completion for completion, _ in HOSTILE.values()]
    values = reward(completions, [REFERENCE] * len(completions), prompts=["p"])
    assert values == pytest.approx([expected for _, expected in HOSTILE.values()])
    assert all(type(value) is float for value in values)
    assert len(labeler.asked) == 1
    assert reward([], []) == []
    assert pickle.loads(pickle.dumps(reward)) == reward
    assert reward.__name__ == "ce_f1"
