"""Mistakes in how a weight or another input is used by backward: left out, not transposed, a kernel not rotated.

The test: is what backward returns the right gradient of a layer in which that array is another?
"""

import numpy as np

from minifer.gradcheck.evidence import close


def other_array_changed(e):
    """given is the right gradient of a layer whose weight, or whose other input, is another."""
    for name, array in e.experiment.values.items():
        if name == e.name:
            continue
        for what, other in changed_arrays(array):
            if e.right_with({name: other}):
                return what.format(name if name in e.parameters else name[1:])
    return None


def changed_arrays(array):
    """Yield (the mistake, the array as it would have to be for given to be right)."""
    if array.ndim >= 3:
        yield "the kernel {} is rotated by 180 degrees (or is not, where it should be)", array[::-1, ::-1]
        yield "the kernel {} is flipped along its rows", array[::-1]
        yield "the kernel {} is flipped along its columns", array[:, ::-1]
        if array.shape[0] == array.shape[1]:
            yield "the rows and columns of the kernel {} are swapped", np.swapaxes(array, 0, 1)
    if array.ndim >= 2 and array.shape[-1] == array.shape[-2]:
        yield "{} is transposed (or is not, where it should be)", np.swapaxes(array, -1, -2)
    yield "the factor {} is missing", np.ones_like(array)
    yield "the path through {} is missing", np.zeros_like(array)
    yield "the factor {} is used twice", array * array
    yield "the sign of {} is flipped", -array
    if array.all():
        yield "divided by {} instead of multiplied", 1 / array


def input_confused(e):
    """given is the right gradient of a layer with one input taken for another array: y, or another input."""
    known = e.known_arrays()
    for name, array in e.experiment.values.items():
        for other, replacement in known.items():
            same = name in e.parameters or other == name[1:] or replacement.shape != array.shape
            if not same and e.right_with({name: replacement}):
                return f"{other} is used where {name[1:]} belongs"
    return None


def input_confused_in_a_product(e):
    """The gradient of a weight (C,F) of x @ weight is made with another array of x's shape where x belongs."""
    if e.of_input or e.value.ndim != 2 or e.x.shape[:-1] != e.y.shape[:-1] or e.x.shape[-1] != len(e.value):
        return None
    terms = e.jacobian * e.dy[..., None, None]  # axes: positions, F of y, C, F of weight
    for name, array in e.known_arrays().items():
        if array.shape == e.x.shape and array is not e.x:
            ratio = (array / e.x)[..., None, :, None]
            if close((terms * ratio).sum(axis=tuple(range(e.y.ndim))), e.given):
                return f"{name} is used where the input belongs"
    return None
