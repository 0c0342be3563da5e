"""Each trainer's call, in the shape its own source gives it."""

import importlib.util
import pickle
import re
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from literal_labeler import LiteralLabeler
from mrg_r1.completion import render
from mrg_r1.errors import DataError
from mrg_r1.findings import Labels
from mrg_r1.labelers.rules import RulesLabeler
from mrg_r1.rewards.format import FormatReward
from mrg_r1.rewards.integrations import easyr1, openrlhf, swift, trl, verl
from mrg_r1.rewards.mccs import MccsReward
from mrg_r1.rewards.penalties import LengthPenalty
from mrg_r1.rewards.total import TotalReward

REFERENCE = "Large right pleural effusion. No pneumothorax."
HONEST = render("an effusion", "Right pleural effusion. No pneumothorax.")
HALF = "<report>Right pleural effusion. No pneumothorax.</report>"
WRONG = render("nothing", "No pleural effusion. No pneumothorax.")
COMPLETIONS = [HONEST, HALF, WRONG, ""]
TOTALS = [1.0, 0.75 + 0.25 * 0.5, 0.25, 0.0]
MCCS = [1.0, 1.0, 0.0, 0.0]
FORMAT = [1.0, 0.5, 1.0, 0.0]


def test_the_total_is_the_weighted_sum() -> None:
    total = TotalReward.paper()
    assert total(COMPLETIONS, [REFERENCE] * 4) == pytest.approx(TOTALS)
    rows = total.components(COMPLETIONS, [REFERENCE] * 4)
    assert [row["mccs"] for row in rows] == pytest.approx(MCCS)
    assert [row["format"] for row in rows] == FORMAT
    assert list(rows[0]) == ["reward", "mccs", "format"]
    assert total.components([], []) == []
    assert pickle.loads(pickle.dumps(TotalReward.paper(LiteralLabeler()))).__name__ == "reward"


def test_the_datas_fault_raises() -> None:
    with pytest.raises(DataError, match="reference 0 is empty"):
        TotalReward.paper()(["a"], [""])


def test_no_number_is_no_reward() -> None:
    class Broken:
        __name__ = "broken"

        def __call__(self, completions: object, reference: object, **_: object) -> list[float]:
            return [0.0, float("nan")]

    with pytest.raises(DataError, match="completion 1 earns"):
        TotalReward(((Broken(), 1.0),))(["a", "b"], ["r", "r"])


class _Alone(LiteralLabeler):
    """Fails where two threads are inside at once."""

    inside = threading.Lock()

    def label(self, reports: Sequence[str]) -> list[Labels]:
        assert self.inside.acquire(blocking=False)
        try:
            time.sleep(0.001)
            return super().label(reports)
        finally:
            self.inside.release()


def test_many_threads_may_call() -> None:
    total = TotalReward.paper(_Alone())
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(total, [render("a", f"Edema+ {i}")], ["Edema+"]) for i in range(40)]
        assert [call.result()[0] for call in calls] == pytest.approx([1.0] * 40)


def test_trl() -> None:
    names = [reward.__name__ for reward in trl.reward_funcs]
    assert (names, trl.reward_weights) == (["mccs", "format"], [0.75, 0.25])
    messages = [[{"role": "assistant", "content": text}] for text in COMPLETIONS]
    values = trl.reward_funcs[0](
        completions=messages,
        reference=[REFERENCE] * 4,
        prompts=[""] * 4,
        completion_ids=[[0]] * 4,
        trainer_state=None,
        log_extra=lambda *_: None,
        log_metric=lambda *_: None,
    )
    assert values == pytest.approx(MCCS)


def test_verl_calls_once_a_sample_by_keywords() -> None:
    score = verl.compute_score(
        data_source="iu-xray",
        solution_str=HALF,
        ground_truth=REFERENCE,
        extra_info={"num_turns": None, "rollout_reward_scores": {}},
        reward_router_address=None,
        reward_model_tokenizer=None,
    )
    assert score == pytest.approx({"score": TOTALS[1], "mccs": 1.0, "format": 0.5})


def test_verls_batch_manager() -> None:
    scores = verl.compute_scores(
        data_sources=["x"] * 4,
        solution_strs=COMPLETIONS,
        ground_truths=[REFERENCE] * 4,
        extra_infos=[{}] * 4,
    )
    assert [score["score"] for score in scores] == pytest.approx(TOTALS)


