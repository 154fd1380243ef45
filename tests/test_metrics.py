"""Metrics against scikit-learn, against published values and against counts made by hand."""

import json

import numpy as np
import pytest
from sklearn import metrics as peer

from minifer.errors import DataError, ShapeError
from minifer.metrics import (
    binary_reading,
    confusion_matrix,
    evaluate,
    expected_calibration_error,
    top1,
    wilson_interval,
)
from minifer.report.text import format_report

CLASSES = ["angry", "happy", "sad", "neutral"]


def predictions(n=500, absent=None, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    labels = rng.choice([k for k in range(4) if k != absent], size=n)
    probs = rng.dirichlet(np.ones(4), size=n)
    probs[np.arange(n), labels] += 0.5
    return (probs / probs.sum(axis=1, keepdims=True)).astype(dtype), labels


# Against scikit-learn


@pytest.mark.parametrize("absent", [None, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_evaluate_equals_scikit_learn(absent, dtype):
    probs, labels = predictions(absent=absent, dtype=dtype)
    called, occurring = probs.argmax(axis=1), sorted(set(labels))
    result = evaluate(probs, labels, CLASSES)
    macro = dict(labels=occurring, average="macro", zero_division=0)
    expected = {
        "n": 500,
        "top1": peer.accuracy_score(labels, called),
        "macro_precision": peer.precision_score(labels, called, **macro),
        "macro_recall": peer.recall_score(labels, called, **macro),
        "macro_f1": peer.f1_score(labels, called, **macro),
        "balanced_accuracy": peer.recall_score(labels, called, **macro),
    }
    if absent is None:  # scikit-learn warns of a class that is predicted but does not occur
        expected["balanced_accuracy"] = peer.balanced_accuracy_score(labels, called)
        expected["cross_entropy"] = peer.log_loss(labels, probs)
    for key, value in expected.items():
        assert result[key] == pytest.approx(value, rel=1e-6), key
    np.testing.assert_array_equal(result["confusion"], peer.confusion_matrix(labels, called, labels=range(4)))
    each = peer.precision_recall_fscore_support(labels, called, labels=range(4), zero_division=0)
    for k, name in enumerate(CLASSES):
        row = result["per_class"][name]
        np.testing.assert_allclose(
            [row["precision"], row["recall"], row["f1"], row["n"]], [column[k] for column in each]
        )


def test_binary_reading_equals_scikit_learn_on_the_flattened_outputs():
    probs, labels = predictions()
    truth, yes = np.eye(4, dtype=int)[labels].ravel(), (probs > 0.5).astype(int).ravel()
    assert binary_reading(probs, labels) == pytest.approx(
        {
            "binary_accuracy": peer.accuracy_score(truth, yes),
            "binary_precision": peer.precision_score(truth, yes),
            "binary_recall": peer.recall_score(truth, yes),
        }
    )


# By hand


def test_wilson_interval_of_published_values():
    """Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20 and 1/29."""
    for (correct, n), interval in {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0000, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }.items():
        assert wilson_interval(correct, n) == pytest.approx(interval, abs=5e-5)


def test_wilson_interval_at_the_ends():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    low, high = wilson_interval(10, 10)
    assert low < 1 == high
    assert wilson_interval(7, 10, 0.5)[0] > wilson_interval(7, 10, 0.95)[0]
    with pytest.raises(DataError):
        wilson_interval(11, 10)


def test_top1_of_some_pictures():
    found = top1(np.array([True, False, True, True]))
    assert found == {"n": 4, "top1": 0.75, "top1_interval": list(wilson_interval(3, 4))}
    assert top1(np.array([], bool)) == {"n": 0, "top1": 0.0, "top1_interval": [0.0, 1.0]}


def test_four_pictures_by_hand():
    probs = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.4, 0.35, 0.25], [0.1, 0.1, 0.8]])
    labels = np.array([0, 1, 1, 2])
    result = evaluate(probs, labels, ["a", "b", "c"])
    assert result["confusion"] == [[1, 0, 0], [2, 0, 0], [0, 0, 1]]
    assert result["top1"] == 0.5
    assert result["balanced_accuracy"] == pytest.approx(2 / 3)
    assert result["macro_precision"] == pytest.approx((1 / 3 + 0 + 1) / 3)  # nothing was called b: precision 0
    assert result["macro_f1"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert result["cross_entropy"] == pytest.approx(-np.log([0.7, 0.3, 0.35, 0.8]).mean())
    # Outputs above 0.5: the first, second and fourth picture say yes once, the third never. Of the 12 cells, FP = 1
    # (second) and FN = 2 (second and third), so 9 agree.
    assert result["binary_accuracy"] == pytest.approx(9 / 12)
    assert result["binary_precision"] == pytest.approx(2 / 3)
    assert result["binary_recall"] == pytest.approx(2 / 4)


def test_a_model_that_never_commits_reads_as_six_sevenths():
    probs, labels = np.full((70, 7), 1 / 7), np.arange(70) % 7
    reading = binary_reading(probs, labels)
    assert reading == {"binary_accuracy": pytest.approx(6 / 7), "binary_precision": 0.0, "binary_recall": 0.0}
    assert evaluate(probs, labels, list("abcdefg"))["top1"] == pytest.approx(1 / 7)


def test_top1_lies_between_binary_recall_and_one_minus_false_positives():
    probs, labels = predictions(seed=4)
    result = evaluate(probs, labels, CLASSES)
    claimed = result["binary_recall"] / result["binary_precision"]
    assert result["binary_recall"] <= result["top1"] <= 1 - (claimed - result["binary_recall"])


def test_calibration_error_by_hand():
    probs = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    labels = np.array([0, 1, 1, 1])  # sure to 0.9 and right half the time; sure to 0.6 and always right
    assert expected_calibration_error(probs, labels, bins=10) == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)
    assert expected_calibration_error(probs, labels, bins=1) == pytest.approx(0.0)  # opposite errors hide in one bin
    assert expected_calibration_error(np.eye(3), np.arange(3)) == 0.0  # a confidence of exactly 1 has a bin


