"""A layer with several outputs, such as (h, c) of an LSTM, seen as one with a single array: all outputs end to end.

A random dy is drawn for each. How backward takes them is found by trying; forward may also return a cache for backward.
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
        values = list(result.values()) if isinstance(result, dict) else list(result)
        if self.way in ("first", "cache"):
            return [dy, *(values[1:] if self.way == "cache" else [])]
        parts = self._parts(result)
        ends = np.cumsum([np.size(part) for part in parts])[:-1]
        pieces = [piece.reshape(np.shape(part)) for piece, part in zip(np.split(dy.ravel(), ends), parts, strict=True)]
        if self.way == "stacked":
            return [np.stack(pieces)]
        refilled = _refilled(result, iter(pieces))
        if self.way == "together":
            return [refilled]
        return list(refilled.values()) if isinstance(refilled, dict) else list(refilled)

    def _parts(self, result):
        parts = list(_floats(result))
        return parts[:1] if self.way in ("first", "cache") else parts


def is_several(result):
    """Whether forward returned more than one array or number."""
    if isinstance(result, list):
        try:
            return np.asarray(result).dtype.kind not in "fiub"
        except ValueError:  # of different lengths
            return True
    return isinstance(result, tuple | dict)


def ways(result, backward):
    """Return the Outputs to try, the likeliest first, for a result of forward and backward's signature."""
    names = [parameter.name for parameter in backward.parameters.values() if parameter.kind in POSITIONAL]
    one = sum(1 for _ in _floats(result)) == 1
    if len(names) < 2:
        several = ["together", "stacked"] if len(names) == 1 and not one else []
        return [Outputs(way) for way in (*several, "first")]
    order = ["each", "cache"] if GRADIENT.match(names[1]) and not one else ["cache", "each"]
    return [Outputs(way) for way in (order[:1] if one else order)]


def _floats(thing):
    """Yield the floating-point arrays and numbers in nested tuples, lists and dicts."""
    if isinstance(thing, float | np.floating) or (isinstance(thing, np.ndarray) and thing.dtype.kind == "f"):
        yield thing
    elif isinstance(thing, tuple | list | dict):
        for part in thing.values() if isinstance(thing, dict) else thing:
            yield from _floats(part)


def _refilled(thing, pieces):
    """Return nested tuples, lists and dicts with pieces in the place of their floating-point arrays, the rest left."""
    if isinstance(thing, dict):
        return {key: _refilled(part, pieces) for key, part in thing.items()}
    if isinstance(thing, tuple | list):
        parts = [_refilled(part, pieces) for part in thing]
        return type(thing)(*parts) if hasattr(thing, "_fields") else type(thing)(parts)
    return next(pieces) if any(True for _ in _floats(thing)) else thing
