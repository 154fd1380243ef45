"""Following arrays through a network: which layers and operations made each of them, as nodes of an ONNX graph.

forward is run once on an array that knows its name in the graph. A layer of the table onnx_layers.LAYERS becomes the
nodes written there; any other layer, a composition of one's own too, is followed into its forward, where additions,
products, also with a matrix of weights, reshapes and the like become nodes as NumPy carries them out. What comes out
without a name was made by something that has no translation, and the layer that made it is refused.

Maps lie channels first in the graph, as ONNX wants them, and channels last in minifer: a value says how its map lies,
and is transposed where somebody needs it the other way.
"""

import copy
import inspect
from dataclasses import dataclass
from math import prod

import numpy as np

from minifer.errors import ConfigError
from minifer.kernels.twin import use_kernels

UFUNCS = {
    np.add: "Add", np.subtract: "Sub", np.multiply: "Mul", np.divide: "Div", np.maximum: "Max", np.minimum: "Min",
    np.negative: "Neg", np.exp: "Exp", np.sqrt: "Sqrt", np.tanh: "Tanh", np.abs: "Abs",
}  # fmt: skip
MEANS = {"mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin"}  # whose axes are an attribute up to opset 17


@dataclass(frozen=True)
class Value:
    """A tensor of the graph: its name, the shape that minifer gives it, and whether its channels come first."""

    name: str
    shape: tuple
    first: bool = False


class Graph:
    """Nodes and constants, in the order in which forward needs them."""

    def __init__(self, batch):
        self.batch = batch  # pictures that are followed; a first axis of a multiple of them is the batch's
        self.nodes, self.constants, self.values = [], {}, []
        self.where, self.count = "", {}

    # Writing.

    def node(self, kind, *inputs, **attributes):
        """Add a node with one output; return the output's name. Inputs are names."""
        from onnx import helper

        base = f"{self.where}/{kind}" if self.where else kind
        number = self.count[base] = self.count.get(base, 0) + 1
        name = base if number == 1 else f"{base}_{number}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, array, name=None):
        """Return the name of a constant; equal ones without a name are one."""
        array = np.array(array, order="C")  # a copy: a buffer may be filled again
        if name is None:
            name = f"constant {array.dtype} {array.tolist()}" if array.size <= 8 else f"{self.where}/constant"
            while name in self.constants and not np.array_equal(self.constants[name], array):
                name += "'"
        elif self.where:
            name = f"{self.where}.{name}"
        self.constants[name] = array
        return name

    def clip(self, name, low, high):
        """Return the name of a tensor between two numbers; one that is infinite is none."""
        if np.isinf(low) and np.isinf(high):
            return name
        ends = ["" if np.isinf(end) else self.constant(np.float32(end)) for end in (low, high)]
        return self.node("Clip", name, *ends[: 1 if np.isinf(high) else 2])

    # How maps lie.

    def first(self, value):
        """Return the name of a map with its channels first."""
        if value.first:
            return value.name
        if len(value.shape) == 4 and 1 in (value.shape[3], prod(value.shape[1:3])):
            _, h, w, c = value.shape
            return self.node("Reshape", value.name, self.constant(np.array([0, c, h, w], np.int64)))
        return self.node("Transpose", value.name, perm=[0, 3, 1, 2])

    def last(self, value):
        """Return the name of a tensor as minifer's array lies."""
        return self.node("Transpose", value.name, perm=[0, 2, 3, 1]) if value.first else value.name

    def reshape(self, value, shape):
        """Return the Value with another shape of as many numbers; the first axis may hold the batch."""
        if shape[0] != value.shape[0] and shape[0] % self.batch:
            raise ConfigError("the pictures of a batch cannot be told apart any more")
        start = 0 if shape[0] == value.shape[0] else -1
        one_place = len(value.shape) == 4 and value.first and prod(value.shape[1:3]) == 1
        name = value.name if one_place else self.last(value)
        return Value(self.node("Reshape", name, self.constant(np.array([start, *shape[1:]], np.int64))), shape)

    # Arrays and their values.

    def array(self, array, value):
        """Return an array that is known under a value."""
        traced = np.asarray(array).view(Traced)
        traced.graph = self
        self.values.append((np.asarray(array), np.array(array), value))
        return traced

    def find(self, array):
        """Return the Value of an array, or None; a view of all its numbers in another shape is reshaped."""
        if not isinstance(array, np.ndarray):
            return None
        for known, content, value in reversed(self.values):
            # What was written into since then, through whatever view, is known no more.
            if same_numbers(known, array) and np.array_equal(content, known, equal_nan=True):
                return value if known.shape == array.shape else self.reshape(value, array.shape)
        return None

    def product(self, x, weight, result):
        """Return the result of x @ weight, known if x is, and the weight is a constant matrix."""
        value = self.find(x)
        if value is None or len(value.shape) < 2 or isinstance(weight, Traced) or np.ndim(weight) != 2:
            return unknown(result)
        name = self.node("MatMul", self.last(value), self.constant(np.asarray(weight, np.float32)))
        return self.array(result, Value(name, result.shape))

    def operation(self, kind, inputs, result):
        """Return the result of an elementwise operation, known if all its inputs are, or are constants."""
        values = [self.find(x) for x in inputs]
        known = [value for value in values if value is not None]
        for x, value in zip(inputs, values, strict=True):
            batchs_own = value is None and np.ndim(x) == result.ndim > 0 and np.shape(x)[0] == self.batch
            if (value is None and isinstance(x, Traced)) or batchs_own:  # made of the pictures, or of how many they are
                return unknown(result)
        if any(len(value.shape) not in (0, result.ndim) for value in known):
            return unknown(result)
        first = any(value.first for value in known)
        names = []
        for x, value in zip(inputs, values, strict=True):
            if value is not None:
                names.append(self.first(value) if first else self.last(value))
                continue
            x = np.asarray(x, np.float32)  # noqa: PLW2901
            if first and x.ndim:
                x = np.moveaxis(x.reshape((1,) * (4 - x.ndim) + x.shape), 3, 1)  # noqa: PLW2901
            names.append(self.constant(x))
        return self.array(result, Value(self.node(kind, *names), result.shape, first))