def test_a_zero_probability_gives_a_finite_cross_entropy():
    result = evaluate(np.array([[1.0, 0.0]], dtype=np.float32), np.array([1]), ["a", "b"])
    assert result["cross_entropy"] == pytest.approx(-np.log(np.finfo(np.float32).eps))


def test_confusion_matrix_checks_its_range():
    assert confusion_matrix([0, 1], [1, 1], 3).tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    with pytest.raises(DataError, match=r"a label lies outside 0 \.\. 2"):
        confusion_matrix([0, 3], [1, 1], ["a", "b", "c"])
    with pytest.raises(DataError, match="prediction"):
        confusion_matrix([0, 1], [1, -1], 3)


# What evaluate refuses, and what it returns


@pytest.mark.parametrize(
    ("probs", "labels", "error", "message"),
    [
        (np.ones((3, 3)) / 3, [0, 1, 2], ShapeError, "expected probabilities"),
        (np.ones((3, 4)) / 4, [0, 1], ShapeError, "labels"),
        (np.zeros((0, 4)), np.zeros(0, int), DataError, "no predictions"),
        (np.ones((2, 4)), [0, 1], DataError, "apply softmax"),
        (np.full((2, 4), np.nan), [0, 1], DataError, "apply softmax"),
        (np.ones((2, 4)) / 4, [0.0, 1.0], DataError, "whole numbers"),
        (np.ones((2, 4)) / 4, [0, 4], DataError, "outside"),
        (np.eye(4, dtype=int)[:2], [0, 1], DataError, "probabilities are floats"),
    ],
)
def test_evaluate_refuses(probs, labels, error, message):
    with pytest.raises(error, match=message):
        evaluate(probs, labels, CLASSES)


def test_nothing_has_no_mean():
    probs, labels = np.zeros((0, 4)), np.zeros(0, int)
    for figure in (expected_calibration_error, binary_reading):
        with pytest.raises(DataError, match="no predictions"):
            figure(probs, labels)
    assert confusion_matrix(labels, labels, CLASSES).tolist() == np.zeros((4, 4)).tolist()


def test_result_survives_json():
    probs, labels = predictions(dtype=np.float32)
    result = evaluate(probs, labels, CLASSES)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_report_puts_top1_first_and_labels_the_papers_reading():
    probs, labels = predictions(absent=1)
    result = evaluate(probs, labels, CLASSES)
    lines = format_report(result).splitlines()
    assert lines[0].startswith("top-1 accuracy")
    assert f"{result['top1']:.2%}" in lines[0]
    assert "95 % interval" in lines[0]
    happy = next(line for line in lines if line.startswith("happy"))
    assert happy.split() == ["happy", "0", "-", "-", "-"]
    heads = [line.split() for line in lines if line.endswith("neutral")]
    assert heads == [["true", "\\", "predicted", *CLASSES]]
    assert "not an accuracy of the classifier" in lines[-2]
    assert f"{result['binary_accuracy']:.4f}" in lines[-1]
    assert max(map(len, lines)) <= 122
