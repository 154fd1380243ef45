"""What a layer holds: its attributes, what lies in lists, tuples and dicts there, and the walk through all below it."""

import functools
import types
from collections import deque

import numpy as np

from minifer.errors import ConfigError
from minifer.layers.checks import Checks

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


def walk(layer, path="", kinds=()):
    """Yield (dotted path, layer, [(path, thing, hidden)] of what it holds of some kinds) for a layer and all below it.

    In order of definition, each layer once. (Checks stands for Layer, whose base it is: layers/base.py imports this.)
    """
    seen, ahead = set(), [(path, layer)]
    while ahead:
        path, layer = ahead.pop()
        if id(layer) not in seen:
            seen.add(id(layer))
            things = list(held(layer.attributes(), (Checks, *kinds), f"{path}." if path else ""))
            yield path, layer, things
            below = [(name, thing) for name, thing, hidden in things if isinstance(thing, Checks) and not hidden]
            ahead += below[::-1]


def find(layer, *kinds, trainable_only=False):
    """Return {dotted path: thing} of everything of some kinds in a layer and all below it, each thing once."""
    found, seen, frozen, concealed = {}, {id(layer)}, set(), []
    for _, part, things in walk(layer, kinds=kinds):
        for path, thing, hidden in things:
            if hidden:
                concealed.append((path, thing))
                continue
            if isinstance(thing, kinds) and id(thing) not in seen and found.setdefault(path, thing) is not thing:
                raise ConfigError(f"{type(layer).__name__} holds two different things by the name {path!r}")
            seen.add(id(thing))
            if part.frozen:
                frozen.add(id(thing))
    for path, thing in concealed:
        if id(thing) not in seen:
            raise ConfigError(
                f"{type(layer).__name__}: the {type(thing).__name__} in {path} would not be found: hold layers and "
                "parameters in attributes of a Layer, or in lists, tuples or dicts there"
            )
    return {path: thing for path, thing in found.items() if not trainable_only or id(thing) not in frozen}
