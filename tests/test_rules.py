"""What the rules read: a table of sentences, written before the rules and in our own words.

In short: `PX- EF+ AT?` reads pneumothorax negative, effusion positive, atelectasis uncertain, and
every other of the 13 findings blank. Properties of any text stand in test_rules_properties.py.
"""

from __future__ import annotations

import pytest

from mrg_r1.findings import DISEASES, Finding, Status
from mrg_r1.labelers.rules import RulesLabeler

EACH_FINDING = [
    ("The mediastinum is widened.", "EC+"),
    ("No mediastinal widening.", "EC-"),
    ("Possible mediastinal widening.", "EC?"),
    ("Moderate cardiomegaly.", "CM+"),
    ("The heart is not enlarged.", "CM-"),
    ("Enlargement of the heart cannot be excluded.", "CM?"),
    ("Patchy opacities at both bases.", "LO+"),
    ("No focal opacity.", "LO-"),
    ("A 9 mm nodule projects over the right mid lung.", "LL+"),
    ("No suspicious nodules or masses.", "LL-"),
    ("Possible pulmonary nodule in the left apex.", "LL?"),
    ("Mild pulmonary edema.", "ED+"),
    ("No evidence of congestive heart failure.", "ED-"),
    ("Pulmonary vascular congestion.", "ED?"),
    ("Dense consolidation of the right lower lobe.", "CO+"),
    ("The lungs are clear of consolidation.", "CO-"),
    ("An early consolidation may be present.", "CO?"),
    ("Multifocal pneumonia.", "PN+"),
    ("There is no radiographic evidence of pneumonia.", "PN-"),
    ("Findings concerning for pneumonia.", "PN?"),
    ("Discoid atelectasis in the lingula.", "AT+"),
    ("No atelectasis.", "AT-"),
    ("Opacity may represent atelectasis.", "LO+ AT?"),
    ("Tiny right apical pneumothorax, unchanged.", "PX+"),
    ("No pneumothorax.", "PX-"),
    ("Questionable small pneumothorax.", "PX?"),
    ("Small bilateral pleural effusions.", "EF+"),
    ("Pleural effusion: none.", "EF-"),
    ("Question small left effusion.", "EF?"),
    ("Biapical pleural thickening.", "PO+"),
    ("No pleural thickening.", "PO-"),
    ("Blunting may be due to pleural thickening.", "PO?"),
    ("Old healed left rib fractures.", "FX+"),
    ("No rib fracture.", "FX-"),
    ("Possible nondisplaced fracture of the seventh rib.", "FX?"),
    ("Right PICC tip in the SVC.", "SD+"),
    ("Endotracheal tube has been removed.", "SD-"),
    ("Possible tube in the right main bronchus.", "SD?"),
]

# CheXbert has no uncertain opacity: where it hedges one, it still says positive.
CONVENTIONS = [
    ("A faint opacity cannot be excluded.", "LO+"),
    ("No acute bony abnormality.", "FX-"),
    ("No acute osseous abnormalities.", ""),
    ("Bony structures are intact.", ""),
    ("Cardiomediastinal silhouette is normal.", "EC-"),
    ("The cardiac contours are normal.", "EC- CM-"),
    ("No focal airspace disease.", "LO-"),
    ("No infiltrate.", ""),
    ("Infiltrate at the left base.", "LO+"),
    ("Scarring or atelectasis at the left base.", "LO+ AT?"),
    ("Atelectasis versus consolidation.", "AT? CO?"),
    ("Atelectasis vs. pneumonia at the left base.", "AT? PN?"),
    ("Stable mediastinal contours.", "EC?"),
    ("Heart size within normal limits, stable mediastinal and hilar contours.", "CM- EC?"),
    ("Heart size is upper limits of normal.", "CM+"),
    ("Heart size is at the upper limits of normal.", "CM-"),
    ("Heart size is upper normal.", "CM-"),
    ("Heart size is borderline enlarged.", "CM+"),
    ("Borderline heart size.", "CM?"),
    ("Heart size is top normal to mildly enlarged.", "CM?"),
    ("Borderline cardiomegaly without heart failure.", "CM+ ED-"),
    ("Heart is slightly large.", "CM+"),
    ("The lungs are clear of consolidation, effusion or pneumothorax.", "CO- EF- PX-"),
    ("No consolidation to suggest pneumonia.", "CO- PN-"),
    ("No large effusion; blunting may represent a small effusion.", "EF?"),
    ("Exclude an underlying mass.", "LL?"),
    ("Calcified nodule in the right lung.", ""),
    ("No noncalcified nodule.", "LL-"),
    ("Nodule is not calcified.", "LL+"),
    ("Interval resolution of the left effusion.", "EF-"),
    ("There are no XXXX of a pleural effusion.", "EF-"),
    ("Compared to ___, no pneumothorax.", "PX-"),
    ("Pneumonitis after radiation.", ""),
    ("Pericardial effusion.", ""),
    ("Cardiac monitor leads overlie the chest.", ""),
]

