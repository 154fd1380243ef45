"""Is a backward pass right? Compare it with central differences of its forward pass.

    numeric[i] = ( f(x + h e_i) - f(x - h e_i) ) / 2h          f = sum(forward(x) * dy) with a random dy

The dy is random on purpose: with a dy of ones, backward passes of BatchNorm and softmax that return nothing but zeros
would pass, since the sum of their outputs is constant. Everything runs in float64 on a deep copy of the layer, every
probe on a fresh one, so that dropout and running statistics need no special case. Stay away from kinks: at 0 a ReLU
has no derivative to compare with.
"""

import copy
from dataclasses import dataclass

import numpy as np

from minifer.errors import GradientError

STEP = 1e-5
TOLERANCE = 1e-6


@dataclass(frozen=True)
class ArrayCheck:
    """The comparison for one array: its name, the worst entry, and both gradients in full."""

    name: str
    backward: np.ndarray
    numeric: np.ndarray
    worst: tuple
    error: float

    def __str__(self):
        place = f"{self.name}[{','.join(map(str, self.worst))}]"
        return f"{place}: backward {self.backward[self.worst]:.6g}, numeric {self.numeric[self.worst]:.6g}"


@dataclass(frozen=True)
class Report:
    """The comparison for a whole layer; `error` is the largest relative error of any entry."""

    checks: list
    tolerance: float

    @property
    def worst(self):
        """The ArrayCheck with the largest error."""
        return max(self.checks, key=lambda check: check.error)

    @property
    def error(self):
        """Largest relative error over all entries of all inputs and parameters."""
        return self.worst.error

    @property
    def passed(self):
        """Whether every entry agrees to within the tolerance."""
        return self.error < self.tolerance


def numeric_gradient(f, x, step=STEP):
    """Return the central differences of f, a function of one float64 array that returns a number, at x."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        plus, minus = x.copy(), x.copy()
        plus[index] += step
        minus[index] -= step
        gradient[index] = (f(plus) - f(minus)) / (2 * step)
    return gradient


def compare_gradients(layer, *inputs, rng, tolerance=TOLERANCE):
    """Check a layer and return a Report; raise GradientError for what is wrong beyond numbers.

    layer    any Layer; it is copied, converted to float64 and left alone
    inputs   what its forward takes; integer inputs, such as labels, have no gradient
    rng      numpy Generator for dy

    The relative error of an entry is |backward - numeric| / max(|backward|, |numeric|, floor), where floor is a
    hundredth of the largest entry of any gradient: below it rounding, not the backward pass, decides.
    """
    layer = copy.deepcopy(layer).astype(np.float64)
    inputs = [x.astype(np.float64) if np.issubdtype(x.dtype, np.floating) else x for x in map(np.asarray, inputs)]
    differentiable = [i for i, x in enumerate(inputs) if np.issubdtype(x.dtype, np.floating)]

    given = copy.deepcopy(inputs)
    worker = copy.deepcopy(layer)
    y = worker.forward(*given, training=True)
    dy = rng.standard_normal(np.shape(y))
    given_dy = dy.copy()
    dx = worker.backward(given_dy)
    for i, (before, after) in enumerate(zip([*inputs, dy], [*given, given_dy], strict=True)):
        if not np.array_equal(before, after):
            what = "dy" if i == len(inputs) else f"input {i}"
            raise GradientError(
                f"{type(layer).__name__} changed its {what}: forward and backward must leave it as it is"
            )
    dx = dx if isinstance(dx, tuple) else (dx,)
    if len(dx) != len(differentiable):
        raise GradientError(
            f"{type(layer).__name__}.backward returned {len(dx)} gradients for {len(differentiable)} inputs"
        )

    def loss(changed_layer, changed_inputs):
        return float(np.sum(changed_layer.forward(*changed_inputs, training=True) * dy))

    def loss_of_input(i, value):
        return loss(copy.deepcopy(layer), [value if i == j else x for j, x in enumerate(inputs)])

    def loss_of_parameter(path, value):
        probe = copy.deepcopy(layer)
        probe.parameters()[path].value = value
        return loss(probe, inputs)

    pairs = []
    for i, gradient in zip(differentiable, dx, strict=True):
        name = "input" if len(differentiable) == 1 else f"input {i}"
        pairs.append((name, gradient, numeric_gradient(lambda value, i=i: loss_of_input(i, value), inputs[i])))
    for path, parameter in worker.parameters(trainable_only=True).items():
        value = layer.parameters()[path].value
        numeric = numeric_gradient(lambda value, path=path: loss_of_parameter(path, value), value)
        pairs.append((path, parameter.grad, numeric))

    for name, gradient, numeric in pairs:
        if gradient is None:
            raise GradientError(f"{type(layer).__name__}: backward left {name} without a gradient")
        if np.shape(gradient) != numeric.shape:
            raise GradientError(
                f"{type(layer).__name__}: the gradient of {name} has shape {np.shape(gradient)}, not {numeric.shape}"
            )
    floor = max(1e-2 * max(np.abs(numeric).max() for _, _, numeric in pairs), 1e-8)
    return Report([_check(name, np.asarray(gradient), numeric, floor) for name, gradient, numeric in pairs], tolerance)


def _check(name, backward, numeric, floor):
    error = np.abs(backward - numeric) / np.maximum(np.maximum(np.abs(backward), np.abs(numeric)), floor)
    error = np.where(np.isfinite(error), error, np.inf)
    worst = np.unravel_index(np.argmax(error), error.shape)
    return ArrayCheck(name, backward, numeric, tuple(int(i) for i in worst), float(error[worst]))


def check_gradients(layer, *inputs, rng, tolerance=TOLERANCE):
    """Return the Report of compare_gradients; raise GradientError naming the worst entry when the layer fails."""
    report = compare_gradients(layer, *inputs, rng=rng, tolerance=tolerance)
    if not report.passed:
        raise GradientError(f"{type(layer).__name__}: {report.worst} (relative error {report.error:.2g})")
    return report
