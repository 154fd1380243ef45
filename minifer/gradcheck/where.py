"""Where a gradient is wrong, if nothing explains all of it: masks, branches, indices, the border, terms of a sum."""

import math
from itertools import chain, product

import numpy as np

from minifer.gradcheck.evidence import close, name_axes, subsets_of_axes

CHANCE = 200  # ways to choose as many entries; with fewer an array may part them by accident


def masks(e):
    """given differs from right only in which entries are zero: a mask is missing, inverted or another one."""
    passes, right = e.given != 0, np.abs(e.numeric) > 1e-9 * np.abs(e.numeric).max()
    both, too_many, too_few = passes & right, passes & ~right, right & ~passes
    if not (too_many | too_few).any() or (not e.y.ndim and too_few.any()):  # a loss's targets may look like a mask
        return None
    if not both.any() and (passes | right).all():
        return "the mask is inverted: it passes what it should block"
    if not both.any() or not np.allclose(e.given[both], e.numeric[both], rtol=1e-5, atol=1e-8):
        return None
    if passes.all():
        return "the mask is missing: gradient passes where forward blocks"
    for name, array in (("dy", e.dy), ("y", e.y), ("the input", e.x)):
        theirs = np.shape(array) == passes.shape and np.array_equal(passes, array > 0)
        if theirs and (name == "dy" or too_few.any()) and not right.all():
            return f"the mask is that of {name} > 0, which is not forward's"
    place = tuple(np.argwhere(too_many if too_many.any() else too_few)[0])
    example = f", such as at {e.value[place]:.3g}" if e.of_input else ""
    if not too_few.any():
        return f"the mask is incomplete: gradient passes where forward blocks{example}"
    if too_many.any():
        return "another mask than forward's: made anew in backward, or of another array"
    place = next(chain(at_indices(e), untouched(e)), None)
    if place or not (e.elementwise or not right.all() or not e.reaching.all()):
        return place  # a layer that blocks nothing has no mask
    return f"the mask blocks too much: no gradient where forward passes{example}"


def untouched(e):
    """Yield which first or last indices hold nothing but zeros, if all else is right: a border that is left out."""
    left_out, found = np.zeros(e.given.shape, bool), []
    for axis, length in enumerate(e.given.shape):
        for index in dict.fromkeys((0, length - 1)) if length > 2 else ():
            plane = tuple(index if other == axis else slice(None) for other in range(e.given.ndim))
            if not e.given[plane].any() and e.numeric[plane].any():
                left_out[plane] = True
                found.append(f"index {index} of axis {axis}")
    if found and not (e.wrong & ~left_out).any():
        where = f"{', '.join(found[:-1])} and {found[-1]}" if found[1:] else found[0]
        yield f"zero at {where}, right elsewhere: a loop or slice that leaves out a border?"


def places(e):
    """Return in which places or in what way the gradient is wrong, or None."""
    return next(chain(by_measuring(e) if e.small else (), by_comparing(e), by_running(e) if e.small else ()), None)


