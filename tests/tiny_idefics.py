"""An Idefics 3 of random weights, small enough to be served by a CPU; see `tiny_llava`.

    python -m tests.tiny_idefics FOLDER

It cuts a picture into square tiles, and reads these and an overview of the whole.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.tiny_llava import MAX_TOKENS, byte_level_tokenizer

TILE_PX = 56
LONGEST_PX = 4 * TILE_PX
_PATCH_PX = 14
_SCALE = 2
TOKENS_A_TILE = (TILE_PX // _PATCH_PX // _SCALE) ** 2
_HIDDEN = 64

_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}:"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}<image>{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def write_tiny_idefics(folder: Path) -> Path:
    """Write the model's folder. Returns it."""
    from transformers import (
        Idefics3Config,
        Idefics3ImageProcessor,
        Idefics3Processor,
        LlamaConfig,
        PreTrainedTokenizerFast,
    )

    folder.mkdir(parents=True, exist_ok=True)
    places = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    special = ("<s>", "<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *places)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level_tokenizer(special),
        bos_token="<s>",
        eos_token="<end_of_utterance>",
        pad_token="<pad>",
        additional_special_tokens=list(special[1:]),
        chat_template=_CHAT_TEMPLATE,
    )
    processor = Idefics3Processor(
        image_processor=Idefics3ImageProcessor(
            size={"longest_edge": LONGEST_PX}, max_image_size={"longest_edge": TILE_PX}
        ),
        tokenizer=tokenizer,
        image_seq_len=TOKENS_A_TILE,
        chat_template=_CHAT_TEMPLATE,
    )
    config = Idefics3Config(
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=_HIDDEN,
            intermediate_size=2 * _HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ).to_dict(),
        vision_config={
            "hidden_size": _HIDDEN,
            "intermediate_size": 2 * _HIDDEN,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": TILE_PX,
            "patch_size": _PATCH_PX,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=_SCALE,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    config.architectures = ["Idefics3ForConditionalGeneration"]
    config.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    print(write_tiny_idefics(Path(sys.argv[1])))
