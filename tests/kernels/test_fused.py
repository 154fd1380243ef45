"""Convolutions with the normalization around them: compiled kernels against their references, and themselves."""

import numpy as np
import pytest
from kernels.test_twins import compare, drawer, output_size

from minifer.kernels import fused
from minifer.kernels.fused_depthwise import fused_depthwise_backward, fused_depthwise_forward
from minifer.kernels.fused_pointwise import fused_pointwise_backward, fused_pointwise_forward
from minifer.kernels.threads import threads
from minifer.kernels.tile import PANEL, TILE_ROWS

PRODUCTS = [  # rows, channels, filters
    (1, 1, 1), (5, 3, 2), (TILE_ROWS, 4, PANEL), (TILE_ROWS + 1, 16, PANEL + 1), (300, 33, 70), (1000, 17, 32),
    (97, 64, 5), (2000, 1, 24),
]  # fmt: skip
WINDOWS = [  # shape of the map, kernel, stride, padding, dilation
    ((1, 1, 1, 1), 3, 1, (1, 1, 1, 1), 1), ((3, 5, 4, 3), 3, 1, (1, 1, 1, 1), 1),
    ((2, 8, 8, 16), 3, 2, (0, 1, 0, 1), 1), ((2, 7, 9, 33), 3, 2, (1, 1, 1, 1), 1),
    ((17, 6, 7, 37), 3, 1, (1, 1, 1, 1), 1),
    ((20, 6, 5, 8), 5, 1, (2, 2, 2, 2), 1), ((3, 9, 9, 2), 3, 1, (2, 2, 2, 2), 2),
]  # fmt: skip
CLIPS = [(0.0, 6.0), (-np.inf, np.inf)]


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def draw(request):
    return drawer(request.param)


def norm_of(draw, channels):
    """Return mean, scale, beta, slope and offset of some channels."""
    norm = draw(5, channels)
    norm[1] = abs(norm[1]) + norm.dtype.type(0.5)
    norm[3:] *= norm.dtype.type(0.1)
    return norm


def promised(draw, channels, lazy):
    """Return the normalization that a map was left with, or none."""
    return norm_of(draw, channels) if lazy else norm_of(draw, channels)[:0]


@pytest.mark.parametrize("shape", PRODUCTS, ids=str)
@pytest.mark.parametrize("lazy", [True, False], ids=["promised", "as it is"])
@pytest.mark.parametrize("clip", CLIPS, ids=["relu6", "linear"])
def test_pointwise(draw, shape, lazy, clip):
    rows, channels, filters = shape
    v, weight, norm = draw(rows, channels), draw(channels, filters), promised(draw, channels, lazy)
    compare(fused_pointwise_forward, v, norm, *clip, weight)
    y, dz, y_norm = draw(rows, filters), draw(rows, filters), norm_of(draw, filters)
    given = (dz, y, y_norm, *clip, v, norm, *clip, weight)
    expected, got = np.empty_like(weight), np.full_like(weight, np.nan)
    for e, g in zip(
        fused_pointwise_backward.reference(*given, expected),
        fused_pointwise_backward.compiled(*given, got),
        strict=True,
    ):
        close(g, e)
    close(got, expected)


def close(got, expected):
    assert got.dtype == expected.dtype
    tolerance = 1e-4 if got.dtype == np.float32 else 1e-10
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("lazy", [True, False], ids=["promised", "as it is"])
@pytest.mark.parametrize("more_stride", [0, 1, 2], ids=["nothing more", "more", "more at every second"])
def test_depthwise(draw, window, lazy, more_stride):
    shape, kernel, stride, padding, dilation = window
    reach = dilation * (kernel - 1) + 1
    channels = shape[-1]
    v, weight, norm = draw(*shape), draw(kernel, kernel, channels), promised(draw, channels, lazy)
    geometry = (stride, padding, dilation)
    compare(fused_depthwise_forward, v, norm, 0.0, 6.0, weight, *geometry)
    y_shape = (shape[0], *output_size(shape, reach, reach, stride, padding), channels)
    more = draw(*shape)[:, ::more_stride, ::more_stride].copy() if more_stride else draw(0)
    of, also = (draw(*shape), norm_of(draw, channels), 0.0, 6.0), (draw(*shape), norm_of(draw, channels))
    nothing = (draw(0), norm_of(draw, channels)[:0])
    for sums in ((*of, *also), (*nothing, 0.0, 0.0, *nothing)):
        compare(
            fused_depthwise_backward, draw(*y_shape), draw(*y_shape), norm_of(draw, channels), 0.0, 6.0,
            v, norm, 0.0, 6.0, weight, *geometry, more, more_stride or 1, *sums,
        )  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (500, 16), (33, 70)], ids=str)
