"""Batch, layer, instance and group normalization are recognized by their derivative; its usual misprints.

    dz = dy * gamma, 0 where a ReLU after it blocks        dx = inv_std * (dz - mean(dz) - x_hat * mean(dz * x_hat))

The means run over some axes. The epsilon of the layer is unknown, so that the comparison is a loose one.
"""

import numpy as np

from minifer.gradcheck.evidence import name_axes, subsets_of_axes
from minifer.gradcheck.formulas import misprint

EPSILON, TOLERANCE = 1e-5, 0.02
FORMULA = "inv_std * (dz - mean(dz) - x_hat * mean(dz * x_hat))"


def normalization_formula(e):
    """Normalization over some axes, with or without a gamma."""
    if not e.of_input or e.value.shape != e.y.shape:
        return None
    dy = e.dy * e.reaching
    gammas = [(path, value) for path, value in e.parameters.items() if broadcasts(value, e.value)]
    candidates = (
        normalization_gradients(e.value, dy, path, gamma, axes)
        for axes in subsets_of_axes(e.value.ndim)
        if np.prod([e.value.shape[axis] for axis in axes]) > 2
        for path, gamma in [("", np.ones(1)), *gammas]
    )
    return misprint(e, candidates, TOLERANCE)


def normalization_gradients(x, dy, path, gamma, axes):
    """Return (dx, {misprint: dx}) of a normalization over the axes, with the parameter at path for a gamma."""

    def mean(array, axes=axes):
        return array.mean(axis=axes, keepdims=True)

    inv_std = 1 / np.sqrt(mean((x - mean(x)) ** 2) + EPSILON)
    x_hat = (x - mean(x)) * inv_std

    def terms(dz, axes=axes):
        """Return the terms of the mean and of the variance."""
        return mean(dz, axes), x_hat * mean(dz * x_hat, axes)

    dz = dy * gamma
    of_mean, of_variance = terms(dz)
    right = inv_std * (dz - of_mean - of_variance)
    count = np.prod([x.shape[axis] for axis in axes])
    wrong = {
        f"the mean and the variance are treated as constants: dx = {FORMULA}, not inv_std * dz": inv_std * dz,
        f"the mean and the variance are treated as constants, and 1/std is missing: dx = {FORMULA}": dz,
        "the term of the mean, mean(dz), is missing": inv_std * (dz - of_variance),
        "the term of the variance, x_hat * mean(dz * x_hat), is missing": inv_std * (dz - of_mean),
        "the sign of the mean's term is wrong": inv_std * (dz + of_mean - of_variance),
        "the sign of the variance's term is wrong": inv_std * (dz - of_mean + of_variance),
        "the signs of the mean's and the variance's terms are wrong": inv_std * (dz + of_mean + of_variance),
        "sums stand where means belong": inv_std * (dz - (of_mean + of_variance) * count),
        "1/std is missing": right / inv_std,
        "1/std is used twice": right * inv_std,
        "multiplied by std where 1/std belongs": right / inv_std**2,
        "the variance's term has x where x_hat belongs": inv_std * (dz - of_mean - x * mean(dz * x)),
        "the variance's term has x - mean where x_hat belongs": (
            inv_std * (dz - of_mean - (x - mean(x)) * mean(dz * (x - mean(x))))
        ),
        "the variance's term is twice what it should be": inv_std * (dz - of_mean - 2 * of_variance),
        "the variance's term is half of what it should be": inv_std * (dz - of_mean - of_variance / 2),
    }
    if path:
        wrong |= {
            f"the factor {path} is missing": inv_std * (dy - sum(terms(dy))),
            f"the factor {path} is missing, and the mean and the variance are treated as constants": inv_std * dy,
            f"the factor {path} is missing in the terms of the mean and the variance": inv_std * (dz - sum(terms(dy))),
            f"the factor {path} is used twice": right * gamma,
        }
    for other in subsets_of_axes(x.ndim):
        if other != axes:
            text = f"averaged over {name_axes(other)}, where {name_axes(axes)} belongs"
            wrong[text] = inv_std * (dz - sum(terms(dz, other)))
    return right, wrong


def broadcasts(parameter, x):
    """Whether parameter * x has the shape of x."""
    try:
        return np.broadcast_shapes(parameter.shape, x.shape) == x.shape
    except ValueError:
        return False
