"""What can be measured on a layer: central differences of its forward pass, as it is or with something changed.

    numeric[i] = ( f(x + h e_i) - f(x - h e_i) ) / 2h          f = sum(forward(x) * dy) with a random dy

The dy is random on purpose: with a dy of ones, backward passes of BatchNorm and softmax that return nothing but zeros
would pass, since the sum of their outputs is constant. Every probe runs on a fresh copy of the layer, so that dropout
and running statistics need no special case.
"""

import contextlib
import io

import numpy as np

from minifer.errors import GradientError, LayerError

STEP = 1e-5
MOST_ENTRIES = 20_000  # entries of inputs and parameters: each costs two forward passes


def numeric_gradient(f, x, step=STEP):
    """Return the central differences of f, a function of one float64 array that returns a number, at x."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        plus, minus = x.copy(), x.copy()
        plus[index] += step
        minus[index] -= step
        gradient[index] = (f(plus) - f(minus)) / (2 * step)
    return gradient


class Experiment:
    """One layer in one state, its inputs and one upstream gradient; nothing here changes any of them.

    subject      the Subject before its forward pass
    inputs       what forward takes; integer inputs, such as labels, have no gradient
    y, dy        its output, and the upstream gradient, drawn at random
    gradients    {name: what backward returned or set}: "dx" for the input x, the dotted path for a parameter
    values       {name: the array that this gradient belongs to}
    after        the Subject after forward and backward

    Raises       LayerError when a pass fails, GradientError when it breaks a rule that is not about numbers
    """

    def __init__(self, subject, inputs, rng):
        self.subject, self.inputs = subject, list(inputs)
        self.input_names = [f"d{name}" for name in subject.input_names(len(self.inputs))]
        self.differentiable = [i for i, x in enumerate(self.inputs) if np.issubdtype(x.dtype, np.floating)]
        self.after = subject.copy()
        self.y = self._forward()
        self.dy = rng.standard_normal(self.y.shape) if subject.takes_dy() else np.ones(self.y.shape)
        dx = self._backward()
        self.paths = list(self.after.parameters())
        self.values = {self.input_names[i]: self.inputs[i] for i in self.differentiable}
        self.values |= {path: subject.get(path) for path in self.paths}
        self.gradients = {self.input_names[i]: gradient for i, gradient in zip(self.differentiable, dx, strict=True)}
        self.gradients |= {path: parameter.grad for path, parameter in self.after.parameters().items()}
        self._check_types()

    # One forward and one backward, watched.

    def _forward(self):
        given = [x.copy() for x in self.inputs]
        y = self.after.forward(*given)
        for name, before, now in zip(self.input_names, self.inputs, given, strict=True):
            if not np.array_equal(before, now):
                raise GradientError(
                    f"{self.subject.name}.forward changed its input {name[1:]}: work on a copy, others read it too"
                )
        if not self.subject.takes_dy() and y.ndim:
            raise LayerError(
                f"{self.subject.name}.backward() takes no dy, yet y has shape {y.shape}: write backward(self, dy)"
            )
        return y.copy()

    def _backward(self):
        given = self.dy.copy()
        before = {path: parameter.value.copy() for path, parameter in self.after.parameters().items()}
        dx = self.after.backward(given)
        name = self.subject.name
        if not np.array_equal(self.dy, given):
            raise GradientError(f"{name}.backward changed its dy: work on a copy, others read it too")
        for path, value in before.items():
            if not np.array_equal(value, self.after.get(path)):
                raise GradientError(f"{name}.backward changed the value of {path}: only an optimizer takes steps")
        if not self.differentiable and dx == [None]:
            dx = []  # of labels or indices there is no gradient to return
        if len(dx) != len(self.differentiable):
            raise GradientError(
                f"{name}.backward returned {len(dx)} gradients for {len(self.differentiable)} floating-point inputs"
            )
        return dx

    def _check_types(self):
        name = self.subject.name
        for array, gradient in self.gradients.items():
            if gradient is None and array in self.paths:
                raise GradientError(f"{name}: backward left {array} without a gradient")
            if gradient is None:
                raise GradientError(f"{name}.backward returned None for {array}: does it end with 'return dx'?")
            gradient = np.asarray(gradient)  # noqa: PLW2901
            if gradient.dtype != np.float64:
                raise GradientError(
                    f"{name}: the gradient {array} is {gradient.dtype} where everything else is float64: keep the "
                    "dtype that comes in, as np.zeros(shape, x.dtype) does"
                )
            self.gradients[array] = gradient.copy()

    # Measurements.

    def output(self, changes):
        """Return forward's output with some arrays changed: {name: other value}."""
        probe = self.subject.copy()
        for path in self.paths:
            if path in changes:
                probe.set(path, changes[path])
        inputs = [changes.get(name, x) for name, x in zip(self.input_names, self.inputs, strict=True)]
        with contextlib.redirect_stdout(io.StringIO()):  # one print in forward would be hundreds
            return probe.forward(*inputs)

    def numeric(self, name):
        """Return the numeric gradient of the array `name`."""
        return numeric_gradient(lambda value: float(np.sum(self.output({name: value}) * self.dy)), self.values[name])

    def slope(self, name, direction, changes):
        """Return the derivative of sum(y * dy) along a direction of the array `name`, with some arrays changed."""
        value = changes.get(name, self.values[name])
        plus, minus = (self.output({**changes, name: value + sign * STEP * direction}) for sign in (1, -1))
        return float(np.sum((plus - minus) * self.dy)) / (2 * STEP)

    def slopes(self, name):
        """Return dy[o] / dx[i] of all outputs o and entries i of the array `name`, to the left and to the right.

        Shape    (2, that of y, that of the array); the two differ much only at a kink, their mean is the Jacobian
        """
        value = self.values[name]
        columns = np.empty((2, *value.shape, *self.y.shape))
        for index in np.ndindex(value.shape):
            for side, step in enumerate((-STEP, STEP)):
                moved = value.copy()
                moved[index] += step
                columns[side][index] = (self.output({name: moved}) - self.y) / step
        return np.moveaxis(columns, range(1, 1 + value.ndim), range(-value.ndim, 0))

    def gradients_for(self, dy):
        """Return what backward gives for another dy: {name: gradient}."""
        worker = self.subject.copy()
        worker.forward(*[x.copy() for x in self.inputs])
        dx = dict(zip((self.input_names[i] for i in self.differentiable), worker.backward(dy.copy()), strict=True))
        return dx | {path: parameter.grad for path, parameter in worker.parameters().items()}

    def require_same_output(self):
        """Raise unless forward gives the same again, and a check of this size ends."""
        entries = sum(value.size for value in self.values.values())
        if entries > MOST_ENTRIES:
            raise LayerError(
                f"{self.subject.name} has {entries:,} entries to probe: check it on a tiny shape such as 2x5x4x3"
            )
        if not np.array_equal(self.output({}), self.y):
            raise LayerError(
                f"{self.subject.name}.forward gives another result for the same input: draw random numbers from a "
                "generator that the layer holds, self.rng.random(shape), not from np.random"
            )
