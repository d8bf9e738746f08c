"""What the systems this project re-implements have published, and how each was measured otherwise than here.

The figures stand beside the measured ones in a column of their own and enter no comparison.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
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

# Figures in per cent, in the order of BACKBONES; text → image, then image → text.
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
_DIRECTIONS = ("text_to_image", "image_to_text")


@dataclass(frozen=True)
class Published:
    """One published figure.

    Attributes:
        figure: Row of the table it stands beside.
        value: A share.
        protocol: How it was measured otherwise than here.
    """

    figure: str
    system: str
    backbone: str
    value: float
    protocol: str


def published_for(task: str, table: str, architecture: str) -> list[dict[str, Any]]:
    """Published figures to show beside a table, for the backbone nearest to an architecture; none where there are none.

    Args:
        task: Name of the task.
        table: Name of the table within it.
        architecture: Name of the model, such as "ViT-B-32/openai"; ViT-B/32 where it names no published backbone.
    """
    backbone = nearest_backbone(architecture)
    return [asdict(figure) for figure in _find(task, table, backbone)]


def nearest_backbone(architecture: str) -> str:
    """The published backbone of that name, ViT-B/32 for any other.

    >>> nearest_backbone("RN50/openai"), nearest_backbone("ViT-L-14-336"), nearest_backbone("designclip-tiny")
    ('RN50', 'ViT-L/14', 'ViT-B/32')
    """
    plain = architecture.upper().replace("/", "-")
    named = [backbone for backbone in BACKBONES if backbone.upper().replace("/", "-") in plain]
    return named[0] if named else "ViT-B/32"


def _find(task: str, table: str, backbone: str) -> list[Published]:
    if task == "retrieval":
        return _of_retrieval(table, backbone)
    if task == "zero_shot" and table == "uspc":
        return _of_classes(0, backbone, _CLASSES_2023)
    if task == "linear_probe" and table == "uspc_five_epochs":
        return _of_classes(1, backbone, _FIVE_EPOCHS)
    if task == "deep_patent" and table == "official":
        return [Published("mAP", "Swin + ArcFace", "Swin", 0.856, _DEEP_PATENT)]
    return []


def _of_retrieval(table: str, backbone: str) -> list[Published]:
    of = BACKBONES.index(backbone)
    for number, direction in enumerate(_DIRECTIONS):
        if table == f"{direction}_of_5000":
            return [
                Published(name, system, backbone, value / 100, _IMPACT_5000)
                for system, figures in (("CLIP", _CLIP_5000), ("PatentCLIP", _PATENTCLIP_5000))
                for name, value in zip(_R_1_5_10, figures[of][number], strict=True)
            ]
        if table == direction:
            found = [
                Published(name, "DesignCLIP", backbone, value / 100, _NOT_STATED)
                for name, value in zip(_R_1_5_10[1:], _DESIGNCLIP[of][number], strict=True)
            ]
            if number == 0 and backbone == "ViT-B/32":
                values = zip(_R_1_5_10, (0.93, 2.86, 4.33), strict=True)
                found += [Published(name, "CLIP", backbone, value / 100, _WHOLE_2022) for name, value in values]
            return found
    return []


def _of_classes(place: int, backbone: str, protocol: str) -> list[Published]:
    return [
        Published("accuracy", system, backbone, figures[backbone][place] / 100, protocol)
        for system, figures in _ACCURACY_2023.items()
        if backbone in figures
    ]
