"""Which surface is seen in a pixel."""

import numpy as np

from patentdata.specimens.photographs.surfaces import rasterise

_SHAPE = (20, 30)
_BACK = np.array([[0.0, 0, 5], [29, 0, 5], [29, 19, 5], [0, 19, 5]])
_SQUARE = np.array([[0, 1, 2], [0, 2, 3]])


def test_two_triangles_fill_their_rectangle_without_a_gap():
    seen = rasterise(_BACK, _SQUARE, _SHAPE)

    assert seen.mask.all()
    np.testing.assert_allclose(seen.depth, 5, rtol=1e-5)


def test_the_nearer_surface_hides_the_other_whatever_their_order():
    front = np.array([[5.0, 5, 2], [15, 5, 2], [15, 12, 2], [5, 12, 2]])
    points = np.concatenate([_BACK, front])
    for triangles in (np.concatenate([_SQUARE, _SQUARE + 4]), np.concatenate([_SQUARE + 4, _SQUARE])):
        depth = rasterise(points, triangles, _SHAPE).depth

        assert np.all(depth[5:13, 5:16] == 2)
        assert (depth == 2).sum() == 8 * 11


def test_values_of_points_are_interpolated_between_them():
    seen = rasterise(_BACK, _SQUARE, _SHAPE)

    columns = seen.of_points(_BACK[:, :1], _SQUARE).reshape(_SHAPE)

    np.testing.assert_allclose(columns, np.broadcast_to(np.arange(30), _SHAPE), atol=1e-3)


def test_what_is_outside_the_picture_or_seen_edge_on_is_not_seen():
    beyond = _BACK + np.array([100.0, 0, 0])
    edge_on = np.array([[5.0, 5, 1], [10, 5, 1], [15, 5, 1]])

    assert not rasterise(beyond, _SQUARE, _SHAPE).mask.any()
    assert not rasterise(edge_on, np.array([[0, 1, 2]]), _SHAPE).mask.any()
