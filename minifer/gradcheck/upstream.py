"""Mistakes in how the upstream gradient dy is used: ignored, summed too early, read in another order, in parts only.

What the right backward would return for any other dy is known from the Jacobian: it is linear in dy.
"""

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
    for axis in range(ndim):
        for step in (1, -1):
            yield f"shifted by one along axis {axis}", np.roll(dy, step, axis)
    for name, array in (("y", e.y), ("the input", e.x)):
        if np.shape(array) == dy.shape:
            yield f"times {name}, which does not belong there", dy * array
            yield f"only where {name} > 0", dy * (array > 0)
            yield f"only where {name} < 0", dy * (array < 0)


def blocked_outputs(e):
    """given is right for a dy that is zero where forward blocks an output, such as under a ReLU."""
    reaching = np.abs(e.jacobian).reshape(*e.y.shape, -1).max(axis=-1) > 1e-9
    if reaching.all():
        return None
    gradient = e.experiment.gradients_for(e.dy * reaching).get(e.name)
    if close(gradient, e.numeric):
        return "the mask of the outputs is missing: dy passes where forward blocks y (multiply dy by it first)"
    return None


def not_linear_in_dy(e):
    """Twice the dy does not give twice the gradient."""
    twice = e.experiment.gradients_for(2 * e.dy).get(e.name)
    if twice is not None and not close(twice, 2 * e.given):
        return "not linear in dy: twice the dy does not give twice the gradient (dy squared, or decided on by dy > 0?)"
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
    """The right gradient is made of entries of dy, and given as well, but of others."""

    def all_in_dy(gradient):
        return np.isclose(gradient.reshape(-1, 1), e.dy.reshape(1, -1), rtol=1e-6).any(axis=1).all()

    if e.given.size > 1 and all_in_dy(e.given) and all_in_dy(e.numeric):
        return "these are entries of dy, taken from the wrong places: a slice or an index"
    return None


def reduced_elsewhere(e):
    """A parameter that is added to or multiplied with y: dy (times its factor) is summed over the wrong axes.

    Every output then depends on one entry of the parameter only, so that every output has one contribution.
    """
    if e.of_input:
        return None
    per_output = e.jacobian.reshape(*e.y.shape, -1)
    largest = np.abs(per_output).max(initial=0)
    if ((np.abs(per_output) > 1e-7 * largest).sum(axis=-1) > 1).any():
        return None
    contribution = e.dy * per_output.sum(axis=-1)
    right = [axes for axes in subsets_of_axes(e.dy.ndim) if _fits(contribution.sum(axis=axes), e.numeric)]
    for axes in subsets_of_axes(e.dy.ndim):
        for way in (np.sum, np.mean):
            reduced = way(contribution, axis=axes)
            nearest = np.abs(reduced.reshape(-1, 1) - e.given.reshape(1, -1)).min(axis=0)
            if nearest.max() < 1e-6 * np.abs(e.numeric).max():
                belongs = f", where {name_axes(right[0])} belongs" if right else ""
                return f"{'summed' if way is np.sum else 'averaged'} over {name_axes(axes)}{belongs}"
    return None


def _fits(reduced, numeric):
    return reduced.size == numeric.size and close(reduced.reshape(numeric.shape), numeric)


def wrong_factor_in_the_sum(e):
    """The gradient of a parameter is a sum of dy times a wrong factor, such as x where x_hat belongs."""
    if e.of_input:
        return None
    factors = {"nothing": np.ones_like(e.dy), "y": e.y, "dy": e.dy}
    factors |= {name[1:]: e.experiment.values[name] for name in e.experiment.values if name[0] == "d"}
    for name, factor in factors.items():
        if np.shape(factor) != e.dy.shape:
            continue
        for axes in subsets_of_axes(e.dy.ndim):
            for way in (np.sum, np.mean):
                if _fits(way(e.dy * factor, axis=axes), e.given):
                    product = "of dy alone" if name == "nothing" else f"of dy * {name}"
                    return (
                        f"the {'sum' if way is np.sum else 'mean'} {product}: forward multiplies this parameter with "
                        "something else (x_hat?), and that belongs here"
                    )
    return None
