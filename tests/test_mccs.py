import math
import pickle
import re
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from literal_labeler import LiteralLabeler, write
from mrg_r1.completion import render
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.findings import DISEASES, FINDINGS, Finding, Labels, Status
from mrg_r1.labelers.cached import CachedLabeler
from mrg_r1.metrics.arrays import Floats
from mrg_r1.metrics.cosine import EPSILON, ccs, mccs, signed
from mrg_r1.rewards.mccs import MccsReward
from mrg_r1.rewards.rarity import rarity_weights

STATUSES = st.sampled_from(Status)
LABELS = st.builds(
    lambda thirteen, normal: Labels((*thirteen, normal)),
    st.tuples(*[STATUSES] * len(DISEASES)),
    st.sampled_from([Status.BLANK, Status.POSITIVE]),
)
MARGINS = st.floats(-0.99, 0.99)

REFERENCE = "Edema+, Pneumonia-, Pneumothorax-, Fracture-, Consolidation-, Lung Lesion-"
NEGATIVES = REFERENCE.removeprefix("Edema+, ")
POSITIVE_ONLY = 1 / math.sqrt(6)

# What a cornered policy would write, its CCS with REFERENCE, by hand.
HOSTILE = {
    "the reference": (f"<think>a</think><report>{REFERENCE}</report>", 1.0),
    "no think part": (f"<report>{REFERENCE}</report>", 1.0),
    "nothing": ("", 0.0),
    "findings without tags": (REFERENCE, 0.0),
    "findings in the think part only": (f"<think>{REFERENCE}</think><report></report>", 0.0),
    "findings in the think part, no report": (f"<think>{REFERENCE}</think>", 0.0),
    "findings after the report": (f"<think>a</think><report>fine</report>{REFERENCE}", 0.0),
    "findings before think": (f"{REFERENCE}<think>a</think><report>fine</report>", 0.0),
    "two reports": (f"<think>a</think><report>{REFERENCE}</report><report>Edema-</report>", 0.0),
    "the same report twice": (f"<report>{REFERENCE}</report>" * 2, 0.0),
    "trailing junk": (f"<think>a</think><report>{REFERENCE}</report>Edema-", 1.0),
    "cut by the length limit": (f"<think>a</think><report>{REFERENCE}", 1.0),
    "no findings in the report": ("<think>a</think><report>see above</report>", 0.0),
    "positive omitted": (render("a", NEGATIVES), 5 / math.sqrt(5 * 6)),
    "one hallucinated": (render("a", REFERENCE + ", Atelectasis+"), 6 / math.sqrt(7 * 6)),
    "polarity flipped": (render("a", "Edema-, " + NEGATIVES), 4 / 6),
    "only the positive": (render("a", "Edema+"), POSITIVE_ONLY),
    "only the positive, hedged": (render("a", "Edema?"), POSITIVE_ONLY),
    "No Finding does not count": (render("a", "Edema+, No Finding+"), POSITIVE_ONLY),
    "all flipped": (render("a", REFERENCE.translate(str.maketrans("+-", "-+"))), -1.0),
    "everything positive": (render("a", ", ".join(f"{f.value}+" for f in DISEASES)), -4 / 78**0.5),
    "everything uncertain": (render("a", ", ".join(f"{f.value}?" for f in DISEASES)), -4 / 78**0.5),
    "everything negative": (render("a", ", ".join(f"{f.value}-" for f in DISEASES)), 4 / 78**0.5),
}


def reward_of(cosine: float, margin: float = 0.3) -> float:
    return max((cosine - margin) / (1 - margin), 0.0)


