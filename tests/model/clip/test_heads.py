"""The classification head, and the one forward pass that feeds it."""

from __future__ import annotations

import copy
import shutil

import open_clip
import pytest
import torch

from model.clip.heads import HEADS, ClipWithHead, FusionHead
from model.clip.loading import load_clip
from model.clip.saved_head import load_classifier, save_classifier
from model.clip.source import ModelSource
from model.dataset.classes import USPC
from model.errors import ArchitectureError

NUM_CLASSES = 33


def small_head(*, seed: int = 0) -> FusionHead:
    return FusionHead(image_width=24, text_width=16, num_classes=5, width=64, seed=seed).eval()


def draw_tokens(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def model(micro_clip):
    """An open_clip model of a few thousand weights, with its images and token ids."""
    clip = load_clip(ModelSource(micro_clip)).model
    images = draw_tokens(6, 3, 32, 32, seed=1)
    ids = torch.zeros(4, 16, dtype=torch.int64)
    ids[:, :5] = torch.tensor([49406, 320, 0, 1125, 49407])  # 0 is a word of CLIP's as well as its padding
    return clip, images, ids


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "image_width", "text_width", "embed_dim"),
    [
        ("RN50", 2048, 512, 1024),
        ("RN101", 2048, 512, 512),
        ("ViT-B-32", 768, 512, 512),
        ("ViT-L-14", 1024, 768, 768),
        ("ViT-B-16-SigLIP", 768, 768, 768),
    ],
)
def test_heads_fit_the_towers_of_open_clip(architecture, image_width, text_width, embed_dim):
    clip = open_clip.create_model(architecture, load_weights=False, device="meta", output_dict=True)
    height, width = (clip.visual.image_size,) * 2 if isinstance(clip.visual.image_size, int) else clip.visual.image_size
    model = ClipWithHead(clip, num_classes=NUM_CLASSES)

    output = model(
        torch.zeros(6, 3, height, width, device="meta"),
        torch.zeros(4, clip.context_length, dtype=torch.int64, device="meta"),
        torch.ones(4, dtype=torch.bool, device="meta"),
    )

    assert model.head.image_in.in_features == image_width and model.head.text_in.in_features == text_width
    assert {name: tuple(output[name].shape) for name in ("image_features", "text_features", "class_logits")} == {
        "image_features": (6, embed_dim),
        "text_features": (4, embed_dim),
        "class_logits": (4, NUM_CLASSES),
    }
    assert ("logit_bias" in output) == ("SigLIP" in architecture)
    assert sum(weight.numel() for weight in model.head.parameters()) < 1e6


@pytest.mark.parametrize("width", [4, 0])
def test_the_features_returned_with_the_classes_are_open_clips_own(model, tmp_path, width):
    clip, images, ids = model
    if width:  # a small ResNet, whose tokens are the positions of its last feature map
        clip = open_clip.model.CLIP(
            16,
            {"image_size": 64, "layers": [1, 1, 1, 1], "width": width, "head_width": 16},
            {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
            output_dict=True,
        )
        images = draw_tokens(6, 3, 64, 64, seed=1)
    clip.eval()

    output = ClipWithHead(clip, num_classes=5).eval()(images, ids)
    expected = clip(images, ids)

    for name in ("image_features", "text_features", "logit_scale"):
        assert torch.equal(output[name], expected[name])


def test_a_tower_that_exposes_no_tokens_gives_its_features_as_the_only_token(model):
    clip, images, ids = model

    class Pooled(torch.nn.Module):
        image_size = 32

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(2, 3)).repeat(1, 6)[:, :16]

    clip.visual = Pooled()
    model = ClipWithHead(clip, num_classes=5)

    assert model.head.image_in.in_features == 16
    assert model(images, ids)["class_logits"].shape == (4, 5)


def test_classifying_images_alone_equals_ignoring_their_text(model):
    clip, images, ids = model
    model = ClipWithHead(clip, num_classes=5).eval()

    alone = model.classify(images[:4])
    without = model(images, ids, torch.zeros(4, dtype=torch.bool))["class_logits"]
    with_text = model(images, ids, torch.ones(4, dtype=torch.bool))["class_logits"]
    some = model(images, ids, torch.tensor([True, False, True, False]))["class_logits"]

    torch.testing.assert_close(alone, without)
    assert not torch.allclose(alone, with_text)
    torch.testing.assert_close(some, torch.stack([with_text[0], alone[1], with_text[2], alone[3]]))


def test_the_last_layer_of_either_head_makes_the_logits_of_its_inputs(model):
    clip, images, _ = model
    for kind in HEADS:
        headed = ClipWithHead(clip, num_classes=5, kind=kind).eval()

        torch.testing.assert_close(headed.head.out(headed.head_inputs(images)), headed.classify(images))


def test_images_without_a_text_are_classified_on_request(model):
    clip, images, ids = model
    for kind in HEADS:
        headed = ClipWithHead(clip, num_classes=5, kind=kind, classifies_all=True).eval()
        output = headed(images, ids)

        torch.testing.assert_close(output["other_class_logits"], headed.classify(images[4:]))
        assert "other_class_logits" not in headed(images[:4], ids)


