"""Engines that divide training: what a recipe must say, and where they can be used."""

from __future__ import annotations

import copy
import json
import os
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mrg_r1.config import load_recipe
from mrg_r1.errors import ConfigError
from mrg_r1.policy.quiet import quiet
from mrg_r1.train import describe
from mrg_r1.trainers.engines import check_here, check_launched, leave_engine, weights_apart
from mrg_r1.trainers.options import check_options, grpo_config
from mrg_r1.trainers.sharing import trainer_for

ZERO_3 = {"zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "both": ({"deepspeed": ZERO_3, "fsdp": True}, "srl.fsdp: cannot go with srl.deepspeed"),
    "ZeRO-3 that saves nothing": (
        {"deepspeed": {"zero_optimization": {"stage": 3}}},
        "stage3_gather_16bit_weights_on_model_save: must be true",
    ),
    "FSDP that saves shards": (
        {"fsdp": True, "fsdp_config": {"state_dict_type": "SHARDED_STATE_DICT"}},
        "srl.fsdp_config.state_dict_type: 'SHARDED_STATE_DICT' saves no policy",
    ),
    "FSDP that saves shards, by its other name": (
        {"fsdp": True, "fsdp_config": {"fsdp_state_dict_type": "SHARDED_STATE_DICT"}},
        "srl.fsdp_config.fsdp_state_dict_type: 'SHARDED_STATE_DICT' saves no policy",
    ),
    "no table": ({"fsdp": True, "fsdp_config": 3}, "srl.fsdp_config: 3 is no table, nor a JSON"),
    "a file that is not there": ({"deepspeed": "zero.json"}, "srl.deepspeed: zero.json cannot be"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_engine_that_ends_in_no_policy_is_refused_on_any_machine(case: str) -> None:
    table, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        check_options("srl", table)


@pytest.mark.parametrize(
    "table",
    [
        {"deepspeed": ZERO_3},
        {"deepspeed": {"zero_optimization": {"stage": 1}}},
        {"fsdp": True, "fsdp_config": {"transformer_layer_cls_to_wrap": ["Layer"]}},
        {"fsdp": "full_shard"},
    ],
    ids=str,
)
def test_an_engine_that_ends_in_a_policy_is_taken(table: dict[str, Any]) -> None:
    check_options("srl", table)


def test_an_engine_in_a_file_is_looked_at_too(tmp_path: Path) -> None:
    file = tmp_path / "engine.json"
    file.write_text(json.dumps(ZERO_3))
    check_options("srl", {"deepspeed": str(file)})
    file.write_text('{"zero_optimization": {"stage": 3}}')
    with pytest.raises(ConfigError, match="must be true; without it no policy could be saved"):
        check_options("srl", {"deepspeed": str(file)})
    file.write_text("[1]")
    with pytest.raises(ConfigError, match=r"engine.json' is no table, nor a JSON file of one$"):
        check_options("srl", {"deepspeed": str(file)})
    file.write_text('{"state_dict_type": "LOCAL_STATE_DICT"}')
    with pytest.raises(ConfigError, match="'LOCAL_STATE_DICT' saves no policy"):
        check_options("srl", {"fsdp": True, "fsdp_config": str(file)})


def test_one_process_does_not_begin_on_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", "0")
    check_launched()
    monkeypatch.delenv("LOCAL_RANK")
    with pytest.raises(ConfigError, match=r"^4 GPUs are visible.* --nproc-per-node 4 "):
        check_launched()


def test_a_dry_run_checks_the_engine_of_a_paper_recipe() -> None:
    stage = "srl.deepspeed.zero_optimization.stage=3"
    with pytest.raises(ConfigError, match="must be true; without it no policy could be saved"):
        describe(load_recipe("paper-iu-xray", [stage]))
    gather = "srl.deepspeed.zero_optimization.stage3_gather_16bit_weights_on_model_save=true"
    lines = describe(load_recipe("paper-iu-xray", [stage, gather]))
    assert any("'stage': 3" in line for line in lines)


def test_the_engines_that_the_documents_show_pass_a_dry_run() -> None:
    text = (Path(__file__).parents[1] / "docs" / "cluster.md").read_text("utf-8")
    lines = re.findall(r"^mrg-r1 train (.*(?:deepspeed|fsdp).*) --dry-run$", text, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        name, *words = shlex.split(line)
        assert describe(load_recipe(name, [word for word in words if word != "--set"]))


def test_what_accelerate_would_pass_over_in_silence_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr("mrg_r1.trainers.engines.on_cpu", lambda: True)
    with pytest.raises(ConfigError, match=r"srl.deepspeed: needs a launcher.* torchrun "):
        check_here("srl", {"deepspeed": ZERO_3})
    with pytest.raises(ConfigError, match=r"sft.fsdp: there is no GPU here"):
        check_here("sft", {"fsdp": True})
    check_here("srl", {})
    monkeypatch.setenv("LOCAL_RANK", "0")
    check_here("srl", {"deepspeed": ZERO_3})


def test_the_table_of_fsdp_is_not_edited(tmp_path: Path) -> None:
    table: dict[str, Any] = {
        "bf16": False,
        "fsdp": True,
        "fsdp_config": {"fsdp_cpu_offload": False},
    }
    before = copy.deepcopy(table)
    with quiet():
        config = grpo_config(table, tmp_path, 0, reward_weights=[])
    assert table == before
    assert weights_apart(config)


@pytest.mark.parametrize(("stage", "apart"), [(1, False), (2, False), (3, True)])
def test_only_the_third_stage_takes_weights_apart(stage: int, apart: bool) -> None:
    config: Any = SimpleNamespace(fsdp=None, deepspeed_plugin=SimpleNamespace(zero_stage=stage))
    assert weights_apart(config) is apart


def test_groups_are_not_shared_where_weights_lie_apart(capsys: pytest.CaptureFixture[str]) -> None:
    from trl.trainer.grpo_trainer import GRPOTrainer

    assert trainer_for(None, True, apart=True) is GRPOTrainer
    assert "weights lie apart (ZeRO-3, FSDP)" in capsys.readouterr().err


def test_a_later_stage_has_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    leave_engine()
    assert "ACCELERATE_USE_DEEPSPEED" not in os.environ
