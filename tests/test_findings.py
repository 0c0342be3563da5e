from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrg_r1.errors import DataError
from mrg_r1.findings import DISEASES, FINDINGS, FIVE, Finding, Labels, Status

DISEASE_STATUSES = st.lists(st.sampled_from(Status), min_size=13, max_size=13)
NO_FINDING = st.sampled_from([Status.BLANK, Status.POSITIVE])
LABELS = st.builds(lambda d, n: Labels((*d, n)), DISEASE_STATUSES, NO_FINDING)


def test_the_order_is_that_of_chexberts_heads() -> None:
    assert [finding.value for finding in FINDINGS] == [
        "Enlarged Cardiomediastinum",
        "Cardiomegaly",
        "Lung Opacity",
        "Lung Lesion",
        "Edema",
        "Consolidation",
        "Pneumonia",
        "Atelectasis",
        "Pneumothorax",
        "Pleural Effusion",
        "Pleural Other",
        "Fracture",
        "Support Devices",
        "No Finding",
    ]


def test_the_13_are_all_but_no_finding() -> None:
    assert len(DISEASES) == 13
    assert set(FINDINGS) - set(DISEASES) == {Finding.NO_FINDING}


def test_the_five_are_those_of_the_chexpert_competition() -> None:
    assert [finding.value for finding in FIVE] == [
        "Cardiomegaly",
        "Edema",
        "Consolidation",
        "Atelectasis",
        "Pleural Effusion",
    ]


def test_statuses_are_chexberts_classes() -> None:
    assert [status.name for status in sorted(Status)] == [
        "BLANK",
        "POSITIVE",
        "NEGATIVE",
        "UNCERTAIN",
    ]


def test_of_leaves_the_rest_blank() -> None:
    labels = Labels.of({Finding.EDEMA: Status.UNCERTAIN, Finding.FRACTURE: Status.NEGATIVE})
    assert labels[Finding.EDEMA] is Status.UNCERTAIN
    assert labels[Finding.FRACTURE] is Status.NEGATIVE
    assert labels.having(Status.BLANK) == tuple(
        finding for finding in FINDINGS if finding not in (Finding.EDEMA, Finding.FRACTURE)
    )
    assert labels.having(Status.NEGATIVE, Status.UNCERTAIN) == (Finding.EDEMA, Finding.FRACTURE)


def test_items_go_in_order() -> None:
    labels = Labels.from_classes([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1])
    assert list(labels.items())[:4] == [
        (Finding.ENLARGED_CARDIOMEDIASTINUM, Status.BLANK),
        (Finding.CARDIOMEGALY, Status.POSITIVE),
        (Finding.LUNG_OPACITY, Status.NEGATIVE),
        (Finding.LUNG_LESION, Status.UNCERTAIN),
    ]


@pytest.mark.parametrize("classes", [[], [0] * 13, [0] * 15, [4] + [0] * 13, [0] * 13 + [-1]])
def test_impossible_classes_are_refused(classes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"statuses|not a valid Status"):
        Labels.from_classes(classes)


@pytest.mark.parametrize("status", [Status.NEGATIVE, Status.UNCERTAIN])
def test_no_finding_is_blank_or_positive(status: Status) -> None:
    with pytest.raises(ValueError, match="never negative or uncertain"):
        Labels.of({Finding.NO_FINDING: status})


def row(**codes: str) -> dict[str, str]:
    """A CSV row in CheXpert's column order, blank but for the given findings."""
    columns = ("No Finding", *(f.value for f in reversed(DISEASES)))
    return {
        "Path": "x",
        **dict.fromkeys(columns, ""),
        **{Finding[k].value: v for k, v in codes.items()},
    }


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("", Status.BLANK),
        (" ", Status.BLANK),
        ("nan", Status.BLANK),
        ("NaN", Status.BLANK),
        ("1", Status.POSITIVE),
        ("1.0", Status.POSITIVE),
        (" 1 ", Status.POSITIVE),
        ("0", Status.NEGATIVE),
        ("0.0", Status.NEGATIVE),
        ("-1", Status.UNCERTAIN),
        ("-1.0", Status.UNCERTAIN),
    ],
)
def test_codes_are_read_by_column_name(code: str, status: Status) -> None:
    labels = Labels.from_csv(row(EDEMA=code, NO_FINDING="1.0"))
    assert labels == Labels.of({Finding.EDEMA: status, Finding.NO_FINDING: Status.POSITIVE})


def test_a_no_finding_of_zero_is_blank() -> None:
    assert Labels.from_csv(row(NO_FINDING="0.0")) == Labels.of({})


@pytest.mark.parametrize("code", ["2", "yes", "0.5", "-"])
def test_an_unknown_code_names_itself_and_its_column(code: str) -> None:
    with pytest.raises(DataError) as error:
        Labels.from_csv(row(EDEMA=code))
    assert str(error.value) == f"labels: '{code}' under 'Edema'; use empty, 1, 0 or -1"


def test_a_missing_column_names_itself() -> None:
    incomplete = row()
    del incomplete["Pleural Other"]
    with pytest.raises(DataError, match="no column 'Pleural Other'"):
        Labels.from_csv(incomplete)


def test_an_uncertain_no_finding_is_refused() -> None:
    with pytest.raises(DataError, match="under 'No Finding'"):
        Labels.from_csv(row(NO_FINDING="-1"))


@given(LABELS)
def test_csv_and_classes_keep_every_label(labels: Labels) -> None:
    assert Labels.from_csv(labels.to_csv()) == labels
    assert Labels.from_classes([int(status) for status in labels.statuses]) == labels
    assert list(labels.to_csv()) == [finding.value for finding in FINDINGS]


@given(LABELS)
def test_labels_are_values(labels: Labels) -> None:
    assert pickle.loads(pickle.dumps(labels)) == labels
    assert hash(Labels(labels.statuses)) == hash(labels)
    everything = labels.having(*Status)
    assert everything == FINDINGS