def test_a_cosine_head_starts_as_the_zero_shot_classification_of_its_directions(model):
    clip, images, ids = model
    headed = ClipWithHead(clip, num_classes=4, kind="cosine").eval()
    directions = clip.encode_text(ids, normalize=True)
    headed.head.set_directions(3 * directions)
    with torch.no_grad():
        expected = clip.logit_scale.exp() * clip.encode_image(images, normalize=True) @ directions.T

    torch.testing.assert_close(headed.classify(images), expected)
    assert torch.equal(headed(images[:4], ids)["class_logits"], headed(images[:4], None)["class_logits"])
    assert torch.equal(
        headed(images, None, torch.ones(4, dtype=torch.bool))["class_logits"], headed(images, ids)["class_logits"]
    )


def test_a_cosine_head_computes_in_float32_under_autocast(model):
    clip, images, _ = model
    headed = ClipWithHead(clip, num_classes=4, kind="cosine").eval()
    features = clip.encode_image(images, normalize=True)
    with torch.autocast("cpu", torch.bfloat16):
        logits = headed.head(features)

    assert logits.dtype == torch.float32
    assert torch.equal(logits, headed.head(features))


def test_each_kind_of_head_is_loaded_as_it_was_saved(model, micro_clip, tmp_path):
    clip = load_clip(ModelSource(micro_clip))
    shutil.copytree(micro_clip.removeprefix("local-dir:"), tmp_path, dirs_exist_ok=True)
    images = draw_tokens(6, 3, 32, 32, seed=1)
    for kind in HEADS:
        saved = ClipWithHead(clip.model, num_classes=33, kind=kind, seed=4).eval()
        save_classifier(saved.head, USPC, tmp_path)
        loaded, table = load_classifier(tmp_path, clip=clip)

        assert loaded.head.kind == kind and table == USPC
        assert torch.equal(loaded.classify(images), saved.classify(images))


def test_a_head_of_an_unknown_kind_is_refused(model, micro_clip, tmp_path):
    clip = load_clip(ModelSource(micro_clip))
    save_classifier(ClipWithHead(clip.model, num_classes=33).head, USPC, tmp_path)
    config = tmp_path / "classifier.json"
    config.write_text(config.read_text().replace('"fusion"', '"perceiver"'))

    with pytest.raises(ArchitectureError, match="unknown head 'perceiver'; known are fusion, cosine"):
        load_classifier(tmp_path, clip=clip)


def test_padding_after_a_text_has_no_effect(model):
    clip, _, ids = model
    model = ClipWithHead(clip, num_classes=5).eval()
    _, tokens = model._encode_texts(ids)
    mask = model._text_mask(ids, tokens)

    assert mask.sum(dim=1).tolist() == [5] * 4  # up to the end token; the token 0 inside the text is not padding
    image_tokens = draw_tokens(4, 3, model.head.image_in.in_features, seed=2)
    other = torch.where(mask[..., None], tokens, tokens + 100)
    torch.testing.assert_close(
        model.head(image_tokens, tokens, text_mask=mask), model.head(image_tokens, other, text_mask=mask)
    )


def test_an_ignored_text_gets_no_gradient():
    texts = draw_tokens(3, 4, 16, seed=3).requires_grad_()

    small_head()(draw_tokens(3, 7, 24, seed=4), texts, keep_text=torch.tensor([True, False, True])).sum().backward()

    assert (texts.grad[1] == 0).all() and (texts.grad[[0, 2]] != 0).any()


def test_the_order_of_image_tokens_has_no_effect():
    head, tokens = small_head(), draw_tokens(2, 9, 24, seed=5)

    torch.testing.assert_close(head(tokens), head(tokens.flip(1)))


def test_equal_seeds_give_equal_heads_and_do_not_change_the_callers_random_state():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, same, other = small_head(seed=1), small_head(seed=1), small_head(seed=2)

    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not torch.equal(first.query, other.query)


def test_building_a_head_does_not_change_the_model(model):
    clip, _, _ = model
    clip.train()
    before = copy.deepcopy(clip.state_dict())

    ClipWithHead(clip, num_classes=5)

    assert clip.training
    assert all(torch.equal(clip.state_dict()[name], value) for name, value in before.items())


def test_the_classes_train_every_weight_of_the_head_and_both_towers(model):
    clip, images, ids = model
    model = ClipWithHead(clip, num_classes=5)

    torch.nn.functional.cross_entropy(model(images, ids)["class_logits"], torch.tensor([0, 1, 2, 4])).backward()

    assert all(weight.grad is not None and (weight.grad != 0).any() for weight in model.head.parameters())
    assert (clip.visual.conv1.weight.grad != 0).any() and (clip.token_embedding.weight.grad != 0).any()


def test_a_head_learns_classes_from_one_token_among_many():
    head = small_head().train()
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    signs, classes = draw_tokens(5, 24, seed=6), torch.arange(5).repeat(8)
    for step in range(60):
        tokens = draw_tokens(40, 9, 24, seed=step)
        tokens[:, step % 9] = 3 * signs[classes]
        loss = torch.nn.functional.cross_entropy(head(tokens), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tokens = draw_tokens(40, 9, 24, seed=1000)
    tokens[:, 4] = 3 * signs[classes]

    assert (head.eval()(tokens).argmax(dim=1) == classes).float().mean() > 0.9
