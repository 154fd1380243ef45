"""The assertions for the tests of a course: what passes, and what the message of a failure holds."""

import subprocess
import sys

import numpy as np
import pytest
from broken_own_layers import Dense, LayerNorm, LayerNormOverTokens

from minifer.errors import GradientError, LayerError
from minifer.testing import assert_gradients, assert_same_as


def test_a_right_layer_passes_and_returns_the_report():
    report = assert_gradients(LayerNorm(), (2, 3, 5))
    assert [check.name for check in report.checks] == ["dx", "gamma", "beta"] and report.passed


def test_inputs_are_arrays_or_shapes(rng):
    assert_gradients(Dense(3, 4), rng.standard_normal((5, 3)))
    assert_gradients(Dense(3, 4), (5, 3))


def test_a_failure_names_every_array_the_worst_entry_and_the_likely_mistake():
    with pytest.raises(AssertionError) as caught:
        assert_gradients(LayerNormOverTokens(), (2, 3, 5))
    lines = str(caught.value).splitlines()
    assert lines[0] == "LayerNormOverTokens: backward is not the derivative of forward"
    assert "WRONG" in lines[2] and lines[2].startswith("dx")
    assert lines[3].startswith("    dx[") and "backward" in lines[3] and "numeric" in lines[3]
    assert lines[4] == "    likely: averaged over axis 1, where axis 2 belongs"
    assert lines[5].split()[0] == "right" and lines[6].split()[0] == "here"
    assert [line.split()[0] for line in lines[7:9]] == ["gamma", "beta"] and lines[7].endswith("ok")


def test_what_is_wrong_beyond_numbers_is_one_line():
    class Mutates(Dense):
        def backward(self, dy):
            dy *= 2
            return super().backward(dy)

    with pytest.raises(GradientError, match=r"^Mutates\.backward changed its dy: .*$") as caught:
        assert_gradients(Mutates(), (5, 3))
    assert caught.value.__cause__ is None and len(caught.traceback) == 2, "no traceback through the check"
    with pytest.raises(LayerError, match=r"^Dense\.forward, given shape \(5, 4\), raised ValueError: .*line"):
        assert_gradients(Dense(), (5, 4))


def test_where_forward_is_wrong_too_nothing_is_guessed_about_backward():
    class Doubled(Dense):
        def forward(self, x):
            return 2 * super().forward(x)

    right = Dense(3, 4).forward
    assert_gradients(Dense(3, 4), (5, 3), forward=right)
    with pytest.raises(GradientError, match=r"likely: 2 times too small"):
        assert_gradients(Doubled(3, 4), (5, 3), forward=Doubled(3, 4).forward)
    with pytest.raises(
        GradientError, match=r"^Doubled: forward is wrong as well: result\[\d,\d\] is .*, expected"
    ) as caught:
        assert_gradients(Doubled(3, 4), (5, 3), forward=right)
    assert "likely" not in str(caught.value)


def softmax(x):
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def moments(x):
    return x.mean(axis=0), x.var(axis=0)


def test_the_same_function_passes():
    assert_same_as(softmax, lambda x: np.exp(x) / np.exp(x).sum(axis=1)[:, None], (4, 3))
    assert_same_as(moments, lambda x: (x.mean(axis=0), (x**2).mean(axis=0) - x.mean(axis=0) ** 2), (5, 3))
    assert_same_as(np.sum, lambda x: x.sum(axis=0).sum(), (5, 3))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: softmax(x.T).T, r"result\[\d,\d\] is \S+, expected \S+\n    no guess: "),
        (lambda x: 2 * softmax(x), "likely: 2 times too large"),
        (lambda x: softmax(x)[::-1], "likely: .*flipped along axis 0"),
        (lambda x: softmax(x) * np.nan, "likely: nan or inf"),
        (lambda x: softmax(x).sum(axis=1), r"result has shape \(4,\), expected \(4, 3\)$"),
        (lambda x: None, "result is None, expected an array$"),
        (lambda x: (softmax(x), 1), "2 results, expected 1$"),
        (lambda x: [x, x[0]], r"result is \[array.*, expected an array$"),
        (lambda x: "softmax", "result is 'softmax', expected an array$"),
    ],
)
def test_another_function_is_told_apart(function, message):
    with pytest.raises(AssertionError, match=message):
        assert_same_as(softmax, function, (4, 3))


def test_masks_and_small_whole_numbers_are_compared_as_numbers():
    assert_same_as(lambda x: x > 0, lambda x: ~(x <= 0), (4, 3))
    with pytest.raises(AssertionError, match=r"^result\[\d,\d\] is [01], expected [01]"):
        assert_same_as(lambda x: x > 0, lambda x: x < 0, (4, 3))
    with pytest.raises(AssertionError, match=r"^result\[1\] is 3, expected 5"):
        assert_same_as(lambda: np.array([9, 5], np.uint8), lambda: np.array([9, 3], np.uint8))


def log_odds(x):
    return np.array([-np.inf, np.nan, x.sum(), np.inf])


def test_infinities_of_a_reference_let_nothing_else_pass():
    assert_same_as(log_odds, log_odds, (4, 3))
    for k, wrong in ((0, np.inf), (0, -1e300), (1, 0), (2, 7), (2, np.inf), (3, np.nan)):

        def changed(x, k=k, wrong=wrong):
            return np.where(np.arange(4) == k, wrong, log_odds(x))

        with pytest.raises(AssertionError, match=rf"^result\[{k}\] is "):
            assert_same_as(log_odds, changed, (4, 3))


def test_one_of_several_results_is_named():
    with pytest.raises(AssertionError, match=r"result 1\[\d\] is .*\n    likely: 1.25 times too large"):
        assert_same_as(moments, lambda x: (x.mean(axis=0), x.var(axis=0, ddof=1)), (5, 3))
    with pytest.raises(AssertionError, match=r"this is what belongs to result 1: the two are swapped"):
        assert_same_as(moments, lambda x: moments(x)[::-1], (5, 3))
    with pytest.raises(AssertionError, match=r"^result is 3, expected 2$"):
        assert_same_as(lambda: 2, lambda: 3)


def test_results_have_names():
    def swapped(x):
        return moments(x)[::-1]

    with pytest.raises(AssertionError, match=r"^mean\[\d\] is .*\n    likely: this is what belongs to variance"):
        assert_same_as(moments, swapped, (5, 3), names=("mean", "variance"))
    with pytest.raises(AssertionError, match=r"^loss is 3, expected 2$"):
        assert_same_as(lambda: 2, lambda: 3, names=("loss",))


def test_known_wrong_answers_are_recognized():
    mistakes = {"the sum runs over the batch": lambda x: softmax(x.T).T, "another": lambda x: x}
    with pytest.raises(AssertionError, match=r"\n    likely: the sum runs over the batch$"):
        assert_same_as(softmax, lambda x: softmax(x.T).T, (4, 3), mistakes=mistakes)


def test_each_function_gets_copies():
    x = np.ones((2, 3))

    def spoils(x):
        x *= 5
        return x / 5

    assert_same_as(lambda x: x, spoils, x)
    np.testing.assert_array_equal(x, 1)


def test_pytest_is_not_imported():
    code = "import sys, minifer.testing; print('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
