# ruff: noqa: B905, NPY002, PLW0108, RUF007   as students write them
"""Right layers as students write them, each in a style of its own; which of them the check must not doubt.

`gradients` are the expressions, in terms of self, of what backward leaves as gradients: the tests spoil one at a time,
by a factor or by taking it away, and every layer so broken must be caught.
"""

from collections import namedtuple
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from minifer.layers import Layer, Linear, Parameter

LAYERS = {}  # name: (class, shapes of the inputs or functions of a generator, expressions of the gradients)


def student(*inputs, gradients=()):
    """Register a right layer."""

    def register(kind):
        LAYERS[kind.__name__] = (kind, inputs, gradients)
        return kind

    return register


def drawn(inputs, seed=0):
    """Return inputs of the shapes, or what the functions draw."""
    rng = np.random.default_rng(seed)
    return [draw(rng) if callable(draw) else rng.standard_normal(draw) for draw in inputs]


def normal(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# Names of gradients.


@student((5, 3), gradients=("self.dw", "self.db"))
class Dense:
    def __init__(self, channels=3, filters=4, seed=1):
        self.w, self.b = normal(channels, filters, seed=seed), np.zeros(filters)

    def forward(self, x):
        self.x = x
        return x @ self.w + self.b

    def backward(self, dy):
        self.dw, self.db = self.x.T @ dy, dy.sum(axis=0)
        self.dx = dy @ self.w.T
        return self.dx


@student((5, 3), gradients=("self.grad_weight", "self.bias_grad"))
class DenseTorchNames:
    def __init__(self):
        self.weight, self.bias = normal(3, 4), normal(4, seed=2)
        self.grad_weight = self.bias_grad = None

    def forward(self, input):
        self.input = input
        return input @ self.weight + self.bias

    def backward(self, grad_output):
        self.grad_weight, self.bias_grad = self.input.T @ grad_output, grad_output.sum(axis=0)
        return grad_output @ self.weight.T


@student((5, 3), gradients=("self.dW", "self.db"))
class DenseShortNames:
    """self.weights and self.dW."""

    def __init__(self):
        self.weights, self.bias = normal(3, 4), normal(4, seed=2)

    def forward(self, x):
        self.cache = x
        return x @ self.weights + self.bias

    def backward(self, dout):
        self.dW, self.db = self.cache.T @ dout, dout.sum(axis=0)
        return dout @ self.weights.T


@student((5, 3), gradients=("self._Private__dw", "self._db"))
class Private:
    def __init__(self):
        self.__w, self._b = normal(3, 4), normal(4, seed=2)

    def forward(self, x):
        self._x = x
        return x @ self.__w + self._b

    def backward(self, dy):
        self.__dw, self._db = self._x.T @ dy, dy.sum(axis=0)
        return dy @ self.__w.T


@student((5, 3), gradients=("self.total", "self.parts[0]"))
class DenseOddNames:
    def __init__(self):
        self.matrix, self.offset = normal(3, 4), normal(4, seed=2)

    def forward(self, x):
        self.x = x
        return x @ self.matrix + self.offset

    def backward(self, dy):
        self.total, self.parts = self.x.T @ dy, [dy.sum(axis=0)]
        return dy @ self.matrix.T


# Containers.


@student((5, 3), gradients=("self.grads['W']", "self.grads['b']"))
class DictOfParameters:
    def __init__(self):
        self.params, self.grads = {"W": normal(3, 4), "b": np.zeros(4)}, {}

    def forward(self, x):
        self.x = x
        return x @ self.params["W"] + self.params["b"]

    def backward(self, dy):
        self.grads["W"], self.grads["b"] = self.x.T @ dy, dy.sum(axis=0)
        return dy @ self.params["W"].T


@student((5, 3), gradients=("self.gradients['dW1']", "self.gradients['db2']"))
class TwoLayerNet:
    def __init__(self):
        self.params = {"W1": normal(3, 6), "b1": np.zeros(6), "W2": normal(6, 2, seed=2), "b2": np.zeros(2)}
        self.gradients, self.momenta = {}, {name: np.zeros_like(array) for name, array in self.params.items()}

    def forward(self, x, training=False):
        p = self.params
        hidden = np.tanh(x @ p["W1"] + p["b1"])
        self.cache = {"x": x, "hidden": hidden}
        return hidden @ p["W2"] + p["b2"]

    def backward(self, dy):
        x, hidden = self.cache["x"], self.cache["hidden"]
        dz = dy @ self.params["W2"].T * (1 - hidden**2)
        self.gradients = {"dW2": hidden.T @ dy, "db2": dy.sum(0), "dW1": x.T @ dz, "db1": dz.sum(0)}
        return dz @ self.params["W1"].T


@student((5, 3), gradients=("self.grads[0]", "self.grads[1]"))
class ListOfParameters:
    def __init__(self):
        self.params, self.grads = [normal(3, 3), normal(3, seed=2)], [None, None]

    def forward(self, x):
        self.x = x
        return x @ self.params[0] + self.params[1]

    def backward(self, dy):
        self.grads = [self.x.T @ dy, dy.sum(axis=0)]
        return dy @ self.params[0].T


@student((5, 3), gradients=("self.dweights[0]", "self.dbiases[1]"))
class ListsByKind:
    def __init__(self):
        sizes = [3, 4, 4, 2]
        self.weights = [normal(a, b, seed=a + b) for a, b in zip(sizes, sizes[1:])]
        self.biases = [np.zeros(b) for b in sizes[1:]]

    def forward(self, x):
        self.activations = [x]
        for w, b in zip(self.weights, self.biases):
            self.activations.append(np.tanh(self.activations[-1] @ w + b))
        return self.activations[-1]

    def backward(self, dy):
        self.dweights, self.dbiases = [None] * 3, [None] * 3
        for i in reversed(range(3)):
            dz = dy * (1 - self.activations[i + 1] ** 2)
            self.dweights[i], self.dbiases[i] = self.activations[i].T @ dz, dz.sum(axis=0)
            dy = dz @ self.weights[i].T
        return dy


@student((5, 3), gradients=("self.layers[0].dw", "self.layers[1].db"))
class ListOfLayers:
    def __init__(self):
        self.layers = [Dense(3, 4), Dense(4, 2, seed=2)]

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy):
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy


