"""What is compared: arms, which are settings of training that differ in one thing from another arm.

All arms are the preset `designclip` with its head, on the same captions, but for what is named. The multi-view term is
off except where it is what is asked about, since it takes twice as many images a step.
"""

from __future__ import annotations

from typing import Any

from bench.evidence.scale import Scale

EVEN, LOSS, BOTH, TITLES = "even", "loss", "both", "titles"
UNTRAINED = "untrained"  # fresh weights: measured beside the arms, and no arm
READINGS = ("item", "class")

_NOTHING_CORRECTED: dict[str, Any] = {
    "multi_view_weight": 0.0,
    "weigh_contrastive": False,
    "weigh_classification": False,
    "sampler": "uniform",
    "beta": 0.0,
}


def sampled(reading: str, beta: float) -> str:
    """Name of the arm that samples by class in one reading, and weighs nothing.

    Item weights of β = 0 draw every view as often as any other, which is what the uncorrected arm does.
    """
    return EVEN if reading == "item" and beta == 0 else f"{reading}-{beta:g}"


def multi_view(weight: float, *, beside: str = BOTH) -> str:
    """Name of the arm with the multi-view term beside what `BOTH` or `EVEN` has."""
    return f"multi-view-{weight:g}" if beside == BOTH else f"{beside}-multi-view-{weight:g}"


def arms(scale: Scale) -> dict[str, dict[str, Any]]:
    """Name → settings over the preset `designclip`; those of the claims first."""
    corrected = _NOTHING_CORRECTED | {"beta": scale.beta}
    loss = corrected | {"weigh_contrastive": True, "weigh_classification": True}
    both = loss | {"sampler": "item"}
    named = {
        EVEN: _NOTHING_CORRECTED,
        BOTH: both,
        **{multi_view(weight): both | {"multi_view_weight": weight} for weight in scale.multi_view_weights},
        TITLES: both | {"caption": "title"},
        sampled("item", scale.beta): corrected | {"sampler": "item"},
        LOSS: loss,
    }
    for weight in scale.plain_multi_view_weights:
        named[multi_view(weight, beside=EVEN)] = _NOTHING_CORRECTED | {"multi_view_weight": weight}
    for beta in scale.betas:
        for reading in READINGS:
            named.setdefault(sampled(reading, beta), _NOTHING_CORRECTED | {"sampler": reading, "beta": beta})
    return named
