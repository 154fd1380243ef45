"""Every compiled kernel against its NumPy reference: both dtypes, odd sizes, strides, one channel, one picture."""

import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minifer.kernels import (
    activation,
    attention,
    conv2d,
    depthwise,
    elementwise,
    normalization,
    pointwise,
    pooling,
    smooth,
    window_pooling,
)
from minifer.kernels.matmul import TILE_ROWS
from minifer.kernels.tile import PANEL
from minifer.kernels.twin import TWINS, Twin, use_backend

MAPS = [  # batch, height, width, channels
    (2, 5, 4, 3), (1, 1, 1, 1), (3, 1, 7, 2), (1, 6, 5, 1), (2, 2, 2, 33), (2, 3, 3, 16), (5, 7, 8, 4), (2, 4, 5, 21),
]  # fmt: skip
CONVOLUTIONS = [  # kernel, stride, padding
    (3, 1, (1, 1, 1, 1)), (3, 2, (0, 1, 0, 1)), (3, 2, (1, 1, 1, 1)), (1, 2, (0, 0, 0, 0)), (5, 1, (2, 2, 2, 2)),
]  # fmt: skip
PRODUCTS = [
    (1, 1, 1), (2, 3, 5), (TILE_ROWS, 4, PANEL), (TILE_ROWS + 1, 7, PANEL + 1), (50, 129, 70), (1100, 3, 40),
    (7, 600, 9), (40, 1030, 33), (3000, 20, 12), (64, 256, 64),
    (30, 1024, 96), (600, 256, 70), (1500, 24, 64), (2, 3, 4200),
]  # fmt: skip


def drawer(dtype):
    rng = np.random.default_rng(7)
    return lambda *shape: rng.standard_normal(shape).astype(dtype)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def draw(request):
    return drawer(request.param)


def compare(twin, *args):
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    expected, got = twin.reference(*args), twin.compiled(*args)
    expected, got = (r if isinstance(r, tuple) else (r,) for r in (expected, got))
    for e, g in zip(expected, got, strict=True):
        assert g.dtype == e.dtype and g.shape == e.shape and g.flags.c_contiguous
        tolerance = 1e-4 if e.dtype == np.float32 else 1e-10
        np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance * max(1, np.abs(e).max(initial=0)))
    for a, b in zip(args, before, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=f"{twin.name} changed an argument")


def output_size(shape, kh, kw, stride, padding):
    _, height, width, _ = shape
    top, bottom, left, right = padding
    return (height + top + bottom - kh) // stride + 1, (width + left + right - kw) // stride + 1


def compare_windows(draw, shape, kh, kw, stride, padding):
    batch, height, width, channels = shape
    oh, ow = output_size(shape, kh, kw, stride, padding)
    x, weight, dy = draw(*shape), draw(kh, kw, channels), draw(batch, oh, ow, channels)
    compare(depthwise.depthwise_forward, x, weight, stride, padding)
    compare(depthwise.depthwise_grad_x, dy, weight, stride, padding, height, width)
    compare(depthwise.depthwise_grad_weight, x, dy, stride, padding, kh, kw)
    compare(conv2d.gather_patches, x, kh, kw, stride, padding)
    patches = draw(batch * oh * ow, kh * kw * channels)
    compare(conv2d.scatter_patches, patches, batch, height, width, channels, kh, kw, stride, padding)


@pytest.mark.parametrize("dilation", [2, 3])
@pytest.mark.parametrize(
    "shape, kernel, stride, padding",
    [((2, 9, 8, 5), 3, 1, (2, 2, 2, 2)), ((1, 11, 9, 16), 3, 2, (1, 0, 2, 3)), ((3, 7, 7, 1), 2, 1, (0, 0, 0, 0)),
     ((1, 1, 1, 3), 3, 1, (3, 3, 3, 3))],
)  # fmt: skip
def test_depthwise_dilated(dilation, shape, kernel, stride, padding, draw):
    batch, height, width, channels = shape
    window = dilation * (kernel - 1) + 1
    oh, ow = output_size(shape, window, window, stride, padding)
    x, weight, dy = draw(*shape), draw(kernel, kernel, channels), draw(batch, oh, ow, channels)
    compare(depthwise.depthwise_forward, x, weight, stride, padding, dilation)
    compare(depthwise.depthwise_grad_x, dy, weight, stride, padding, height, width, dilation)
    compare(depthwise.depthwise_grad_weight, x, dy, stride, padding, kernel, kernel, dilation)


def compare_products(x, weight, dy):
    compare(pointwise.pointwise_forward, x, weight)
    compare(pointwise.pointwise_grad_x, dy, weight)
    compare(pointwise.pointwise_grad_weight, x, dy)


