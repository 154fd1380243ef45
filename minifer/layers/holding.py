"""What a layer holds: its attributes, and what lies in lists, tuples and dicts there."""

import functools
import types
from collections import deque

import numpy as np

NOTHING = {bool, int, float, str, type(None)}  # types of most attributes, which hold nothing


def attributes(thing):
    """Return [(name, value)] of an object's attributes: its own, those in __slots__, and what its class holds."""
    found = list(vars(thing).items())  # a copy, since another thread may add one
    for name in _of_class(type(thing)):
        if name not in vars(thing) and hasattr(thing, name):
            found.append((name, getattr(thing, name)))
    return found


@functools.cache
def _of_class(kind):
    """Return the names of a class's slots, and of its attributes that are neither methods nor plain values."""
    own = {name: value for holder in kind.__mro__[-2::-1] for name, value in vars(holder).items()}
    return [
        name
        for name, value in own.items()
        if not name.startswith("__")
        and type(value) not in NOTHING
        and (isinstance(value, types.MemberDescriptorType) or not hasattr(type(value), "__get__"))
    ]


def held(pairs, kinds, path="", around=()):
    """Yield (path, thing, whether it is hidden) of every thing of some kinds that is or lies in the values of pairs.

    Lists, tuples and dicts are looked into, however deeply nested. What lies in a set (which has no order), a deque, an
    array of objects or an attribute of any other object is hidden: it has no path that would be the same tomorrow.
    """
    for name, value in pairs:
        if type(value) in NOTHING:
            continue
        inner = f"{path}{name}"
        if isinstance(value, kinds):
            yield inner, value, False
        elif isinstance(value, (list, tuple, dict)):
            if id(value) not in around and name != "_saved":
                items = list(value.items() if isinstance(value, dict) else enumerate(value))
                yield from held(items, kinds, f"{inner}.", (*around, id(value)))
        else:
            for other in _hidden(value):
                if isinstance(other, kinds):
                    yield inner, other, True


def _hidden(value):
    """Return what may be hidden in a value that is not walked."""
    if isinstance(value, set | frozenset | deque):
        return list(value)
    if isinstance(value, np.ndarray):
        return value.flat if value.dtype == object else ()
    return list(getattr(value, "__dict__", {}).values()) if not isinstance(value, type | types.ModuleType) else ()
