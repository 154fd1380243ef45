"""What a layer is: a forward pass, a backward pass, and the parameters between them. No tape, no graph.

    y  = layer.forward(x, training=True)     computes y and saves exactly what backward will read
    dx = layer.backward(dy)                  given dloss/dy, returns dloss/dx and sets parameter.grad = dloss/dparameter

The rules every layer keeps: backward overwrites gradients and never adds to them (so there is no zero_grad); neither
pass changes its arguments; the dtype that comes in goes out (float32 trains, float64 checks gradients); what forward
saved is handed out once, so that a second backward raises instead of returning something stale.

Any number of threads may call forward(x) of one layer, also while another one trains it: without training=True nothing
is saved. One thread at a time trains: what forward saved is for a backward in the same thread.
"""

import math
from threading import get_ident

import numpy as np

from minifer.cost import FLOAT_BYTES, Cost, LayerCost, Pass
from minifer.errors import BackwardError, CheckpointError, ConfigError, DtypeError, ShapeError
from minifer.initializers import is_outline
from minifer.layers import holding


class Parameter:
    """One trainable array and the gradient that the latest backward left in it.

    Assigning to `grad` copies into the array that is there already, if there is one of the same shape and dtype: an
    optimizer lays all gradients of a network into one stretch of memory this way (see optimizers.Flat).
    """

    def __init__(self, value):
        self.value = value
        self._grad = None

    @property
    def grad(self):
        """The gradient dloss/dvalue of the latest backward, or None before the first."""
        return self._grad

    @grad.setter
    def grad(self, grad):
        if grad is None or self._grad is None or self._grad.shape != grad.shape or self._grad.dtype != grad.dtype:
            self._grad = grad
        elif self._grad is not grad:
            self._grad[...] = grad

    def grad_memory(self):
        """Return the array that the last gradient is in, for a kernel to write the next one into, or None."""
        fits = self._grad is not None and self._grad.shape == self.value.shape and self._grad.dtype == self.value.dtype
        return self._grad if fits else None

    def __repr__(self):
        return f"Parameter{self.value.shape}"


class Statistic:
    """One array that is saved with the weights but not trained, such as BatchNorm's running mean."""

    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return f"Statistic{self.value.shape}"


