"""A LLaVA of random weights, small enough to be served by a CPU: what it answers means nothing, how it is asked does.

    python -m tests.tiny_llava FOLDER

The folder holds settings, tokenizer and processor, and no weights: vLLM makes them up (`--load-format dummy`), from a
fixed seed, so that equal questions have equal answers.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from patentdata.captions.config import ServerConfig
from patentdata.captions.prompts import BUILT_IN, load_prompt

IMAGE_PX = 56
_PATCH_PX = 14
_HIDDEN = 64
_VOCABULARY = 768
_MAX_TOKENS = 2048

# What a server of it needs on two cores.
TINY_SERVER = ServerConfig(
    dtype="float32",
    max_model_len=_MAX_TOKENS,
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
    """Write the model's folder. Returns it."""
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
        tokenizer_object=_byte_level_tokenizer(),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<image>"],
        chat_template=_CHAT_TEMPLATE,
    )
    image_processor = CLIPImageProcessor(
        size={"shortest_edge": IMAGE_PX}, crop_size={"height": IMAGE_PX, "width": IMAGE_PX}
    )
    processor = LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=_PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_CHAT_TEMPLATE,
    )
    config = LlavaConfig(
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=_HIDDEN,
            intermediate_size=2 * _HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=_MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        vision_config=CLIPVisionConfig(
            hidden_size=_HIDDEN,
            intermediate_size=2 * _HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=IMAGE_PX,
            patch_size=_PATCH_PX,
            projection_dim=_HIDDEN,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    config.architectures = ["LlavaForConditionalGeneration"]
    config.save_pretrained(folder)
    processor.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    return folder


def _byte_level_tokenizer() -> Any:
    """Learnt from the prompts themselves, so that a question is a few hundred tokens long."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=["<s>", "</s>", "<pad>", "<image>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([line for name in BUILT_IN for line in load_prompt(name).instructions], trainer)
    return tokenizer


if __name__ == "__main__":
    print(write_tiny_llava(Path(sys.argv[1])))
