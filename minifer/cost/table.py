"""The cost of any network: a row for every layer that computes, found by following the shapes.

A known kind costs its formula in kinds.py. Sequential and Residual give the rows of what they are made of, and the
addition; MultiHeadSelfAttention is one row, the sum of its parts. A layer of one's own that has a method
multiply_adds(input_shape) says its cost itself, and its forward runs on zeros for the shape of y. Of any other
composite the forward runs, and the layers in it say their cost instead of computing; what it computes between them
(sums, products) is not counted.
"""

import copy
import math

import numpy as np

from minifer.cost.figures import FLOAT_BYTES, Cost, LayerCost, Pass
from minifer.cost.kinds import KINDS, Work, check_fits, gradients
from minifer.errors import ConfigError, ShapeError
from minifer.layers import Layer, MultiHeadSelfAttention, Residual, Sequential


def count(layer: Layer, input_shape: tuple[int, ...]) -> Cost:
    """Return the Cost of a layer or model for one picture.

        >>> from minifer.models import mobilenet
        >>> count(mobilenet(), (48, 48, 1)).trainable_parameters
        3213575
        >>> round(count(mobilenet(input_shape=(224, 224, 3), classes=1000), (224, 224, 3)).multiply_adds / 1e6, 1)
        568.7

    Raises   ConfigError for a layer of one's own that neither is made of known layers nor says its multiply-adds;
             ShapeError where a layer does not fit what comes in
    """
    rows, _ = cost_rows(layer, input_shape)
    costs = sum((row.cost for row in rows), Cost())
    return Cost(costs.forward, costs.backward, *held(layer), costs.activation_bytes)  # rows may share arrays


def cost_rows(layer, input_shape, path=""):
    """Return ([a LayerCost for every layer that computes, in order], output shape) for one picture of input_shape.

    Raises   as count does
    """
    shape = tuple(input_shape)
    if hasattr(layer, "multiply_adds"):
        y = layer.forward(np.zeros((1, *shape), dtype_of(layer)))
        return one_row(layer, shape, path, Work(y.shape[1:], layer.multiply_adds(shape)))
    for kind in kinds(layer):
        if kind in KINDS:
            check_fits(layer, shape, path)
            return one_row(layer, shape, path, KINDS[kind](layer, shape))
        if kind in COMPOSITES:
            return COMPOSITES[kind](layer, shape, path)
    return composite(layer, shape, path)


def kinds(layer):
    """Return the classes of a layer from its own to the one that wrote its forward: it costs what they cost."""
    order = type(layer).__mro__
    wrote = next(number for number, kind in enumerate(order) if "forward" in vars(kind))
    return order[: wrote + 1]


def held(layer):
    """Return (how many numbers an optimizer would move, how many there are with running statistics)."""
    trained = sum(parameter.value.size for parameter in layer.parameters(trainable_only=True).values())
    return trained, sum(array.size for array in layer.state().values())


def one_row(layer, shape, path, work):
    """Return ([a LayerCost of what a layer holds and of its Work], output shape)."""
    size = math.prod(shape) + math.prod(work.output_shape)
    weights = sum(parameter.value.size for parameter in layer.parameters().values())
    usual = size, gradients(layer) * work.multiply_adds, gradients(layer) * size
    given = work.forward_maps, work.backward_multiply_adds, work.backward_maps
    maps, products, backward_maps = (own if own is not None else each for own, each in zip(given, usual, strict=True))
    cost = Cost(
        Pass(work.multiply_adds, FLOAT_BYTES * maps, FLOAT_BYTES * weights),
        Pass(products, FLOAT_BYTES * backward_maps, FLOAT_BYTES * weights * gradients(layer)),
        *held(layer),
        FLOAT_BYTES * math.prod(work.output_shape),
    )
    return [LayerCost(path, type(layer).__name__, shape, work.output_shape, cost)], work.output_shape


def additions(shape, forward, backward):
    """Return the Cost of adding two arrays of a shape, so many times in each direction: two are read, one written."""
    size = FLOAT_BYTES * math.prod(shape)
    return Cost(Pass(0, 3 * size * forward), Pass(0, 3 * size * backward), activation_bytes=size * forward)


