"""A fourth zoo: mistakes in layers of maps, in normalizations, and in what is done to dy, each with what must be said.

They are in the style of broken_own_layers. What must not be said is in test_mistakes.py.
"""

import numpy as np
from broken_own_layers import Dense, animal_of, zoo_of

ZOO = []
animal, zoo = animal_of(ZOO), zoo_of(ZOO)


class Depthwise:
    """A right depthwise convolution with zeros around the map, for others to break."""

    def __init__(self):
        self.weight = np.random.default_rng(3).standard_normal((3, 3, 2))

    def forward(self, x):
        self.height, self.width = x.shape[1:3]
        self.padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        return sum(self.tap(u, v) * self.weight[u, v] for u in range(3) for v in range(3))

    def tap(self, u, v):
        return self.padded[:, u : u + self.height, v : v + self.width]

    def backward(self, dy):
        dpadded, self.dweight = np.zeros_like(self.padded), np.zeros_like(self.weight)
        for u in range(3):
            for v in range(3):
                self.dweight[u, v] = (self.tap(u, v) * dy).sum(axis=(0, 1, 2))
                dpadded[:, u : u + self.height, v : v + self.width] += dy * self.weight[u, v]
        return self.spoilt(dpadded[:, 1:-1, 1:-1].copy())

    def spoilt(self, dx):
        return dx


@animal("shifted by two along axes 1 and 2", (2, 7, 6, 2))
class ShiftedByTwo(Depthwise):
    def spoilt(self, dx):
        return np.roll(dx, 2, axis=(1, 2))


@animal("zero at index 0 of axis 1 and index 0 of axis 2, right elsewhere", (2, 7, 6, 2))
class BorderForgotten(Depthwise):
    def spoilt(self, dx):
        dx[:, 0], dx[:, :, 0] = 0, 0
        return dx


@animal("zero at index 2 of axis 0 and index 2 of axis 1, right elsewhere", (2, 7, 6, 2))
class TapsForgotten(Depthwise):
    def spoilt(self, dx):
        self.dweight[2], self.dweight[:, 2] = 0, 0
        return dx


@animal(r"multiply by 9, the size of axes 0 and 1 of weight \(a window\?\)$", (2, 5, 4, 2))
class DividedByTheWindow(Depthwise):
    def __init__(self):
        super().__init__()
        self.weight = np.random.default_rng(3).standard_normal((3, 3, 2, 3))

    def forward(self, x):
        self.x = x
        return sum(
            x[:, u : u + x.shape[1] - 2, v : v + x.shape[2] - 2] @ self.weight[u, v] for u, v in np.ndindex(3, 3)
        )

    def backward(self, dy):
        dx, self.dweight = np.zeros_like(self.x), np.zeros_like(self.weight)
        for u, v in np.ndindex(3, 3):
            there = (slice(None), slice(u, u + dy.shape[1]), slice(v, v + dy.shape[2]))
            dx[there] += dy @ self.weight[u, v].T
            self.dweight[u, v] = np.einsum("nijc,nijf->cf", self.x[there], dy)
        return dx / 9


@animal("multiply by 12, the size of axes 0 and 2 of the input", (6, 4, 2, 3))
class MeanOverAxesApart:
    def __init__(self):
        self.weight = np.random.default_rng(1).standard_normal((4, 3))

    def forward(self, x):
        self.x = x
        return x * self.weight[:, None]

    def backward(self, dy):
        self.dweight = (dy * self.x).mean(axis=(0, 2))
        return dy * self.weight[:, None]


@animal("each dy is shared out to 4 entries, as in the average of a window", (2, 4, 6, 2))
class MaxPoolWithTheGradientOfAnAverage:
    def forward(self, x):
        n, height, width, channels = x.shape
        return x.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))

    def backward(self, dy):
        return dy.repeat(2, axis=1).repeat(2, axis=2) / 4


