"""Compare a layer's backward pass with central differences of its forward pass; on failure, guess at the mistake.

Everything runs in float64 on copies of the layer. Stay away from kinks: at 0 a ReLU has no derivative to compare with.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from minifer.errors import GradientError, LayerError
from minifer.gradcheck.experiment import Experiment, other_draws
from minifer.gradcheck.explain import Evidence, guess, guess_of_shape
from minifer.gradcheck.functions import as_layer
from minifer.gradcheck.report import MISSING, NOTHING, OK, ROUNDING, WRONG, ArrayCheck, Report
from minifer.gradcheck.subject import Subject
from minifer.gradcheck.survey import survey

TOLERANCE = 1e-6
TOLERANCE_OF_A_SUM = 1e-5  # the second pass compares one directional derivative per array
KNOWN = 100  # a gradient of so many times the rounding of its numeric one is known to a hundredth
ZERO = 1e-13  # of the largest gradient: what is left where terms cancel
UNDECIDED = NOTHING, ROUNDING


def compare_gradients(layer, *inputs, rng, tolerance=TOLERANCE, constants=(), required=()):
    """Check a layer and return a Report; raise for what is wrong beyond numbers.

    layer       any object with forward and backward; it is copied and left alone. Or a function, see functions.py
    inputs      what its forward takes; integer inputs, such as labels, have no gradient
    rng         numpy Generator for dy
    constants   names of arrays and numbers that are not trained, such as "table" or "blocks.0.table"
    required    names of those that must have a gradient: of a number without one nobody else can know

    What forward reads and is neither an input nor a constant must have a gradient (see gradcheck/survey.py). On the
    copy, parameters whose entries are all equal are moved apart: a gamma of ones would hide a forgotten gamma. Where
    a gradient is zero on both sides, other inputs and weights are drawn.
    The relative error of an entry is |backward - numeric| / max(|backward|, |numeric|, floor), where floor is a
    hundredth of the largest entry of any gradient, or what is lost in the rounding of y: below it rounding, not the
    backward pass, decides.

    Raises   LayerError when the layer cannot be run; GradientError when a pass changes what it was given, a gradient
             is of another shape or dtype, or a second pass goes wrong after a right first one; ConfigError when the
             layer holds nothing of the name in constants or required
    """
    inputs = [x.astype(np.float64) if np.issubdtype(x.dtype, np.floating) else x for x in map(np.asarray, inputs)]
    subject, remarks = survey(Subject(as_layer(layer)), inputs, rng, constants, required)
    moved = move_apart(subject, rng)
    experiment = Experiment(subject, inputs, rng)
    experiment.require_same_output()
    if not experiment.values:
        raise LayerError(f"{subject.name} has neither floating-point inputs nor parameters: there is nothing to check")

    checks = compared(experiment, tolerance)
    undecided = [name for name, check in checks.items() if check.verdict in UNDECIDED]
    for other, drawn in other_draws(subject, inputs, subject.trained, rng) if undecided else ():
        try:
            again = Experiment(other, drawn, rng)
            shown = compared(again, tolerance, [name for name in undecided if shows(again, name)])
        except LayerError:  # such as a negative number under a root
            continue
        checks |= {name: check for name, check in shown.items() if check.verdict not in UNDECIDED}
        undecided = [name for name in undecided if checks[name].verdict in UNDECIDED]
        if not undecided:
            break
    checks = [with_hint(check, checks.values(), experiment.paths) for check in checks.values()]
    report = Report(subject.name, checks, tolerance, subject.notes() + remarks)
    if report.passed:
        require_second_pass(experiment, rng)
        return report
    return dataclasses.replace(report, notes=report.notes + moved)


def compared(experiment, tolerance, names=None):
    """Return {name: ArrayCheck} of some or all gradients of an Experiment, those that are wrong with a guess."""
    numerics = {name: experiment.numeric(name) for name in (experiment.values if names is None else names)}
    known = [each for each in (experiment.gradients | numerics).values() if each is not None]
    largest = max((np.abs(each).max(initial=0) for each in known), default=0)
    floor = max(1e-2 * largest, experiment.rounding / tolerance, 1e-300)
    checks = {}
    for name, numeric in numerics.items():
        backward = experiment.gradients[name]
        if backward is None:
            checks[name] = ArrayCheck(name, None, numeric, (0,) * numeric.ndim, np.inf, MISSING)
            continue
        evidence = Evidence(name, backward, numerics, experiment)
        if backward.shape != numeric.shape:
            raise GradientError(
                f"{experiment.subject.name}: the gradient {name} has shape {backward.shape}, not {numeric.shape}"
                f"{guess_of_shape(evidence)}"
            )
        worst, error = worst_of(backward, numeric, floor)
        checks[name] = ArrayCheck(name, backward, numeric, worst, error, OK)
        size = max(np.abs(backward).max(initial=0), np.abs(numeric).max(initial=0))
        if error >= tolerance:
            checks[name] = dataclasses.replace(checks[name], verdict=WRONG, guess=guess(evidence))
        elif size <= experiment.rounding and np.abs(backward).max(initial=0) <= ZERO * largest:
            checks[name] = dataclasses.replace(checks[name], verdict=NOTHING)
        elif size < KNOWN * experiment.rounding:
            checks[name] = dataclasses.replace(checks[name], verdict=ROUNDING)
    return checks


def worst_of(backward, numeric, floor):
    """Return (index, relative error) of the entry that is furthest off."""
    with np.errstate(invalid="ignore"):  # nan and inf in backward count as infinitely wrong
        error = np.abs(backward - numeric) / np.maximum(np.maximum(np.abs(backward), np.abs(numeric)), floor)
    error = np.where(np.isfinite(error), error, np.inf)
    worst = np.unravel_index(np.argmax(error), error.shape)
    return tuple(int(i) for i in worst), float(error[worst])


def shows(experiment, name):
    """Whether a numeric gradient is more than rounding, in the output or on the way to it."""
    direction = np.random.default_rng(0).standard_normal(experiment.values[name].shape)
    largest = max(np.abs(each).max(initial=0) for each in experiment.gradients.values() if each is not None)
    return abs(experiment.slope(name, direction, {})) > KNOWN * max(experiment.rounding, 10 * ZERO * largest)


def with_hint(check, checks, paths):
    """Where no mistake explains an input's gradient, add what those of the parameters say about the place to look."""
    if check.guess is None or not check.guess.unknown or check.name in paths or not paths:
        return check
    explained = [other.name for other in checks if other.guess and not other.guess.unknown]
    if explained:
        hint = f"correct {', '.join(explained)} first, it may be the same mistake"
    elif not any(other.guess for other in checks if other.name in paths):
        hint = "all parameters are right, so look where this one is put together: is a path left out?"
    else:
        return check
    return dataclasses.replace(check, guess=dataclasses.replace(check.guess, text=f"{check.guess.text}; {hint}"))


