"""Sharpness-aware minimization: the gradient is that of the point uphill, and nothing else is moved by the visit."""

import numpy as np
import pytest

from minifer.layers import BatchNorm, Linear, Sequential
from minifer.optimizers import SGD
from minifer.sharpness import worst_nearby


def test_gradient_at_the_worst_point_by_hand(rng):
    """y = w x with x = dy = 1 at two weights: g = (3, 4), of length 5, so that radius 0.5 moves by (0.3, 0.4)."""
    layer = Linear(2, 1, rng=rng).astype(np.float64)
    flat = SGD({"weight": layer.weight}, 0.1).flat
    flat.value[:] = [1.0, 2.0]
    flat.grad[:] = [3.0, 4.0]
    with worst_nearby(layer, flat, 0.5):
        np.testing.assert_allclose(flat.value, [1.3, 2.4])
        flat.grad[:] = [5.0, 6.0]
    assert flat.value.tolist() == [1.0, 2.0]
    assert flat.grad.tolist() == [5.0, 6.0]


def test_a_bowl_is_flatter_further_in(rng):
    """On w^2 / 2 the gradient at the worst point nearby is w plus the radius, along w."""
    layer = Linear(3, 1, rng=rng).astype(np.float64)
    flat = SGD({"weight": layer.weight}, 0.1).flat
    flat.value[:] = w = rng.standard_normal(3)
    flat.grad[:] = w
    with worst_nearby(layer, flat, 0.05):
        flat.grad[:] = flat.value
    np.testing.assert_allclose(flat.grad, w * (1 + 0.05 / np.linalg.norm(w)))


@pytest.fixture
def network(rng):
    network = Sequential(dense=Linear(3, 4, rng=rng), norm=BatchNorm(4, momentum=0.8))
    return network, rng.standard_normal((6, 3)).astype(np.float32)


def pass_of(network, x):
    y = network.forward(x, training=True)
    network.backward(y**2)


def test_running_statistics_and_weights_come_back_bit_for_bit(network):
    network, x = network
    optimizer = SGD(network.parameters(), 0.1)
    pass_of(network, x)
    before = {name: array.copy() for name, array in network.state().items()}
    first = optimizer.flat.grad.copy()
    with worst_nearby(network, optimizer.flat, 0.1):
        pass_of(network, x)
    assert all(np.array_equal(array, before[name]) for name, array in network.state().items())
    assert not np.array_equal(optimizer.flat.grad, first)
    assert network["norm"].momentum == 0.8


def test_all_comes_back_after_an_error_and_from_no_gradient(network):
    network, _ = network
    flat = SGD(network.parameters(), 0.1).flat
    before = flat.value.copy()
    with pytest.raises(RuntimeError), worst_nearby(network, flat, 0.1):
        raise RuntimeError
    assert np.array_equal(flat.value, before)
    assert network["norm"].momentum == 0.8
