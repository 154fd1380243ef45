"""The gradient check of functions: a forward and a backward side by side, and losses that return their gradient."""

import re
import sys
import types

import numpy as np
import pytest
from small_runs import run

from minifer.errors import GradientError, LayerError
from minifer.testing import assert_gradients

CODE = """
import numpy as np

def affine_forward(x, w, b):
    return x @ w + b, (x, w)

def affine_backward(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)

def dense_tanh_forward(x, w, b):
    y = np.tanh(x @ w + b)
    return y, (x, w, y)

def dense_tanh_backward(dout, cache):
    x, w, y = cache
    return (dout * (1 - y**2)) @ w.T, x.T @ (dout * (1 - y)), (dout * (1 - y**2)).mean(axis=0)

def batchnorm_forward(x, gamma, beta, bn_param):
    inv_std = 1 / np.sqrt(x.var(axis=0) + bn_param["eps"])
    x_hat = (x - x.mean(axis=0)) * inv_std
    return gamma * x_hat + beta, (x_hat, gamma, inv_std)

def batchnorm_backward(dout, cache):
    x_hat, gamma, inv_std = cache
    return dout * gamma * inv_std, (dout * x_hat).sum(axis=0), dout.sum(axis=0)

def softmax_loss(x, labels, reg=0.0):
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(x))
    loss = -np.log(p[rows, labels]).mean() + reg * (x**2).sum()
    p[rows, labels] -= 1
    return loss, p / len(x) + reg * x

def lonely_forward(x):
    return x, None

def bare_forward(x):
    return np.maximum(x, 0)

def bare_backward(dout, cache):
    return dout * (cache > 0)

def spoiling_forward(x):
    x *= 2
    return x, x

def spoiling_backward(dout, cache):
    return 2 * dout

def failing_forward(x):
    return x * 1, x

def failing_backward(dout, cache):
    return dout * cache[7]

def distance_loss(x, y):
    return ((x - y) ** 2).sum(), 2 * (x - y)

class Scaled:
    def __init__(self, factor):
        self.factor, self.constants = factor, ("factor",)

    def forward(self, x):
        return self.factor * x

    def backward(self, dy):
        return self.factor * dy

def feedforward(factor):
    return Scaled(factor)

def scaled_loss(factor, rng):
    return Scaled(factor)

def number_loss(x):
    return float((x**2).sum())
"""
AFFINE = ["--input", "5x3", "--input", "3x4", "--input", "4"]
LOGITS = ["--input", "4x3", "--input", "4:3"]


@pytest.fixture(scope="module")
def functions():
    """Return a module of the functions, as one that is imported."""
    module = types.ModuleType("functions_of_a_course")
    sys.modules[module.__name__] = module
    exec(CODE, vars(module))
    yield module
    del sys.modules[module.__name__]


@pytest.mark.parametrize(
    ("arguments", "passed", "says"),
    [
        (["affine_forward", *AFFINE], True, r"dx .* ok\n *dw .* ok\n *db .* ok"),
        (["dense_tanh_forward", *AFFINE], False, r"dx .* ok\n *dw .*WRONG\n.*\n.*likely: 1 - y stands where the deriv"),
        (["dense_tanh_forward", *AFFINE], False, r"db .*WRONG\n.*\n.*likely: 5 times too small"),
        (
            ["batchnorm_forward", "--input", "5x3", "--input", "3", "--input", "3", "--with", "bn_param={'eps': 1e-5}"],
            False,
            r"the mean and the variance are treated as constants\n *right .*inv_std\*gamma\*dy",
        ),
        (["softmax_loss", *LOGITS], True, r"dx .* ok"),
        (["softmax_loss", *LOGITS, "--with", "reg=.1"], False, r"right *0\.2\*x\*dy .*\n *here *0\.1\*x\*dy"),
        (["feedforward", "--input", "5x3", "--with", "2.5"], True, r"dx .* ok"),
        (["scaled_loss", "--input", "5x3", "--with", "factor=2.5"], True, r"dx .* ok"),
        (["lonely_forward", "--input", "5x3"], False, r"needs a function lonely_backward\(dy, cache\)"),
        (["number_loss", "--input", "5x3"], False, r"return loss, dx; this one returned"),
        (
            ["bare_forward", "--input", "5x3"],
            False,
            r" bare_forward returned one .* bare_backward\(dout, cache\)",
        ),
        (["spoiling_forward", "--input", "5x3"], False, r" spoiling_forward changed its input x"),
        (["failing_forward", "--input", "5x3"], False, r" failing_backward, given .* raised IndexError"),
        (
            ["distance_loss", "--input", "4x3", "--input", "4x3"],
            False,
            r" distance_loss returned 1 gradients for 2 .*: return loss, dx, dy; .*--constant",
        ),
        (["distance_loss", "--input", "4x3", "--input", "4x3", "--constant", "y"], True, r"dx .* ok"),
        (["affine_forward", "--input", "5x3"], False, r"missing a required argument: 'w'"),
    ],
)
def test_functions_are_checked(tmp_path, monkeypatch, capsys, arguments, passed, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layers.py").write_text(CODE)
    code, out, _ = run(capsys, "gradcheck", f"layers.py:{arguments[0]}", *arguments[1:])
    assert code == (0 if passed else 1)
    assert re.search(says, out), out


def test_what_is_no_argument_of_the_function_is_wrong_usage(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "layers.py").write_text(CODE)
    for arguments in ("0.1", "regularization=0.1"):
        code, _, err = run(capsys, "gradcheck", "layers.py:softmax_loss", *LOGITS, "--with", arguments)
        assert (code, err.count("\n")) == (2, 1)
        assert "by name, such as reg=0.1" in err


def test_assertions_take_functions(functions):
    assert_gradients(functions.affine_forward, (5, 3), (3, 4), (4,))
    assert_gradients(functions.softmax_loss, (4, 3), np.array([0, 2, 1, 1]))
    with pytest.raises(GradientError, match="5 times too small"):
        assert_gradients(functions.dense_tanh_forward, (5, 3), (3, 4), (4,))
    with pytest.raises(LayerError, match="lonely_backward"):
        assert_gradients(functions.lonely_forward, (5, 3))