class Layer:
    """Base of all layers: finds parameters and sub-layers among its attributes, saves and hands out activations.

    A sub-layer, Parameter, Statistic or random Generator is found in an attribute (of the instance, in __slots__, or of
    the class), and in lists, tuples and dicts there, however deeply nested: self.blocks = [Linear(...)] has the path
    "blocks.0.weight". Anything else that holds one (a set, an object of another class) is refused, unless it is found
    elsewhere too. What is held twice is found once, under the first of its paths; a Parameter that a frozen layer holds
    is frozen. A layer around two that share a Parameter adds up their gradients, since each backward overwrites.
    """

    frozen = False
    input_gradient = True  # False: nobody reads dx, so backward may return None (see require_input_gradient)
    _saved = _saved_by = None

    # The two passes, which every layer writes itself.

    def forward(self, *inputs, training=False):
        """Return y; with training=True also save what backward reads."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, dy):
        """Set every parameter's grad and return dx, or a tuple with one gradient per floating-point input."""
        raise NotImplementedError(f"{type(self).__name__}.backward")

    def cost(self, input_shape):
        """Return (output shape, multiply-adds) for one input of input_shape, which has no batch axis."""
        raise NotImplementedError(f"{type(self).__name__}.cost")

    def gradients(self):
        """Return how many kinds of gradient backward computes: dx if it is read, the parameters' unless frozen."""
        return int(self.input_gradient) + int(self.trains())

    def backward_multiply_adds(self, input_shape):
        """Return backward's multiply-adds: dx and dweight each make as many products as forward."""
        return self.gradients() * self.cost(input_shape)[1]

    def traffic(self, input_shape):
        """Return how many activations and gradients of activations forward and backward read or write.

        Forward reads x and writes y; for dx backward reads dy and writes dx, for dweight it reads x and dy.
        """
        values = math.prod(input_shape) + math.prod(self.cost(input_shape)[0])
        return values, self.gradients() * values

    def cost_rows(self, input_shape, path=""):
        """Return ([a LayerCost for every layer that computes], output shape); containers put theirs together."""
        output_shape, multiply_adds = self.cost(input_shape)
        forward, backward = (FLOAT_BYTES * values for values in self.traffic(input_shape))
        parameters = sum(parameter.value.size for parameter in self.parameters().values())
        cost = Cost(
            Pass(multiply_adds, forward, FLOAT_BYTES * parameters),
            Pass(self.backward_multiply_adds(input_shape), backward, FLOAT_BYTES * parameters * self.gradients()),
            sum(parameter.value.size for parameter in self.parameters(trainable_only=True).values()),
            sum(array.size for array in self.state().values()),
            FLOAT_BYTES * math.prod(output_shape),
        )
        return [LayerCost(path, type(self).__name__, input_shape, output_shape, cost)], output_shape

    # What forward leaves for backward.

    def save(self, training, *arrays):
        """Keep exactly what backward will read, if there will be a backward and somebody who reads what it computes."""
        me = get_ident()
        if training and self.has_backward():
            self._saved, self._saved_by = arrays, me
        elif self._saved is not None and self._saved_by == me:  # what another thread saved is not ours to drop
            self._saved = None

    def saved(self):
        """Hand out what forward saved, once, to the thread that called it."""
        if self._saved is None or self._saved_by != get_ident():
            raise BackwardError(
                f"{type(self).__name__}.backward has nothing saved: call forward(..., training=True) first, "
                "once for every backward and in the same thread (a layer used twice must be two layers)"
            )
        arrays, self._saved = self._saved, None
        return arrays

    # The short walk that finds parameters.

    def attributes(self):
        """Return [(name, value)] of everything that this layer may hold something in."""
        return holding.attributes(self)

    def children(self):
        """Yield (name, layer) for every sub-layer held in an attribute, such as ("blocks.0", ...) for one in a list."""
        return ((name, layer) for name, layer, hidden in holding.held(self.attributes(), Layer) if not hidden)

    def walk(self, path=""):
        """Yield (dotted path, layer) for this layer and all below it, in order of definition, each of them once."""
        return ((path, layer) for path, layer, _ in self._walk(path))

    def _walk(self, path="", kinds=()):
        """Yield (dotted path, layer, [(path, thing, hidden)] of what it holds of some kinds) as walk does."""
        seen, ahead = set(), [(path, self)]
        while ahead:
            path, layer = ahead.pop()
            if id(layer) not in seen:
                seen.add(id(layer))
                held = list(holding.held(layer.attributes(), (Layer, *kinds), f"{path}." if path else ""))
                yield path, layer, held
                below = [(name, thing) for name, thing, hidden in held if isinstance(thing, Layer) and not hidden]
                ahead += below[::-1]

    def _find(self, *kinds, trainable_only=False):
        """Return {dotted path: thing} of everything of some kinds in this layer and all below it, each thing once."""
        found, seen, frozen, concealed = {}, {id(self)}, set(), []
        for _, layer, held in self._walk(kinds=kinds):
            for path, thing, hidden in held:
                if hidden:
                    concealed.append((path, thing))
                    continue
                if isinstance(thing, kinds) and id(thing) not in seen and found.setdefault(path, thing) is not thing:
                    raise ConfigError(f"{type(self).__name__} holds two different things by the name {path!r}")
                seen.add(id(thing))
                if layer.frozen:
                    frozen.add(id(thing))
        for path, thing in concealed:
            if id(thing) not in seen:
                raise ConfigError(
                    f"{type(self).__name__}: the {type(thing).__name__} in {path} would not be found: hold layers and "
                    "parameters in attributes of a Layer, or in lists, tuples or dicts there"
                )
        return {path: thing for path, thing in found.items() if not trainable_only or id(thing) not in frozen}

    def parameters(self, trainable_only=False):
        """Return {dotted path: Parameter}, such as {"block3.depthwise.weight": ...}."""
        return self._find(Parameter, trainable_only=trainable_only)

    def generators(self):
        """Return {dotted path: random Generator} of all that draws random numbers, such as {"dropout.rng": ...}."""
        return self._find(np.random.Generator)

    def state(self):
        """Return {dotted path: array} of everything a checkpoint holds: parameters and running statistics."""
        return {path: item.value for path, item in self._find(Parameter, Statistic).items()}

    def load_state(self, state, source="the given state"):
        """Copy arrays from {dotted path: array} into this layer; names and shapes must match exactly."""
        self.check_state(state, source)
        for path, item in self._find(Parameter, Statistic).items():
            if is_outline(item.value):
                item.value = np.empty(item.value.shape, item.value.dtype)
            item.value[...] = state[path]

    def check_state(self, state, source="the given state"):
        """Raise CheckpointError unless {dotted path: array} has the names and shapes of this layer, and numbers."""
        mine = self._find(Parameter, Statistic)
        missing, unknown = sorted(mine.keys() - state.keys()), sorted(state.keys() - mine.keys())
        if missing or unknown:
            what = f"has no {missing[0]!r}" if missing else f"has {unknown[0]!r}, which this model lacks"
            count = len(missing) + len(unknown)
            raise CheckpointError(f"{source} is of another model: it {what} ({count} names differ)")
        for path, item in mine.items():
            if state[path].shape != item.value.shape:
                raise CheckpointError(
                    f"{source} is of another model: {path} has shape {state[path].shape}, "
                    f"this model's has {item.value.shape}"
                )
            if state[path].dtype.kind not in "fiu":
                raise CheckpointError(f"{source} is damaged: {path} holds {state[path].dtype}, no numbers")

    def astype(self, dtype):
        """Convert all parameters and statistics in place (gradients are dropped) and return self."""
        for item in self._find(Parameter, Statistic).values():
            item.value = item.value.astype(dtype)
        for parameter in self.parameters().values():
            parameter.grad = None
        return self

    # Freezing and skipping what nobody reads.

    def freeze(self, frozen=True):
        """Keep the parameters of this layer and all below it as they are; BatchNorm then keeps its statistics too."""
        for _, layer in self.walk():
            layer.frozen = frozen
        return self

    def trains(self):
        """Whether this layer or one below it has a parameter that is not frozen."""
        return bool(self.parameters(trainable_only=True))

    def has_backward(self):
        """Whether backward has anything to compute: its dx is read, or a parameter below is trained."""
        return self.input_gradient or self.trains()

    def require_input_gradient(self, required):
        """Say whether anybody reads this layer's dx; return whether anybody reads the gradient of its output.

        Training calls this once on the whole network with False (nobody reads the gradient of the pictures). What the
        stem and frozen layers need not compute is then not computed.
        """
        self.input_gradient = required
        return self.has_backward()

    # Checks before a kernel is called: a student never meets a compiler's typing error.

    def check_input(self, x, dimensions, channels=None):
        """Return x contiguous; raise ShapeError or DtypeError, naming this layer, when it does not fit.

        dimensions spells the axes with the letters of the legend, such as "NHWC"; the last is compared with channels.
        """
        name = type(self).__name__
        if not isinstance(x, np.ndarray) or x.dtype.char not in "fd" or not x.dtype.isnative:
            got = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
            raise DtypeError(f"{name} computes on float32 or float64 arrays, got {got}: use .astype(np.float32)")
        if x.ndim != len(dimensions):
            shape = ", ".join(dimensions)
            raise ShapeError(f"{name} expects shape ({shape}), got {x.shape}")
        if channels is not None and x.shape[-1] != channels:
            raise ShapeError(f"{name} was made for {channels} channels, got {x.shape[-1]} in shape {x.shape}")
        if 0 in x.shape:
            raise ShapeError(f"{name} got an empty array of shape {x.shape}")
        for parameter_name, parameter in list(vars(self).items()):
            if isinstance(parameter, Parameter) and parameter.value.dtype != x.dtype:
                raise DtypeError(
                    f"{name}.{parameter_name} is {parameter.value.dtype} but its input is {x.dtype}: "
                    "convert one of them with .astype"
                )
        return np.ascontiguousarray(x)

    def check_dy(self, dy, shape, dtype):
        """Return dy contiguous; raise when the upstream gradient does not have the shape and dtype of the output."""
        if dy.shape != tuple(shape):
            raise ShapeError(f"{type(self).__name__}.backward got dy of shape {dy.shape}, its output had {shape}")
        if dy.dtype != dtype:
            raise DtypeError(f"{type(self).__name__}.backward got dy of {dy.dtype}, its output was {dtype}")
        return np.ascontiguousarray(dy)
