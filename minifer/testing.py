"""For the tests of a course: assert that a student's layer is right, with a report that says what is likely wrong.

    from minifer.testing import assert_gradients, assert_same_as

    def test_my_layer():
        assert_gradients(MyLayer(channels=3), (2, 5, 4, 3))

Works with pytest, unittest or plain assert; pytest is not imported. Run as a program (python -m minifer.testing --help)
it scores folders of answers, see minifer/teaching.
"""

import copy
import reprlib
import sys

import numpy as np

from minifer.errors import GradientError, MiniferError
from minifer.gradcheck import TOLERANCE, compare_gradients
from minifer.gradcheck.explain import Evidence, guess
from minifer.gradcheck.functions import as_layer


def assert_gradients(layer, *inputs, seed=0, constants=(), required=(), forward=None):
    """Assert that backward agrees with central differences of forward; return the gradcheck Report.

    layer       any object with forward and backward; it is left alone. Or a function: affine_forward, which returns
                (y, cache), with affine_backward(dy, cache) in its module, or softmax_loss, which returns (loss, dx)
    inputs      what forward takes: arrays, or tuples such as (2, 5, 4, 3), for which random numbers are drawn
    constants   names of what forward reads and nobody trains, such as "table"
    required    names of numbers that are trained, such as "slope": one without a gradient passes for a constant
    forward     a function of the inputs: the right forward pass. Where backward fails and forward differs from it, no
                guess about backward is shown, since it would mislead

    It is the check of `minifer gradcheck`, as strict as that: what forward reads and is no constant has a gradient.

    Raises      GradientError, an AssertionError, with a row per array and the likely mistake; LayerError when it fails
    """
    __tracebackhide__ = True  # pytest then shows the line of the test, not lines in here
    rng = np.random.default_rng(seed)
    layer, inputs = as_layer(layer), drawn(inputs, rng)
    try:
        report = compare_gradients(layer, *inputs, rng=rng, constants=constants, required=required)
    except MiniferError as error:  # its line says it all; a traceback through the check would bury it
        raise error.with_traceback(None) from None
    if not report.passed and forward:
        problem = difference(results_of(copy.deepcopy(layer).forward, inputs), results_of(forward, inputs), TOLERANCE)
        if problem:
            raise GradientError(
                f"{report.layer}: forward is wrong as well: {problem}; mend forward first, backward follows it"
            )
    if not report.passed:
        raise GradientError(f"{report.layer}: backward is not the derivative of forward\n{report}")
    return report


def assert_same_as(reference, function, *inputs, mistakes=None, names=(), tolerance=TOLERANCE, seed=0):
    """Assert that a student's function returns what a reference returns; both are given copies of the same inputs.

    reference, function    functions of the inputs that return an array, a number, or a tuple of these
    inputs                 passed on; tuples such as (2, 5, 4, 3) become random numbers of that shape
    mistakes               {sentence: function}: known wrong answers; the sentence is shown when the results are theirs
    names                  of the results, such as ("value", "mean"); without it they are "result 0" and so on
    tolerance              relative to the largest finite entry of each result; NaN and infinity have to be the same

    Raises                 AssertionError naming the worst entry and the likely mistake
    """
    __tracebackhide__ = True
    inputs = drawn(inputs, np.random.default_rng(seed))
    expected, results = (results_of(one, inputs, names) for one in (reference, function))
    problem = difference(results, expected, tolerance)
    if not problem:
        return
    for sentence, wrong in (mistakes or {}).items():
        if not difference(results, results_of(wrong, inputs, names), tolerance):
            raise AssertionError(f"{problem}\n    likely: {sentence}")
    raise AssertionError(problem + guess_of_difference(results, expected))


def drawn(inputs, rng):
    """Return inputs with random numbers in place of tuples of lengths."""
    return [
        rng.standard_normal(x) if isinstance(x, tuple) and all(isinstance(n, int) for n in x) else x for x in inputs
    ]


def results_of(function, inputs, names=()):
    """Return {name: array} of what a function returns for copies of the inputs."""
    returned = function(*copy.deepcopy(inputs))
    if isinstance(returned, tuple):
        own = names if len(names) == len(returned) else [f"result {i}" for i in range(len(returned))]
        return {name: as_array(part) for name, part in zip(own, returned, strict=True)}
    return {names[0] if len(names) == 1 else "result": as_array(returned)}


def as_array(value):
    """Return a result as an array of floats, or of Python's objects where it is no number or array."""
    try:
        array = np.asarray(value)
    except ValueError:  # a list of arrays of several shapes
        array = np.array(None)
        array[()] = value
    return array.astype(float) if array.dtype.kind in "biu" else array  # of masks no difference could be taken


def difference(results, expected, tolerance):
    """Return one line about the first result that differs, or an empty string."""
    if len(results) != len(expected):
        return f"{len(results)} results, expected {len(expected)}"
    for (name, result), right in zip(results.items(), expected.values(), strict=True):
        if result.dtype.kind not in "fc":
            value = " ".join(reprlib.repr(result.tolist()).split())
            return f"{name} is {value}, expected {'an array' if right.ndim else 'a number'}"
        if result.shape != right.shape:
            return f"{name} has shape {result.shape}, expected {right.shape}"
        with np.errstate(invalid="ignore"):  # inf - inf
            error = np.nan_to_num(np.abs(result - right), nan=np.inf)
        error = np.where((result == right) | (np.isnan(result) & np.isnan(right)), 0, error)
        # Of a reference with an infinity in it the largest entry would let everything pass.
        if np.max(error, initial=0) > tolerance * max(np.max(np.abs(right[np.isfinite(right)]), initial=0), 1e-12):
            worst = np.unravel_index(np.argmax(error), error.shape)
            place = f"{name}[{','.join(map(str, worst))}]" if right.ndim else name
            return f"{place} is {result[worst]:.6g}, expected {right[worst]:.6g}"
    return ""


def guess_of_difference(results, expected):
    """Return a second line with the likely mistake, or an empty string."""
    for name, right in expected.items():
        result = results.get(name)
        if (
            result is not None
            and result.shape == right.shape
            and right.ndim
            and difference({name: result}, {name: right}, TOLERANCE)
        ):
            return f"\n    {guess(Evidence(name, result, expected))}"
    return ""


if __name__ == "__main__":
    from minifer.teaching.command import main

    sys.exit(main())
