"""The update kernels: twins agree, blocks and decay border are right, float32 stays float32, all in place."""

import numpy as np
import pytest

from minifer.kernels.update import adam_update, average_update, sgd_update

BLOCK = 16384


def arrays(size, dtype, count=4, seed=0):
    rng = np.random.default_rng(seed)
    value, mean, square, grad = rng.normal(size=(4, size)).astype(dtype)
    return (value, mean, np.abs(square), grad)[:count]


def assert_twins_agree(twin, state, *arguments, changed):
    ours, theirs = [a.copy() for a in state], [a.copy() for a in state]
    assert twin.reference(*ours, *arguments) is None
    assert twin.compiled(*theirs, *arguments) is None
    tolerance = 1e-12 if state[0].dtype == np.float64 else 2e-6
    for i, (a, b, before) in enumerate(zip(ours, theirs, state, strict=True)):
        assert a.dtype == b.dtype == before.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
        assert np.array_equal(b, before) == (i >= changed)  # the gradient stays as it was, everything else moves


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 7, 300])
def test_adam_twins(size, dtype):
    settings = (0.01, 0.9, 0.99, 1e-8, 0.1, size // 2, 3)
    assert_twins_agree(adam_update, arrays(size, dtype), *settings, changed=3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_twins(dtype, nesterov):
    value, velocity, _, grad = arrays(300, dtype)
    assert_twins_agree(sgd_update, (value, velocity, grad), 0.01, 0.9, nesterov, 0.1, 150, changed=2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_average_twins(dtype):
    assert_twins_agree(average_update, arrays(300, dtype, 2), 0.9, changed=1)


@pytest.mark.parametrize("side", ["reference", "compiled"])
def test_weight_decay_stops_at_the_border(side):
    """With a gradient of zero, only decay can move a value: exactly the first `decayed` ones move."""
    for decayed in (0, 1, 5, 8):
        value, zeros = np.ones(8), [np.zeros(8) for _ in range(3)]
        getattr(adam_update, side)(value, *zeros, 0.1, 0.9, 0.999, 1e-8, 0.5, decayed, 1)
        np.testing.assert_array_equal(value != 1, np.arange(8) < decayed)
        value, velocity, grad = np.ones(8), np.zeros(8), np.zeros(8)
        getattr(sgd_update, side)(value, velocity, grad, 0.1, 0.9, True, 0.5, decayed)
        np.testing.assert_array_equal(value != 1, np.arange(8) < decayed)


@pytest.mark.parametrize("side", ["reference", "compiled"])
def test_decay_border_in_a_later_block(side):
    size, decayed = BLOCK + 10, BLOCK + 4
    value, zeros = np.ones(size, np.float32), [np.zeros(size, np.float32) for _ in range(3)]
    getattr(adam_update, side)(value, *zeros, 0.1, 0.9, 0.999, 1e-8, 0.5, decayed, 1)
    np.testing.assert_array_equal(value, np.where(np.arange(size) < decayed, np.float32(0.95), np.float32(1)))


@pytest.mark.parametrize("side", ["reference", "compiled"])
def test_first_adam_step_by_hand(side):
    """After one step m_hat = grad and s_hat = grad^2, so every value moves by the rate against its gradient's sign."""
    value, mean, square, grad = np.zeros(3), np.zeros(3), np.zeros(3), np.array([2.0, -0.5, 0])
    getattr(adam_update, side)(value, mean, square, grad, 0.1, 0.9, 0.999, 1e-12, 0, 0, 1)
    np.testing.assert_allclose(value, [-0.1, 0.1, 0], rtol=1e-9)
    np.testing.assert_allclose(mean, [0.2, -0.05, 0])
    np.testing.assert_allclose(square, [0.004, 0.00025, 0])


@pytest.mark.parametrize("side", ["reference", "compiled"])
def test_nan_and_inf_are_not_hidden(side):
    value, mean, square, grad = np.zeros(3), np.zeros(3), np.zeros(3), np.array([np.nan, np.inf, 1])
    with np.errstate(all="ignore"):
        getattr(adam_update, side)(value, mean, square, grad, 0.1, 0.9, 0.999, 1e-8, 0, 0, 1)
    assert np.isnan(value[:2]).all()
    assert np.isfinite(value[2])


def test_no_float64_in_the_float32_loop():
    """float32(0.9) is not 0.9: a loop promoted to float64 would end at 0.1 exactly, float32 arithmetic 2e-8 above."""
    value, mean = np.float32([1.0]), np.float32([1e-9])
    average_update.compiled(value, mean, 0.1)
    expected = np.float32(1) + np.float32(0.9) * (np.float32(1e-9) - np.float32(1))
    assert value[0] == expected != np.float32(0.1)
