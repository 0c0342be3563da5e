"""The rule-based labeler, held to sentences that were written before it.

Expectations are written in short: `PX- EF+ AT?` reads pneumothorax negative, effusion positive,
atelectasis uncertain, and every other of the 13 findings blank.
"""

from __future__ import annotations

import csv
import json
import pickle
import time
from collections import Counter
from pathlib import Path
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrg_r1.errors import ConfigError
from mrg_r1.findings import DISEASES, FINDINGS, Finding, Labels, Status
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.labelers.rules.lexicon import PRESETS, expand, lexicon
from mrg_r1.labelers.rules.text import words

SHORT = {
    "EC": Finding.ENLARGED_CARDIOMEDIASTINUM,
    "CM": Finding.CARDIOMEGALY,
    "LO": Finding.LUNG_OPACITY,
    "LL": Finding.LUNG_LESION,
    "ED": Finding.EDEMA,
    "CO": Finding.CONSOLIDATION,
    "PN": Finding.PNEUMONIA,
    "AT": Finding.ATELECTASIS,
    "PX": Finding.PNEUMOTHORAX,
    "EF": Finding.PLEURAL_EFFUSION,
    "PO": Finding.PLEURAL_OTHER,
    "FX": Finding.FRACTURE,
    "SD": Finding.SUPPORT_DEVICES,
}
SIGN = {"+": Status.POSITIVE, "-": Status.NEGATIVE, "?": Status.UNCERTAIN}
LABELER = RulesLabeler()
CHEXPERT = RulesLabeler("chexpert")


def expected(short: str) -> dict[Finding, Status]:
    return {SHORT[word[:2]]: SIGN[word[2]] for word in short.split()}


def found(text: str, labeler: RulesLabeler = LABELER) -> dict[Finding, Status]:
    (labels,) = labeler.label([text])
    return {f: labels[f] for f in DISEASES if labels[f] is not Status.BLANK}