def test_swift_makes_the_reward_and_calls_it_with_columns() -> None:
    assert set(swift.ORMS) == {"report_mccs", "report_format"}
    reward = swift.ORMS["report_mccs"](args=object())
    values = reward(COMPLETIONS, reference=[REFERENCE] * 4, trainer_state=None, messages=[[]] * 4)
    assert values == pytest.approx(MCCS)
    assert type(reward).__name__ == "MccsReward"


PROMPT = "<|im_start|>user\n<|image_pad|>Report this X-ray.<|im_end|>\n<|im_start|>assistant\n"
QUERIES = {
    "the prompt as it was": PROMPT + HONEST,
    "with end tokens": PROMPT + HONEST + "<|im_end|>\n<|endoftext|>",
    "an image in the prompt": PROMPT.replace("<|image_pad|>", "<|image_pad|>" * 99) + HONEST,
    "the prompt cut from its beginning": PROMPT[8:] + HONEST + "</s>",
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_openrlhf_queries_hold_the_prompt(query: str) -> None:
    answer = openrlhf.reward_func([query], [PROMPT], [REFERENCE])
    assert answer["rewards"] == answer["scores"] == pytest.approx(1.0)
    assert answer["extra_logs"] == pytest.approx({"mccs": 1.0, "format": 1.0})


def test_openrlhf_sees_what_stands_around_the_answer() -> None:
    echo = PROMPT + PROMPT + HONEST
    assert openrlhf.reward_func([echo], [PROMPT], [REFERENCE])["rewards"] == pytest.approx(0.875)
    text_after = PROMPT + HONEST + " and more"
    assert openrlhf.reward_func([text_after], [PROMPT], [REFERENCE])["extra_logs"]["format"] == 0


def test_openrlhf_batches_and_scores_in_range() -> None:
    parts = ((MccsReward(RulesLabeler()), 1.0), (FormatReward(), 1.0), (LengthPenalty(), 1.0))
    reward_func = openrlhf.make(TotalReward(parts))
    answer = reward_func([PROMPT + HONEST, PROMPT], [PROMPT] * 2, [REFERENCE] * 2)
    assert answer["rewards"] == pytest.approx([2.0, -1.0])
    assert answer["scores"] == [1.0, 0.0]
    assert answer["extra_logs"]["length"] == [0.0, -1.0]


def test_openrlhf_without_the_prompt() -> None:
    with pytest.raises(DataError, match="without the end of its prompt"):
        openrlhf.reward_func([HONEST], [PROMPT], [REFERENCE])


def test_easyr1() -> None:
    assert easyr1.REWARD_TYPE == "batch"
    inputs = [
        {"response": text, "response_length": 3, "ground_truth": REFERENCE} for text in COMPLETIONS
    ]
    scores = easyr1.compute_score(inputs)
    assert [score["overall"] for score in scores] == pytest.approx(TOTALS)
    assert scores[1] == pytest.approx({"overall": TOTALS[1], "mccs": 1.0, "format": 0.5})


@pytest.mark.parametrize(("module", "name"), [(openrlhf, "reward_func"), (easyr1, "compute_score")])
def test_trainers_load_the_file_by_its_path(module: object, name: str) -> None:
    assert name in runpy.run_path(str(module.__file__))  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["trl", "verl", "swift", "openrlhf", "easyr1"])
def test_no_trainer_and_no_torch_is_imported(name: str) -> None:
    code = (
        f"import sys, mrg_r1.rewards.integrations.{name}\n"
        "bad = {'torch', 'transformers', 'trl', 'verl', 'swift', 'openrlhf', 'ray', 'vllm'}\n"
        "print(sorted(bad & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_a_plugin_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "reward.py"
    path.write_text(
        "from mrg_r1.rewards.integrations import verl\n"
        "from mrg_r1.rewards.total import TotalReward\n"
        "compute_score = verl.make(TotalReward.paper(margin=0.0))\n"
    )
    spec = importlib.util.spec_from_file_location("custom_module", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.compute_score("", HONEST, REFERENCE)["score"] == pytest.approx(1.0)


def test_the_page_of_trainers_imports_what_exists() -> None:
    page = (Path(__file__).parents[1] / "docs" / "trainers.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:
        exec(block, {})
