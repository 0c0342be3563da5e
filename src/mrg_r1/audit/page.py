"""The audit page: a folder's files to one HTML file that loads nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mrg_r1.audit import agreement, scores
from mrg_r1.audit.behaviour import habits
from mrg_r1.audit.cards import cards, columns, rules
from mrg_r1.audit.comparison import compared_findings, judge_comparison
from mrg_r1.audit.confusion import confusions
from mrg_r1.audit.curves import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, draw_stages
from mrg_r1.audit.facts import facts, labeler, lonely
from mrg_r1.audit.health import health
from mrg_r1.audit.load import Run, load_run
from mrg_r1.audit.moments import moments
from mrg_r1.audit.pictures import Images
from mrg_r1.audit.studies import choose, examples, samples
from mrg_r1.audit.text import count, number, short, signed, visible
from mrg_r1.audit.verdict import interval, judge
from mrg_r1.errors import ConfigError
from mrg_r1.findings import FINDINGS, Status
from mrg_r1.records import replacing


def write_audit(
    run: Path, out: Path | None = None, *, studies: int = 60, images: Images = "auto"
) -> Path:
    """Draws the audit page of a run, or of a comparison; needs neither torch nor network.

    Args:
        run: the folder that training left behind, finished or not, or that of a comparison.
        out: where the page goes; `audit.html` in the folder by default.
        studies: the most samples shown side by side, about 20 kB each per image.
        images: 'auto' leaves out those of MIMIC-CXR, which its licence does not let anyone pass
            on; 'mimic-cxr' does not; 'none' leaves out all.

    Returns:
        The path of the page.

    Raises:
        DataError: neither run nor comparison, nothing to show yet, or a damaged file.
        ConfigError: `studies` is negative.
    """
    if studies < 0:
        raise ConfigError(f"audit: cannot show {studies} studies; give 0 or more")
    out = run / "audit.html" if out is None else out
    html = render(load_run(run), studies=studies, images=images)
    with replacing(out) as file:
        file.write(html)
    return out


def render(run: Run, *, studies: int = 60, images: Images = "auto") -> str:
    """The page of a run or a comparison; the same files give the same text."""
    style, script = _asset("audit.css"), _asset("audit.js")
    selection = choose(samples(run), studies)
    variants = scores.ce_variants(run.evaluation)
    system_names, other_rows = scores.other_scores(run.evaluation)
    names = [column.name for column in columns(run)]
    template = _environment().get_template("audit.html")
    return template.render(
        _VOCABULARY,
        run=run,
        style=Markup(style),
        script=Markup(script),
        csp=_content_security_policy(style, script),
        facts=facts(run),
        recipe_text=_pretty(run.recipe),
        versions_text=_pretty(run.versions),
        names=scores.NAMES if run.trained else {},
        columns=columns(run),
        verdict=judge(run) if run.trained else judge_comparison(run),
        stages=draw_stages(run.metrics),
        health=health(run.metrics),
        variants=variants,
        choices=scores.choices(variants) if variants else None,
        systems=scores.in_order(run.evaluation),
        system_names=system_names,
        other_rows=other_rows,
        finding_rows=scores.finding_rows(run.evaluation, run.readings) if run.trained else (),
        compared=() if run.trained else compared_findings(run),
        mapping=scores.counted_mapping(run.evaluation, run.readings),
        confusions=confusions(run.readings, names),
        habits=habits(run, names),
        selection=selection,
        cards=cards(run, selection.samples, images),
        evidence=rules(run).identity,
        labeler=labeler(run),
        examples=examples(selection.samples),
        lonely=lonely(run),
        moments=moments(run.completions),
    )


_VOCABULARY: dict[str, Any] = {
    "number": number,
    "short": short,
    "signed": signed,
    "interval": interval,
    "count": count,
    "defined": scores.defined,
    "kinds": agreement.Agreement,
    "error_kinds": (*agreement.ERRORS, agreement.Agreement.MISMATCH),
    "kind_matrix": agreement.matrix(),
    "statuses": Status,
    "status_words": agreement.WORDS,
    "pair_kind": agreement.agreement,
    "findings": FINDINGS,
    "averages": scores.AVERAGES,
    "label_sets": scores.LABEL_SETS,
    "mappings": scores.MAPPINGS,
    "metrics": scores.METRICS,
    "plot": {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "bottom": HEIGHT - BOTTOM,
    },
}
"""What the templates call, and the words and measures they share with the code."""


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("mrg_r1.audit"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )


def _finalize(value: object) -> object:
    """Whatever a template prints has passed here: text from the run shows what it hides."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _asset(name: str) -> str:
    return (resources.files("mrg_r1.audit") / "templates" / name).read_text("utf-8")


def _content_security_policy(style: str, script: str) -> str:
    """Forbids the network, and every style and script but our two, known by their digests."""
    return (
        "default-src 'none'; img-src data:; "
        f"style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()


def _pretty(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) if document else ""