@student((5, 3), gradients=("self.blocks['a'][0].dw", "self.blocks['b'].heads[1].db"))
class Nested:
    def __init__(self):
        self.blocks = {"a": (Dense(3, 4),), "b": SimpleNamespace(heads=[Dense(4, 2, seed=3), Dense(4, 2, seed=4)])}

    def forward(self, x):
        x = self.blocks["a"][0].forward(x)
        return np.concatenate([head.forward(x) for head in self.blocks["b"].heads], axis=1)

    def backward(self, dy):
        heads = self.blocks["b"].heads
        return self.blocks["a"][0].backward(heads[0].backward(dy[:, :2]) + heads[1].backward(dy[:, 2:]))


class Tensor:
    def __init__(self, data):
        self.data, self.grad = data, None


@student((5, 3), gradients=("self.weight.grad", "self.all[1].grad"))
class OwnParameters:
    def __init__(self):
        self.weight, bias = Tensor(normal(3, 4)), Tensor(np.zeros(4))
        self.all = [self.weight, bias]

    def forward(self, x):
        self.x = x
        return x @ self.weight.data + self.all[1].data

    def backward(self, dy):
        self.weight.grad, self.all[1].grad = self.x.T @ dy, dy.sum(axis=0)
        return dy @ self.weight.data.T


@student((5, 3), gradients=("self.dense.weight.grad", "self.scales[0].grad"))
class MiniferInside(Layer):
    def __init__(self):
        self.dense, self.scales = Linear(3, 4, rng=np.random.default_rng(0)), [Parameter(np.ones(4, np.float32))]

    def forward(self, x, training=False):
        self.z = self.dense.forward(x, training=training)
        return self.z * self.scales[0].value

    def backward(self, dy):
        self.scales[0].grad = (dy * self.z).sum(axis=0)
        return self.dense.backward(dy * self.scales[0].value)


Pair = namedtuple("Pair", "w b")


