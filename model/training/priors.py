"""The class priors that a trained head is exported with, so that it can be read out under any of them.

What a head is fitted to follows from how its views were drawn and weighed. A view of class c is drawn with the share
s_c, counts w_c times, and its logits are adjusted by τ · log s_c. The softmax of the plain logits is then the posterior
under a prior in proportion to

    s_c^(1 − τ) · w_c

which is the stream itself for a plain head, and uniform for τ = 1 without weights. A refitted head is fitted to a
uniform prior, whatever the stream was.
"""

from __future__ import annotations

import numpy as np

from model.clip.readout import ClassPriors
from model.training.config import TrainConfig


def class_priors(counts: np.ndarray, shares: np.ndarray, weights: np.ndarray, config: TrainConfig) -> ClassPriors:
    """The priors of the head of a finished run; unknown if no training view has a class.

    A class without training views has the share 0 in both.

    Args:
        counts: (num_classes,) number of training views of each class.
        shares: (num_classes,) share of each class in the draws of known class.
        weights: (num_classes,) weight of each class in the classification term, if that term is weighted.
        config: Settings of the run.
    """
    if not counts.any():
        return ClassPriors()
    occurs = counts > 0
    if config.refit_head:
        fitted = occurs.astype(np.float64)
    else:
        fitted = np.power(shares, 1 - config.logit_adjustment, where=occurs, out=np.zeros(len(shares)))
        fitted = fitted * weights if config.weigh_classification else fitted
    return ClassPriors(fitted=fitted / fitted.sum(), natural=counts / counts.sum())
