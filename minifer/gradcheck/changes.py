"""The one table of changes: what a mistake may do to an array, be it the gradient, dy, or what backward reads.

A row is (sentence with {} for the array, function of the array, the same shape). nan stands for what the change leaves
unknown, such as what a shift brings in at the border.
"""

from itertools import permutations, product

import numpy as np

from minifer.gradcheck.evidence import fits, name_axes, subsets_of_axes

OVERWRITTEN = "overwritten in a loop (= instead of +=)?"


def rearrangements(shape):
    """Yield changes of place that can be undone."""
    ndim = len(shape)
    for axes in permutations(range(ndim)):
        if axes != tuple(range(ndim)) and tuple(shape[axis] for axis in axes) == tuple(shape):
            which = "" if ndim == 2 else f" {axes}"
            yield f"{{}} is transposed{which} (or is not, where it should be)", lambda a, axes=axes: a.transpose(axes)
    for axes in sorted(subsets_of_axes(ndim), key=lambda axes: axes != (0, 1)):
        if min(shape[axis] for axis in axes) > 1:
            turn = " (a kernel rotated by 180 degrees?)" if len(axes) == 2 else ""
            yield f"{{}} is flipped along {name_axes(axes)}{turn}", lambda a, axes=axes: np.flip(a, axes)


def reorderings(shape):
    """Yield the array with its axes in another order but its shape kept."""
    ndim, text = len(shape), "{} is in the wrong order: reshape is confused with transpose"
    for axes in permutations(range(ndim)):
        if axes != tuple(range(ndim)):
            back, turned = np.argsort(axes), [shape[axis] for axis in axes]
            yield text, lambda a, axes=axes: a.transpose(axes).reshape(shape)
            yield text, lambda a, turned=turned, back=back: a.reshape(turned).transpose(back)


def shifts(shape):
    """Yield the array moved by one or two along an axis, or along several."""
    steps = [s for s in product((0, -1, 1), repeat=len(shape)) if any(s)]
    steps += [tuple(2 * k for k in step) for step in steps]
    for step in sorted(steps, key=lambda step: sum(map(abs, step))):
        if all(abs(s) + 1 < n for s, n in zip(step, shape, strict=True) if s):
            axes = tuple(axis for axis, s in enumerate(step) if s)
            by = "one" if max(map(abs, step)) == 1 else "two"
            yield (
                f"{{}} is shifted by {by} along {name_axes(axes)}: the padding or an index is off by {by}",
                lambda a, s=step: shifted(a, s),
            )


def shifted(array, step):
    """Return an array moved by some steps, nan where nothing is known."""
    result = np.full(array.shape, np.nan)
    sizes = list(zip(step, array.shape, strict=True))
    there = tuple(slice(max(s, 0), n + min(s, 0)) for s, n in sizes)
    here = tuple(slice(max(-s, 0), n + min(-s, 0)) for s, n in sizes)
    result[there] = array[here]
    return result


def reductions(shape):
    """Yield means and sums over axes, and parts of the sums that follow."""
    for axes in subsets_of_axes(len(shape)):
        if np.prod([shape[axis] for axis in axes]) > 1:
            for way, name in ((np.mean, "averaged"), (np.sum, "summed")):
                text = f"{{}} is {name} over {name_axes(axes)} first"
                yield text, lambda a, axes=axes, way=way: np.broadcast_to(way(a, axis=axes, keepdims=True), a.shape)
    for axis, length in enumerate(shape):
        for index in (length - 1, 0) if length > 1 else ():
            where = f"{'last' if index else 'first'} index of axis {axis} of {{}}{' (the batch)' * (axis == 0)}"
            part = np.arange(length).reshape([-1 if i == axis else 1 for i in range(len(shape))]) == index
            yield f"only the {where} counts: {OVERWRITTEN}", lambda a, part=part: a * part
            yield f"the {where} is left out: a loop or slice ends one early", lambda a, part=part: a * ~part


def powers():
    """Yield changes of each entry by itself."""
    yield "the sign of {} is flipped", lambda a: -a
    yield "the factor {0} is missing: {0} is not used", np.ones_like
    yield "{} is squared, or used twice", lambda a: a * a
    yield "{} is used without its sign", np.abs
    yield "only where {0} > 0: the mask is that of {0}", lambda a: a * (a > 0)
    yield "divided by {} where it should be multiplied", lambda a: 1 / a


def factors(known, shape):
    """Yield products with, and quotients of, arrays of the layer; names first that stand for themselves."""
    known = {name: array for name, array in known.items() if fits(array, shape)}
    for name, k in (known | derivatives(known)).items():
        yield f"the factor {name} is missing", lambda a, k=k: a / k
        yield f"the factor {name} does not belong there (or a division by it is missing)", lambda a, k=k: a * k
    for name, k in known.items():
        yield f"the factor {name} is used as a divisor (or is not, where it should be)", lambda a, k=k: a * k * k
        yield f"only where {name} > 0: a mask that does not belong there", lambda a, k=k: a * (k > 0)
        yield f"only where {name} < 0: the mask is inverted, or does not belong there", lambda a, k=k: a * (k < 0)
    for one, other in permutations(known, 2):
        yield f"{one} is used where {other} belongs", lambda a, k=known[one], j=known[other]: a * k / j


def derivatives(known):
    """Return {text: array} of what the derivatives of sigmoids, tanh and gates hold of the arrays between -1 and 1."""
    gates = {name: k for name, k in known.items() if np.abs(k).max() < 1}
    found = {f"(1 - {name}^2)": 1 - k**2 for name, k in gates.items()}
    for name, k in gates.items():
        found |= {f"(1 - {name})": 1 - k, f"{name}*(1 - {name})": k * (1 - k)} if k.min() > 0 else {}
    return found


def activations(y):
    """Yield what is done to dy where the layer ends with an activation whose derivative is a function of y."""
    derivatives = {}
    if np.abs(y).max(initial=0) < 1 and y.min(initial=0) < 0:
        derivatives["tanh"] = ("1 - y^2", 1 - y**2)
    if y.min(initial=1) > 0:
        if y.max(initial=0) < 1:
            derivatives["the sigmoid"] = ("y * (1 - y)", y * (1 - y))
        derivatives["exp"] = ("y", y)
    used = {"1 - y": 1 - y, "y": y, "1 - y^2": 1 - y**2, "y * (1 - y)": y * (1 - y), "y^2": y**2}
    for name, (right, d) in derivatives.items():
        yield f"the derivative of {name}, {right}, is missing", lambda a, d=d: a / d
        yield f"the derivative of {name}, {right}, is used twice", lambda a, d=d: a * d
        for other, u in used.items():
            if other != right:
                text = f"{other} stands where the derivative of {name}, {right}, belongs"
                yield text, lambda a, d=d, u=u: a * u / d
