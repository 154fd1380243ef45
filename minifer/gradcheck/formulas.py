"""Layers that are recognized by their derivative, and the usual wrong derivations of it.

Softmax, normalization, attention, cross-entropy and the common activations: where the right formula gives the numeric
gradient, backward is compared with the formula's usual misprints. An unknown epsilon makes the comparison a loose one.
"""

import numpy as np

from minifer.gradcheck.evidence import close, name_axes, subsets_of_axes

LOOSE = 0.02


def softmax_formula(e):
    """dx = y * (dy - sum(dy * y)) over some axis."""
    if not e.of_input or e.value.shape != e.y.shape:
        return None
    y, dy = e.y, e.dy

    def right(axis):
        return y * (dy - (dy * y).sum(axis, keepdims=True))

    for axis in range(y.ndim):
        if y.shape[axis] < 2 or not close(right(axis), e.numeric):
            continue
        total = (dy * y).sum(axis, keepdims=True)
        wrong = {
            "the sum over the others is missing: dx = y * (dy - sum(dy * y)), not y * dy": y * dy,
            "only the diagonal of softmax's derivative, which is dx = y * (dy - sum(dy * y))": (y * (1 - y) * dy),
            "the sign of the sum is wrong: dx = y * (dy - sum(dy * y))": y * (dy + total),
            "the mean of dy * y stands where its sum belongs": y * (dy - total / y.shape[axis]),
            "the factor y is missing: dx = y * (dy - sum(dy * y))": dy - total,
            "the sum is of dy where it is of dy * y": y * (dy - dy.sum(axis, keepdims=True)),
            "the sum is of dy * x where it is of dy * y": y * (dy - (dy * e.x).sum(axis, keepdims=True)),
        }
        for other in subsets_of_axes(y.ndim):
            if other != (axis,):
                text = f"summed over {name_axes(other)}, where softmax's axis, {axis}, belongs"
                wrong[text] = y * (dy - (dy * y).sum(other, keepdims=True))
        return _first_match(e.given, wrong)
    return None


def log_softmax_formula(e):
    """dx = dy - softmax * sum(dy) over some axis."""
    if not e.of_input or e.value.shape != e.y.shape:
        return None
    dy, probs = e.dy, np.exp(e.y)
    for axis in range(dy.ndim):
        total = dy.sum(axis, keepdims=True)
        if not close(dy - probs * total, e.numeric):
            continue
        wrong = {
            "the sum is missing: dx = dy - softmax * sum(dy), not dy - softmax * dy": dy - probs * dy,
            "the term softmax * sum(dy) is missing": dy,
            "the sign of the sum is wrong: dx = dy - softmax * sum(dy)": dy + probs * total,
            "the mean of dy stands where its sum belongs": dy - probs * total / dy.shape[axis],
            "y stands where softmax = exp(y) belongs": dy - e.y * total,
            "the factor softmax is missing: dx = dy - softmax * sum(dy)": dy - total,
        }
        for other in subsets_of_axes(dy.ndim):
            text = f"summed over {name_axes(other)}, where softmax's axis, {axis}, belongs"
            wrong |= {text: dy - probs * dy.sum(other, keepdims=True)} if other != (axis,) else {}
        return _first_match(e.given, wrong)
    return None