@pytest.mark.parametrize(("completion", "cosine"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_completions(completion: str, cosine: float) -> None:
    (reward,) = MccsReward.paper(LiteralLabeler())([completion], [REFERENCE])
    assert reward == pytest.approx(reward_of(cosine), abs=1e-7)


def test_published_values_of_five_negatives_and_one_positive() -> None:
    names = ("positive omitted", "one hallucinated", "polarity flipped", "only the positive")
    assert [round(HOSTILE[name][1], 3) for name in names] == [0.913, 0.926, 0.667, 0.408]


def test_a_batch_is_each_of_its_rows() -> None:
    completions = [completion for completion, _ in HOSTILE.values()]
    reward = MccsReward(LiteralLabeler())
    batch = reward(completions, [REFERENCE] * len(completions))
    assert batch == [reward([completion], [REFERENCE])[0] for completion in completions]
    assert all(type(value) is float for value in batch)
    assert reward([], []) == []


def test_conversational_completions_and_unknown_columns() -> None:
    text = HOSTILE["the reference"][0]
    completions = [
        [{"role": "assistant", "content": text}],
        [{"role": "assistant", "content": [{"type": "text", "text": text}]}],
    ]
    reward = MccsReward(LiteralLabeler())
    rewards = reward(completions, [REFERENCE] * 2, prompts=[1, 2], completion_ids=[[1], [2]])
    assert rewards == reward([text] * 2, [REFERENCE] * 2)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("", "reference 1 is empty"),
        (" \n", "reference 1 is empty"),
        (None, "reference 1 is not text"),
        (["Edema+"], "reference 1 is not text"),
    ],
)
def test_a_bad_reference_is_the_datas_fault(reference: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        MccsReward(LiteralLabeler())(["a", "b"], ["Edema+", reference])  # type: ignore[list-item]


def test_lengths_must_match() -> None:
    with pytest.raises(DataError, match="2 completions but 1 references"):
        MccsReward(LiteralLabeler())(["a", "b"], ["Edema+"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 1.0}, "margin is 1.0"),
        ({"margin": -1.0}, "margin is -1.0"),
        ({"margin": math.nan}, "margin is nan"),
        ({"both_empty": 1.5}, "both_empty is 1.5"),
        ({"both_empty": math.nan}, "both_empty is nan"),
        ({"negative_weight": -0.1}, "negative_weight is -0.1"),
        ({"negative_weight": math.inf}, "negative_weight is inf"),
        ({"uncertain": 1.1}, "uncertain is 1.1"),
    ],
)
def test_options_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MccsReward(LiteralLabeler(), **options)


def test_a_margin_below_zero_pays_for_saying_nothing_and_warns() -> None:
    with pytest.warns(UserWarning, match="says nothing"):
        reward = MccsReward(LiteralLabeler(), margin=-0.5)
    assert reward([render("a", "see above"), ""], ["Edema+"] * 2) == pytest.approx([1 / 3, 0.0])


def test_both_empty() -> None:
    completions = [render("a", "fine"), render("a", "Edema-"), "", "<think>a</think>"]
    blank = ["nothing of note"] * len(completions)
    assert MccsReward.paper(LiteralLabeler())(completions, blank) == [0.0] * 4
    assert MccsReward(LiteralLabeler(), both_empty=1.0)(completions, blank) == [1.0, 0.0, 0.0, 0.0]


def test_negative_weight_devalues_a_template() -> None:
    completions = [render("a", NEGATIVES), render("a", "Edema+")]
    template, finding = MccsReward(LiteralLabeler(), margin=0.0, negative_weight=0.3)(
        completions, [REFERENCE] * 2
    )
    norm = math.sqrt(1 + 5 * 0.09)
    assert template == pytest.approx(math.sqrt(5 * 0.09) / norm)
    assert finding == pytest.approx(1 / norm)


def test_graded_uncertainty_pays_hedging_less() -> None:
    completions = [render("a", "Edema?, Pneumonia-"), render("a", "Edema+, Pneumonia-")]
    reference = ["Edema+, Pneumonia-"] * 2
    paper = MccsReward.paper(LiteralLabeler())(completions, reference)
    hedged, asserted = MccsReward(LiteralLabeler(), margin=0.0, uncertain=0.5)(
        completions, reference
    )
    assert paper[0] == paper[1]
    assert hedged == pytest.approx(1.5 / math.sqrt(1.25 * 2))
    assert asserted == pytest.approx(1.0)


def test_references_are_labelled_once_and_each_text_once() -> None:
    labeler = LiteralLabeler()
    reward = MccsReward(labeler)
    reward([render("a", "Edema+")] * 4, ["Edema-"] * 4)
    reward([render("a", "Edema?")] * 4, ["Edema-"] * 4)
    assert labeler.asked == [["Edema-", "Edema+"], ["Edema?"]]


def test_blank_references_show_in_the_log() -> None:
    logged: dict[str, float] = {}
    MccsReward(LiteralLabeler())(
        ["a"] * 4, ["Edema+", "none", "none", "Edema-"], log_metric=logged.__setitem__
    )
    assert logged == {"mccs/blank_reference": 0.5}


def test_name_and_pickle() -> None:
    reward = MccsReward(LiteralLabeler(), margin=0.1)
    copy = pickle.loads(pickle.dumps(reward))
    assert reward.__name__ == "mccs"
    assert copy == reward
    assert copy([HOSTILE["the reference"][0]], [REFERENCE]) == pytest.approx([1.0])


class _Forgetful(LiteralLabeler):
    def label(self, reports: Sequence[str]) -> list[Labels]:
        return super().label(reports)[:-1]


def test_a_labeler_that_loses_a_report_is_not_survived() -> None:
    with pytest.raises(ValueError, match="shorter"):
        MccsReward(_Forgetful())(["a"], ["Edema+"])


