"""Compare a layer's backward pass with central differences of its forward pass; on failure, guess at the mistake.

Everything runs in float64 on copies of the layer. Stay away from kinks: at 0 a ReLU has no derivative to compare with.
"""

import dataclasses

import numpy as np

from minifer.errors import GradientError, LayerError
from minifer.gradcheck.experiment import Experiment
from minifer.gradcheck.mistakes import Evidence, guess, guess_of_shape
from minifer.gradcheck.report import ArrayCheck, Report
from minifer.gradcheck.subject import Subject

TOLERANCE = 1e-6
TOLERANCE_OF_A_SUM = 1e-5  # the second pass compares one directional derivative per array


def compare_gradients(layer, *inputs, rng, tolerance=TOLERANCE):
    """Check a layer and return a Report; raise for what is wrong beyond numbers.

    layer    any object with forward and backward (see gradcheck/subject.py); it is copied and left alone
    inputs   what its forward takes; integer inputs, such as labels, have no gradient
    rng      numpy Generator for dy

    On the copy, parameters whose entries are all equal are moved apart: a gamma of ones would hide a forgotten gamma.
    The relative error of an entry is |backward - numeric| / max(|backward|, |numeric|, floor), where floor is a
    hundredth of the largest entry of any gradient: below it rounding, not the backward pass, decides.

    Raises   LayerError when the layer cannot be run; GradientError when a pass changes what it was given, a gradient
             is missing or of another shape or dtype, or a second pass goes wrong after a right first one
    """
    subject = Subject(layer)
    subject.to_float64()
    inputs = [x.astype(np.float64) if np.issubdtype(x.dtype, np.floating) else x for x in map(np.asarray, inputs)]
    made_in_init = list(subject.plain_arrays())
    spread_constants(subject, Experiment(subject, inputs, rng).paths, rng)
    experiment = Experiment(subject, inputs, rng)
    experiment.require_same_output()
    if not experiment.values:
        raise LayerError(f"{subject.name} has neither floating-point inputs nor parameters: there is nothing to check")

    numerics = {name: experiment.numeric(name) for name in experiment.values}
    evidence = {name: Evidence(name, experiment.gradients[name], numerics, experiment) for name in numerics}
    for name, numeric in numerics.items():
        shape = experiment.gradients[name].shape
        if shape != numeric.shape:
            raise GradientError(
                f"{subject.name}: the gradient {name} has shape {shape}, not {numeric.shape}"
                f"{guess_of_shape(evidence[name])}"
            )
    floor = max(1e-2 * max(np.abs(numeric).max() for numeric in numerics.values()), 1e-8)
    checks = [_compare(name, experiment.gradients[name], numeric, floor) for name, numeric in numerics.items()]
    checks = [
        check if check.error < tolerance else dataclasses.replace(check, guess=guess(evidence[check.name]))
        for check in checks
    ]
    checks = [with_hint(check, checks, experiment.paths) for check in checks]
    report = Report(subject.name, checks, tolerance, subject.notes(made_in_init, experiment.paths))
    if report.passed:
        require_second_pass(experiment, rng)
    return report


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


def spread_constants(subject, paths, rng):
    """Move every parameter whose entries are all equal to random values near them."""
    for path in paths:
        value = subject.get(path)
        if value.size and np.ptp(value) == 0:
            subject.set(path, value + rng.uniform(-0.5, 0.5, value.shape))


def _compare(name, backward, numeric, floor):
    with np.errstate(invalid="ignore"):  # nan and inf in backward count as infinitely wrong
        error = np.abs(backward - numeric) / np.maximum(np.maximum(np.abs(backward), np.abs(numeric)), floor)
    error = np.where(np.isfinite(error), error, np.inf)
    worst = np.unravel_index(np.argmax(error), error.shape)
    return ArrayCheck(name, backward, numeric, tuple(int(i) for i in worst), float(error[worst]))


def require_second_pass(first, rng):
    """Raise GradientError when the layer, having gone through one pass, gets the gradients of another input wrong.

    Two mistakes show only here: gradients that are added to instead of overwritten, and values saved once for all.
    """
    second = Experiment(first.after, [np.ascontiguousarray(np.flip(x)) for x in first.inputs], rng)
    floor = max(1e-2 * max(np.linalg.norm(gradient) for gradient in second.gradients.values()), 1e-8)
    for name, gradient in second.gradients.items():
        direction = rng.standard_normal(gradient.shape)
        numeric = second.slope(name, direction, {})
        scale = max(np.linalg.norm(gradient), floor)

        def right(gradient, numeric=numeric, direction=direction, scale=scale):
            return abs(np.sum(gradient * direction) - numeric) < TOLERANCE_OF_A_SUM * scale

        if right(gradient):
            continue
        cause = "something that the first pass saved is used again (a stale value)"
        if right(gradient - first.gradients[name]):
            cause = "it is added to what the first pass left; overwrite it (= instead of +=)"
        raise GradientError(f"{first.subject.name}: {name} is right in a first pass but wrong in a second: {cause}")


def check_gradients(layer, *inputs, rng, tolerance=TOLERANCE):
    """Return the Report of compare_gradients; raise GradientError naming the worst entry when the layer fails."""
    report = compare_gradients(layer, *inputs, rng=rng, tolerance=tolerance)
    if not report.passed:
        worst = report.worst
        raise GradientError(f"{report.layer}: {worst} (relative error {worst.error:.2g}); {worst.guess}")
    return report