def normalization_formula(e):
    """dx = inv_std * (dz - mean(dz) - x_hat * mean(dz * x_hat)), dz = gamma * dy, means over some axes."""
    if not e.of_input or e.value.shape != e.y.shape:
        return None
    x = e.value
    scales = {"": 1.0} | {path: p for path, p in e.parameters.items() if _broadcasts(p, x)}
    for axes in subsets_of_axes(x.ndim):
        if np.prod([x.shape[axis] for axis in axes]) < 3:
            continue

        def mean(array, axes=axes):
            return array.mean(axis=axes, keepdims=True)

        inv_std = 1 / np.sqrt(mean((x - mean(x)) ** 2) + 1e-5)
        x_hat = (x - mean(x)) * inv_std
        for path, gamma in scales.items():
            dz = e.dy * gamma
            a, b = mean(dz), x_hat * mean(dz * x_hat)
            if not close(inv_std * (dz - a - b), e.numeric, LOOSE):
                continue
            count = np.prod([x.shape[axis] for axis in axes])
            plain, plain_b = mean(e.dy), x_hat * mean(e.dy * x_hat)
            wrong = {
                "the mean and the variance are treated as constants: the terms of mean(dz) and of "
                "x_hat * mean(dz * x_hat) are missing": inv_std * dz,
                "the mean and the variance are treated as constants, and 1/std is missing": dz,
                "the term of the mean, mean(dz), is missing": inv_std * (dz - b),
                "the term of the variance, x_hat * mean(dz * x_hat), is missing": inv_std * (dz - a),
                "the sign of the mean's term is wrong": inv_std * (dz + a - b),
                "the sign of the variance's term is wrong": inv_std * (dz - a + b),
                "the signs of both the mean's and the variance's term are wrong": inv_std * (dz + a + b),
                "sums stand where means belong: divide them by the number of entries": (
                    inv_std * (dz - (a + b) * count)
                ),
                "1/std is missing": dz - a - b,
                "1/std is used twice": inv_std**2 * (dz - a - b),
                "multiplied by std where it is divided by it": (dz - a - b) / inv_std,
                "the variance's term uses x where x_hat belongs": inv_std * (dz - a - x * mean(dz * x)),
                "the variance's term uses x - mean where x_hat belongs": (
                    inv_std * (dz - a - (x - mean(x)) * mean(dz * (x - mean(x))))
                ),
                "the variance's term is half or twice what it should be": inv_std * (dz - a - 2 * b),
                "the variance's term is half of what it should be": inv_std * (dz - a - b / 2),
            }
            if path:
                wrong |= {
                    f"the factor {path} is missing": inv_std * (e.dy - plain - plain_b),
                    f"the factor {path} is missing, and the mean and the variance are treated as constants": (
                        inv_std * e.dy
                    ),
                    f"the factor {path} is missing in the terms of the mean and the variance": (
                        inv_std * (dz - plain - plain_b)
                    ),
                    f"the factor {path} is used twice": inv_std * gamma * (dz - a - b),
                }
            for other in subsets_of_axes(x.ndim):
                if other != axes:
                    text = f"averaged over {name_axes(other)}, where {name_axes(axes)} belongs"
                    wrong[text] = inv_std * (
                        dz - dz.mean(other, keepdims=True) - x_hat * (dz * x_hat).mean(other, keepdims=True)
                    )
            return _first_match(e.given, wrong, LOOSE)
    return None


def _broadcasts(parameter, x):
    try:
        return np.broadcast_shapes(parameter.shape, x.shape) == x.shape
    except ValueError:
        return False


def activation_formula(e):
    """dx = dy * f(y) for the activations whose derivative is a function of their output; backward uses f(x), say."""
    if not e.of_input or not e.elementwise:
        return None
    functions = {"1 - y^2": lambda t: 1 - t**2, "y * (1 - y)": lambda t: t * (1 - t), "y": lambda t: t}
    for name, derivative in functions.items():
        if close(e.dy * derivative(e.y), e.numeric):
            wrong = {
                f"x is used where y belongs: the derivative is {name}": e.dy * derivative(e.x),
                f"the derivative is {name}; this is the function's own value times dy": e.dy * e.y,
                "the derivative is 1 - y^2, not 1 - y": e.dy * (1 - e.y),
            }
            return _first_match(e.given, wrong)
    if close(e.given, e.dy * e.y):
        return "this is y times dy: the function where its derivative belongs"
    return None


