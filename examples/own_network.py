"""A network of one's own: a function of the pictures' shape, the number of classes and a random generator.

minifer train --data digits.npz --model examples/own_network.py:network --no-flip --epochs 20 --out runs/digits

The data is scikit-learn's digits, written by:   python examples/own_network.py
"""

import numpy as np

from minifer.layers import BatchNorm, Conv2D, Flatten, Linear, MaxPool2D, ReLU, Sequential


def network(input_shape, classes, rng):
    """Return two convolutions, pooling, and one dense layer; for pictures of any size, grey or in colour."""
    height, width, channels = input_shape
    return Sequential(
        conv1=Conv2D(channels, 16, kernel=3, rng=rng),
        norm1=BatchNorm(16),
        relu1=ReLU(),
        conv2=Conv2D(16, 32, kernel=3, rng=rng),
        norm2=BatchNorm(32),
        relu2=ReLU(),
        pool=MaxPool2D(2),
        flat=Flatten(),
        classifier=Linear(height // 2 * (width // 2) * 32, classes, rng=rng),
    )


if __name__ == "__main__":
    from sklearn.datasets import load_digits

    digits = load_digits()
    np.savez("digits.npz", X=np.minimum(digits.images * 16, 255).astype(np.uint8), y=digits.target)
