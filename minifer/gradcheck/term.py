"""One term of several is wrong: the right gradient less the given one is a single term, and that says which.

    right - here = (1 - t)*dy                          a path beside the others is missing
    right - here = -(1 - r)*((z*dy) @ w.T)             the factor r is missing there

The other terms need no reading: a gated cell has more of them than formulas can be found for.
"""

import dataclasses
import re
from collections.abc import Callable
from itertools import combinations_with_replacement

import numpy as np

from minifer.gradcheck.evidence import close, name_axes
from minifer.gradcheck.vocabulary import in_rows, rows_and_weights, sliced, tidy

OF_ANY = {"{0}*": lambda k: k}
OF_BOTH_SIGNS = {"({0} > 0)*": lambda k: k > 0, "({0} <= 0)*": lambda k: k <= 0}
OF_A_GATE = {  # between -1 and 1
    "(1 - {0})*": lambda k: 1 - k,
    "{0}*(1 - {0})*": lambda k: k * (1 - k),
    "(1 - {0}^2)*": lambda k: 1 - k**2,
    "(1 - 2*{0})*": lambda k: 1 - 2 * k,
}
MISTAKEN = {  # (the sign of right - here, a factor in it): what is wrong, and what belongs there
    (-1, r"\(1 - ([\w.]+)\)\*"): ("the factor {0} is missing", "{0}*"),
    (-1, r"\(([\w.]+) <= 0\)\*"): ("the factor ({0} > 0) is missing", "({0} > 0)*"),
    (1, r"\(1 - 2\*([\w.]+)\)\*"): ("{0} stands where (1 - {0}) belongs", "(1 - {0})*"),
    (-1, r"\(1 - 2\*([\w.]+)\)\*"): ("(1 - {0}) stands where {0} belongs", "{0}*"),
}
MOST_NUMBERS = 10_000_000  # in the values of terms that are tried together
MOST_OUTPUTS = 10_000


@dataclasses.dataclass(frozen=True)
class Terms:
    """Expressions in dy, and the function that returns the values of all of them, (terms, rows, width), for a dy."""

    texts: list
    values: Callable
    width: int

    def times(self, factors):
        """Return these terms times each of {text: array of rows}."""
        texts = [f"{factor}({text})" if factor else text for factor in factors for text in self.texts]
        arrays = np.stack(list(factors.values()))[:, None]
        return Terms(texts, lambda dy: np.concatenate(list(arrays * self.values(dy))), self.width)

    def through(self, name, matrix):
        """Return these terms times a matrix."""
        texts = [f"({text}) @ {name}" for text in self.texts]
        return Terms(texts, lambda dy: self.values(dy) @ matrix, matrix.shape[1])


def term(e):
    """Return which term is missing, too many, or wrong in one factor, or None."""
    if e.y.ndim == 1 or e.equations < 8 or e.y.size > MOST_OUTPUTS:
        return None
    for terms in candidates(e) if e.y.ndim else of_a_loss(e):
        if len(terms.texts) * max(e.y.size, e.value.size) > MOST_NUMBERS:
            continue
        found = multiples(e, terms)
        if found and found[0][0] != "dy":  # where.py has more to say of dy itself
            return said(*min(found, key=lambda one: len(one[0])))
    return None


def multiples(e, terms):
    """Return [(text, factor)] of all terms of which right - here is a multiple, for all draws."""
    factors = None
    for draw in e.draws:
        missing = (draw.numeric - draw.given).ravel()
        values = terms.values(in_rows(draw.dy)["dy"] if draw.dy.ndim else draw.dy).reshape(len(terms.texts), -1)
        if factors is None:
            factors = values @ missing / np.maximum((values**2).sum(axis=1), 1e-300)
        off = np.abs(factors[:, None] * values - missing).max(axis=1)
        factors = np.where(off <= 1e-5 * np.abs(missing).max(), factors, 0)
    return [(terms.texts[i], factors[i]) for i in np.flatnonzero(factors)]


