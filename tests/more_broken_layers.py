"""A third zoo, on which the hypotheses were not written: other layers, and what should be said of each.

The list of hypotheses has to name the mistake of nine in ten. Add to this zoo what people really get wrong.
"""

import numpy as np

MISTAKES = {  # class name: what should be said, as a regular expression
    "Conv2DKernelNotRotated": "rotated|flipped",
    "PointwiseMeanOverPositions": "mean where a sum",
    "AttentionValueNotTransposed": "transpose",
    "BatchNormWithoutStd": "the factor inv_std is missing",
    "MaxPoolToAll": "mask is (missing|incomplete)",
    "AveragePoolNotDivided": "9 times too large.*a window",
    "DenseReluMaskForgottenForX": "mask of the outputs is missing",
    "LayerNormWithoutMeanTerm": r"one of three terms is missing: inv_std\*mean\(gamma\*dy, axis 1\)",
    "GeluSecondTermOnly": "its derivative is",
    "SqueezeExciteGateConstant": "product rule's first term",
    "StridedDepthwiseOneOff": "shifted by one",
    "EmbeddingOverwrites": r"= instead of \+=",
    "RmsNormWithoutTerm": "one of two terms is missing.*treated as a constant",
    "SquaredErrorWithoutTwo": "2 times too small",
    "Conv2DBiasNotSummed": "summed",
    "SigmoidRemembers": "stale",
    "SplitHeadsReshaped": "reshape|wrong places|transposed",
    "DifferenceSign": "sign is flipped",
    "InstanceNormOverTheBatch": "averaged over",
    "ProjectionForgotten": "path through projection is missing",
}


def zoo(rng):
    """Return {name: (layer, inputs, mistake)}."""

    def draw(*shapes):
        return tuple(rng.standard_normal(shape) for shape in shapes)

    animals = [
        (Conv2DKernelNotRotated(), draw((2, 5, 4, 2))),
        (PointwiseMeanOverPositions(), draw((2, 3, 2, 3))),
        (AttentionValueNotTransposed(), draw(*[(2, 5, 2, 3)] * 3)),
        (BatchNormWithoutStd(), draw((3, 4, 2, 3))),
        (MaxPoolToAll(), draw((2, 4, 6, 2))),
        (AveragePoolNotDivided(), draw((2, 5, 4, 2))),
        (DenseReluMaskForgottenForX(), draw((5, 4))),
        (LayerNormWithoutMeanTerm(), draw((4, 6))),
        (GeluSecondTermOnly(), draw((4, 5))),
        (SqueezeExciteGateConstant(), draw((2, 3, 4, 3))),
        (StridedDepthwiseOneOff(), draw((2, 7, 6, 2))),
        (EmbeddingOverwrites(), (np.array([[0, 2, 1], [2, 2, 4]]),)),
        (RmsNormWithoutTerm(), draw((4, 5))),
        (SquaredErrorWithoutTwo(), draw((5, 3), (5, 3))),
        (Conv2DBiasNotSummed(), draw((2, 5, 4, 2))),
        (SigmoidRemembers(), draw((4, 5))),
        (SplitHeadsReshaped(), draw((2, 3, 8))),
        (DifferenceSign(), draw((4, 3), (4, 3))),
        (InstanceNormOverTheBatch(), draw((3, 4, 3, 2))),
        (ProjectionForgotten(), draw((5, 4))),
    ]
    return {type(layer).__name__: (layer, inputs, MISTAKES[type(layer).__name__]) for layer, inputs in animals}


class Conv2D:
    """A right convolution without padding, in loops over the kernel."""

    def __init__(self):
        rng = np.random.default_rng(11)
        self.weight, self.bias = rng.standard_normal((3, 3, 2, 3)), np.zeros(3)

    def forward(self, x, training=False):
        self.x = x
        oh, ow = x.shape[1] - 2, x.shape[2] - 2
        return self.bias + sum(x[:, u : u + oh, v : v + ow] @ self.weight[u, v] for u in range(3) for v in range(3))

    def backward(self, dy):
        oh, ow = dy.shape[1:3]
        self.dweight, self.dbias, dx = np.zeros_like(self.weight), dy.sum(axis=(0, 1, 2)), np.zeros_like(self.x)
        for u in range(3):
            for v in range(3):
                window = self.x[:, u : u + oh, v : v + ow]
                self.dweight[u, v] = np.einsum("nijc,nijf->cf", window, dy)
                dx[:, u : u + oh, v : v + ow] += dy @ self.kernel(u, v).T
        return dx

    def kernel(self, u, v):
        return self.weight[u, v]


