"""Mistakes in how the upstream gradient dy is used: ignored, summed too early, read in another order, in parts only.

What the right backward would return for any other dy is known from the Jacobian: it is linear in dy.
"""

from itertools import product

import numpy as np

from minifer.gradcheck.evidence import close, name_axes, reorderings, subsets_of_axes


def ignores_dy(e):
    """given is right for a dy of ones: backward does not use dy at all."""
    if close(e.given, e.gradient_for(np.ones_like(e.dy))):
        return "dy is not used: right only where dy is ones"
    return None


def dy_changed(e):
    """given is right for a dy that something was done to."""
    for what, other in changed_dys(e):
        if close(e.given, e.gradient_for(other)):
            return f"dy is used {what}"
    return None


def changed_dys(e):
    """Yield (what was done, the changed dy)."""
    dy, ndim = e.dy, e.dy.ndim
    yield "twice (dy * dy)", dy * dy
    yield "without its sign", np.abs(dy)
    for axes in subsets_of_axes(ndim):
        yield f"after a mean over {name_axes(axes)}", np.broadcast_to(dy.mean(axis=axes, keepdims=True), dy.shape)
        yield f"after a sum over {name_axes(axes)}", np.broadcast_to(dy.sum(axis=axes, keepdims=True), dy.shape)
    for axes in subsets_of_axes(ndim):
        yield f"flipped along {name_axes(axes)}", np.flip(dy, axes)
    for done, other in reorderings(dy):
        yield f"in the order of dy{done}: reshape is confused with transpose", other
    for steps in sorted(product((0, 1, -1), repeat=ndim), key=lambda steps: sum(map(abs, steps)))[1:]:
        axes = tuple(axis for axis, step in enumerate(steps) if step)
        yield f"shifted by one along {name_axes(axes)}", np.roll(dy, steps, tuple(range(ndim)))
    for name, array in (("y", e.y), ("the input", e.x)):
        if np.shape(array) == dy.shape:
            yield f"times {name}, which does not belong there", dy * array
            yield f"only where {name} > 0", dy * (array > 0)
            yield f"only where {name} < 0", dy * (array < 0)


def wrong_activation_after(e):
    """given is right for a dy divided by the derivative of an activation that ends the layer: that is missing, say."""
    y, dy = e.y, e.dy
    tanh, sigmoid = 1 - y**2, y * (1 - y)
    wrong = {
        "the derivative of tanh, 1 - y^2, is missing": dy / tanh,
        "the derivative of tanh, 1 - y^2, is used twice": dy * tanh,
        "1 - y stands where the derivative of tanh, 1 - y^2, belongs": dy * (1 - y) / tanh,
        "y stands where the derivative of tanh, 1 - y^2, belongs": dy * y / tanh,
        "y * (1 - y) stands where the derivative of tanh, 1 - y^2, belongs": dy * sigmoid / tanh,
        "the derivative of the sigmoid, y * (1 - y), is missing": dy / sigmoid,
        "the derivative of the sigmoid, y * (1 - y), is used twice": dy * sigmoid,
        "1 - y stands where the derivative of the sigmoid, y * (1 - y), belongs": dy * (1 - y) / sigmoid,
        "y stands where the derivative of the sigmoid, y * (1 - y), belongs": dy * y / sigmoid,
        "1 - y^2 stands where the derivative of the sigmoid, y * (1 - y), belongs": dy * tanh / sigmoid,
        "the derivative of exp, y, is missing": dy / y,
    }
    return next((text for text, other in wrong.items() if close(e.given, e.gradient_for(other))), None)


def not_linear_in_dy(e):
    """Twice the dy does not give twice the gradient."""
    twice = e.experiment.gradients_for(2 * e.dy).get(e.name)
    if twice is not None and not close(twice, 2 * e.given):
        return "not linear in dy: twice the dy does not give twice the gradient (dy squared or clipped?)"
    return None


def operator_not_transposed(e):
    """given is J dy where J^T dy is right, for a J of as many rows as columns."""
    if e.y.size != e.value.size:
        return None
    matrix = e.jacobian.reshape(e.y.size, e.value.size)
    if close(e.given.ravel(), matrix @ e.dy.ravel()):
        return "a matrix is used where its transpose belongs (a weight without .T, attention's probabilities, a kernel)"
    return None


