"""A second zoo: layers as students write them, in plain NumPy, each with one mistake.

`mistake` is what the check has to say about it. The layers know as little of minifer's protocol as they can: arrays
self.weight with a gradient self.dweight, and sometimes no keyword `training`.
"""

import numpy as np

ZOO = []


def animal_of(zoo):
    """Return the decorator that registers a broken layer in a zoo."""

    def animal(mistake, *shapes, make=None, inputs=None):
        """Register a broken layer: what must be said of it, and the shapes of its inputs."""

        def register(kind):
            kind.mistake = mistake
            draw = inputs or (lambda rng: tuple(rng.standard_normal(shape) for shape in shapes))
            zoo.append((kind.__name__, make or (lambda rng: kind()), draw, kind))
            return kind

        return register

    return animal


def zoo_of(animals):
    """Return the function of a generator that returns {name: (layer, inputs, mistake)}."""

    def zoo(rng):
        return {name: (make(rng) if make else kind(), draw(rng), kind.mistake) for name, make, draw, kind in animals}

    return zoo


animal, zoo = animal_of(ZOO), zoo_of(ZOO)


class Dense:
    """A right dense layer, for others to break."""

    def __init__(self, channels=3, filters=3):
        rng = np.random.default_rng(1)
        self.weight, self.bias = rng.standard_normal((channels, filters)), np.zeros(filters)

    def forward(self, x, training=False):
        self.x = x
        return x @ self.weight + self.bias

    def backward(self, dy):
        self.dweight, self.dbias = self.x.T @ dy, dy.sum(axis=0)
        return dy @ self.weight.T


@animal("nan or inf", (4, 3))
class Normalized:
    def forward(self, x):
        self.x = x
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def backward(self, dy):
        return dy / (self.x - self.x)


