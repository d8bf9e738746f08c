"""Named training methods, each a set of values for settings of `model.training.config.TrainConfig`.

A preset decides only the method: how views are sampled, which terms the loss has, and what they train. Architecture,
batch size and length of the run are settings of their own, and a setting that is given overrides the preset.
"""

from __future__ import annotations

from typing import Any

_PLAIN: dict[str, Any] = {
    "loss": "clip",
    "sampler": "uniform",
    "beta": 0.0,
    "class_scheme": "uspc",
    "contrastive_weight": 1.0,
    "classification_weight": 0.0,
    "multi_view_weight": 0.0,
    "arcface_weight": 0.0,
    "weigh_contrastive": False,
    "weigh_classification": False,
    "head": "fusion",
    "head_init": "random",
    "logit_adjustment": 0.0,
    "classify_all_views": False,
    "refit_head": False,
    "multi_positive": False,
    "text_dropout": 0.0,
    "caption": "text",
    "lora_rank": 0,
}

_DESIGNCLIP: dict[str, Any] = {
    **_PLAIN,
    "sampler": "item",
    "beta": 1.2,
    "classification_weight": 0.1,
    "multi_view_weight": 0.2,
    "weigh_contrastive": True,
    "weigh_classification": True,
    "multi_positive": True,
    "text_dropout": 0.5,
    "caption": "shape_or_function",
}

PRESETS: dict[str, dict[str, Any]] = {
    # open_clip's own training: every other pair in the batch is a negative.
    "clip": _PLAIN,
    # Fine-tuning of OpenAI's weights on generated captions, without any of DesignCLIP's additional terms.
    "patentclip": {**_PLAIN, "pretrained": "openai"},
    # The whole method. Its paper finds that much classification hurts, so that term has a small weight here.
    "designclip": _DESIGNCLIP,
    # The same terms, with one correction of the classes' frequencies instead of three: classes are drawn alike, and no
    # loss is weighted. The head learns more, from every view and from no caption, and its last layer is refitted at the
    # end, so that it can be read out under any prior. Chosen on drawn patents, see docs/evidence.md.
    "designclip-balanced": {
        **_DESIGNCLIP,
        "sampler": "class",
        "beta": 0.0,
        "classification_weight": 2.0,
        "multi_view_weight": 1.0,
        "weigh_contrastive": False,
        "weigh_classification": False,
        "classify_all_views": True,
        "refit_head": True,
        "text_dropout": 1.0,
    },
    # Exactly as printed in the paper: classification 1.0, contrastive 0.1, multi-view 0.2; a class is drawn first.
    "designclip-as-published": {
        **_DESIGNCLIP,
        "sampler": "class",
        "contrastive_weight": 0.1,
        "classification_weight": 1.0,
        "multi_positive": False,
        "text_dropout": 0.0,
        "caption": "text",
    },
    # What the released code does: uniform sampling, and an unweighted classifier (0.2) that sees only the image.
    "designclip-as-released": {**_PLAIN, "classification_weight": 0.2, "text_dropout": 1.0},
    # Light tuning of a pretrained model, as in LIFT (arXiv 2309.10019): adapters instead of the weights themselves, and
    # an adjusted loss on a head that starts from the class prompts. The contrastive term is added, so that image and
    # text features keep matching.
    "lift": {
        **_PLAIN,
        "pretrained": "openai",
        "classification_weight": 1.0,
        "head": "cosine",
        "head_init": "text",
        "logit_adjustment": 1.0,
        "multi_positive": True,
        "caption": "shape_or_function",
        "lora_rank": 16,
    },
    # Fine-tuning of an image tower for image retrieval, without captions.
    "arcface": {**_PLAIN, "contrastive_weight": 0.0, "arcface_weight": 1.0},
}
"""Name of a preset → its settings."""
