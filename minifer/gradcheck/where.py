"""Where a gradient is wrong, if nothing explains all of it: masks, branches, indices, the border, terms of a sum."""

import numpy as np

from minifer.gradcheck.evidence import close, name_axes, subsets_of_axes


def masks(e):
    """given differs from right only in which entries are zero: a mask is missing, inverted or another one."""
    passes, right = e.given != 0, np.abs(e.numeric) > 1e-9 * np.abs(e.numeric).max()
    both, too_many, too_few = passes & right, passes & ~right, right & ~passes
    if not (too_many | too_few).any() or not e.y.ndim:  # the targets of a loss may look like a mask
        return None
    if not both.any() and (passes | right).all():
        return "the mask is inverted: it passes what it should block"
    if not both.any() or not np.allclose(e.given[both], e.numeric[both], rtol=1e-5, atol=1e-8):
        return None
    if passes.all():
        return "the mask is missing: gradient passes where forward blocks"
    for name, array in (("dy", e.dy), ("y", e.y), ("the input", e.x)):
        if np.shape(array) == passes.shape and np.array_equal(passes, array > 0) and (name == "dy" or too_few.any()):
            return f"the mask is that of {name} > 0, which is not forward's"
    place = tuple(np.argwhere(too_many if too_many.any() else too_few)[0])
    example = f", such as at {e.value[place]:.3g}" if e.of_input else ""
    if not too_few.any():
        return f"the mask is incomplete: gradient passes where forward blocks{example}"
    if too_many.any():
        return "another mask than forward's: made anew in backward, or of another array"
    whole = at_indices(e) if not e.given[e.wrong.all(axis=tuple(range(1, e.wrong.ndim)))].any() else None
    return whole or f"the mask blocks too much: no gradient where forward passes{example}"


def places(e):
    """Say in which places the gradient is wrong."""
    tries = [offset, one_sided, missing_multiple, overwritten, elsewhere] if e.small else [offset]
    tries += [along_axes, nearly, at_indices, at_the_border, reordered]
    tries += [sums_to_zero, *((not_linear, derivative) if e.small else ())]
    return next((text for text in (attempt(e) for attempt in tries) if text), None)


def overwritten(e):
    """Every entry holds one of the contributions whose sum is right: windows overlap, or indices repeat."""
    contributions = e.jacobian * e.dy.reshape(*e.dy.shape, *[1] * e.value.ndim)
    scale = 1e-5 * np.abs(e.numeric).max()
    for axes in [(), *subsets_of_axes(e.dy.ndim)][: 2**e.dy.ndim - 1]:
        groups = contributions.sum(axis=axes).reshape(-1, *e.value.shape) if axes else contributions
        groups = groups.reshape(-1, *e.value.shape)
        several = (np.abs(groups) > scale).sum(axis=0) > 1
        if several.any() and (np.abs(groups - e.given) < scale).any(axis=0).all():
            return "each entry holds one of the terms that should be summed: = instead of += (np.add.at for indices)"
    return None


def elsewhere(e):
    """Every entry depends on one entry of dy, as in a slice or a shuffle; given reads others."""
    columns = e.jacobian.reshape(e.y.size, *e.value.shape)
    if e.value.size < 2 or ((np.abs(columns) > 1e-9).sum(axis=0) != 1).any():
        return None
    entries = e.given / columns.sum(axis=0)
    if np.isclose(entries.reshape(-1, 1), e.dy.reshape(1, -1), rtol=1e-5).any(axis=1).all():
        return "every entry is that of another place of dy: a slice, an index or the order of a reshape"
    return None


def one_sided(e):
    """given is one term of a product rule, or treats the layer as elementwise."""
    if not e.of_input or e.value.shape != e.y.shape:
        return None
    diagonal = np.diag(e.jacobian.reshape(e.y.size, e.value.size)).reshape(e.value.shape)
    if not e.elementwise and e.factor(lambda draw: draw.dy * diagonal) == 1:
        return "the layer is treated as if elementwise, but every output depends on several inputs"
    if np.abs(e.value).min() > 0 and e.factor(lambda draw: draw.dy * e.y / e.value) == 1:
        return (
            "only the product rule's first term, dy * y / x, is there: what multiplies x (a gate, a norm, a std) is "
            "treated as constant, but depends on x too"
        )
    part = float(np.sum((e.numeric - e.given) * e.dy) / np.sum(e.dy**2))
    if all(close(draw.numeric - draw.given, part * draw.dy) for draw in e.draws):
        if abs(part - 1) < 1e-5:
            return "dy itself, as of a skip connection, is missing"
        return f"dy itself, as of a skip connection, is counted {1 - part:.4g} times"
    return None


def missing_multiple(e):
    """right - given is, for each index of some axes, a number times a known array: a term with a sum is missing."""
    missing = e.numeric - e.given
    name = "the input" if e.of_input else e.name
    arrays = (
        ("the same number for all entries", "the derivative of a mean or a sum", np.ones_like(missing)),
        (f"a number times {name}", "the derivative of a norm, a variance or a scale", e.value),
        ("a number times y", "the derivative of a sum over the outputs, as in softmax", e.y),
    )
    for what, meaning, array in arrays if e.of_input else ():
        for axes in reversed(subsets_of_axes(missing.ndim)) if array.shape == missing.shape else ():
            factor = (missing * array).sum(axis=axes, keepdims=True) / (array**2).sum(axis=axes, keepdims=True)
            if missing.size >= 3 * factor.size and close(factor * array, missing):
                return f"a term is missing or wrong, over {name_axes(axes)} {what}: {meaning}"
    return None


