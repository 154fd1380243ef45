"""Is ReduceOnPlateau right?   pytest test_plateau.py"""

import numpy as np
from plateau import ReduceOnPlateau

from minifer import schedules
from minifer.testing import assert_same_as

METRICS = np.array([0.5, 0.6, 0.6, 0.4, 0.55, 0.7, 0.7, 0.71, 0.6, 0.71, 0.5, 0.4, 0.3, 0.2, 0.72, 0.1])


def rates(make, **settings):
    """Return a function of the metrics that returns the rate after every epoch."""

    def run(metrics):
        schedule, result = make(1.0, **{"factor": 0.5, "patience": 2, "min_learning_rate": 0.2} | settings), []
        for metric in metrics:
            schedule.end_epoch(float(metric))
            result.append(schedule.learning_rate if make is ReduceOnPlateau else schedule.learning_rate(0))
        return np.array(result)

    return run


def reference(learning_rate, **settings):
    """Return the package's schedule."""
    return schedules.ReduceOnPlateau(learning_rate, **{"min_delta": 0.0} | settings)


class ForgetsBest(schedules.ReduceOnPlateau):
    """Begins with a new best after every reduction."""

    def end_epoch(self, metric):
        before = self.current
        super().end_epoch(metric)
        self.best = None if self.current < before else self.best


class CountsOn(schedules.ReduceOnPlateau):
    """Does not set the count back after a reduction."""

    def end_epoch(self, metric):
        best, waited = self.best, self.waited
        super().end_epoch(metric)
        self.waited = waited + 1 if self.best == best else 0


class CountsAll(schedules.ReduceOnPlateau):
    """Does not set the count back at an improvement."""

    def end_epoch(self, metric):
        best, waited = self.best, self.waited
        super().end_epoch(metric)
        self.waited = self.waited if self.best == best else waited


class ComparesWithTheLast(schedules.ReduceOnPlateau):
    """Compares with the epoch before instead of the best."""

    def end_epoch(self, metric):
        super().end_epoch(metric)
        self.best = metric


MISTAKES = {
    "it reduces one epoch too late: at the patience-th epoch without improvement, not after it": rates(
        reference, patience=3
    ),
    "it reduces one epoch too early": rates(reference, patience=1),
    "less counts as better; more is": rates(reference, mode="min"),
    "the rate falls below min_learning_rate": rates(reference, min_learning_rate=0.0),
    "an equal metric counts as an improvement; only a greater one is": rates(reference, min_delta=-1e-9),
    "the best is forgotten at a reduction (hint 3)": rates(ForgetsBest),
    "the count is not set back at a reduction (hint 3)": rates(CountsOn),
    "epochs without improvement have to be in a row: an improvement sets the count back": rates(CountsAll),
    "a metric is compared with the one before instead of the best": rates(ComparesWithTheLast),
}


def test_the_example():
    schedule = ReduceOnPlateau(1.0, factor=0.5, patience=2)
    for metric, rate in zip((0.5, 0.6, 0.6, 0.4, 0.7), (1, 1, 1, 0.5, 0.5), strict=True):
        schedule.end_epoch(metric)
        assert schedule.learning_rate == rate, (
            f"after the metric {metric} the rate is {schedule.learning_rate}, expected {rate}"
        )


def test_many_epochs():
    assert_same_as(rates(reference), rates(ReduceOnPlateau), METRICS, mistakes=MISTAKES)
