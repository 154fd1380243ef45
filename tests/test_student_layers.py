"""No false alarm for a right layer in any style, and no layer passes whose gradient is wrong or missing."""

import functools
import warnings

import numpy as np
import pytest
import student_layers
from student_layers import LAYERS, drawn

from minifer.cli import main
from minifer.errors import ConfigError, GradientError, LayerError
from minifer.gradcheck import compare_gradients
from minifer.testing import assert_gradients


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("name", LAYERS)
def test_a_right_layer_passes(name):
    kind, inputs, _ = LAYERS[name]
    assert_gradients(kind(), *drawn(inputs))


SPOILT = [(name, gradient, how) for name, (_, _, all_) in LAYERS.items() for gradient in all_ for how in "37-"]


@pytest.mark.parametrize(("name", "gradient", "how"), SPOILT, ids=["-".join(row) for row in SPOILT])
def test_a_spoilt_gradient_is_caught(name, gradient, how):
    """Three or seven times too large, or taken away."""
    kind, inputs, _ = LAYERS[name]
    keep = "None" if how == "-" else f"multiplied({gradient}, {how})"

    class Spoilt(kind):
        @functools.wraps(kind.backward)
        def backward(self, *dy):
            dx = kind.backward(self, *dy)
            exec(f"{gradient} = {keep}", vars(student_layers) | {"self": self, "multiplied": multiplied})
            return dx

    with pytest.raises(GradientError):
        assert_gradients(Spoilt(), *drawn(inputs))


def multiplied(gradient, factor):
    return (np.asarray(gradient) * float(factor)).tolist() if isinstance(gradient, list) else gradient * float(factor)


def report_of(layer, *shapes, **names):
    return compare_gradients(layer, *drawn(shapes), rng=np.random.default_rng(7), **names)


class ForgottenBeta(student_layers.LayerNorm):
    def backward(self, dy):
        dx = super().backward(dy)
        del self.dbeta
        return dx


def test_the_command_and_the_assertion_say_the_same_of_a_missing_gradient(capsys):
    said = "beta changes y but has no gradient"
    with pytest.raises(GradientError, match=said):
        assert_gradients(ForgottenBeta(), (4, 5))
    assert main(["gradcheck", f"{__file__}:ForgottenBeta", "--input", "4x5"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("FAIL") and said in out.splitlines()[0] and "--constant beta" in out


@pytest.mark.parametrize("name", ["ListOfLayers", "Slots", "CausalAttention", "PurePython", "ReluShut", "BatchNorm"])
def test_the_command_passes_right_layers_too(capsys, name):
    shape = "x".join(map(str, LAYERS[name][1][0]))
    assert main(["gradcheck", f"{student_layers.__file__}:{name}", "--input", shape]) == 0
    capsys.readouterr()


def test_constants_and_required_names(capsys):
    class Undeclared(student_layers.PositionalTable):
        constants = ()

    assert report_of(Undeclared(), (2, 4, 3)).summary == "table changes y but has no gradient"
    report = report_of(Undeclared(), (2, 4, 3), constants=("table",))
    assert report.passed and "declared constant: table" in report.notes
    assert_gradients(Undeclared(), (2, 4, 3), constants=("table",))

    report = report_of(student_layers.LeakyReLU(), (4, 5))
    assert report.passed and any(
        note.startswith("taken as constants, which have no gradient: slope") for note in report.notes
    )
    with pytest.raises(GradientError, match="slope changes y but has no gradient"):
        assert_gradients(student_layers.LeakyReLU(), (4, 5), required=("slope",))
    command = ["gradcheck", f"{student_layers.__file__}:LeakyReLU", "--input", "4x5", "--require"]
    assert main([*command, "slope"]) == 1 and "slope changes y" in capsys.readouterr().out
    assert main([*command, "slop"]) == 2 and "called 'slop'; it holds slope" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="called 'tabel'"):
        assert_gradients(Undeclared(), (2, 4, 3), constants=("tabel",))


class Prelu:
    """A number whose gradient was never written; in Forgotten at least its name occurs."""

    def __init__(self):
        self.slope, self.eps = 0.25, 1e-8

    def forward(self, x):
        self.x = x
        return np.where(x > 0, x, self.slope * x) / (1 + self.eps)

    def backward(self, dy):
        return dy * np.where(self.x > 0, 1, self.slope) / (1 + self.eps)


class Forgotten(Prelu):
    def __init__(self):
        super().__init__()
        self.dslope = None


class Beside(Prelu):
    """Another number has a gradient: then this layer trains numbers."""

    def __init__(self):
        super().__init__()
        self.shift = 0.0

    def forward(self, x):
        return super().forward(x) + self.shift

    def backward(self, dy):
        self.dshift = dy.sum()
        return super().backward(dy)


def test_what_is_known_of_numbers():
    report = report_of(Prelu(), (4, 5))
    assert report.passed and "slope, eps (" in str(report)
    for kind in (Forgotten, Beside):
        report = report_of(kind(), (4, 5))
        assert report.summary == "slope changes y but has no gradient" and "no gradient: eps (" in str(report)


class Shut:
    """Nothing that is drawn gets through."""

    def forward(self, x):
        self.mask = x > 1e9
        return x * self.mask

    def backward(self, dy):
        return 7 * dy * self.mask


def test_zeros_on_both_sides_are_no_proof():
    report = report_of(Shut(), (4, 3))
    assert not report.passed and report.summary.startswith("checked nothing")
    report = report_of(student_layers.CausalAttention(), (2, 4, 3))
    assert report.passed and "bk: checked nothing" in str(report), "one of many, on which y does not depend"


class TwiceGain:
    def __init__(self, gain):
        self.gain = gain

    def forward(self, x):
        self.x = x
        return x * self.gain

    def backward(self, dy):
        self.dgain = (dy * self.x).sum(axis=tuple(range(2 - np.ndim(self.gain))))
        return dy * self.gain * self.gain


def test_what_the_check_moves_it_says():
    report = report_of(TwiceGain(np.full(3, 1.7)), (4, 3))
    assert "note: gain, which is 1.7 in the layer, was moved for the check: to" in str(report)
    for gain in (np.array(1.7), 1.7):
        report = report_of(TwiceGain(gain), (4, 3))
        assert "likely: 1.7 times too large" in str(report) and "moved" not in str(report), (
            "one number is left as it is"
        )


class FaintTwice(student_layers.Faint):
    def backward(self, dy):
        return 2 * super().backward(dy)


class Fainter(student_layers.Faint):
    def forward(self, x):
        return 1 + 1e-13 * x

    def backward(self, dy):
        return 2e-13 * dy


def test_below_the_rounding_of_y_nothing_can_be_told():
    assert not report_of(FaintTwice(), (3, 4)).passed
    report = report_of(Fainter(), (3, 4))
    assert report.passed and "dx: cannot tell" in str(report)


class TakesTooMany(student_layers.Moments):
    def backward(self, dy, dmean, dmore):
        return dy


def test_outputs_that_backward_cannot_take_are_one_line():
    with pytest.raises(
        LayerError, match=r"^TakesTooMany.forward returned 2 results, and TakesTooMany.backward\(dy, dmean, dmore\) .*$"
    ):
        assert_gradients(TakesTooMany(), (4, 5))
    report = report_of(student_layers.ArrayAsCache(), (5, 3))
    assert report.passed and "only the first was checked" in str(report)
