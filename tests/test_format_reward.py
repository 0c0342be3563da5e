import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrg_r1.completion import INSTRUCTION, parse, render
from mrg_r1.errors import DataError
from mrg_r1.rewards.format import FormatReward, format_score

GOOD = "<think>lungs clear</think><report>No effusion.</report>"

HOSTILE = {
    "full compliance": (GOOD, 1.0),
    "white space around the parts": ("\n " + GOOD.replace("><", "> \n <") + "\n\n", 1.0),
    "nothing": ("", 0.0),
    "white space": (" \n\t", 0.0),
    "text without tags": ("No effusion.", 0.0),
    "the words think and report": ("think: clear. report: no effusion", 0.0),
    "no think part": ("<report>No effusion.</report>", 0.5),
    "empty think part": ("<think> </think><report>No effusion.</report>", 0.5),
    "text before think": ("Sure! " + GOOD, 0.5),
    "text between": ("<think>a</think> so <report>b</report>", 0.5),
    "two minor": ("Sure! <think></think><report>b</report>", 0.25),
    "three minor": ("Sure! <think></think> so <report>b</report>", 0.25),
    "think only": ("<think>lungs clear</think>", 0.0),
    "empty report": ("<think>a</think><report> \n</report>", 0.0),
    "report not closed": ("<think>a</think><report>No effusion.", 0.0),
    "think not closed": ("<think>a<report>b</report>", 0.0),
    "stray closing tag": (GOOD + "</think>", 0.0),
    "stray closing report": (GOOD + "</report>", 0.0),
    "trailing junk": (GOOD + " No effusion. No effusion.", 0.0),
    "two answers": (GOOD + GOOD, 0.0),
    "two reports": ("<think>a</think><report>b</report><report>c</report>", 0.0),
    "report inside think": ("<think><report>b</report></think>", 0.0),
    "report before think": ("<report>b</report><think>a</think>", 0.0),
    "tags only": ("<think></think><report></report>", 0.0),
    "minor and major": ("Sure! " + GOOD + " bye", 0.0),
    "other case": ("<THINK>a</THINK><REPORT>b</REPORT>", 0.0),
    "escaped tags": ("&lt;think&gt;a&lt;/think&gt;&lt;report&gt;b&lt;/report&gt;", 0.0),
    "tag with an attribute": ("<think>a</think><report lang='en'>b</report>", 0.0),
    "tags with spaces": ("< think >a</ think >< report >b</ report >", 0.0),
    "tags of another grammar": ("<think>a</think><answer>b</answer>", 0.0),
    "self-closing tags": ("<think/><report/>", 0.0),
    "an opening tag never finished": ("<think>a</think><report", 0.0),
    "only the opening tags": ("<think><report>", 0.0),
    "only the closing tags": ("a</think>b</report>", 0.0),
    "tag soup": ("<report><think></report></think><report></think>", 0.0),
    "the prompt echoed": (INSTRUCTION, 0.0),
    "the prompt echoed, then an answer": (INSTRUCTION + GOOD, 0.0),
    "two think parts": ("<think>a</think><think>b</think><report>c</report>", 0.0),
    "a second think after the report": (GOOD + "<think>b</think>", 0.0),
    "a report inside a report": ("<think>a</think><report>b<report>c</report></report>", 0.0),
    "an end-of-turn token after the report": (GOOD + "<|im_end|>", 0.0),
    "a full stop after the report": (GOOD + ".", 0.0),
    "a report of punctuation": ("<think>a</think><report>...</report>", 0.0),
    "a report of a zero-width space": ("<think>a</think><report>\u200b</report>", 0.0),
    "a think part of punctuation": ("<think>...</think><report>b</report>", 0.5),
    "a mention of a tag in the think part": ("<think>in <report> I</think><report>b</report>", 0.0),
    "another tag inside the report": ("<think>a</think><report><b>b</b></report>", 1.0),
    "a code fence around it": (f"```\n{GOOD}\n```", 0.0),
    "a heading before the report": ("<think>a</think>Report: <report>b</report>", 0.5),
    "50 kB in the think part": (f"<think>{'word ' * 10_000}</think><report>b</report>", 1.0),
    "50 kB of opening tags": ("<report>" * 6_250, 0.0),
    "a null character": ("<think>a</think>\0<report>b</report>", 0.5),
}


def test_the_table_is_long_enough() -> None:
    assert len(HOSTILE) >= 40


@pytest.mark.parametrize(("completion", "expected"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_completions(completion: str, expected: float) -> None:
    assert FormatReward()([completion]) == [expected]


def test_a_batch_keeps_its_order_and_ignores_other_columns() -> None:
    completions, expected = zip(*HOSTILE.values(), strict=True)
    rewards = FormatReward()(completions, reference=["r"] * len(completions), prompts=["p"])
    assert rewards == list(expected)
    assert all(type(reward) is float for reward in rewards)
    assert FormatReward()([]) == []


def test_conversational_completions_and_parts() -> None:
    parts = [{"type": "text", "text": GOOD[:30]}, {"type": "image"}, {"type": "text", "text": ""}]
    completions = [
        [{"role": "assistant", "content": GOOD}],
        [{"role": "assistant", "content": [*parts, {"type": "text", "text": GOOD[30:]}]}],
        [{"role": "assistant", "content": GOOD}, {"role": "assistant", "content": GOOD}],
        [{"role": "assistant", "content": None}, {"role": "tool", "content": GOOD}],
        [],
    ]
    assert FormatReward()(completions) == [1.0, 1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "completion", [None, 3, [{"role": "assistant"}], ["text"], [{"content": 3}]]
)
def test_a_completion_of_another_shape_is_the_callers_fault(completion: object) -> None:
    with pytest.raises(DataError, match="completion 1 is neither text nor messages"):
        FormatReward()([GOOD, completion])  # type: ignore[list-item]


def test_lengths_must_match() -> None:
    with pytest.raises(DataError, match="1 completions but 2 references"):
        FormatReward()([GOOD], ["a", "b"])


def test_the_template_may_have_opened_think() -> None:
    assert FormatReward(prefill="<think>")([GOOD.removeprefix("<think>"), GOOD]) == [1.0, 0.0]


def test_name_and_pickle() -> None:
    reward = FormatReward(prefill="<think>")
    assert reward.__name__ == "format"
    assert FormatReward.__name__ == "FormatReward"
    assert pickle.loads(pickle.dumps(reward)) == reward


@given(st.text())
def test_any_text_has_one_of_four_grades(text: str) -> None:
    assert format_score(text) in (0.0, 0.25, 0.5, 1.0)


@given(st.text(), st.text())
def test_full_credit_means_no_violation(think: str, report: str) -> None:
    completion = render(think, report)
    assert (format_score(completion) == 1.0) == (parse(completion).violations == ())


@given(st.text(min_size=1).filter(str.strip))
def test_a_tail_always_costs_everything(tail: str) -> None:
    assert format_score(GOOD + tail) == 0.0