@student((5, 3), gradients=("self.gradients.w", "self.gradients.b"))
class NamedTuple:
    def __init__(self):
        self.params = Pair(normal(3, 4), normal(4, seed=2))

    def forward(self, x):
        self.x = x
        return x @ self.params.w + self.params.b

    def backward(self, dy):
        self.gradients = SimpleNamespace(w=self.x.T @ dy, b=dy.sum(axis=0))
        return dy @ self.params.w.T


@student((5, 3), gradients=("self.dw", "self.db"))
class Slots:
    __slots__ = ("b", "db", "dw", "w", "x")

    def __init__(self):
        self.w, self.b = normal(3, 4), normal(4, seed=2)

    forward, backward = Dense.forward, lambda self, dy: Slots.gradient(self, dy)

    def gradient(self, dy):
        self.dw, self.db = self.x.T @ dy, dy.sum(axis=0)
        return dy @ self.w.T


@student((5, 3), gradients=("self.dgain", "self.dshift"))
@dataclass(slots=True)
class SlotsOfADataclass:
    gain: np.ndarray = field(default_factory=lambda: normal(3))
    shift: float = 0.5
    eps: float = 1e-5
    x: np.ndarray = None
    dgain: np.ndarray = None
    dshift: float = None

    def forward(self, x):
        self.x = x / np.sqrt(1 + self.eps)
        return self.x * self.gain + self.shift

    def backward(self, dy):
        self.dgain, self.dshift = (dy * self.x).sum(axis=0), dy.sum()
        return dy * self.gain / np.sqrt(1 + self.eps)


@student((5, 3), gradients=("self.dweight",))
class ClassAttribute:
    weight = normal(3)

    def forward(self, x):
        self.x = x
        return x * self.weight

    def backward(self, dy):
        self.dweight = (dy * self.x).sum(axis=0)
        return dy * self.weight


@student((5, 3), gradients=("ClassAttributeByItsClass.dweight",))
class ClassAttributeByItsClass:
    weight, dweight = normal(3), None

    def forward(self, x):
        self.x = x
        return x * ClassAttributeByItsClass.weight

    def backward(self, dy):
        ClassAttributeByItsClass.dweight = (dy * self.x).sum(axis=0)
        return dy * self.weight


@student((5, 3), gradients=("self.dtheta",))
class FlatVector:
    def __init__(self):
        self.theta = normal(16)

    def forward(self, x):
        self.x = x
        return x @ self.theta[:12].reshape(3, 4) + self.theta[12:]

    def backward(self, dy):
        self.dtheta = np.concatenate([(self.x.T @ dy).ravel(), dy.sum(axis=0)])
        return dy @ self.theta[:12].reshape(3, 4).T


# Numbers, lists of numbers, integers.


@student((4, 5), gradients=("self.dslope",))
class PReLU:
    def __init__(self):
        self.slope = 0.25

    def forward(self, x):
        self.x = x
        return np.where(x > 0, x, self.slope * x)

    def backward(self, dy):
        self.dslope = np.sum(dy * self.x * (self.x <= 0))
        return np.where(self.x > 0, dy, self.slope * dy)


@student((4, 5), gradients=("self.grads['beta']", "self.grads['gain']"))
class Swish:
    def __init__(self):
        self.params, self.grads = {"beta": np.float64(1.0), "gain": 2}, {}

    def forward(self, x):
        self.x, self.gate = x, sigmoid(self.params["beta"] * x)
        return self.params["gain"] * x * self.gate

    def backward(self, dy):
        beta, gain = self.params["beta"], self.params["gain"]
        dgate = dy * gain * self.x * self.gate * (1 - self.gate)
        self.grads["beta"], self.grads["gain"] = (dgate * self.x).sum(), (dy * self.x * self.gate).sum()
        return dy * gain * self.gate + dgate * beta


@student((4, 3), gradients=("self.dweight",))
class IntegerWeights:
    def __init__(self):
        self.weight = np.array([1, 2, 3])

    def forward(self, x):
        self.x = x
        return x * self.weight

    def backward(self, dy):
        self.dweight = (dy * self.x).sum(axis=0)
        return dy * self.weight


