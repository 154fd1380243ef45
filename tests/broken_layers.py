"""A zoo of layers with one mistake each, the kind that people make. The gradient check must catch every one."""

import numpy as np

from minifer import layers, losses


class TransposedWeight(layers.Linear):
    def backward(self, dy):
        (x,) = self.saved()
        self.weight.grad, self.bias.grad = x.T @ dy, dy.sum(axis=0)
        return dy @ self.weight.value  # a square weight hides the missing .T


class MissingFactor(layers.GlobalAveragePool):
    def backward(self, dy):
        (_, height, width, _), _ = self._saved
        return super().backward(dy) * (height * width)


class WrongSign(layers.Linear):
    def backward(self, dy):
        return -super().backward(dy)


class ForgottenBias(layers.Linear):
    def backward(self, dy):
        dx = super().backward(dy)
        self.bias.grad = np.zeros_like(self.bias.value)
        return dx


class BiasSummedOverWrongAxis(layers.Linear):
    def backward(self, dy):
        dx = super().backward(dy)
        self.bias.grad = np.full_like(self.bias.value, dy.sum(axis=1)[0])
        return dx


class MeanInsteadOfSum(layers.Linear):
    def backward(self, dy):
        dx = super().backward(dy)
        self.weight.grad = self.weight.grad / len(dy)
        return dx


class AccumulatesGradient(layers.Linear):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.weight.grad = np.ones(self.weight.value.shape)

    def astype(self, dtype):
        before = self.weight.grad
        super().astype(dtype)
        self.weight.grad = before.astype(dtype)
        return self

    def backward(self, dy):
        before = self.weight.grad.copy()
        dx = super().backward(dy)
        self.weight.grad = self.weight.grad + before
        return dx


class MutatesInput(layers.ReLU):
    def forward(self, x, training=False):
        y = super().forward(x, training=training)
        x[x < 0] = 0
        return y


class MutatesDy(layers.ReLU):
    def backward(self, dy):
        dx = super().backward(dy)
        dy *= 0
        return dx


class ReluMaskInverted(layers.ReLU):
    def backward(self, dy):
        return dy - super().backward(dy)


class BatchNormWithoutMeanTerms(layers.BatchNorm):
    """Treats mean and variance as constants: a dy of ones would let it pass, since the right answer is then 0."""

    def backward(self, dy):
        _, _, inv_std, _ = self._saved
        super().backward(dy)
        return dy * self.gamma.value * inv_std


class BatchNormReturnsZeros(layers.BatchNorm):
    def backward(self, dy):
        return super().backward(dy) * 0


class SoftmaxReturnsZeros(layers.Softmax):
    def backward(self, dy):
        return super().backward(dy) * 0


class SoftmaxDiagonalOnly(layers.Softmax):
    def backward(self, dy):
        y, shape = self.saved()
        return (y * (1 - y) * dy.reshape(y.shape)).reshape(shape)


class UnscaledAttentionBackward(layers.ScaledDotProductAttention):
    def backward(self, dy):
        dquery, dkey, dvalue = super().backward(dy)
        factor = dquery.shape[-1] ** 0.5
        return dquery * factor, dkey * factor, dvalue


class SwappedAttentionGradients(layers.ScaledDotProductAttention):
    def backward(self, dy):
        dquery, dkey, dvalue = super().backward(dy)
        return dkey, dquery, dvalue


class ForgottenSkip(layers.Residual):
    def backward(self, dy):
        return super().backward(dy) - dy


class FlippedKernel(layers.DepthwiseConv2D):
    def backward(self, dy):
        x, *rest = self._saved
        dx = super().backward(dy)
        self.save(True, x, *rest)
        weight = self.weight.value
        self.weight.value = np.ascontiguousarray(weight[::-1, ::-1])
        flipped = super().backward(dy)
        self.weight.value = weight
        return flipped if flipped.shape == dx.shape else dx


class FreshMaskInBackward(layers.Dropout):
    def backward(self, dy):
        (mask,) = self.saved()
        return dy * (self.rng.random(mask.shape) >= self.rate) / (1 - self.rate)


