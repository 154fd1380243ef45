"""Mistakes in where a gradient passes: a mask is missing or another one, a branch is wrong, the input is on a kink."""

import numpy as np

from minifer.gradcheck.evidence import close, subsets_of_axes


def not_differentiable(e):
    """The slopes to both sides of every wrong entry differ: the input lies on a kink."""
    if e.wrong.any() and (e.bend[e.wrong] > 1e-2 * e.scale).all():
        return "perhaps nothing: the input lies on a kink, where there is no derivative; try another --seed"
    return None


def should_be_zero(e):
    """Forward does not depend on this array, yet backward gives it a gradient."""
    if np.abs(e.numeric).max() < 1e-7 * max(e.scale, 1e-3) and e.given.any():
        return "this array does not change y: its gradient is zero (a mask, or a sum that cancels, is missing)"
    return None


def wrong_mask(e):
    """given differs from right only in which entries are zero: a mask is missing, inverted or another one."""
    passes, right = e.given != 0, np.abs(e.numeric) > 1e-9 * np.abs(e.numeric).max()
    both = passes & right
    if right.all() and passes.all():
        return None
    agree = both.any() and np.allclose(e.given[both], e.numeric[both], rtol=1e-5, atol=1e-8)
    if not both.any() and (passes | right).all() and not right.all():
        return "the mask is inverted: it passes what it should block"
    if agree and passes.all():
        return "the mask is missing: gradient passes where forward blocks"
    if agree and (passes | ~right).all():
        return f"the mask is incomplete: gradient passes where forward blocks{_example(e, passes & ~right)}"
    if agree and (right | ~passes).all():
        return f"the mask blocks too much: no gradient where forward passes{_example(e, right & ~passes)}"
    if agree:
        for name, array in (("dy", e.dy), ("y", e.y), ("the input", e.x)):
            if array.shape == passes.shape and np.array_equal(passes, array > 0):
                return f"the mask is that of {name} > 0, which is not forward's"
        return "another mask than forward's: made anew in backward, or of another array"
    return None


def inverted_mask_in_a_sum(e):
    """given sums dy * x where forward does not use the parameter: what the right sum leaves out."""
    if e.of_input or e.x.shape != e.dy.shape:
        return None
    product = e.dy * e.x
    for axes in subsets_of_axes(product.ndim):
        everywhere = product.sum(axis=axes)
        if close(e.given + e.numeric, everywhere) and not close(e.given, everywhere):
            return "the mask is inverted: the sum of dy * x is over the entries where forward does not use it"
    return None


def _example(e, wrong):
    """Return the value of one wrong entry, if it is one of an input."""
    place = np.unravel_index(np.argmax(wrong), wrong.shape)
    return f", such as at {e.value[place]:.3g}" if e.of_input else ""


def wrong_branch(e):
    """The wrong entries are exactly those whose value is beyond some threshold."""
    if not e.of_input or min(e.wrong.sum(), (~e.wrong).sum()) < 4:
        return None
    low, high = (np.sort(e.value[some]) for some in (e.wrong, ~e.wrong))
    if low[-1] < high[0]:
        return f"wrong exactly where the input is below {(low[-1] + high[0]) / 2:.2g}: that branch of forward"
    if high[-1] < low[0]:
        return f"wrong exactly where the input is above {(high[-1] + low[0]) / 2:.2g}: that branch of forward"
    return None


def blocked_outputs(e):
    """given is right for a dy that is zero where forward blocks an output, such as under a ReLU."""
    if e.reaching.all():
        return None
    gradient = e.experiment.gradients_for(e.dy * e.reaching).get(e.name)
    if close(gradient, e.numeric):
        return "the mask of the outputs is missing: dy passes where forward blocks y (multiply dy by it first)"
    return None
