"""Is SoftmaxCrossEntropy right?   pytest test_crossentropy.py"""

import numpy as np
from crossentropy import SoftmaxCrossEntropy

from minifer import losses
from minifer.testing import assert_gradients, assert_same_as

SHAPE, LABELS = (5, 3), np.array([2, 0, 1, 1, 2])


def reference(logits):
    """Return what the package's loss says."""
    return losses.SoftmaxCrossEntropy().forward(logits, LABELS)


def probabilities(logits, axis=1):
    """Return the softmax along an axis."""
    powers = np.exp(logits)
    return powers / powers.sum(axis=axis, keepdims=True)


def picked(rows):
    """Return each row's entry at the label."""
    return rows[np.arange(len(LABELS)), LABELS]


MISTAKES = {
    "it is the sum over the batch; the loss is the mean": lambda x: len(x) * reference(x),
    "it is divided by N and C; the mean is over the N rows": lambda x: reference(x) / x.shape[1],
    "the sign: a loss is positive, minus the mean of the logarithms": lambda x: -reference(x),
    "softmax is along the batch (axis 0); it is along the classes": lambda x: (
        -np.log(picked(probabilities(x, 0))).mean()
    ),
    "the logarithm is missing": lambda x: -picked(probabilities(x)).mean(),
    "the logarithm of the mean; it is the mean of the logarithms": lambda x: -np.log(picked(probabilities(x)).mean()),
    "the softmax is missing: the logits themselves are picked": lambda x: -picked(x).mean(),
    "all classes are summed, not only the label's": lambda x: -np.log(probabilities(x)).sum(axis=1).mean(),
}


def test_forward():
    loss = SoftmaxCrossEntropy()
    assert_same_as(reference, lambda x: loss.forward(x, LABELS), SHAPE, mistakes=MISTAKES)


def test_large_logits():
    logits = np.array([[1000.0, 0, -1000], [0, 1000, 0], [-2000, -1000, -1000], [0, 0, 0], [0, 800, 900]])
    with np.errstate(all="ignore"):
        loss = SoftmaxCrossEntropy().forward(logits, LABELS)
    assert np.isfinite(loss), f"the loss of logits as large as 1000 is {loss}: exp or log has run over (hint 2)"
    assert abs(loss - reference(logits)) < 1e-6 * loss, f"the loss of large logits is {loss}, not {reference(logits)}"


def test_gradients():
    assert_gradients(SoftmaxCrossEntropy(), SHAPE, LABELS, forward=lambda x, labels: reference(x))
