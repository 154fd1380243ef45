"""A layer as the check sees it: any object with forward and backward, whether or not it knows minifer's protocol.

What a layer of one's own may leave out: the base class, the keyword `training`, and Parameter. Where its weights are
and what their gradients are called is found by state.py, names.py and survey.py.
"""

import contextlib
import copy
import inspect
import io
import sys

import numpy as np

from minifer.errors import LayerError
from minifer.gradcheck.functions import Functions
from minifer.gradcheck.outputs import POSITIONAL, is_several
from minifer.gradcheck.state import State
from minifer.layers.base import Layer
from minifer.own_code import own_line, signature_of, trouble

TRAINING = ("training", "train", "is_training", "train_mode")  # keywords that say that backward will follow
NO_NUMBERS = {  # what forward returns by mistake, and what to do
    "generator": "a generator: write return in place of yield",
    "coroutine": "a coroutine: write def in place of async def",
    "ndarray": "an array of other things than numbers: return one of float64",
}
CLEARING = ("zero_grad", "zero_grads", "zero_gradients", "clear_grad", "clear_grads", "reset_grad", "reset_grads")


class ArgumentsError(LayerError):
    """A pass does not take as many arguments as it was given."""


def is_layer(thing):
    """Whether thing is an object (not a class) with a forward and a backward method."""
    return not inspect.isclass(thing) and all(callable(getattr(thing, name, None)) for name in ("forward", "backward"))