@student((4, 3), gradients=("self.dw", "self.db"))
class PurePython:
    """Lists of numbers, loops, and a dx of nested lists."""

    def __init__(self):
        self.w, self.b = [[0.5, -1.0], [2.0, 0.25], [1.5, 1.0]], [0.0, 0.0]

    def forward(self, x):
        self.x = x.tolist()
        return [[sum(row[i] * self.w[i][j] for i in range(3)) + self.b[j] for j in range(2)] for row in self.x]

    def backward(self, dy):
        dy = dy.tolist()
        self.dw = [[sum(row[i] * grad[j] for row, grad in zip(self.x, dy)) for j in range(2)] for i in range(3)]
        self.db = [sum(grad[j] for grad in dy) for j in range(2)]
        return [[sum(grad[j] * self.w[i][j] for j in range(2)) for i in range(3)] for grad in dy]


@student((4, 5))
class LeakyReLU:
    def __init__(self, slope=0.1):
        self.slope = slope

    def forward(self, x):
        self.x = x
        return np.where(x > 0, x, self.slope * x)

    def backward(self, dy):
        return dy * np.where(self.x > 0, 1, self.slope)


@student((4, 5))
class Gelu:
    c, cubic = np.sqrt(2 / np.pi), 0.044715

    def forward(self, x):
        self.x, self.t = x, np.tanh(self.c * (x + self.cubic * x**3))
        return 0.5 * x * (1 + self.t)

    def backward(self, dy):
        dt = (1 - self.t**2) * self.c * (1 + 3 * self.cubic * self.x**2)
        return dy * 0.5 * (1 + self.t + self.x * dt)


@student((4, 5))
class HardTanh:
    def __init__(self):
        self.limits = (-1.0, 1.0)

    def forward(self, x):
        self.inside = (x > self.limits[0]) & (x < self.limits[1])
        return np.clip(x, *self.limits)

    def backward(self, dy):
        return dy * self.inside


@student((4, 6))
class Dropout:
    def __init__(self, rate=0.4, rng=None):
        self.rate, self.rng = rate, rng or np.random.default_rng(3)

    def forward(self, x, training=True):
        self.mask = (self.rng.random(x.shape) >= self.rate) / (1 - self.rate)
        return x * self.mask

    def backward(self, dy):
        return dy * self.mask


@student((3, 4))
class EulerStep:
    """Constants called t and dt: the one is no gradient of the other."""

    def __init__(self):
        self.t, self.dt = 0.5, 0.1

    def forward(self, x):
        self.x = x
        return x + self.dt * np.sin(x + self.t)

    def backward(self, dy):
        return dy * (1 + self.dt * np.cos(self.x + self.t))


# Normalization, masks, tables, state.


class Norm:
    axis, shape = 0, (3,)

    def __init__(self, eps=1e-5):
        self.eps = eps
        self.gamma, self.beta = np.ones(self.shape), np.zeros(self.shape)

    def normalized(self, x):
        self.inv_std = 1 / np.sqrt(x.var(axis=self.axis, keepdims=True) + self.eps)
        self.x_hat = (x - x.mean(axis=self.axis, keepdims=True)) * self.inv_std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.x_hat).sum(axis=0), dy.sum(axis=0)
        g = dy * self.gamma
        means = [part.mean(axis=self.axis, keepdims=True) for part in (g, g * self.x_hat)]
        return (g - means[0] - self.x_hat * means[1]) * self.inv_std


@student((6, 3), gradients=("self.dgamma", "self.dbeta"))
class BatchNorm(Norm):
    def __init__(self, momentum=0.9):
        super().__init__()
        self.momentum, self.running_mean, self.running_var = momentum, np.zeros(3), np.ones(3)

    def forward(self, x, train=False):
        if not train:
            return (x - self.running_mean) / np.sqrt(self.running_var + self.eps) * self.gamma + self.beta
        self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * x.mean(axis=0)
        self.running_var = self.momentum * self.running_var + (1 - self.momentum) * x.var(axis=0)
        return self.normalized(x)


@student((6, 3), gradients=("self.dgamma", "self.dbeta"))
class BatchNormOfRunningStatistics:
    """As it is used after training."""

    def __init__(self):
        self.gamma, self.beta, self.eps = np.ones(3), np.zeros(3), 1e-3
        self.running_mean, self.running_var = normal(3), np.full(3, 2.0)

    def forward(self, x):
        self.x_hat = (x - self.running_mean) / np.sqrt(self.running_var + self.eps)
        return self.gamma * self.x_hat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.x_hat).sum(axis=0), dy.sum(axis=0)
        return dy * self.gamma / np.sqrt(self.running_var + self.eps)