def compare_attention(query, key, value, dy):
    compare(attention.attention_forward, query, key, value, 0.3)
    y, log_sum = attention.attention_forward.reference(query, key, value, 0.3)
    compare(attention.attention_backward, dy, query, key, value, y, log_sum, 0.3)


@pytest.mark.parametrize("shape", MAPS, ids=str)
@pytest.mark.parametrize(("kernel", "stride", "padding"), CONVOLUTIONS, ids=str)
def test_windows(draw, shape, kernel, stride, padding):
    if min(output_size(shape, kernel, kernel, stride, padding)) < 1:
        pytest.skip("the window does not fit into this map")
    compare_windows(draw, shape, kernel, kernel, stride, padding)


def compare_pools(draw, shape, kernel, stride, padding):
    batch, height, width, channels = shape
    oh, ow = output_size(shape, kernel, kernel, stride, padding)
    top, _, left, _ = padding
    x, dy = draw(*shape).round(1), draw(batch, oh, ow, channels)  # rounded: several are the largest
    where = kernel, stride, top, left
    compare(window_pooling.max_pool_forward, x, *where, oh, ow)
    _, tap = window_pooling.max_pool_forward.reference(x, *where, oh, ow)
    compare(window_pooling.max_pool_grad_x, dy, tap, *where, height, width)
    compare(window_pooling.average_pool_forward, x, *where, oh, ow)
    compare(window_pooling.average_pool_grad_x, dy, *where, height, width)


@pytest.mark.parametrize("shape", MAPS, ids=str)
@pytest.mark.parametrize(("kernel", "stride", "padding"), [*CONVOLUTIONS, (2, 2, (0, 0, 0, 0))], ids=str)
def test_pools(draw, shape, kernel, stride, padding):
    if min(output_size(shape, kernel, kernel, stride, padding)) < 1:
        pytest.skip("the window does not fit into this map")
    compare_pools(draw, shape, kernel, stride, padding)


@pytest.mark.parametrize("size", [1, 7, 5000])
def test_smooth_activations(draw, size):
    x, dy = 3 * draw(size), draw(size)
    for twin in (smooth.silu_forward, smooth.gelu_forward, smooth.hard_swish_forward):
        compare(twin, x)
    for twin in (smooth.silu_grad_x, smooth.gelu_grad_x, smooth.hard_swish_grad_x):
        compare(twin, dy, x)


# What nobody thought of: shapes, strides and paddings drawn by Hypothesis, the same ones in every run. Compiling takes
# longer than any deadline.
ANY = settings(deadline=None, derandomize=True, max_examples=100)
SIZE, DTYPE = st.integers(1, 9), st.sampled_from([np.float32, np.float64])
CHANNELS = st.integers(1, 2 * PANEL + 1)


@ANY
@given(DTYPE, st.tuples(st.integers(1, 3), SIZE, SIZE, CHANNELS), SIZE, SIZE, st.integers(1, 4), st.tuples(*[SIZE] * 4))
def test_any_window(dtype, shape, kh, kw, stride, padding):
    padding = tuple(p - 1 for p in padding)
    assume(min(output_size(shape, kh, kw, stride, padding)) > 0)
    compare_windows(drawer(dtype), shape, kh, kw, stride, padding)


@ANY
@given(DTYPE, st.tuples(st.integers(1, 3), SIZE, SIZE, CHANNELS), SIZE, st.integers(1, 4), st.tuples(*[SIZE] * 4))
def test_any_pool(dtype, shape, kernel, stride, padding):
    padding = tuple(min(p, kernel) - 1 for p in padding)
    assume(min(output_size(shape, kernel, kernel, stride, padding)) > 0)
    compare_pools(drawer(dtype), shape, kernel, stride, padding)


@ANY
@given(DTYPE, st.integers(1, 300), st.integers(1, 300), st.integers(1, 300))
def test_any_product(dtype, rows, channels, filters):
    draw = drawer(dtype)
    compare_products(draw(rows, channels), draw(channels, filters), draw(rows, filters))


@ANY
@given(DTYPE, st.integers(1, 3), st.integers(1, 70), st.integers(1, 3), st.integers(1, 40))
def test_any_attention(dtype, batch, tokens, heads, units):
    draw = drawer(dtype)
    compare_attention(*(draw(batch, tokens, heads, units) for _ in range(4)))