DENIED = [
    # before the mention, and where it ends
    ("No pleural effusion, pneumothorax, or focal consolidation.", "EF- PX- CO-"),
    ("No focal consolidation, large effusion or pneumothorax is identified.", "CO- EF- PX-"),
    ("No effusion or pneumothorax; consolidation is seen at the left base.", "EF- PX- CO+"),
    ("No pneumothorax, but a small left pleural effusion is seen.", "PX- EF+"),
    ("No pneumothorax, however there is a moderate effusion.", "PX- EF+"),
    ("No pneumothorax. Small effusion.", "PX- EF+"),
    ("No pneumothorax, small right effusion.", "PX- EF+"),
    ("No pneumothorax and a small right effusion.", "PX- EF+"),
    ("No pneumothorax with small bilateral pleural effusions.", "PX- EF+"),
    ("No pneumothorax although the effusion has increased.", "PX- EF+"),
    ("No consolidation apart from right basal atelectasis.", "CO- AT+"),
    ("No acute abnormality except for a small effusion.", "EF+"),
    ("Mild cardiomegaly without pulmonary edema.", "CM+ ED-"),
    ("Negative for pneumothorax, pleural effusion.", "PX- EF-"),
    ("The lungs are free of consolidation or edema.", "CO- ED-"),
    ("Neither effusion nor pneumothorax.", "EF- PX-"),
    ("No consolidation, cardiac decompensation or effusion.", "CO- EF-"),
    ("There is neither consolidation, nor effusion, nor pneumothorax.", "CO- EF- PX-"),
    ("No A-line, and no pneumothorax.", "PX-"),
    ("Nil pneumothorax.", "PX-"),
    ("No residual pneumothorax.", "PX-"),
    ("No superimposed airspace disease.", "LO-"),
    ("No recurrence of pneumothorax.", "PX-"),
    ("I do not see a pneumothorax.", "PX-"),
    ("The film fails to show a pneumothorax.", "PX-"),
    ("No findings suggestive of pneumonia.", "PN-"),
    ("Not consistent with pneumonia.", "PN-"),
    ("No opacity consistent with pneumonia.", "LO- PN-"),
    ("Small right effusion, no pneumothorax, and mild cardiomegaly.", "EF+ PX- CM+"),
    ("Cardiomegaly without edema or effusion, but with atelectasis.", "CM+ ED- EF- AT+"),
    # after the mention
    ("Effusion or pneumothorax is not seen.", "EF- PX-"),
    ("Pneumothorax is no longer seen.", "PX-"),
    ("Pneumothorax is not definitely identified.", "PX-"),
    ("The previously seen pneumothorax has resolved.", "PX-"),
    ("Resolved pneumothorax.", "PX-"),
    ("The consolidation has cleared.", "CO-"),
    ("Pneumothorax: absent.", "PX-"),
    ("Pneumothorax: no", "PX-"),
    ("Pneumothorax has been excluded.", "PX-"),
    ("Pneumonia is ruled out.", "PN-"),
    ("Pneumonia is not suspected.", "PN-"),
    ("A pneumothorax is unlikely.", "PX-"),
    ("Small left effusion, pneumothorax not seen.", "EF+ PX-"),
    ("Small effusion and pneumothorax are no longer seen.", "EF- PX-"),
    ("A small effusion is noted and pneumothorax is absent.", "EF+ PX-"),
    ("Effusions are not present but consolidation is.", "EF- CO+"),
    ("Edema has resolved, effusion persists.", "ED- EF+"),
    ("Interval removal of the chest tube, no pneumothorax.", "SD- PX-"),
    ("Endotracheal tube removed. PICC in place.", "SD+"),
]