@student((4, 5), gradients=("self.dgamma", "self.dbeta"))
class LayerNorm(Norm):
    axis, shape = -1, (5,)

    def forward(self, x):
        return self.normalized(x)


@student((3, 6), gradients=("self.dgamma",))
class GroupRmsNorm:
    def __init__(self, groups=2, channels=6):
        self.groups, self.channels, self.settings = groups, channels, {"eps": 1e-6}
        self.gamma = np.ones(channels)

    def forward(self, x):
        self.x = x.reshape(len(x), self.groups, self.channels // self.groups)
        self.rms = np.sqrt((self.x**2).mean(axis=-1, keepdims=True) + self.settings["eps"])
        return (self.x / self.rms).reshape(x.shape) * self.gamma

    def backward(self, dy):
        self.dgamma = (dy * (self.x / self.rms).reshape(dy.shape)).sum(axis=0)
        g, y = (dy * self.gamma).reshape(self.x.shape), self.x / self.rms
        return ((g - y * (g * y).mean(axis=-1, keepdims=True)) / self.rms).reshape(dy.shape)


@student((2, 4, 3), gradients=("self.grads['query']", "self.grads['value']"))
class CausalAttention:
    """With an additive mask, a scale that is a number, and a key bias on which y does not depend."""

    def __init__(self):
        self.params = {name: normal(3, 3, seed=i) for i, name in enumerate(("query", "key", "value"))}
        self.bk, self.scale = np.zeros(3), 1 / np.sqrt(3)
        self.causal = np.triu(np.full((4, 4), -1e9), 1)

    def forward(self, x):
        q, k, v = (x @ self.params[name] for name in ("query", "key", "value"))
        scores = q @ (k + self.bk).swapaxes(1, 2) * self.scale + self.causal
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        self.kept = x, q, k + self.bk, v, powers / powers.sum(axis=-1, keepdims=True)
        return self.kept[-1] @ v

    def backward(self, dy):
        x, q, k, v, p = self.kept
        dp = dy @ v.swapaxes(1, 2)
        ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True)) * self.scale
        d = {"query": ds @ k, "key": ds.swapaxes(1, 2) @ q, "value": p.swapaxes(1, 2) @ dy}
        self.grads = {name: np.einsum("ntc,ntd->cd", x, part) for name, part in d.items()}
        self.dbk = d["key"].sum(axis=(0, 1))
        return sum(part @ self.params[name].T for name, part in d.items())


@student((4, 5), gradients=("self.dw",))
class MaskedDense:
    def __init__(self):
        self.w, self.mask = normal(5, 5), np.tril(np.ones((5, 5)))

    def forward(self, x):
        self.x = x
        return x @ (self.w * self.mask)

    def backward(self, dy):
        self.dw = self.x.T @ dy * self.mask
        return dy @ (self.w * self.mask).T


@student((2, 4, 3), gradients=("self.dscale",))
class PositionalTable:
    constants = ("table",)

    def __init__(self):
        self.table, self.scale = np.sin(np.arange(12.0)).reshape(4, 3), np.ones(3)

    def forward(self, x):
        self.z = x + self.table
        return self.z * self.scale

    def backward(self, dy):
        self.dscale = (dy * self.z).sum(axis=(0, 1))
        return dy * self.scale


@student((2, 6))
class Blur:
    KERNEL = np.array([0.25, 0.5, 0.25])

    def forward(self, x):
        return sum(x[:, u : u + 4] * self.KERNEL[u] for u in range(3))

    def backward(self, dy):
        dx = np.zeros((len(dy), 6))
        for u in range(3):
            dx[:, u : u + 4] += dy * self.KERNEL[u]
        return dx


@student((3, 4))
class Shuffle:
    """Integers that are indices, and a buffer that is written again each time."""

    def __init__(self):
        self.order, self.buffer = np.array([2, 0, 3, 1]), np.zeros((3, 4))

    def forward(self, x):
        self.buffer[...] = x[:, self.order]
        return self.buffer.copy()

    def backward(self, dy):
        return dy[:, np.argsort(self.order)]


