"""Looking at layers while a network runs: something around each forward, for as long as one looks."""

from contextlib import contextmanager
from functools import partial


@contextmanager
def around_forward(layers, around):
    """In this context each of [(path, layer)] runs around(path, forward, *inputs, **how) in place of its forward.

    It calls forward(*inputs, **how) and returns the result. Other threads that compute with these layers meanwhile run
    it too: give them a copy that shares the parameters (`minifer.cost.table.structure`) where there may be any.
    """
    before = [(path, layer, vars(layer).get("forward")) for path, layer in layers]
    for path, layer, _ in before:
        layer.forward = partial(around, path, layer.forward)
    try:
        yield
    finally:
        for _, layer, own in before:
            vars(layer).pop("forward", None)
            if own is not None:  # a layer of one's own that held its forward in an attribute
                layer.forward = own
