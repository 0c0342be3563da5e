"""What of a recipe a plan reads, what it adds up, and what `docs/plan.md` shows of it."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mrg_r1.cli import main
from mrg_r1.config import Recipe, load_recipe
from mrg_r1.errors import ConfigError
from mrg_r1.plan.advice import changes
from mrg_r1.plan.job import Job, job_of
from mrg_r1.plan.memory import GIB, Load, is_shared, peak, rows, state_bytes
from mrg_r1.plan.planning import Given, Plan, make_plan

PAPER = load_recipe("paper-iu-xray")
TWO = "2xA100-80GB"
DOCUMENT = Path(__file__).parents[1] / "docs" / "plan.md"


def with_srl(recipe: Recipe = PAPER, /, **options: Any) -> Recipe:
    return replace(recipe, srl={**recipe.srl, **options})


def without(key: str) -> Recipe:
    return replace(PAPER, srl={k: v for k, v in PAPER.srl.items() if k != key})


def plan(recipe: Recipe = PAPER, gpus: str = TWO, **given: Any) -> Plan:
    return make_plan(recipe, gpus, Given(**given))


def sizes(made: Plan) -> dict[str, float]:
    return {line.name: line.size for line in made.lines}


def job(gpus: int = 2, **options: Any) -> Job:
    return job_of({"per_device_train_batch_size": 4, **options}, gpus)


def test_the_papers_step() -> None:
    made = plan().job
    assert (made.each, made.parts, made.batch, made.sampled, made.prompts) == (4, 2, 16, 8, 4)
    assert (made.sharding.engine, made.eight_bit, made.bf16) == ("ZeRO-1", True, True)


@pytest.mark.parametrize(
    ("options", "samples", "steps"),
    [
        ({"num_train_epochs": 1}, 17, 8),  # 2 prompts a step; the 17th is left out
        ({"num_train_epochs": 1, "gradient_accumulation_steps": 2}, 17, 4),
        ({"num_train_epochs": 1, "num_iterations": 2}, 17, 16),
        ({"num_train_epochs": 1, "steps_per_generation": 2}, 17, 8),  # 4 prompts for 2 steps
        ({"num_train_epochs": 0.5}, 17, 4),
        ({}, 17, 24),  # 3 epochs
        ({"max_steps": 7}, 17, 7),
    ],
)
def test_steps(options: dict[str, Any], samples: int, steps: int) -> None:
    assert job(**options).steps(samples) == steps


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, False),
        ({"num_iterations": 2}, True),
        ({"steps_per_generation": 2}, True),
        ({"steps_per_generation": 1, "gradient_accumulation_steps": 2}, False),
        ({"use_vllm": True}, True),
        ({"use_vllm": True, "vllm_importance_sampling_correction": False}, False),
    ],
)
def test_when_the_old_policy_is_asked(options: dict[str, Any], asked: bool) -> None:
    assert job(**options).old_policy is asked


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"effective_batch_size": 12}, r"^srl.effective_batch_size: 12 is not 2 processes x "),
        ({"num_generations": 3}, r"^srl.num_generations: a generation of 8 completions holds no"),
        ({"generation_batch_size": 12}, r"^srl.generation_batch_size: 12 is no multiple of 8"),
        ({"optim": "adafactor"}, r"^srl.optim: the states of 'adafactor' are not planned; adamw_t"),
        ({"deepspeed": "nope.json"}, r"^srl.deepspeed: nope.json cannot be read"),
    ],
)
def test_jobs_that_do_not_come_out_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        job(**options)


def test_an_engines_settings_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "zero.json"
    file.write_text(json.dumps({"zero_optimization": {"stage": 3, "reduce_bucket_size": "auto"}}))
    assert job(deepspeed=str(file)).sharding.engine == "ZeRO-3"
    assert job(deepspeed=str(file)).sharding.bucket == 500_000_000


@pytest.mark.parametrize(
    ("options", "stage", "offloaded"),
    [
        ({"fsdp": "full_shard auto_wrap"}, 3, False),
        ({"fsdp": "shard_grad_op"}, 2, False),
        ({"fsdp": True, "fsdp_config": {"fsdp_reshard_after_forward": False}}, 2, False),
        ({"fsdp": True, "fsdp_config": {"offload_params": True}}, 3, True),
    ],
)
def test_fsdp(options: dict[str, Any], stage: int, offloaded: bool) -> None:
    sharding = job(**options).sharding
    assert (sharding.engine, sharding.stage, sharding.weights_on_cpu) == ("FSDP", stage, offloaded)


def test_bytes_of_the_optimizers_states() -> None:
    assert state_bytes([1000], eight_bit=False, size=4) == 8 * 1000 + 4
    assert state_bytes([1000], eight_bit=False, size=2) == 4 * 1000 + 4
    # One byte a state, and for each 256 a scale of 4; small matrices stay in 32 bits.
    assert state_bytes([4096], eight_bit=True, size=4) == 2 * 4096 + 2 * 4 * 16
    assert state_bytes([4097], eight_bit=True, size=4) == 2 * 4097 + 2 * 4 * 17
    assert state_bytes([4095], eight_bit=True, size=4) == 8 * 4095


def test_the_papers_memory_by_hand() -> None:
    found = sizes(plan(image=(28 * 40, 28 * 50), prompt=58))
    prompt = 40 * 50 + 2 + 58
    lora = 322_961_408
    assert found["weights"] == 2 * 8_292_166_656
    assert found["LoRA weights"] == found["gradients"] == 2 * lora
    assert found["32-bit copy and gradient"] == 8 * lora / 2
    assert found["optimizer states"] == pytest.approx(lora * (2 + 8 / 256) / 2)
    assert found["KV cache"] == 8 * (prompt + 512) * 2 * 28 * 4 * 128 * 2
    assert found["activations, kept"] == (prompt - 1 + 4 * 512) * 28 * 3584 * 2
    assert found["logits, update"] == 2048 * 32768 * 2 + 2048 * 3584 * 4
    assert found["pixels"] == 8 * (4 * 40 * 50) * (3 * 2 * 14 * 14) * 4
    assert found["CheXbert"] == 4 * 109_523_766


def test_the_two_phases_do_not_meet() -> None:
    made = plan()
    found = peak(made.lines)
    assert made.peak == max(found.values())
    assert sum(found.values()) - made.peak < sum(sizes(made).values()) < sum(found.values())


STAGES = {
    0: ({"weights": 1, "LoRA weights": 2, "gradients": 2}, None),
    1: ({"weights": 1, "LoRA weights": 1, "gradients": 1}, 0.5),
    2: ({"weights": 1, "LoRA weights": 1, "gradients": 0.5}, 0.5),
    3: ({"weights": 0.5, "LoRA weights": 0.5, "gradients": 0.5}, 0.5),
}


@pytest.mark.parametrize("stage", STAGES)
def test_what_each_stage_shards(stage: int) -> None:
    """Shares of the sizes in 16 bits; without DeepSpeed an adapter is kept in 32."""
    recipe = (
        with_srl(deepspeed={"zero_optimization": {"stage": stage}})
        if stage
        else (without("deepspeed"))
    )
    found, (shares, copy) = sizes(plan(recipe)), STAGES[stage]
    whole = {"weights": 8_292_166_656} | dict.fromkeys(("LoRA weights", "gradients"), 322_961_408)
    for name, share in shares.items():
        assert found[name] == 2 * whole[name] * share
    assert ("DDP's buckets" in found) == (stage == 0)
    assert ("weights, gathered" in found) == (stage == 3)
    if copy:
        assert found["32-bit copy and gradient"] == 8 * 322_961_408 * copy


def test_what_may_lie_in_main_memory() -> None:
    zero = {"stage": 3, "offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "cpu"}}
    found = sizes(plan(with_srl(deepspeed={"zero_optimization": zero})))
    assert found["weights"] == found["optimizer states"] == 0
    assert "32-bit copy and gradient" not in found


def test_all_weights_learn_without_an_adapter() -> None:
    recipe = replace(PAPER, policy=replace(PAPER.policy, lora=None))
    made = plan(recipe)
    assert made.learning == 8_292_166_656
    assert sizes(made)["reference"] == sizes(made)["weights"]
    assert not made.fits
    assert "reference" not in sizes(plan(with_srl(recipe, beta=0.0)))


def test_vllm_takes_its_share_or_none() -> None:
    shared = sizes(plan(with_srl(use_vllm=True, vllm_gpu_memory_utilization=0.25)))
    assert shared["vLLM"] == 0.25 * 79.1 * GIB
    assert "KV cache" not in shared
    assert "vLLM" not in sizes(plan(with_srl(use_vllm=True, vllm_mode="server")))


def test_four_bits() -> None:
    found = sizes(plan(replace(PAPER, policy=replace(PAPER.policy, quantization="4bit"))))
    linear = plan().model.shape.linear_weights
    assert found["weights"] == pytest.approx(
        linear * (0.5 + 1 / 64 + 1 / 4096) + 2 * (8_292_166_656 - linear)
    )


def test_8_bit_states_of_embeddings_are_kept_in_32_bits_where_they_learn() -> None:
    recipe = replace(without("deepspeed"), policy=replace(PAPER.policy, lora=None))
    words = 152_064 * 3584
    rest = 8_292_166_656 - words
    expected = 8 * words + state_bytes([rest], eight_bit=True, size=2)
    assert sizes(plan(recipe))["optimizer states"] == expected


def test_checkpointing_keeps_one_layer() -> None:
    with_it, without_it = plan(), plan(with_srl(gradient_checkpointing=False))
    one = sizes(with_it)["activations, one layer"]
    assert sizes(without_it)["activations"] == 28 * one
    assert with_it.step_seconds > without_it.step_seconds


@pytest.mark.parametrize(
    ("options", "prompt", "shared", "expected"),
    [
        ({}, 6554, True, (1, 6553 + 4 * 512)),
        ({}, 20, False, (4, 20 + 512)),  # sharing would spare less than 5 %
        ({"share_prompts": False}, 6554, False, (4, 6554 + 512)),
        ({"per_device_train_batch_size": 8}, 6554, True, (2, 6553 + 4 * 512)),
        ({"per_device_train_batch_size": 2}, 6554, True, (1, 6553 + 2 * 512)),
    ],
)
def test_rows_of_groups(
    options: dict[str, Any], prompt: int, shared: bool, expected: tuple[int, int]
) -> None:
    made, load = job(max_completion_length=512, **options), Load(prompt, 0, 0)
    assert is_shared(made, load) is shared
    assert rows(made, load, shared) == expected


def test_time_follows_its_assumptions() -> None:
    slow, fast = plan(), plan(rates=replace(Given().rates, mfu=0.8))
    seconds = [{part.name: part.seconds for part in made.parts} for made in (slow, fast)]
    assert seconds[0]["update"] == pytest.approx(2 * seconds[1]["update"])
    assert seconds[0]["writing"] == seconds[1]["writing"] == pytest.approx(512 * 0.05)
    assert plan(completion=100).hours < slow.hours
    assert slow.hours == pytest.approx(
        (slow.steps * slow.step_seconds + slow.judging.seconds) / 3600
    )


def test_more_gpus_take_less_time_and_as_many_steps() -> None:
    two, four = plan(), plan(gpus="4xA100-80GB")
    assert (two.steps, two.job.batch) == (four.steps, four.job.batch)
    assert four.hours < two.hours


def test_every_change_lowers_memory_and_the_last_is_the_least() -> None:
    now = plan(gpus="1xRTX-4090-24GB")
    found = changes(PAPER, "1xRTX-4090-24GB", Given())
    peaks = [now.peak, *(change.after.peak for change in found)]
    assert peaks == sorted(peaks, reverse=True)
    assert all(change.alone.peak < now.peak for change in found)
    assert not now.fits
    assert found[-1].after.fits


def test_samples_and_sizes_are_counted_where_the_data_are(tmp_path: Path) -> None:
    lines = ["id,image,report,split"]
    drawn = [("train", 56), ("train", 84), ("train", 84), ("test", 9)]
    for number, (split, width) in enumerate(drawn):
        Image.new("L", (width, 112)).save(tmp_path / f"{number}.png")
        lines.append(f"{number},{number}.png,No effusion.,{split}")
    (tmp_path / "studies.csv").write_text("\n".join(lines))
    changed = ["data.source=table", f"data.root={tmp_path / 'studies.csv'}", "data.views=first"]
    data = plan(load_recipe("paper-iu-xray", changed)).data
    assert (data.train, data.judged, data.images, data.width, data.height) == (3, 1, 1, 84, 112)
    assert data.source == f"counted in {tmp_path / 'studies.csv'}"


@pytest.mark.parametrize(
    ("views", "train", "images"), [("each", 4258, 1), ("all", 2069, 2), ("frontal", 2069, 1)]
)
def test_what_is_assumed_of_data_that_are_not_here(views: Any, train: int, images: int) -> None:
    recipe = replace(PAPER, data=replace(PAPER.data, root="nowhere", views=views))
    data = plan(recipe).data
    assert (data.train, data.images) == (train, images)
    assert data.source.startswith("assumed, for nowhere is not here: ")
    assert plan(recipe, samples=10, image=(28, 28)).data.source == "as given"


def test_a_tiny_policy_is_planned_too() -> None:
    made = plan(load_recipe("quickstart"), "L4-24GB")
    assert (made.load.image, made.steps, made.data.train) == (16, 340, 3000)
    assert made.fits


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["mrg-r1", "plan", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def test_the_command_tells_programs_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "paper-iu-xray", "--gpus", TWO, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    made = plan()
    assert (told["fits"], told["steps"], told["gpu_hours"]) == (True, 1064, 2 * made.hours)
    assert told["memory"][0]["bytes"] == 2 * 8_292_166_656
    assert run(monkeypatch, "paper-iu-xray", "--gpus", "1xRTX-4090-24GB", "--json") == 1
    assert json.loads(capsys.readouterr().out)["changes"][-1]["fits"]


def shown() -> list[tuple[str, list[list[str]]]]:
    """The document's commands, each with the rows and lines that show what it prints."""
    text = DOCUMENT.read_text(encoding="utf-8")
    parts = re.split(r"^```sh\n(mrg-r1 plan .*)\n```$", text, flags=re.MULTILINE)
    found: list[tuple[str, list[list[str]]]] = []
    for command, after in zip(parts[1::2], parts[2::2], strict=True):
        section = re.split(r"^## ", after, flags=re.MULTILINE)[0]
        table = [line.strip("|").split("|") for line in section.splitlines() if line[:1] == "|"]
        blocks = re.findall(r"^```text\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        lines = [[line] for block in blocks for line in block.splitlines()]
        found.append((command, [row for row in [*table, *lines] if not row[0].startswith(" -")]))
    return found


@pytest.mark.parametrize(("command", "rows"), shown())
def test_the_document_shows_what_the_command_prints(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    rows: list[list[str]],
) -> None:
    run(monkeypatch, *command.split()[2:])
    printed = [
        [cell.strip() for cell in re.split(r"[│┃]", line.strip("│┃ "))]
        for line in capsys.readouterr().out.splitlines()
    ]
    assert len(rows) > 5
    for row in rows:
        assert [cell.strip() for cell in row] in printed, row
