"""Several outputs, such as (h, c) of an LSTM, seen as one array: all of them end to end, with a random dy for each.

How backward takes the gradients of several outputs, and which of what it returns belong to the inputs.
"""

import inspect
import re
from dataclasses import dataclass

import numpy as np

GRADIENT = re.compile(r"d_?[A-Za-z]|.*grad|.*delta|g_")  # what the second argument of backward(dh, dc) is called
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Outputs:
    """One way in which forward's result and backward's arguments may belong together.

    each       backward(dh, dc)         together   backward((dh, dc)), a tuple or dict like forward's result
    stacked    backward(array of both)  first      backward(dh): the others are no outputs to train through
    cache      backward(dy, cache), of forward's (y, cache)
    """

    way: str

    def joined(self, result):
        """Return the outputs that get a gradient as one array: a single one as it is, several end to end."""
        parts = self._parts(result)
        return np.asarray(parts[0]) if len(parts) == 1 else np.concatenate([np.ravel(part) for part in parts])

    def arguments(self, result, dy):
        """Return what backward is called with, for a dy of the shape of joined(result)."""
        if self.way in ("first", "cache"):
            return [dy, *(_values(result)[1:] if self.way == "cache" else [])]
        parts = self._parts(result)
        ends = np.cumsum([np.size(part) for part in parts])[:-1]
        pieces = [piece.reshape(np.shape(part)) for piece, part in zip(np.split(dy.ravel(), ends), parts, strict=True)]
        if self.way == "stacked":
            return [np.stack(pieces)]
        refilled = _refilled(result, iter(pieces))
        return _values(refilled) if self.way == "each" else [refilled]

    def _parts(self, result):
        parts = list(floats_in(result))
        return parts[:1] if self.way in ("first", "cache") else parts


def is_several(result):
    """Whether this is more than one array or number; a list of rows of one length is one array."""
    if isinstance(result, list):
        return as_array(result) is None
    return isinstance(result, tuple | dict)


def as_array(rows):
    """Return nested lists as an array, or None where they are not one of numbers."""
    try:
        array = np.asarray(rows)
    except ValueError:  # of different lengths
        return None
    return array if array.dtype.kind in "fiub" else None


def ways(result, backward):
    """Return the Outputs to try, the likeliest first, for a result of forward and backward's signature."""
    names = [parameter.name for parameter in backward.parameters.values() if parameter.kind in POSITIONAL]
    one = sum(1 for _ in floats_in(result)) == 1
    if len(names) < 2:
        return [Outputs(way) for way in (*(("together", "stacked") if names and not one else ()), "first")]
    order = ["each", "cache"] if GRADIENT.match(names[1]) else ["cache", "each"]
    return [Outputs(way) for way in (["cache"] if one else order)]


def sorted_gradients(returned, names, wanted, shape):
    """Return ({name: gradient} of the inputs, {key: the rest}) of what backward returned.

    names    "dx" of every input x, wanted: those of floating-point inputs; shape: that of the first of these
    """
    if isinstance(returned, dict):
        keys = {name: key for key in returned for name in wanted if key in (name, name[1:])}
        rest = {key: value for key, value in returned.items() if key not in keys.values()}
        return {name: returned[key] for name, key in keys.items()}, rest
    rows = isinstance(returned, list) and len(wanted) == 1 and np.shape(as_array(returned)) == shape
    items = list(returned) if isinstance(returned, tuple | list) and not rows else [returned]
    rest = {str(i): item for i, item in enumerate(items)}
    of = names if len(items) == len(names) else wanted
    found = {name: rest.pop(str(i)) for i, name in enumerate(of[: len(items)])}
    for name in names:
        if name not in wanted and found.get(name, 0) is None:
            del found[name]  # labels and indices have no gradient
    return found, {key: item for key, item in rest.items() if wanted or item is not None}


def _values(result):
    return list(result.values()) if isinstance(result, dict) else list(result)


def floats_in(thing):
    """Yield the floating-point arrays and numbers in nested tuples, lists and dicts."""
    if isinstance(thing, float | np.floating) or (isinstance(thing, np.ndarray) and thing.dtype.kind == "f"):
        yield thing
    elif isinstance(thing, tuple | list | dict):
        for part in _values(thing):
            yield from floats_in(part)


def _refilled(thing, pieces):
    """Return nested tuples, lists and dicts with pieces in the place of their floating-point arrays, the rest left."""
    if isinstance(thing, dict):
        return {key: _refilled(part, pieces) for key, part in thing.items()}
    if isinstance(thing, tuple | list):
        parts = [_refilled(part, pieces) for part in thing]
        return type(thing)(*parts) if hasattr(thing, "_fields") else type(thing)(parts)
    return next(pieces) if any(True for _ in floats_in(thing)) else thing