def by_measuring(e):
    """Yield what is found with the Jacobian: single terms of a sum or of a product rule."""
    difference = e.given - e.numeric
    if difference.size > 2 and close(difference, np.full_like(difference, difference.mean())):
        yield f"{difference.flat[0]:.4g} is added to every entry"
    if e.of_input and e.value.shape == e.y.shape:
        diagonal = np.diag(e.jacobian.reshape(e.y.size, e.value.size)).reshape(e.value.shape)
        if not e.elementwise and e.factor(lambda draw: draw.dy * diagonal) == 1:
            yield "the layer is treated as if elementwise, but every output depends on several inputs"
        if np.abs(e.value).min() > 0 and e.factor(lambda draw: draw.dy * e.y / e.value) == 1:
            yield (
                "only the product rule's first term, dy * y / x, is there: what multiplies x (a gate, a norm, a std) "
                "is treated as constant, but depends on x too"
            )
        part = float(np.sum(-difference * e.dy) / np.sum(e.dy**2))
        if all(close(draw.numeric - draw.given, part * draw.dy) for draw in e.draws):
            often = "missing" if abs(part - 1) < 1e-5 else f"counted {1 - part:.4g} times"
            yield f"dy itself, as of a skip connection, is {often}"
    yield from spread(e)
    # A multiple of a known array, for each index of some axes: a term with a sum.
    multiples = {
        "the same number for all entries: the derivative of a mean or a sum": np.ones_like(difference),
        "a number times the input: the derivative of a norm, a variance or a scale": e.value,
        "a number times y: the derivative of a sum over the outputs, as in softmax": e.y,
    }
    for (text, array), axes in product(multiples.items(), reversed(subsets_of_axes(difference.ndim))):
        if e.of_input and array.shape == difference.shape:
            factor = (difference * array).sum(axis=axes, keepdims=True) / (array**2).sum(axis=axes, keepdims=True)
            if difference.size >= 3 * factor.size and close(factor * array, difference):
                yield f"a term is missing or wrong, over {name_axes(axes)} {text}"
    # Entries that hold one contribution of dy where there should be another, or a sum of several.
    contributions = e.jacobian * e.dy.reshape(*e.dy.shape, *[1] * e.value.ndim)
    scale = 1e-5 * np.abs(e.numeric).max()
    for axes in [(), *subsets_of_axes(e.dy.ndim)[:-1]]:
        groups = (contributions.sum(axis=axes) if axes else contributions).reshape(-1, *e.value.shape)
        several = (np.abs(groups) > scale).sum(axis=0) > 1
        if several.any() and (np.abs(groups - e.given) < scale).any(axis=0).all():
            yield "each entry holds one of the terms that should be summed: = instead of += (np.add.at for indices)"
    columns = e.jacobian.reshape(e.y.size, *e.value.shape)
    if e.value.size > 1 and ((np.abs(columns) > 1e-9).sum(axis=0) == 1).all():
        entries = (e.given / columns.sum(axis=0)).reshape(-1, 1)
        if np.isclose(entries, e.dy.reshape(1, -1), rtol=1e-5).any(axis=1).all():
            yield "every entry is that of another place of dy: a slice, an index or the order of a reshape"