def same_numbers(one, other):
    """Say whether two arrays are the same memory, in the same order."""
    starts = [np.asarray(x).__array_interface__["data"][0] for x in (one, other)]
    whole = one.flags.c_contiguous and other.flags.c_contiguous
    return starts[0] == starts[1] and one.dtype == other.dtype and one.size == other.size and whole


def unknown(result):
    """Return an array that was made of known ones by something that has no translation."""
    return np.asarray(result).view(Traced)


class Traced(np.ndarray):
    """An array that knows its Graph, which knows its Value; one without a value was made by something unknown."""

    graph = None

    def __array_finalize__(self, source):
        self.graph = getattr(source, "graph", None)

    @property
    def value(self):
        """What the graph knows of it, or None."""
        return None if self.graph is None else self.graph.find(self)

    def _refuse(self, *_):
        raise ConfigError("it makes numbers of the pictures that steer what is computed, or writes into arrays")

    __bool__ = __float__ = __int__ = __index__ = __setitem__ = item = tolist = _refuse

    def copy(self, order="C"):
        """As an array's; followed."""
        return self.graph.array(np.array(self), self.value) if self.value else unknown(np.array(self))

    def astype(self, dtype, **how):
        """As an array's; followed where it stays float32."""
        result = np.asarray(self).astype(dtype, **how)
        return self.graph.array(result, self.value) if self.value and result.dtype == np.float32 else unknown(result)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **how):
        plain = [np.asarray(x) if isinstance(x, Traced) else x for x in inputs]
        graph = next((x.graph for x in (*inputs, *(out or ())) if isinstance(x, Traced) and x.graph), None)
        if out is not None:
            how["out"] = tuple(np.asarray(x) for x in out)
        result = getattr(ufunc, method)(*plain, **how)
        if graph is None:
            return unknown(result)
        if method != "__call__" or how or result.dtype != np.float32:
            return unknown(result)
        if ufunc is np.matmul:
            return graph.product(*inputs, result)
        if ufunc not in UFUNCS:
            return unknown(result)
        return graph.operation(UFUNCS[ufunc], inputs, result)

    def __array_function__(self, function, types, args, kwargs):
        if function is np.concatenate and len(args) == 1 and kwargs.keys() <= {"axis"}:
            known = next((x for x in args[0] if isinstance(x, Traced) and x.graph), None)
            return unknown(np.concatenate(_plain(args[0]))) if known is None else known._concatenated(*args, **kwargs)
        if function is np.clip and len(args) == 3 and not kwargs:
            x, low, high = args
            x = x if low is None else np.maximum(x, np.float32(low))
            return x if high is None else np.minimum(x, np.float32(high))
        if function in (np.mean, np.max, np.min):
            return getattr(args[0], function.__name__.removeprefix("a"))(*args[1:], **kwargs)
        if function in (np.reshape, np.transpose, np.dot) and isinstance(args[0], Traced) and not kwargs:
            return getattr(args[0], function.__name__)(*args[1:])
        result = function(*_plain(args), **{name: _plain(value) for name, value in kwargs.items()})
        return unknown(result) if isinstance(result, np.ndarray | np.generic) else result

    def _concatenated(self, arrays, axis=0):
        result = np.concatenate([np.asarray(x) for x in arrays], axis)
        values = [self.graph.find(x) for x in arrays]
        if axis is None:
            return unknown(result)
        axis %= result.ndim
        if axis == 0 or any(value is None for value in values):
            return unknown(result)
        first = any(value.first for value in values)
        names = [self.graph.first(value) if first else self.graph.last(value) for value in values]
        place = {1: 2, 2: 3, 3: 1}[axis] if first else axis
        return self.graph.array(result, Value(self.graph.node("Concat", *names, axis=place), result.shape, first))

    def reshape(self, *shape, **how):
        """As an array's; followed."""
        result = np.asarray(self).reshape(*shape, **how)
        if self.value is None or how:
            return unknown(result)
        return self.graph.array(result, self.graph.reshape(self.value, result.shape))

    def dot(self, other):
        """As an array's; followed where it is a product with a matrix, x @ other."""
        return self @ other if self.ndim > 1 and np.ndim(other) == 2 else unknown(np.asarray(self).dot(_plain(other)))

    def transpose(self, *axes):
        """As an array's; followed where the batch stays in front."""
        result = np.asarray(self).transpose(*axes)
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        order = tuple(axis % self.ndim for axis in order or ())
        if self.value is None or not order or order[0] != 0:
            return unknown(result)
        name = self.graph.node("Transpose", self.graph.last(self.value), perm=list(order))
        return self.graph.array(np.ascontiguousarray(result), Value(name, result.shape))

    def __getitem__(self, key):
        """As an array's; followed where only axes of length 1 are added or taken."""
        result = np.asarray(self)[key]
        if self.value is None or np.ndim(result) == 0 or not same_numbers(result, self):
            return unknown(result)
        return self.graph.array(result, self.graph.reshape(self.value, result.shape))

    def _reduced(self, kind, axis=None, keepdims=False, **how):
        result = getattr(np.asarray(self), kind)(axis=axis, keepdims=keepdims, **how)
        axes = [int(a) % self.ndim for a in np.ravel(axis)] if axis is not None else [0]
        if self.value is None or 0 in axes or not axes or how:
            return unknown(result)
        name = self.graph.node(MEANS[kind], self.graph.last(self.value), axes=axes, keepdims=int(keepdims))
        return self.graph.array(result, Value(name, result.shape))

    def mean(self, axis=None, **how):
        """As an array's; followed."""
        return self._reduced("mean", axis, **how)

    def max(self, axis=None, **how):
        """As an array's; followed."""
        return self._reduced("max", axis, **how)

    def min(self, axis=None, **how):
        """As an array's; followed."""
        return self._reduced("min", axis, **how)


