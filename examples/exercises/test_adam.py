"""Is adam_step right?   pytest test_adam.py"""

import numpy as np
from adam import adam_step

from minifer.kernels.update import adam_update
from minifer.testing import assert_same_as

SETTINGS = {"learning_rate": 0.1, "beta1": 0.8, "beta2": 0.9, "eps": 0.05}  # an eps so large that it shows


def reference(value, mean, square, grad, step, learning_rate, beta1, beta2, eps):
    """Return what the package's kernel leaves in its arrays."""
    value, mean, square = value.copy(), mean.copy(), square.copy()
    adam_update.reference(value, mean, square, grad, learning_rate, beta1, beta2, eps, 0.0, 0, step)
    return value, mean, square


def epsilon_under_the_root(value, mean, square, grad, step, learning_rate, beta1, beta2, eps):
    """Return the step of a common misreading."""
    value, mean, square = reference(value, mean, square, grad, step, 0.0, beta1, beta2, eps)
    m_hat, s_hat = mean / (1 - beta1**step), square / (1 - beta2**step)
    return value - learning_rate * m_hat / np.sqrt(s_hat + eps), mean, square


def many_steps(one_step, changed_step=lambda step: step, **changed_settings):
    """Return a function of the starting value that takes five steps along fixed gradients."""

    def walk(value):
        rng = np.random.default_rng(1)
        mean, square = np.zeros_like(value), np.zeros_like(value)
        for step in range(1, 6):
            grad = rng.standard_normal(value.shape)
            settings = SETTINGS | changed_settings
            value, mean, square = one_step(value, mean, square, grad, changed_step(step), **settings)
        return value, mean, square

    return walk


MISTAKES = {
    "the corrections 1 - beta^step are missing": many_steps(reference, lambda step: 10**6),
    "step counts from 1, not from 0: do not add 1 to it": many_steps(reference, lambda step: step + 1),
    "beta1 and beta2 are swapped": many_steps(reference, beta1=SETTINGS["beta2"], beta2=SETTINGS["beta1"]),
    "it goes uphill: the step is subtracted": many_steps(reference, learning_rate=-SETTINGS["learning_rate"]),
    "eps is missing": many_steps(reference, eps=1e-12),
    "eps is added under the root; it is added to the root": many_steps(epsilon_under_the_root),
}


def test_first_step():
    start = (np.ones(3), np.zeros(3), np.zeros(3), np.array([0.5, -2.0, 0.1]), 1)
    assert_same_as(lambda *x: reference(*x, **SETTINGS), lambda *x: adam_step(*x, **SETTINGS), *start)


def test_five_steps():
    assert_same_as(many_steps(reference), many_steps(adam_step), (3, 4), mistakes=MISTAKES)


def test_arguments_are_left_alone():
    given = [np.ones(3), np.full(3, 0.5), np.full(3, 0.2), np.full(3, 2.0)]
    before = [array.copy() for array in given]
    adam_step(*given, 2)
    for name, array, old in zip(("value", "mean", "square", "grad"), given, before, strict=True):
        assert np.array_equal(array, old), f"adam_step changed its argument {name} (hint 1)"
