"""A LLaVA of random weights, small enough to be served by a CPU: what it answers means nothing, how it is asked does.

    python -m tests.tiny_llava FOLDER

The folder holds settings, tokenizer and processor, and no weights: vLLM makes them up (`--load-format dummy`), from a
fixed seed, so that equal questions have equal answers. The benchmark of captions writes the published sizes so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patentdata.captions.config import ServerConfig
from patentdata.captions.prompts import BUILT_IN, load_prompt

IMAGE_PX = 56
_VOCABULARY = 768
MAX_TOKENS = 2048


@dataclass(frozen=True, kw_only=True)
class LlavaShape:
    """The sizes of a LLaVA.

    Attributes:
        hidden, intermediate, num_layers, num_heads: Of the language model.
        num_tokens: Longest context.
        vocabulary: Number of tokens; None for those of the tokenizer.
        vision_hidden, vision_intermediate, num_vision_layers, num_vision_heads, projection: Of the CLIP tower.
        image_px, patch_px: Side of the picture and of a patch.
        feature_layer: Layer of the tower that the language model reads.
        dtype: Data type of the weights.
    """

    hidden: int = 64
    intermediate: int = 128
    num_layers: int = 2
    num_heads: int = 2
    num_tokens: int = MAX_TOKENS
    vocabulary: int | None = None
    vision_hidden: int = 64
    vision_intermediate: int = 128
    num_vision_layers: int = 2
    num_vision_heads: int = 2
    projection: int = 64
    image_px: int = IMAGE_PX
    patch_px: int = 14
    feature_layer: int = -1
    dtype: str = "float32"


# What a server of it needs on two cores.
TINY_SERVER = ServerConfig(
    dtype="float32",
    max_model_len=MAX_TOKENS,
    extra_arguments=("--enforce-eager", "--load-format", "dummy", "--max-num-seqs", "64"),
    environment={"VLLM_CPU_KVCACHE_SPACE": "1"},
    startup_timeout_s=600,
    stop_timeout_s=5,
)

_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() }}: "
    "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %} "
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def write_tiny_llava(folder: Path) -> Path:
    """Write the folder of the tiny model. Returns it."""
    return write_llava(folder, LlavaShape())


def write_llava(folder: Path, shape: LlavaShape) -> Path:
    """Write the folder of a LLaVA of this shape, without weights. Returns it."""
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level_tokenizer(("<s>", "</s>", "<image>")),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<image>"],
        chat_template=_CHAT_TEMPLATE,
    )
    image_processor = CLIPImageProcessor(
        size={"shortest_edge": shape.image_px}, crop_size={"height": shape.image_px, "width": shape.image_px}
    )
    processor = LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=shape.patch_px,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_CHAT_TEMPLATE,
    )
    config = LlavaConfig(
        text_config=LlamaConfig(
            vocab_size=shape.vocabulary or len(tokenizer),
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.num_layers,
            num_attention_heads=shape.num_heads,
            num_key_value_heads=shape.num_heads,
            max_position_embeddings=shape.num_tokens,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        vision_config=CLIPVisionConfig(
            hidden_size=shape.vision_hidden,
            intermediate_size=shape.vision_intermediate,
            num_hidden_layers=shape.num_vision_layers,
            num_attention_heads=shape.num_vision_heads,
            image_size=shape.image_px,
            patch_size=shape.patch_px,
            projection_dim=shape.projection,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=shape.feature_layer,
        vision_feature_select_strategy="default",
        dtype=shape.dtype,
    )
    config.architectures = ["LlavaForConditionalGeneration"]
    config.save_pretrained(folder)
    processor.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    return folder


def byte_level_tokenizer(special_tokens: Iterable[str]) -> Any:
    """Learnt from the prompts themselves, so that a question is a few hundred tokens long; with a token "<pad>"."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=["<pad>", *special_tokens],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([line for name in BUILT_IN for line in load_prompt(name).instructions], trainer)
    return tokenizer


if __name__ == "__main__":
    print(write_tiny_llava(Path(sys.argv[1])))
