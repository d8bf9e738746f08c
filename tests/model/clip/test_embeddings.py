"""Features have unit length, do not depend on the batch, and are computed once."""

from __future__ import annotations

import dataclasses
import shutil

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from model.clip.embeddings import (
    embed_images,
    embed_texts,
    embeddings_folder,
    encode_images,
    hide_older_embeddings,
    image_features_of,
    text_features_of,
)
from model.clip.encoder import find_encoder
from model.clip.loading import load_clip
from model.clip.parallel_encoding import num_processes_on
from model.clip.source import ModelSource
from model.dataset.folder import open_dataset
from model.dataset.views import read_views
from model.errors import ConfigError, DeviceError, NonFiniteError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(shapes):
    return open_dataset(shapes)


@pytest.fixture(scope="module")
def views(dataset):
    return read_views(dataset, "test")


@pytest.fixture(scope="module")
def clip(micro_clip):
    return load_clip(ModelSource(micro_clip))


def encoding(clip, views, batch_size):
    """What computes the features of views."""
    return lambda: encode_images(clip, views, batch_size=batch_size)


class Loader:
    """Gives a model, and counts how often it was loaded."""

    def __init__(self, clip):
        self.clip = clip
        self.num_loads = 0

    def __call__(self):
        self.num_loads += 1
        return self.clip


def test_features_have_unit_length_and_do_not_depend_on_the_batch(clip, views):
    one_batch, small_batches = (
        embed_images(clip, views, batch_size=100),
        embed_images(clip, views, batch_size=3, num_workers=3),
    )

    assert one_batch.shape == (16, 16) and one_batch.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(one_batch, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(one_batch, small_batches, atol=1e-5)


def test_features_in_bf16_are_near_those_in_fp32_and_are_never_taken_for_them(micro_clip, dataset, views):
    plain, rough = (find_encoder(micro_clip, CPU, precision=precision) for precision in ("fp32", "bf16"))
    images = [encoder.image_features(dataset, views).features for encoder in (plain, rough, plain)]
    texts = [encoder.text_features(dataset, ["a chair", "a lamp"], kind="t") for encoder in (plain, rough, plain)]
    for first, other, again in (images, texts):
        assert not np.array_equal(first, other) and np.array_equal(first, again)
        assert (first * other).sum(axis=1).min() > 0.999


@pytest.mark.parametrize(("precision", "sentence"), [("tf32", "needs a GPU; use fp32"), ("int8", "use one of fp32")])
def test_a_precision_that_the_device_does_not_have_is_refused(micro_clip, precision, sentence):
    with pytest.raises(ConfigError, match=sentence):
        find_encoder(micro_clip, CPU, precision=precision)


def test_two_processes_give_the_rows_of_one_in_order(micro_clip, dataset, views, monkeypatch):
    monkeypatch.setattr("model.clip.parallel_encoding._BATCHES_A_TASK", 1)
    monkeypatch.setattr("model.clip.parallel_encoding._START_METHOD", "fork")  # torch is imported here already
    one, two = (find_encoder(micro_clip, CPU, batch_size=3, num_processes=num).untrained(1) for num in (1, 2))
    seen = []
    two.progress = lambda done, num_all, _: seen.append((done, num_all))
    together = two.image_features(dataset, views)
    shutil.rmtree(dataset.folder / ".embeddings")
    alone = one.image_features(dataset, views)
    np.testing.assert_allclose(together.features, alone.features, atol=1e-6)
    np.testing.assert_allclose(together.norms, alone.norms, rtol=1e-5)
    assert seen == [(3, 16), (6, 16), (9, 16), (12, 16), (15, 16), (16, 16)]


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [num_processes_on(torch.device("cuda"), num) for num in (0, 1, 2)] == [2, 1, 2]
    assert [num_processes_on(CPU, num) for num in (0, 3)] == [1, 3]
    with pytest.raises(DeviceError, match="num_processes is 3, but there are 2 GPUs"):
        num_processes_on(torch.device("cuda"), 3)


def test_features_are_written_in_equal_groups_whatever_the_batch(clip, views, tmp_path, monkeypatch):
    monkeypatch.setattr("model.clip.embeddings._ROWS_A_GROUP", 6)
    stored = []
    for batch_size in (16, 16, 4):
        path = tmp_path / f"{len(stored)}"
        image_features_of(path, views, identity={}, encode=encoding(clip, views, batch_size))
        stored.append(pq.ParquetFile(path))

    assert [file.metadata.row_group(group).num_rows for file in stored for group in range(3)] == [6, 6, 4] * 3
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


def test_equal_texts_have_equal_features(clip):
    features = embed_texts(clip, ["a chair", "a lamp", "a chair"], batch_size=2)

    assert (features[0] == features[2]).all() and not np.allclose(features[0], features[1])
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)


