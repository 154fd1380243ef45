"""Layers made of layers: nesting replaces a graph."""

from minifer.errors import ConfigError, ShapeError
from minifer.kernels.elementwise import add
from minifer.layers.base import Layer


class Sequential(Layer):
    """Layers one after another: Sequential(a, b) or, with names of their own, Sequential(stem=a, norm=b).

    Forward    y = ...b(a(x))
    Backward   dx = a.backward(b.backward(... dy)); stops where nobody below reads a gradient
    """

    def __init__(self, *layers, **named_layers):
        self.layers = {str(i): layer for i, layer in enumerate(layers)} | named_layers
        if not self.layers:
            raise ConfigError(f"{type(self).__name__} needs at least one layer")
        for name, layer in self.layers.items():
            if not isinstance(layer, Layer):
                raise ConfigError(
                    f"{type(self).__name__} takes instances of minifer.layers.base.Layer one by one, as in "
                    f"Sequential(a, b) or Sequential(*layers), got a {type(layer).__name__} as {name!r}"
                )

    def attributes(self):
        """Return [(name, value)] of the layers by their own names, "0" and not "layers.0", and of all else."""
        return [*self.layers.items(), *(pair for pair in super().attributes() if pair[0] != "layers")]

    def __getitem__(self, name):
        return self.layers[str(name)]

    def forward(self, x, training=False):
        for layer in self.layers.values():
            x = layer.forward(x, training=training)
        return x

    def backward(self, dy):
        for layer in reversed(self.layers.values()):
            if not layer.has_backward():
                return None
            dy = layer.backward(dy)
        return dy

    def require_input_gradient(self, required):
        self.input_gradient = required
        for layer in self.layers.values():
            required = layer.require_input_gradient(required)
        return required


class Residual(Sequential):
    """A Sequential whose input is added to its output, through a projection where the two have different shapes.

    Forward    y = body(x) + x          or   body(x) + projection(x)
    Backward   dx = body.backward(dy) + dy          or   body.backward(dy) + projection.backward(dy)
    Source     He et al., Deep Residual Learning, 2016. The gradient reaches the layers below undiminished.
    """

    def __init__(self, *layers, projection=None, **named_layers):
        super().__init__(*layers, **named_layers)
        self.projection = projection

    def forward(self, x, training=False):
        y = super().forward(x, training=training)
        shortcut = x if self.projection is None else self.projection.forward(x, training=training)
        return add(self.check_same(y, shortcut), shortcut)

    def check_same(self, y, shortcut):
        """Return y; raise when the two paths end in different shapes."""
        if y.shape != shortcut.shape:
            remedy = "it needs a projection" if self.projection is None else "the projection does not match"
            raise ConfigError(f"Residual: the body turns {shortcut.shape} into {y.shape}, {remedy}")
        return y

    def backward(self, dy):
        dx = super().backward(dy)
        shortcut = dy if self.projection is None else None
        if self.projection is not None and self.projection.has_backward():
            shortcut = self.projection.backward(dy)
        if not self.input_gradient:
            return None
        if dx.shape != shortcut.shape:
            raise ShapeError(f"Residual: the body's backward returns {dx.shape} for an input of {shortcut.shape}")
        return add(dx, shortcut)

    def require_input_gradient(self, required):
        body = super().require_input_gradient(required)
        return (self.projection.require_input_gradient(required) if self.projection else required) or body