def scalar_ccs(generated: Labels, reference: Labels) -> float:
    """Eqs. 3 to 5 written as the paper writes them, for one pair."""
    value = {Status.POSITIVE: 1, Status.NEGATIVE: -1, Status.UNCERTAIN: 1, Status.BLANK: 0}
    pairs = [
        (value[generated[finding]], value[reference[finding]])
        for finding in FINDINGS
        if finding is not Finding.NO_FINDING
    ]
    norms = [math.sqrt(sum(pair[side] ** 2 for pair in pairs)) + 1e-8 for side in (0, 1)]
    return sum(a * b for a, b in pairs) / (norms[0] * norms[1])


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=8))
def test_vectorised_equals_scalar(pairs: list[tuple[Labels, Labels]]) -> None:
    generated, reference = (signed(side) for side in zip(*pairs, strict=True))
    expected = [scalar_ccs(*pair) for pair in pairs]
    np.testing.assert_allclose(ccs(generated, reference), expected, rtol=0, atol=1e-12)


@given(LABELS, LABELS, MARGINS)
def test_ranges_and_symmetry(a: Labels, b: Labels, margin: float) -> None:
    one, other = signed([a]), signed([b])
    cosine = ccs(one, other)
    assert -1 <= cosine[0] <= 1
    assert cosine == ccs(other, one)
    assert 0 <= mccs(cosine, margin)[0] <= 1
    assert (cosine[0] > 1 - 1e-6) == bool((one == other).all() and one.any())


