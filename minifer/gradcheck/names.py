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
    """Return a name, given in parts, without what says nothing about it."""
    return tuple(name for name in map(clean, names) if name not in HOLDERS)


def owners(names):
    """Return the set of plain names of the arrays whose gradient may be called `names`; empty if it is no such name."""
    matches = [[re.fullmatch(pattern, clean(name)) for pattern in OF] for name in names]
    steps = [[(clean(name), 0), *((m[1], 1) for m in found if m)] for name, found in zip(names, matches, strict=True)]
    choices = product(*steps) if len(steps) < 9 else ()
    return {plain([name for name, _ in choice]) for choice in choices if any(is_gradient for _, is_gradient in choice)}


def clean(name):
    """Return a name without underscores around it, and without the class in a private one."""
    return re.sub(r"^_[A-Za-z0-9]+__(?=\w)", "", name).strip("_")


def mentions_gradient(kind, name, others=()):
    """Whether the methods of a class speak of a gradient of the attribute `name`: dslope, grad_slope, slope_grad.

    A variable dp says nothing about self.p: it may be the gradient of any p. Names in `others` are known to be none.
    """
    functions = [function for base in kind.__mro__ if not is_library(base) for function in vars(base).values()]
    words = set().union(*(_words(getattr(function, "__code__", None)) for function in functions))
    name = clean(name)
    gradients = {"grad", "gradient"} if name in HOLDERS else {f"d{name}", f"d_{name}", f"grad_{name}", f"{name}_grad"}
    return not (gradients - set(others)).isdisjoint(map(clean, words))


def _words(code):
    """Return the attributes, texts and longer variables in a function's code and in what it defines inside."""
    if not hasattr(code, "co_consts"):
        return set()
    words = {*code.co_names, *(name for name in code.co_varnames if len(name) > 3)}
    words |= {constant for constant in code.co_consts if isinstance(constant, str)}
    return words.union(*map(_words, code.co_consts))