def move_apart(subject, rng):
    """Move parameters whose entries are all equal to random values near them, and return a line about each.

    A single number is moved only where it is 0, 1 or -1, which hide that it is forgotten.
    """
    lines = []
    for name in subject.trained:
        value = subject.get(name)
        if value.size and np.ptp(value) == 0 and (value.size > 1 or np.abs(value).max() in (0, 1)):
            other = value + rng.uniform(-0.5, 0.5, value.shape)
            subject.set(name, other)
            some = ", ".join(f"{entry:.4g}" for entry in other.flat[:3]) + (" ..." if value.size > 3 else "")
            lines.append(f"{name}, which is {value.flat[0]:.4g} in the layer, was moved for the check: to {some}")
    return lines


def require_second_pass(first, rng):
    """Raise GradientError when the layer, having gone through one pass, gets the gradients of another input wrong.

    Two mistakes show only here: gradients that are added to instead of overwritten, and values saved once for all.
    """
    second = Experiment(first.after, [np.ascontiguousarray(np.flip(x)) for x in first.inputs], rng)
    floor = max(1e-2 * max(np.linalg.norm(gradient) for gradient in second.gradients.values()), 1e-8)
    for name, gradient in second.gradients.items():
        direction = rng.standard_normal(gradient.shape)
        numeric = second.slope(name, direction, {})
        scale, rounding = max(np.linalg.norm(gradient), floor), second.rounding * np.linalg.norm(direction)

        def right(gradient, numeric=numeric, direction=direction, scale=scale, rounding=rounding):
            return abs(np.sum(gradient * direction) - numeric) < TOLERANCE_OF_A_SUM * scale + rounding

        if right(gradient):
            continue
        cause = "something that the first pass saved is used again (a stale value)"
        if right(gradient - first.gradients[name]):
            cause = "it is added to what the first pass left; overwrite it (= instead of +=)"
        raise GradientError(f"{first.subject.name}: {name} is right in a first pass but wrong in a second: {cause}")


def check_gradients(
    layer,
    *inputs: np.ndarray,
    rng: np.random.Generator,
    tolerance: float = TOLERANCE,
    constants: Sequence[str] = (),
    required: Sequence[str] = (),
) -> Report:
    """Return the Report of compare_gradients; raise GradientError naming the worst entry when the layer fails.

    >>> from minifer.layers import ReLU6
    >>> rng = np.random.default_rng(0)
    >>> check_gradients(ReLU6(), rng.standard_normal((2, 3)), rng=rng).passed
    True
    """
    report = compare_gradients(layer, *inputs, rng=rng, tolerance=tolerance, constants=constants, required=required)
    if not report.passed:
        guess_of_worst = f"; {report.worst.guess}" if report.worst.guess else ""
        raise GradientError(f"{report.layer}: {report.summary}{guess_of_worst}")
    return report
