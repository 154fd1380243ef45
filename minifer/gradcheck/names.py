"""Which array is the gradient of which: the ways in which people name them.

weight: dweight, d_weight, grad_weight, weight_grad, gweight, dL_dweight        weight.value: weight.grad
params["W"]: grads["W"], grads["dW"]        weights[0]: dweights[0]        layers[1].W: layers[1].dW
"""

import re
from itertools import product

from minifer.gradcheck.state import is_library

OF = (  # what the gradient of an array is called; the group is the array's name, which "grad" alone lacks
    r"d_?(.*)",
    r"d(?:L|J|E|C|loss|cost)_?d?_?(.+)",
    r"(?:grads?|gradients?|g|delta|nabla)_?(?:of_|wrt_)?(.*)",
    r"(.+?)_?(?:grads?|gradients?|delta)",
)
HOLDERS = {"", "value", "data", "val", "array", "param", "params", "parameter", "parameters"}  # say nothing themselves


def plain(names):
    """Return a dotted name, given in parts, without what says nothing about it."""
    return tuple(name for name in map(_clean, names) if name not in HOLDERS)


def owners(names):
    """Return the set of plain names of the arrays whose gradient may be called `names`; empty if it is no such name."""
    steps = [[(name, False), *((stem, True) for stem in stems(name))] for name in map(_clean, names)]
    choices = product(*steps) if len(steps) < 9 else ()
    return {plain([name for name, _ in choice]) for choice in choices if any(marked for _, marked in choice)}


def stems(name):
    """Return the names of arrays whose gradient may be called `name`."""
    return {match[1] for match in (re.fullmatch(pattern, name) for pattern in OF) if match}


def _clean(name):
    return re.sub(r"^_[A-Za-z0-9]+__(?=\w)", "", name).strip("_")


def mentions_gradient(kind, name, others=()):
    """Whether the methods of a class speak of a gradient of the attribute `name`: dslope, grad_slope, slope_grad.

    A variable dp says nothing about self.p: it may be the gradient of any p. Names in `others` are known to be none.
    """
    functions = [function for base in kind.__mro__ if not is_library(base) for function in vars(base).values()]
    words = set().union(*(_words(getattr(function, "__code__", None)) for function in functions))
    name = _clean(name)
    gradients = {f"d{name}", f"d_{name}", f"grad_{name}", f"{name}_grad"} - set(others)
    return not gradients.isdisjoint(map(_clean, words))


def _words(code):
    """Return the attributes, texts and longer variables in a function's code and in what it defines inside."""
    if not hasattr(code, "co_consts"):
        return set()
    words = {*code.co_names, *(name for name in code.co_varnames if len(name) > 3)}
    words |= {constant for constant in code.co_consts if isinstance(constant, str)}
    return words.union(*map(_words, code.co_consts))
