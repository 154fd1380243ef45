"""What an explanation may look at: a wrong gradient, what is known of the layer, whether a candidate explains it."""

import dataclasses
from functools import cached_property
from itertools import combinations

import numpy as np

from minifer.gradcheck.experiment import MOVE

MOST_DERIVATIVES = 1_000_000  # entries of a Jacobian beyond which only the two gradients are compared
DRAWS = 8  # upstream gradients for which an explanation has to hold


@dataclasses.dataclass(frozen=True)
class Draw:
    """One upstream gradient, what backward gives for it, and the right gradient J^T dy."""

    dy: np.ndarray
    given: np.ndarray
    numeric: np.ndarray


class Evidence:
    """One wrong gradient and everything known about it.

    given, numeric   what backward says, and the central differences
    value            the array that the gradient belongs to: an input or a parameter
    x, y, dy         the input (of a parameter: the first), the output, the upstream gradient
    experiment       where more can be measured; None if there is no layer, only two arrays to compare
    """

    def __init__(self, name, given, numerics, experiment=None):
        self.name, self.given, self.numeric, self.numerics = name, given, numerics[name], numerics
        self.experiment, self.dy = experiment, None
        if experiment is not None:
            self.value, self.y, self.dy = experiment.values[name], experiment.y, experiment.dy
            self.of_input = self.is_input(name)
            self.x = self.value if self.of_input else experiment.inputs[0]

    def is_input(self, name):
        """Whether an array is an input with a row for each of y's; weights that forward is given are parameters."""
        value, y = self.experiment.values[name], self.experiment.y
        first = value is self.experiment.inputs[0]
        return name not in self.experiment.paths and (first or not y.ndim or value.shape[:1] == y.shape[:1])

    def called(self, name):
        """Return what the student calls an array: the gradient of the input x is called dx here."""
        return name if name in self.experiment.paths else name[1:]

    @property
    def small(self):
        """Whether there is a layer, so small that a Jacobian of this array is quickly found."""
        return self.experiment is not None and self.y.size * self.value.size <= MOST_DERIVATIVES

    @cached_property
    def wrong(self):
        """Which entries of given differ from numeric."""
        return ~np.isclose(self.given, self.numeric, rtol=1e-5, atol=1e-6 * np.abs(self.numeric).max())

    @cached_property
    def _slopes(self):
        return self.experiment.slopes(self.name)

    @cached_property
    def jacobian(self):
        """dy[o] / dvalue[i]: y's shape, then value's shape."""
        return self._slopes.mean(axis=0)

    @cached_property
    def reaching(self):
        """Which outputs depend on this array at all; those that a ReLU blocks do not. Shape of y."""
        return np.abs(self.jacobian).reshape(*self.y.shape, -1).max(axis=-1, initial=0) > 1e-9

    @cached_property
    def bend(self):
        """How much the gradient to the left of each entry differs from that to the right: much only at a kink."""
        return np.abs(np.tensordot(self.dy, self._slopes[1] - self._slopes[0], axes=self.y.ndim))

    def gradient_for(self, dy):
        """Return what the right backward would return for another dy."""
        return np.tensordot(dy, self.jacobian, axes=self.y.ndim)

    @cached_property
    def elementwise(self):
        """Whether every output depends on its own entry of this array alone."""
        if self.value.shape != self.y.shape:
            return False
        matrix = self.jacobian.reshape(self.y.size, self.value.size)
        return bool(np.allclose(matrix, np.diag(np.diag(matrix)), atol=1e-7 * np.abs(matrix).max(initial=0)))

    @cached_property
    def multiplier(self):
        """What forward multiplies this parameter with, per output (shape of y), if each meets one entry of it only."""
        each = self.jacobian.reshape(*self.y.shape, -1)
        several = (np.abs(each) > 1e-7 * np.abs(each).max(initial=0)).sum(axis=-1) > 1
        return None if self.of_input or several.any() else each.sum(axis=-1)

    @cached_property
    def draws(self):
        """[Draw] of the actual dy and of others; of a layer that cannot be run again, or a loss, the actual alone."""
        draws = [Draw(self.dy, self.given, self.numeric)]
        rng = np.random.default_rng(0)
        for _ in range(DRAWS - 1 if self.small and self.y.ndim else 0):
            dy = rng.standard_normal(self.dy.shape)
            given = self.rerun(dy)
            if np.shape(given) != self.given.shape:
                return draws[:1]
            draws.append(Draw(dy, given, self.gradient_for(dy)))
        return draws

    def rerun(self, dy, changes=(), later=False):
        """Return what backward gives for a dy, or None where it fails; the rest is as in Experiment.gradients_for."""
        try:
            return np.asarray(self.experiment.gradients_for(dy, changes, later).get(self.name), np.float64)
        except Exception:
            return None

    @property
    def repeats(self):
        """Whether backward gives the same for the same dy and what forward saved; one that draws a mask does not."""
        again = self.rerun(self.dy, later=True)
        return np.shape(again) != self.given.shape or close(again, self.given)

    @property
    def changes_y(self):
        """Whether a small step of this array changes y by more than rounding."""
        step = MOVE * np.random.default_rng(0).uniform(0.5, 1, self.value.shape)
        return self.experiment.differs(self.experiment.output({self.name: self.value + step}))

    @property
    def equations(self):
        """How many numbers an explanation has to get right."""
        return self.given.size * min(len(self.draws), max(np.size(self.dy), 1))

    def factor(self, candidate):
        """Return the number c for which given = c * candidate(draw) for all draws, or None.

        nan in a candidate stands for what cannot be known of an entry.
        """
        factor = None
        for draw in self.draws:
            other = candidate(draw)
            if np.shape(other) != draw.given.shape:
                return None
            known = np.isfinite(other)
            given, other = draw.given[known], other[known]
            size = np.sum(other**2)
            if known.sum() < min(3, known.size) or size == 0:
                return None
            factor = float(np.sum(given * other) / size) if factor is None else factor
            if not factor or not close(given, factor * other):
                return None
        exact = abs(factor - 1) < 1e-5
        return 1.0 if exact else factor if self.equations > 1 else None

    @cached_property
    def saved(self):
        """{name: array}: all arrays that the layer holds after forward, weights among them."""
        return {name: array for name, array in self._held.items() if array.size > 1}

    @cached_property
    def numbers(self):
        """{name: number}: the layer's own numbers, and the fractions that forward saved."""
        subject = self.experiment.subject
        own = {name: subject.get(name) for name in subject.leaves}
        later = {name: array for name, array in self._held.items() if name not in own and array.dtype.kind == "f"}
        return {name: array.item() for name, array in (own | later).items() if array.size == 1}

    @cached_property
    def _held(self):
        between = self.experiment.between.copy()
        between.look_around()
        return {name: between.get(name) for name, leaf in between.leaves.items() if not leaf.fixed}

    @cached_property
    def known(self):
        """{name: array}: inputs, y, parameters and what forward saved in the layer, under the names they have there."""
        known = {"x" if name == self.name else name[1:]: value for name, value in self.inputs.items()}
        known |= {"y": self.y} | self.weights
        for name, array in self.saved.items():
            if not any(same(array, other) for other in known.values()):
                known[name] = array
        return {name: array for name, array in known.items() if array.size > 1 and np.ptp(array) > 0}

    @property
    def weights(self):
        """{dotted path: value} of all parameters, also those that forward is given."""
        return {self.called(name): value for name, value in self.experiment.values.items() if not self.is_input(name)}

    @cached_property
    def inputs(self):
        """{"dx": x} of all floating-point inputs."""
        return {name: x for name, x in self.experiment.values.items() if self.is_input(name)}


def close(a, b, tolerance=1e-5):
    """Whether two arrays are the same but for a small part of their largest entry; never for zeros or None."""
    if a is None or b is None or np.shape(a) != np.shape(b) or not np.any(b):
        return False
    difference = np.max(np.abs(np.asarray(a) - b))
    return bool(difference <= tolerance * np.max(np.abs(b)))


def same(one, other):
    """Whether two arrays hold the same numbers."""
    return np.shape(one) == np.shape(other) and np.array_equal(one, other)


def fits(array, shape):
    """Whether an array broadcasts to a shape."""
    try:
        return np.broadcast_shapes(np.shape(array), shape) == tuple(shape)
    except ValueError:
        return False


def subsets_of_axes(ndim):
    """Return all choices of at least one axis, the smallest first."""
    return [axes for count in range(1, ndim + 1) for axes in combinations(range(ndim), count)]


def name_axes(axes):
    """Return "axis 1" or "axes 0, 1 and 2"."""
    if len(axes) == 1:
        return f"axis {axes[0]}"
    return f"axes {', '.join(map(str, axes[:-1]))} and {axes[-1]}"