def offset(e):
    """given is right plus one number."""
    difference = e.given - e.numeric
    if difference.size > 2 and close(difference, np.full_like(difference, difference.mean())):
        return f"{difference.flat[0]:.4g} is added to every entry"
    return None


def along_axes(e):
    """given / numeric is one number per entry of some axes, such as the channels: a gamma or 1/std is missing."""
    solid = np.abs(e.numeric) > 1e-6 * np.abs(e.numeric).max()
    ratio = np.where(solid, e.given / np.where(solid, e.numeric, 1), np.nan)
    for axes in reversed(subsets_of_axes(e.given.ndim)[:-1] if e.given.ndim > 1 else []):
        if solid.sum(axis=axes).min() < 2:
            continue
        factors = np.nanmean(ratio, axis=axes, keepdims=True)
        if close(factors * e.numeric, e.given):
            rest = tuple(axis for axis in range(e.given.ndim) if axis not in axes)
            some = ", ".join(f"{factor:.3g}" for factor in factors.ravel()[:4])
            return (
                f"the right direction, with a wrong factor along {name_axes(rest)} ({some} ...): a factor such as "
                "gamma, 1/std or a gate is missing or one too many"
            )
    return None


def nearly(e):
    """Every entry is right to within a few percent."""
    error = np.abs(e.given - e.numeric).max() / max(np.abs(e.numeric).max(), 1e-300)
    if error < 0.03:
        return f"nearly right, {error:.1g} off: an epsilon left out, N - 1 for N, float32, or a rounded constant"
    return None


def at_indices(e):
    """Right at some indices of an axis, wrong at others: a loop that ends one early, one of several branches."""
    for axis, length in enumerate(e.given.shape):
        others = tuple(other for other in range(e.given.ndim) if other != axis)
        share = e.wrong.mean(axis=others)
        found = np.flatnonzero(share)
        in_a_row = len(found) and found[-1] - found[0] == len(found) - 1
        if in_a_row and len(found) < length and share[found].min() > 0.5:
            text = f"index {found[0]}" if len(found) == 1 else f"indices {', '.join(map(str, found))}"
            hint = ": a loop or slice that ends one early?" if list(found) in ([0], [length - 1]) else ""
            return f"right elsewhere, wrong at {text} (of 0 to {length - 1}) of axis {axis}{hint}"
    return None


def at_the_border(e):
    """Right inside, wrong only in the first or last index of some axes."""
    for axes in subsets_of_axes(e.given.ndim):
        inside = tuple(slice(1, -1) if axis in axes else slice(None) for axis in range(e.given.ndim))
        if min(e.given.shape[axis] for axis in axes) > 2 and e.wrong[inside].size > 2 and not e.wrong[inside].any():
            return f"right inside, wrong at the border along {name_axes(axes)}: the padding differs"
    return None


def reordered(e):
    """given is the right numbers in another order."""
    if e.given.size > 2 and close(np.sort(e.given, axis=None), np.sort(e.numeric, axis=None)):
        return "the right numbers in the wrong places: an index, or the order of a reshape"
    return None


def sums_to_zero(e):
    """The right gradient sums to zero over some axes, as after softmax or a normalization; given does not."""
    scale = np.abs(e.numeric).sum()
    for axes in subsets_of_axes(e.numeric.ndim):
        right, ours = (np.abs(gradient.sum(axis=axes)).sum() for gradient in (e.numeric, e.given))
        if min(e.numeric.shape[axis] for axis in axes) > 1 and right < 1e-6 * scale < 1e-3 * scale < ours:
            return (
                f"the right gradient sums to zero over {name_axes(axes)}, this one does not: a term with a mean or sum "
                "is missing, or taken over other axes"
            )
    return None


def not_linear(e):
    """For a dy of zeros there is a gradient, or twice the dy does not give twice the gradient."""
    added, twice = e.rerun(0 * e.dy), e.rerun(2 * e.dy)
    if added is not None and np.abs(added).max() > 1e-9 and not e.of_input:
        times = np.sum(added * e.value) / np.sum(e.value**2)
        return f"something is added that does not depend on dy, such as {times:.3g} * {e.name}"
    if twice is not None and not close(twice, 2 * e.given):
        return "not linear in dy: twice the dy does not give twice the gradient (dy squared or clipped?)"
    return None


def derivative(e):
    """For an elementwise layer: name a point, the derivative there, and what backward used."""
    if not e.of_input or not e.elementwise or np.abs(e.dy).min() == 0:
        return None
    place = np.unravel_index(np.argmax(np.abs(e.given - e.numeric)), e.given.shape)
    return (
        f"the layer is elementwise, and at {e.value[place]:.3g} its derivative is "
        f"{e.numeric[place] / e.dy[place]:.4g}; backward used {e.given[place] / e.dy[place]:.4g}"
    )