class Conv2DKernelNotRotated(Conv2D):
    def kernel(self, u, v):
        return self.weight[2 - u, 2 - v]


class Conv2DBiasNotSummed(Conv2D):
    def backward(self, dy):
        dx = super().backward(dy)
        self.dbias = dy.sum(axis=(0, 1))
        return dx


class PointwiseMeanOverPositions:
    def __init__(self):
        self.weight = np.random.default_rng(12).standard_normal((3, 4))

    def forward(self, x, training=False):
        self.x = x
        return x @ self.weight

    def backward(self, dy):
        rows, drows = self.x.reshape(-1, 3), dy.reshape(-1, 4)
        self.dweight = rows.T @ drows / len(rows)
        return dy @ self.weight.T


class AttentionValueNotTransposed:
    def forward(self, query, key, value, training=False):
        scores = np.einsum("ntad,nsad->nats", query, key) * query.shape[-1] ** -0.5
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        self.probs = scores / scores.sum(axis=-1, keepdims=True)
        self.query, self.key, self.value = query, key, value
        return np.einsum("nats,nsad->ntad", self.probs, value)

    def backward(self, dy):
        dprobs = np.einsum("ntad,nsad->nats", dy, self.value)
        dscores = self.probs * (dprobs - (dprobs * self.probs).sum(-1, keepdims=True)) * dy.shape[-1] ** -0.5
        return (
            np.einsum("nats,nsad->ntad", dscores, self.key),
            np.einsum("nats,ntad->nsad", dscores, self.query),
            np.einsum("nats,nsad->ntad", self.probs, dy),
        )


class BatchNormWithoutStd:
    def __init__(self):
        self.gamma, self.beta = np.ones(3), np.zeros(3)

    def forward(self, x, training=False):
        mean, self.std = x.mean(axis=(0, 1, 2)), np.sqrt(x.var(axis=(0, 1, 2)) + 1e-3)
        self.x_hat = (x - mean) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dy):
        m = dy[..., 0].size
        self.dgamma, self.dbeta = (dy * self.x_hat).sum(axis=(0, 1, 2)), dy.sum(axis=(0, 1, 2))
        return self.gamma * (dy - self.dbeta / m - self.x_hat * self.dgamma / m)


class MaxPoolToAll:
    def forward(self, x, training=False):
        n, h, w, c = x.shape
        return x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))

    def backward(self, dy):
        return dy.repeat(2, axis=1).repeat(2, axis=2)


class AveragePoolNotDivided:
    def forward(self, x, training=False):
        self.shape = x.shape
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
        return windows.mean(axis=(-2, -1))

    def backward(self, dy):
        dx = np.zeros(self.shape)
        for i in range(dy.shape[1]):
            for j in range(dy.shape[2]):
                dx[:, i : i + 3, j : j + 3] += dy[:, i : i + 1, j : j + 1]
        return dx


class DenseReluMaskForgottenForX:
    def __init__(self):
        self.weight = np.random.default_rng(13).standard_normal((4, 6))

    def forward(self, x, training=False):
        self.x, self.z = x, x @ self.weight
        return np.maximum(self.z, 0)

    def backward(self, dy):
        self.dweight = self.x.T @ (dy * (self.z > 0))
        return dy @ self.weight.T


class LayerNormWithoutMeanTerm:
    def __init__(self):
        self.gamma, self.beta = np.ones(6), np.zeros(6)

    def forward(self, x, training=False):
        self.std = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        self.x_hat = (x - x.mean(axis=-1, keepdims=True)) / self.std
        return self.x_hat * self.gamma + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.x_hat).sum(axis=0), dy.sum(axis=0)
        g = dy * self.gamma
        return (g - self.x_hat * (g * self.x_hat).mean(axis=-1, keepdims=True)) / self.std


class GeluSecondTermOnly:
    def forward(self, x, training=False):
        self.x, self.t = x, np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
        return 0.5 * x * (1 + self.t)

    def backward(self, dy):
        inner = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * self.x**2)
        return dy * 0.5 * self.x * (1 - self.t**2) * inner


