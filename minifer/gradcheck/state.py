"""Every array and number that a layer holds: in attributes, slots, class attributes, lists, tuples, dicts and objects.

A path leads from a State to one of them in steps: (".", name) of an attribute, ("[", key) of an item. Paths hold in
every copy of the State, so what was found once can be read and moved in all copies.
"""

import enum
import functools
import inspect
import numbers
import random
import sys
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from minifer.layers import Sequential
from minifer.layers.base import Parameter
from minifer.own_code import STDLIB

OURS = __name__.partition(".")[0]
MISSING = object()
GENERATORS = np.random.Generator, np.random.RandomState, random.Random


@dataclass(frozen=True)
class Leaf:
    """One array, list of numbers (an array in all but name), or number.

    names, paths   its names, in parts, and where it is: several where the same array is held twice (tied weights)
    fixed          it is none that a student trains: in a layer of minifer's and no Parameter, or frozen
    """

    names: tuple
    paths: tuple
    fixed: bool

    @property
    def name(self):
        """The first of its names, dotted."""
        return ".".join(self.names[0])

    @property
    def parameter(self):
        """Whether it is the value of a minifer.layers.Parameter."""
        return self.paths[0][-1] == (".", "value") and self.names[0][-1:] != ("value",)


class State:
    """A layer and the data of its classes, to be copied together; with what backward returned beside dx."""

    def __init__(self, layer):
        self.layer, self.returned, self.statics = layer, {}, {}
        for _, thing in self.objects():  # a class is added before what it holds is walked
            self.statics |= {kind: _class_data(kind) for kind in type(thing).__mro__ if not is_library(kind)}

    @contextmanager
    def installed(self):
        """Run the body of a with statement with this State's data in the classes, and take back what it left there."""
        before = {kind: dict(vars(kind)) for kind in self.statics}
        try:
            for kind, data in self.statics.items():
                for name, value in data.items():
                    setattr(kind, name, value)
            yield
        finally:
            for kind, own in before.items():
                self.statics[kind] = _class_data(kind)
                for name in vars(kind).keys() - own.keys():
                    delattr(kind, name)
                for name, value in own.items():
                    if vars(kind).get(name, MISSING) is not value:
                        setattr(kind, name, value)

    def objects(self):
        """Yield (names, object) of all objects with attributes, the layer first."""
        walked = _walk(self.layer, (), ((".", "layer"),), self.statics, {})
        return ((names, thing) for names, _, thing, _ in walked if _has_attributes(thing))

    def generators(self):
        """Return all generators of random numbers that the layer holds."""
        walked = _walk(self.layer, (), ((".", "layer"),), self.statics, {})
        return [thing for _, _, thing, _ in walked if isinstance(thing, GENERATORS)]

    def leaves(self):
        """Return [Leaf] of all arrays and numbers, in the order of their definition."""
        found, seen = {}, {}
        for root in ("layer", "returned"):
            for names, path, value, fixed in _walk(getattr(self, root), (), ((".", root),), self.statics, seen):
                if is_leaf(value):
                    key = path if is_number(value) else id(value)
                    one = found.get(key, Leaf((), (), True))
                    found[key] = Leaf((*one.names, names), (*one.paths, path), one.fixed and bool(fixed))
        return list(found.values())

    def get(self, path):
        """Return what is at a path, or None if there is nothing."""
        thing = self
        try:
            for kind, key in path:
                thing = getattr(thing, key) if kind == "." else thing[key]
        except (AttributeError, LookupError, TypeError):
            return None
        return thing

    def put(self, path, value):
        """Put another value at a path; a tuple on the way is replaced by another one."""
        holder, (kind, key) = self.get(path[:-1]), path[-1]
        if isinstance(holder, tuple):
            parts = [*holder[:key], value, *holder[key + 1 :]]
            self.put(path[:-1], type(holder)(*parts) if hasattr(holder, "_fields") else type(holder)(parts))
        elif kind == ".":
            object.__setattr__(holder, key, value)  # a frozen dataclass can be moved too
        else:
            holder[key] = value

    def owner(self, path):
        """Return the class of the object that holds what is at a path, be it in a list or dict."""
        if path[0] == (".", "statics"):
            return path[1][1]
        holders = (self.get(path[:end]) for end in range(len(path) - 1, 0, -1))
        return next(type(holder) for holder in holders if _has_attributes(holder))


def is_number(thing):
    """Whether thing is a number, of Python or NumPy, that is no bool."""
    return isinstance(thing, numbers.Real) and not isinstance(thing, bool)