NOT_DENIED = [
    ("No change in the left pleural effusion.", "EF+"),
    ("No significant interval change in moderate effusion.", "EF+"),
    ("No increase in the pneumothorax.", "PX+"),
    ("Pneumothorax is unchanged without evidence of tension.", "PX+"),
    ("The effusion has not resolved.", "EF+"),
    ("Effusion has nearly resolved.", "EF+"),
    ("Effusion not significantly changed.", "EF+"),
    ("Not only pneumothorax but also effusion is present.", "PX+ EF+"),
    ("Small nodule, not seen on the prior exam.", "LL+"),
    ("Incompletely resolved consolidation.", "CO+"),
    ("Nonobstructive atelectasis.", "AT+"),
    ("Notable effusion.", "EF+"),
    ("Decreased effusion.", "EF+"),
    ("Edema with superimposed pneumonia.", "ED+ PN+"),
    ("No pneumothorax on the right, there is a tiny left pneumothorax.", "PX+"),
]

HEDGED = [
    ("Pneumonia cannot be excluded.", "PN?"),
    ("Cannot exclude pneumonia.", "PN?"),
    ("Pneumonia is not excluded.", "PN?"),
    ("A small pneumothorax cannot be entirely ruled out.", "PX?"),
    ("Rule out pneumonia.", "PN?"),
    ("CT is recommended to exclude pneumonia.", "PN?"),
    ("Opacity may represent atelectasis or pneumonia.", "LO+ AT? PN?"),
    ("Opacity which could reflect consolidation.", "LO+ CO?"),
    ("Suspicious for pneumonia.", "PN?"),
    ("Atelectasis and/or pneumonia.", "AT? PN?"),
    ("Either atelectasis or pneumonia.", "AT? PN?"),
    ("Favor atelectasis over pneumonia.", "AT? PN?"),
    ("Atelectasis is favored over pneumonia.", "AT? PN?"),
    ("Bibasilar atelectasis. Infection is less likely.", "AT+ PN?"),
    ("Pneumothorax is possible.", "PX?"),
    ("An effusion is suspected.", "EF?"),
    ("Pneumonia should be considered in the right setting.", "PN?"),
    ("Pleural effusions are small if any.", "EF?"),
    ("It is unclear whether there is a pneumothorax.", "PX?"),
    ("Probable effusion.", "EF?"),
    ("Possible effusion, no pneumothorax.", "EF? PX-"),
    ("No pneumothorax, possible effusion.", "PX- EF?"),
    ("No effusion, although a small one is hard to see; pneumonia is not excluded.", "EF- PN?"),
    ("Possible pneumonia at the base, cardiomegaly, and an effusion.", "PN? CM+ EF+"),
    ("Atelectasis is present and pneumonia cannot be excluded.", "AT+ PN?"),
    ("Streaky opacities likely reflect atelectasis, though infection is possible.", "LO+ AT+ PN?"),
    # certainty in other words, to both published labelers
    ("Opacity consistent with pneumonia.", "LO+ PN+"),
    ("Findings compatible with atelectasis.", "AT+"),
    ("Opacity at the left base, likely atelectasis.", "LO+ AT+"),
    ("Opacity, probably atelectasis.", "LO+ AT+"),
    ("Blunting suggests small effusions.", "EF+"),
    # the strongest statement wins
    ("No left effusion. Small right effusion.", "EF+"),
    ("Possible right effusion. Definite left effusion.", "EF+"),
    ("No right effusion. Possible left effusion.", "EF?"),
]

