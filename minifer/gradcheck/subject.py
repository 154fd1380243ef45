"""A layer as the check sees it: any object with forward and backward, whether or not it knows minifer's protocol.

What a layer of one's own may leave out: the base class, the keyword `training`, and Parameter. Without Parameter, an
array self.weight made in __init__ is a parameter if backward leaves its gradient in self.dweight.
"""

import copy
import inspect
import linecache
import sysconfig
import traceback
from pathlib import Path

import numpy as np

from minifer.errors import LayerError
from minifer.layers.base import Layer, Parameter, Statistic

PACKAGE = Path(__file__).parents[1]
LIBRARIES = (str(PACKAGE), sysconfig.get_path("stdlib"), sysconfig.get_path("platlib"), sysconfig.get_path("purelib"))


def is_layer(thing):
    """Whether thing is an object (not a class) with a forward and a backward method."""
    return not inspect.isclass(thing) and all(callable(getattr(thing, name, None)) for name in ("forward", "backward"))


def is_float_array(thing):
    """Whether thing is a NumPy array of floating-point numbers."""
    return isinstance(thing, np.ndarray) and np.issubdtype(thing.dtype, np.floating)


class PlainParameter:
    """An array self.weight whose gradient is in self.dweight, with the two attributes of a Parameter."""

    def __init__(self, holder, name):
        self.holder, self.name = holder, name

    @property
    def value(self):
        return getattr(self.holder, self.name)

    @value.setter
    def value(self, value):
        setattr(self.holder, self.name, value)

    @property
    def grad(self):
        return getattr(self.holder, f"d{self.name}", None)


