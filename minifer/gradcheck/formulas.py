"""Layers that are recognized by their derivative, and the usual misprints of it: softmax, cross-entropy, activations.

Where a formula gives the numeric gradient, what backward gives is compared with the formula's misprints. Normalization
and attention have files of their own.
"""

import numpy as np

from minifer.gradcheck.evidence import close, name_axes, subsets_of_axes


def misprint(e, candidates, tolerance=1e-5):
    """Return the misprint that gives what backward gave, of the first candidate (right, wrong) that is right.

    right    the gradient if the layer is what it is tried for
    wrong    {sentence: gradient}
    """
    for right, wrong in candidates:
        if close(right, e.numeric, tolerance):
            return next((text for text, gradient in wrong.items() if close(e.given, gradient, tolerance)), None)
    return None


def softmax_formula(e):
    """Softmax over some axis: dx = y * (dy - sum(dy * y))."""
    if not e.of_input or e.value.shape != e.y.shape:
        return None
    return misprint(e, (softmax_gradients(e.x, e.y, e.dy, axis) for axis in range(e.y.ndim)))


def softmax_gradients(x, y, dy, axis):
    """Return (dx, {misprint: dx})."""
    formula = "dx = y * (dy - sum(dy * y))"

    def total(array, axes=axis):
        return array.sum(axes, keepdims=True)

    wrong = {
        f"the sum is missing: {formula}, not y * dy": y * dy,
        f"only the diagonal of softmax's derivative, which is {formula}": y * (1 - y) * dy,
        f"the sign of the sum is wrong: {formula}": y * (dy + total(dy * y)),
        f"a mean stands where the sum belongs: {formula}": y * (dy - total(dy * y) / y.shape[axis]),
        f"the factor y is missing: {formula}": dy - total(dy * y),
        f"the sum is of dy alone: {formula}": y * (dy - total(dy)),
        f"the sum is of dy * x: {formula}": y * (dy - total(dy * x)),
    }
    for axes in subsets_of_axes(y.ndim):
        if axes != (axis,):
            text = f"summed over {name_axes(axes)}, where softmax's axis, {axis}, belongs"
            wrong[text] = y * (dy - total(dy * y, axes))
    return y * (dy - total(dy * y)), wrong


def log_softmax_formula(e):
    """Log-softmax over some axis: dx = dy - softmax * sum(dy)."""
    if not e.of_input or e.value.shape != e.y.shape:
        return None
    return misprint(e, (log_softmax_gradients(e.y, e.dy, axis) for axis in range(e.y.ndim)))


def log_softmax_gradients(y, dy, axis):
    """Return (dx, {misprint: dx})."""
    formula, probs, total = "dx = dy - softmax * sum(dy)", np.exp(y), dy.sum(axis, keepdims=True)
    wrong = {
        f"the sum is missing: {formula}, not dy - softmax * dy": dy - probs * dy,
        f"the second term is missing: {formula}": dy,
        f"the sign of the sum is wrong: {formula}": dy + probs * total,
        f"a mean stands where the sum belongs: {formula}": dy - probs * total / dy.shape[axis],
        f"y stands where softmax, exp(y), belongs: {formula}": dy - y * total,
        f"the factor softmax is missing: {formula}": dy - total,
    }
    for axes in subsets_of_axes(dy.ndim):
        if axes != (axis,):
            text = f"summed over {name_axes(axes)}, where softmax's axis, {axis}, belongs"
            wrong[text] = dy - probs * dy.sum(axes, keepdims=True)
    return dy - probs * total, wrong


def activation_formula(e):
    """Tanh, sigmoid and exp, whose derivatives are functions of y: dx = dy * (1 - y^2), dy * y * (1 - y), dy * y."""
    if not e.of_input or not e.elementwise:
        return None
    derivatives = {"1 - y^2": lambda t: 1 - t**2, "y * (1 - y)": lambda t: t * (1 - t), "y": lambda t: t}
    own_value = "this is y times dy: the function where its derivative belongs"
    candidates = [
        (
            e.dy * derivative(e.y),
            {
                f"x is used where y belongs: the derivative is {name}": e.dy * derivative(e.x),
                f"the derivative is {name}, not 1 - y": e.dy * (1 - e.y),
                own_value: e.dy * e.y,
            },
        )
        for name, derivative in derivatives.items()
    ]
    return misprint(e, [*candidates, (e.numeric, {own_value: e.dy * e.y})])


def cross_entropy_formula(e):
    """Cross-entropy of logits (N,C) and labels (N,): dlogits = (softmax - one_hot) times a number."""
    labels = [x for x in e.experiment.inputs if np.issubdtype(x.dtype, np.integer)]
    if not e.of_input or e.value.ndim != 2 or e.y.size != 1 or len(labels) != 1 or labels[0].shape != e.value.shape[:1]:
        return None
    if labels[0].min() < 0 or labels[0].max() >= e.value.shape[1]:
        return None
    powers = np.exp(e.value - e.value.max(axis=1, keepdims=True))
    probs, one_hot = powers / powers.sum(axis=1, keepdims=True), np.eye(e.value.shape[1])[labels[0]]
    right = probs - one_hot
    factor = float(np.sum(e.numeric * right) / np.sum(right**2))
    wrong = {}
    for size, also in ((factor, ""), (factor * len(probs), ", and the mean over the batch")):
        wrong |= {
            f"the one-hot labels are not subtracted{also}: softmax - one_hot": size * probs,
            f"the softmax is missing{also}: softmax - one_hot": -size * one_hot,
            f"this is the derivative by the probabilities, not by the logits{also}": -size * one_hot / probs,
            f"the logits stand where their softmax belongs{also}: softmax - one_hot": size * (e.value - one_hot),
        }
    return misprint(e, [(factor * right, wrong)])
