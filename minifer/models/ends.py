"""What every MobileNet begins and ends with: checked arguments and a generator; dropout and one dense layer."""

import numpy as np

from minifer.errors import ConfigError
from minifer.initializers import Outline
from minifer.layers import Dropout, Linear


def generator(alpha, input_shape, classes, seed, outline):
    """Return the Generator of a network's starting values, or an Outline; raise ConfigError unless all are positive."""
    if min(input_shape) < 1 or classes < 1 or alpha <= 0:
        raise ConfigError(f"input shape {input_shape}, classes {classes} and alpha {alpha} must all be positive")
    return Outline() if outline else np.random.default_rng(seed)


def classifier(features, classes, dropout, seed, rng):
    """Return {name: layer} of dropout, if there is any, and the dense layer that gives the logits."""
    layers = {"dropout": Dropout(dropout, rng=np.random.default_rng([seed, 1]))} if dropout else {}
    layers["classifier"] = Linear(features, classes, rng=rng)
    layers["classifier"].weight.value[...] = 0  # every class equally likely at first, whatever the features' size
    return layers
