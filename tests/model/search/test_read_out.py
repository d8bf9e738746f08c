"""The classes of a query's pictures under two class priors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.clip.encoder import Encoder, find_encoder
from model.clip.heads import ClipWithHead
from model.clip.readout import ClassPriors
from model.clip.saved_head import save_classifier
from model.dataset.classes import USPC
from model.errors import ConfigError
from model.search.query import Picture
from model.search.read_out import classes_of_pictures
from tests.model.dataset.drawings import draw_shape
from tests.model.search.searchable import write_model

FREQUENT, RARE = 5, 20  # indices of two classes
PICTURES = [
    Picture(name=f"{shape}.png", pixels=draw_shape(shape, "outlined", "large", np.random.default_rng(0)))
    for shape in ("star", "ring")
]


def model_with_head(micro_clip, folder, priors: ClassPriors | None) -> Encoder:
    """A model whose head slightly prefers a rare class to a frequent one, whatever it sees."""
    write_model(micro_clip, folder)
    encoder = find_encoder(f"local-dir:{folder}", torch.device("cpu"), batch_size=8, num_workers=1)
    model = ClipWithHead(encoder.load().model, num_classes=len(USPC), kind="cosine")
    with torch.no_grad():
        model.head.out.weight.zero_()
        model.head.out.bias.zero_()
        model.head.out.bias[RARE], model.head.out.bias[FREQUENT] = 4.0, 3.0
    save_classifier(model.head, USPC, folder, priors=priors)
    return find_encoder(f"local-dir:{folder}", torch.device("cpu"), batch_size=8, num_workers=1)


def long_tailed() -> ClassPriors:
    natural = np.full(len(USPC), 0.01)
    natural[FREQUENT] = 1 - 0.01 * (len(USPC) - 1)
    return ClassPriors(fitted=np.full(len(USPC), 1 / len(USPC)), natural=natural)


def test_the_natural_read_out_names_the_frequent_class_and_the_balanced_one_what_it_looks_like(micro_clip, tmp_path):
    found = classes_of_pictures(model_with_head(micro_clip, tmp_path / "m", long_tailed()), PICTURES)
    assert [one.picture for one in found] == ["star.png", "ring.png"]
    for one in found:
        assert one.read_outs["natural"][0].code == USPC.codes[FREQUENT]
        assert one.read_outs["balanced"][0].code == USPC.codes[RARE]
        assert one.read_outs["balanced"][0].title == USPC.titles[RARE]
    # By hand: e^4, e^3, and e^0 for each of the other classes.
    expected = np.exp(4) / (np.exp(4) + np.exp(3) + len(USPC) - 2)
    assert found[0].read_outs["balanced"][0].share == pytest.approx(expected, rel=1e-4)
    assert found[0].sentence.startswith(f"class of star.png, natural: {USPC.codes[FREQUENT]} ")


@pytest.mark.parametrize("has_head", [True, False])
def test_a_model_without_a_head_or_priors_is_refused(micro_clip, tmp_path, has_head):
    if has_head:
        encoder = model_with_head(micro_clip, tmp_path / "m", None)
    else:
        write_model(micro_clip, tmp_path / "m")
        encoder = find_encoder(f"local-dir:{tmp_path / 'm'}", torch.device("cpu"), batch_size=8, num_workers=1)
    sentence = "class priors of the head of .* are not known" if has_head else "has no classification head to read out"
    with pytest.raises(ConfigError, match=sentence):
        classes_of_pictures(encoder, PICTURES)
