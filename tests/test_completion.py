"""The one grammar of a completion, held to what a cornered policy would write."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mrg_r1.completion import INSTRUCTION, ParsedCompletion, Violation, parse, render

V = Violation
GOOD = "<think>Clear lungs.</think><report>No effusion.</report>"
THINK, REPORT = "Clear lungs.", "No effusion."

HOSTILE: list[tuple[str, str, str, tuple[Violation, ...]]] = [
    # completion, think, report, violations
    (GOOD, THINK, REPORT, ()),
    (f"\n {GOOD}\n\n", THINK, REPORT, ()),
    ("<think>\na\n</think>\n\n<report>\nb\n</report>", "a", "b", ()),
    # nothing, or not in tags
    ("", "", "", (V.NO_REPORT,)),
    ("No effusion.", "", "", (V.NO_REPORT,)),
    ("<think>a</think>", "a", "", (V.NO_REPORT,)),
    ("<think>a", "", "", (V.NO_REPORT,)),
    ("<think>a</think>b</report>", "a", "", (V.NO_REPORT,)),
    ("<think>a</think><Report>b</Report>", "a", "", (V.NO_REPORT,)),
    ("<think>a</think>< report >b</ report >", "a", "", (V.NO_REPORT,)),
    ("<think>a</think>&lt;report&gt;b&lt;/report&gt;", "a", "", (V.NO_REPORT,)),
    ("<think>a</think>\uff1creport\uff1eb\uff1c/report\uff1e", "a", "", (V.NO_REPORT,)),
    ("<think>a</think><report/>", "a", "", (V.NO_REPORT,)),
    # minor: one unmistakable report
    ("<report>b</report>", "", "b", (V.NO_THINK,)),
    ("Sure! <report>b</report>", "", "b", (V.NO_THINK, V.TEXT_BETWEEN)),
    ("<think></think><report>b</report>", "", "b", (V.EMPTY_THINK,)),
    ("<think> \n</think><report>b</report>", "", "b", (V.EMPTY_THINK,)),
    ("Sure! <think>a</think><report>b</report>", "a", "b", (V.TEXT_BEFORE_THINK,)),
    ("<think>a</think> So: <report>b</report>", "a", "b", (V.TEXT_BETWEEN,)),
    (
        "x<think></think>y<report>b</report>",
        "",
        "b",
        (V.EMPTY_THINK, V.TEXT_BEFORE_THINK, V.TEXT_BETWEEN),
    ),
    # parts that are there and say nothing
    ("<think>...</think><report>b</report>", "...", "b", (V.EMPTY_THINK,)),
    ("<think>\u200b</think><report>b</report>", "\u200b", "b", (V.EMPTY_THINK,)),
    ("<think>a</think><report></report>", "a", "", (V.EMPTY_REPORT,)),
    ("<think>a</think><report> \n </report>", "a", "", (V.EMPTY_REPORT,)),
    ("<think>a</think><report>.</report>", "a", ".", (V.EMPTY_REPORT,)),
    ("<think>a</think><report>\u200b</report>", "a", "\u200b", (V.EMPTY_REPORT,)),
    ("<think></think><report></report>", "", "", (V.EMPTY_THINK, V.EMPTY_REPORT)),
    # cut by the length limit, or run on after it
    ("<think>a</think><report>b", "a", "b", (V.UNCLOSED_REPORT,)),
    ("<think>a</think><report>b</repor", "a", "b</repor", (V.UNCLOSED_REPORT,)),
    ("<think>a</think><report>b</report >", "a", "b</report >", (V.UNCLOSED_REPORT,)),
    ("<think>a</think><report>", "a", "", (V.UNCLOSED_REPORT, V.EMPTY_REPORT)),
    ("<report>b", "", "b", (V.NO_THINK, V.UNCLOSED_REPORT)),
    (f"{GOOD} Thank you.", THINK, REPORT, (V.TEXT_AFTER_REPORT,)),
    (f"{GOOD}.", THINK, REPORT, (V.TEXT_AFTER_REPORT,)),
    (f"{GOOD}\u200b", THINK, REPORT, (V.TEXT_AFTER_REPORT,)),
    (f"```{GOOD}```", THINK, REPORT, (V.TEXT_BEFORE_THINK, V.TEXT_AFTER_REPORT)),
    ("<think>a</think><<report>b</report>>", "a", "b", (V.TEXT_BETWEEN, V.TEXT_AFTER_REPORT)),
    # two answers
    (GOOD + GOOD, "", "", (V.REPEATED_TAG,)),
    ("<think>a</think><report>b</report><report>c</report>", "", "", (V.REPEATED_TAG,)),
    ("<think>a</think><report>b<report>c</report>", "", "", (V.REPEATED_TAG,)),
    ("<think>a</think><report><report>b</report></report>", "", "", (V.REPEATED_TAG,)),
    (f"{GOOD}</report>", "", "", (V.REPEATED_TAG,)),
    (f"{GOOD}</report></report></report>", "", "", (V.REPEATED_TAG,)),
    ("<think>a<think>b</think><report>c</report>", "", "", (V.REPEATED_TAG,)),
    ("<think>a</think><think>b</think><report>c</report>", "", "", (V.REPEATED_TAG,)),
    # out of order, nested, unbalanced
    ("<report>b</report><think>a</think>", "", "", (V.WRONG_ORDER,)),
    ("<think><report>b</report></think>", "", "", (V.WRONG_ORDER,)),
    ("<think>a<report>b</think></report>", "", "", (V.WRONG_ORDER,)),
    ("<report><think>a</think>b</report>", "", "", (V.WRONG_ORDER,)),
    ("<report>b<think>a</think></report>", "", "", (V.WRONG_ORDER,)),
    ("</report>b<report>", "", "", (V.WRONG_ORDER,)),
    ("<think>a<report>b</report>", "", "", (V.WRONG_ORDER,)),
    ("a</think><report>b</report>", "", "", (V.WRONG_ORDER,)),
    ("</think>a<think><report>b</report>", "", "", (V.WRONG_ORDER,)),
]


@pytest.mark.parametrize(("completion", "think", "report", "violations"), HOSTILE)
def test_hostile(
    completion: str, think: str, report: str, violations: tuple[Violation, ...]
) -> None:
    assert parse(completion) == ParsedCompletion(think, report, violations)


def test_a_prefilled_think_tag_counts() -> None:
    rest = "a</think><report>b</report>"
    assert parse(rest, prefill="<think>") == ParsedCompletion("a", "b", ())
    assert parse(rest, prefill="<think>\n") == ParsedCompletion("a", "b", ())
    assert parse("<think>" + rest, prefill="<think>").violations == (V.REPEATED_TAG,)


MINOR = {V.NO_THINK, V.EMPTY_THINK, V.TEXT_BEFORE_THINK, V.TEXT_BETWEEN}


@pytest.mark.parametrize("violation", list(Violation))
def test_minor_is_what_stands_before_the_report(violation: Violation) -> None:
    assert violation.minor is (violation in MINOR)


def test_the_default_prompt_names_the_tags() -> None:
    for tag in ("<think>", "</think>", "<report>", "</report>"):
        assert tag in INSTRUCTION


TAG = re.compile(r"</?(?:think|report)>")
TAG_FREE = st.text(max_size=80).filter(lambda text: not TAG.search(text))
SPEAKING = TAG_FREE.filter(lambda text: any(map(str.isalnum, text)))
PIECES = st.lists(
    st.one_of(
        st.sampled_from(["<think>", "</think>", "<report>", "</report>", " ", "\n", "a", "<", ">"]),
        st.text(max_size=3),
    ),
    max_size=12,
).map("".join)


@given(SPEAKING, SPEAKING)
@example("a<", "report>b")
@example("/think>", "</ report>")
def test_render_and_parse_are_inverse(think: str, report: str) -> None:
    parsed = parse(render(think, report))
    assert parsed == ParsedCompletion(think.strip(), report.strip(), ())


@given(PIECES)
def test_any_text_parses_and_only_full_compliance_is_free_of_violations(text: str) -> None:
    parsed = parse(text)
    full = re.fullmatch(
        r"\s*<think>((?:(?!</?think>|</?report>).)*)</think>\s*"
        r"<report>((?:(?!</?think>|</?report>).)*)</report>\s*",
        text,
        re.DOTALL,
    )
    speaking = full is not None and all(any(map(str.isalnum, part)) for part in full.groups())
    assert (parsed.violations == ()) is speaking
    assert len(set(parsed.violations)) == len(parsed.violations)
    assert parsed.think in text
    assert parsed.report in text


@given(PIECES)
def test_partial_credit_needs_exactly_one_closed_report(text: str) -> None:
    parsed = parse(text)
    if all(violation.minor for violation in parsed.violations):
        assert text.count("<report>") == text.count("</report>") == 1
        assert text.rstrip().endswith("</report>")
        assert parsed.report


@given(SPEAKING, SPEAKING, st.text(min_size=1, max_size=20).filter(str.strip))
def test_nothing_may_follow_the_report(think: str, report: str, tail: str) -> None:
    violations = parse(render(think, report) + tail).violations
    assert any(not violation.minor for violation in violations)


def test_a_long_completion_takes_linear_time() -> None:
    parse("<report>" * 100_000)
    parse("<" * 1_000_000)
    assert parse(render("a " * 100_000, "b " * 100_000)).violations == ()
