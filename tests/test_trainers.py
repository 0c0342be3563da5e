"""What stands between our samples and TRL's trainers, and the arithmetic of TRL we rely on."""

from __future__ import annotations

import errno
import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors import SafetensorError
from transformers import TrainerControl, TrainerState
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.sft_trainer import SFTTrainer

from mrg_r1.config import DataRecipe
from mrg_r1.data import phantom
from mrg_r1.data.study import Sample
from mrg_r1.errors import ConfigError, DataError, MissingExtra
from mrg_r1.findings import DISEASES, Finding, Labels, Status
from mrg_r1.policy.load import Policy
from mrg_r1.policy.settings import WarmUp
from mrg_r1.records import SampledCompletion, StepMetrics, read_jsonl
from mrg_r1.rewards.format import FormatReward
from mrg_r1.trainers import progress as shown
from mrg_r1.trainers.callbacks import WHOLE, CompletionLog, Reporter, RunRecorder
from mrg_r1.trainers.faults import faults_named
from mrg_r1.trainers.options import check_options, forbid, grpo_config, sft_config
from mrg_r1.trainers.progress import duration, progress, say
from mrg_r1.trainers.rows import rows, supervised_targets
from mrg_r1.trainers.splits import load_samples
from mrg_r1.trainers.stage import finished_checkpoint, last_whole_checkpoint
from mrg_r1.trainers.warmup import warm_up
from tiny_runs import INSTRUCTION, SIZE, in_favour_of, tiny_policy, tiny_samples

CPU = {"bf16": False, "gradient_checkpointing": False}
WEIGHTS = [0.75, 0.25]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return tiny_samples(tmp_path_factory.mktemp("studies"))


@pytest.fixture
def policy(drawn: list[Sample]) -> Policy:
    return tiny_policy(drawn)


def grpo(folder: Path, **table: Any) -> GRPOConfig:
    with faults_named(folder):
        return grpo_config({**CPU, **table}, folder, 3, reward_weights=WEIGHTS)


def test_the_papers_settings_are_the_defaults(tmp_path: Path) -> None:
    config = grpo(tmp_path, per_device_train_batch_size=8)
    assert (config.num_generations, config.loss_type, config.scale_rewards) == (4, "grpo", "group")
    assert (config.seed, config.reward_weights) == (3, WEIGHTS)
    assert config.output_dir == str(tmp_path)
    assert (config.report_to, config.push_to_hub, config.disable_tqdm) == ([], False, True)


def test_options_of_trl_pass_through(tmp_path: Path) -> None:
    config = grpo(tmp_path, loss_type="dr_grpo", beta=0, num_generations=2, scale_rewards=False)
    assert (config.loss_type, config.beta, config.num_generations) == ("dr_grpo", 0, 2)
    assert config.scale_rewards == "none"


REFUSED = {
    "unknown": ({"num_generation": 4}, r"no such option \(did you mean 'num_generations'\?\)"),
    "far from any": ({"zzz": 4}, r"srl.zzz: GRPOConfig has no such option$"),
    "two at once": ({"zzz": 4, "seed": 1}, r"srl.seed: set the recipe's seed.*; srl.zzz"),
    "weights": ({"reward_weights": [1]}, "set reward.clinical_weight and reward.format_weight"),
    "hub": ({"push_to_hub": True}, "no data or weights leave the machine"),
    "code": ({"trust_remote_code": True}, "no code of a model folder is run"),
    "strategy": ({"save_strategy": "no"}, "srl.save_strategy: set save_steps instead"),
    "group size": ({"per_device_train_batch_size": 6}, r"\[srl\] GRPOConfig: .*divisible"),
    "word": ({"learning_rate": "fast"}, r"srl.learning_rate: 'fast' is not a number"),
    "quoted": ({"max_steps": "5"}, r"srl.max_steps: '5' is not an integer"),
    "fraction": ({"num_generations": 4.5}, r"srl.num_generations: 4.5 is not an integer"),
    "no switch": ({"bf16": 1}, r"srl.bf16: 1 is not true or false"),
    "switch": ({"beta": True}, r"srl.beta: True is not a number"),
    "unknown name": ({"optim": "adamm"}, r"\[srl\] GRPOConfig: "),
    "bf16": ({"bf16": True}, r"\[srl\] GRPOConfig: .*bf16"),
    "share of steps": ({"save_steps": 0.5}, "srl.save_steps: 0.5 is not a number of steps"),
    "no steps": ({"save_steps": 0}, "srl.save_steps: "),
    "one checkpoint": ({"save_total_limit": 1}, "use 2 or more"),
    "stale": ({"steps_per_generation": 4, "save_steps": 6}, "use a multiple of 4"),
    "iterations": ({"num_iterations": 3, "save_steps": 4}, "use a multiple of 3"),
    "accumulated": (
        {"steps_per_generation": 4, "gradient_accumulation_steps": 2, "save_steps": 3},
        "use a multiple of 2",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_options_that_cannot_be_are_refused(tmp_path: Path, case: str) -> None:
    table, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message) as raised:
        grpo(tmp_path, **{"per_device_train_batch_size": 8, **table})
    assert "\n" not in str(raised.value).strip()


@pytest.mark.parametrize(
    "table",
    [
        {"steps_per_generation": 4, "save_steps": 8},
        {"num_iterations": 3, "save_steps": 6},
        {"gradient_accumulation_steps": 4, "save_steps": 1},
        {"steps_per_generation": 4, "gradient_accumulation_steps": 2, "save_steps": 4},
        {"save_total_limit": 3},
    ],
    ids=str,
)
def test_checkpoints_on_fresh_generations_are_allowed(
    tmp_path: Path, table: dict[str, Any]
) -> None:
    assert grpo(tmp_path, per_device_train_batch_size=8, **table)


def test_names_are_checked_without_a_machine_that_could_train() -> None:
    check_options("srl", {"bf16": True, "num_generations": 4, "deepspeed": {}})
    with pytest.raises(ConfigError, match=r"sft.beta: SFTConfig has no such option"):
        check_options("sft", {"beta": 0.1})


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match=r"package that is not installed: .*deepspeed"):
        grpo(tmp_path, deepspeed={"zero_optimization": {"stage": 1}})