def test_around_them(draw, shape):
    rows, channels = shape
    v, shortcut = draw(*shape), draw(*shape)
    for lazy in (True, False):
        other = promised(draw, channels, lazy)
        compare(fused.normalize_add, v, norm_of(draw, channels), 0.0, 6.0, shortcut, other)
    compare(fused.kept_sums, shortcut, v, norm_of(draw, channels), 0.0, 6.0)
    numbers = [abs(draw(channels)) for _ in range(4)]
    running = [draw(channels), abs(draw(channels))]
    moved = [array.copy() for array in running]
    begun = fused.begin_norm.reference(*numbers, 1e-3, 0.1, *running)
    for e, g in zip(begun, fused.begin_norm.compiled(*numbers, 1e-3, 0.1, *moved), strict=True):
        close(g, e)
    for e, g in zip(running, moved, strict=True):
        close(g, e)
    expected, got = begun[0].copy(), begun[0].copy()
    sums = draw(2, channels)
    ended = fused.end_norm.reference(expected, begun[1], sums, rows)
    for e, g in zip(ended, fused.end_norm.compiled(got, begun[1], sums, rows), strict=True):
        close(g, e)
    close(got, expected)


def test_large_means_do_not_cancel(rng):
    """Variance of a map whose mean is ten thousand times its spread."""
    v = (1e4 + rng.standard_normal((3000, 8))).astype(np.float32)
    norm = np.empty((0, 8), np.float32)
    _, (mean, var) = fused_pointwise_forward(v, norm, 0.0, 0.0, np.eye(8, dtype=np.float32))
    np.testing.assert_allclose(mean, v.mean(axis=0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(var, v.var(axis=0, dtype=np.float64), rtol=1e-3)
    weight = np.zeros((3, 3, 8), np.float32)
    weight[1, 1] = 1
    _, (_, var) = fused_depthwise_forward(v.reshape(30, 10, 10, 8), norm, 0.0, 0.0, weight, 1, (1, 1, 1, 1), 1)
    np.testing.assert_allclose(var, v.var(axis=0, dtype=np.float64), rtol=1e-3)


def test_the_bits_do_not_depend_on_the_threads():
    draw = drawer(np.float32)
    rows, channels, filters = 3000, 24, 40
    v, weight, norm = draw(rows, channels), draw(channels, filters), norm_of(draw, channels)
    y, dz, y_norm = draw(rows, filters), draw(rows, filters), norm_of(draw, filters)
    maps, taps = draw(20, 10, 15, channels), draw(3, 3, channels)
    dz_map, nothing = draw(*maps.shape), (draw(0), norm[:0])
    results = []
    before = threads()
    try:
        for count in (1, 2, before):
            threads(min(count, before))
            dweight = np.empty_like(weight)
            geometry = (1, (1, 1, 1, 1), 1)
            results.append(
                [
                    *fused_pointwise_forward(v, norm, 0.0, 6.0, weight),
                    *fused_pointwise_backward(dz, y, y_norm, 0.0, 6.0, v, norm, 0.0, 6.0, weight, dweight),
                    dweight,
                    *fused_depthwise_forward(maps, norm, 0.0, 6.0, taps, *geometry),
                    *fused_depthwise_backward(
                        dz_map, maps, norm, 0.0, 6.0, maps, norm, 0.0, 6.0, taps, *geometry, draw(0), 1,
                        maps, norm, 0.0, 6.0, *nothing,
                    ),
                ]
            )  # fmt: skip
    finally:
        threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