@animal("dy is summed over axis 0 first", (5, 3))
class SumOverTheBatchBroadcastBack(Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        return np.broadcast_to(dx.sum(axis=0), dx.shape).copy()


class Norm:
    """A right layer normalization, for others to break."""

    def __init__(self):
        self.gamma, self.beta = np.ones(4), np.zeros(4)

    def view(self, x):
        return x

    def statistics(self, x, axes):
        inv_std = 1 / np.sqrt(x.var(axis=axes, keepdims=True) + 1e-5)
        return inv_std, (x - x.mean(axis=axes, keepdims=True)) * inv_std

    axes = backward_axes = (1,)

    def forward(self, x):
        self.x = x
        self.inv_std, self.x_hat = self.statistics(self.view(x), self.axes)
        return self.gamma * self.x_hat.reshape(x.shape) + self.beta

    def backward(self, dy):
        others = tuple(range(dy.ndim - 1))
        self.dgamma, self.dbeta = (dy * self.x_hat.reshape(dy.shape)).sum(axis=others), dy.sum(axis=others)
        inv_std, x_hat = self.statistics(self.view(self.x), self.backward_axes)
        g = self.view(dy * self.gamma)
        return (inv_std * self.terms(g, x_hat)).reshape(dy.shape)

    def mean(self, g):
        return g.mean(axis=self.backward_axes, keepdims=True)

    def terms(self, g, x_hat):
        return g - self.mean(g) - x_hat * self.mean(g * x_hat)


@animal(r"averaged over axis 0, where axis 1 belongs\n *right   inv_std\(axis 1\)", (5, 4))
class StatisticsOverTheBatch(Norm):
    backward_axes = (0,)


class GroupNorm(Norm):
    axes = backward_axes = (1, 2, 4)

    def view(self, x):
        return x.reshape(*x.shape[:-1], 2, 2)


@animal("one of three terms is missing: .*mean.x_hat.gamma.dy, each group", (2, 3, 2, 4))
class GroupNormWithoutVariance(GroupNorm):
    def terms(self, g, x_hat):
        return g - self.mean(g)


@animal("the mean and the variance are treated as constants", (2, 3, 2, 4))
class GroupNormOfConstants(GroupNorm):
    def terms(self, g, x_hat):
        return g


class DenseSigmoid(Dense):
    def forward(self, x):
        self.x, self.z = x, x @ self.weight + self.bias
        self.y = 1 / (1 + np.exp(-self.z))
        return self.y

    def backward(self, dy):
        return super().backward(dy * self.slope())


@animal("z is used where y belongs", (5, 3))
class SlopeOfZ(DenseSigmoid):
    def slope(self):
        return self.z * (1 - self.z)


@animal(r"the derivative of the sigmoid, y \* \(1 - y\), is missing", (5, 3))
class BiasWithoutSlope(DenseSigmoid):
    def backward(self, dy):
        dx = super().backward(dy)
        self.dbias = dy.sum(axis=0)
        return dx

    def slope(self):
        return self.y * (1 - self.y)


@animal("clipped: what is larger than 1 is cut off", (5, 3))
class ClippedGradient(Dense):
    def backward(self, dy):
        return np.clip(super().backward(dy), -1, 1)


@animal("its norm is 1 for every dy", (5, 3))
class ClippedNorm(Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.dweight /= max(1, np.linalg.norm(self.dweight))
        return dx


@animal("backward changes _weight, which forward reads: only an optimizer takes steps", (5, 3))
class TakesAStepInSecret:
    constants = ("_weight",)

    def __init__(self):
        self._weight = np.random.default_rng(1).standard_normal((3, 4))

    def forward(self, x):
        self.x = x
        return x @ self._weight

    def backward(self, dy):
        self._weight = self._weight - 0.1 * self.x.T @ dy
        return dy @ self._weight.T


@animal("the right direction, with a wrong factor along axis 0", (5, 4))
class LargeEpsilonLeftOut(Norm):
    """An error of some tenths is not called an epsilon that rounding would hide."""

    def statistics(self, x, axes):
        inv_std = 1 / np.sqrt(x.var(axis=axes, keepdims=True) + 0.1)
        return inv_std, (x - x.mean(axis=axes, keepdims=True)) * inv_std

    def backward(self, dy):
        return (
            super().backward(dy) * np.sqrt(self.x.var(axis=1, keepdims=True) + 0.1) / self.x.std(axis=1, keepdims=True)
        )
