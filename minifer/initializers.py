"""Starting values that keep the size of signals about the same from layer to layer."""

import numpy as np


def he_normal(rng, shape, fan_in):
    """Normal with variance 2/fan_in, for layers that a ReLU follows (He et al., 2015). Returns float32."""
    return rng.normal(0.0, np.sqrt(2.0 / fan_in), shape).astype(np.float32)


def glorot_uniform(rng, shape, fan_in, fan_out):
    """Uniform with variance 2/(fan_in + fan_out), for layers that nothing follows (Glorot & Bengio, 2010)."""
    limit = np.sqrt(6.0 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, shape).astype(np.float32)