def _plain(x):
    if isinstance(x, list | tuple):
        return type(x)(map(_plain, x))
    return np.asarray(x) if isinstance(x, Traced) else x


def follow(model, x, start, layers):
    """Run model.forward on x (N,H,W,C); return (graph, the output's Value).

    start      (Graph, Value of x in it)
    layers     {type of layer: function(graph, layer, *values) that writes its nodes and returns (name, first)}
    Raises     ConfigError, one line that names the layer, where something has no translation
    """
    graph, value = start
    try:
        model = copy.deepcopy(model)
    except TypeError as error:
        raise ConfigError(f"the network cannot be copied, and so not followed: {error}") from error
    for path, layer in model.walk():
        kind = type(layer)
        if kind in layers and getattr(layer.forward, "__func__", None) is kind.forward:
            layer.forward = _translated(graph, path, layer, layers[kind])
        else:
            layer.check_input = _checked(layer.check_input)
            layer.forward = _followed(graph, path, layer)
    with use_kernels({"add": lambda a, b: a + b}):
        y = model.forward(graph.array(x, value))
    return graph, graph.find(y)


def _checked(check):
    """Return check_input as it is, but for what it returns: the array that it was given."""

    def checked(x, *how, **named):
        check(np.asarray(x), *how, **named)
        return x

    return checked


def _translated(graph, path, layer, write):
    """Return the forward of a layer that writes its nodes."""
    forward = layer.forward

    def translated(*inputs, **named):
        given = inspect.signature(forward).bind(*inputs, **named).arguments  # in the order of forward's own
        inputs = [x for x in given.values() if isinstance(x, np.ndarray)]  # without training
        values = [graph.find(x) for x in inputs]
        if None in values:
            raise ConfigError(f"{path} ({type(layer).__name__}) reads what no known operation has made")
        y = forward(*map(np.asarray, inputs))
        outside, graph.where = graph.where, path
        name, first = write(graph, layer, *values)
        graph.where = outside
        return graph.array(y, Value(name, y.shape, first))

    return translated


def _followed(graph, path, layer):
    """Return the forward of a layer that is followed into, and must return what has a translation."""
    forward = layer.forward

    def followed(*inputs, **how):
        outside, graph.where = graph.where, path
        try:
            y = forward(*inputs, **how)
        except ConfigError as error:
            if type(layer).__name__ in str(error) or " has no translation" in str(error):
                raise
            raise ConfigError(
                f"{path or 'the network'} ({type(layer).__name__}) has no translation to ONNX: {error}"
            ) from error
        graph.where = outside
        if graph.find(y) is None:
            raise ConfigError(
                f"{path or 'the network'} ({type(layer).__name__}) has no translation to ONNX: beside minifer's layers "
                "it may add, multiply (by a matrix too), reshape, join and average arrays"
            )
        return y

    return followed