SENTENCES = [
    # negation before the mention, and where it ends
    ("No pneumothorax.", "PX-"),
    ("No evidence of pneumothorax.", "PX-"),
    ("There is no radiographic evidence of pneumonia.", "PN-"),
    ("No pleural effusion, pneumothorax, or focal consolidation.", "EF- PX- CO-"),
    (
        "No focal consolidation, large pleural effusion or pneumothorax is identified.",
        "CO- EF- PX-",
    ),
    ("No effusion or pneumothorax; consolidation is seen at the left base.", "EF- PX- CO+"),
    ("No pneumothorax, but a small left pleural effusion is seen.", "PX- EF+"),
    ("No pneumothorax, however there is a moderate effusion.", "PX- EF+"),
    ("No pneumothorax. Small effusion.", "PX- EF+"),
    ("no pneumothorax. small effusion", "PX- EF+"),
    ("No pneumothorax, small right effusion.", "PX- EF+"),
    ("No pneumothorax and a small right effusion.", "PX- EF+"),
    ("No pneumothorax with small bilateral pleural effusions.", "PX- EF+"),
    ("No pneumothorax although the effusion has increased.", "PX- EF+"),
    ("No pneumothorax, with mild bibasilar atelectasis.", "PX- AT+"),
    ("No consolidation apart from right basal atelectasis.", "CO- AT+"),
    ("No acute abnormality except for a small effusion.", "EF+"),
    ("Without pneumothorax or effusion.", "PX- EF-"),
    ("Lungs are clear without consolidation.", "CO-"),
    ("Mild cardiomegaly without pulmonary edema.", "CM+ ED-"),
    ("Negative for pneumothorax, pleural effusion.", "PX- EF-"),
    ("The lungs are free of consolidation or edema.", "CO- ED-"),
    ("The lungs are clear of consolidation, effusion or pneumothorax.", "CO- EF- PX-"),
    ("Absence of pneumothorax.", "PX-"),
    ("Neither effusion nor pneumothorax.", "EF- PX-"),
    ("There is neither consolidation, nor effusion, nor pneumothorax.", "CO- EF- PX-"),
    ("No A-line, and no pneumothorax.", "PX-"),
    ("Nil pneumothorax.", "PX-"),
    ("No definite effusion.", "EF-"),
    ("No new consolidation.", "CO-"),
    ("No residual pneumothorax.", "PX-"),
    ("I do not see a pneumothorax.", "PX-"),
    ("The film fails to show a pneumothorax.", "PX-"),
    ("No consolidation to suggest pneumonia.", "CO- PN-"),
    ("There is no focal air space opacity to suggest a pneumonia.", "LO- PN-"),
    ("No rib fracture.", "FX-"),
    # negation after the mention
    ("Effusion or pneumothorax is not seen.", "EF- PX-"),
    ("Pneumothorax is no longer seen.", "PX-"),
    ("Pneumothorax is not definitely identified.", "PX-"),
    ("The previously seen pneumothorax has resolved.", "PX-"),
    ("Resolved pneumothorax.", "PX-"),
    ("Interval resolution of the left effusion.", "EF-"),
    ("The consolidation has cleared.", "CO-"),
    ("Pneumothorax: absent.", "PX-"),
    ("Pleural effusion: none.", "EF-"),
    ("Pneumothorax: no", "PX-"),
    ("Pneumothorax has been excluded.", "PX-"),
    ("Pneumonia is ruled out.", "PN-"),
    ("Small effusion is present, pneumothorax is not seen.", "EF+ PX-"),
    ("Small left effusion, pneumothorax not seen.", "EF+ PX-"),
    ("Small effusion and pneumothorax are no longer seen.", "EF- PX-"),
    ("A small effusion is noted and pneumothorax is absent.", "EF+ PX-"),
    ("Effusions are not present but consolidation is.", "EF- CO+"),
    ("A pneumothorax is unlikely.", "PX-"),
    # what looks like a negation and is none
    ("No change in the left pleural effusion.", "EF+"),
    ("No significant interval change in moderate effusion.", "EF+"),
    ("No increase in the pneumothorax.", "PX+"),
    ("Pneumothorax is unchanged without evidence of tension.", "PX+"),
    ("The effusion has not changed.", "EF+"),
    ("The effusion has not resolved.", "EF+"),
    ("Effusion not significantly changed.", "EF+"),
    ("Not only pneumothorax but also effusion is present.", "PX+ EF+"),
    ("Nodule is not calcified.", "LL+"),
    ("Incompletely resolved consolidation.", "CO+"),
    ("Nonobstructive atelectasis.", "AT+"),
    ("Notable effusion.", "EF+"),
    ("Unchanged effusion.", "EF+"),
    ("Effusion has nearly resolved.", "EF+"),
    ("Decreased effusion.", "EF+"),
    # uncertainty, before and after
    ("Possible pneumonia.", "PN?"),
    ("Pneumonia cannot be excluded.", "PN?"),
    ("Cannot exclude pneumonia.", "PN?"),
    ("Pneumonia is not excluded.", "PN?"),
    ("A small pneumothorax cannot be entirely ruled out.", "PX?"),
    ("Rule out pneumonia.", "PN?"),
    ("CT is recommended to exclude pneumonia.", "PN?"),
    ("Opacity may represent atelectasis or pneumonia.", "LO+ AT? PN?"),
    ("Opacity which could reflect consolidation.", "LO+ CO?"),
    ("Findings concerning for pneumonia.", "PN?"),
    ("Suspicious for pneumonia.", "PN?"),
    ("Question small left effusion.", "EF?"),
    ("Questionable small pneumothorax.", "PX?"),
    ("Atelectasis versus consolidation.", "AT? CO?"),
    ("Atelectasis vs. pneumonia at the left base.", "AT? PN?"),
    ("Scarring or atelectasis at the left base.", "LO+ AT?"),
    ("Blunting of the sulcus may represent a small effusion.", "EF?"),
    ("No large effusion; blunting may represent a small effusion.", "EF?"),
    ("Pneumothorax is possible.", "PX?"),
    ("An effusion is suspected.", "EF?"),
    ("No pneumothorax. Possible small effusion.", "PX- EF?"),
    ("Possible effusion, no pneumothorax.", "EF? PX-"),
    ("No pneumothorax, possible effusion.", "PX- EF?"),
    ("Probable effusion.", "EF?"),
    # certainty in other words
    ("Opacity consistent with pneumonia.", "LO+ PN+"),
    ("Findings compatible with atelectasis.", "AT+"),
    # the strongest statement wins
    ("No left effusion. Small right effusion.", "EF+"),
    ("Possible right effusion. Definite left effusion.", "EF+"),
    ("No right effusion. Possible left effusion.", "EF?"),
    # heart and mediastinum
    ("Heart size is normal.", "CM-"),
    ("The heart is normal in size.", "CM-"),
    ("Normal heart size.", "CM-"),
    ("The heart is not enlarged.", "CM-"),
    ("The heart is not significantly enlarged.", "CM-"),
    ("The heart is enlarged.", "CM+"),
    ("Heart is slightly large.", "CM+"),
    ("Mildly enlarged cardiac silhouette.", "CM+"),
    ("Mild cardiomegaly.", "CM+"),
    ("No cardiomegaly.", "CM-"),
    ("Heart size is at the upper limits of normal.", "CM-"),
    ("Heart size is upper limits of normal.", "CM+"),
    ("Borderline cardiomegaly without heart failure.", "CM+ ED-"),
    ("Heart size cannot be evaluated.", "CM?"),
    ("Cardiomediastinal silhouette is normal.", "EC-"),
    ("The cardiac contours are normal.", "EC- CM-"),
    ("Mediastinal contours are within normal limits.", "EC-"),
    ("Stable mediastinal contours.", "EC?"),
    ("Heart size within normal limits, stable mediastinal and hilar contours.", "CM- EC?"),
    ("The heart is enlarged and the mediastinum is normal.", "CM+ EC-"),
    ("The heart and mediastinum are normal.", "CM- EC-"),
    ("The mediastinum is widened.", "EC+"),
    ("No mediastinal widening.", "EC-"),
    ("Normal mediastinum, enlarged heart.", "EC- CM+"),
    (
        "Heart size, mediastinal contour, and pulmonary vascularity are within normal limits.",
        "CM- EC-",
    ),
    ("Cardiac monitor leads overlie the chest.", ""),
    # lungs
    ("The lungs are clear.", ""),
    ("Low lung volumes.", ""),
    ("Low lung volumes with bibasilar atelectasis.", "AT+"),
    ("No focal opacity.", "LO-"),
    ("No focal airspace disease.", "LO-"),
    ("No infiltrate.", ""),
    ("Right basilar airspace disease.", "LO+"),
    ("Patchy opacities at the bases.", "LO+"),
    ("Calcified nodule in the right lung.", "LL+"),
    ("No suspicious nodules or masses.", "LL-"),
    ("Exclude an underlying mass.", "LL?"),
    ("Pulmonary vascular congestion.", "ED?"),
    ("No pulmonary edema.", "ED-"),
    ("Hydropneumothorax on the left.", "PX+ EF+"),
    ("Normal lungs, heart, and mediastinum.", "CM- EC-"),
    ("The cardiac, mediastinal and hilar contours are normal.", "CM- EC-"),
    ("Stable appearance of the heart and mediastinum.", "CM? EC?"),
    ("Low volumes accentuate the cardiac silhouette, which is mildly enlarged.", "CM+"),
    ("The heart is mildly enlarged but stable.", "CM+"),
    ("Mediastinal mass.", "EC+"),
    # what generated reports say
    ("There are no signs of acute pathology, cardiomegaly, or pleural effusion.", "CM- EF-"),
    ("Unremarkable apart from an enlarged cardiac silhouette, suggesting cardiomegaly.", "CM+"),
    ("The costophrenic angles are clear, indicating the absence of effusion.", "EF-"),
    ("There is nothing to suggest pneumonia.", "PN-"),
    ("No focal consolidation concerning for pneumonia is seen.", "CO- PN-"),
    (
        "Streaky opacities likely reflect atelectasis, though infection cannot be excluded.",
        "LO+ AT+ PN?",
    ),
    ("No pneumothorax is detected on the right, there is a tiny left pneumothorax.", "PX+"),
    ("No effusion on the right, moderate on the left.", "EF-"),
    ("There is no pneumonia, but a subtle infiltrate at the base cannot be excluded.", "PN- LO+"),
    ("It is unclear whether there is a pneumothorax.", "PX?"),
    ("Small nodule, not seen on the prior exam.", "LL+"),
    ("Small right effusion, no pneumothorax, and mild cardiomegaly.", "EF+ PX- CM+"),
    ("Possible pneumonia at the base, cardiomegaly, and an effusion.", "PN? CM+ EF+"),
    ("Interval placement of a chest tube with resolution of the pneumothorax.", "SD+ PX-"),
    ("Heart size: normal. Lungs: clear. Pleura: no effusion. Bones: no fracture.", "CM- EF- FX-"),
    # pleura, bones, devices
    ("Pericardial effusion.", ""),
    ("Biapical pleural thickening.", "PO+"),
    ("Old healed left rib fractures.", "FX+"),
    ("No acute bony abnormality.", "FX-"),
    ("No acute osseous abnormalities.", ""),
    ("Bony structures are intact.", ""),
    ("Right PICC tip in the SVC.", "SD+"),
    ("Endotracheal tube has been removed.", "SD-"),
    ("Interval removal of the chest tube.", "SD-"),
    ("Interval removal of chest tube, no pneumothorax.", "SD- PX-"),
    ("Midline sternotomy wires are intact.", "SD+"),
    ("Sternotomy XXXX are present.", ""),
    ("Pacemaker leads are unchanged.", "SD+"),
    # form: headings, lists, placeholders, quotes, case
    ("FINDINGS: No pneumothorax. IMPRESSION: Small effusion.", "PX- EF+"),
    ("NO PNEUMOTHORAX. SMALL LEFT EFFUSION.", "PX- EF+"),
    ("1. No pneumothorax\n2. Small left effusion", "PX- EF+"),
    ("- No pneumothorax\n- Small left effusion", "PX- EF+"),
    ("\u2022 No pneumothorax \u2022 Small left effusion", "PX- EF+"),
    ("**Lungs:** No consolidation.\n**Pleura:** Small effusion.", "CO- EF+"),
    ("No pneumo-\nthorax.", ""),
    ("No\npneumothorax,\neffusion.", "PX- EF-"),
    ("There is no pleural\neffusion or\npneumothorax.", "EF- PX-"),
    ("There are no XXXX of a pleural effusion.", "EF-"),
    ("No XXXX focal airspace consolidation or pleural effusion.", "CO- EF-"),
    ("Compared to ___, no pneumothorax.", "PX-"),
    ("There isn\u2019t a pneumothorax.", "PX-"),
    ("INDICATION: Pneumonia?\nFINDINGS: The lungs are clear.", ""),
    ("The nodule measures 1.5 cm.No pneumothorax.", "LL+ PX-"),
    ("Effusion/pneumothorax is not seen.", "EF- PX-"),
    ("Scarring / atelectasis.", "LO+ AT?"),
    ("Lungs w/o consolidation.", "CO-"),
    ("Is seen no pneumothorax.", "PX-"),
    ("There is seen no effusion, no pneumothorax.", "EF- PX-"),
    ("", ""),
    ("....", ""),
    ("No.", ""),
    ("No no no no.", ""),
    ("\u043d\u0435\u0442 \u043f\u043b\u0435\u0432\u0440\u0438\u0442\u0430", ""),
    ("\u6c14\u80f8\u3002 pneumothorax", "PX+"),
]


