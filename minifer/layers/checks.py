"""What is checked before a kernel is called or a state is loaded: a student never meets a compiler's typing error."""

import numpy as np

from minifer.errors import CheckpointError, DtypeError, ShapeError
from minifer.layers.parameter import Parameter


class Checks:
    """What a Layer's forward and backward check, with errors that name the layer."""

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
        if not isinstance(dy, np.ndarray):
            got = f"{type(self).__name__}.backward got {type(dy).__name__}, no array"
            raise DtypeError(f"{got}: what does backward of the layer above return?")
        if dy.shape != tuple(shape):
            raise ShapeError(f"{type(self).__name__}.backward got dy of shape {dy.shape}, its output had {shape}")
        if dy.dtype != dtype:
            raise DtypeError(f"{type(self).__name__}.backward got dy of {dy.dtype}, its output was {dtype}")
        return np.ascontiguousarray(dy)


def check_state(mine, state, source):
    """Raise CheckpointError unless {dotted path: array} has the names and shapes of `mine`, and numbers."""
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
        if state[path].dtype.kind != "f":
            raise CheckpointError(f"{source} is damaged: {path} holds {state[path].dtype}, no floating-point numbers")
