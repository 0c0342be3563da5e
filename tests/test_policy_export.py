"""Exported policies: plain folders that compute what the run's policy computes."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor

from mrg_r1.data.study import Sample
from mrg_r1.errors import ConfigError, DataError
from mrg_r1.policy.load import load_policy
from mrg_r1.policy.settings import LoraSettings
from mrg_r1.policy_export import export_policy
from mrg_r1.records import write_json
from mrg_r1.run import Run, to_json
from test_policy import logits
from tiny_runs import INSTRUCTION, in_process, tiny_policy, tiny_recipe, train

FILES = {
    *("README.md", "config.json", "generation_config.json", "model.safetensors", "mrg_r1.json"),
    *("chat_template.jinja", "processor_config.json", "preprocessor_config.json"),
    *("tokenizer.json", "tokenizer_config.json"),
}


def a_run(root: Path) -> Run:
    """A run that has trained nothing yet."""
    run = Run(root)
    write_json(run.recipe, to_json(tiny_recipe()))
    write_json(run.versions, {})
    return run


def taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()


def dangling(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "nowhere")


def no_run(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "run")


def unfinished(tmp_path: Path) -> None:
    pass


REFUSED: list[tuple[Callable[[Path], None], type[Exception], str]] = [
    (taken, ConfigError, "out: is there already; name a new folder with -o"),
    (dangling, ConfigError, "out: is there already; name a new folder with -o"),
    (no_run, DataError, r"run: holds no run \(recipe.json\)"),
    (unfinished, DataError, "run: this run has no policy yet; finish it with: mrg-r1 train"),
]


@pytest.mark.parametrize(("prepare", "error", "message"), REFUSED)
def test_what_cannot_be_exported_is_refused(
    tmp_path: Path, prepare: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    a_run(tmp_path / "run")
    prepare(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=message):
        export_policy(tmp_path / "run", tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def trained(tmp_path: Path, drawn: list[Sample]) -> Run:
    """A run whose policy is a model of its own, without an adapter."""
    run = a_run(tmp_path / "run")
    replace(tiny_policy(drawn), instruction=INSTRUCTION).save(run.policy)
    return run


@pytest.mark.slow
def test_a_fully_trained_policy_is_exported_as_it_is(
    trained: Run, tmp_path: Path, drawn: list[Sample]
) -> None:
    out = tmp_path / "models" / "out"
    export_policy(trained.root, out)
    assert {path.name for path in out.iterdir()} == FILES
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    ours, theirs = (load_file(f / "model.safetensors") for f in (out, trained.policy))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(
        logits(load_policy(out), drawn[0]), logits(load_policy(trained.root), drawn[0])
    )
    assert load_policy(out).instruction == INSTRUCTION


Usage = namedtuple("Usage", "free")


@pytest.mark.slow
def test_a_disk_that_is_too_full_is_told_before_anything_is_written(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1000))
    with pytest.raises(OSError, match=r"no space left for 0\.\d GB") as caught:
        export_policy(trained.root, tmp_path / "out")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "out"))
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


@pytest.mark.slow
def test_half_an_export_is_never_left(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "torn")

    trained.evaluation.write_text("")
    monkeypatch.setattr("mrg_r1.policy_export.model_card", lambda *_: "card")
    monkeypatch.setattr(shutil, "copy", fail)
    with pytest.raises(OSError, match="torn"):
        export_policy(trained.root, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


@pytest.fixture
def adapted(tmp_path: Path, drawn: list[Sample]) -> Run:
    """A finished run whose policy is an adapter, as strong as if it had been trained for long."""
    base = tmp_path / "base"
    replace(tiny_policy(drawn), instruction=INSTRUCTION).save(base)
    recipe = tiny_recipe(tiny=None, warmup=None, path=str(base), lora=LoraSettings(rank=2, alpha=4))
    recipe = replace(recipe, sft=None, srl={**recipe.srl, "max_steps": 1})
    assert in_process(train, recipe, tmp_path / "run") == 0
    run = Run(tmp_path / "run")
    file = run.policy / "adapter_model.safetensors"
    torch.manual_seed(0)
    weights = {name: 0.1 * torch.randn_like(weight) for name, weight in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    return run


@pytest.mark.slow
def test_a_merged_policy_computes_what_the_adapted_one_does(
    adapted: Run, tmp_path: Path, drawn: list[Sample]
) -> None:
    out, base = tmp_path / "out", tmp_path / "base"
    export_policy(adapted.root, out)
    assert {path.name for path in out.iterdir()} == FILES | {"evaluation.json"}
    merged, plain = (load_file(f / "model.safetensors") for f in (out, base))
    assert merged.keys() == plain.keys()
    assert {name.split(".")[0] for name in merged} == {"model", "visual"}  # as Qwen published them
    changed = {name for name in merged if not torch.equal(merged[name], plain[name])}
    assert {name.split(".")[-2] for name in changed} == set(LoraSettings().targets)
    assert all(name.startswith("model.layers.") for name in changed)
    for sample in drawn:
        theirs, ours, before = (logits(load_policy(f), sample) for f in (adapted.root, out, base))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        assert (ours - before).abs().max() > 0.01


@pytest.mark.slow
def test_transformers_loads_an_export_without_us(adapted: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_policy(adapted.root, out)
    _, loading = AutoModelForImageTextToText.from_pretrained(
        out, local_files_only=True, output_loading_info=True
    )
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys"))
    mine = load_policy(adapted.root)
    theirs: Any = AutoProcessor.from_pretrained(out, local_files_only=True)
    assert theirs.chat_template == mine.processor.chat_template
    assert theirs.tokenizer.get_vocab() == mine.processor.tokenizer.get_vocab()
    images: Any = AutoImageProcessor.from_pretrained(out, local_files_only=True)
    for name in ("size", "patch_size", "image_mean", "image_std"):
        assert getattr(images, name) == getattr(mine.processor.image_processor, name)
    assert load_policy(out).end_tokens() == mine.end_tokens()


VLLM = """
import json, sys
from pathlib import Path
from vllm.model_executor.models.registry import ModelRegistry
from vllm.transformers_utils.config import get_config, try_get_generation_config
from vllm.transformers_utils.processor import get_processor
folder = sys.argv[1]
(architecture,) = get_config(folder, trust_remote_code=False).architectures
processor = get_processor(folder)
print(json.dumps({
    "registered": architecture in ModelRegistry.get_supported_archs(),
    "processor": type(processor).__name__,
    "template": processor.chat_template,
    "most": processor.image_processor.size["longest_edge"],
    "ends": try_get_generation_config(folder, trust_remote_code=False).eos_token_id,
}))
"""


VLLM_WEIGHTS = """
import json, sys, tempfile
from pathlib import Path
import vllm.platforms
from vllm.platforms.cpu import CpuPlatform
vllm.platforms._current_platform = CpuPlatform()  # a wheel for CUDA sees no platform here
from safetensors.torch import load_file
from vllm.config import DeviceConfig, ModelConfig, VllmConfig, set_current_vllm_config
from vllm.distributed import init_distributed_environment, initialize_model_parallel
from vllm.model_executor.models.registry import ModelRegistry
folder = sys.argv[1]
model = ModelConfig(model=folder, tokenizer=folder, dtype="float32", enforce_eager=True)
config = VllmConfig(model_config=model, device_config=DeviceConfig(device="cpu"))
with set_current_vllm_config(config), tempfile.NamedTemporaryFile() as meeting:
    init_distributed_environment(1, 0, f"file://{meeting.name}", 0, backend="gloo")
    initialize_model_parallel(1, 1)
    kind, _ = ModelRegistry.resolve_model_cls(model.architectures, model)
    made = kind(vllm_config=config)
    weights = load_file(Path(folder) / "model.safetensors")
    filled = made.load_weights(iter(weights.items()))
print(json.dumps([kind.__name__, sorted({n for n, _ in made.named_parameters()} - filled)]))
"""

needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None,
    reason="vLLM is not installed; it needs no GPU for this, but all of CUDA's packages",
)


def told_by_vllm(program: str, folder: Path) -> Any:
    """What a program says at last of a folder; vLLM warns, and its settings stay in a process."""
    told = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"},
    )
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout.splitlines()[-1])


@pytest.mark.slow
@needs_vllm
def test_vllm_reads_an_export(trained: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_policy(trained.root, out)
    mine = load_policy(out)
    assert told_by_vllm(VLLM, out) == {
        "registered": True,
        "processor": "Qwen2_5_VLProcessor",
        "template": mine.processor.chat_template,
        "most": mine.processor.image_processor.size["longest_edge"],
        "ends": mine.model.generation_config.eos_token_id,
    }
    # Its model is built, and no weight of it is left without one of the export's.
    assert told_by_vllm(VLLM_WEIGHTS, out) == ["Qwen2_5_VLForConditionalGeneration", []]