@pytest.mark.parametrize(("sentence", "short"), SENTENCES)
def test_sentence(sentence: str, short: str) -> None:
    assert found(sentence) == expected(short)


CHEXPERT_SENTENCES = [
    ("No acute bony abnormality.", ""),
    ("Cardiomediastinal silhouette is normal.", "EC-"),
    ("No focal airspace disease.", "LO-"),
    ("No infiltrate.", "LO-"),
    ("The lungs are clear without pneumothorax.", "PX-"),
]


@pytest.mark.parametrize(("sentence", "short"), CHEXPERT_SENTENCES)
def test_chexpert_conventions(sentence: str, short: str) -> None:
    assert found(sentence, CHEXPERT) == expected(short)


NO_FINDING = [
    ("The lungs are clear. No pneumothorax or effusion. Heart size normal.", True),
    ("Normal chest.", True),
    ("Low lung volumes. No effusion.", False),
    ("Right PICC in place. Lungs are clear.", True),
    ("Mild degenerative changes of the spine. Lungs are clear.", False),
    ("Small effusion.", False),
    ("Possible effusion.", False),
    ("Hyperinflated lungs consistent with emphysema.", False),
    ("Large hiatal hernia. No effusion.", False),
    ("Calcified granuloma. No effusion.", False),
    ("No hiatal hernia. Lungs are clear.", True),
]