def said(text, factor):
    """Return in words what it means that right - here is a multiple of a term."""
    text = tidy(text)
    if not close(abs(factor), 1.0):
        return f"one term is wrong: right - here = {factor:.4g}*{text}"
    for (sign, pattern), (mistake, belongs) in MISTAKEN.items():
        found = re.search(pattern, text)
        if found and factor * sign > 0 and f"{found[1]}*{found[0]}" not in text:  # k*(1 - k) is a derivative
            right = text[: found.start()] + belongs.format(found[1]) + text[found.end() :]
            return f"{mistake.format(found[1])} in one term: {right} belongs there"
    return f"a term is missing: {text}" if factor > 0 else f"a term too many: {text}"


def candidates(e):
    """Yield Terms with values of the gradient's size: dy times something, also through one matrix or two."""
    rows, matrices = rows_and_weights(e)
    matrices |= sliced(matrices, e.value.shape[-1]) if e.of_input else {}
    rows, matrices = dict(rows.values()) | of_whole_maps(e), dict(matrices.values())
    if not rows:
        return
    ways = {f"{path}.T": w.T for path, w in matrices.items()} | matrices
    dy = Terms(["dy"], lambda dy: dy[None], e.y.shape[-1])
    plain = dy.times(factors(rows, dy.width, 2))
    once = [plain.through(name, w) for name, w in ways.items() if len(w) == dy.width]
    once = [terms.times(factors(rows, terms.width)) for terms in once]
    if e.of_input and e.value.shape[:-1] == e.y.shape[:-1]:
        width = e.value.shape[-1]
        yield from (terms for terms in (plain, *once) if terms.width == width)
        for name, w in ways.items():
            yield from (t.through(name, w) for t in once if (t.width, width) == w.shape)
    axes = name_axes(range(e.y.ndim - 1))
    for terms in () if e.of_input else (plain, *once):
        if e.value.shape == (terms.width,):
            yield Terms([f"sum({text}, {axes})" for text in terms.texts], lambda dy, t=terms: t.values(dy).sum(1), 0)
        for name, a in rows.items():
            if e.value.shape == (a.shape[1], terms.width):
                texts = [f"{name}.T @ ({text})" for text in terms.texts]
                yield Terms(texts, lambda dy, t=terms, a=a: a.T @ t.values(dy), 0)
            if e.value.shape == (terms.width, a.shape[1]):
                texts = [f"({text}).T @ {name}" for text in terms.texts]
                yield Terms(texts, lambda dy, t=terms, a=a: t.values(dy).mT @ a, 0)


def of_a_loss(e):
    """Yield Terms of a number: dy times something that has the shape of the gradient."""
    rows = {name: a.reshape(len(a), -1) for name, a in e.known.items() if a.ndim and a.shape == e.value.shape}
    if rows:
        width = e.value.size // len(e.value)
        yield Terms(["dy"], lambda dy: dy * np.ones((1, len(e.value), width)), width).times(factors(rows, width, 2))


def of_whole_maps(e):
    """Return {name: rows} of arrays (batch, channels) that hold for all positions, such as a gate of channels."""
    shape = e.y.shape
    known = {name: a for name, a in e.known.items() if a.shape == (shape[0], shape[-1]) and len(shape) > 2}
    spread = {name: a.reshape(len(a), *[1] * (len(shape) - 2), -1) for name, a in known.items()}
    return {name: np.broadcast_to(a, shape).reshape(-1, shape[-1]) for name, a in spread.items()}


def factors(rows, width, most=1):
    """Return {text: array} of 1 and of all that a derivative may hold of arrays this wide, or of two of them."""
    single = {"": np.ones_like(next(iter(rows.values()))[:, :1])}
    for name, k in rows.items():
        if k.shape[1] == width:
            forms = OF_ANY | (OF_BOTH_SIGNS if k.min() < 0 < k.max() else {})
            forms |= OF_A_GATE if np.abs(k).max() <= 1 else {}
            single |= {form.format(name): function(k) for form, function in forms.items()}
    few = most > 1 and len(single) ** 2 * len(single[""]) * width < MOST_NUMBERS
    both = combinations_with_replacement([text for text in single if text], 2) if few else ()
    found = single | {one + other: single[one] * single[other] for one, other in both}
    return {text: np.broadcast_to(array, (len(array), width)) for text, array in found.items()}
