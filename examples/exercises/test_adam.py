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


def changed(step=lambda step: step, **settings):
    """Return the right step with other settings, or another count of steps."""
    return lambda *arrays_and_step, **given: reference(
        *arrays_and_step[:4], step(arrays_and_step[4]), **given | settings
    )


def ending(last_line):
    """Return a step with the right averages whose end is last_line(mean, square, correction1, correction2, eps)."""

    def one_step(value, mean, square, grad, step, learning_rate, beta1, beta2, eps):
        value, mean, square = reference(value, mean, square, grad, step, 0.0, beta1, beta2, eps)
        return value - learning_rate * last_line(mean, square, 1 - beta1**step, 1 - beta2**step, eps), mean, square

    return one_step


def gradient_not_squared(value, mean, square, grad, step, learning_rate, beta1, beta2, eps):
    """Return a step whose square is the average of |grad|, which is what is left where all gradients are positive."""
    mean, square = beta1 * mean + (1 - beta1) * grad, beta2 * square + (1 - beta2) * np.abs(grad)
    m_hat, s_hat = mean / (1 - beta1**step), square / (1 - beta2**step)
    return value - learning_rate * m_hat / (np.sqrt(s_hat) + eps), mean, square


def hats_kept(value, mean, square, grad, step, **settings):
    """Return the hats in place of mean and square."""
    value, mean, square = reference(value, mean, square, grad, step, **settings)
    return value, mean / (1 - settings["beta1"] ** step), square / (1 - settings["beta2"] ** step)


MISTAKES = {
    "the corrections 1 - beta^step are missing": ending(lambda m, s, c1, c2, eps: m / (s**0.5 + eps)),
    "the correction of mean, 1 - beta1^step, is missing": ending(lambda m, s, c1, c2, eps: m / ((s / c2) ** 0.5 + eps)),
    "the correction of square, 1 - beta2^step, is missing": ending(lambda m, s, c1, c2, eps: m / c1 / (s**0.5 + eps)),
    "step counts from 1, not from 0: do not add 1 to it": changed(step=lambda step: step + 1),
    "beta1 and beta2 are swapped": changed(beta1=SETTINGS["beta2"], beta2=SETTINGS["beta1"]),
    "it goes uphill: the step is subtracted": changed(learning_rate=-SETTINGS["learning_rate"]),
    "the root is missing": ending(lambda m, s, c1, c2, eps: m / c1 / (s / c2 + eps)),
    "the gradient is not squared in square": gradient_not_squared,
    "eps is missing": changed(eps=1e-12),
    "eps is added under the root; it is added to the root": ending(
        lambda m, s, c1, c2, eps: m / c1 / (s / c2 + eps) ** 0.5
    ),
    "the hats are kept: return mean and square, without the corrections": hats_kept,
}


def steps(one_step, gradients):
    """Return a function of the starting value that takes a step along each of some gradients."""

    def walk(value):
        mean, square = np.zeros_like(value), np.zeros_like(value)
        for step, grad in enumerate(gradients, start=1):
            value, mean, square = one_step(value, mean, square, grad, step, **SETTINGS)
        return value, mean, square

    return walk


def compare(gradients):
    """Compare steps along some gradients with the right ones and with the usual mistakes."""
    mistakes = {sentence: steps(wrong, gradients) for sentence, wrong in MISTAKES.items()}
    names = ("value", "mean", "square")
    start = np.ones_like(gradients[0])
    assert_same_as(steps(reference, gradients), steps(adam_step, gradients), start, mistakes=mistakes, names=names)


def test_first_step():
    compare([np.array([0.5, 2.0, 0.1])])


def test_five_steps():
    compare(np.random.default_rng(1).standard_normal((5, 3, 4)))


def test_arguments_are_left_alone():
    given = [np.ones(3), np.full(3, 0.5), np.full(3, 0.2), np.full(3, 2.0)]
    before = [array.copy() for array in given]
    adam_step(*given, 2)
    for name, array, old in zip(("value", "mean", "square", "grad"), given, before, strict=True):
        assert np.array_equal(array, old), f"adam_step changed its argument {name} (hint 1)"