class Subject:
    """A copy of a layer, which the check may spoil; fails with a LayerError that names the student's file and line."""

    def __init__(self, layer, signatures=None):
        self.name = type(layer).__name__
        if not is_layer(layer):
            missing = "backward(dy)" if callable(getattr(layer, "forward", None)) else "forward(x)"
            raise LayerError(f"{self.name} is not a layer: it has no method {missing}")
        try:
            self.layer = copy.deepcopy(layer)
        except Exception as error:
            raise LayerError(f"{self.name} cannot be copied, and every probe needs a copy: {error}") from error
        self.signatures = signatures or {
            method: inspect.signature(getattr(layer, method)) for method in ("forward", "backward")
        }

    def copy(self):
        """Return a Subject with a copy of the layer in its present state."""
        return Subject(self.layer, self.signatures)

    # The two passes.

    def forward(self, *inputs):
        """Return forward's output as an array, in training mode if forward knows about it."""
        training = {"training": True} if self.takes_training() else {}
        y = self._call("forward", *inputs, **training)
        if y is None:
            raise LayerError(f"{self.name}.forward returned None: does it end with 'return y'?")
        y = np.asarray(y)
        if y.dtype != np.float64:
            raise LayerError(
                f"{self.name}.forward turned float64 into {y.dtype}: the check computes in float64, so keep the dtype "
                "that comes in, as np.zeros(shape, x.dtype) does"
            )
        if not np.isfinite(y).all():
            raise LayerError(f"{self.name}.forward returned nan or inf: forward has to be right before backward can be")
        return y

    def backward(self, dy):
        """Return backward's gradients as a list, one for each input."""
        dx = self._call("backward", *([dy] if self.takes_dy() else []))
        return list(dx) if isinstance(dx, tuple | list) else [dx]

    def takes_training(self):
        """Whether forward accepts the keyword `training`."""
        parameters = self.signatures["forward"].parameters
        return "training" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())

    def takes_dy(self):
        """Whether backward accepts dy; that of a loss, whose dy is 1, may do without."""
        return bool(self.signatures["backward"].parameters)

    def input_names(self, count):
        """Return the names of forward's `count` inputs, such as x, or query, key, value."""
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = self.signatures["forward"].parameters.values()
        names = [p.name for p in parameters if p.kind in kinds and p.name != "training"]
        return names[:count] if len(names) >= count else [f"input{i}" for i in range(count)]

    def _call(self, method, *arguments, **keywords):
        given = ", ".join(f"shape {np.shape(array)}" for array in arguments) or "nothing"
        try:
            self.signatures[method].bind(*arguments, **keywords)
        except TypeError as error:
            raise LayerError(f"{self.name}.{method}{self.signatures[method]} was given {given}: {error}") from error
        try:
            return getattr(self.layer, method)(*arguments, **keywords)
        except Exception as error:
            place = own_line(error)
            if not place:
                raise
            text = str(error).strip().split("\n")[0]
            if isinstance(error, NotImplementedError):
                place = place.partition(":")[0]
                raise LayerError(f"{self.name}.{method} is still to be written ({place}): {text}") from error
            raise LayerError(
                f"{self.name}.{method}, given {given}, raised {type(error).__name__}: {text} ({place})"
            ) from error

    # Parameters.

    def parts(self):
        """Return [(dotted path, layer)] of this layer and of all that it holds in attributes."""
        return list(walk(self.layer))

    def parameters(self):
        """Return {dotted path: Parameter or PlainParameter} of what is trained; call it after a backward."""
        found = {}
        for path, part in self.parts():
            if getattr(part, "frozen", False):
                continue
            for name, value in attributes(part):
                if isinstance(value, Parameter):
                    found[dotted(path, name)] = value
                elif is_float_array(value) and hasattr(part, f"d{name}"):
                    found[dotted(path, name)] = PlainParameter(part, name)
        return found

    def get(self, path):
        """Return the value of the parameter at a dotted path."""
        holder, name = self._holder(path)
        parameter = getattr(holder, name)
        return parameter.value if isinstance(parameter, Parameter) else parameter

    def set(self, path, value):
        """Give the parameter at a dotted path another value."""
        holder, name = self._holder(path)
        if isinstance(getattr(holder, name), Parameter):
            getattr(holder, name).value = value
        else:
            setattr(holder, name, value)

    def _holder(self, path):
        return dict(self.parts())[path.rpartition(".")[0]], path.rpartition(".")[2]

    def to_float64(self):
        """Convert every parameter, statistic and plain array."""
        if isinstance(self.layer, Layer):
            self.layer.astype(np.float64)
        for _, part in self.parts():
            for name, value in attributes(part):
                if isinstance(value, Parameter | Statistic):
                    value.value = value.value.astype(np.float64)
                elif is_float_array(value):
                    setattr(part, name, value.astype(np.float64))

    def plain_arrays(self):
        """Return {dotted path: array} of all arrays that are no Parameter: made in __init__, these may be trained."""
        return {
            dotted(path, name): value
            for path, part in self.parts()
            for name, value in attributes(part)
            if is_float_array(value)
        }

    def notes(self, made_in_init, checked):
        """Return what this layer lacks of minifer's protocol, and what could not be checked, a line each."""
        notes = []
        if not isinstance(self.layer, Layer):
            notes.append(f"to stand in a network, {self.name} has to derive from minifer.layers.Layer")
        if not self.takes_training():
            notes.append("forward has no keyword training=False, which a network passes")
        for path in made_in_init:
            holder, name = path.rpartition(".")[0], path.rpartition(".")[2]
            is_gradient = name[0] == "d" and dotted(holder, name[1:]) in made_in_init
            if path not in checked and not is_gradient:
                notes.append(
                    f"{path} was not checked: if it is trained, hold it in a minifer.layers.Parameter and set its "
                    f"grad, or set self.d{name} in backward"
                )
        found = [part for _, part in self.parts()]
        for path, part in self.parts():
            for name, value in attributes(part):
                held = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
                if any(is_float_array(thing) or (is_layer(thing) and thing not in found) for thing in held):
                    notes.append(
                        f"{dotted(path, name)} was not checked: hold arrays and layers in attributes of their own, "
                        "or layers in a Sequential"
                    )
        return notes


def dotted(path, name):
    """Return path.name, or the name alone at the top."""
    return f"{path}.{name}" if path else name


def attributes(thing):
    """Return [(name, value)] of an object's attributes."""
    return list(getattr(thing, "__dict__", {}).items())


def walk(layer, path=""):
    """Yield (dotted path, layer) for a layer and all below it, whether or not they derive from Layer."""
    yield path, layer
    children = layer.children() if isinstance(layer, Layer) else attributes(layer)
    for name, child in children:
        if is_layer(child):
            yield from walk(child, dotted(path, name))


def own_line(error):
    """Return "file.py, line 12: source" of the innermost line outside minifer and the libraries, or an empty string."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = frame.f_code.co_filename
        if not file.startswith((*LIBRARIES, "<")):
            return f"{Path(file).name}, line {line}: {linecache.getline(file, line).strip()}"
    return ""
