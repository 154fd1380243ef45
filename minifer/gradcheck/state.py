"""Every array and number that a layer holds: in attributes, slots, class attributes, lists, tuples, dicts and objects.

A path leads from a State to one of them in steps: (".", name) of an attribute, ("[", key) of an item. Paths hold in
every copy of the State, so what was found once can be read and moved in all copies.
"""

import enum
import functools
import inspect
import numbers
import sys
import sysconfig
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from minifer.layers import Sequential
from minifer.layers.base import Parameter

PACKAGE = Path(__file__).parents[1]
OURS, STDLIB = __name__.partition(".")[0], sysconfig.get_path("stdlib")
LIBRARIES = (str(PACKAGE), STDLIB)
MISSING = object()


@dataclass(frozen=True)
class Leaf:
    """One array, list of numbers, or number.

    names, paths   its dotted names and where it is: several where the same array is held twice (tied weights)
    kind           "array", "list" (of numbers, an array in all but name) or "number"
    parameter      it is the value of a Parameter
    fixed          it cannot be a trained one: in a layer of minifer's and no Parameter, a Statistic, frozen
    declared       its holder names it in `constants`
    """

    names: tuple
    paths: tuple
    kind: str
    parameter: bool
    fixed: bool
    declared: bool

    @property
    def name(self):
        """The first of its names, without the `value` of a Parameter."""
        return ".".join(self.names[0])

    @property
    def from_class(self):
        """Whether it is an attribute of a class."""
        return self.paths[0][0] == (".", "statics")

    def joined(self, other):
        """Return this Leaf with the names and paths of another, which is the same array."""
        flags = self.parameter or other.parameter, self.fixed and other.fixed, self.declared or other.declared
        return Leaf(self.names + other.names, self.paths + other.paths, self.kind, *flags)


class State:
    """A layer and the data of its classes, to be copied together; with what backward returned beside dx."""

    def __init__(self, layer):
        self.layer, self.returned, self.statics = layer, {}, {}
        for thing in _objects(self.layer, self.statics):  # fills what it goes through
            for kind in type(thing).__mro__:
                if not is_library(kind):
                    self.statics[kind] = _class_data(kind)

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
            for kind, attributes_before in before.items():
                self.statics[kind] = _class_data(kind)
                for name in vars(kind).keys() - attributes_before.keys():
                    delattr(kind, name)
                for name, value in attributes_before.items():
                    if vars(kind).get(name, MISSING) is not value:
                        setattr(kind, name, value)

    def get(self, path):
        """Return what is at a path, or None if there is nothing."""
        return _follow(self, path)

    def owner(self, path):
        """Return the class of the object that holds what is at a path, be it in a list or dict."""
        if path[0] == (".", "statics"):
            return path[1][1]
        holders = (self.get(path[:end]) for end in range(len(path) - 1, 0, -1))
        return next(type(holder) for holder in holders if not isinstance(holder, dict | list | tuple | np.ndarray))

    def put(self, path, value):
        """Put another value at a path."""
        _replaced(self, path, value)

    def leaves(self):
        """Return [Leaf] of all arrays and numbers, in the order of their definition."""
        found, seen = {}, {}
        for leaf, value in [
            *_walk(self.layer, (), ((".", "layer"),), self.statics, seen),
            *_walk(self.returned, (), ((".", "returned"),), {}, seen),
        ]:
            key = id(value) if leaf.kind == "array" else leaf.paths
            found[key] = found[key].joined(leaf) if key in found else leaf
        return list(found.values())

    def objects(self):
        """Return all objects with attributes, the layer first."""
        return list(_objects(self.layer, self.statics))


def is_number(thing):
    """Whether thing is a number, of Python or NumPy, that is no bool."""
    return isinstance(thing, numbers.Real) and not isinstance(thing, bool)


def is_library_file(file):
    """Whether a file is minifer's, Python's or an installed library's."""
    installed = not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)
    return installed or file.startswith((*LIBRARIES, "<frozen", "<__array"))


@functools.cache
def is_library(kind):
    """Whether a class is minifer's, NumPy's or Python's; those of a course may be installed like a library."""
    root = kind.__module__.partition(".")[0]
    file = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
    return root in (OURS, "numpy") or kind is object or (file.startswith(STDLIB) and "site-packages" not in file)


def _is_leaf(thing):
    if isinstance(thing, np.ndarray):
        return thing.dtype.kind in "fiu"
    return is_number(thing) or (isinstance(thing, list) and bool(thing) and _shape(thing) is not None)


def _shape(thing):
    """Return the shape of nested lists of numbers, or None for other lists."""
    if is_number(thing):
        return ()
    shapes = {_shape(part) for part in thing} if isinstance(thing, list) else {None}
    return (len(thing), *shapes.pop()) if len(shapes) == 1 and None not in shapes else None


def _class_data(kind):
    """Return {name: value} of a class's attributes that hold data, not methods or settings in words."""
    return {
        name: value
        for name, value in vars(kind).items()
        if not name.startswith("__")
        and (isinstance(value, np.ndarray | list | tuple | dict) or is_number(value) or _has_attributes(value))
        and not hasattr(value, "__get__")
    }


