"""Kernels take numbers below 1.2e-38 for 0, which is what makes them fast, and leave the arithmetic of others alone."""

import numpy as np
import numpy.testing as npt
import pytest
from numba import njit, prange

from minifer.kernels import attention, depthwise, pointwise, update
from minifer.kernels.denormals import HAS_MXCSR, flush_denormals, restore

pytestmark = pytest.mark.skipif(not HAS_MXCSR, reason="only processors of the x86 family have the control register")
TINY = np.float32(1e-39)


def random(*shape):
    """Return numbers of which a third are denormal, and the same with 0 in their place."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal(shape).astype(np.float32)
    tiny = rng.random(shape) < 1 / 3
    return np.where(tiny, TINY, x), np.where(tiny, np.float32(0), x)


@njit(parallel=True)
def control_words(count):
    """Return the control register of the thread that each task runs in."""
    words = np.empty(count, np.uint32)
    for task in prange(count):
        words[task] = flush_denormals()
        restore(words[task])
        words[task] &= ~np.uint32(0x3F)  # which note what has happened
    return words


def results(twin, *args):
    """Return what the compiled twin returns, always several."""
    found = twin.compiled(*args)
    return found if isinstance(found, tuple) else (found,)


SAME = (1, 1, 1, 1)
HALVED = (0, 1, 0, 1)
CALLS = [
    (pointwise.pointwise_forward, [(40, 70), (70, 33)], ()),
    (pointwise.pointwise_grad_x, [(40, 33), (70, 33)], ()),
    (pointwise.pointwise_grad_weight, [(40, 70), (40, 33)], ()),
    (depthwise.depthwise_forward, [(2, 5, 4, 21), (3, 3, 21)], (1, SAME)),
    (depthwise.depthwise_forward, [(2, 6, 4, 21), (3, 3, 21)], (2, HALVED)),
    (depthwise.depthwise_grad_x, [(2, 5, 4, 21), (3, 3, 21)], (1, SAME, 5, 4)),
    (depthwise.depthwise_grad_weight, [(2, 5, 4, 21), (2, 5, 4, 21)], (1, SAME, 3, 3)),
    (attention.attention_forward, [(2, 5, 3, 8)] * 3, (0.3,)),
]


@pytest.mark.parametrize(("twin", "shapes", "rest"), CALLS, ids=lambda value: getattr(value, "name", ""))
def test_denormal_numbers_count_as_zero(twin, shapes, rest):
    before = control_words(64)
    tiny, zero = zip(*(random(*shape) for shape in shapes), strict=True)
    for got, wanted in zip(results(twin, *tiny, *rest), results(twin, *zero, *rest), strict=True):
        npt.assert_array_equal(got, wanted)
    for result in results(twin, *(np.full_like(x, 3e-21) for x in tiny), *rest):
        assert not ((np.abs(result) > 0) & (np.abs(result) < np.finfo(np.float32).tiny)).any()
    npt.assert_array_equal(control_words(64), before)
    assert TINY * np.float32(0.5) > 0  # as ever in this thread


def test_gradients_of_a_decided_softmax_have_no_denormal_numbers():
    """Its other probabilities are about 1e-36: what goes back through them is smaller than float32 keeps whole."""
    rng = np.random.default_rng(0)
    query, key, value, dy = (rng.standard_normal((2, 9, 2, 8)).astype(np.float32) for _ in range(4))
    key[:, 0] = 8 * query[:, 0]
    y, log_sum = attention.attention_forward.compiled(query, key, value, 1.2)
    for gradient in attention.attention_backward.compiled(1e-6 * dy, query, key, value, y, log_sum, 1.2):
        size = np.abs(gradient)
        assert size.max() > 0 and not ((size > 0) & (size < np.finfo(np.float32).tiny)).any()


def test_the_squares_that_adam_keeps_do_not_become_denormal():
    value, mean, square = (np.zeros(100, np.float32) for _ in range(3))
    grad = np.full(100, 1e-18, np.float32)
    update.adam_update.compiled(value, mean, square, grad, 1e-3, 0.9, 0.999, 1e-8, 0.0, 0, 1)
    assert not square.any() and mean.all() and np.isfinite(value).all()