def cross_entropy_formula(e):
    """Dlogits = softmax(logits) - one-hot labels, times a number."""
    labels = [x for x in e.experiment.inputs if np.issubdtype(x.dtype, np.integer)]
    if not e.of_input or e.value.ndim != 2 or e.y.size != 1 or len(labels) != 1 or labels[0].shape != e.value.shape[:1]:
        return None
    if labels[0].min() < 0 or labels[0].max() >= e.value.shape[1]:
        return None
    powers = np.exp(e.value - e.value.max(axis=1, keepdims=True))
    probs, one_hot = powers / powers.sum(axis=1, keepdims=True), np.eye(e.value.shape[1])[labels[0]]
    right = probs - one_hot
    scale = float(np.sum(e.numeric * right) / np.sum(right**2))
    if not close(scale * right, e.numeric):
        return None
    wrong = {}
    for factor in (scale, scale * len(labels[0])):
        wrong |= {
            f"the one-hot labels are not subtracted: softmax - one_hot (factor {factor:.3g})": factor * probs,
            f"the softmax is missing: softmax - one_hot (factor {factor:.3g})": -factor * one_hot,
            f"the derivative with respect to the probabilities, not the logits (factor {factor:.3g})": (
                -factor * one_hot / probs
            ),
            f"the logits stand where their softmax belongs (factor {factor:.3g})": factor * (e.value - one_hot),
        }
    return _first_match(e.given, wrong)


def attention_formula(e):
    """Scaled dot-product attention of query, key and value, with or without an axis of heads."""
    inputs = [x for x in e.experiment.inputs if np.issubdtype(x.dtype, np.floating)]
    if len(inputs) != 3 or any(x.shape != e.y.shape for x in inputs) or e.y.ndim not in (2, 3, 4):
        return None
    for tokens in range(e.y.ndim - 1):  # bring the axes into the order ..., T, D
        turned = [np.moveaxis(x, tokens, -2) for x in (*inputs, e.dy)]
        gradients, wrong = _attention_gradients(*turned)
        names = [name for name in e.numerics if name not in e.experiment.paths]
        which = names.index(e.name) if e.name in names else None
        if which is None or not close(np.moveaxis(gradients[which], -2, tokens), e.numeric):
            continue
        return _first_match(e.given, {text: np.moveaxis(array[which], -2, tokens) for text, array in wrong.items()})
    return None


def _attention_gradients(query, key, value, dy):
    """Return (dquery, dkey, dvalue) and {mistake: the same with that mistake}; all (..., T, D)."""
    scale = query.shape[-1] ** -0.5
    scores = query @ key.swapaxes(-1, -2) * scale
    probs = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probs /= probs.sum(axis=-1, keepdims=True)
    dprobs = dy @ value.swapaxes(-1, -2)

    def gradients(dscores, probs=probs):
        return dscores @ key, dscores.swapaxes(-1, -2) @ query, probs.swapaxes(-1, -2) @ dy

    right = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True)) * scale
    wrong_axis = probs * (dprobs - (dprobs * probs).sum(axis=-2, keepdims=True)) * scale
    turned = (right.swapaxes(-1, -2) @ key, right @ query, probs @ dy)
    return gradients(right), {
        "the scale 1 / sqrt(D) is missing": gradients(right / scale),
        "the scale 1 / sqrt(D) is used twice": gradients(right * scale),
        "the softmax's derivative is missing: dscores = probs * (dprobs - sum(dprobs * probs))": gradients(
            dprobs * scale
        ),
        "the sum is missing in the softmax's derivative: dscores = probs * (dprobs - sum(dprobs * probs))": gradients(
            probs * dprobs * scale
        ),
        "only the diagonal of the softmax's derivative: dscores = probs * (dprobs - sum(dprobs * probs))": gradients(
            probs * (1 - probs) * dprobs * scale
        ),
        "the softmax's derivative sums over the queries where it sums over the keys": gradients(wrong_axis),
        "a table of queries x keys is transposed, or is not where it should be": turned,
        "the scores stand where their softmax belongs": gradients(right, scores),
    }


def _first_match(given, wrong, tolerance=1e-5):
    for text, gradient in wrong.items():
        if close(given, gradient, tolerance):
            return text
    return None
