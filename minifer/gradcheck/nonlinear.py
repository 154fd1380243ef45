"""Gradients that are not proportional to dy: clipped, divided by their norm, or from a backward that changes weights.

J^T dy is linear in dy. A gradient that is not needs other explanations than a wrong J: the others would mislead.
"""

import numpy as np

from minifer.gradcheck.evidence import close
from minifer.gradcheck.report import place_of

BOUNDS = 1.0, 0.5, 2.0, 0.1  # usual ones of a clipped dy; larger ones a normally distributed dy hardly reaches


NOT_LINEAR = "not linear in dy: twice the dy does not give twice the gradient"


def is_linear(e):
    """Whether backward is linear in dy, apart from a constant that is added; True where nobody can tell."""
    if not e.small or not e.y.ndim:
        return True
    none, once, twice, again = (e.rerun(factor * e.dy) for factor in (0, 1, 2, 1))
    if any(np.shape(some) != e.given.shape for some in (none, once, twice)) or not close(once, again):
        return True
    return close(twice - none, 2 * (once - none)) or np.array_equal(none, once)


def nonlinear(e):
    """Return what makes a gradient nonlinear in dy."""
    return changed_by_backward(e) or clipped(e) or rescaled(e)


def changed_by_backward(e):
    """backward changes an array that forward reads, and then reads it itself."""
    between, after = e.experiment.between, e.experiment.after
    for name in e.experiment.subject.leaves:
        if np.array_equal(between.get(name), after.get(name)):
            continue
        if not np.array_equal(e.experiment.output({name: after.get(name)}), e.y):
            return f"backward changes {name}, which forward reads: only an optimizer takes steps"
    return None


def clipped(e):
    """The entries of the gradient, or those of dy, are cut off at a bound."""
    bound, wrong = np.abs(e.given).max(), e.wrong
    cut = np.isclose(np.abs(e.given), bound) & (np.abs(e.numeric) > bound) & (np.sign(e.given) == np.sign(e.numeric))
    if wrong.any() and not (wrong & ~cut).any():
        return (
            f"clipped: what is larger than {bound:.4g} is cut off, such as at {place_of(e.name, np.argwhere(wrong)[0])}"
        )
    for bound in BOUNDS:
        if e.factor(lambda draw, bound=bound: e.gradient_for(np.clip(draw.dy, -bound, bound))) == 1:
            return f"dy is clipped to {-bound:.4g} to {bound:.4g}"
    return None


def rescaled(e):
    """The direction is right for each dy, and the size is another one for each."""
    factors = [float(np.sum(draw.given * draw.numeric) / max(np.sum(draw.numeric**2), 1e-300)) for draw in e.draws]
    if not all(close(draw.given, factor * draw.numeric) for draw, factor in zip(e.draws, factors, strict=True)):
        return None
    norms = [
        np.linalg.norm(draw.given) for draw, factor in zip(e.draws, factors, strict=True) if abs(factor - 1) > 1e-5
    ]
    if np.ptp(norms) < 1e-5 * max(norms):
        return f"its norm is {norms[0]:.4g} for every dy: divided by its own norm, or clipped to that"
    return "the right direction, but its size is not proportional to dy: divided by its norm or another function of dy?"
