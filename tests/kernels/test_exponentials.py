import numpy as np
import pytest

from minifer.kernels import attention
from minifer.kernels.exponentials import _exponentials_loops, _largest_loops, exponentials, largest
from minifer.kernels.twin import serial


@serial
def emitted(x, start, length, scale, shift):
    return exponentials(x, start, length, scale, shift)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("function", [emitted, _exponentials_loops], ids=["emitted", "loops"])
@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 17, 40])
def test_it_is_the_exponential_within_two_units_in_the_last_place(rng, dtype, function, length):
    x = rng.uniform(-80, 0, length + 5).astype(dtype)
    y = x.copy()
    scale, shift = dtype(0.37), dtype(0.5)
    total = function(y, 3, length, scale, shift)
    exact = np.exp((scale * x[3 : 3 + length] - shift).astype(np.longdouble))
    np.testing.assert_allclose(y[3 : 3 + length], exact, rtol=2 * np.finfo(dtype).eps)
    np.testing.assert_allclose(total, exact.sum(), rtol=2 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(np.delete(y, np.s_[3 : 3 + length]), np.delete(x, np.s_[3 : 3 + length]))


@serial
def emitted_largest(x, start, length):
    return largest(x, start, length)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("function", [emitted_largest, _largest_loops], ids=["emitted", "loops"])
@pytest.mark.parametrize("length", [1, 2, 7, 17, 40, 64, 100, 203])
def test_the_largest_number_is_found_wherever_it_stands(rng, dtype, function, length):
    x = rng.uniform(-80, -1, length + 5).astype(dtype)
    x[:3] = x[-2:] = 99  # outside
    for place in range(3, 3 + length):
        row = x.copy()
        row[place] = -0.5
        assert function(row, 3, length) == -0.5
    row[3 : 3 + length] = -np.inf
    assert function(row, 3, length) == -np.inf
    row[3 + length // 2] = np.inf
    assert function(row, 3, length) == np.inf


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("place", range(9))
def test_what_is_no_number_or_too_small(dtype, place):
    least = np.finfo(dtype).tiny
    for value, wanted in ((np.nan, np.nan), (-np.inf, least), (-1e30, least), (np.log(least) * 1.01, least), (0.0, 1)):
        x = np.full(9, -1, dtype)
        x[place] = value
        total = emitted(x, 0, 9, dtype(1), dtype(0))
        np.testing.assert_allclose(x[place], wanted, rtol=1e-4, atol=2 * least)
        np.testing.assert_allclose(np.delete(x, place), np.exp(dtype(-1)), rtol=2 * np.finfo(dtype).eps)
        assert np.isnan(total) == np.isnan(value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("size", [1e3, 1e8, 1e15])
def test_attention_by_scores_so_large_that_one_position_takes_all(rng, dtype, size):
    query, key, value = (rng.standard_normal((2, 21, 2, 5)).astype(dtype) for _ in range(3))
    wanted = attention.attention_forward.reference(size * query, key, value, 0.3)
    got = attention.attention_forward.compiled(size * query, key, value, 0.3)
    for one, other in zip(wanted, got, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("score", [1e4, 1e6, 3.4e7])
def test_probabilities_of_large_scores_sum_to_one_in_backward(rng, score):
    """The logarithm of a row's sum, of which backward makes them again, has no digits left for log 8 there."""
    query, key = np.full((1, 8, 1, 1), score, np.float32), np.ones((1, 8, 1, 1), np.float32)
    value, dy = (rng.standard_normal((1, 8, 1, 1)).astype(np.float32) for _ in range(2))
    y, log_sum = attention.attention_forward.compiled(query, key, value, 1.0)
    *_, dvalue = attention.attention_backward.compiled(dy, query, key, value, y, log_sum, 1.0)
    np.testing.assert_allclose(dvalue, np.full_like(dvalue, dy.mean()), rtol=1e-4)
