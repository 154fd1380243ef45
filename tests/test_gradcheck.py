"""The check itself: it must catch every broken layer, name the worst entry, and let random dy do its work."""

import numpy as np
import pytest
from broken_layers import zoo

from minifer import layers
from minifer.errors import GradientError
from minifer.gradcheck import check_gradients, numeric_gradient

ZOO = zoo(np.random.default_rng(0))


@pytest.mark.parametrize("name", ZOO)
def test_broken_layer_is_caught(name, rng):
    layer, inputs, _ = ZOO[name]
    with pytest.raises(GradientError):
        check_gradients(layer, *inputs, rng=rng)


def test_the_worst_entry_is_named(rng):
    class OneWrongEntry(layers.Linear):
        def backward(self, dy):
            dx = super().backward(dy)
            self.weight.grad[1, 2] += 0.5
            return dx

    with pytest.raises(GradientError, match=r"weight\[1,2\]: backward .*, numeric "):
        check_gradients(layers.Sequential(dense=OneWrongEntry(3, 4, rng=rng)), rng.standard_normal((2, 3)), rng=rng)


def test_numeric_gradient_of_a_known_function():
    x = np.array([[1.0, 2.0], [3.0, -1.0]])
    np.testing.assert_allclose(numeric_gradient(lambda a: (a**3).sum(), x), 3 * x**2, rtol=1e-8)


def test_the_layer_is_left_alone(rng):
    layer = layers.BatchNorm(3)
    check_gradients(layer, rng.standard_normal((4, 3)), rng=rng)
    assert layer.gamma.value.dtype == np.float32 and layer.gamma.grad is None
    np.testing.assert_array_equal(layer.running_mean.value, 0)


def test_a_dy_of_ones_would_have_missed_it(rng):
    """Why dy is random: the sum of softmax's outputs is constant, so zeros look right."""
    layer, (x,), _ = ZOO["SoftmaxReturnsZeros"]
    numeric = numeric_gradient(lambda value: float(layer.forward(value).sum()), x)
    np.testing.assert_allclose(numeric, 0, atol=1e-9)
