"""One classification head, read out under any class prior, without training it again.

A softmax classifier learns p(class | image) under the class prior of the data it was fitted on. Bayes' rule replaces
that prior by another one: subtract the logarithm of the old prior from the logits and add that of the new one (logit
adjustment, arXiv 2007.07314). Which prior is right depends on the question. "What will most often be right on what is
filed?" asks for the natural prior, "which class does it look like?" for a balanced one. A model therefore keeps the
prior that its head was fitted under and the natural one, and the reader picks a point between them:

    logits − log fitted + (1 − τ) · log natural        τ = 0: natural; τ = 1: balanced; above 1 favours rare classes
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NATURAL, BALANCED = 0.0, 1.0  # values of τ
NEVER = -1e4  # the adjusted logit of a class without training views: finite, and its probability is 0 in float64


@dataclass(frozen=True, eq=False)
class ClassPriors:
    """The two class priors of a trained head. If either is unknown, all read-outs equal the head's own logits.

    Attributes:
        fitted: (num_classes,) shares with the sum 1: the prior under which the logits are those of posteriors.
        natural: (num_classes,) shares with the sum 1: the classes of the training split.
    """

    fitted: np.ndarray | None = None
    natural: np.ndarray | None = None

    @property
    def are_known(self) -> bool:
        """Whether there are different read-outs; False for models of earlier versions and of data without classes."""
        return self.fitted is not None and self.natural is not None

    def adjusted(self, logits: np.ndarray, tau: float) -> np.ndarray:
        """The logits of the head for the read-out at `tau`.

        A class without training views has no prior to adjust by. The head has only ever seen it as a wrong answer or
        not at all, so it is never predicted: its logit becomes -10,000, whatever τ is.

        Args:
            logits: (num_items, num_classes), as the head returns them.
            tau: 0 for the natural prior, 1 for a balanced one.

        Returns:
            (num_items, num_classes) float32, all finite; `logits` unchanged if the priors are unknown.

        >>> priors = ClassPriors(fitted=np.array([0.9, 0.1]), natural=np.array([0.9, 0.1]))
        >>> priors.adjusted(np.array([[1.0, 0.0]]), tau=1.0).argmax(axis=1)
        array([1])
        """
        if self.fitted is None or self.natural is None:
            return logits
        occurs = (self.natural > 0) & (self.fitted > 0)
        log_fitted = np.log(self.fitted, where=occurs, out=np.zeros(len(occurs)))
        log_natural = np.log(self.natural, where=occurs, out=np.zeros(len(occurs)))
        adjusted = logits - log_fitted + (1 - tau) * log_natural
        return np.where(occurs, adjusted, NEVER).astype(np.float32)