@animal("transposed", (5, 3))
class WeightGradientTransposed(Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.dweight = dy.T @ self.x
        return dx


@animal(r"shape \(4, 3\), not \(3, 4\); likely: transposed", (5, 3), make=lambda rng: WeightGradientOfOtherShape(3, 4))
class WeightGradientOfOtherShape(Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.dweight = dy.T @ self.x
        return dx


@animal("not summed: take the sum over axis 0, the batch", (5, 3))
class BiasNotSummed(Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.dbias = dy
        return dx


@animal(r"shape \(4, 3\), not \(3,\); likely: not summed enough: take the sum over axis 0 of this too", (2, 5, 4, 3))
class ScaleSummedOverTwoAxesOfThree:
    def __init__(self):
        self.weight = np.linspace(0.5, 1.5, 3)

    def forward(self, x):
        self.x = x
        return x * self.weight

    def backward(self, dy):
        self.dweight = (dy * self.x).sum(axis=(0, 1))
        return dy * self.weight


@animal("likely: summed over axis 1, where axis 0 belongs", (5, 3))
class BiasOfTheBatchsLength(Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.dbias = dy.sum(axis=1)
        return dx


@animal("weight is right in a first pass but wrong in a second: it is added", (5, 3))
class AddsToItsGradient(Dense):
    def __init__(self):
        super().__init__()
        self.dweight = np.zeros_like(self.weight)

    def backward(self, dy):
        self.dweight += self.x.T @ dy
        self.dbias = dy.sum(axis=0)
        return dy @ self.weight.T


@animal("dx is right in a first pass but wrong in a second: .*stale", (5, 3))
class RemembersTheFirstInput:
    saved = None

    def forward(self, x):
        self.saved = x if self.saved is None else self.saved
        return x**2

    def backward(self, dy):
        return 2 * self.saved * dy


@animal("changed the value of weight", (5, 3))
class TakesAStep(Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.weight -= 0.01 * self.dweight
        return dx


@animal("only the last index of axis 0 of dy .* counts", (5, 3))
class OverwrittenInALoop(Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        for row, drow in zip(self.x, dy, strict=True):
            self.dweight = np.outer(row, drow)
        return dx


@animal("the last index of axis 0 of dy .* is left out", (5, 3))
class LoopEndsOneEarly(Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.dweight = sum(np.outer(self.x[n], dy[n]) for n in range(len(dy) - 1))
        return dx


@animal("this is what belongs to shift: the two are swapped", (6, 3))
class ScaleShiftSwapped:
    def __init__(self):
        self.scale, self.shift = np.array([0.5, 2.0, 1.5]), np.zeros(3)

    def forward(self, x):
        self.x = x
        return x * self.scale + self.shift

    def backward(self, dy):
        self.dscale, self.dshift = dy.sum(axis=0), (dy * self.x).sum(axis=0)
        return dy * self.scale


@animal("the factor scale is missing", (6, 3))
class ScaleMissing(ScaleShiftSwapped):
    def backward(self, dy):
        self.dscale, self.dshift = (dy * self.x).sum(axis=0), dy.sum(axis=0)
        return dy * 1


class Depthwise:
    """A right depthwise convolution, for others to break."""

    def __init__(self):
        self.weight = np.random.default_rng(2).standard_normal((3, 3, 2))

    def forward(self, x):
        self.x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        _, height, width, _ = x.shape
        return sum(self.x[:, u : u + height, v : v + width] * self.weight[u, v] for u in range(3) for v in range(3))

    def backward(self, dy, crop=1):
        _, height, width, _ = dy.shape
        self.dweight, dx = np.zeros_like(self.weight), np.zeros_like(self.x)
        for u in range(3):
            for v in range(3):
                self.dweight[u, v] = (self.x[:, u : u + height, v : v + width] * dy).sum(axis=(0, 1, 2))
                dx[:, u : u + height, v : v + width] += dy * self.weight[u, v]
        return dx[:, crop : crop + height, crop : crop + width]


@animal("shifted by one along axes 1 and 2", (2, 5, 4, 2))
class CroppedAtTheWrongPlace(Depthwise):
    def backward(self, dy):
        return super().backward(dy, crop=0)


@animal("gradient is flipped along axes 0 and 1 .*rotated by 180 degrees", (2, 5, 4, 2))
class KernelGradientRotated(Depthwise):
    def backward(self, dy):
        dx = super().backward(dy)
        self.dweight = self.dweight[::-1, ::-1]
        return dx


@animal("weight is flipped along axes 0 and 1 .*rotated by 180 degrees", (2, 5, 4, 2))
class CorrelatesInBackward(Depthwise):
    def backward(self, dy):
        super().backward(dy)
        return self.forward(dy)


@animal("right inside, wrong at the border along axes 1 and 2", (2, 5, 4, 2))
class BorderLeftOut(Depthwise):
    def backward(self, dy):
        dx = super().backward(dy)
        right = dx.copy()
        dx[:] = 0
        dx[:, 1:-1, 1:-1] = right[:, 1:-1, 1:-1] * 1
        dx[:, 0] = dx[:, -1] = 0.7
        dx[:, :, 0] = dx[:, :, -1] = -0.4
        return dx


@animal(r"= instead of \+=", (2, 6, 5, 2))
class WindowsOverwriteEachOther(Depthwise):
    def backward(self, dy):
        super().backward(dy)
        _, height, width, _ = dy.shape
        dx = np.zeros_like(self.x)
        for u in range(3):
            for v in range(3):
                dx[:, u : u + height, v : v + width] = dy * self.weight[u, v]
        return dx[:, 1:-1, 1:-1]


@animal("reshape is confused with transpose", (2, 3, 4))
class ReshapesWhereItTransposed:
    def forward(self, x):
        self.x = x
        return x.transpose(0, 2, 1) ** 3

    def backward(self, dy):
        return (3 * self.x.transpose(0, 2, 1) ** 2 * dy).reshape(self.x.shape)


@animal("another place of dy", (3, 2), (3, 4))
class Concatenate:
    def forward(self, a, b):
        return np.concatenate([a, b], axis=1)

    def backward(self, dy):
        return dy[:, 4:], dy[:, :4]


@animal("wrong at indices 3, 4, 5 .* of axis 1", (4, 6))
class GatedLinearUnit:
    def forward(self, x):
        self.value, self.gate = x[:, :3], 1 / (1 + np.exp(-x[:, 3:]))
        return self.value * self.gate

    def backward(self, dy):
        return np.concatenate([dy * self.gate, dy * self.value], axis=1)


@animal("right numbers in the wrong places", (4, 5))
class SortedBackwards:
    def forward(self, x):
        self.y = np.exp(x)[:, [3, 0, 4, 1, 2]]
        return self.y

    def backward(self, dy):
        return (self.y * dy)[:, [2, 0, 1, 4, 3]]


@animal("kink", (), inputs=lambda rng: (np.array([[0.0, 1.0, -2.0]]),))
class AtTheKink:
    def forward(self, x):
        self.x = x
        return np.maximum(x, 0)

    def backward(self, dy):
        return dy * (self.x > 0)


@animal("does not change y", (4, 5))
class Rounds:
    def forward(self, x):
        return np.round(x) + 0 * x

    def backward(self, dy):
        return dy.copy()


@animal("is added to every entry", (4, 5))
class AddsEpsilon:
    def forward(self, x):
        self.x = x
        return x**2

    def backward(self, dy):
        return 2 * self.x * dy + 0.1


class Tanh:
    def forward(self, x):
        self.x, self.y = x, np.tanh(x)
        return self.y

    def backward(self, dy):
        return self.derivative() * dy


@animal(r"\(1 - x\^2\) stands where \(1 - y\^2\) belongs", (4, 5))
class TanhOfX(Tanh):
    def derivative(self):
        return 1 - self.x**2


@animal(r"the derivative of tanh, 1 - y\^2, is missing", (4, 5))
class TanhWithoutDerivative(Tanh):
    def derivative(self):
        return np.ones_like(self.x)


@animal("dy is not used", (4, 5))
class TanhWithoutDy(Tanh):
    def backward(self, dy):
        return 1 - self.y**2


@animal("dy is averaged over axes 0 and 1", (4, 5))
class TanhOfMeanDy(Tanh):
    def backward(self, dy):
        return (1 - self.y**2) * dy.mean()


@animal("dy is squared, or used twice", (4, 5))
class TanhOfSquaredDy(Tanh):
    def backward(self, dy):
        return (1 - self.y**2) * dy**2


@animal("elementwise, and at .* its derivative is", (4, 5))
class Sine:
    def forward(self, x):
        self.x = x
        return np.sin(2 * x)

    def backward(self, dy):
        return dy * np.cos(self.x)


@animal("two of three terms are missing", (4, 5))
class SiluWithOneTerm:
    def forward(self, x):
        self.gate = 1 / (1 + np.exp(-x))
        return x * self.gate

    def backward(self, dy):
        return dy * self.gate


@animal(r"y\^2 stands where x\^2 belongs", (4, 5))
class Cube:
    def forward(self, x):
        self.y = x**3
        return self.y

    def backward(self, dy):
        return dy * 3 * self.y**2


@animal("a matrix is used where its transpose belongs", (4, 5))
class FixedMatrix:
    constants = ("matrix",)
    matrix = np.random.default_rng(3).standard_normal((5, 5))

    def forward(self, x):
        return x @ self.matrix

    def backward(self, dy):
        return dy @ self.matrix


@animal(r"exp\(x\) stands where y belongs", (4, 5))
class FixedScales:
    constants = ("scales",)
    scales = np.array([0.5, 2, 1.5, 3, 0.1])

    def forward(self, x):
        self.x = x
        return np.exp(x) * self.scales

    def backward(self, dy):
        return dy * np.exp(self.x)


@animal("mask is missing", (6, 5))
class ReluWithoutMask:
    def forward(self, x):
        self.x = x
        return 2 * np.maximum(x, 0)

    def backward(self, dy):
        return 2 * dy


@animal("mask is incomplete: .* such as at", (), inputs=lambda rng: (rng.uniform(-3, 9, (5, 6)),))
class Relu6WithoutUpperMask:
    def forward(self, x):
        self.x = x
        return np.clip(x, 0, 6)

    def backward(self, dy):
        return dy * (self.x > 0)


class DenseRelu(Dense):
    def forward(self, x):
        self.z = super().forward(x)
        return np.maximum(self.z, 0)


@animal("mask of the outputs is missing", (6, 3))
class DenseReluWithoutMask(DenseRelu):
    """Broken because it inherits the backward pass of a layer without a ReLU."""


@animal("2 times too small.*as in the derivative of a square", (5, 3))
class SquareWithoutTwo:
    def forward(self, x):
        self.x = x
        return x**2

    def backward(self, dy):
        return self.x * dy


@animal("1.25 times too large, a constant factor: a mean over 4 where 5 belong", (4, 5))
class MeanOverTheBatchInstead:
    def forward(self, x):
        self.x = x
        return (x**2).mean(axis=1)

    def backward(self, dy):
        return 2 * self.x * dy[:, None] / len(self.x)


class BatchNormRelu:
    def __init__(self):
        self.gamma, self.beta = np.ones(3), np.zeros(3)

    def forward(self, x):
        self.inv_std = 1 / np.sqrt(x.var(axis=0) + 1e-3)
        self.x_hat = (x - x.mean(axis=0)) * self.inv_std
        self.z = self.gamma * self.x_hat + self.beta
        return np.maximum(self.z, 0)

    def dx(self, dz):
        self.dgamma, self.dbeta = (dz * self.x_hat).sum(axis=0), dz.sum(axis=0)
        mean = (self.dbeta + self.x_hat * self.dgamma) / len(dz)
        return self.gamma * self.inv_std * (dz - mean)


@animal("mask of the outputs is missing", (9, 3))
class BatchNormReluWithoutMask(BatchNormRelu):
    def backward(self, dy):
        return self.dx(dy)


@animal("the mean and the variance are treated as constants", (9, 3))
class BatchNormReluOfConstants(BatchNormRelu):
    def backward(self, dy):
        dz = dy * (self.z > 0)
        self.dx(dz)
        return self.gamma * self.inv_std * dz


class DenseTanh(Dense):
    def forward(self, x):
        self.y = np.tanh(super().forward(x))
        return self.y


@animal("the derivative of tanh, 1 - y\\^2, is missing", (6, 3))
class DenseTanhWithoutDerivative(DenseTanh):
    """Broken because it inherits the backward pass of a layer without a tanh."""


@animal("1 - y stands where the derivative of tanh", (6, 3))
class DenseTanhOfOneMinusY(DenseTanh):
    def backward(self, dy):
        return super().backward(dy * (1 - self.y))


@animal("dy is clipped to -0.5 to 0.5", (4, 5))
class ClipsTheUpstreamGradient:
    def forward(self, x):
        self.x = x
        return x**2

    def backward(self, dy):
        return 2 * self.x * np.clip(dy, -0.5, 0.5)


@animal("reshape is confused with transpose", (2, 3, 4))
class HeadsMerged:
    def forward(self, x):
        self.x = x
        return np.exp(x).reshape(2, 3, 2, 2).transpose(0, 2, 1, 3)

    def backward(self, dy):
        return np.exp(self.x) * dy.reshape(2, 3, 4)


@animal(r"factor of one of two terms is wrong\n.*0\.1\*\(x <= 0\)\*dy\n.*0\.5\*\(x <= 0\)\*dy", (6, 5))
class LeakySlopeForgotten:
    def forward(self, x):
        self.x = x
        return np.where(x > 0, x, 0.1 * x)

    def backward(self, dy):
        return np.where(self.x > 0, dy, 0.5 * dy)


@animal("the mask is that of dy > 0", (6, 5))
class ReluMaskOfDy:
    def forward(self, x):
        return np.maximum(x, 0)

    def backward(self, dy):
        return dy * (dy > 0)


@animal("nearly right", (6, 5))
class EpsilonForgotten:
    def forward(self, x):
        self.x = x
        return np.log(x**2 + 0.01)

    def backward(self, dy):
        return dy * 2 * self.x / (self.x**2 + 0.0101)


class LayerNorm:
    """A right layer norm, for others to break."""

    axis = -1

    def __init__(self):
        self.gamma, self.beta = np.ones(5), np.zeros(5)

    def forward(self, x, training=False):
        self.inv_std = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        self.x, self.x_hat = x, (x - x.mean(axis=-1, keepdims=True)) * self.inv_std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.x_hat).sum(axis=(0, 1)), dy.sum(axis=(0, 1))
        dz, axis = dy * self.gamma, self.axis
        return self.inv_std * (
            dz - dz.mean(axis, keepdims=True) - self.x_hat * (dz * self.x_hat).mean(axis, keepdims=True)
        )


@animal("averaged over axis 1, where axis 2 belongs", (2, 3, 5))
class LayerNormOverTokens(LayerNorm):
    axis = 1


@animal("x stands where x_hat belongs", (2, 3, 5))
class GammaOfX(LayerNorm):
    def backward(self, dy):
        dx = super().backward(dy)
        self.dgamma = (dy * self.x).sum(axis=(0, 1))
        return dx


@animal("the factor gamma does not belong there", (2, 3, 5))
class GammaTimesGamma(LayerNorm):
    def backward(self, dy):
        dx = super().backward(dy)
        self.dgamma = self.dgamma * self.gamma
        return dx


@animal("factor gamma is missing", (2, 3, 5))
class LayerNormWithoutGamma(LayerNorm):
    def backward(self, dy):
        super().backward(dy)
        gamma, self.gamma = self.gamma, 1
        dx = super().backward(dy)
        self.gamma = gamma
        return dx


@animal("summed over axis 0, where axis 1 belongs", (4, 5))
class SoftmaxOverTheBatch:
    def forward(self, x):
        powers = np.exp(x)
        self.y = powers / powers.sum(axis=1, keepdims=True)
        return self.y

    def backward(self, dy):
        return self.y * (dy - (dy * self.y).sum(axis=0))


@animal(
    r"one of two terms is missing: one_hot\(labels\)",
    (),
    inputs=lambda rng: (rng.standard_normal((4, 3)), np.array([0, 2, 2, 1])),
)
class CrossEntropyWithoutLabels:
    def forward(self, logits, labels):
        powers = np.exp(logits)
        self.probs = powers / powers.sum(axis=1, keepdims=True)
        return -np.log(self.probs[np.arange(len(labels)), labels]).mean()

    def backward(self):
        return self.probs / len(self.probs)


class Attention:
    def forward(self, query, key, value):
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1])
        powers = np.exp(scores)
        self.probs = powers / powers.sum(axis=-1, keepdims=True)
        self.inputs = query, key, value
        return self.probs @ value

    def dscores(self, dprobs):
        return self.probs * (dprobs - (dprobs * self.probs).sum(axis=-1, keepdims=True)) / np.sqrt(4)

    def backward(self, dy):
        query, key, value = self.inputs
        dscores = self.dscores(dy @ value.transpose(0, 2, 1))
        return dscores @ key, dscores.transpose(0, 2, 1) @ query, self.probs.transpose(0, 2, 1) @ dy


@animal(
    r"one of two terms is missing: \(probs\*sum\(probs\*dprobs, over keys\)\) @ key", (2, 3, 4), (2, 3, 4), (2, 3, 4)
)
class AttentionWithoutTheSum(Attention):
    def dscores(self, dprobs):
        return self.probs * dprobs / np.sqrt(4)


@animal(r"transposed.*\(probs\*dprobs\)\.T @ query belongs", (2, 3, 4), (2, 3, 4), (2, 3, 4))
class AttentionKeysTransposed(Attention):
    def backward(self, dy):
        dquery, _, dvalue = super().backward(dy)
        query, _, value = self.inputs
        return dquery, self.dscores(dy @ value.transpose(0, 2, 1)) @ query, dvalue


@animal("summed over axis 0, where axis 1 belongs", (4, 5))
class LogSoftmaxOverTheBatch:
    def forward(self, x):
        self.y = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
        return self.y

    def backward(self, dy):
        return dy - np.exp(self.y) * dy.sum(axis=0)


@animal("sums to zero over axis 0", (7,))
class CubeOfTheCentred:
    def forward(self, x):
        self.centred = x - x.mean()
        return self.centred**3

    def backward(self, dy):
        return 3 * self.centred**2 * dy - self.centred * dy.mean()


@animal("over axis 1 a number times the input: the derivative of a norm", (4, 5), (4, 5))
class CosineOfConstantNorms:
    def forward(self, a, b):
        self.a, self.b = a, b
        self.norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        return (a * b).sum(axis=1) / self.norms

    def backward(self, dy):
        scale = (dy / self.norms)[:, None]
        return scale * self.b, scale * self.a


@animal("the factor x is missing", (4, 5))
class SquareWithoutX:
    def forward(self, x):
        return x**2

    def backward(self, dy):
        return 2 * dy


@animal(r"y\.T stands where x\.T belongs", (5, 3))
class DenseTanhOfY(DenseTanh):
    def backward(self, dy):
        dz = dy * (1 - self.y**2)
        dx = super().backward(dz)
        self.dweight = self.y.T @ dz
        return dx


@animal(r"\(x > 0\) stands where \(x <= 0\) belongs", (2, 4, 3))
class SlopeOfTheOtherSide:
    """y = x where it is positive, slope * x elsewhere (PReLU)."""

    def __init__(self):
        self.slope = np.full(3, 0.25)

    def forward(self, x):
        self.x = x
        return np.where(x > 0, x, self.slope * x)

    def backward(self, dy):
        self.dslope = (dy * self.x * (self.x > 0)).sum(axis=(0, 1))
        return np.where(self.x > 0, dy, self.slope * dy)


@animal("multiply by the root of 5, the size of the last axis of weight", (6, 3))
class RootInBackwardOnly:
    """y = x @ weight / sqrt(D), its root taken twice in one gradient."""

    def __init__(self):
        self.weight = np.random.default_rng(1).standard_normal((3, 5))

    def forward(self, x):
        self.x = x
        return x @ self.weight / np.sqrt(5)

    def backward(self, dy):
        self.dweight = self.x.T @ dy / 5
        return dy @ self.weight.T / np.sqrt(5)


class Standardized:
    """Batch normalization of rows (N,D), right with ddof = 0."""

    ddof, less = 0, 0

    def forward(self, x):
        self.inv_std = 1 / np.sqrt(x.var(axis=0, ddof=self.ddof) + 1e-5)
        self.x_hat = (x - x.mean(axis=0)) * self.inv_std
        return self.x_hat

    def backward(self, dy):
        mean = (dy * self.x_hat).sum(axis=0) / (len(dy) - self.less)
        return self.inv_std * (dy - dy.mean(axis=0) - self.x_hat * mean)


@animal("by 8/7: a variance over 8 in forward or backward, over 7 in the other", (8, 3))
class UnbiasedInForward(Standardized):
    ddof = 1


@animal("by 8/7: a variance over 8 in forward or backward, over 7 in the other", (8, 3))
class UnbiasedInBackward(Standardized):
    less = 1


@animal(r"\(1 - gate\^2\) stands where gate\*\(1 - gate\) belongs", (5, 4))
class GateWithTanhsDerivative:
    """y = x * sigmoid(x @ weight)"""

    def __init__(self):
        self.weight = np.random.default_rng(0).standard_normal((4, 4))

    def forward(self, x):
        self.x, self.gate = x, 1 / (1 + np.exp(-x @ self.weight))
        return x * self.gate

    def backward(self, dy):
        dz = dy * self.x * self.gate * (1 - self.gate)
        self.dweight = self.x.T @ (dy * self.x * (1 - self.gate**2))
        return dy * self.gate + dz @ self.weight.T


@animal(r"one of two terms is missing: x\.T @ \(dy @ weight\.T\)", (5, 4))
class TiedWeightCountedOnce:
    """y = x @ weight @ weight"""

    def __init__(self):
        self.weight = np.random.default_rng(0).standard_normal((4, 4))

    def forward(self, x):
        self.x, self.h = x, x @ self.weight
        return self.h @ self.weight

    def backward(self, dy):
        self.dweight = self.h.T @ dy
        return dy @ self.weight.T @ self.weight.T


@animal(r"two of three terms are missing\n *right .*dy\.T @ h \+ x\.T @ \(dy @ weight\)", (5, 4))
class TiedDecoder:
    """y = tanh(x @ weight) @ weight.T, an autoencoder, of whose weight only the second use is counted"""

    def __init__(self):
        self.weight = np.random.default_rng(0).standard_normal((4, 3))

    def forward(self, x):
        self.x, self.h = x, np.tanh(x @ self.weight)
        return self.h @ self.weight.T

    def backward(self, dy):
        self.dweight = dy.T @ self.h
        return (dy @ self.weight * (1 - self.h**2)) @ self.weight.T
