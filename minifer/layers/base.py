"""What a layer is: a forward pass, a backward pass, and the parameters between them. No tape, no graph.

    y  = layer.forward(x, training=True)     computes y and saves exactly what backward will read
    dx = layer.backward(dy)                  given dloss/dy, returns dloss/dx and sets parameter.grad = dloss/dparameter

The rules every layer keeps: backward overwrites gradients and never adds to them (so there is no zero_grad); neither
pass changes its arguments; the dtype that comes in goes out (float32 trains, float64 checks gradients); what forward
saved is handed out once, so that a second backward raises instead of returning something stale.

Any number of threads may call forward(x) of one layer, also while another one trains it: without training=True nothing
is saved. One thread at a time trains: what forward saved is for a backward in the same thread.
"""

from threading import get_ident

import numpy as np

from minifer.errors import BackwardError
from minifer.initializers import is_outline
from minifer.layers import checks, holding
from minifer.layers.parameter import Parameter, Statistic


class Layer(checks.Checks):
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

    def __call__(self, *inputs, training=False):
        """Return forward(*inputs)."""
        return self.forward(*inputs, training=training)

    def __repr__(self):
        """A line for a layer; of a layer of layers, one for each below it, with its path and what it holds."""
        lines = []
        for path, layer in self.walk():
            held = [f"{name} {item.value.shape}" for name, item in vars(layer).items() if isinstance(item, Parameter)]
            name = f"{type(layer).__name__}({', '.join(held)})"
            lines.append(f"  {path}: {name}" if path else name)
        return "\n".join(lines)

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
        return ((path, layer) for path, layer, _ in holding.walk(self, path))

    def parameters(self, trainable_only=False):
        """Return {dotted path: Parameter}, such as {"block3.depthwise.weight": ...}."""
        return holding.find(self, Parameter, trainable_only=trainable_only)

    def generators(self):
        """Return {dotted path: random Generator} of all that draws random numbers, such as {"dropout.rng": ...}."""
        return holding.find(self, np.random.Generator)

    def state(self):
        """Return {dotted path: array} of everything a checkpoint holds: parameters and running statistics."""
        return {path: item.value for path, item in holding.find(self, Parameter, Statistic).items()}

    def load_state(self, state, source="the given state"):
        """Copy arrays from {dotted path: array} into this layer; names and shapes must match exactly."""
        self.check_state(state, source)
        for path, item in holding.find(self, Parameter, Statistic).items():
            if is_outline(item.value):
                item.value = np.empty(item.value.shape, item.value.dtype)
            item.value[...] = state[path]

    def check_state(self, state, source="the given state"):
        """Raise CheckpointError unless {dotted path: array} has the names and shapes of this layer, and numbers."""
        checks.check_state(holding.find(self, Parameter, Statistic), state, source)

    def astype(self, dtype):
        """Convert all parameters and statistics in place (gradients are dropped) and return self."""
        for item in holding.find(self, Parameter, Statistic).values():
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


def computes_as(layer, kind, *passes):
    """Say whether a layer computes what a kind of layer does: it is one, and nobody has replaced the passes named."""
    return isinstance(layer, kind) and all(
        getattr(getattr(layer, name), "__func__", None) is getattr(kind, name) for name in passes
    )