@pytest.mark.parametrize(("report", "normal"), NO_FINDING)
def test_no_finding(report: str, normal: bool) -> None:
    (labels,) = LABELER.label([report])
    assert (labels[Finding.NO_FINDING] is Status.POSITIVE) is normal


def test_mentions_show_the_evidence() -> None:
    text = "Heart size is normal.  No evidence of\npleural  effusion."
    by_finding = {m.finding: m for m in LABELER.mentions(text)}
    effusion = by_finding[Finding.PLEURAL_EFFUSION]
    assert effusion.status is Status.NEGATIVE
    assert text[effusion.start : effusion.end] == "pleural  effusion"
    assert effusion.cue == "No evidence of"
    assert effusion.cue_span is not None
    assert text[slice(*effusion.cue_span)] == "No evidence of"
    heart = by_finding[Finding.CARDIOMEGALY]
    assert heart.cue == "normal"


def test_a_bare_mention_has_no_cue() -> None:
    (mention,) = LABELER.mentions("Pneumothorax.")
    assert (mention.status, mention.cue, mention.cue_span) == (Status.POSITIVE, None, None)


def test_what_keeps_no_finding_blank_is_shown() -> None:
    (mention,) = LABELER.mentions("Large hiatal hernia. No scoliosis.")
    assert (mention.finding, mention.status) == (Finding.NO_FINDING, Status.NEGATIVE)


