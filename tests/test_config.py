import contextlib
import dataclasses
import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrg_r1.config import Recipe, load_recipe, recipe_names, recipe_text
from mrg_r1.errors import ConfigError
from mrg_r1.policy.settings import LoraSettings, TinyConfig

MINIMAL = """
# A small one.
[data]
train = 8
test = 4
[policy.tiny]
"""


@pytest.fixture(scope="module")
def minimal(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipes") / "minimal.toml"
    path.write_text(MINIMAL, encoding="utf-8")
    return str(path)


def complaint(recipe: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_recipe_is_named_after_its_file_and_filled_with_defaults(minimal: str) -> None:
    recipe = load_recipe(minimal)
    assert (recipe.name, recipe.data.train, recipe.policy.tiny) == ("minimal", 8, TinyConfig())
    assert (recipe.reward.clinical_weight, recipe.reward.format_weight) == (0.75, 0.25)
    assert recipe.sft is None


def test_values_are_converted_to_the_types_of_their_fields(minimal: str) -> None:
    recipe = load_recipe(
        minimal, ["reward.margin=0", "policy.lora.targets=['q_proj']", "srl.betas=[0.9, 0.99]"]
    )
    assert type(recipe.reward.margin) is float
    assert recipe.policy.lora == LoraSettings(targets=("q_proj",))
    assert recipe.srl == {"betas": [0.9, 0.99]}


# What stands behind --set key= and what it becomes.
OVERRIDES = {
    "string": ("data.root=/data/iu", ("data", "root"), "/data/iu"),
    "quoted string": ('data.root="2024"', ("data", "root"), "2024"),
    "empty string": ("data.root=", ("data", "root"), ""),
    "equals sign in the value": ("data.root=a=b", ("data", "root"), "a=b"),
    "spaces around the key": (" data . root =x", ("data", "root"), "x"),
    "a second line is no second key": ("data.root=1\nsize = 2", ("data", "root"), "1\nsize = 2"),
    "integer": ("data.train=16", ("data", "train"), 16),
    "scientific number": ("srl.learning_rate=1e-6", ("srl", "learning_rate"), 1e-6),
    "boolean": ("srl.bf16=true", ("srl", "bf16"), True),
    "table": ("srl.generation_kwargs={top_k=5}", ("srl", "generation_kwargs"), {"top_k": 5}),
    "table that was not there": ("sft.max_steps=3", ("sft", "max_steps"), 3),
}


@pytest.mark.parametrize(
    ("override", "path", "value"), OVERRIDES.values(), ids=list(OVERRIDES.keys())
)
def test_overrides(minimal: str, override: str, path: tuple[str, str], value: object) -> None:
    section = getattr(load_recipe(minimal, [override]), path[0])
    assert (section if isinstance(section, dict) else dataclasses.asdict(section))[path[1]] == value


def test_the_last_override_of_a_key_holds(minimal: str) -> None:
    assert load_recipe(minimal, ["seed=1", "seed=2"]).seed == 2


MISTAKES = {
    "unknown key": ("data.sorce=phantom", "unknown key 'data.sorce' (did you mean 'data.source'?)"),
    "unknown table": ("rewards.margin=1", "unknown key 'rewards' (did you mean 'reward'?)"),
    "choice": ("policy.dtype=float16", "policy.dtype: 'float16' is not one of float32, bfloat16"),
    "choice of labeler": ("labeler.name=chexpert", "'chexpert' is not one of rules, chexbert"),
    "no weights": ("labeler.name=chexbert", "labeler.weights: where is CheXbert's chexbert.pth?"),
    "no vocabulary": ("labeler.name=chexbert", "add --set labeler.vocabulary=FILE"),
    "judge without weights": ("health.judge=chexbert", "labeler.weights: where is CheXbert's"),
    "choice of judge": ("health.judge=rules", "health.judge: 'rules' is not one of auto, rules-ch"),
    "less than no sample": ("health.sample=-1", "health.sample: -1 is not 0 or more"),
    "choice of another type": ("data.views=1", "data.views: 1 is not one of each, frontal"),
    "string for integer": ("data.train=many", "data.train: 'many' is not an integer"),
    "fraction for integer": ("data.train=1.5", "data.train: 1.5 is not an integer"),
    "boolean for integer": ("data.train=true", "data.train: true is not an integer"),
    "boolean for number": ("reward.margin=false", "reward.margin: false is not a number"),
    "nan": ("reward.margin=nan", "reward.margin: nan is not a number"),
    "infinity": ("reward.clinical_weight=inf", "reward.clinical_weight: inf is not a number"),
    "integer for string": ("data.root=2024", "data.root: 2024 is not a string (in quotes)"),
    "value for table": ("policy.lora=3", "policy.lora: 3 is not a table"),
    "value for free table": ("srl=3", "srl: 3 is not a table"),
    "string for list": ("policy.lora.targets=q", "policy.lora.targets: 'q' is not a list"),
    "number in list": ("policy.lora.targets=[1]", "each item a string"),
    "boolean for flag": ("policy.lora.vision=1", "policy.lora.vision: 1 is not true or false"),
    "no value": ("seed", "--set seed: write it as dotted.key=value"),
    "no key": ("=3", "--set =3: write it as dotted.key=value"),
    "half a key": ("data.=3", "--set data.=3: write it as dotted.key=value"),
    "key below a value": ("name.x=3", "name: {'x': 3} is not a string"),
    "key below a set value": ("data.train.x=3", "'train' is a value, not a table"),
    "margin 1": ("reward.margin=1", "reward.margin: 1 is not inside (-1, 1) (eq. 6)"),
    "negative count": ("data.train=-1", "data.train: -1 is not 0 or more"),
    "negative seed": ("seed=-1", "seed: -1 is not in [0, 2^32)"),
    "name of another folder": ("name=../x", "name: '../x' is not the name of a folder"),
    "no name": ("name=", "name: '' is not the name of a folder"),
    "name of the folder above": ("name=..", "name: '..' is not the name of a folder"),
    "image too small to draw": ("data.size=32", "data.size: 32 is not 64 or more"),
    "no dropout left": ("policy.lora.dropout=1.0", "policy.lora.dropout: 1.0 is not in [0, 1)"),
    "no tokens": ("evaluation.decoding.max_new_tokens=0", "max_new_tokens: 0 is not above 0"),
    "no studies": ("data.train=0", "say how many studies to draw: data.train and data.test"),
    "no root": ("data.source=iu-xray", "where is iu-xray? add --set data.root=FOLDER"),
    "two policies": ("policy.path=x", "give either path (a local model folder) or a [policy.tiny]"),
    "uneven text": ("policy.tiny.text_width=190", "text_width: 190 is not a multiple of 2 x heads"),
    "uneven vision": ("policy.tiny.vision_width=8", "vision_width: 8 is not a multiple of 4 x hea"),
    "unknown tower": ("policy.tiny.tower=resnet", "policy.tiny.tower: 'resnet' is not"),
    "share above one": ("data.repeat_below=2", "data.repeat_below: 2 is not"),
    "small image": ("policy.tiny.pixels=20", "policy.tiny.pixels: 20 is less than two patches"),
}


def test_an_image_is_whole_tiles_of_a_convolutional_tower(minimal: str) -> None:
    tower = "policy.tiny.tower=efficientnet-lite0"
    assert "policy.tiny.pixels: 150 is not a multiple of 32" in complaint(
        minimal, tower, "policy.tiny.pixels=150"
    )
    assert load_recipe(minimal, [tower, "policy.tiny.pixels=160", "policy.tiny.patch=200"])


@pytest.mark.parametrize(("override", "message"), MISTAKES.values(), ids=list(MISTAKES.keys()))
def test_mistakes(minimal: str, override: str, message: str) -> None:
    assert message in complaint(minimal, override)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["reward.rarity_cap=1"], "reward.rarity_cap: 1 is not 0 (off) or above 1"),
        (["reward.f1_share=2"], "reward.f1_share: 2 is not in [0, 1]"),
        (["reward.length_penalty=-1"], "reward.length_penalty: -1 is not 0 or more"),
        (["reward.kind=nlg"], "reward.kind: 'nlg' is not one of mccs, ce-f1, overlap"),
        (["reward.kind=ce-f1", "reward.f1_share=0.5"], "reward.f1_share: an option of mccs"),
        (["reward.soft=true"], "reward.soft: rules give no probabilities"),
    ],
)
def test_options_of_rewards_that_cannot_be(minimal: str, changes: list[str], message: str) -> None:
    assert message in complaint(minimal, *changes)


