"""Scaled dot-product attention is recognized by its derivative, with or without an axis of heads; its usual misprints.

probs = softmax(query @ key.T / sqrt(D))     y = probs @ value       dprobs = dy @ value.T
dscores = probs * (dprobs - sum(dprobs * probs)) / sqrt(D)
dquery = dscores @ key       dkey = dscores.T @ query       dvalue = probs.T @ dy
"""

import numpy as np

from minifer.gradcheck.formulas import misprint


def attention_formula(e):
    """Attention whose three inputs are of one shape, the tokens in any axis but the last."""
    names = [name for name in e.experiment.values if name not in e.parameters]
    inputs = [e.experiment.values[name] for name in names]
    if not e.of_input or len(inputs) != 3 or any(x.shape != e.y.shape for x in inputs):
        return None
    which = names.index(e.name)

    def candidate(tokens):
        """Return (right, {misprint: wrong}) with the axes as the layer has them; inside they are (..., T, D)."""
        right, wrong = attention_gradients(*(np.moveaxis(array, tokens, -2) for array in (*inputs, e.dy)))
        back = {text: np.moveaxis(gradients[which], -2, tokens) for text, gradients in wrong.items()}
        return np.moveaxis(right[which], -2, tokens), back

    return misprint(e, (candidate(tokens) for tokens in range(e.y.ndim - 1)))


def attention_gradients(query, key, value, dy):
    """Return (dquery, dkey, dvalue) and {misprint: the same with it}; all (..., T, D)."""
    scale = query.shape[-1] ** -0.5
    scores = query @ key.swapaxes(-1, -2) * scale
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probs = powers / powers.sum(axis=-1, keepdims=True)
    dprobs = dy @ value.swapaxes(-1, -2)
    dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True)) * scale
    formula = "dscores = probs * (dprobs - sum(dprobs * probs)) / sqrt(D)"

    def with_dscores(dscores, probs=probs):
        return dscores @ key, dscores.swapaxes(-1, -2) @ query, probs.swapaxes(-1, -2) @ dy

    over_queries = probs * (dprobs - (dprobs * probs).sum(axis=-2, keepdims=True)) * scale
    return with_dscores(dscores), {
        "the scale 1 / sqrt(D) is missing": with_dscores(dscores / scale),
        "the scale 1 / sqrt(D) is used twice": with_dscores(dscores * scale),
        f"the softmax's derivative is missing: {formula}": with_dscores(dprobs * scale),
        f"the sum is missing in the softmax's derivative: {formula}": with_dscores(probs * dprobs * scale),
        f"only the diagonal of the softmax's derivative: {formula}": with_dscores(probs * (1 - probs) * dprobs * scale),
        f"the sum is over the queries where it is over the keys: {formula}": with_dscores(over_queries),
        "a table of queries x keys is transposed, or is not where it should be": (
            dscores.swapaxes(-1, -2) @ key,
            dscores @ query,
            probs @ dy,
        ),
        "the scores stand where their softmax belongs": with_dscores(dscores, scores),
    }