def test_identity_names_the_preset() -> None:
    assert LABELER.identity.startswith("rules@")
    assert CHEXPERT.identity.startswith("rules-chexpert@")


def test_unknown_preset_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="chexbert"):
        RulesLabeler("chexbrt")


def test_pickles() -> None:
    copy = pickle.loads(pickle.dumps(CHEXPERT))
    assert copy.identity == CHEXPERT.identity
    assert copy.label(["No effusion."]) == CHEXPERT.label(["No effusion."])


def test_empty_batch() -> None:
    assert LABELER.label([]) == []


WORDS = st.sampled_from(
    [
        *("no", "not", "without", "possible", "versus", "or", "and", ",", ".", ";", ":", "but"),
        *("effusion", "pneumothorax", "heart", "cardiomediastinal silhouette", "opacity", "tube"),
        *("normal", "enlarged", "stable", "resolved", "removed", "small", "is", "are", "seen"),
        *("cannot", "exclude", "\n", "-", "1.", "FINDINGS:", "INDICATION:", "XXXX", "___", "/"),
        *("\u2019", "\u0130", "\ufb01", "\u2028", "\u2014", "isn\u2019t", "?"),
    ]
)
PROSE = st.lists(WORDS, max_size=40).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=300), PROSE))
def test_any_text_is_labelled_and_spans_point_into_it(text: str) -> None:
    for labeler in (LABELER, CHEXPERT):
        (labels,) = labeler.label([text])
        mentions = labeler.mentions(text)
        assert {m.finding for m in mentions} == set(
            labels.having(Status.POSITIVE, Status.NEGATIVE, Status.UNCERTAIN)
        ) - {Finding.NO_FINDING}
        for mention in mentions:
            assert 0 <= mention.start < mention.end <= len(text)
            if mention.cue_span is not None:
                start, end = mention.cue_span
                assert 0 <= start < end <= len(text)
                assert text[start:end] == mention.cue