def test_forbidden_tokens_add_to_the_recipes_own(tmp_path: Path) -> None:
    config = grpo(tmp_path, generation_kwargs={"suppress_tokens": [9], "num_beams": 1})
    forbid(config, [5, 7])
    assert config.generation_kwargs == {"suppress_tokens": [5, 7, 9], "num_beams": 1}


def test_forbidden_tokens_are_biased_away_under_vllm(tmp_path: Path) -> None:
    config = grpo(tmp_path, generation_kwargs={"logit_bias": {9: -1.0}})
    config.use_vllm = True
    forbid(config, [5])
    assert config.generation_kwargs == {"logit_bias": {9: -1.0, 5: -100.0}}


def one_step(policy: Policy, drawn: Sequence[Sample], folder: Path, reward: Any) -> GRPOTrainer:
    """TRL's own trainer, unmodified, after one step of two groups of four."""
    with faults_named(folder):
        config = grpo_config(
            {
                **CPU,
                "per_device_train_batch_size": 8,
                "max_steps": 1,
                "max_completion_length": 4,
                "learning_rate": 0.0,
            },
            folder,
            0,
            reward_weights=[1.0],
        )
        forbid(config, policy.forbidden_tokens())
        policy.save(folder / "start")
        policy.model.config._name_or_path = str(folder / "start")
        trainer = GRPOTrainer(
            model=policy.model,
            reward_funcs=[reward],
            args=config,
            train_dataset=rows(drawn, INSTRUCTION),
            processing_class=policy.processor,
        )
        trainer.train()
    return trainer


