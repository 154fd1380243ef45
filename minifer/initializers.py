"""Starting values that keep the size of signals about the same from layer to layer."""

import numpy as np


class Outline:
    """In place of a random Generator: values that take no memory. A network made with it has shapes and no weights."""

    def normal(self, mean, deviation, shape):
        """Return an array of a shape in which every element is the same one in memory."""
        return np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), shape, (0,) * len(shape))

    uniform = normal


def is_outline(array):
    """Whether an array was made by an Outline."""
    return array.size > 1 and not any(array.strides)


def he_normal(rng, shape, fan_in):
    """Normal with variance 2/fan_in, for layers that a ReLU follows (He et al., 2015). Returns float32."""
    return rng.normal(0.0, np.sqrt(2.0 / fan_in), shape).astype(np.float32, copy=False)


def glorot_uniform(rng, shape, fan_in, fan_out):
    """Uniform with variance 2/(fan_in + fan_out), for layers that nothing follows (Glorot & Bengio, 2010)."""
    limit = np.sqrt(6.0 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, shape).astype(np.float32, copy=False)