STRUCTURES = [
    ("Heart size is normal.", "CM-"),
    ("The heart is normal in size.", "CM-"),
    ("Normal size and configuration of the cardiac silhouette.", "CM-"),
    ("The heart is not significantly enlarged.", "CM-"),
    ("The heart does not appear enlarged.", "CM-"),
    ("There is no evidence of an enlarged heart.", "CM-"),
    ("No pneumonia, effusion, or enlargement of the heart.", "PN- EF- CM-"),
    ("There is no widening of the mediastinum or cardiomegaly.", "EC- CM-"),
    ("No pneumothorax, enlarged heart.", "PX- CM+"),
    ("No effusion and the heart is enlarged.", "EF- CM+"),
    ("The heart is enlarged.", "CM+"),
    ("Mildly enlarged cardiac silhouette.", "CM+"),
    ("The heart is mildly enlarged but stable.", "CM+"),
    ("Interval increase in the size of the cardiac silhouette.", "CM+"),
    ("Low volumes accentuate the cardiac silhouette, which is mildly enlarged.", "CM+"),
    ("Low volumes accentuate the cardiac silhouette.", ""),
    ("The heart may be mildly enlarged.", "CM?"),
    ("Possibly enlarged heart.", "CM?"),
    ("Possible mild widening of the mediastinum.", "EC?"),
    ("Question of a widened mediastinum.", "EC?"),
    ("Mild enlargement of the heart is possible.", "CM?"),
    ("Opacity concerning for pneumonia and the heart is enlarged.", "LO+ PN? CM+"),
    ("Enlarged heart with possible edema.", "CM+ ED?"),
    ("Enlarged heart, effusion not seen.", "CM+ EF-"),
    ("The heart is enlarged, and an effusion cannot be excluded.", "CM+ EF?"),
    ("Heart size cannot be evaluated.", "CM?"),
    ("Mediastinal contours are within normal limits.", "EC-"),
    ("The mediastinum is otherwise unremarkable.", "EC-"),
    ("The heart is enlarged and the mediastinum is normal.", "CM+ EC-"),
    ("The heart and mediastinum are normal.", "CM- EC-"),
    ("Normal mediastinum, enlarged heart.", "EC- CM+"),
    ("Heart size, mediastinal contour, and vascularity are within normal limits.", "CM- EC-"),
    ("Normal heart size, mediastinal and aortic contours.", "CM- EC-"),
    ("The cardiac, mediastinal and hilar contours are normal.", "CM- EC-"),
    ("Heart size is stable and grossly normal.", "CM-"),
    ("Stable appearance of the heart and mediastinum.", "CM? EC?"),
    ("The heart is normal and the aorta is enlarged.", "CM-"),
    ("Mediastinal mass.", "EC+"),
]

OTHER = [
    ("The lungs are clear.", ""),
    ("Low lung volumes with bibasilar atelectasis.", "AT+"),
    ("Collapse of the left lower lobe.", "AT+"),
    ("Hydropneumothorax on the left.", "PX+ EF+"),
    ("Pulmonary fibrosis.", "PO+"),
    ("Midline sternotomy wires are intact.", "SD+"),
    ("Sternotomy XXXX are present.", ""),
    ("No pneumothorax after line placement.", "PX-"),
    # what generated reports say
    ("There are no signs of acute pathology, cardiomegaly, or pleural effusion.", "CM- EF-"),
    ("Unremarkable apart from an enlarged cardiac silhouette, suggesting cardiomegaly.", "CM+"),
    ("The costophrenic angles are clear, indicating the absence of effusion.", "EF-"),
    ("There is nothing to suggest pneumonia.", "PN-"),
    ("No effusion on the right, moderate on the left.", "EF-"),
]

