"""What is compared: arms, that is settings of training, each of which differs from another arm in one thing.

All arms use the preset `designclip` with its head and the same captions, apart from what their names say. The
multi-view term is off unless it is the subject of the comparison, since it takes twice as many images per step.
"""

from __future__ import annotations

from typing import Any

from bench.evidence.scale import Scale

EVEN, LOSS, BOTH, TITLES = "even", "loss", "both", "titles"
UNTRAINED = "untrained"  # fresh weights: measured as the arms are, but not an arm
READINGS = ("item", "class")

_NOTHING_CORRECTED: dict[str, Any] = {
    "multi_view_weight": 0.0,
    "weigh_contrastive": False,
    "weigh_classification": False,
    "sampler": "uniform",
    "beta": 0.0,
}


def sampled(reading: str, beta: float) -> str:
    """Name of the arm that samples by class in one of the two readings of the method, with unweighted losses.

    With item weights of β = 0 all views are equally likely, which is the uncorrected arm.
    """
    return EVEN if reading == "item" and beta == 0 else f"{reading}-{beta:g}"


def multi_view(weight: float, *, base: str = BOTH) -> str:
    """Name of the arm that adds the multi-view term to the arm `base`, which is `BOTH` or `EVEN`."""
    return f"multi-view-{weight:g}" if base == BOTH else f"{base}-multi-view-{weight:g}"


def arms(scale: Scale) -> dict[str, dict[str, Any]]:
    """Name of each arm → the settings in which it differs from the preset `designclip`; arms of the claims first."""
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
        named[multi_view(weight, base=EVEN)] = _NOTHING_CORRECTED | {"multi_view_weight": weight}
    for beta in scale.betas:
        for reading in READINGS:
            named.setdefault(sampled(reading, beta), _NOTHING_CORRECTED | {"sampler": reading, "beta": beta})
    return named