@pytest.mark.slow
def test_trl_divides_by_the_sample_standard_deviation(
    policy: Policy, drawn: list[Sample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [0.0, 0.25, 0.5, 1.0, 0.3, 0.3, 0.3, 0.9]

    def reward(completions: Sequence[Any], **columns: Any) -> list[float]:
        return given

    trainer = one_step(policy, drawn, tmp_path, reward)
    taken = torch.tensor(list(trainer._logs["advantages"])).view(2, 4)
    groups = torch.tensor(given).view(2, 4)
    centred = groups - groups.mean(dim=1, keepdim=True)
    sample = centred / (groups.std(dim=1, keepdim=True) + 1e-4)
    assert torch.allclose(taken, sample)
    population = centred / (groups.var(dim=1, correction=0, keepdim=True) + 1e-8).sqrt()  # eq. 2
    assert torch.allclose(taken, math.sqrt(3 / 4) * population, atol=1e-3)
    assert not torch.allclose(taken, population, atol=0.1)


@pytest.mark.slow
def test_trl_never_samples_control_tokens(
    policy: Policy, drawn: list[Sample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sampled: list[int] = []

    def reward(completions: Sequence[Any], completion_ids: Any, **columns: Any) -> list[float]:
        sampled.extend(token for ids in completion_ids for token in ids)
        return [0.0] * len(completions)

    allowed = policy.processor.tokenizer.convert_tokens_to_ids("a")
    with in_favour_of(policy, [*policy.forbidden_tokens(), allowed]):
        one_step(policy, drawn, tmp_path, reward)
    assert set(sampled) == {allowed}


def test_sft_learns_the_completion_and_its_end_only(
    policy: Policy, drawn: list[Sample], tmp_path: Path
) -> None:
    targets = ["<think>a b</think><report>c</report>", "<think>a</think><report>b</report>"]
    with faults_named(tmp_path):
        trainer = SFTTrainer(
            model=policy.model,
            args=sft_config({**CPU, "per_device_train_batch_size": 2}, tmp_path, 0),
            train_dataset=rows(drawn[:2], INSTRUCTION, targets),
            processing_class=policy.processor,
        )
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(2)])
    for ids, labels, target in zip(batch["input_ids"], batch["labels"], targets, strict=True):
        learnt = policy.processor.tokenizer.decode(labels[labels != -100])
        assert learnt == f"{target}<|im_end|>\n"
        assert INSTRUCTION in policy.processor.tokenizer.decode(ids)
    assert batch["pixel_values"].shape[0] == 2 * 16


def test_rows_read_their_images_when_asked(drawn: list[Sample], tmp_path: Path) -> None:
    gone = replace(drawn[0], images=(tmp_path / "gone.png",))
    data = rows([drawn[1], gone], "Look.", ["one", "two"])
    row = data[0]
    assert row["prompt"] == [{"role": "user", "content": "Look."}]
    assert row["completion"] == [{"role": "assistant", "content": "one"}]
    assert (row["id"], row["reference"]) == (drawn[1].id, drawn[1].reference)
    assert [(image.mode, image.size) for image in row["images"]] == [("RGB", (SIZE, SIZE))]
    with pytest.raises(DataError, match="no such image"):
        data[1]


def test_targets_say_what_is_seen_and_what_may_be(drawn: list[Sample]) -> None:
    labels = [
        Labels.of({Finding.EDEMA: Status.POSITIVE, Finding.PNEUMONIA: Status.UNCERTAIN}),
        Labels.of({Finding.EDEMA: Status.NEGATIVE}),
    ]
    told = supervised_targets(drawn[:2], labels, "labels")
    assert told[0].startswith("<think>Seen: Edema. Possible: Pneumonia.</think><report>")
    assert told[1] == f"<think>Seen: nothing.</think><report>{drawn[1].reference}</report>"
    assert all(FormatReward()(told, [s.reference for s in drawn[:2]]))
    plain = supervised_targets(drawn[:2], labels, "none")
    assert plain[1].startswith("<think>Reading the image.</think><report>")


@pytest.mark.slow
def test_a_warm_up_teaches_the_image_tower_only(policy: Policy, drawn: list[Sample]) -> None:
    before = {name: weights.clone() for name, weights in policy.model.state_dict().items()}
    labels = [Labels.of({finding: Status.POSITIVE}) for finding in DISEASES[: len(drawn)]]
    told: list[tuple[int, int, str]] = []

    def report(done: int, total: int, figures: str = "") -> None:
        told.append((done, total, figures))

    warm_up(policy, drawn, labels, WarmUp(steps=30, batch_size=3), seed=0, report=report)
    after = policy.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if ".visual." in name}
    assert [step[:2] for step in told] == [(i, 30) for i in range(1, 31)]
    first, last = (float(told[i][2].removeprefix("loss ")) for i in (0, -1))
    assert last < first / 2
    again = tiny_policy(drawn)
    warm_up(again, drawn, labels, WarmUp(steps=30, batch_size=3), seed=0, report=report)
    assert all(torch.equal(w, after[name]) for name, w in again.model.state_dict().items())


def state(step: int, of: int = 9, main: bool = True) -> TrainerState:
    return TrainerState(global_step=step, max_steps=of, is_world_process_zero=main)


def test_steps_are_recorded_without_the_clock(tmp_path: Path) -> None:
    recorder = RunRecorder("srl", tmp_path / "metrics.jsonl")
    control: Any = TrainerControl()
    arguments: Any = SimpleNamespace(output_dir=str(tmp_path))
    for step, logs in enumerate(
        [{"loss": 1, "step_time": 3.1}, {"loss": 0.5, "kl": 0.1}, {"train_runtime": 9.0}], 1
    ):
        recorder.on_log(arguments, state(step), control, logs)
    recorder.on_log(arguments, state(4, main=False), control, {"loss": 1.0})
    assert read_jsonl(recorder.metrics, StepMetrics) == [
        StepMetrics("srl", 1, {"loss": 1.0}),
        StepMetrics("srl", 2, {"loss": 0.5, "kl": 0.1}),
    ]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path, loss: float) -> None:
    recorder = RunRecorder("srl", tmp_path / "metrics.jsonl")
    nothing: Any = None
    with pytest.raises(ConfigError, match=r"srl step 7: the loss is (nan|inf); lower srl.learn"):
        recorder.on_log(nothing, state(7), nothing, {"loss": loss})