@student((2, 6, 6, 2), gradients=("self.dkernel", "self.db"))
class Conv:
    def __init__(self, stride=2, pad=1, k=3):
        self.stride, self.pad, self.k = stride, pad, k
        self.kernel, self.b = normal(k, k, 2, 3), np.zeros(3)

    def places(self):
        for u in range(self.k):
            for v in range(self.k):
                yield (slice(None), slice(u, u + 6, self.stride), slice(v, v + 6, self.stride)), (u, v)

    def forward(self, x):
        self.padded = np.pad(x, ((0, 0), (self.pad,) * 2, (self.pad,) * 2, (0, 0)))
        return sum(self.padded[place] @ self.kernel[tap] for place, tap in self.places()) + self.b

    def backward(self, dy):
        self.dkernel, self.db, dpadded = np.zeros_like(self.kernel), dy.sum(axis=(0, 1, 2)), np.zeros_like(self.padded)
        for place, tap in self.places():
            self.dkernel[tap] = np.einsum("nijc,nijf->cf", self.padded[place], dy)
            dpadded[place] += dy @ self.kernel[tap].T
        return dpadded[:, self.pad : -self.pad, self.pad : -self.pad]


# Several outputs, caches, gradients that are returned.


@student((5, 3))
class Cached:
    def __init__(self):
        self.w = normal(3, 4)

    def forward(self, x):
        return x @ self.w, (x, "some note")

    def backward(self, dy, cache):
        x, _ = cache
        return dy @ self.w.T, {"w": x.T @ dy}


@student((5, 3), (3, 4), (4,))
class Functional:
    def forward(self, x, w, b):
        self.cache = x, w
        return x @ w + b

    def backward(self, dout):
        x, w = self.cache
        return dout @ w.T, x.T @ dout, dout.sum(axis=0)


@student((5, 3))
class ReturnsAllGradients:
    def __init__(self):
        self.weight, self.bias = normal(3, 4), normal(4, seed=2)

    def forward(self, x):
        self.x = x
        return x @ self.weight + self.bias

    def backward(self, dy):
        return dy @ self.weight.T, self.x.T @ dy, dy.sum(axis=0)


@student((5, 3), gradients=("self.dw",))
class ArrayAsCache:
    """The second result is an array of y's shape, and backward takes one gradient."""

    def __init__(self):
        self.w = normal(3)

    def forward(self, x):
        self.x = x
        return x * self.w, x**2

    def backward(self, dy):
        self.dw = (dy * self.x).sum(axis=0)
        return dy * self.w


class Cell:
    """An LSTM's cell: forward(x, h, c) gives (h, c)."""

    def __init__(self):
        self.w, self.b = normal(5, 8) / 2, np.zeros(8)

    def forward(self, x, h, c):
        joined = np.concatenate([x, h], axis=1)
        z = joined @ self.w + self.b
        i, f, o = (sigmoid(z[:, k : k + 2]) for k in (0, 2, 4))
        g = np.tanh(z[:, 6:])
        c_next = f * c + i * g
        self.kept = joined, c, i, f, o, g, c_next
        return o * np.tanh(c_next), c_next

    def gradients(self, dh, dc):
        joined, c, i, f, o, g, c_next = self.kept
        t = np.tanh(c_next)
        dc = dc + dh * o * (1 - t**2)
        dz = np.concatenate(
            [dc * g * i * (1 - i), dc * c * f * (1 - f), dh * t * o * (1 - o), dc * i * (1 - g**2)], axis=1
        )
        self.dw, self.db, djoined = joined.T @ dz, dz.sum(axis=0), dz @ self.w.T
        return djoined[:, :3], djoined[:, 3:], dc * f


@student((4, 3), (4, 2), (4, 2), gradients=("self.dw", "self.db"))
class LstmCell(Cell):
    def backward(self, dh, dc):
        return self.gradients(dh, dc)


@student((4, 3), (4, 2), (4, 2), gradients=("self.dw",))
class LstmCellOfATuple(Cell):
    def backward(self, douts):
        dh, dc = douts
        return self.gradients(dh, dc)