def test_stored_image_features_are_used_until_their_inputs_change(clip, views, tmp_path):
    load = Loader(clip)

    def features(model):
        path, identity = tmp_path / "test.parquet", {"model": model}
        return image_features_of(
            path, views, identity=identity, encode=lambda: encode_images(load(), views, batch_size=8)
        )

    first, again = features("a"), features("a")
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.norms, again.norms)
    assert load.num_loads == 1
    features("b")
    assert load.num_loads == 2
    (tmp_path / "test.parquet").write_bytes(b"not Parquet")
    features("b")
    assert load.num_loads == 3
    assert pq.read_schema(tmp_path / "test.parquet").names == ["view_id", "features", "norm"]


def test_features_times_norms_are_the_output_of_the_model(clip, views, tmp_path):
    computed = image_features_of(tmp_path / "f", views, identity={}, encode=encoding(clip, views, 16))
    normalised = embed_images(clip, views, batch_size=16)

    np.testing.assert_allclose(computed.features, normalised, atol=1e-6)
    assert (computed.norms > 0).all() and not np.allclose(computed.norms, 1)


def test_new_texts_are_computed_and_known_ones_are_not(clip, tmp_path):
    load = Loader(clip)

    def features(texts):
        return text_features_of(tmp_path / "t", texts, identity={"model": "a"}, load=load, batch_size=8)

    first = features(["a chair", "a lamp", "a chair"])
    again = features(["a chair", "a lamp", "a lamp"])  # the same distinct texts
    assert load.num_loads == 1
    np.testing.assert_array_equal(first[[0, 1, 1]], again)
    features(["a cup"])
    assert load.num_loads == 2


def test_changed_captions_do_not_recompute_image_features(micro_clip, dataset, views, tmp_path):
    encoder = find_encoder(micro_clip, torch.device("cpu"))
    encoder.image_features(dataset, views)
    again = find_encoder(micro_clip, torch.device("cpu"))
    again.load = Loader(None)  # type: ignore[method-assign]

    again.image_features(dataset, views)
    assert again.load.num_loads == 0
    with pytest.raises(AttributeError):
        again.text_features(dataset, ["a new caption"], kind="test-other")
    assert again.load.num_loads == 1


def test_an_untrained_model_has_features_of_its_own(micro_clip, dataset, views):
    encoder = find_encoder(micro_clip, torch.device("cpu"))
    one, other = (encoder.untrained(seed).image_features(dataset, views).features for seed in (0, 1))

    assert not np.allclose(one, other)


def test_features_are_stored_in_the_run_or_for_any_other_model_in_the_dataset_folder(dataset, tmp_path):
    terms = {"name": "hf-hub:some/model", "fingerprint": "abcdef0123456789"}

    assert embeddings_folder(dataset, run_dir=tmp_path, **terms) == tmp_path / "embeddings"
    in_dataset = embeddings_folder(dataset, run_dir=None, **terms)
    assert in_dataset == dataset.folder / ".embeddings" / "hf-hub-some-model-abcdef012345"


