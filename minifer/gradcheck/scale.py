"""Mistakes of size: nothing at all, the wrong sign, a factor too many or too few."""

import math
from itertools import permutations

import numpy as np

from minifer.gradcheck.evidence import close, name_axes, subsets_of_axes


def not_finite(e):
    """given has nan or inf."""
    if not np.isfinite(e.given).all():
        return (
            "nan or inf: a division by zero, the root or logarithm of a number that is not positive, or memory of "
            "np.empty that was never written"
        )
    return None


def all_zero(e):
    """given is zero everywhere."""
    if not e.given.any() and e.numeric.any():
        return "all zeros: never computed, or two terms cancel"
    return None


def sign_flipped(e):
    """-given is right."""
    return "the sign is flipped" if close(-e.given, e.numeric) else None


def constant_factor(e):
    """given is right times one number; lengths of axes and the layer's own numbers are tried as its name."""
    if not e.numeric.any():
        return None
    factor = float(np.sum(e.given * e.numeric) / np.sum(e.numeric**2))
    if not close(e.given, factor * e.numeric) or not factor:
        return None
    amount = f"{abs(factor):.4g} times too large" if abs(factor) > 1 else f"{1 / abs(factor):.4g} times too small"
    sign = " and of the wrong sign" if factor < 0 else ""
    hint = factor_hint(e, abs(factor))
    if e.given.size == 1 and not hint:  # of two numbers, one is always a multiple of the other
        return None
    return f"{amount}{sign}, a constant factor{hint}"


def factor_hint(e, factor):
    """Return where a factor may come from, such as ": divide by 4, the size of axis 1 of y", or an empty string."""
    if e.experiment is None:
        return ""
    size, too_large, names = max(factor, 1 / factor), factor > 1, {}
    for number, kind, name in known_numbers(e):
        if math.isclose(size, number, rel_tol=1e-5):
            names.setdefault(kind, name)
    if names:
        mean = "a sum where a mean belongs" if too_large else "a mean where a sum belongs"
        verb = "divide" if too_large else "multiply"
        return f": {verb} by {', or by '.join(names.values())}{f' ({mean}?)' if 'size' in names else ''}"
    for right, used in permutations({*e.x.shape, *e.y.shape}, 2):
        if math.isclose(factor, right / used, rel_tol=1e-5):
            return f": a mean over {used} where {right} belong"
    return ""


def known_numbers(e):
    """Yield (number > 1, kind, its name) for sizes of the arrays and numbers of the layer, the likeliest first."""
    arrays = {"the input": e.x, "y": e.y}
    choices = [(axes, name) for name, array in arrays.items() for axes in subsets_of_axes(array.ndim)]
    choices = [(axes, name) for axes, name in choices if axes[-1] - axes[0] == len(axes) - 1]  # neighbours only
    for axes, name in sorted(choices, key=lambda choice: len(choice[0])):
        size = math.prod(arrays[name].shape[axis] for axis in axes)
        batch = ", the batch," if axes == (0,) else ""
        if size > 1:
            yield size, "size", f"{size}, the size of {name_axes(axes)}{batch} of {name}"
    yield 2, "square", "2, as in the derivative of a square"
    for array, name in ((e.x, "the input"), (e.value, e.name)):
        last = array.shape[-1] if array.ndim else 1
        if last > 1:
            yield math.sqrt(last), "root", f"the root of {last}, the size of the last axis of {name}"
    for name in e.experiment.subject.leaves:
        number = e.experiment.subject.get(name)
        if number.size == 1 and math.isfinite(number := number.item()):
            for form, size in {name: number, f"{name}^2": number**2, f"(1 - {name})": 1 - number}.items():
                if size > 0 and size != 1:
                    yield (size, "attribute", form) if size > 1 else (1 / size, "attribute", f"1 / {form}")


def constant_offset(e):
    """given is right plus one number."""
    difference = e.given - e.numeric
    if difference.size > 2 and close(difference, np.full_like(difference, difference.mean())):
        return f"{difference.flat[0]:.4g} is added to every entry"
    return None


def factor_along_axes(e):
    """given / numeric is one number per entry of some axes, such as the channels: a gamma or 1/std is missing."""
    if e.given.ndim < 2:
        return None
    solid = np.abs(e.numeric) > 1e-6 * np.abs(e.numeric).max()
    if not solid.any():
        return None
    ratio = np.where(solid, e.given / np.where(solid, e.numeric, 1), np.nan)
    for axes in reversed(subsets_of_axes(e.given.ndim)):
        if len(axes) == e.given.ndim:
            continue
        counts = solid.sum(axis=axes)
        if counts.min() < 2:
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


def nearly_right(e):
    """Every entry is right to within a few percent."""
    error = np.abs(e.given - e.numeric).max() / max(np.abs(e.numeric).max(), 1e-300)
    if error < 0.03:
        return f"nearly right, {error:.1g} off: an epsilon left out, N - 1 for N, float32, or a rounded constant"
    return None
