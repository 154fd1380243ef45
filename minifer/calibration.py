"""Temperature scaling: one number that makes a network's probabilities mean what they say.

    softmax(logits / T)        T > 1 makes a network less sure, T < 1 surer; which class is the likeliest stays as it is

T is fitted to pictures that were not trained on. A Linear layer that gives the logits takes it up, its weight and bias
divided by T, so that nobody who uses the network needs to know of it.

Source     Guo, Pleiss, Sun & Weinberger, On calibration of modern neural networks, 2017
"""

import numpy as np

from minifer.errors import ConfigError
from minifer.layers import Linear
from minifer.layers.around import around_forward

LEAST, MOST = 0.05, 20.0  # temperatures that are looked at


def tempered(probs, temperature):
    """Return the probabilities (N,K) that softmax(logits / temperature) would give, from those of softmax(logits)."""
    logits = np.log(np.maximum(probs, np.finfo(probs.dtype).tiny)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fit_temperature(probs, labels):
    """Return the T of the least cross-entropy: a float.

    Shapes     probs (N,K) of softmax(logits)   labels (N,) integers
    """
    from scipy.optimize import minimize_scalar

    # What softmax rounded to zero may be as large as the least number of its dtype: float64's would count as far surer.
    probs = np.maximum(probs, np.finfo(probs.dtype).tiny).astype(np.float64)
    rows = np.arange(len(labels))

    def cross_entropy(log_temperature):
        picked = tempered(probs, np.exp(log_temperature))[rows, labels]
        return -np.log(np.maximum(picked, 1e-300)).mean()

    return float(np.exp(minimize_scalar(cross_entropy, bounds=np.log([LEAST, MOST]), method="bounded").x))


def last_linear(model, input_shape):
    """Return the path of the Linear layer that gives a network's logits: it returns what the network returns.

    In a network of one's own it may stand anywhere among the attributes.

    Raises     ConfigError when there is none
    """
    returned = {}

    def note(path, forward, *inputs, **how):
        returned[path] = forward(*inputs, **how)
        return returned[path]

    linear = [(path, layer) for path, layer in model.walk() if isinstance(layer, Linear)]
    with around_forward(linear, note):
        logits = model.forward(np.zeros((1, *input_shape), np.float32))
    path = next((path for path, y in returned.items() if y is logits), None)
    if path is None:
        raise ConfigError("calibrate needs a network that ends in a Linear layer: leave it out (--no-calibrate)")
    return path


def take_up(state, last, temperature):
    """Divide the weight and bias of the layer at the path `last` by a temperature, in a state(): {path: array}."""
    for name, array in state.items():
        if name.rpartition(".")[0] == last:
            np.divide(array, array.dtype.type(temperature), out=array)
