"""Model folders of the architectures that write reports: their own classes, a few thousand weights.

Special tokens and the layout of each chat are those of the published models of a family; words and
weights are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

WIDTH = 32
_TEXTS = ["Report this X-ray. USER: ASSISTANT: user model assistant The heart is normal."] * 2
_LAYERS = {
    "hidden_size": WIDTH,
    "intermediate_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
_TEXT = {**_LAYERS, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 512}
_SQUARE = {"height": 28, "width": 28}
_GRID = [[28, 56], [56, 28], [56, 56]]


def _tokenizer(
    special: Sequence[str],
    eos: str,
    *,
    bos: str | None = None,
    pad: str | None = None,
    first: bool = True,
    named: Mapping[str, str] | None = None,
) -> hf.PreTrainedTokenizerFast:
    """A byte-level tokenizer; it puts `bos` first, as those of Llama and Gemma do, if asked to."""
    named = named or {}
    special = list(dict.fromkeys([*filter(None, (pad, bos, eos)), *special, *named.values()]))
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    trained.train_from_iterator(_TEXTS, trainer)
    if bos and first:
        trained.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, special.index(bos))]
        )
    others = [token for token in special if token not in (pad, bos, eos)]
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=trained,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        extra_special_tokens=dict(named) or others,
        model_max_length=512,
    )


def _chat(before: str, image: str, between: str, after: str) -> str:
    """A template of one turn: each image, then the text, between what stands around them."""
    return (
        f"{{% for message in messages %}}{before}{{% for part in message['content'] %}}"
        f"{{% if part['type'] == 'image' %}}{image}{{% else %}}{between}{{{{ part['text'] }}}}"
        f"{{% endif %}}{{% endfor %}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{after}{{% endif %}}"
    )


_CHATML = _chat("<|im_start|>user\n", "<image>", "\n", "<|im_end|>\n<|im_start|>assistant\n")


def _text(tokenizer: Any, kind: str, **more: Any) -> dict[str, Any]:
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos")}
    pad = tokenizer.pad_token_id
    size = {"model_type": kind, "vocab_size": len(tokenizer)}
    return {**_TEXT, **ids, "pad_token_id": pad, **size, **more}


def _tower(kind: str, patch: int = 14, **more: Any) -> dict[str, Any]:
    return {**_LAYERS, "model_type": kind, "image_size": 28, "patch_size": patch, **more}


def _clip() -> dict[str, Any]:
    return _tower("clip_vision_model", projection_dim=WIDTH)


def _siglip(patch: int = 14) -> dict[str, Any]:
    return _tower("siglip_vision_model", patch, vision_use_head=False)


def llava() -> tuple[Any, Any]:
    """As LLaVA-1.5: Vicuna's chat, whose template leaves the first token to the tokenizer."""
    tokenizer = _tokenizer(["<image>"], "</s>", bos="<s>", pad="<pad>")
    processor = hf.LlavaProcessor(
        image_processor=hf.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=_SQUARE),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_chat("USER: ", "<image>", "\n", " ASSISTANT:"),
    )
    config = hf.LlavaConfig(
        vision_config=_clip(),
        text_config=_text(tokenizer, "llama"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
    )
    return hf.LlavaForConditionalGeneration(config), processor


def llava_next() -> tuple[Any, Any]:
    """As LLaVA-NeXT on Mistral, whose tokenizer has no padding token."""
    tokenizer = _tokenizer(["<image>"], "</s>", bos="<s>")
    processor = hf.LlavaNextProcessor(
        image_processor=hf.LlavaNextImageProcessor(
            size={"shortest_edge": 28}, crop_size=_SQUARE, image_grid_pinpoints=_GRID
        ),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_chat("[INST] ", "<image>", "\n", " [/INST]"),
    )
    config = hf.LlavaNextConfig(
        vision_config=_clip(),
        text_config=_text(tokenizer, "mistral"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=_GRID,
    )
    return hf.LlavaNextForConditionalGeneration(config), processor


def llava_onevision() -> tuple[Any, Any]:
    """As LLaVA-OneVision: SigLIP and Qwen2."""
    tokenizer = _tokenizer(
        ["<|im_start|>", "<image>", "<video>"], "<|im_end|>", pad="<|endoftext|>"
    )
    processor = hf.LlavaOnevisionProcessor(
        image_processor=hf.LlavaOnevisionImageProcessor(size=_SQUARE, image_grid_pinpoints=_GRID),
        tokenizer=tokenizer,
        video_processor=hf.LlavaOnevisionVideoProcessor(size=_SQUARE),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=_CHATML,
    )
    config = hf.LlavaOnevisionConfig(
        vision_config=_siglip(),
        text_config=_text(tokenizer, "qwen2"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=_GRID,
    )
    return hf.LlavaOnevisionForConditionalGeneration(config), processor


def gemma3() -> tuple[Any, Any]:
    """As Gemma 3 and MedGemma, whose template writes the first token itself."""
    named = {
        "image_token": "<image_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    }
    tokenizer = _tokenizer(
        ["<start_of_turn>", "<end_of_turn>"], "<eos>", bos="<bos>", pad="<pad>", named=named
    )
    processor = hf.Gemma3Processor(
        image_processor=hf.Gemma3ImageProcessor(size=_SQUARE),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=_chat(
            "{{ bos_token }}<start_of_turn>user\n",
            "<start_of_image>",
            "",
            "<end_of_turn>\n<start_of_turn>model\n",
        ),
    )
    config = hf.Gemma3Config(
        vision_config=_siglip(patch=7),
        text_config=_text(tokenizer, "gemma3_text", sliding_window=64),
        mm_tokens_per_image=4,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
    )
    model = hf.Gemma3ForConditionalGeneration(config)
    turn = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, turn]
    return model, processor


def paligemma() -> tuple[Any, Any]:
    """As PaliGemma, which has no chat: a prefix follows the image."""
    # Its processor writes the first token, after the images.
    tokenizer = _tokenizer(["<image>"], "<eos>", bos="<bos>", pad="<pad>", first=False)
    processor = hf.PaliGemmaProcessor(
        image_processor=hf.SiglipImageProcessor(size=_SQUARE, image_seq_length=4),
        tokenizer=tokenizer,
    )
    config = hf.PaliGemmaConfig(
        vision_config=_siglip(),
        text_config=_text(processor.tokenizer, "gemma"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=WIDTH,
        hidden_size=WIDTH,
    )
    return hf.PaliGemmaForConditionalGeneration(config), processor


def _qwen(name: str, vision: Mapping[str, Any], patch: int = 14) -> tuple[Any, Any]:
    control = ["<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
    tokenizer = _tokenizer([*control, "<|video_pad|>"], "<|im_end|>", pad="<|endoftext|>")
    area = {"shortest_edge": (4 * patch) ** 2, "longest_edge": (4 * patch) ** 2}
    videos = getattr(hf, "Qwen3VLVideoProcessor" if patch == 16 else "Qwen2VLVideoProcessor")
    processor = getattr(hf, f"{name}Processor")(
        image_processor=hf.Qwen2VLImageProcessor(size=area, patch_size=patch),
        tokenizer=tokenizer,
        video_processor=videos(size=area, patch_size=patch),
        chat_template=_CHATML.replace("<image>", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]}
    text = _text(tokenizer, "", rope_parameters=rope)
    del text["model_type"]
    ids = dict(zip(("image", "video"), ("<|image_pad|>", "<|video_pad|>"), strict=True))
    config = getattr(hf, f"{name}Config")(
        text_config=text,
        vision_config={"depth": 1, "num_heads": 2, "patch_size": patch, **vision},
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
        **{f"{n}_token_id": tokenizer.convert_tokens_to_ids(token) for n, token in ids.items()},
    )
    return getattr(hf, f"{name}ForConditionalGeneration")(config), processor


def qwen2_vl() -> tuple[Any, Any]:
    """As Qwen2-VL."""
    return _qwen("Qwen2VL", {"embed_dim": WIDTH, "hidden_size": WIDTH, "mlp_ratio": 1})


def qwen2_5_vl() -> tuple[Any, Any]:
    """As Qwen2.5-VL and HuatuoGPT-Vision-7B-Qwen2.5VL."""
    tower = {"hidden_size": WIDTH, "intermediate_size": WIDTH, "out_hidden_size": WIDTH}
    return _qwen("Qwen2_5_VL", {**tower, "fullatt_block_indexes": [0]})


def qwen3_vl() -> tuple[Any, Any]:
    """As Qwen3-VL."""
    tower = {"hidden_size": WIDTH, "intermediate_size": WIDTH, "out_hidden_size": WIDTH}
    more = {"deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    return _qwen("Qwen3VL", {**tower, **more}, patch=16)


def idefics3() -> tuple[Any, Any]:
    """As Idefics3, which splits an image into tiles."""
    special = ["<fake_token_around_image>", "<image>", "<global-img>"]
    tiles = [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
    tokenizer = _tokenizer(
        [*special, *tiles], "<end_of_utterance>", bos="<|begin_of_text|>", pad="<|finetune|>"
    )
    processor = hf.Idefics3Processor(
        image_processor=hf.Idefics3ImageProcessor(
            size={"longest_edge": 112}, max_image_size={"longest_edge": 56}
        ),
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template=_chat(
            "<|begin_of_text|>User:", "<image>", "", "<end_of_utterance>\nAssistant:"
        ),
    )
    config = hf.Idefics3Config(
        vision_config={**_tower("idefics3_vision"), "image_size": 56},
        text_config=_text(processor.tokenizer, "llama"),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
    )
    return hf.Idefics3ForConditionalGeneration(config), processor


def internvl() -> tuple[Any, Any]:
    """As InternVL3 in transformers' own format, which crops an image into tiles."""
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = _tokenizer(["<|im_start|>"], "<|im_end|>", pad="<|endoftext|>", named=named)
    processor = hf.InternVLProcessor(
        image_processor=hf.GotOcr2ImageProcessor(
            size={"height": 56, "width": 56}, crop_to_patches=True, min_patches=1, max_patches=2
        ),
        tokenizer=tokenizer,
        video_processor=hf.InternVLVideoProcessor(size={"height": 56, "width": 56}),
        image_seq_length=4,
        chat_template=_CHATML.replace("<image>", "<IMG_CONTEXT>"),
    )
    config = hf.InternVLConfig(
        vision_config={
            **_tower("internvl_vision"),
            "image_size": [56, 56],
            "patch_size": [14, 14],
        },
        text_config=_text(tokenizer, "qwen2"),
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=4,
    )
    return hf.InternVLForConditionalGeneration(config), processor


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    build.__name__: build
    for build in (
        *(llava, llava_next, llava_onevision, gemma3, paligemma, qwen2_vl, qwen2_5_vl, qwen3_vl),
        *(idefics3, internvl),
    )
}
"""What builds a tiny model and its processor, by family."""


def save(family: str, folder: Path) -> Path:
    """Writes a folder as a hub would serve it; its weights are far from ties."""
    torch.manual_seed(0)
    model, processor = FAMILIES[family]()
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.any():  # Gemma 3 projects images by zeros at first
            torch.nn.init.normal_(parameter)
        parameter.data *= 4
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
