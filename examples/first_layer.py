"""Write a layer, check its gradient, train with it: python examples/first_layer.py

The layer is a leaky ReLU with a learned slope for every channel (He et al., Delving deep into rectifiers, 2015):

    forward    y = x where x > 0, else slope * x
    backward   dx = dy where x > 0, else slope * dy          dslope = sum of x * dy where x <= 0
"""

import numpy as np

from minifer.data import synthetic
from minifer.gradcheck import check_gradients
from minifer.layers import BatchNorm, Conv2D, GlobalAveragePool, Layer, Linear, Parameter, Sequential
from minifer.losses import SoftmaxCrossEntropy
from minifer.optimizers import Adam


class PReLU(Layer):
    """A leaky ReLU whose slope is learned, one for each channel."""

    def __init__(self, channels):
        self.slope = Parameter(np.full(channels, 0.25, np.float32))

    def forward(self, x, training=False):
        self.save(training, x)
        return np.where(x > 0, x, self.slope.value * x)

    def backward(self, dy):
        (x,) = self.saved()
        over_channels = tuple(range(x.ndim - 1))
        self.slope.grad = np.where(x > 0, 0, x * dy).sum(axis=over_channels)
        return np.where(x > 0, dy, self.slope.value * dy)


rng = np.random.default_rng(0)

# 1. Is backward the derivative of forward? Leave something out in backward, and see what this says.
print(check_gradients(PReLU(3), rng.standard_normal((2, 5, 4, 3)), rng=rng))

# 2. A small network with it, like any other layer.
network = Sequential(
    Conv2D(1, 16, stride=2, rng=rng), BatchNorm(16), PReLU(16),
    Conv2D(16, 32, stride=2, rng=rng), BatchNorm(32), PReLU(32),
    Conv2D(32, 64, stride=2, rng=rng), BatchNorm(64), PReLU(64),
    GlobalAveragePool(), Linear(64, 7, rng=rng),
)  # fmt: skip
print(network)

# 3. Train it on drawn faces: forward, loss, backward, a step of the optimizer.
faces = synthetic.load(seed=0, train=1120, val=140)
loss, optimizer = SoftmaxCrossEntropy(), Adam(network.parameters(), learning_rate=0.003)


def pictures(split):
    """Return pictures (N,48,48,1) from -1 to 1, and labels."""
    return (faces[split].images[..., None] / 127.5 - 1).astype(np.float32), faces[split].labels


x, labels = pictures("train")
for epoch in range(12):
    for rows in np.array_split(rng.permutation(len(x)), 20):
        value = loss(network(x[rows], training=True), labels[rows], training=True)
        network.backward(loss.backward())
        optimizer.step()
    x_val, labels_val = pictures("val")
    right = (network(x_val).argmax(axis=1) == labels_val).mean()
    print(f"epoch {epoch + 1}: loss of the last batch {value:.2f}, right on validation {right:.0%}")

print("learned slopes:", network[2].slope.value.round(2)[:6], "...")