def test_other_figures_that_are_no_number_are_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = RunRecorder("srl", tmp_path / "metrics.jsonl")
    nothing: Any = None
    for step in (1, 2):
        recorder.on_log(nothing, state(step), nothing, {"loss": 1.0, "kl": math.nan})
    assert [line.values for line in read_jsonl(recorder.metrics, StepMetrics)] == [{"loss": 1}] * 2
    assert capsys.readouterr().err == "srl step 1: kl is nan, left out\n"


def test_only_marked_checkpoints_are_whole(tmp_path: Path) -> None:
    assert last_whole_checkpoint(tmp_path / "none") is None
    for step in (2, 4, 10, 12):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        state(step, of=10).save_to_json(str(folder / "trainer_state.json"))
        if step == 4:
            assert finished_checkpoint(tmp_path) is None
        if step != 12:
            (folder / WHOLE).touch()
    assert last_whole_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert finished_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


class Constant:
    def __init__(self, name: str, value: float) -> None:
        self.__name__ = name
        self.value = value

    def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float]:
        return [self.value + i / 10 for i in range(len(completions))]


def test_some_completions_of_each_step_are_kept(tmp_path: Path) -> None:
    log = CompletionLog(tmp_path / "completions.jsonl", WEIGHTS, per_step=2)
    watched = [log.watch(reward) for reward in (Constant("mccs", 0.5), Constant("format", 1.0))]
    assert [reward.__name__ for reward in watched] == ["mccs", "format"]
    columns = {"id": ["x", "y", "z"], "reference": ["r"] * 3, "prompts": [[]] * 3}
    completions = [[{"role": "assistant", "content": text}] for text in "abc"]
    for step in (0, 1):
        for reward in watched:
            values = reward(completions, trainer_state=state(step), **columns)
        assert values == pytest.approx([1.0, 1.1, 1.2])
    kept = read_jsonl(tmp_path / "completions.jsonl", SampledCompletion)
    assert [(c.step, c.id, c.completion) for c in kept] == [
        *((0, "x", "a"), (0, "y", "b")),
        *((1, "x", "a"), (1, "y", "b")),
    ]
    assert kept[1].rewards == pytest.approx({"mccs": 0.6, "format": 1.1})
    assert kept[1].reward == pytest.approx(0.75 * 0.6 + 0.25 * 1.1)


def test_only_the_main_process_keeps_completions(tmp_path: Path) -> None:
    log = CompletionLog(tmp_path / "completions.jsonl", [1.0])
    watched = log.watch(Constant("mccs", 0.5))
    watched([[{"content": "a"}]], id=["x"], trainer_state=state(0, main=False))
    assert not log.path.exists()


