"""What a hypothesis about a mistake may look at, and how it compares."""

from functools import cached_property
from itertools import combinations, permutations

import numpy as np

from minifer.errors import MiniferError

MOST_DERIVATIVES = 1_000_000  # entries of a Jacobian beyond which hypotheses that need one are not tried


class Evidence:
    """One wrong gradient and everything known about it.

    given, numeric   what backward says, and the central differences
    value            the array that the gradient belongs to: an input or a parameter
    x                the input (of a parameter: the first)
    y, dy            the layer's output and the upstream gradient
    experiment       where more can be measured; None if there is no layer, only two arrays to compare
    """

    def __init__(self, name, given, numerics, experiment=None):
        self.name, self.given, self.numeric, self.numerics = name, given, numerics[name], numerics
        self.experiment = experiment
        if experiment is not None:
            self.value, self.y, self.dy = experiment.values[name], experiment.y, experiment.dy
            self.of_input = name not in experiment.paths
            self.x = self.value if self.of_input else experiment.inputs[0]

    @cached_property
    def scale(self):
        """The largest entry of any numeric gradient of the layer."""
        return max(np.abs(numeric).max() for numeric in self.numerics.values())

    @cached_property
    def wrong(self):
        """Which entries of given differ from numeric."""
        return ~np.isclose(self.given, self.numeric, rtol=1e-5, atol=1e-6 * np.abs(self.numeric).max())

    @cached_property
    def parameters(self):
        """{dotted path: value} of all parameters."""
        return {path: self.experiment.values[path] for path in self.experiment.paths}

    def known_arrays(self):
        """Return {name: array} of the inputs, y and dy."""
        inputs = {name[1:]: array for name, array in self.experiment.values.items() if name not in self.parameters}
        return inputs | {"y": self.y, "dy": self.dy}

    @property
    def small(self):
        """Whether there is a layer, so small that a Jacobian of this array is quickly found."""
        return self.experiment is not None and self.y.size * self.value.size <= MOST_DERIVATIVES

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

    def right_with(self, changes):
        """Whether given is the right gradient of a layer with other arrays changed: {name: what they would be}.

        The derivative along one random direction decides; where forward fails with them, the answer is no.
        """
        direction = np.random.default_rng(0).standard_normal(self.given.shape)
        try:
            slope = self.experiment.slope(self.name, direction, changes)
        except MiniferError:
            return False
        return abs(slope - np.sum(self.given * direction)) < 1e-6 * np.linalg.norm(self.given)

    @cached_property
    def elementwise(self):
        """Whether every output depends on its own entry of this array alone."""
        if self.value.shape != self.y.shape or not self.small:
            return False
        matrix = self.jacobian.reshape(self.y.size, self.value.size)
        return bool(np.allclose(matrix, np.diag(np.diag(matrix)), atol=1e-7 * np.abs(matrix).max(initial=0)))


def close(a, b, tolerance=1e-5):
    """Whether two arrays are the same but for a small part of their largest entry; never for zeros or None."""
    if a is None or b is None or np.shape(a) != np.shape(b) or not np.any(b):
        return False
    difference = np.max(np.abs(np.asarray(a) - b))
    return bool(difference <= tolerance * np.max(np.abs(b)))


def reorderings(array):
    """Yield (what was done, array with its axes reordered but its shape kept): reshape confused with transpose."""
    shape = array.shape
    for axes in permutations(range(array.ndim)):
        if axes != tuple(range(array.ndim)):
            turned = [shape[axis] for axis in axes]
            yield f".transpose{axes}.reshape{shape}", np.transpose(array, axes).reshape(shape)
            back = tuple(int(axis) for axis in np.argsort(axes))
            yield f".reshape{tuple(turned)}.transpose{back}", np.transpose(array.reshape(turned), back)


def subsets_of_axes(ndim):
    """Return all choices of at least one axis, the smallest first."""
    return [axes for count in range(1, ndim + 1) for axes in combinations(range(ndim), count)]


def name_axes(axes):
    """Return "axis 1" or "axes 0, 1 and 2"."""
    if len(axes) == 1:
        return f"axis {axes[0]}"
    return f"axes {', '.join(map(str, axes[:-1]))} and {axes[-1]}"
