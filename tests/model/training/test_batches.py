"""What a step trains on, and which part of it a process reads."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest
import torch

from model.clip.loading import load_clip
from model.clip.source import ModelSource
from model.dataset.folder import open_dataset
from model.dataset.images import ImageReader
from model.dataset.views import Views, read_views
from model.training.batches import BatchStream
from model.training.distributed import Processes
from model.training.train import train

pytestmark = pytest.mark.slow


@pytest.fixture
def views(shapes):
    return read_views(open_dataset(shapes), "train")


@pytest.fixture
def clip(micro_clip):
    return load_clip(ModelSource(micro_clip))


def read(stream, clip, step=0):
    with contextlib.closing(ImageReader(stream.views, clip.preprocess, num_workers=1)) as images:
        return stream.read(step, images, clip.tokenizer)


def test_a_run_never_makes_a_list_of_a_whole_column(shapes, tmp_path, micro_config, monkeypatch):
    """With a million views such a list takes hundreds of megabytes in every process."""

    def refuse(_views, name):
        raise AssertionError(f"the whole column {name} was read")

    monkeypatch.setattr(Views, "column", refuse)

    assert train(shapes, tmp_path / "run", micro_config)["dataset"]["num_captions"] > 1


def test_a_plan_has_pairs_their_other_views_and_their_targets(views, micro_config):
    stream = BatchStream(views, micro_config)
    plan = stream.plan(3)
    numbers = np.array(views.patent_numbers)

    assert len(plan.rows) == len(plan.texts) == 8
    assert (numbers[plan.rows] == numbers[plan.other_rows]).all() and (plan.rows != plan.other_rows).all()
    assert plan.targets.has_other_view.all()
    assert plan.targets.classes.tolist() == [stream.classes.index_of(views.classes[row]) for row in plan.rows]
    same_patent = numbers[plan.rows][:, None] == numbers[plan.rows][None]
    assert torch.equal(plan.targets.patents[:, None] == plan.targets.patents[None], torch.from_numpy(same_patent))
    same_text = np.array(plan.texts)[:, None] == np.array(plan.texts)[None]
    assert torch.equal(plan.targets.texts[:, None] == plan.targets.texts[None], torch.from_numpy(same_text))


def test_shape_or_function_is_drawn_for_each_view_and_step(views, micro_config):
    stream = BatchStream(views, micro_config)
    plans = [stream.plan(step) for step in range(40)]
    shape, text = views.captions["shape"], views.captions["text"]  # these views have no function: the text is used
    is_shape = [
        drawn == shape[row] for plan in plans for row, drawn in zip(plan.rows.tolist(), plan.texts, strict=True)
    ]

    assert {
        drawn
        for plan in plans
        for row, drawn in zip(plan.rows.tolist(), plan.texts, strict=True)
        if drawn != shape[row]
    } <= set(text)
    assert 0.35 < np.mean(is_shape) < 0.65


def test_a_mixture_of_columns_is_drawn_by_its_weights_and_a_resumed_run_draws_the_same(views, micro_config):
    config = dataclasses.replace(micro_config, caption={"title": 3.0, "shape": 1.0})
    plans = [BatchStream(views, config).plan(step) for step in range(40)]
    titles = views.captions["title"]
    is_title = [drawn == titles[row] for plan in plans for row, drawn in zip(plan.rows, plan.texts, strict=True)]

    assert 0.65 < np.mean(is_title) < 0.85
    assert BatchStream(views, config).plan(17).texts == plans[17].texts


def test_without_the_multi_view_term_no_second_view_is_read(views, clip, micro_config):
    with_term = read(BatchStream(views, micro_config), clip)
    without = read(BatchStream(views, dataclasses.replace(micro_config, multi_view_weight=0.0)), clip)

    assert (len(with_term.images), len(without.images)) == (16, 8)
    assert torch.equal(with_term.images[:8], without.images)
    assert without.plan.other_rows is None


def test_a_second_view_is_read_if_it_is_classified_even_without_the_multi_view_term(views, clip, micro_config):
    config = dataclasses.replace(micro_config, multi_view_weight=0.0, classify_all_views=True)

    assert len(read(BatchStream(views, config), clip).images) == 2 * config.batch_size


@pytest.mark.parametrize(("dropout", "low", "high"), [(0.0, 1.0, 1.0), (1.0, 0.0, 0.0), (0.5, 0.35, 0.65)])
def test_the_head_does_not_see_the_requested_share_of_the_texts(views, clip, micro_config, dropout, low, high):
    stream = BatchStream(views, dataclasses.replace(micro_config, text_dropout=dropout, multi_view_weight=0.0))
    sees_text = torch.cat([read(stream, clip, step).sees_text for step in range(25)])

    assert low <= sees_text.float().mean() <= high


def test_the_concatenated_parts_of_all_processes_are_the_batch(views, clip, micro_config):
    whole = read(BatchStream(views, micro_config), clip, 2)
    parts = [read(BatchStream(views, micro_config, Processes(rank, 4)), clip, 2) for rank in range(4)]

    assert torch.equal(torch.cat([part.images[:2] for part in parts]), whole.images[:8])
    assert torch.equal(torch.cat([part.images[2:] for part in parts]), whole.images[8:])
    for name in ("tokens", "sees_text"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
    assert all(torch.equal(part.plan.targets.texts, whole.plan.targets.texts) for part in parts)


def test_batches_read_ahead_equal_those_read_one_by_one(views, clip, micro_config):
    stream = BatchStream(views, micro_config)
    with contextlib.closing(ImageReader(views, clip.preprocess, num_workers=2)) as images:
        ahead = list(stream.read_ahead(2, images, clip.tokenizer))

    assert len(ahead) == 4
    for step, batch in enumerate(ahead, start=2):
        assert torch.equal(batch.images, read(stream, clip, step).images)


def test_whole_and_claimed_images_are_drawn_without_changing_any_other_draw(surrounded, micro_config, clip):
    dataset = open_dataset(surrounded)
    whole = BatchStream(read_views(dataset, "train"), micro_config)
    both = BatchStream(read_views(dataset, "train", lines="both"), dataclasses.replace(micro_config, image="both"))
    plan, other = both.plan(2), whole.plan(2)
    assert (plan.rows.tolist(), plan.texts) == (other.rows.tolist(), other.texts)
    assert np.array_equal(plan.draws, other.draws) and other.shows_claimed is None
    shares = np.concatenate([both.plan(step).shows_claimed for step in range(50)]).mean(axis=0)
    assert np.abs(shares - 0.5).max() < 0.08

    read_both, read_whole = read(both, clip, 2).images, read(whole, clip, 2).images
    rows = np.concatenate([plan.rows, plan.other_rows])
    is_other_image = plan.shows_claimed.T.ravel() & (rows % 2 == 1)  # every other view has surroundings
    assert 0 < is_other_image.sum() < len(rows)
    for index, is_other in enumerate(is_other_image):
        assert torch.equal(read_both[index], read_whole[index]) != is_other


def test_processes_read_their_parts_of_the_drawn_images(surrounded, micro_config, clip):
    views = read_views(open_dataset(surrounded), "train", lines="both")
    config = dataclasses.replace(micro_config, image="both")
    alone = read(BatchStream(views, config), clip, 4)
    parts = [read(BatchStream(views, config, Processes(rank=rank, num=2)), clip, 4) for rank in range(2)]
    num = alone.num_pairs
    assert torch.equal(torch.cat([part.images[: num // 2] for part in parts]), alone.images[:num])
    assert torch.equal(torch.cat([part.images[num // 2 :] for part in parts]), alone.images[num:])