@given(LABELS, LABELS, MARGINS, st.floats(0, 1), st.floats(0, 1), st.floats(-1, 1))
def test_every_option_keeps_the_reward_in_range(
    a: Labels, b: Labels, margin: float, both_empty: float, negative_weight: float, uncertain: float
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reward = MccsReward(LiteralLabeler(), margin, both_empty, negative_weight, uncertain)
    (value,) = reward([render("a", write(a))], [write(b)])
    assert 0 <= value <= 1


@given(LABELS, LABELS, st.floats(0, 0.99))
def test_the_closed_form(generated: Labels, reference: Labels, margin: float) -> None:
    """(agreements - conflicts) / sqrt(n_generated x n_reference), then the margin."""
    affirmed = (Status.POSITIVE, Status.UNCERTAIN)
    stated = [
        (generated[f], reference[f])
        for f in DISEASES
        if Status.BLANK not in (generated[f], reference[f])
    ]
    agreements = sum((a in affirmed) == (b in affirmed) for a, b in stated)
    conflicts = len(stated) - agreements
    sizes = [sum(side[f] is not Status.BLANK for f in DISEASES) for side in (generated, reference)]
    cosine = (agreements - conflicts) / math.sqrt(math.prod(sizes)) if all(sizes) else 0.0
    (reward,) = MccsReward(LiteralLabeler(), margin)(
        [render("a", write(generated))], [write(reference)]
    )
    assert reward == pytest.approx(reward_of(cosine, margin), abs=1e-5)


NEGATIVES_OF_FIVE = ", ".join(f"{f.value}-" for f in DISEASES[:5])
WORKED = {
    "equal": ("Edema+, Fracture-", "Edema+, Fracture-", 1.0),
    "hedged is equal": ("Edema?, Fracture-", "Edema+, Fracture-", 1.0),
    "a silent reference": ("Edema+, Fracture-", "nothing", 0.0),
    "a silent report": ("nothing", "Edema+, Fracture-", 0.0),
    "both silent": ("nothing", "nothing", 0.0),
    "positive omitted": (NEGATIVES_OF_FIVE, NEGATIVES_OF_FIVE + ", Fracture+", 0.913),
    "one hallucinated": (
        NEGATIVES_OF_FIVE + ", Fracture+, Pneumonia+",
        NEGATIVES_OF_FIVE + ", Fracture+",
        0.926,
    ),
    "positive flipped": (
        NEGATIVES_OF_FIVE + ", Fracture-",
        NEGATIVES_OF_FIVE + ", Fracture+",
        0.667,
    ),
    "only the positive": ("Fracture+", NEGATIVES_OF_FIVE + ", Fracture+", 0.408),
}


@pytest.mark.parametrize("margin", [0.0, 0.3, 0.7])
@pytest.mark.parametrize(("report", "reference", "cosine"), WORKED.values(), ids=WORKED.keys())
def test_worked_cases(report: str, reference: str, cosine: float, margin: float) -> None:
    (reward,) = MccsReward.paper(LiteralLabeler(), margin)([render("a", report)], [reference])
    # The cosines are given to three places; the margin's slope magnifies what they leave out.
    assert reward == pytest.approx(reward_of(cosine, margin), abs=0.0005 / (1 - margin))


TRAINING = [
    Labels.of({Finding.PNEUMOTHORAX: Status.NEGATIVE, Finding.EDEMA: Status.POSITIVE}),
    Labels.of({Finding.PNEUMOTHORAX: Status.NEGATIVE, Finding.FRACTURE: Status.UNCERTAIN}),
    Labels.of({Finding.PNEUMOTHORAX: Status.NEGATIVE, Finding.FRACTURE: Status.POSITIVE}),
    Labels.of({Finding.PNEUMOTHORAX: Status.NEGATIVE}),
]


def test_rarity_is_inverse_frequency_up_to_a_cap() -> None:
    weights = dict(zip(DISEASES, rarity_weights(TRAINING, cap=3), strict=True))
    assert weights[Finding.PNEUMOTHORAX] == (3.0, 1.0)
    assert weights[Finding.EDEMA] == (3.0, 3.0)
    assert weights[Finding.FRACTURE] == (2.0, 3.0)


@pytest.mark.parametrize("cap", [1.0, 0.0, math.nan])
def test_a_cap_that_caps_nothing(cap: float) -> None:
    with pytest.raises(ConfigError, match="cap is"):
        rarity_weights(TRAINING, cap)


def test_rarity_needs_references() -> None:
    with pytest.raises(ConfigError, match="there are none"):
        rarity_weights([], 5)


def test_rarity_pays_what_few_reports_say_more_than_a_template() -> None:
    completions = [render("a", "Pneumothorax-"), render("a", "Edema+")]
    reference = ["Pneumothorax-, Edema+"] * 2
    plain = MccsReward(LiteralLabeler(), margin=0.0)(completions, reference)
    weighted = MccsReward(LiteralLabeler(), margin=0.0, rarity=rarity_weights(TRAINING, cap=3))(
        completions, reference
    )
    assert plain == pytest.approx([0.5**0.5] * 2)
    assert weighted == pytest.approx([1 / 10**0.5, 3 / 10**0.5])


@given(LABELS, LABELS)
def test_rarity_of_equal_frequencies_changes_nothing(a: Labels, b: Labels) -> None:
    texts = [render("a", write(a))], [write(b)]
    equal = ((1.0, 1.0),) * len(DISEASES)
    assert MccsReward(LiteralLabeler(), rarity=equal)(*texts) == MccsReward(LiteralLabeler())(
        *texts
    )


class _Unsure(LiteralLabeler):
    """Believes 'Edema+0.7' with probability 0.7, and all else that is written for sure."""

    def probabilities(self, reports: Sequence[str]) -> Floats:
        found = np.zeros((len(reports), len(FINDINGS), len(Status)))
        for row, (report, labels) in enumerate(zip(reports, self.label(reports), strict=True)):
            for column, (finding, status) in enumerate(labels.items()):
                match = re.search(rf"{finding.value}[+?-]([\d.]+)", report)
                sure = float(match[1]) if match else 1.0
                found[row, column, status] = sure
                found[row, column, Status.BLANK] += 1 - sure
        return found


@given(LABELS, LABELS, MARGINS)
def test_certain_probabilities_are_labels(a: Labels, b: Labels, margin: float) -> None:
    texts = [render("a", write(a))], [write(b)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        soft = MccsReward(_Unsure(), margin, soft=True)(*texts)
        assert soft == pytest.approx(MccsReward(_Unsure(), margin)(*texts), abs=1e-6)


def test_soft_labels_grade_what_labels_round() -> None:
    completions = [render("a", f"Edema+{p}, Fracture-") for p in ("0.2", "0.4", "0.6", "1.0")]
    reward = MccsReward(_Unsure(), margin=0.0, soft=True)
    graded = reward(completions, ["Edema+, Fracture-"] * 4)
    assert graded == sorted(graded)
    assert graded[-1] == pytest.approx(1.0)
    assert graded[1] == pytest.approx(1.4 / math.sqrt(1.4 * 2))


def test_soft_noise_is_no_opinion() -> None:
    whisper = render("a", ", ".join(f"{f.value}-0.01" for f in DISEASES))
    reference = ", ".join(f"{f.value}-" for f in DISEASES)
    (value,) = MccsReward(_Unsure(), margin=0.0, soft=True)([whisper], [reference])
    assert value == pytest.approx(0.1)


def test_soft_looks_through_caches_and_reads_each_text_once() -> None:
    labeler = _Unsure()
    reward = MccsReward(CachedLabeler(labeler), soft=True)
    assert reward([], []) == []
    reward([render("a", "Edema+")] * 3, ["Edema+"] * 3)
    assert labeler.asked[-1] == ["Edema+"]


def test_soft_needs_probabilities() -> None:
    with pytest.raises(ConfigError, match="literal@1 gives no probabilities"):
        MccsReward(CachedLabeler(LiteralLabeler()), soft=True)


def test_epsilon_is_the_papers() -> None:
    (cosine,) = ccs(*[signed([Labels.of({Finding.EDEMA: Status.POSITIVE})])] * 2)
    assert EPSILON == 1e-8
    assert cosine == pytest.approx(1 - 2e-8, abs=1e-12)