def test_rewards_cannot_all_be_switched_off(minimal: str) -> None:
    assert "clinical_weight and format_weight are both 0" in complaint(
        minimal, "reward.clinical_weight=0", "reward.format_weight=0"
    )


def test_chexbert_follows_no_preset(minimal: str) -> None:
    chexbert = ("labeler.name=chexbert", "labeler.weights=a.pth", "labeler.vocabulary=vocab.txt")
    assert load_recipe(minimal, chexbert).labeler.weights == "a.pth"
    message = complaint(minimal, *chexbert, "labeler.preset=chexpert")
    assert message.endswith("labeler.preset: only rules have presets; leave it out")


def test_all_problems_come_at_once(minimal: str) -> None:
    message = complaint(minimal, "data.sorce=x", "reward.margin=2", "seed=true", "nothing")
    for part in ("--set nothing", "data.sorce", "reward.margin", "seed: true"):
        assert part in message


def test_the_dataclasses_own_defaults_obey_the_rules(minimal: str) -> None:
    resolved = json.dumps(dataclasses.asdict(load_recipe(minimal)))
    path = Path(minimal).with_name("recipe.json")
    path.write_text(resolved, encoding="utf-8")
    assert load_recipe(str(path)) == load_recipe(minimal)


def test_a_byte_order_mark_is_not_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_text(MINIMAL, encoding="utf-8-sig")
    assert load_recipe(str(path)).data.train == 8


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[data", encoding="utf-8")
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    assert "not TOML" in complaint(str(tmp_path / "broken.toml"))
    assert "not JSON" in complaint(str(tmp_path / "broken.json"))
    assert "cannot be read" in complaint(str(tmp_path / "latin.toml"))
    assert "cannot be read" in complaint(str(tmp_path))
    assert "type 'mrg-r1 recipes' to list them" in complaint("quikstart")


KEYS = st.text() | st.sampled_from(["data", "data.train", "policy.tiny", "policy.lora.targets"])


@given(KEYS, st.text() | st.sampled_from(["[]", "{}", "[[1]]", "1979-05-27", "0x1F", "'", "1\n2"]))
def test_no_override_breaks_the_reader(minimal: str, key: str, value: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(load_recipe(minimal, [f"{key}={value}"]), Recipe)


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_load_and_begin_with_a_header(name: str) -> None:
    text = recipe_text(name)
    assert text.startswith("# ")
    table = tomllib.loads(text)
    places = [] if table["data"].get("source", "phantom") == "phantom" else ["data.root=studies"]
    places += [] if "tiny" in table["policy"] else ["policy.path=model"]
    recipe = load_recipe(name, places)
    assert isinstance(recipe, Recipe)
    assert recipe.name == name
