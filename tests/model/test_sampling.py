"""Which views a step trains on."""

from __future__ import annotations

import numpy as np

from model.sampling import batch_draws, batch_rows, num_steps_per_epoch


def rows_of_epoch(epoch: int, *, num_views: int, batch_size: int, seed: int = 0) -> list[int]:
    num_steps = num_steps_per_epoch(num_views, batch_size)
    steps = range(epoch * num_steps, (epoch + 1) * num_steps)
    return np.concatenate(
        [batch_rows(step, num_views=num_views, batch_size=batch_size, seed=seed) for step in steps]
    ).tolist()


def test_an_epoch_goes_through_every_view_once():
    assert sorted(rows_of_epoch(0, num_views=12, batch_size=4)) == list(range(12))
    assert sorted(rows_of_epoch(5, num_views=12, batch_size=4)) == list(range(12))


def test_each_epoch_has_an_order_of_its_own_and_so_has_each_seed():
    first = rows_of_epoch(0, num_views=50, batch_size=10)

    assert first != rows_of_epoch(1, num_views=50, batch_size=10)
    assert first != rows_of_epoch(0, num_views=50, batch_size=10, seed=1)
    assert first == rows_of_epoch(0, num_views=50, batch_size=10)


def test_the_rest_that_fills_no_batch_differs_from_epoch_to_epoch():
    left_out = [set(range(10)) - set(rows_of_epoch(epoch, num_views=10, batch_size=4)) for epoch in range(20)]

    assert all(len(rest) == 2 for rest in left_out)
    assert set().union(*left_out) == set(range(10))


def test_a_split_smaller_than_a_batch_is_one_batch():
    assert sorted(batch_rows(3, num_views=5, batch_size=64, seed=0)) == [0, 1, 2, 3, 4]
    assert batch_rows(0, num_views=1, batch_size=64, seed=0).tolist() == [0]


def test_draws_belong_to_their_step_and_lie_in_the_unit_interval():
    draws = batch_draws(7, num_rows=100, num_draws=3, seed=0)

    assert draws.shape == (100, 3)
    assert 0 <= draws.min() < 0.1 and 0.9 < draws.max() < 1
    np.testing.assert_array_equal(draws, batch_draws(7, num_rows=100, num_draws=3, seed=0))
    assert not np.array_equal(draws, batch_draws(8, num_rows=100, num_draws=3, seed=0))
