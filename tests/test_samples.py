from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrg_r1.data.samples import samples
from mrg_r1.data.study import LeftOut, Position, Study, View
from mrg_r1.errors import ConfigError, DataError

FRONTAL = View(Path("a/1_IM-1-1.dcm.png"), Position.FRONTAL)
SECOND_FRONTAL = View(Path("a/1_IM-1-2.png"), Position.FRONTAL)
LATERAL = View(Path("a/1_IM-1-3.dcm"), Position.LATERAL)
UNKNOWN = View(Path("a/x.png"))


def study(*views: View, name: str = "s", findings: str = "F.", impression: str = "I.") -> Study:
    return Study(name, views, "train", findings=findings, impression=impression)


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        (
            "each",
            [
                ("s:1_IM-1-3", (LATERAL,)),
                ("s:1_IM-1-1", (FRONTAL,)),
                ("s:1_IM-1-2", (SECOND_FRONTAL,)),
            ],
        ),
        ("frontal", [("s", (FRONTAL,))]),
        ("first", [("s", (LATERAL,))]),
        ("all", [("s", (LATERAL, FRONTAL, SECOND_FRONTAL))]),
    ],
)
def test_views(views: Any, expected: list[tuple[str, tuple[View, ...]]]):
    chosen, left = samples([study(LATERAL, FRONTAL, SECOND_FRONTAL)], views=views)
    assert [(sample.id, sample.images) for sample in chosen] == [
        (name, tuple(view.path for view in group)) for name, group in expected
    ]
    assert {(sample.study_id, sample.reference) for sample in chosen} == {("s", "F.")}
    assert left == []


@pytest.mark.parametrize(
    ("section", "findings", "impression", "expected"),
    [
        ("findings", " F.\n", "I.", "F."),
        ("findings", " \n", "I.", "no findings"),
        ("impression", "F.", "I.", "I."),
        ("impression", "F.", "", "no impression"),
        ("both", "F.", "I.", "F.\nI."),
        ("both", "", "I.", "no findings"),
        ("both", "F.", "", "no impression"),
        ("both", "", "", "no findings and no impression"),
        ("findings-or-impression", "F.", "I.", "F."),
        ("findings-or-impression", "", "I.", "I."),
        ("findings-or-impression", "", " ", "no findings and no impression"),
    ],
)
def test_sections(section: Any, findings: str, impression: str, expected: str):
    chosen, left = samples(
        [study(UNKNOWN, findings=findings, impression=impression)], section=section
    )
    if expected.startswith("no "):
        assert (chosen, left) == ([], [LeftOut(expected, ("s",))])
    else:
        assert ([sample.reference for sample in chosen], left) == ([expected], [])


def test_left_out_studies_are_grouped_by_reason():
    _, left = samples(
        [
            study(LATERAL, name="a"),
            study(name="b"),
            study(UNKNOWN, name="c"),
            study(FRONTAL, name="d", findings=""),
            study(FRONTAL, name="e"),
        ],
        views="frontal",
    )
    assert left == [
        LeftOut("no frontal view", ("a", "c")),
        LeftOut("no image", ("b",)),
        LeftOut("no findings", ("d",)),
    ]


def test_unknown_choices_name_what_there_is():
    with pytest.raises(ConfigError, match="section 'finding'; use one of findings, impression"):
        samples([], section="finding")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="views 'both'; use one of each, frontal, first, all"):
        samples([], views="both")  # type: ignore[arg-type]


@pytest.mark.parametrize("views", ["each", "first"])
def test_two_studies_of_one_id_are_refused(views: Any):
    with pytest.raises(DataError, match="occurs 2 times"):
        samples([study(FRONTAL), study(FRONTAL)], views=views)


@given(
    st.lists(
        st.lists(
            st.sampled_from(["a/0.png", "b/0.png", "0.jpg", "1.png", "1.dcm.png", "1.dcm"]),
            unique=True,
        ),
        max_size=4,
    ),
    st.sampled_from(["each", "first", "all"]),
)
def test_every_study_gives_samples_of_its_own_id_or_is_left_out(paths: Any, views: Any):
    studies = [
        study(*(View(Path(path)) for path in group), name=f"s{index}")
        for index, group in enumerate(paths)
    ]
    chosen, left = samples(studies, views=views)
    assert len({sample.id for sample in chosen}) == len(chosen)
    images = [image for sample in chosen for image in sample.images]
    listed = [view.path for each in studies for view in each.views]
    assert views == "first" or images == listed
    named = {sample.study_id for sample in chosen} | {name for each in left for name in each.ids}
    assert named == {each.id for each in studies}