def _has_attributes(thing):
    """Whether to look for numbers in an object's attributes: a student's, minifer's or one that only holds things."""
    others = ModuleType, enum.Enum, np.ndarray, np.generic
    if inspect.isclass(thing) or inspect.isroutine(thing) or isinstance(thing, others):
        return False
    walked = type(thing).__module__.partition(".")[0] in (OURS, "collections", "types")
    return (walked or not is_library(type(thing))) and (hasattr(thing, "__dict__") or hasattr(type(thing), "__slots__"))


def attributes(thing):
    """Return {name: value} of an object's attributes, those in slots included."""
    found = dict(getattr(thing, "__dict__", {}))
    for kind in type(thing).__mro__:
        slots = vars(kind).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            name = f"_{kind.__name__.lstrip('_')}{slot}" if slot.startswith("__") and not slot.endswith("__") else slot
            value = getattr(thing, name, MISSING)
            if value is not MISSING and slot not in ("__dict__", "__weakref__"):
                found.setdefault(name, value)
    return found


def _parts(thing):
    """Yield (name, step, value) of what a container or an object holds."""
    if isinstance(thing, dict):
        yield from ((str(key), ("[", key), value) for key, value in thing.items())
    elif isinstance(thing, list | tuple | deque):
        names = getattr(thing, "_fields", None) or map(str, range(len(thing)))
        yield from ((name, ("[", i), value) for i, (name, value) in enumerate(zip(names, thing, strict=True)))
    elif isinstance(thing, np.ndarray) and thing.dtype == object:
        yield from ((",".join(map(str, index)), ("[", index), thing[index]) for index in np.ndindex(thing.shape))
    elif _has_attributes(thing):
        yield from ((name, (".", name), value) for name, value in attributes(thing).items())


def _objects(thing, statics, seen=None):
    """Yield all objects with attributes that thing leads to, itself included."""
    seen = {} if seen is None else seen
    if id(thing) in seen or _is_leaf(thing):
        return
    seen[id(thing)] = thing  # held, so that no other object gets its id
    if _has_attributes(thing):
        yield thing
    for _, _, part in [*_parts(thing), *_static_parts(thing, statics)]:
        yield from _objects(part, statics, seen)


def _static_parts(thing, statics):
    """Yield (name, path, value) of the class attributes that an object shows."""
    if not _has_attributes(thing):
        return
    hidden = set(attributes(thing))
    for kind in type(thing).__mro__:
        for name, value in statics.get(kind, {}).items():
            if name not in hidden:
                hidden.add(name)
                yield name, ((".", "statics"), ("[", kind), ("[", name)), value


def _walk(thing, names, path, statics, seen, fixed=False, frozen=False, constants=(), parameter=False):
    """Yield (Leaf, value) of all arrays and numbers below thing."""
    if _is_leaf(thing):
        dotted = ".".join(names)
        declared = any(dotted == name or dotted.startswith(f"{name}.") for name in constants)
        kind = "array" if isinstance(thing, np.ndarray) else "number" if is_number(thing) else "list"
        yield Leaf((names,), (path,), kind, parameter, fixed, declared), thing
        return
    if not isinstance(thing, tuple):  # what is in a tuple can only be replaced together with the tuple
        if id(thing) in seen:
            return
        seen[id(thing)] = thing
    if isinstance(thing, Parameter):
        yield from _walk(thing.value, names, (*path, (".", "value")), statics, seen, frozen, frozen, constants, True)
        if thing.grad is not None:
            yield from _walk(thing.grad, (*names, "grad"), (*path, (".", "_grad")), statics, seen, True)
        return
    if _has_attributes(thing):
        frozen = getattr(thing, "frozen", False) is True
        fixed = frozen or type(thing).__module__.partition(".")[0] == OURS
        named = getattr(thing, "constants", ())
        if isinstance(named, list | tuple | set | frozenset):
            constants = (*constants, *(".".join((*names, name)) for name in named if isinstance(name, str)))
    inside = [(name, (*path, step), part) for name, step, part in _parts(thing)]
    for name, place, part in [*inside, *_static_parts(thing, statics)]:
        own = () if name == "layers" and isinstance(thing, Sequential) else (name,)  # 0.weight, not layers.0.weight
        yield from _walk(part, (*names, *own), place, statics, seen, fixed, frozen, constants)


def _follow(thing, path):
    try:
        for kind, key in path:
            thing = getattr(thing, key) if kind == "." else thing[key]
    except (AttributeError, LookupError, TypeError):
        return None
    return thing


def _replaced(thing, path, value):
    """Return thing with another value at a path: itself, changed, or a new tuple."""
    if not path:
        return value
    kind, key = path[0]
    part = _follow(thing, path[:1])
    other = _replaced(part, path[1:], value)
    if other is part:
        return thing
    if kind == ".":
        object.__setattr__(thing, key, other)  # a frozen dataclass can be moved too
    elif isinstance(thing, tuple):
        parts = [*thing[:key], other, *thing[key + 1 :]]
        return type(thing)(*parts) if hasattr(thing, "_fields") else type(thing)(parts)
    else:
        thing[key] = other
    return thing