def part_of_the_sum(e):
    """given holds the contribution of one index of an axis of dy where the sum over all belongs, or all but one."""
    for axis in range(e.dy.ndim):
        length = e.dy.shape[axis]
        if length < 2:
            continue
        for index in (length - 1, 0):
            part = np.zeros_like(e.dy)
            place = (*[slice(None)] * axis, index)
            part[place] = e.dy[place]
            contribution = e.gradient_for(part)
            where = f"{'last' if index else 'first'} index of axis {axis} of dy{' (the batch)' if axis == 0 else ''}"
            if close(e.given, contribution):
                return f"only the {where} counts: overwritten in a loop (= instead of +=)"
            if close(e.given, e.numeric - contribution):
                return f"the {where} is left out: a loop or slice ends one early"
    return None


def overwritten_overlap(e):
    """Every entry holds one of the contributions whose sum is right: windows overlap, or indices repeat."""
    contributions = e.jacobian * e.dy.reshape(*e.dy.shape, *[1] * e.value.ndim)
    scale = 1e-5 * np.abs(e.numeric).max()
    for axes in [(), *subsets_of_axes(e.dy.ndim)]:
        if len(axes) == e.dy.ndim:
            continue
        groups = contributions.sum(axis=axes) if axes else contributions
        groups = groups.reshape(-1, *e.value.shape)
        several = (np.abs(groups) > scale).sum(axis=0) > 1
        if several.any() and (np.abs(groups - e.given) < scale).any(axis=0).all():
            return "each entry holds one of the terms that should be summed: = instead of += (np.add.at for indices)"
    return None


def taken_from_elsewhere(e):
    """Every entry depends on one entry of dy, as in a slice or a shuffle; given reads others."""
    columns = e.jacobian.reshape(e.y.size, *e.value.shape)
    if e.value.size < 2 or ((np.abs(columns) > 1e-9).sum(axis=0) != 1).any():
        return None
    read = e.given / columns.sum(axis=0)
    if np.isclose(read.reshape(-1, 1), e.dy.reshape(1, -1), rtol=1e-5).any(axis=1).all():
        return "every entry is that of another place of dy: a slice, an index or the order of a reshape"
    return None


def single_contributions(e):
    """Return what every output adds to the gradient of a parameter of which it meets one entry only, or None."""
    if e.of_input:
        return None
    per_output = e.jacobian.reshape(*e.y.shape, -1)
    if ((np.abs(per_output) > 1e-7 * np.abs(per_output).max(initial=0)).sum(axis=-1) > 1).any():
        return None
    return e.dy * per_output.sum(axis=-1)


def reduced_elsewhere(e):
    """The contributions of dy to a parameter that is added or multiplied are summed over the wrong axes."""
    contributions = single_contributions(e)
    if contributions is None:
        return None
    right = [axes for axes in subsets_of_axes(e.dy.ndim) if _fits(contributions.sum(axis=axes), e.numeric)]
    for axes in subsets_of_axes(e.dy.ndim):
        for way in (np.sum, np.mean):
            reduced = way(contributions, axis=axes)
            nearest = np.abs(reduced.reshape(-1, 1) - e.given.reshape(1, -1)).min(axis=0)
            if nearest.max() < 1e-6 * np.abs(e.numeric).max():
                belongs = f", where {name_axes(right[0])} belongs" if right else ""
                return f"{'summed' if way is np.sum else 'averaged'} over {name_axes(axes)}{belongs}"
    return None


def wrong_factor_in_the_sum(e):
    """The contributions to a parameter that is added or multiplied have a factor too many, or lack one."""
    contributions = single_contributions(e)
    if contributions is None:
        return None
    factors = {name: factor for name, factor in e.known_arrays().items() if factor.shape == e.dy.shape}
    for axes in subsets_of_axes(e.dy.ndim):
        if _fits(e.dy.sum(axis=axes), e.given):
            return "the sum of dy alone: what forward multiplies this parameter with (x, x_hat?) is missing"
        for name, factor in factors.items():
            if _fits((e.dy * factor).sum(axis=axes), e.given):
                return f"the sum of dy * {name}: forward multiplies this parameter with something else (x_hat?)"
            if _fits((contributions / factor).sum(axis=axes), e.given):
                return f"the factor {name} is missing in the sum"
            if _fits((contributions * factor).sum(axis=axes), e.given):
                return f"the factor {name} does not belong in the sum"
    return None


def _fits(reduced, gradient):
    return reduced.size == gradient.size and close(reduced.reshape(gradient.shape), gradient)