class SqueezeExciteGateConstant:
    def __init__(self):
        rng = np.random.default_rng(14)
        self.down, self.up = rng.standard_normal((3, 2)), rng.standard_normal((2, 3))

    def forward(self, x, training=False):
        self.x, self.mean = x, x.mean(axis=(1, 2))
        self.hidden = np.tanh(self.mean @ self.down)
        self.gate = 1 / (1 + np.exp(-self.hidden @ self.up))
        return x * self.gate[:, None, None]

    def backward(self, dy):
        dgate = (dy * self.x).sum(axis=(1, 2)) * self.gate * (1 - self.gate)
        self.dup = self.hidden.T @ dgate
        self.ddown = self.mean.T @ (dgate @ self.up.T * (1 - self.hidden**2))
        return dy * self.gate[:, None, None]


class StridedDepthwiseOneOff:
    def __init__(self):
        self.weight = np.random.default_rng(15).standard_normal((3, 3, 2))

    def forward(self, x, training=False):
        self.x = x
        oh, ow = (x.shape[1] - 3) // 2 + 1, (x.shape[2] - 3) // 2 + 1
        return sum(x[:, u : u + 2 * oh : 2, v : v + 2 * ow : 2] * self.weight[u, v] for u in range(3) for v in range(3))

    def backward(self, dy):
        oh, ow = dy.shape[1:3]
        self.dweight, dx = np.zeros_like(self.weight), np.zeros((len(dy), 9, 9, 2))
        for u in range(3):
            for v in range(3):
                self.dweight[u, v] = (self.x[:, u : u + 2 * oh : 2, v : v + 2 * ow : 2] * dy).sum(axis=(0, 1, 2))
                dx[:, u + 1 : u + 1 + 2 * oh : 2, v : v + 2 * ow : 2] += dy * self.weight[u, v]
        return dx[:, : self.x.shape[1], : self.x.shape[2]]


class EmbeddingOverwrites:
    def __init__(self):
        self.table = np.random.default_rng(16).standard_normal((5, 3))

    def forward(self, indices, training=False):
        self.indices = indices
        return self.table[indices]

    def backward(self, dy):
        self.dtable = np.zeros_like(self.table)
        self.dtable[self.indices] = dy
        return ()


class RmsNormWithoutTerm:
    def __init__(self):
        self.gamma = np.ones(5)

    def forward(self, x, training=False):
        self.x, self.rms = x, np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6)
        return self.gamma * x / self.rms

    def backward(self, dy):
        self.dgamma = (dy * self.x / self.rms).sum(axis=0)
        return dy * self.gamma / self.rms


class SquaredErrorWithoutTwo:
    def forward(self, prediction, target, training=False):
        self.difference = prediction - target
        return np.mean(self.difference**2)

    def backward(self, dy=1.0):
        d = dy * self.difference / self.difference.size
        return d, -d


class SigmoidRemembers:
    y = None

    def forward(self, x, training=False):
        y = 1 / (1 + np.exp(-x))
        if self.y is None:
            self.y = y
        return y

    def backward(self, dy):
        return dy * self.y * (1 - self.y)


class SplitHeadsReshaped:
    def forward(self, x, training=False):
        n, t, d = x.shape
        self.x = x
        return np.sin(x).reshape(n, t, 2, d // 2).transpose(0, 2, 1, 3)

    def backward(self, dy):
        return np.cos(self.x) * 1 * dy.reshape(self.x.shape)


class DifferenceSign:
    def forward(self, a, b, training=False):
        return a - b

    def backward(self, dy):
        return dy.copy(), dy.copy()


class InstanceNormOverTheBatch:
    def __init__(self):
        self.gamma, self.beta = np.ones(2), np.zeros(2)

    def forward(self, x, training=False):
        self.inv_std = 1 / np.sqrt(x.var(axis=(1, 2), keepdims=True) + 1e-5)
        self.x_hat = (x - x.mean(axis=(1, 2), keepdims=True)) * self.inv_std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dy):
        axes = (0, 1, 2)
        self.dgamma, self.dbeta = (dy * self.x_hat).sum(axis=axes), dy.sum(axis=axes)
        g = dy * self.gamma
        g = g - g.mean(axis=axes) - self.x_hat * (g * self.x_hat).mean(axis=axes)
        return g * self.inv_std


class ProjectionForgotten:
    def __init__(self):
        rng = np.random.default_rng(17)
        self.weight, self.projection = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))

    def forward(self, x, training=False):
        self.x, self.y = x, np.tanh(x @ self.weight)
        return self.y + x @ self.projection

    def backward(self, dy):
        dz = dy * (1 - self.y**2)
        self.dweight, self.dprojection = self.x.T @ dz, self.x.T @ dy
        return dz @ self.weight.T
