"""Which CE scores the literature's code bases report, under names one can ask for.

Published F1 scores differ by averaging, label set, mapping of uncertain and labeler before they
differ by model. Each preset says what one code base does. All count 0/0 as 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mrg_r1.errors import ConfigError
from mrg_r1.metrics.clinical import Uncertain
from mrg_r1.records import Score


@dataclass(frozen=True, slots=True)
class Preset:
    """A convention for CE.

    Attributes:
        uncertain: what an uncertain finding counts as.
        variants: averaging and number of findings of each score it reports, headline first.
        conventions: the published labeler it reads reports with, 'chexbert' or 'chexpert'.
        source: where the convention is from, and what it leaves open.
    """

    uncertain: Uncertain
    variants: tuple[tuple[str, int], ...]
    conventions: Literal["chexbert", "chexpert"]
    source: str

    def scores(self, scores: Iterable[Score]) -> tuple[Score, ...]:
        """The CE scores of this convention, headline first."""
        wanted = [
            {f"uncertain:{self.uncertain}", f"avg:{average}", f"labels:{labels}"}
            for average, labels in self.variants
        ]
        ce = [(score, {*score.signature.split("|")}) for score in scores]
        return tuple(score for parts in wanted for score, have in ce if parts <= have)


PRESETS: dict[str, Preset] = {
    "f1chexbert": Preset(
        uncertain="positive",
        variants=(
            *(("micro", 14), ("macro", 14), ("micro", 5), ("macro", 5)),
            *(("weighted", 14), ("weighted", 5)),
        ),
        conventions="chexbert",
        source="the f1chexbert package, and RadEval after it: scikit-learn's classification_report "
        "over 14 labels, No Finding among them, and over the 5 of the CheXpert competition",
    ),
    "r2gen": Preset(
        uncertain="negative",
        variants=(("macro", 14), ("micro", 14)),
        conventions="chexpert",
        source="compute_ce.py of R2Gen and R2GenCMN: blank and uncertain become 0, labels are the "
        "CheXpert labeler's (R2GenCMN allows CheXbert's); the papers print the macro average. They "
        "label prepared references, cut to 59 or 99 words; give those to do the same",
    ),
    "cxrmate": Preset(
        uncertain="negative",
        variants=(("macro", 14), ("micro", 14), ("example", 14)),
        conventions="chexbert",
        source="tools/metrics/chexbert.py of CXRMate: positive alone is 1. Where a study has "
        "several reports it averages their counts first; give one report a study",
    ),
    "promptmrg": Preset(
        uncertain="negative",
        variants=(("example", 14),),
        conventions="chexbert",
        source="modules/metrics_clinical.py of PromptMRG: positive alone is 1, rates of each "
        "report are averaged, and a report without positives on either side counts 0",
    ),
    "ifcc": Preset(
        uncertain="positive",
        variants=(("micro", 5),),
        conventions="chexbert",
        source="eval_prf.py of ifcc (Miura et al., NAACL 2021): the 5 findings pooled, uncertain "
        "is 1 unless asked otherwise",
    ),
    "mrg-r1": Preset(
        uncertain="positive",
        variants=(("micro", 14), ("macro", 14), ("example", 14)),
        conventions="chexbert",
        source="section IV-C of MRG-R1: CheXbert over 14 observations; uncertain is 1 as in eq. 3. "
        "The averaging is not stated, so all are given; the row Base + SFT of table II is a macro "
        "average, since it equals that of a constant normal report",
    ),
}
"""The conventions by name."""


def preset(name: str) -> Preset:
    """The convention of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in PRESETS:
        raise ConfigError(f"preset '{name}'; use one of {', '.join(PRESETS)}")
    return PRESETS[name]
