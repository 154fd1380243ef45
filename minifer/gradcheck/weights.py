"""Mistakes in how a parameter is used by backward: left out, not transposed, a kernel not rotated.

The test: is what backward returns the numeric gradient of the layer with that parameter changed?
"""

import numpy as np


def parameter_changed(e):
    """given is the right gradient of a layer whose parameter is another."""
    for path, parameter in e.parameters.items():
        if path == e.name:
            continue
        for what, other in changed_parameters(parameter):
            if e.right_with({path: other}):
                return what.format(path)
    return None


def changed_parameters(parameter):
    """Yield (the mistake, the parameter as it would have to be for given to be right)."""
    if parameter.ndim >= 3:
        yield "the kernel {} is rotated by 180 degrees (or is not, where it should be)", parameter[::-1, ::-1]
        yield "the kernel {} is flipped along its rows", parameter[::-1]
        yield "the kernel {} is flipped along its columns", parameter[:, ::-1]
        if parameter.shape[0] == parameter.shape[1]:
            yield "the rows and columns of the kernel {} are swapped", np.swapaxes(parameter, 0, 1)
    if parameter.ndim >= 2 and parameter.shape[-1] == parameter.shape[-2]:
        yield "{} is transposed (or is not, where it should be)", np.swapaxes(parameter, -1, -2)
    yield "the factor {} is missing", np.ones_like(parameter)
    yield "the path through {} is missing", np.zeros_like(parameter)
    yield "the factor {} is used twice", parameter * parameter
    yield "the sign of {} is flipped", -parameter
    if parameter.all():
        yield "divided by {} instead of multiplied", 1 / parameter


def input_changed(e):
    """given is the right gradient at another input: at y, or at another input of the layer."""
    for name in e.experiment.values:
        if e.experiment.values[name].shape != e.y.shape or name in e.experiment.paths:
            continue
        others = {"y": e.y} | {other[1:]: e.experiment.values[other] for other in e.experiment.values if other != name}
        for what, other in others.items():
            if np.shape(other) == e.y.shape and e.right_with({name: other}):
                return f"{what} is used where {name[1:]} belongs"
    return None
