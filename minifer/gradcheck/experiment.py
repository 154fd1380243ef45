"""What can be measured on a layer: central differences of its forward pass, as it is or with something changed.

    numeric[i] = ( f(x + h e_i) - f(x - h e_i) ) / 2h          f = sum(forward(x) * dy) with a random dy

The dy is random on purpose: with a dy of ones, backward passes of BatchNorm and softmax that return nothing but zeros
would pass, since the sum of their outputs is constant. Every probe runs on a fresh copy of the layer, so that dropout
and running statistics need no special case.
"""

import re

import numpy as np

from minifer.errors import GradientError, LayerError
from minifer.gradcheck.outputs import sorted_gradients

STEP = 1e-5
MOVE = 1e-3  # a step that shows whether y depends on an array at all
ROUNDED = 1e-13  # of y: what it changes by rounding alone
DRAWS = (1, 1, 3, 3, 10, 10, 100, 100)  # sizes of the other inputs and weights that are tried where all are zero
TARGET = re.compile(r"(.*_)?(targets?|labels?|truth|true|gt|t|mask)")  # inputs that backward may leave without gradient
MOST_ENTRIES = 20_000  # entries of inputs and parameters: each costs two forward passes
MOST_HELD = 1_000_000  # numbers in an input, or that a layer holds: each pass runs on copies, also of constants


