"""Mistakes of place: the right numbers in another order, at other indices, or right in some places only."""

from itertools import permutations, product

import numpy as np

from minifer.gradcheck.evidence import close, name_axes, reorderings, subsets_of_axes


def swapped(e):
    """given is the gradient of another array."""
    for name, numeric in e.numerics.items():
        if name != e.name and close(e.given, numeric):
            return f"this is what belongs to {name}: the two are swapped"
    return None


def transposed(e):
    """given with its axes in another order is right."""
    for axes in permutations(range(e.given.ndim)):
        if axes != tuple(range(e.given.ndim)) and close(np.transpose(e.given, axes), e.numeric):
            return "transposed" if e.given.ndim == 2 else f"transposed: right after .transpose{axes}"
    return None


def flipped(e):
    """given read backwards along some axes is right."""
    for axes in subsets_of_axes(e.given.ndim):
        if close(np.flip(e.given, axes), e.numeric):
            kernel = "the kernel is rotated by 180 degrees: " if len(axes) == 2 else ""
            return f"{kernel}flipped along {name_axes(axes)}, right after np.flip(..., {axes})"
    return None


def reshaped(e):
    """given is the right numbers, transposed and then reshaped back as if they had not been."""
    if any(close(e.given, other) for _, other in reorderings(e.numeric)):
        return "the right numbers in the wrong order: reshape is used where transpose belongs"
    return None


def shifted(e):
    """given moved by one along some axes agrees wherever the two overlap."""
    shape = e.given.shape
    steps = sorted(product((0, -1, 1), repeat=e.given.ndim), key=lambda step: sum(map(abs, step)))
    for step in steps[1:]:
        if any(s and n < 3 for s, n in zip(step, shape, strict=True)):
            continue
        ours = tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(step, shape, strict=True))
        theirs = tuple(slice(max(-s, 0), n + min(-s, 0)) for s, n in zip(step, shape, strict=True))
        if e.numeric[theirs].size > 2 and close(e.given[ours], e.numeric[theirs]):
            axes = tuple(axis for axis, s in enumerate(step) if s)
            return f"shifted by one along {name_axes(axes)}: the padding or an index is off by one"
    return None


def wrong_at_the_border(e):
    """Right inside, wrong only in the first or last index of some axes."""
    for axes in subsets_of_axes(e.given.ndim):
        if min(e.given.shape[axis] for axis in axes) < 3:
            continue
        inside = tuple(slice(1, -1) if axis in axes else slice(None) for axis in range(e.given.ndim))
        if e.wrong[inside].size > 2 and not e.wrong[inside].any():
            return f"right inside, wrong at the border along {name_axes(axes)}: the padding differs"
    return None


def wrong_at_some_indices(e):
    """Right at some indices of an axis, wrong at others: a loop that ends one early, one of several branches."""
    for axis, length in enumerate(e.given.shape):
        others = tuple(other for other in range(e.given.ndim) if other != axis)
        places = np.flatnonzero(e.wrong.any(axis=others))
        if length > 1 and 0 < len(places) < length:
            where = f"index {places[0]}" if len(places) == 1 else f"indices {', '.join(map(str, places))}"
            hint = ": a loop or slice that ends one early?" if list(places) in ([0], [length - 1]) else ""
            return f"right elsewhere, wrong at {where} (of 0 to {length - 1}) of axis {axis}{hint}"
    return None


def reordered(e):
    """given is the right numbers in an order that nothing above explains."""
    if e.given.size > 2 and close(np.sort(e.given, axis=None), np.sort(e.numeric, axis=None)):
        return "the right numbers in the wrong places: an index, or the order of a reshape"
    return None


# Gradients of another shape: what would make them right?


def not_summed(e):
    """given summed over an axis or more is right: over the batch, or over what an earlier sum left."""
    for axes in subsets_of_axes(e.given.ndim):
        for way, name in ((np.sum, "sum"), (np.mean, "mean")):
            reduced = way(e.given, axis=axes)
            if reduced.size == e.numeric.size and close(reduced.reshape(e.numeric.shape), e.numeric):
                if e.experiment is not None and e.given.shape not in (e.x.shape, e.y.shape):
                    return f"not summed enough: take the {name} over {name_axes(axes)} of this too"
                batch = ", the batch" if axes == (0,) else ""
                return f"not summed: take the {name} over {name_axes(axes)}{batch}"
    return None


def kept_dimensions(e):
    """given has the right numbers with an axis too many or too few."""
    if e.given.size == e.numeric.size and close(e.given.reshape(e.numeric.shape), e.numeric):
        return f"the numbers are right: .reshape{e.numeric.shape} (keepdims, or a lost axis)"
    return None


def transposed_shape(e):
    """given has the axes of the right gradient in another order."""
    for axes in permutations(range(e.given.ndim)):
        if close(np.transpose(e.given, axes), e.numeric):
            return f"transposed: right after .transpose{axes}"
    return None