FORM = [
    ("FINDINGS: No pneumothorax. IMPRESSION: Small effusion.", "PX- EF+"),
    ("HISTORY: Rule out pneumonia. FINDINGS: No effusion.", "EF-"),
    ("INDICATION: Pneumonia?\nFINDINGS: The lungs are clear.", ""),
    ("Heart size: normal. Lungs: clear. Pleura: no effusion. Bones: no fracture.", "CM- EF- FX-"),
    ("NO PNEUMOTHORAX. SMALL LEFT EFFUSION.", "PX- EF+"),
    ("PNEUMOTHORAX: NONE. EFFUSION: SMALL.", "PX- EF+"),
    ("no pneumothorax. small effusion", "PX- EF+"),
    ("1. No pneumothorax\n2. Small left effusion", "PX- EF+"),
    ("1) No effusion 2) Cardiomegaly", "EF- CM+"),
    ("- No pneumothorax\n- Small left effusion", "PX- EF+"),
    ("\u2022 No pneumothorax \u2022 Small left effusion", "PX- EF+"),
    ("**Lungs:** No consolidation.\n**Pleura:** Small effusion.", "CO- EF+"),
    ("No pneumo-\nthorax.", ""),
    ("There is no pleural\neffusion or\npneumothorax.", "EF- PX-"),
    ("No XXXX focal airspace consolidation or pleural effusion.", "CO- EF-"),
    ("No ___ pneumothorax.", "PX-"),
    ("There isn\u2019t a pneumothorax.", "PX-"),
    ("No evidence of \u201cpneumonia\u201d.", "PN-"),
    ("No pneumothorax \u2013 small effusion.", "PX- EF+"),
    ("No pneumothorax (small effusion).", "PX- EF+"),
    ("No effusion identified (blunting may be an effusion or pleural thickening).", "EF? PO?"),
    ("The nodule measures 1.5 cm.No pneumothorax.", "LL+ PX-"),
    ("Effusion/pneumothorax is not seen.", "EF- PX-"),
    ("Scarring / atelectasis.", "LO+ AT?"),
    ("Lungs w/o consolidation.", "CO-"),
    ("There is seen no effusion, no pneumothorax.", "EF- PX-"),
    ("", ""),
    ("....", ""),
    ("No no no no.", ""),
    ("\u043d\u0435\u0442 \u043f\u043b\u0435\u0432\u0440\u0438\u0442\u0430", ""),
    ("\u6c14\u80f8\u3002 pneumothorax", "PX+"),
]

# Where the preset 'chexpert' reads otherwise.
CHEXPERT = [
    ("No acute bony abnormality.", ""),
    ("No infiltrate.", "LO-"),
    ("A faint opacity cannot be excluded.", "LO?"),
    ("Aortic valve prosthesis.", "SD+"),
    ("No left effusion. Possible right effusion. Small loculated effusion.", "EF?"),
]

NO_FINDING = [
    ("The lungs are clear. No pneumothorax or effusion. Heart size normal.", True),
    ("Normal chest.", True),
    ("Right PICC in place. Lungs are clear.", True),
    ("No hiatal hernia. Lungs are clear.", True),
    # CheXbert passes over these, in which it departs from a radiologist.
    ("Low lung volumes. No effusion.", True),
    ("Thoracic spondylosis. Lungs are clear.", True),
    ("Cholecystectomy clips. Lungs are clear.", True),
    ("Mild degenerative changes of the spine. Lungs are clear.", False),
    ("Small effusion.", False),
    ("Possible effusion.", False),
    ("Hyperinflated lungs consistent with emphysema.", False),
    ("Large hiatal hernia. No effusion.", False),
    ("Calcified granuloma. No effusion.", False),
    ("Calcified nodule. No effusion.", False),
]

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


def expected(short: str) -> dict[Finding, Status]:
    return {SHORT[word[:2]]: SIGN[word[2]] for word in short.split()}


def found(text: str, labeler: RulesLabeler) -> dict[Finding, Status]:
    (labels,) = labeler.label([text])
    return {f: labels[f] for f in DISEASES if labels[f] is not Status.BLANK}


@pytest.mark.parametrize(
    ("sentence", "short"),
    [
        *EACH_FINDING,
        *CONVENTIONS,
        *DENIED,
        *NOT_DENIED,
        *HEDGED,
        *STRUCTURES,
        *OTHER,
        *FORM,
    ],
)
def test_sentence(sentence: str, short: str) -> None:
    assert found(sentence, RulesLabeler()) == expected(short)


@pytest.mark.parametrize(("sentence", "short"), CHEXPERT)
def test_chexpert_conventions(sentence: str, short: str) -> None:
    assert found(sentence, RulesLabeler("chexpert")) == expected(short)
    assert found(sentence, RulesLabeler()) != expected(short)


@pytest.mark.parametrize(("report", "normal"), NO_FINDING)
def test_no_finding(report: str, normal: bool) -> None:
    (labels,) = RulesLabeler().label([report])
    assert (labels[Finding.NO_FINDING] is Status.POSITIVE) is normal


def test_the_table_shows_each_finding_in_each_status() -> None:
    shown = {pair for _, short in EACH_FINDING for pair in expected(short).items()}
    # A hedged opacity is positive to CheXbert; CHEXPERT has the uncertain one.
    shown |= {pair for _, short in CHEXPERT for pair in expected(short).items()}
    assert shown == {(f, s) for f in DISEASES for s in SIGN.values()}
