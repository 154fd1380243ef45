"""The check not only finds what is wrong, it says what the mistake is likely to be."""

import re
import warnings

import broken_cells
import broken_layers
import broken_maps
import broken_own_layers
import more_broken_layers
import numpy as np
import pytest

from minifer.errors import GradientError
from minifer.gradcheck import compare_gradients
from minifer.gradcheck.report import MISSING

ZOO = {
    name: animal
    for zoo in (broken_layers, broken_own_layers, more_broken_layers, broken_maps, broken_cells)
    for name, animal in zoo.zoo(np.random.default_rng(0)).items()
}


@pytest.mark.parametrize("name", ZOO)
def test_the_mistake_is_named(name):
    layer, inputs, mistake = ZOO[name]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one divides by zero
            report = compare_gradients(layer, *inputs, rng=np.random.default_rng(7))
    except GradientError as error:
        assert re.search(mistake, str(error))
        return
    assert not report.passed
    missing = [str(check) for check in report.checks if check.verdict == MISSING]
    text = "\n".join([*missing, *map(str, report.guesses)])
    assert re.search(mistake, text), text


def test_without_a_guess_the_report_says_so(rng):
    class Nonsense(broken_own_layers.Dense):
        def backward(self, dy):
            super().backward(dy)
            return np.sin(3 * self.x) * dy.sum(axis=1, keepdims=True)

    report = compare_gradients(Nonsense(), rng.standard_normal((5, 3)), rng=rng)
    assert [guess.mistake for guess in report.guesses] == ["unknown"]
    assert "no guess: none of the usual mistakes; 0% of the entries are right" in str(report)
    assert "all parameters are right, so look where this one is put together" in str(report)


def test_without_a_guess_for_dx_a_parameter_points_the_way(rng):
    class Scaled(broken_own_layers.Dense):
        """One mistake in two gradients, of which one is also nonsense."""

        def backward(self, dy):
            super().backward(dy)
            self.dweight *= 2
            return np.sin(3 * self.x) * dy.sum(axis=1, keepdims=True)

    report = compare_gradients(Scaled(), rng.standard_normal((5, 3)), rng=rng)
    assert "0% of the entries are right; correct weight first, it may be the same mistake" in str(report)


def test_indices_need_no_gradient(rng):
    class Embedding:
        def __init__(self):
            self.weight = np.random.default_rng(0).standard_normal((5, 3))

        def forward(self, ids):
            self.ids = ids
            return self.weight[ids]

        def backward(self, dy):
            self.dweight = np.zeros_like(self.weight)
            np.add.at(self.dweight, self.ids, dy)

    assert compare_gradients(Embedding(), np.array([1, 4, 1]), rng=rng).passed


def said(layer, *inputs):
    return str(compare_gradients(layer, *inputs, rng=np.random.default_rng(7)))


def test_both_formulas_stand_side_by_side(rng):
    class NoSum(broken_own_layers.SoftmaxOverTheBatch):
        def backward(self, dy):
            return self.y * (1 - self.y) * dy

    text = said(NoSum(), rng.standard_normal((4, 5)))
    assert "right   y*dy - y*sum(y*dy, axis 1)\n" in text and "here    y*dy - y^2*dy\n" in text


def test_two_mistakes_at_once_can_be_read(rng):
    class TransposedMean(broken_own_layers.Dense):
        def backward(self, dy):
            dx = super().backward(dy)
            self.dweight = -self.dweight.T / len(dy)
            return dx

    text = said(TransposedMean(), rng.standard_normal((5, 3)))
    assert re.search("transposed.*besides, 5 times too small and of the wrong sign.*multiply by 5", text)


def test_a_mistake_behind_a_hidden_layer_is_read_with_the_names_of_the_layer(rng):
    class Network:
        def __init__(self):
            self.first, self.second = rng.standard_normal((4, 5)), rng.standard_normal((5, 3))

        def forward(self, x):
            self.x, self.h = x, np.tanh(x @ self.first)
            return self.h @ self.second

        def backward(self, dy):
            dh = dy @ self.second.T
            self.dsecond, self.dfirst = self.h.T @ dy, self.x.T @ dh
            return dh @ self.first.T

    text = said(Network(), rng.standard_normal((6, 4)))
    assert text.count("likely: the factor (1 - h^2) is missing") == 2
    assert "right   x.T @ ((1 - h^2)*(dy @ second.T))\n" in text


def test_what_belongs_to_another_array_is_swapped_only_if_both_are(rng):
    class NoInput(broken_own_layers.ScaleShiftSwapped):
        def backward(self, dy):
            self.dscale = self.dshift = dy.sum(axis=0)
            return dy * self.scale

    text = said(NoInput(), rng.standard_normal((6, 3)))
    assert "swapped" not in text and "the factor x is missing" in text


def test_what_does_not_depend_on_dy_is_named(rng):
    class Decays(broken_own_layers.Dense):
        def backward(self, dy):
            dx = super().backward(dy)
            self.dweight = self.dweight + 0.1 * self.weight
            return dx

    assert "does not depend on dy, such as 0.1 * weight" in said(Decays(), rng.standard_normal((5, 3)))


def test_zeros_made_ready_for_a_gradient_explain_nothing(rng):
    class Decays(broken_own_layers.Dense):
        def __init__(self):
            super().__init__()
            self.dweight = np.zeros_like(self.weight)

        def backward(self, dy):
            dx = super().backward(dy)
            self.dweight = self.dweight + 0.1 * self.weight
            return dx

    assert "does not depend on dy, such as 0.1 * weight" in said(Decays(), rng.standard_normal((5, 3)))


@pytest.mark.parametrize("shape", [(2, 3), (3, 4)])
def test_a_mask_that_is_drawn_anew_is_named(shape, rng):
    class Drop:
        def __init__(self):
            self.rng = np.random.default_rng(1)

        def forward(self, x):
            return x * self.mask(x)

        def backward(self, dy):
            return dy * self.mask(dy)

        def mask(self, x):
            return 2 * (self.rng.random(x.shape) < 0.5)

    assert "likely: backward is no function of dy" in said(Drop(), rng.standard_normal(shape))


def test_what_is_lost_in_the_rounding_of_y_is_not_guessed_at(rng):
    class Large:
        def __init__(self):
            self.w = np.array([0.3, 0.2, 0.1])

        def forward(self, x):
            return 1e9 * x + self.w

        def backward(self, dy):
            self.dw = 50 * dy.sum(axis=0)
            return 1e9 * dy

    text = said(Large(), rng.standard_normal((2, 3)))
    assert "no guess: y depends on it so little" in text and "does not change y" not in text


def test_gradients_that_are_returned_beside_empty_ones_are_told_where_to_go(rng):
    class Returns(broken_own_layers.Dense):
        def __init__(self):
            super().__init__()
            self.dweight = np.zeros_like(self.weight)

        def backward(self, dy):
            return dy @ self.weight.T, self.x.T @ dy

    with pytest.raises(GradientError, match=r"2 gradients for 1 .*: return dx; gradients of arrays are set in self"):
        said(Returns(), rng.standard_normal((5, 3)))


@pytest.mark.parametrize("name", ["BorderForgotten", "TapsForgotten", "BiasWithoutSlope", "LargeEpsilonLeftOut"])
def test_what_misled_is_said_no_more(name):
    layer, inputs, _ = ZOO[name]
    assert not re.search("mask|x_hat|epsilon", said(layer, *inputs))