def numeric_gradient(f, x, step=STEP):
    """Return the central differences of f, a function of one float64 array that returns a number, at x."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        plus, minus = x.copy(), x.copy()
        plus[index] += step
        minus[index] -= step
        gradient[index] = (f(plus) - f(minus)) / (2 * step)
    return gradient


def other_draws(subject, inputs, names, rng):
    """Yield (Subject, inputs) with other inputs, and every other time with other values of the arrays `names` too.

    What is positive stays positive: it may be under a root or a logarithm.
    """

    def drawn(value, scale, start):
        other = start + scale * rng.standard_normal(value.shape)
        return np.abs(other) if np.all(value > 0) else other

    for turn, scale in enumerate(DRAWS):
        other = subject.copy()
        for name in names if turn % 2 == 0 else ():
            other.set(name, drawn(subject.get(name), scale, 0))
        sign = 1 if turn < 2 else -1
        yield other, [drawn(x, scale, sign * x) if x.dtype.kind == "f" else x for x in inputs]


def require_tiny(subject, inputs):
    """Raise LayerError for what would take too much time or memory, by its sizes, before anything runs."""
    named = zip(subject.input_names(len(inputs)), inputs, strict=True)
    entries = sum(x.size for name, x in named if x.dtype.kind == "f" and name not in subject.constants)
    held = sum(np.size(subject.at(name)) for name in subject.leaves)
    if entries > MOST_ENTRIES:
        raise too_large(subject, entries)
    if held > MOST_HELD:
        raise LayerError(f"{subject.name} holds {held:,} numbers, of which every probe needs a copy: make a tiny one")


def too_large(subject, entries):
    """Return the error of a check that would not end."""
    return LayerError(f"{subject.name} has {entries:,} entries to probe: check it on a tiny shape such as 2x5x4x3")


class Experiment:
    """One layer in one state, its inputs and one upstream gradient; nothing here changes any of them.

    subject      the Subject before its forward pass
    inputs       what forward takes; integer inputs, such as labels, have no gradient
    y, dy        its output, and the upstream gradient, drawn at random
    gradients    {name: what backward returned or set}: "dx" for the input x, the dotted path for a parameter; None
                 where a parameter got none
    values       {name: the array that this gradient belongs to}
    between      the Subject after forward; after: after backward

    Raises       LayerError when a pass fails, GradientError when it breaks a rule that is not about numbers
    """

    def __init__(self, subject, inputs, rng):
        self.subject, self.inputs = subject, list(inputs)
        self.input_names = [f"d{name}" for name in subject.input_names(len(self.inputs))]
        self.paths = list(subject.trained)
        self.after = subject.copy()
        given = [x.copy() for x in self.inputs]
        self.y = self._forward(given)
        self.dy = rng.standard_normal(self.y.shape) if subject.takes_dy() else np.ones(self.y.shape)
        self.between = self.after.copy()
        self.gradients = self._backward(given)
        self.values = {name: x for name, x in zip(self.input_names, self.inputs, strict=True) if name in self.gradients}
        self.values |= {path: subject.get(path) for path in self.paths}
        self._check_types()

    # One forward and one backward, watched.

    def _forward(self, given):
        self.after.clear()
        y = self.after.forward(*given)
        self._require_unchanged(given, "forward")
        if not self.subject.takes_dy() and y.ndim:
            raise LayerError(
                f"{self.subject.called('backward')}() takes no dy, yet y has shape {y.shape}: write backward(self, dy)"
            )
        return y.copy()

    def _backward(self, given):
        dy, called = self.dy.copy(), self.subject.called("backward")
        gradients = self._sorted(self.after.backward(dy), self.after)
        if not np.array_equal(self.dy, dy):
            raise GradientError(f"{called} changed its dy: work on a copy, others read it too")
        self._require_unchanged(given, "backward")
        for path in self.paths:
            if not np.array_equal(self.between.get(path), self.after.get(path)):
                raise GradientError(f"{called} changed the value of {path}: only an optimizer takes steps")
        return gradients

    def _require_unchanged(self, given, method):
        """Raise unless the very arrays that forward was given hold what they did: the layer below holds them too."""
        for name, before, now in zip(self.input_names, self.inputs, given, strict=True):
            if not np.array_equal(before, now):
                its = "its input" if method == "forward" else "forward's input"
                raise GradientError(
                    f"{self.subject.called(method)} changed {its} {name[1:]}: work on a copy, others read it too"
                )

    def _sorted(self, returned, worker):
        """Return {name: gradient} of inputs and parameters; what is of neither stays in the worker's state."""
        floats = {name: x for name, x in zip(self.input_names, self.inputs, strict=True) if x.dtype.kind == "f"}
        shape = next((x.shape for x in floats.values()), None)
        found, worker.state.returned = sorted_gradients(returned, self.input_names, list(floats), shape)
        constant = {name for name in floats if name[1:] in self.subject.constants or TARGET.fullmatch(name[1:])}
        if not set(floats) - constant <= set(found) <= set(floats):
            raise self.wrong_number(len(found) + len(worker.state.returned), list(floats))
        found = {
            name: gradient
            for name, gradient in found.items()
            if name[1:] not in self.subject.constants and (gradient is not None or name not in constant)
        }
        return found | {path: worker.gradient(path) for path in self.paths}

    def wrong_number(self, returned, wanted):
        """Return the error of a backward that returned another number of gradients than those wanted: [name]."""
        subject = self.subject
        remedy = f"return {', '.join(['loss'] * subject.is_loss() + wanted) or 'None'}"
        if returned < len(wanted):
            remedy += "; what needs no gradient is named with --constant"
        elif not subject.is_function():
            remedy += "; gradients of arrays are set in self (self.dweight is that of self.weight)"
        return GradientError(
            f"{subject.called('backward')} returned {returned} gradients for {len(wanted)} floating-point inputs: "
            f"{remedy}"
        )

    def _check_types(self):
        name, called = self.subject.name, self.subject.called("backward")
        for array, gradient in self.gradients.items():
            if gradient is None and array in self.paths:
                continue
            if gradient is None:
                raise GradientError(f"{called} returned None for {array}: does it end with 'return dx'?")
            is_array = isinstance(gradient, np.ndarray | np.generic)
            try:
                gradient = np.asarray(gradient, None if is_array else np.float64)  # noqa: PLW2901
            except (TypeError, ValueError):
                kind = type(gradient).__name__
                raise GradientError(f"{name}: the gradient {array} is a {kind}, which is no array") from None
            if gradient.dtype != np.float64:
                raise GradientError(
                    f"{name}: the gradient {array} is {gradient.dtype} where everything else is float64: keep the "
                    "dtype that comes in, as np.zeros(shape, x.dtype) does"
                )
            one = gradient.size == self.values[array].size == 1  # a bias of shape (1,) and a number, say
            self.gradients[array] = gradient.reshape(self.values[array].shape).copy() if one else gradient.copy()

    # Measurements.

    def output(self, changes):
        """Return forward's output with some arrays changed: {name: other value}."""
        probe = self.subject.copy()
        for name in changes.keys() - set(self.input_names):
            probe.set(name, changes[name])
        inputs = [changes.get(name, x) for name, x in zip(self.input_names, self.inputs, strict=True)]
        return probe.forward(*inputs)

    def differs(self, y):
        """Whether y, of a run with something changed, is another one by more than rounding."""
        return bool(np.abs(y - self.y).max(initial=0) > ROUNDED * np.abs(self.y).max(initial=0))

    def numeric(self, name):
        """Return the numeric gradient of the array `name`."""
        base = self.y * self.dy  # taken away first: what an entry does not change adds no rounding
        return numeric_gradient(
            lambda value: float(np.sum(self.output({name: value}) * self.dy - base)), self.values[name]
        )

    def slope(self, name, direction, changes):
        """Return the derivative of sum(y * dy) along a direction of the array `name`, with some arrays changed."""
        value = changes[name] if name in changes else self.values[name]
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

    def gradients_for(self, dy, changes, later=False):
        """Return {name: gradient}, what backward gives for another dy, or with other arrays saved: {name: value}.

        later    as if random numbers had been drawn since forward
        """
        worker = self.between.copy()
        for generator in worker.state.generators() if later else ():
            generator.random()
        worker.look_around()
        for name in changes:
            worker.set(name, changes[name])
        return self._sorted(worker.backward(dy.copy()), worker)

    @property
    def rounding(self):
        """How far rounding of y may move an entry of a numeric gradient."""
        return 2 * np.finfo(float).eps * float(np.linalg.norm(self.y * self.dy)) / (2 * STEP)

    def require_same_output(self):
        """Raise unless forward gives the same again, and a check of this size ends."""
        entries = sum(value.size for value in self.values.values())
        if entries > MOST_ENTRIES:
            raise too_large(self.subject, entries)
        if not np.array_equal(self.output({}), self.y):
            raise LayerError(
                f"{self.subject.called('forward')} gives another result for the same input: draw random numbers from a "
                "generator that the layer holds, self.rng.random(shape), not from np.random"
            )