# Composites.


def below(path, name):
    """Return the path of a layer in a layer."""
    return f"{path}.{name}" if path else name


def sequential(layer, shape, path):
    """One after another."""
    rows = []
    for name, part in layer.layers.items():
        more, shape = cost_rows(part, shape, below(path, name))
        rows += more
    return rows, shape


def residual(layer, shape, path):
    """The body, the projection, the addition; backward adds their two gradients."""
    (rows, y), past = sequential(layer, shape, path), shape
    if layer.projection is not None:
        more, past = cost_rows(layer.projection, shape, below(path, "projection"))
        rows += more
    if past != y:
        raise ShapeError(f"{path or type(layer).__name__} adds {past} to {y}, which is what its layers make of {shape}")
    cost = additions(y, forward=1, backward=0) + additions(shape, forward=0, backward=int(layer.input_gradient))
    return [*rows, LayerCost(path, type(layer).__name__, y, y, cost)], y


def multi_head_attention(layer, shape, path):
    """4 T C A D + 2 T^2 A D: four projections and two tables, and the additions between them."""
    height, width, channels = shape
    tokens, inner = height * width, layer.heads * layer.head_units
    parts = [(part, (tokens, channels)) for part in (layer.norm, layer.query, layer.key, layer.value) if part]
    parts += [(layer.attention, (tokens, layer.heads, layer.head_units)), (layer.output, (tokens, inner))]
    parts += [(layer.output_norm, (tokens, channels))] if layer.output_norm else []
    cost = sum((count(part, shape) for part, shape in parts), Cost())
    if layer.position is not None:
        size = layer.position.value.size
        cost += additions(shape, forward=1, backward=0) + Cost(Pass(), Pass(), 0 if layer.frozen else size, size)
    skip = int(layer.residual)
    cost += additions(shape, forward=skip, backward=skip * layer.input_gradient)
    cost += additions(shape, forward=0, backward=2 * layer.query.input_gradient)  # of dz
    return [LayerCost(path, type(layer).__name__, shape, shape, cost)], shape


def composite(layer, shape, path):
    """Follow the shapes through a forward that nobody here knows."""
    children, name = list(layer.children()), type(layer).__name__
    inside = {id(parameter) for _, part in children for parameter in part.parameters().values()}
    if not children or any(id(parameter) not in inside for parameter in layer.parameters().values()):
        raise ConfigError(
            f"{below(path, name)}: its cost is not known; give it a method multiply_adds(self, input_shape) that "
            "returns the multiply-adds of forward for one picture of input_shape (H,W,C), 0 for an activation"
        )
    rows, twin = [], structure(layer)
    for name, part in twin.children():
        part.forward = Saying(part, below(path, name), rows, dtype_of(layer))
    y = twin.forward(blank(shape, dtype_of(layer)))
    return rows, y.shape[1:]


class Saying:
    """Stands in for a layer's forward: notes its rows and returns an array of the shape of y, with nothing computed."""

    def __init__(self, layer, path, rows, dtype):
        self.layer, self.path, self.rows, self.dtype = layer, path, rows, dtype

    def __call__(self, x, *others, training=False):
        del self.layer.forward  # so that a composite runs its own
        more, shape = cost_rows(self.layer, x.shape[1:], self.path)
        self.layer.forward = self
        self.rows += more
        return blank(shape, self.dtype)


def structure(layer):
    """Return a copy of a layer that shares its parameters: other threads may compute with the layer meanwhile."""
    return copy.deepcopy(layer, {id(parameter): parameter for parameter in layer.parameters().values()})


def blank(shape, dtype):
    """Return an array (1,*shape) that takes no memory."""
    return np.broadcast_to(np.zeros((), dtype), (1, *shape))


def dtype_of(layer):
    """Return the dtype that a layer computes on."""
    return next((parameter.value.dtype for parameter in layer.parameters().values()), np.float32)


COMPOSITES = {Sequential: sequential, Residual: residual, MultiHeadSelfAttention: multi_head_attention}
