"""What the audit's parts compute: agreement, confusion, choice of samples, scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrg_r1.audit.agreement import Agreement, agreed, agreement, codes, disagreements, matrix
from mrg_r1.audit.cards import violations
from mrg_r1.audit.confusion import confusions
from mrg_r1.audit.load import Read
from mrg_r1.audit.scores import (
    ce_variants,
    choices,
    counted_mapping,
    denials,
    kind,
    other_scores,
)
from mrg_r1.audit.studies import Sample, choose, examples, natural
from mrg_r1.completion import render as completion_of
from mrg_r1.findings import Finding, Labels, Status
from mrg_r1.records import (
    Evaluation,
    FindingScore,
    Prediction,
    Score,
    SystemScores,
)

B, P, N, U = Status.BLANK, Status.POSITIVE, Status.NEGATIVE, Status.UNCERTAIN

# --- agreement of findings


@pytest.mark.parametrize(
    ("reference", "report", "kind"),
    [
        (P, P, "agree-positive"),
        (P, N, "polarity"),
        (P, B, "omission"),
        (P, U, "mismatch"),
        (N, P, "polarity"),
        (N, N, "agree-negative"),
        (N, B, "unsaid"),
        (N, U, "mismatch"),
        (B, P, "invention"),
        (B, N, "added"),
        (B, B, "silent"),
        (B, U, "mismatch"),
        (U, P, "mismatch"),
        (U, N, "mismatch"),
        (U, B, "mismatch"),
        (U, U, "agree-uncertain"),
    ],
)
def test_all_sixteen_agreements(reference: Status, report: Status, kind: str) -> None:
    assert agreement(reference, report).slug == kind


def test_marks_differ_so_that_colour_is_not_needed() -> None:
    marks = [kind.mark for kind in Agreement]
    assert len(set(marks)) == len(marks)


def test_chips_are_the_differences_with_errors_first_and_in_words() -> None:
    reference = Labels.of({Finding.EDEMA: N, Finding.PNEUMOTHORAX: P, Finding.FRACTURE: P})
    report = Labels.of({Finding.EDEMA: N, Finding.PNEUMOTHORAX: N, Finding.NO_FINDING: P})
    first, second = disagreements(reference, report)
    assert (first.finding, first.signs) == (Finding.PNEUMOTHORAX, "+\u2192\u2212")
    assert first.words == "polarity error: reference positive, report negative"
    assert (second.kind, second.signs) == ("omission", "")
    assert agreed(reference, report) == ("Edema\u00a0\u2212",)


def test_script_gets_the_same_kinds() -> None:
    kinds = matrix().split(" ")
    assert len(kinds) == 16
    for reference in Status:
        for report in Status:
            assert kinds[4 * reference + report] == agreement(reference, report).slug
    assert (
        codes(Labels.of({Finding.CARDIOMEGALY: U, Finding.NO_FINDING: P}))
        == "0" + "3" + "0" * 11 + "1"
    )


def test_confusion_counts_every_pair_once() -> None:
    every = [(reference, report) for reference in Status for report in Status]
    readings = _reads(
        reference={str(i): pair[0] for i, pair in enumerate(every)} | {"unread": P},
        srl={str(i): pair[1] for i, pair in enumerate(every)},
    )
    found = confusions(readings, ["start", "srl"])
    (table,) = found[Finding.EDEMA]
    assert (table.system, table.column) == ("srl", 1)
    assert [[cell.n for cell in row] for row in table.rows] == [[1] * 4] * 4
    assert table.rows[0][1].kind is Agreement.POLARITY
    assert {kind: table.count(kind) for kind in Agreement} == {
        Agreement.POLARITY: 2,
        Agreement.OMISSION: 1,
        Agreement.INVENTION: 1,
        Agreement.MISMATCH: 6,
        Agreement.AGREE_POSITIVE: 1,
        Agreement.AGREE_NEGATIVE: 1,
        Agreement.AGREE_UNCERTAIN: 1,
        Agreement.UNSAID: 1,
        Agreement.ADDED: 1,
        Agreement.SILENT: 1,
    }
    assert table.errors == 10
    (normal,) = found[Finding.NO_FINDING]
    assert [[cell.n for cell in row] for row in normal.rows] == [[0, 0], [0, 16]]


# --- which samples are shown


def _sample(id_: str, change: float | None) -> Sample:
    prediction = Prediction(id_, id_, "", "", "", "")
    labels = Labels.of({})
    reads = {"start": Read(labels, 0.5, 0.0), "srl": Read(labels, 0.5 + (change or 0), 0.0)}
    return Sample(id_, dict.fromkeys(reads, prediction), None, {} if change is None else reads)


def test_choice_is_spread_over_the_change_in_reward() -> None:
    candidates = [_sample(str(i), (i - 50) / 100) for i in range(100)]
    selection = choose(candidates, 10)
    assert [s.id for s in selection.samples[:3]] == ["99", "98", "97"]
    assert [s.id for s in selection.samples[-3:]] == ["2", "1", "0"]
    assert [s.id for s in selection.samples[3:7]] == ["85", "61", "38", "14"]
    assert selection.how == (
        "10 of 100 samples: the 3 with the largest change in reward (+.49 to +.47), the 3 with the "
        "smallest (\u2212.48 to \u2212.50), and 4 evenly spaced between. "
        "Largest change in reward first."
    )


@given(st.lists(st.floats(-1, 1), max_size=40), st.integers(0, 30))
def test_choice_has_no_sample_twice(changes: list[float], most: int) -> None:
    candidates = [_sample(str(i), change) for i, change in enumerate(changes)]
    chosen = choose(candidates, most).samples
    assert len(chosen) == min(most, len(candidates))
    assert len({sample.id for sample in chosen}) == len(chosen)
    shown = [sample.change for sample in chosen]
    assert shown == sorted(shown, key=lambda change: -(change or 0))


def test_choice_without_rewards_says_so() -> None:
    candidates = [_sample(str(i), None) for i in range(10)]
    selection = choose(candidates, 5)
    assert [s.id for s in selection.samples] == ["1", "3", "5", "7", "9"]
    assert selection.how == "5 of 10 samples, evenly spaced. In the order of their ids."


def test_ids_sort_by_their_numbers() -> None:
    assert sorted(["s10", "s9", "10", "s", "9"], key=natural) == ["9", "10", "s", "s9", "s10"]


def test_examples_name_denials_that_came_and_went() -> None:
    def read(status: Status) -> Read:
        return Read(Labels.of({Finding.PNEUMOTHORAX: status}), 0.5, 0.0)

    def sample(id_: str, reference: Status, before: Status, after: Status) -> Sample:
        predictions = dict.fromkeys(("start", "srl"), Prediction(id_, id_, "", "", "", ""))
        return Sample(
            id_, predictions, read(reference), {"start": read(before), "srl": read(after)}
        )

    mended, broken, neither = sample("a", P, N, P), sample("b", P, P, N), sample("c", N, P, N)
    found = examples([mended, mended, broken, neither])
    assert [(e.anchor, e.finding, e.mended) for e in found] == [
        ("study-1", "Pneumothorax", True),
        ("study-3", "Pneumothorax", False),
    ]


def test_form_is_judged_only_where_parsing_agrees_with_the_record() -> None:
    clean = Prediction("a", "a", completion_of("seen", "clear"), "seen", "clear", "")
    assert violations(clean) == ()
    bare = dataclasses.replace(clean, completion="<report>clear</report>", think="")
    assert violations(bare) == ("no think part",)
    prefilled = dataclasses.replace(clean, completion="seen</think><report>clear</report>")
    assert violations(prefilled) == ()


# --- scores


@pytest.mark.parametrize(
    ("system", "role"),
    [
        ("start", "start"),
        ("srl", "srl"),
        ("constant-normal", "baseline"),
        ("constant-best-f1-oracle", "baseline"),
        ("random-train", "baseline"),
        ("nearest-train", "baseline"),
        ("r2gen", "other"),
        ("constantly", "other"),
    ],
)
def test_roles_of_systems(system: str, role: str) -> None:
    assert kind(system) == role


def _score(value: float, half: float = 0.03, **keys: object) -> Score:
    signature = {
        "labeler": "drawn@0",
        "uncertain": "positive",
        "labels": 13,
        "avg": "micro",
        "n": 9,
    }
    text = "|".join(f"{key}:{item}" for key, item in (signature | keys).items())
    return Score("ce_f1", value, value - half, value + half, text)


def _evaluation(**systems: Iterable[Score]) -> Evaluation:
    return Evaluation(
        tuple(SystemScores(n.replace("_", "-"), 9, tuple(s)) for n, s in systems.items())
    )


def test_variants_hold_all_systems_in_order_and_lose_no_score() -> None:
    micro, macro = _score(0.5), _score(0.2, avg="macro")
    stray = _score(0.4, n=8)
    evaluation = _evaluation(
        constant_normal=[micro], other=[micro], srl=[micro, macro, stray], start=[macro, micro]
    )
    first, second = ce_variants(evaluation)
    assert first.key == ("micro", "13", "positive")
    assert [row.system for row in first.rows] == ["start", "srl", "srl", "other", "constant-normal"]
    assert second.key == ("macro", "13", "positive")
    assert [row.system for row in second.rows] == ["start", "srl"]


def test_choice_of_variant_falls_back_to_the_nearest_there_is() -> None:
    everything = _evaluation(srl=[_score(0.5, avg="macro"), _score(0.5), _score(0.5, labels=14)])
    assert choices(ce_variants(everything)).default == ("micro", "13", "positive")
    little = _evaluation(srl=[_score(0.5, avg="macro", labels=14, uncertain="negative")])
    found = choices(ce_variants(little))
    assert found.default == ("macro", "14", "negative")
    assert (found.average, found.labels, found.uncertain) == (("macro",), ("14",), ("negative",))


def test_other_scores_stand_in_one_row_per_metric_and_signature() -> None:
    ccs = Score("ccs", 0.5, 0.4, 0.6, "n:9")
    evaluation = _evaluation(start=[ccs, _score(0.3)], srl=[dataclasses.replace(ccs, value=0.7)])
    names, rows = other_scores(evaluation)
    assert names == ("start", "srl")
    (row,) = rows
    assert (row.metric, [score and score.value for score in row.scores]) == ("ccs", [0.5, 0.7])


def _reads(**systems: Mapping[str, Status]) -> dict[tuple[str, str], Read]:
    """Readings of edema, by system and id."""
    return {
        (id_, system): Read(Labels.of({Finding.EDEMA: status}), 0.5, 0.0)
        for system, statuses in systems.items()
        for id_, status in statuses.items()
    }


def test_denials_are_a_no_under_a_yes_and_nothing_else() -> None:
    every = [(reference, report) for reference in (B, P, N, U) for report in (B, P, N, U)]
    readings = _reads(
        reference={str(i): pair[0] for i, pair in enumerate(every)},
        start={str(i): pair[1] for i, pair in enumerate(every)},
    )
    assert denials(readings, "start") == 1
    assert denials(readings, "start", Finding.EDEMA) == 1
    assert denials(readings, "start", Finding.FRACTURE) == 0
    assert denials(readings, "srl") is None


def test_mapping_of_the_counts_is_found_by_counting_again() -> None:
    readings = _reads(reference={"a": P, "b": U, "c": N}, srl={"a": U, "b": U, "c": N})

    def counted(tp: int, fp: int, fn: int) -> str:
        score = FindingScore("Edema", tp, fp, fn, 0.0, 0.0, 0.0)
        return counted_mapping(Evaluation((SystemScores("srl", 3, (), (score,)),)), readings)

    assert counted(2, 0, 0) == "positive"
    assert counted(0, 0, 1) == "negative"
    assert counted(1, 1, 1) == ""
    assert counted_mapping(Evaluation(), readings) == ""
