"""No study may learn of itself, or of what came after it, from its previous study."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mrg_r1.data.priors import Span, with_priors
from mrg_r1.data.study import Prior, Study


def study(name: str, patient: str = "p", split: str = "train") -> Study:
    return Study(name, (), split, findings=f"of {name}", impression="I.", patient=patient)


def priors(*listed: tuple[Study, Span | None]) -> dict[str, str]:
    spans = {study.id: span for study, span in listed if span}
    found = with_priors([study for study, _ in listed], spans)
    assert [study.id for study in found] == [study.id for study, _ in listed]
    return {study.id: study.prior.study_id for study in found if study.prior}


def at(time: str, last: str = "") -> Span:
    return Span(time, last or time)


def test_the_latest_earlier_study_of_the_patient_is_the_prior():
    listed = [
        (study("late"), at("3")),
        (study("early"), at("1")),
        (study("middle"), at("2")),
        (study("other", patient="q"), at("0")),
    ]
    assert priors(*listed) == {"late": "middle", "middle": "early"}
    found = with_priors([study("a"), study("b")], {"a": at("1"), "b": at("2")})
    assert found[1].prior == Prior("a", "of a", "I.", ())


def test_studies_of_one_time_or_that_overlap_are_not_each_others_priors():
    assert priors((study("a"), at("1")), (study("b"), at("1"))) == {}
    assert priors((study("a"), at("1", "3")), (study("b"), at("2"))) == {}
    assert priors((study("a"), at("1", "2")), (study("b"), at("2", "3"))) == {}


def test_another_split_or_patient_no_time_or_no_patient_give_none():
    assert priors((study("a", split="test"), at("1")), (study("b"), at("2"))) == {}
    assert priors((study("a", patient="q"), at("1")), (study("b"), at("2"))) == {}
    assert priors((study("a"), None), (study("b"), at("2"))) == {}
    assert priors((study("a"), at("1")), (study("b"), None)) == {}
    assert priors((study("a", patient=""), at("1")), (study("b", patient=""), at("2"))) == {}


times = st.integers(0, 6)
entries = st.tuples(st.sampled_from("pq"), st.sampled_from(["train", "test"]), times, times)


@given(st.lists(entries, max_size=12))
def test_a_prior_was_over_before_its_study_began(rows: list[tuple[str, str, int, int]]):
    studies = [study(f"s{n}", patient, split) for n, (patient, split, *_) in enumerate(rows)]
    spans = {f"s{n}": Span(str(min(a, b)), str(max(a, b))) for n, (*_, a, b) in enumerate(rows)}
    known = {study.id: study for study in studies}
    for found in with_priors(studies, spans):
        before = {
            other.id
            for other in studies
            if (other.patient, other.split) == (found.patient, found.split)
            and spans[other.id].last < spans[found.id].first
        }
        assert bool(before) == (found.prior is not None)
        if found.prior:
            assert found.prior.study_id in before
            assert spans[found.prior.study_id].last == max(spans[name].last for name in before)
            assert found.prior.findings == known[found.prior.study_id].findings
