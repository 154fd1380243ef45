"""Metrics of a classifier's predictions, and the one reading of them that is often mistaken for its accuracy.

probs (N, K) are probabilities, labels (N,) whole numbers from 0 to K-1; a prediction is the class of the largest
probability. NumPy only; every result is plain Python, ready for JSON.

A class that is absent. Precision is 0 for a class that was never predicted, recall and F1 are 0 for a class with no
pictures. The macro figures and balanced accuracy are means over the classes that occur among the labels: a class with
no pictures can be neither found nor missed.
"""

from statistics import NormalDist

import numpy as np

from minifer.errors import DataError, ShapeError


def wilson_interval(correct, n, confidence=0.95):
    """Return (low, high), the Wilson score interval of a proportion: correct out of n.

    (p + z^2/2n  -+  z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)      p = correct/n, z = 1.96 for 95 %

    Unlike p -+ z sqrt(p(1-p)/n) it stays inside [0, 1] and does not shrink to nothing at p = 0 or 1. With n = 0,
    nothing is known: (0, 1).

    Source    Wilson 1927; Brown, Cai & DasGupta 2001 recommend it
    """
    if not 0 <= correct <= n:
        raise DataError(f"{correct} correct of {n} is impossible")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = correct / n
    middle, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    return float(max(0.0, (middle - half) / (1 + z**2 / n))), float(min(1.0, (middle + half) / (1 + z**2 / n)))


def top1(right):
    """Return {"n", "top1", "top1_interval"} of predictions (N,) that are right or not; of none nothing is known."""
    n, correct = len(right), int(np.sum(right))
    return {"n": n, "top1": correct / n if n else 0.0, "top1_interval": list(wilson_interval(correct, n))}


def confusion_matrix(labels, predictions, classes):
    """Return counts (K, K): entry [i, j] is how many pictures of class i were called class j. classes is K or a list.

    Raises    DataError when a label or prediction is outside 0 .. K-1
    """
    count = classes if isinstance(classes, int) else len(classes)
    labels, predictions = np.asarray(labels, dtype=np.int64), np.asarray(predictions, dtype=np.int64)
    for name, values in (("label", labels), ("prediction", predictions)):
        if values.size and not (values.min() >= 0 and values.max() < count):
            raise DataError(f"a {name} lies outside 0 .. {count - 1}: {values.min()} .. {values.max()}")
    return np.bincount(labels * count + predictions, minlength=count**2).reshape(count, count)


def expected_calibration_error(probs, labels, bins=15):
    """Return the mean distance between how sure the classifier is and how often it is right.

    ECE = sum_b  n_b / N * |accuracy_b - confidence_b|      over bins of equal width, (0, 1/bins], (1/bins, 2/bins], ...

    Source    Guo et al. 2017, equation 3
    """
    require_some(labels)
    confidence, right = probs.max(axis=1).astype(np.float64), probs.argmax(axis=1) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    surplus = np.bincount(bin_of, weights=right - confidence, minlength=bins)  # n_b * (accuracy_b - confidence_b)
    return float(np.abs(surplus).sum() / len(labels))


def binary_reading(probs, labels):
    """Return what Keras' BinaryAccuracy, Precision and Recall say about one-hot outputs: N*K yes-or-no questions.

    Every output above 0.5 counts as a yes. With K classes a model that never says yes scores (K-1)/K: 0.857 for seven.
    BinaryAccuracy = 1 - (FP + FN) / (N*K) is therefore not an accuracy of the classifier, though it is often printed
    as one; top-1 accuracy can only lie between this recall and 1 - FP/N.
    """
    require_some(labels)
    yes = probs > 0.5
    truth = np.arange(probs.shape[1]) == np.asarray(labels)[:, None]
    found, claimed = int((yes & truth).sum()), int(yes.sum())
    return {
        "binary_accuracy": float((yes == truth).mean()),
        "binary_precision": found / claimed if claimed else 0.0,
        "binary_recall": found / len(probs),
    }


def evaluate(probs, labels, classes):
    """Return every figure of these predictions as a JSON-able dict; report.text.format_report makes a text of it.

    cross_entropy is the mean of -log(probability of the true class), which is not taken below the dtype's resolution.

    Raises    ShapeError or DataError when probs are no probabilities or labels do not fit them
    """
    probs, labels = check(probs, labels, classes)
    n = len(labels)
    confusion = confusion_matrix(labels, probs.argmax(axis=1), classes)
    right, true, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = right / np.maximum(predicted, 1), right / np.maximum(true, 1)
    f1 = 2 * right / np.maximum(true + predicted, 1)
    f1[true == 0] = 0
    occurs = true > 0
    true_probs = np.clip(probs[np.arange(n), labels].astype(np.float64), np.finfo(probs.dtype).eps, None)
    return {
        "n": n,
        "top1": float(right.sum() / n),
        "top1_interval": list(wilson_interval(int(right.sum()), n)),
        "balanced_accuracy": float(recall[occurs].mean()),
        "macro_precision": float(precision[occurs].mean()),
        "macro_recall": float(recall[occurs].mean()),
        "macro_f1": float(f1[occurs].mean()),
        "cross_entropy": float(-np.log(true_probs).mean()),
        "calibration_error": expected_calibration_error(probs, labels),
        "per_class": {
            name: {
                "n": int(true[k]),
                "precision": float(precision[k]),
                "recall": float(recall[k]),
                "f1": float(f1[k]),
            }
            for k, name in enumerate(classes)
        },
        "confusion": confusion.tolist(),
        **binary_reading(probs, labels),
    }


def check(probs, labels, classes):
    """Return probs and labels as arrays; raise ShapeError or DataError when they cannot be what evaluate needs."""
    probs, labels = np.asarray(probs), np.asarray(labels)
    if probs.ndim != 2 or probs.shape[1] != len(classes) or labels.shape != probs.shape[:1]:
        raise ShapeError(
            f"expected probabilities (N, {len(classes)}) and labels (N,), got {probs.shape} and {labels.shape}"
        )
    require_some(labels)
    if probs.dtype.kind != "f":
        raise DataError(f"probabilities are floats, got {probs.dtype}: use .astype(np.float32)")
    if labels.dtype.kind not in "iu":
        raise DataError(f"labels are {labels.dtype}: expected whole numbers, one per picture")
    if not (np.all(probs >= 0) and np.allclose(probs.sum(axis=1), 1, atol=1e-3)):
        raise DataError("these are not probabilities (rows of numbers >= 0 that sum to 1): apply softmax to the logits")
    return probs, labels


def require_some(rows):
    """Raise DataError when there are no rows: the mean of nothing is no number."""
    if not len(rows):
        raise DataError("there are no predictions to evaluate")
