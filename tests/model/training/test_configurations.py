"""Models of every kind of configuration that users fine-tune: each trains, exports and loads again in stock open_clip.

The models are small ones with the settings that make the kinds differ: towers of timm, other tokenizers, projections
with a bias, QuickGELU.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from timm.models import _registry, eva, vision_transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from model.clip.embeddings import embed_images, embed_texts
from model.clip.loading import load_clip
from model.clip.source import ModelSource
from model.dataset.folder import open_dataset
from model.dataset.views import read_views
from model.training.train import train

pytestmark = pytest.mark.slow

_WORDS = ("<s>", "<pad>", "</s>", "<unk>", "a", "small", "large", "circle", "square", "star", "cross")
_SMALL = {"patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2}


def small_siglip(pretrained: bool = False, **settings: Any) -> torch.nn.Module:
    return vision_transformer.vit_base_patch32_siglip_256(img_size=32, **_SMALL, **settings)


def small_pe_core(pretrained: bool = False, **settings: Any) -> torch.nn.Module:
    return eva.vit_pe_core_tiny_patch16_384(img_size=32, ref_feat_shape=(4, 4), **_SMALL, **settings)


TEXT = {"context_length": 16, "width": 32, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "siglip2": {
        "embed_dim": 32,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 32,
            "timm_model_name": "small_siglip",
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": TEXT
        | {
            "vocab_size": len(_WORDS),
            "hf_tokenizer_name": "timm/ViT-B-32-SigLIP2-256",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
            "norm_kwargs": {"eps": 1e-6},
            "act_kwargs": {"approximate": "tanh"},
        },
    },
    "pe_core": {
        "embed_dim": 48,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 32,
            "timm_model_name": "small_pe_core",
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": None,
        },
        "text_cfg": TEXT | {"vocab_size": 49408},
    },
    "metaclip2_worldwide": {
        "embed_dim": 32,
        "vision_cfg": VIT,
        "text_cfg": TEXT
        | {
            "hf_tokenizer_name": "facebook/xlm-v-base",
            "pool_type": "eos",
            "eos_id": 2,
            "vocab_size": len(_WORDS),
        },
    },
    "dfn2b_quickgelu": {
        "embed_dim": 32,
        "quick_gelu": True,
        "vision_cfg": VIT,
        "text_cfg": TEXT | {"vocab_size": 49408},
    },
}


@pytest.fixture(scope="module", autouse=True)
def small_towers():
    """The small towers of timm, known by name as long as the tests of this module run."""
    with pytest.MonkeyPatch.context() as patch:
        for build in (small_siglip, small_pe_core):
            patch.setitem(_registry._model_entrypoints, build.__name__, build)
        yield


@pytest.fixture(scope="module", params=list(CONFIGURATIONS))
def architecture(request, tmp_path_factory) -> str:
    """Name of a small model of one kind."""
    model_cfg = CONFIGURATIONS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": preprocess}))
    if "hf_tokenizer_name" in model_cfg["text_cfg"]:
        write_tokenizer(folder)
    return f"local-dir:{folder}"


def write_tokenizer(folder: Path) -> None:
    """A tokenizer of whole words in the files of `transformers`, which ends each text with </s>."""
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(_WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(str(folder))


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_a_model_of_each_kind_trains_exports_and_loads_again(shapes, tmp_path, micro_config, architecture, lora_rank):
    config = dataclasses.replace(micro_config, architecture=architecture, num_steps=2, lora_rank=lora_rank)
    train(shapes, tmp_path / "run", config)
    folder = tmp_path / "run" / "model"
    views, texts = read_views(open_dataset(shapes), "test"), ["a small circle", "a large star", "a cross"]
    clip = load_clip(ModelSource(f"local-dir:{folder}"))
    before = load_clip(ModelSource(architecture)).model.state_dict()

    # Stock open_clip builds the same model from the folder.
    logging.disable(logging.WARNING)
    stock = open_clip.create_model(f"local-dir:{folder}").eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    logging.disable(logging.NOTSET)
    with torch.inference_mode():
        features = stock.encode_text(tokenizer(texts), normalize=True).numpy()
    assert features == pytest.approx(embed_texts(clip, texts, batch_size=3), abs=1e-5)
    assert len({tuple(row.tolist()) for row in features.round(4)}) == 3  # each text has its own
    assert embed_images(clip, views, batch_size=8).shape == (16, clip.model_cfg["embed_dim"])
    # Both towers have learned, and the structure is that of the model it started from.
    after = stock.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert after.keys() == before.keys()
    assert any(name.startswith("visual.") for name in changed) and any("mlp" in name for name in changed)
    assert any("token_embedding" in name for name in changed) == (lora_rank == 0)