class Clock:
    """Time as a test wants it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(shown.time, "monotonic", lambda: self.now)


def test_elsewhere_than_on_a_terminal_a_line_is_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    with progress("SRL", "steps") as report:
        reporter = Reporter(report, {"reward": "reward", "completions/mean_length": "length"})
        nothing: Any = None
        reporter.on_train_begin(nothing, state(20, of=40), nothing)
        for step in range(21, 41):
            clock.now += 6
            reporter.on_step_end(nothing, state(step, of=40), nothing)
            logs = {"reward": step / 100, "completions/mean_length": 61.25, "kl": 1.0}
            reporter.on_log(nothing, state(step, of=40), nothing, logs)
    assert capsys.readouterr().err.splitlines() == [
        "SRL: 24 of 40, 1 min 36 s left  reward 0.23  length 61.2",
        "SRL: 28 of 40, 1 min 12 s left  reward 0.27  length 61.2",
        "SRL: 32 of 40, 48 s left  reward 0.31  length 61.2",
        "SRL: 36 of 40, 24 s left  reward 0.35  length 61.2",
        "SRL: 20 steps in 2 min 0 s  reward 0.4  length 61.2",
    ]


def test_what_is_done_at_once_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("drawing", "studies") as report:
        for done in range(101):
            report(done, 100)
    assert capsys.readouterr().err == "drawing: 100 studies in 0 s\n"


def test_nothing_done_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("drawing", "studies") as report:
        report(0, 100)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(shown, "console", terminal)
    with progress("SRL", "steps") as report:
        report(0, 4)
        report(1, 4, "reward 0.5")
        report(2, 4)
    last_drawn = screen.getvalue().split("\r")
    assert any("SRL" in bar and "2/4" in bar and "reward 0.5" in bar for bar in last_drawn)
    assert screen.getvalue().endswith("SRL: 2 steps in 0 s  reward 0.5\n")


def test_remarks_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    say("left out: [red]12[/red] " + "x" * 200)
    assert capsys.readouterr().err == "left out: [red]12[/red] " + "x" * 200 + "\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (192, "3 min 12 s"), (7500, "2 h 5 min")],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


FULL = {
    "python": OSError(errno.ENOSPC, "No space left on device"),
    "quota": OSError(errno.EDQUOT, "Disk quota exceeded", "x"),
    "safetensors": SafetensorError("I/O error: No space left on device (os error 28)"),
}


@pytest.mark.parametrize("case", FULL)
def test_a_full_disk_is_named_whoever_found_it(tmp_path: Path, case: str) -> None:
    with (
        pytest.raises(OSError, match="--resume goes on from there") as raised,
        faults_named(tmp_path),
    ):
        raise FULL[case]
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EACCES, "Permission denied", "x"),
        RuntimeError("[enforce fail at inline_container.cc:672]"),
        ValueError("of a bug"),
        ConfigError("of the user"),
    ],
    ids=repr,
)
def test_other_errors_stay_what_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as raised, faults_named(tmp_path):
        raise error
    assert raised.value is error


def data(root: Path, **changes: Any) -> DataRecipe:
    settings = {"views": "frontal", "train": 3, "test": 2, "size": SIZE, **changes}
    return DataRecipe(root=str(root), **settings)


def test_studies_are_drawn_where_the_recipe_says(tmp_path: Path) -> None:
    train, test = load_samples(data(tmp_path / "here"), tmp_path / "run", seed=0)
    assert (len(train), len(test)) == (3, 2)
    assert train[0].images[0].is_relative_to(tmp_path / "here")
    elsewhere, _ = load_samples(replace(data(tmp_path), root=""), tmp_path / "run", seed=0)
    assert elsewhere[0].images[0].is_relative_to(tmp_path / "run")


def test_another_split_can_be_judged(tmp_path: Path) -> None:
    _, val = load_samples(data(tmp_path / "here", eval_split="val"), tmp_path, seed=0)
    assert [sample.id for sample in val] == ["val-00000", "val-00001"]


def test_a_cut_is_seeded_and_keeps_the_order(tmp_path: Path) -> None:
    phantom.draw(tmp_path / "x", train=30, val=0, test=2, size=SIZE)
    table = tmp_path / "studies.csv"
    lines = ["id,image,report,split"]
    for split, n in (("train", 30), ("test", 2)):
        lines += [
            f"{split}{i:02},x/images/{split}-{i:05d}-frontal.png,clear,{split}" for i in range(n)
        ]
    table.write_text("\n".join(lines))
    recipe = data(table, source="table", views="each", train=10)
    ids = [[s.study_id for s in load_samples(recipe, tmp_path, seed)[0]] for seed in (0, 0, 1)]
    assert ids[0] == ids[1] == sorted(ids[0])
    assert len(set(ids[0])) == 10
    assert ids[2] != ids[0]


def test_a_split_without_samples_is_named(tmp_path: Path) -> None:
    phantom.draw(tmp_path / "x", train=1, val=0, test=0, size=SIZE)
    table = tmp_path / "studies.csv"
    table.write_text("id,image,report,split\na,x/images/train-00000-frontal.png,clear,train\n")
    recipe = data(table, source="table", views="each")
    with pytest.raises(DataError, match=r"no samples in split 'test'; .*mrg-r1 data table"):
        load_samples(recipe, tmp_path, seed=0)


def test_a_broken_image_stops_before_training(tmp_path: Path) -> None:
    load_samples(data(tmp_path / "x"), tmp_path, seed=0)
    (tmp_path / "x" / "images" / "train-00001-frontal.png").unlink()
    with pytest.raises(DataError, match=r"train-00001-frontal.png: no such image \(1 of 3"):
        load_samples(data(tmp_path / "x"), tmp_path, seed=0)