@student((4, 3), (4, 2), (4, 2), gradients=("self.dw",))
class LstmCellOfDicts(Cell):
    def forward(self, x, h, c):
        return dict(zip("hc", super().forward(x, h, c)))

    def backward(self, grads):
        return dict(zip("xhc", self.gradients(grads["h"], grads["c"])))


@student((4, 5), gradients=("self.dw",))
class Moments:
    """Outputs of different shapes."""

    def __init__(self):
        self.w = normal(5)

    def forward(self, x):
        self.x = x
        return x * self.w, x.mean(axis=1)

    def backward(self, dy, dmean):
        self.dw = (dy * self.x).sum(axis=0)
        return dy * self.w + dmean[:, None] / 5


@student((4, 3, 2), gradients=("self.dWx", "self.dWh", "self.db"))
class Rnn:
    """Over time, with self.h and self.dh of the last step."""

    def __init__(self):
        self.Wx, self.Wh, self.b, self.h, self.dh = normal(2, 3), normal(3, 3, seed=2), np.zeros(3), None, None

    def forward(self, x):
        self.x, self.hs, self.h = x, [np.zeros((len(x), 3))], np.zeros((len(x), 3))
        for t in range(x.shape[1]):
            self.h = np.tanh(x[:, t] @ self.Wx + self.h @ self.Wh + self.b)
            self.hs.append(self.h)
        return np.stack(self.hs[1:], axis=1)

    def backward(self, dy):
        self.dWx, self.dWh, self.db = np.zeros_like(self.Wx), np.zeros_like(self.Wh), np.zeros(3)
        dx, self.dh = np.zeros_like(self.x), np.zeros((len(self.x), 3))
        for t in reversed(range(self.x.shape[1])):
            dz = (dy[:, t] + self.dh) * (1 - self.hs[t + 1] ** 2)
            self.dWx += self.x[:, t].T @ dz
            self.dWh += self.hs[t].T @ dz
            self.db += dz.sum(axis=0)
            dx[:, t], self.dh = dz @ self.Wx.T, dz @ self.Wh.T
        return dx


@student((4, 3), gradients=("self.dw",))
class StatefulRnn:
    """Keeps its state from call to call; gradients stop at the call."""

    def __init__(self):
        self.w, self.h = normal(3), np.full((4, 3), 0.3)

    def forward(self, x):
        self.before = self.h
        self.h = np.tanh(x + self.h * self.w)
        return self.h.copy()

    def backward(self, dy):
        dz = dy * (1 - self.h**2)
        self.dw = (dz * self.before).sum(axis=0)
        return dz


# Tied, late and cleared weights, inputs of integers, losses.


@student((5, 3), gradients=("self.dw",))
class TiedAutoencoder:
    def __init__(self):
        self.w = normal(3, 2)
        self.params = [self.w]

    def forward(self, x):
        self.x, self.code = x, x @ self.w
        return self.code @ self.w.T

    def backward(self, dy):
        dcode = dy @ self.w
        self.dw = self.x.T @ dcode + dy.T @ self.code
        return dcode @ self.w.T


@student((5, 3), gradients=("self.one.dw", "self.other.dw"))
class TiedLayers:
    """Two layers with one array; each has its part of the gradient."""

    def __init__(self):
        self.one, self.other = Dense(3, 3), Dense(3, 3)
        self.other.w = self.one.w

    def forward(self, x):
        return self.other.forward(np.tanh(self.one.forward(x)))

    def backward(self, dy):
        return self.one.backward(self.other.backward(dy) * (1 - np.tanh(self.one.x @ self.one.w + self.one.b) ** 2))


@student((5, 3), gradients=("self.dw", "self.db"))
class LateWeights:
    def __init__(self, filters=4):
        self.filters, self.w = filters, None

    def forward(self, x):
        if self.w is None:
            self.w, self.b = np.random.randn(x.shape[1], self.filters), np.zeros(self.filters)
        self.x = x
        return x @ self.w + self.b

    def backward(self, dy):
        self.dw, self.db = self.x.T @ dy, dy.sum(axis=0)
        return dy @ self.w.T


