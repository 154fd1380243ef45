"""Functions in place of a layer, as some courses have them.

y, cache = affine_forward(x, w, b)             and dx, dw, db = affine_backward(dy, cache) in the same module
loss, dx = softmax_loss(x, labels)             what it returns after the loss are the gradients of its inputs
"""

import functools
import inspect
import re
import sys

from minifer.errors import ConfigError, LayerError


class Functions:
    """What stands in place of a layer; called = {"forward": the name of a function, "backward": that of another}."""


def is_function(thing, positional=(), keywords=()):
    """Whether this is such a function, by its name, and since with these arguments it still needs inputs.

    One that needs no more, but perhaps an rng, makes a layer: feedforward(channels), margin_loss(margin).
    """
    if not inspect.isfunction(thing) or not re.search(r"(^|_)forward(_|$)|loss$", thing.__name__):
        return False
    signature = inspect.signature(thing)
    try:
        signature.bind(*positional, **({"rng": None} if "rng" in signature.parameters else {}) | dict(keywords))
    except TypeError:
        return True
    return False


def as_layer(thing):
    """Return such a function as a layer, anything else as it is."""
    return layer_of(thing) if is_function(thing) else thing


def layer_of(function, positional=(), keywords=()):
    """Return a function, and the one that belongs to it, as an object with forward and backward.

    keywords    what it gets beside its inputs, such as {"reg": 0.1}
    Raises      LayerError when there is no backward beside forward; ConfigError for other arguments
    """
    name, signature = function.__name__, inspect.signature(function)
    if positional or dict(keywords).keys() - signature.parameters.keys():
        raise ConfigError(
            f"--with gives {name}{signature} arguments by name, such as reg=0.1: its inputs are --input's"
        )
    forward = functools.partial(function, **dict(keywords))
    if "forward" in name:
        other = name.replace("forward", "backward")
        backward = getattr(sys.modules[function.__module__], other, None)
        if not callable(backward):
            raise LayerError(f"{name} needs a function {other}(dy, cache) in the same module")
    else:
        other = name
        forward, backward = _parted(forward)
    passes = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type(name, (Functions,), {**passes, "called": {"forward": name, "backward": other}})()


def _parted(loss_and_gradients):
    """Return the two halves of a function, as a forward and a backward."""

    @functools.wraps(loss_and_gradients)
    def forward(*inputs):
        result = loss_and_gradients(*inputs)
        if not isinstance(result, tuple):
            raise LayerError(f"a loss returns its gradient, too: return loss, dx; this one returned {result!r:.40}")
        return result[0], result[1:]

    def backward(dy, cache):
        return tuple(dy * gradient for gradient in cache)

    return forward, backward