def test_embeddings_of_an_earlier_version_move_into_the_hidden_folder(dataset, tmp_path):
    dataset = dataclasses.replace(dataset, folder=tmp_path)
    (tmp_path / "embeddings" / "one").mkdir(parents=True)
    hide_older_embeddings(dataset)
    assert [path.name for path in tmp_path.iterdir()] == [".embeddings"] and (tmp_path / ".embeddings/one").is_dir()
    (tmp_path / "embeddings").mkdir()
    hide_older_embeddings(dataset)  # what is there already stays
    assert (tmp_path / ".embeddings/one").is_dir()


class Broken(torch.nn.Module):
    """A model that returns one wrong value for each image or text whose number is given."""

    def __init__(self, wrong: dict[int, float]) -> None:
        super().__init__()
        self.logit_scale = torch.nn.Parameter(torch.zeros(()))
        self.wrong = wrong
        self.num_seen = 0

    def encode_image(self, images):
        features = torch.ones(len(images), 4)
        for row in range(len(images)):
            features[row, 1] = self.wrong.get(self.num_seen + row, 1.0)
        self.num_seen += len(images)
        return features

    def encode_text(self, tokens):
        return self.encode_image(tokens)


def broken(clip, wrong):
    return dataclasses.replace(clip, model=Broken(wrong), name="shaky")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_image_features_that_are_not_finite_are_refused_with_model_and_view_and_nothing_is_stored(
    clip, views, tmp_path, value
):
    message = rf"the model shaky returns values that are not finite for 1 of 4: view {views.view_id(6)}; check"
    with pytest.raises(NonFiniteError, match=message):
        image_features_of(tmp_path / "f", views, identity={}, encode=encoding(broken(clip, {6: value}), views, 4))
    assert not (tmp_path / "f").exists()


def test_text_features_that_are_not_finite_are_refused_with_model_and_text(clip):
    with pytest.raises(NonFiniteError, match=r"the model shaky returns .* for 1 of 2: the text 'a lamp'; check"):
        embed_texts(broken(clip, {1: float("nan")}), ["a chair", "a lamp", "a chair"], batch_size=2)


def test_stored_features_that_are_not_finite_are_computed_again(clip, views, tmp_path):
    terms = {"identity": {"model": "a"}, "encode": encoding(clip, views, 8)}
    good = image_features_of(tmp_path / "f", views, **terms)
    table = pq.read_table(tmp_path / "f")
    values = np.concatenate(table.column("features").to_pylist()).astype(np.float32)
    values[3] = np.nan
    rows = pa.FixedSizeListArray.from_arrays(pa.array(values), 16)
    pq.write_table(table.set_column(1, "features", rows).replace_schema_metadata(table.schema.metadata), tmp_path / "f")

    again = image_features_of(tmp_path / "f", views, **terms)
    np.testing.assert_array_equal(again.features, good.features)


def test_a_rebuilt_dataset_is_embedded_again(micro_clip, dataset, views):
    encoder = find_encoder(micro_clip, torch.device("cpu"))
    encoder.image_features(dataset, views)
    encoder.load = Loader(encoder.load())  # type: ignore[method-assign]
    encoder.image_features(dataclasses.replace(dataset, fingerprint="other"), views)

    assert encoder.load.num_loads == 1


def test_the_datasets_library_reads_a_dataset_that_a_model_was_measured_on(micro_clip, dataset, views, tmp_path):
    copy = dataclasses.replace(dataset, folder=shutil.copytree(dataset.folder, tmp_path / "shapes"))
    encoder = find_encoder(micro_clip, torch.device("cpu"))
    encoder.image_features(copy, views)
    encoder.text_features(copy, ["a chair"], kind="test-text")

    assert len(list(copy.folder.glob(".embeddings/*/*.parquet"))) == 2
    loaded = datasets.load_dataset(str(copy.folder), cache_dir=str(tmp_path / "cache"))
    assert {name: split.num_rows for name, split in loaded.items()} == dataset.num_views