SEPARATE = [
    "No pneumothorax.",
    "Small left effusion.",
    "The heart is enlarged.",
    "Possible pneumonia.",
    "No acute bony abnormality.",
    "Biapical pleural thickening.",
    "A nodule is seen.",
    "Pulmonary edema has resolved.",
]


@settings(deadline=None)
@given(st.permutations(SEPARATE), st.sampled_from([" ", "\n", "\n\n- "]))
def test_order_of_sentences_does_not_matter(sentences: list[str], gap: str) -> None:
    assert LABELER.label([gap.join(sentences)]) == LABELER.label([" ".join(SEPARATE)])


@settings(deadline=None)
@given(st.lists(PROSE, max_size=4))
def test_a_batch_is_its_reports_one_by_one(reports: list[str]) -> None:
    one_by_one: list[Labels] = [LABELER.label([report])[0] for report in reports]
    assert LABELER.label(reports) == one_by_one


@pytest.mark.parametrize(
    ("pattern", "phrases"),
    [
        ("a b", {"a b"}),
        ("(a|b c) d", {"a d", "b c d"}),
        ("[no] a[s]", {"no a", "no as", "a", "as"}),
        ("a(b|c[d]) | e", {"ab", "ac", "acd", "e"}),
        ("{be} a", {"is a", "has been a"}),
    ],
)
def test_patterns_expand(pattern: str, phrases: set[str]) -> None:
    macros = {"be": "is|{been}", "been": "has been"}
    assert {" ".join(phrase) for phrase in expand(pattern, macros)} == phrases


@pytest.mark.parametrize("pattern", ["a)", "(a", "[a|b", "a]"])
def test_unbalanced_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="unbalanced"):
        expand(pattern, {})


@pytest.mark.parametrize("preset", PRESETS)
def test_every_phrase_can_occur(preset: str) -> None:
    """A phrase that words are never cut into (a hyphen in it, say) would be dead."""
    for phrase in lexicon(preset).entries:
        text = f"a {' '.join(phrase)} a"
        assert words(text, 0, len(text))[1:-1] == phrase


def test_agrees_with_the_real_chexbert_labels(iu_xray_root: Path) -> None:
    """The floor that the rules, tuned on the training split, must keep on train and val."""
    with open(iu_xray_root / "labels" / "chexbert_labels.csv", encoding="utf-8") as file:
        references = {row["Id"]: Labels.from_csv(row) for row in csv.DictReader(file)}
    annotation = json.loads((iu_xray_root / "annotation.json").read_text(encoding="utf-8"))
    studies = [s for split in ("train", "val") for s in annotation[split]]
    labels = LABELER.label([study["report"] for study in studies])
    pairs = [(ours, references[s["id"]]) for s, ours in zip(studies, labels, strict=True)]
    assert len(pairs) == 2365
    assert (
        mean(
            a is b for ours, ref in pairs for a, b in zip(ours.statuses, ref.statuses, strict=True)
        )
        >= 0.965
    )
    assert mean(f1(pairs, finding) for finding in FINDINGS) >= 0.9


def f1(pairs: list[tuple[Labels, Labels]], finding: Finding) -> float:
    """F1 of positive or uncertain."""
    stated = (Status.POSITIVE, Status.UNCERTAIN)
    tally = Counter((ours[finding] in stated, ref[finding] in stated) for ours, ref in pairs)
    return 2 * tally[True, True] / (2 * tally[True, True] + tally[True, False] + tally[False, True])


@pytest.mark.parametrize(
    "unit",
    [
        "no effusion or ",
        "no ",
        "effusion ",
        "a",
        " ",
        "\n",
        ", ",
        "is not ",
        "heart and ",
        "XXXX ",
        "(",
        "1. ",
    ],
)
def test_long_input_takes_linear_time(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    start = time.perf_counter()
    LABELER.label([text])
    assert time.perf_counter() - start < 3