@pytest.mark.parametrize("shape", PRODUCTS, ids=str)
def test_products(draw, shape):
    rows, channels, filters = shape
    x, weight, dy = draw(rows, channels), draw(channels, filters), draw(rows, filters)
    compare_products(x, weight, dy)
    for kernel in (pointwise.pointwise_grad_weight.reference, pointwise.pointwise_grad_weight.compiled):
        out = np.full_like(weight, np.nan)
        assert kernel(x, dy, out) is out and np.isfinite(out).all()
    compare(Twin(pointwise.pointwise_forward_numpy, pointwise.pointwise_forward_naive), x, weight)
    compare(Twin(pointwise.pointwise_forward_numpy, pointwise.pointwise_forward_channels_innermost), x, weight)
    del TWINS[-2:]


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 33), (100, 5), (65, 16)], ids=str)
@pytest.mark.parametrize("clip", [(-np.inf, np.inf), (0.0, 6.0)], ids=str)
def test_normalization(draw, shape, clip):
    rows, channels = shape
    x, dy = 2 * draw(rows, channels), draw(rows, channels)
    gamma, beta, mean, inv_std = draw(channels), draw(channels), draw(channels), np.abs(draw(channels)) + 0.1
    compare(normalization.batch_moments, x)
    compare(normalization.batch_moments, x + 1000)
    compare(normalization.normalize, x, mean, inv_std, gamma, beta, *clip)
    compare(normalization.normalize_sums, dy, x, mean, inv_std, gamma, beta, *clip)
    compare(normalization.normalize_grad_x, dy, x, mean, inv_std, gamma, beta, *clip, draw(channels), draw(channels))
    compare(normalization.layer_norm_forward, x, gamma, beta, 1e-5)
    compare(normalization.layer_norm_grad_x, dy, x, np.abs(draw(rows)), gamma)


@pytest.mark.parametrize("size", [1, 7, 10_001])
def test_elementwise(draw, size):
    x, dy = 5 * draw(size), draw(size)
    compare(activation.clip_forward, x, 0.0, 6.0)
    compare(activation.clip_grad_x, dy, x, 0.0, 6.0)
    compare(elementwise.add, x, dy)
    compare(activation.softmax_forward, x.reshape(1, -1))
    compare(activation.softmax_grad_x, dy.reshape(-1, 1), x.reshape(-1, 1))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 5, 3, 4), (1, 9, 2, 64), (3, 70, 1, 7)], ids=str)
def test_attention(draw, shape):
    compare_attention(*(draw(*shape) for _ in range(4)))


@pytest.mark.parametrize("shape", MAPS, ids=str)
def test_pooling(draw, shape):
    compare(pooling.global_average, draw(*shape))
    compare(pooling.global_average_grad_x, draw(shape[0], shape[3]), *shape[1:3])


def test_nan_is_not_clipped_away():
    x = np.array([[np.nan, 1.0]], np.float32)
    one, zero = np.ones(2, np.float32), np.zeros(2, np.float32)
    assert np.isnan(normalization.normalize.compiled(x, zero, one, one, zero, 0.0, 6.0)[0, 0])
    assert np.isnan(activation.clip_forward.compiled(x[0], 0.0, 6.0)[0])


def test_every_twin_is_compared_somewhere():
    """A twin that no test names would rot unseen."""
    from pathlib import Path

    text = "".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    assert [twin.name for twin in TWINS if twin.name not in text] == []


def test_backend_switch():
    used = []
    twin = Twin(lambda: used.append("numpy"), lambda: used.append("numba"))
    TWINS.remove(twin)
    with use_backend("numpy"):
        twin()
    twin()
    assert used == ["numpy", "numba"]
    with pytest.raises(ValueError, match="unknown backend"), use_backend("cuda"):
        pass


def test_the_backend_is_chosen_for_each_thread_by_itself():
    twin = Twin(lambda: "numpy", lambda: "numba")
    TWINS.remove(twin)
    step = threading.Barrier(2, timeout=60)
    seen = []

    def overlap(name, before, after):
        for _ in range(before):
            step.wait()
        with use_backend(name):
            step.wait()
            seen.append((name, twin()))
            step.wait()
        for _ in range(after):
            step.wait()
        seen.append(("numba", twin()))

    # One leaves its with statement while the other is in the middle of its own.
    threads = [threading.Thread(target=overlap, args=("numpy", *turns)) for turns in ((0, 1), (1, 0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4 and all(wanted == got for wanted, got in seen)
    assert twin() == "numba"


def test_kernels_that_start_threads_run_in_turn():
    """Numba's workqueue layer ends the process otherwise; those that start none may run side by side."""
    inside, most = [], []

    def kernel():
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.002)
        inside.pop()

    def reference():
        pass

    together = Twin(reference, kernel)
    kernel_alone = types.SimpleNamespace(targetoptions={"nogil": True})
    alone = Twin(reference, kernel_alone)
    del TWINS[-2:]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: together(), range(40)))
    assert max(most) == 1
    assert alone._turn is not together._turn