class LossNotDividedByBatch(losses.SoftmaxCrossEntropy):
    def backward(self, dy=1.0):
        dlogits = super().backward(dy)
        return dlogits * len(dlogits)


class OneGradientTooFew(layers.ScaledDotProductAttention):
    def backward(self, dy):
        return super().backward(dy)[:2]


class NoGradientSet(layers.Linear):
    def backward(self, dy):
        dx = super().backward(dy)
        self.weight.grad = None
        return dx


class WrongGradientShape(layers.Linear):
    def backward(self, dy):
        dx = super().backward(dy)
        self.bias.grad = self.bias.grad[:, None]
        return dx


MISTAKES = {  # what the check has to say, as a regular expression
    "TransposedWeight": r"transposed.*dy @ weight stands where dy @ weight\.T",
    "MissingFactor": "12 times too large.* axes 1 and 2 or axes 0, 1 and 3 of the input",
    "WrongSign": "the sign is flipped",
    "ForgottenBias": "all zeros",
    "BiasSummedOverWrongAxis": "summed over axis 1, where axis 0 belongs",
    "MeanInsteadOfSum": "5 times too small.* the batch.*a mean where a sum belongs",
    "AccumulatesGradient": "added to the gradient that was there before",
    "MutatesInput": "forward changed its input x",
    "MutatesDy": "backward changed its dy",
    "ReluMaskInverted": "the mask is inverted",
    "BatchNormWithoutMeanTerms": "the mean and the variance are treated as constants",
    "BatchNormReturnsZeros": "all zeros",
    "SoftmaxReturnsZeros": "all zeros",
    "SoftmaxDiagonalOnly": r"y\^2\*dy stands where y\*sum\(y\*dy, axis 1\) belongs",
    "UnscaledAttentionBackward": r"2 times too large.*the root of 4",
    "SwappedAttentionGradients": "this is what belongs to dkey: the two are swapped",
    "ForgottenSkip": "dy itself, as of a skip connection, is missing",
    "FlippedKernel": "weight is flipped along axes 0 and 1 .*rotated by 180 degrees",
    "FreshMaskInBackward": "no function of dy and of what forward saved",
    "LossNotDividedByBatch": "4 times too large.* the batch",
    "OneGradientTooFew": "2 gradients for 3 floating-point inputs",
    "NoGradientSet": "weight changes y but has no gradient",
    "WrongGradientShape": r"not \(3,\); likely: .*reshape\(3,\)",
}


def zoo(rng):
    """Return {name: (layer, inputs, mistake)}."""

    def draw(*shape):
        return (rng.standard_normal(shape),)

    def attention(kind):
        return kind(), tuple(rng.standard_normal((2, 3, 2, 4)) for _ in range(3))

    animals = [
        (TransposedWeight(3, 3, rng=rng), draw(4, 3)),
        (MissingFactor(), draw(2, 3, 4, 2)),
        (MutatesInput(), draw(3, 4)),
        (MutatesDy(), draw(3, 4)),
        (ReluMaskInverted(), draw(3, 4)),
        (BatchNormWithoutMeanTerms(3), draw(5, 3)),
        (BatchNormReturnsZeros(3), draw(5, 3)),
        (SoftmaxReturnsZeros(), draw(3, 4)),
        (SoftmaxDiagonalOnly(), draw(3, 4)),
        attention(UnscaledAttentionBackward),
        attention(SwappedAttentionGradients),
        attention(OneGradientTooFew),
        (ForgottenSkip(layers.Linear(3, 3, rng=rng)), draw(2, 3)),
        (FlippedKernel(2, rng=rng), draw(1, 4, 3, 2)),
        (FreshMaskInBackward(0.5, rng=rng), draw(5, 6)),
        (LossNotDividedByBatch(), (*draw(4, 3), np.array([0, 1, 2, 1]))),
    ]
    for kind in (
        WrongSign,
        ForgottenBias,
        BiasSummedOverWrongAxis,
        MeanInsteadOfSum,
        AccumulatesGradient,
        NoGradientSet,
        WrongGradientShape,
    ):
        animals.append((kind(4, 3, rng=rng), draw(5, 4)))
    return {type(layer).__name__: (layer, inputs, MISTAKES[type(layer).__name__]) for layer, inputs in animals}
