"""Recogniser of single text lines: the ONNX model of the RapidOCR package, run on onnxruntime.

The package itself is not imported, since it requires a second build of OpenCV. Its model is loaded from its folder.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from patentdata.errors import PatentDataError

MODEL = "ch_PP-OCRv4_rec_infer.onnx"
_CAREFUL = (48, 1.15)  # height in pixels that the model was trained on, and how much a line is stretched
_QUICK = (32, 1.05)  # half the work, and as good on clear labels
_MIN_WIDTH, _MAX_WIDTH = 32, 640
_HALF_WIDTH = {code + 0xFEE0: code for code in range(ord("!"), ord("~") + 1)}  # full-width forms of ASCII characters
_WIDTH_STEP = 8  # widths are multiples of this, since the model reads in steps of 8 pixels


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The text of a line as read.

    Attributes:
        text: The characters.
        confidences: Confidence of each character, 0 to 1.
        positions: Position of each character as a share of the line's width, 0 to 1.
    """

    text: str
    confidences: tuple[float, ...]
    positions: tuple[float, ...]


def read_line(line: np.ndarray, *, is_quick: bool = False) -> Reading:
    """Read one line of text.

    Args:
        line: (height_px, width_px) uint8, dark on light, upright, with a small margin.
        is_quick: Whether to read a smaller picture, in half the time.
    """
    height, stretch = _QUICK if is_quick else _CAREFUL
    wanted = int(line.shape[1] * height / line.shape[0] * stretch / _WIDTH_STEP + 0.5) * _WIDTH_STEP
    size = (min(max(wanted, _MIN_WIDTH), _MAX_WIDTH), height)
    grey = cv2.resize(line, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 127.5 - 1.0
    session, alphabet = _session()
    probabilities = session.run(None, {"x": np.broadcast_to(grey, (1, 3, *grey.shape))})[0][0]  # (steps, characters)
    return _collapse(probabilities, alphabet)


def _collapse(probabilities: np.ndarray, alphabet: Sequence[str]) -> Reading:
    """Greedy CTC decoding: the best character of each step, repeats merged, blanks (0) dropped."""
    best = probabilities.argmax(axis=1)
    num_steps = len(best)
    starts = [i for i in range(num_steps) if best[i] and (i == 0 or best[i] != best[i - 1])]
    return Reading(
        text="".join(alphabet[best[i]] for i in starts).translate(_HALF_WIDTH),
        confidences=tuple(float(probabilities[i, best[i]]) for i in starts),
        positions=tuple((i + 0.5) / num_steps for i in starts),
    )


@cache
def _session() -> tuple[onnxruntime.InferenceSession, tuple[str, ...]]:
    """The model, loaded once in each process, and its characters; index 0 is the blank."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # weeks run in parallel, each in its own process
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model_file()), options, providers=["CPUExecutionProvider"])
    letters = session.get_modelmeta().custom_metadata_map["character"].splitlines()
    return session, ("", *letters, " ")


def model_file() -> Path:
    """Path of the recogniser's ONNX file; raises PatentDataError if its package is not installed."""
    spec = importlib.util.find_spec("rapidocr_onnxruntime")
    if spec is None or not spec.submodule_search_locations:
        raise PatentDataError(
            "rapidocr_onnxruntime, whose model reads the labels, is not installed; install the locked requirements"
        )
    return Path(spec.submodule_search_locations[0]) / "models" / MODEL