def spread(e):
    """Yield how dy is shared out, if forward takes one entry of each window as it is, and backward gives it to all."""
    matrix = e.jacobian.reshape(e.y.size, e.value.size)
    if not e.of_input or not np.allclose(np.sort(np.abs(matrix), axis=1)[:, -2:], [0, 1], atol=1e-6):
        return
    for parts in range(2, e.value.size // e.y.size + 1):
        shares = np.isclose(e.given.reshape(1, -1), e.dy.reshape(-1, 1) / parts, rtol=1e-5)
        if (shares.sum(axis=1) == parts).all():
            yield (
                f"each dy is shared out to {parts} entries, as in the average of a window; forward takes one entry of "
                "each (the largest?), so that one gets all of dy"
            )


def by_comparing(e):
    """Yield what the two gradients alone show."""
    largest = max(np.abs(e.numeric).max(), 1e-300)
    solid, ndim = np.abs(e.numeric) > 1e-6 * largest, e.given.ndim
    ratio = np.where(solid, e.given / np.where(solid, e.numeric, 1), np.nan)
    for axes in reversed(subsets_of_axes(ndim)[:-1]):
        if solid.sum(axis=axes).min() <= 1:
            continue
        factors = np.nanmean(ratio, axis=axes, keepdims=True)
        if close(factors * e.numeric, e.given):
            rest = tuple(axis for axis in range(ndim) if axis not in axes)
            some = ", ".join(f"{factor:.3g}" for factor in factors.ravel()[:4])
            yield (
                f"the right direction, with a wrong factor along {name_axes(rest)} ({some} ...): a factor such as "
                "gamma, 1/std or a gate is missing or one too many"
            )
    size = np.maximum(np.maximum(np.abs(e.given), np.abs(e.numeric)), 1e-2 * largest)
    error = np.max(np.abs(e.given - e.numeric) / size)
    if error < 0.02:
        yield f"nearly right, {error:.1g} off: an epsilon left out, N - 1 for N, float32, or a rounded constant"
    yield from at_indices(e)
    yield from one_branch(e) if e.experiment else ()
    for axes in subsets_of_axes(ndim):
        inside = tuple(slice(1, -1) if axis in axes else slice(None) for axis in range(ndim))
        if ndim < 3 or min(e.given.shape[axis] for axis in axes) < 3:  # only maps have a border
            continue
        if e.wrong[inside].size > 2 and not e.wrong[inside].any():
            yield f"right inside, wrong at the border along {name_axes(axes)}: the padding differs"
    if e.given.size > 2 and close(np.sort(e.given, axis=None), np.sort(e.numeric, axis=None)):
        yield "the right numbers in the wrong places: an index, or the order of a reshape"
    scale = np.abs(e.numeric).sum()
    for axes in subsets_of_axes(ndim):
        right, ours = (np.abs(gradient.sum(axis=axes)).sum() for gradient in (e.numeric, e.given))
        if min(e.numeric.shape[axis] for axis in axes) > 1 and right < 1e-6 * scale < 1e-3 * scale < ours:
            yield (
                f"the right gradient sums to zero over {name_axes(axes)}, this one does not: a term with a mean or sum "
                "is missing, or taken over other axes"
            )


def one_branch(e):
    """Yield which size of an array parts the entries that are wrong from those that are right: one case of several."""
    wrong, count = e.wrong, int(e.wrong.sum())
    if math.comb(wrong.size, count) < CHANCE:
        return
    known = {name: k for name, k in e.known.items() if k.shape == wrong.shape}
    for name, k in (known | {f"|{name}|": np.abs(k) for name, k in known.items()}).items():
        if k[wrong].min() > k[~wrong].max():
            yield f"wrong where {name} is from {k[wrong].min():.3g}, right elsewhere: one of several branches"
        if k[wrong].max() < k[~wrong].min():
            yield f"wrong where {name} is up to {k[wrong].max():.3g}, right elsewhere: one of several branches"


def at_indices(e):
    """Yield at which indices of an axis the gradient is wrong: a loop that ends one early, one of several branches."""
    for axis, length in enumerate(e.given.shape):
        share = e.wrong.mean(axis=tuple(other for other in range(e.given.ndim) if other != axis))
        found = np.flatnonzero(share)
        if 0 < len(found) < length and found[-1] - found[0] == len(found) - 1 and share[found].min() > 0.5:
            text = f"index {found[0]}" if len(found) == 1 else f"indices {', '.join(map(str, found))}"
            hint = ": a loop or slice that ends one early?" if list(found) in ([0], [length - 1]) else ""
            yield f"right elsewhere, wrong at {text} (of 0 to {length - 1}) of axis {axis}{hint}"


def by_running(e):
    """Yield what other dys show, or one entry of an elementwise layer."""
    added = e.rerun(0 * e.dy)
    if added is not None and np.abs(added).max() > 1e-9 and not e.of_input:
        times = np.sum(added * e.value) / np.sum(e.value**2)
        yield f"something is added that does not depend on dy, such as {times:.3g} * {e.called(e.name)}"
    if e.of_input and e.elementwise and np.abs(e.dy).min() > 0:
        place = np.unravel_index(np.argmax(np.abs(e.given - e.numeric)), e.given.shape)
        yield (
            f"the layer is elementwise, and at {e.value[place]:.3g} its derivative is "
            f"{e.numeric[place] / e.dy[place]:.4g}; backward used {e.given[place] / e.dy[place]:.4g}"
        )
