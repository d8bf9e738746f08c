"""Values published for the systems that this project re-implements, and how each was measured differently from here.

The report shows them in a column of their own. They are not part of any comparison, since galleries, captions and tie
rules differ or are not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BACKBONES = ("RN50", "RN101", "ViT-B/32", "ViT-L/14")
_IMPACT_5000 = (
    "gallery of 5,000 pairs of unknown draw, one front-page drawing and one LLaVA caption a patent; only the own "
    "caption counts; tie rule not stated"
)
_NOT_STATED = "size of the gallery not stated; LLaVA captions; rule for equal captions and ties not stated"
_WHOLE_2022 = "an independent check: all 33,541 patents of 2022, one front-page drawing and one LLaVA caption each"
_CLASSES_2023 = "US design classes of patents of 2023, one drawing each; prompts not stated"
_FIVE_EPOCHS = f"{_CLASSES_2023}; five epochs of a linear layer on frozen features that are not of unit length"

# Values in per cent, in the order of BACKBONES; text → image, then image → text.
_R_1_5_10 = ("R@1", "R@5", "R@10")
_CLIP_5000 = (
    ((0.82, 2.52, 4.08), (0.78, 2.32, 3.48)),
    ((1.44, 4.52, 6.48), (0.98, 2.98, 4.96)),
    ((1.98, 5.24, 7.42), (1.06, 4.26, 6.32)),
    ((4.46, 10.74, 15.16), (3.42, 8.90, 12.88)),
)
_PATENTCLIP_5000 = (
    ((5.38, 15.52, 22.7), (5.9, 16.6, 23.86)),
    ((7.44, 20.6, 28.48), (7.02, 19.70, 27.58)),
    ((10.24, 25.56, 35.06), (9.88, 25.90, 35.08)),
    ((20.58, 43.14, 53.00), (20.44, 42.34, 52.56)),
)
_DESIGNCLIP = (
    ((25.17, 34.50), (23.49, 32.70)),
    ((26.71, 36.51), (25.37, 34.84)),
    ((29.75, 39.91), (28.39, 38.26)),
    ((41.72, 52.55), (39.59, 50.44)),
)
_ACCURACY_2023 = {  # system → backbone → zero-shot, fine-tuned
    "CLIP": {"RN101": (11.91, 15.47), "ViT-B/32": (10.88, 38.99)},
    "DesignCLIP": {"RN101": (11.93, 29.92), "ViT-B/32": (14.70, 41.34)},
}
_DEEP_PATENT = (
    "the same lists, about this value; a Swin transformer trained on the 33,364 patents of the train list with ArcFace "
    "(s 30, m 0.5), drawings cut to their ink; tie rule not stated"
)
_DEEP_PATENT_SCALED = (
    "Wang and Zhang (arXiv 2308.13749), the same benchmark; their light model scaled up to larger networks and inputs, "
    "which the abstract does not name; tie rule not stated"
)
_DIRECTIONS = ("text_to_image", "image_to_text")


@dataclass(frozen=True)
class Published:
    """One published value.

    Attributes:
        metric: Row of the table that it is shown in, such as "R@10".
        value: A share, from 0 to 1.
        protocol: How it was measured differently from here.
    """

    metric: str
    system: str
    backbone: str
    value: float
    protocol: str

    def to_dict(self) -> dict[str, Any]:
        """The value as `evaluation.json` stores it."""
        return {
            "figure": self.metric,
            "system": self.system,
            "backbone": self.backbone,
            "value": self.value,
            "protocol": self.protocol,
        }


def published_for(task: str, table: str, architecture: str) -> list[dict[str, Any]]:
    """Published values to show in a table, for the backbone nearest to an architecture; empty if there are none.

    Args:
        task: Name of the task.
        table: Name of the table within it.
        architecture: Name of the model, such as "ViT-B-32/openai".
    """
    backbone = nearest_backbone(architecture)
    return [value.to_dict() for value in _find(task, table, backbone)]


def nearest_backbone(architecture: str) -> str:
    """The published backbone that an architecture names; ViT-B/32 if it names none.

    >>> nearest_backbone("RN50/openai"), nearest_backbone("ViT-L-14-336"), nearest_backbone("designclip-tiny")
    ('RN50', 'ViT-L/14', 'ViT-B/32')
    """
    name = architecture.upper().replace("/", "-")
    named = [backbone for backbone in BACKBONES if backbone.upper().replace("/", "-") in name]
    return named[0] if named else "ViT-B/32"


def _find(task: str, table: str, backbone: str) -> list[Published]:
    if task == "retrieval":
        return _find_retrieval(table, backbone)
    if task == "zero_shot" and table == "uspc":
        return _find_accuracy(0, backbone, _CLASSES_2023)
    if task == "linear_probe" and table == "uspc_five_epochs":
        return _find_accuracy(1, backbone, _FIVE_EPOCHS)
    if task == "deep_patent" and table == "official":
        return [
            Published("mAP", "Swin + ArcFace", "Swin", 0.856, _DEEP_PATENT),
            Published("mAP", "Wang and Zhang", "scaled up", 0.935, _DEEP_PATENT_SCALED),
        ]
    return []


def _find_retrieval(table: str, backbone: str) -> list[Published]:
    backbone_index = BACKBONES.index(backbone)
    for index, direction in enumerate(_DIRECTIONS):
        if table == f"{direction}_of_5000":
            return [
                Published(name, system, backbone, value / 100, _IMPACT_5000)
                for system, values in (("CLIP", _CLIP_5000), ("PatentCLIP", _PATENTCLIP_5000))
                for name, value in zip(_R_1_5_10, values[backbone_index][index], strict=True)
            ]
        if table == direction:
            found = [
                Published(name, "DesignCLIP", backbone, value / 100, _NOT_STATED)
                for name, value in zip(_R_1_5_10[1:], _DESIGNCLIP[backbone_index][index], strict=True)
            ]
            if index == 0 and backbone == "ViT-B/32":
                checked = zip(_R_1_5_10, (0.93, 2.86, 4.33), strict=True)
                found += [Published(name, "CLIP", backbone, value / 100, _WHOLE_2022) for name, value in checked]
            return found
    return []


def _find_accuracy(index: int, backbone: str, protocol: str) -> list[Published]:
    """Accuracies of every system; `index` is 0 for zero-shot, 1 for fine-tuned."""
    return [
        Published("accuracy", system, backbone, accuracies[backbone][index] / 100, protocol)
        for system, accuracies in _ACCURACY_2023.items()
        if backbone in accuracies
    ]