class Subject:
    """A copy of a layer, which the check may spoil; fails with a LayerError that names the student's file and line.

    state      the layer and all that it holds
    outputs    the Outputs, or None where forward returns one array
    constants  names of arrays, numbers and inputs that are not trained
    leaves     {name: Leaf} of all arrays and numbers that it held when last surveyed
    trained    {name: paths of the arrays whose sum is its gradient}; none for a gradient that is missing
    heard      the passes that have run, of all copies together: what a student prints is shown once
    """

    def __init__(self, layer):
        self.name = type(layer).__name__
        if not is_layer(layer):
            missing = "backward(dy)" if callable(getattr(layer, "forward", None)) else "forward(x)"
            raise LayerError(f"{self.name} is not a layer: it has no method {missing}")
        self.signatures = {method: signature_of(getattr(layer, method)) for method in ("forward", "backward")}
        self.outputs, self.trained, self.constants, self.state, self.heard = None, {}, (), State(layer), set()
        self.state = self.copy().state
        self.look_around()

    @property
    def layer(self):
        """The copy of the layer."""
        return self.state.layer

    def copy(self):
        """Return a Subject with a copy of the layer in its present state."""
        other = copy.copy(self)
        try:
            other.state = copy.deepcopy(self.state)
        except BaseException as error:
            raise LayerError(f"{self.name} cannot be copied, and every probe needs a copy: {trouble(error)}") from error
        return other

    def look_around(self):
        """Find all arrays and numbers that the layer holds, and make those of floating point float64."""
        self.leaves = {leaf.name: leaf for leaf in self.state.leaves()}
        for name in self.leaves:
            value = self.at(name)
            if isinstance(value, np.ndarray | np.floating) and value.dtype.kind == "f" and value.dtype != np.float64:
                self.replace(name, value.astype(np.float64))

    # The two passes.

    def called(self, method):
        """Return what messages call a pass: Dense.forward, or the name of a function."""
        return self.layer.called[method] if self.is_function() else f"{self.name}.{method}"

    def is_function(self):
        """Whether functions stand in place of a layer."""
        return isinstance(self.layer, Functions)

    def is_loss(self):
        """Whether it is one function, which returns a loss and its gradients."""
        return self.is_function() and self.called("forward") == self.called("backward")

    def forward(self, *inputs):
        """Return forward's output as an array; several end to end."""
        self.run(*inputs)
        y = self.outputs.joined(self.result) if self.outputs else np.asarray(self.result)
        if y.dtype.kind not in "fiubc":
            raise self.no_numbers()
        if y.dtype != np.float64:
            raise LayerError(
                f"{self.called('forward')} turned float64 into {y.dtype}: the check computes in float64, so keep the "
                "dtype that comes in, as np.zeros(shape, x.dtype) does"
            )
        if not np.isfinite(y).all():
            raise LayerError(
                f"{self.called('forward')} returned nan or inf: forward has to be right before backward can be"
            )
        return y

    def no_numbers(self):
        """Return the error of a forward whose result is no array of numbers."""
        kind = type(self.result).__name__
        what = NO_NUMBERS.get(kind, f"a {kind} without an array of numbers: return y, of float64")
        return LayerError(f"{self.called('forward')} returned {what}")

    def run(self, *inputs):
        """Return what forward returns, in training mode if it knows about it, and keep it as `result`."""
        takes = self.signatures["forward"].parameters
        training = [name for name in TRAINING if name in takes] or ["training"] * self.takes_training()
        self.result = self._call("forward", *inputs, **dict.fromkeys(training[:1], True))
        if self.result is None:
            raise LayerError(f"{self.called('forward')} returned None: does it end with 'return y'?")
        return self.result

    def backward(self, dy):
        """Return what backward returns for a dy of the shape that forward gave."""
        arguments = self.outputs.arguments(self.result, dy) if self.outputs else [dy]
        return self._call("backward", *(arguments if self.takes_dy() else []))

    def clear(self):
        """Call zero_grad, or what it is called, of all layers that have it: they may add to their gradients."""
        for _, thing in self.state.objects():
            for name in CLEARING:
                if callable(getattr(thing, name, None)):
                    self._own(getattr(thing, name), (), {}, f"{type(thing).__name__}.{name}")

    def takes_training(self):
        """Whether forward accepts the keyword `training`."""
        parameters = self.signatures["forward"].parameters
        return "training" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())

    def takes_dy(self):
        """Whether backward accepts dy; that of a loss, whose dy is 1, may do without."""
        return bool(self.signatures["backward"].parameters)

    def input_names(self, count):
        """Return the names of forward's `count` inputs, such as x, or query, key, value."""
        parameters = self.signatures["forward"].parameters.values()
        names = [p.name for p in parameters if p.kind in POSITIONAL and p.name not in TRAINING]
        return names[:count] if len(names) >= count else [f"input{i}" for i in range(count)]

    def _call(self, method, *arguments, **keywords):
        given = ", ".join(f"shape {np.shape(array)}" for array in arguments if not is_several(array)) or "nothing"
        try:
            self.signatures[method].bind(*arguments, **keywords)
        except TypeError as error:
            what = f"{self.called(method)}{self.signatures[method]}"
            raise ArgumentsError(f"{what} was given {given}: {error}") from error
        with self.state.installed(), self._heard_once(method):
            return self._own(getattr(self.layer, method), arguments, keywords, self.called(method), f", given {given},")

    def _own(self, function, arguments, keywords, called, given=""):
        """Return what a student's function returns; whatever it raises is a LayerError that names the line."""
        try:
            return function(*arguments, **keywords)
        except BaseException as error:
            place = own_line(error)
            if not place:
                raise
            if isinstance(error, NotImplementedError):
                text, place = str(error).strip().partition("\n")[0], place.partition(":")[0]
                raise LayerError(f"{called} is still to be written ({place}): {text}") from error
            raise LayerError(f"{called}{given} raised {trouble(error)}") from error

    @contextlib.contextmanager
    def _heard_once(self, method):
        """Let the first call of a pass print, and no other: one print in forward would be hundreds."""
        quiet = method in self.heard
        self.heard.add(method)
        with contextlib.ExitStack() as stack:
            if quiet:
                for redirect in (contextlib.redirect_stdout, contextlib.redirect_stderr):
                    stack.enter_context(redirect(io.StringIO()))
                stack.callback(setattr, sys, "breakpointhook", sys.breakpointhook)
                sys.breakpointhook = lambda *arguments, **keywords: None  # its prompt would not be seen
            yield

    # What it holds.

    def get(self, name):
        """Return an array or number as a float64 array of its own."""
        return np.array(self.at(name), np.float64)

    def at(self, name):
        """Return an array, list of numbers or number as the layer holds it."""
        return self.state.get(self.leaves[name].paths[0])

    def set(self, name, value):
        """Give an array or number another value: arrays in place, so that whoever else holds one sees it too."""
        held = self.at(name)
        if isinstance(held, np.ndarray):
            held[...] = value
        else:
            self.replace(name, np.asarray(value).tolist() if isinstance(held, list) else type(held)(value))

    def replace(self, name, value):
        """Put another object in the place of an array or number."""
        for path in self.leaves[name].paths:
            self.state.put(path, value)

    def holds_floats(self, name):
        """Whether an array or number is of floating point."""
        return np.asarray(self.at(name)).dtype.kind == "f"

    def gradient(self, name):
        """Return the gradient that the latest backward left, as it is, or None."""
        parts = [self.state.get(path) for path in self.trained[name]]
        return parts[0] if len(parts) == 1 else None if any(part is None for part in parts) or not parts else sum(parts)

    def notes(self):
        """Return what this layer lacks of minifer's protocol, a line each."""
        notes = []
        if self.is_function():
            return notes
        if not isinstance(self.layer, Layer):
            notes.append(f"to stand in a network, {self.name} has to derive from minifer.layers.Layer")
        if not self.takes_training():
            notes.append("forward has no keyword training=False, which a network passes")
        return notes
