"""Features: of unit length, the same in any batch, computed once."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.clip import load_clip
from model.data import read_views
from model.dataset import open_dataset
from model.embed import embed_images, embed_texts, features_of
from model.source import ModelSource


@pytest.fixture(scope="module")
def views(shapes):
    return read_views(open_dataset(shapes), "test")


@pytest.fixture(scope="module")
def clip(micro_clip):
    return load_clip(ModelSource(micro_clip))


def test_features_have_unit_length_and_do_not_depend_on_the_batch(clip, views):
    whole, parts = embed_images(clip, views, batch_size=100), embed_images(clip, views, batch_size=3, num_workers=3)

    assert whole.shape == (16, 16) and whole.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(whole, parts, atol=1e-5)


def test_equal_texts_have_equal_features(clip):
    features = embed_texts(clip, ["a chair", "a lamp", "a chair"], batch_size=2)

    assert (features[0] == features[2]).all() and not np.allclose(features[0], features[1])
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)


def test_stored_features_serve_until_model_or_dataset_differ(clip, views, tmp_path):
    loads = []

    def features(model):
        return features_of(
            tmp_path / "test.parquet",
            views,
            identity={"model": model},
            load=lambda: loads.append(model) or clip,
            caption="text",
            batch_size=8,
            num_workers=1,
        )

    first, again = features("a"), features("a")
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.texts, again.texts)
    assert loads == ["a"]
    features("b")
    assert loads == ["a", "b"]
    (tmp_path / "test.parquet").write_bytes(b"no Parquet")
    features("b")
    assert loads == ["a", "b", "b"]
    assert pq.read_table(tmp_path / "test.parquet").column_names == ["view_id", "image_features", "text_features"]