def is_leaf(thing):
    """Whether thing is an array of numbers, a list of numbers, or a number."""
    if isinstance(thing, np.ndarray):
        return thing.dtype.kind in "fiu"
    return is_number(thing) or (isinstance(thing, list) and bool(thing) and _shape(thing) is not None)


def _shape(thing):
    """Return the shape of nested lists of numbers, or None for other lists."""
    if is_number(thing):
        return ()
    shapes = {_shape(part) for part in thing} if isinstance(thing, list) else {None}
    return (len(thing), *shapes.pop()) if len(shapes) == 1 and None not in shapes else None


@functools.cache
def is_library(kind):
    """Whether a class is minifer's, NumPy's or Python's; those of a course may be installed like a library."""
    root = kind.__module__.partition(".")[0]
    file = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
    return root in (OURS, "numpy") or kind is object or (file.startswith(STDLIB) and "site-packages" not in file)


def _class_data(kind):
    """Return {name: value} of a class's attributes that hold data, not methods or settings in words."""
    return {
        name: value
        for name, value in vars(kind).items()
        if not name.startswith("__")
        and (is_leaf(value) or isinstance(value, list | tuple | dict) or _has_attributes(value))
        and not hasattr(value, "__get__")
    }


def _has_attributes(thing):
    """Whether to look for numbers in an object's attributes: a student's, minifer's or one that only holds things."""
    others = ModuleType, enum.Enum, np.ndarray, np.generic, State
    if inspect.isclass(thing) or inspect.isroutine(thing) or isinstance(thing, others):
        return False
    walked = type(thing).__module__.partition(".")[0] in (OURS, "collections", "types")
    return (walked or not is_library(type(thing))) and (hasattr(thing, "__dict__") or hasattr(type(thing), "__slots__"))


def _walk(thing, names, path, statics, seen, fixed=""):
    """Yield (names, path, thing, fixed) of a thing and all that it holds, but once of what can be changed in place."""
    if not isinstance(thing, tuple) and not is_leaf(thing):
        if id(thing) in seen:
            return
        seen[id(thing)] = thing  # held, so that no other object gets its id
    yield names, path, thing, fixed
    if is_leaf(thing):
        return
    if isinstance(thing, Parameter):
        fixed = fixed if fixed == "frozen" else ""
    elif _has_attributes(thing):
        ours = type(thing).__module__.partition(".")[0] == OURS
        fixed = "frozen" if getattr(thing, "frozen", False) is True else "ours" if ours else ""
    for name, place, part in _parts(thing, path, statics):
        yield from _walk(part, (*names, name) if name else names, place, statics, seen, fixed)


def _parts(thing, path, statics):
    """Yield (name, path, value) of what a thing holds; of what its name would only lengthen, no name."""
    inside = []
    if isinstance(thing, dict):
        inside = [(str(key), ("[", key), value) for key, value in thing.items()]
    elif isinstance(thing, list | tuple | deque):
        names = getattr(thing, "_fields", None) or map(str, range(len(thing)))
        inside = [(name, ("[", i), value) for i, (name, value) in enumerate(zip(names, thing, strict=True))]
    elif isinstance(thing, np.ndarray) and thing.dtype == object:
        inside = [(",".join(map(str, index)), ("[", index), thing[index]) for index in np.ndindex(thing.shape)]
    elif isinstance(thing, Parameter):
        inside = [("", (".", "value"), thing.value), ("grad", (".", "_grad"), thing.grad)]
    elif _has_attributes(thing):
        hidden = "layers" if isinstance(thing, Sequential) else None  # 0.weight, not layers.0.weight
        own = _attributes(thing)
        inside = [("" if name == hidden else name, (".", name), value) for name, value in own.items()]
        for kind in type(thing).__mro__:
            for name, value in statics.get(kind, {}).items():
                if name not in own:
                    own[name] = value
                    yield name, ((".", "statics"), ("[", kind), ("[", name)), value
    for name, step, value in inside:
        yield name, (*path, step), value


def _attributes(thing):
    """Return {name: value} of an object's own attributes, those in slots included."""
    found = dict(getattr(thing, "__dict__", {}))
    for kind in type(thing).__mro__:
        slots = vars(kind).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            private = slot.startswith("__") and not slot.endswith("__")
            name = f"_{kind.__name__.lstrip('_')}{slot}" if private else slot
            if slot not in ("__dict__", "__weakref__") and hasattr(thing, name):
                found.setdefault(name, getattr(thing, name))
    return found