@student((5, 3), gradients=("self.inner.dw", "self.grads['gain']"))
class LateParts:
    def __init__(self):
        self.params, self.grads, self.inner = {}, {}, None

    def forward(self, x):
        self.params.setdefault("gain", np.ones(3, np.float32))
        self.inner = self.inner or Dense(x.shape[1], 2)
        self.x = x
        return self.inner.forward(x * self.params["gain"])

    def backward(self, dy):
        dz = self.inner.backward(dy)
        self.grads["gain"] = (dz * self.x).sum(axis=0)
        return dz * self.params["gain"]


@student((5, 3), gradients=("self.dw",))
class Accumulates:
    """Adds to its gradient, which zero_grad clears."""

    def __init__(self):
        self.w = normal(3)
        self.zero_grad()

    def zero_grad(self):
        self.dw = np.zeros(3)

    def forward(self, x):
        self.x = x
        return x * self.w

    def backward(self, dy):
        self.dw += (dy * self.x).sum(axis=0)
        return dy * self.w


@student(lambda rng: np.array([[1, 4, 1], [0, 2, 3]]), gradients=("self.dtable",))
class Embedding:
    def __init__(self):
        self.table = normal(5, 3)

    def forward(self, ids):
        self.ids = ids
        return self.table[ids]

    def backward(self, dy):
        self.dtable = np.zeros_like(self.table)
        np.add.at(self.dtable, self.ids, dy)


@student((4, 3), lambda rng: np.array([0, 2, 2, 1]))
class CrossEntropy:
    def forward(self, logits, labels):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        self.probs, self.labels = powers / powers.sum(axis=1, keepdims=True), labels
        return -np.log(self.probs[np.arange(len(labels)), labels]).mean()

    def backward(self):
        return (self.probs - np.eye(3)[self.labels]) / len(self.labels), None


@student((4, 3), (4, 3))
class SquaredError:
    def forward(self, y, target):
        self.difference = y - target
        return (self.difference**2).mean(), self.difference

    def backward(self, dloss=1.0):
        dy = 2 * self.difference / self.difference.size * dloss
        return dy, -dy


@student((4, 3), gradients=("self.dw", "self.db"))
class ReluShut:
    """No input opens it at first: other draws do."""

    def __init__(self):
        self.w, self.b = normal(3, 3), np.full(3, -50.0)

    def forward(self, x):
        self.x, self.z = x, x @ self.w + self.b
        return np.maximum(self.z, 0)

    def backward(self, dy):
        dz = dy * (self.z > 0)
        self.dw, self.db = self.x.T @ dz, dz.sum(axis=0)
        return dz @ self.w.T


@student((5, 4), gradients=("self.dg", "self.dv"))
class WeightNorm:
    def __init__(self):
        self.g, self.v = np.ones(3), normal(4, 3)

    def forward(self, x):
        self.x, self.norm = x, np.linalg.norm(self.v, axis=0)
        return x @ (self.g * self.v / self.norm)

    def backward(self, dy):
        unit, dw = self.v / self.norm, self.x.T @ dy
        self.dg = (dw * unit).sum(axis=0)
        self.dv = self.g / self.norm * (dw - unit * self.dg)
        return dy @ (self.g * unit).T


@student((3, 4))
class Faint:
    """A derivative of 1e-8 on an output near 1."""

    def forward(self, x):
        return 1 + 1e-8 * x

    def backward(self, dy):
        return 1e-8 * dy


@student((2, 4, 4))
class MaxPool:
    def __init__(self, size=2):
        self.size = size

    def forward(self, x):
        n, h, w = x.shape
        blocks = x.reshape(n, h // self.size, self.size, w // self.size, self.size)
        y = blocks.max(axis=(2, 4), keepdims=True)
        self.shape, self.winner = x.shape, blocks == y
        return y[:, :, 0, :, 0]

    def backward(self, dy):
        return (self.winner * dy[:, :, None, :, None]).reshape(self.shape)


@student((5, 3), gradients=("self.dw",))
class StackOfCaches:
    def __init__(self):
        self.w, self.stack = normal(3), []

    def forward(self, x):
        self.stack.append(x)
        return x * self.w

    def backward(self, dy):
        self.dw = (dy * self.stack.pop()).sum(axis=0)
        return dy * self.w
