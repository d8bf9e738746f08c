"""Projection of image features on the axes along which the texts of the classes differ.

A text tower knows by what articles differ; what an image feature holds beyond that (line weight, hatching, the place on
the sheet) only disturbs a comparison of images. The axes are the principal components of the class texts of a model, so
nothing is learned from the images that are measured.
"""

from __future__ import annotations

import numpy as np

_KEPT_VARIANCE = 0.95
RULE = (
    f"image features on the principal axes of the class texts that hold {100 * _KEPT_VARIANCE:.0f} % of their variance"
)


def principal_axes(texts: np.ndarray) -> np.ndarray:
    """The axes of the class texts: (embed_dim, num_axes) float32, orthonormal, at least one.

    Args:
        texts: (num_classes, embed_dim) float32, unit length.
    """
    centred = texts - texts.mean(axis=0)
    _, singular, axes = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    variance = np.cumsum(singular**2)
    num_axes = int(np.searchsorted(variance, _KEPT_VARIANCE * variance[-1])) + 1
    return np.asarray(axes[:num_axes].T, dtype=np.float32)


def project(features: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Features on some axes: (num_views, num_axes) float32, unit length; 0 for one at right angles to all axes."""
    projected = features @ axes
    norms = np.linalg.norm(projected, axis=1, keepdims=True)
    return np.asarray(projected / np.maximum(norms, 1e-12), dtype=np.float32)
