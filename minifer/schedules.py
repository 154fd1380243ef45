"""Schedules: what the learning rate is, and when to stop. One small protocol, so that training never asks which one.

rate(step)           the rate of this optimizer step; step counts from 0 over the whole training
end_epoch(metric)    called once after every epoch with the validation metric
state(), load_state  everything that changes, as plain JSON: a resumed run goes on where the first one stopped
"""

import math

from minifer.errors import ConfigError, TrainingError


class Constant:
    """The same rate at every step."""

    def __init__(self, learning_rate):
        self.constant = require_learning_rate(learning_rate)

    def learning_rate(self, step):
        return self.constant

    def end_epoch(self, metric):
        """Ignore the metric."""

    def state(self):
        return {}

    def load_state(self, state):
        """Nothing changes, so there is nothing to load."""


class Cosine(Constant):
    """Half a cosine down to min_learning_rate over `steps` steps, after a straight climb over the first `warmup`.

    step < warmup    learning_rate * (step + 1) / warmup
    else             low + (learning_rate - low) * (1 + cos(pi * t)) / 2        t = (step - warmup) / (steps - warmup)
    step >= steps    low = min_learning_rate

    Raises    ConfigError unless 0 <= warmup < steps and 0 <= min_learning_rate <= learning_rate
    Source    Loshchilov & Hutter 2017, equation 5 without restarts; warm-up: Goyal et al. 2017, section 2.2
    """

    def __init__(self, learning_rate, steps, warmup=0, min_learning_rate=0.0):
        super().__init__(learning_rate)
        if not 0 <= warmup < steps:
            raise ConfigError(f"warmup is {warmup} of {steps} steps: it must leave steps for the cosine")
        self.steps, self.warmup, self.min_learning_rate = steps, warmup, require_floor(min_learning_rate, learning_rate)

    def learning_rate(self, step):
        if step < self.warmup:
            return self.constant * (step + 1) / self.warmup
        t = min((step - self.warmup) / (self.steps - self.warmup), 1.0)
        return self.min_learning_rate + (self.constant - self.min_learning_rate) * (1 + math.cos(math.pi * t)) / 2


class ReduceOnPlateau:
    """Multiplies the rate by `factor` at the end of the `patience`-th epoch in a row that brought no improvement.

    An improvement, in mode "max" ("min" mirrors it), is
        absolute    metric > best + min_delta
        relative    metric > best * (1 + min_delta)
    The `cooldown` epochs that follow a reduction are not counted. The rate never falls below min_learning_rate, and a
    reduction by no more than eps is not made.

    The same rates come from
        Keras      ReduceLROnPlateau(patience=patience, cooldown=cooldown + 1 if cooldown else 0), threshold absolute.
                   It counts down before it looks, so that its cooldown of 1 is none; it has no eps (eps=0).
        PyTorch    ReduceLROnPlateau(patience=patience - 1, cooldown=cooldown, eps=eps), threshold_mode "rel" or
                   "abs". Its patience is the number of bad epochs it tolerates: it reduces after one more.

    Raises    ConfigError for settings that cannot work, patience < 1 among them
    """

    def __init__(
        self,
        learning_rate,
        factor=0.5,
        patience=5,
        mode="max",
        threshold_mode="absolute",
        min_delta=1e-4,
        cooldown=0,
        min_learning_rate=0.0,
        eps=1e-8,
    ):
        if not 0 < factor < 1:
            raise ConfigError(f"factor is {factor}: a reduction needs one between 0 and 1")
        if threshold_mode not in ("absolute", "relative"):
            raise ConfigError(f"unknown threshold_mode {threshold_mode!r}: choose absolute or relative")
        if cooldown < 0:
            raise ConfigError(f"cooldown is {cooldown}: it must not be negative")
        self.current, self.min_learning_rate = (
            require_learning_rate(learning_rate),
            require_floor(min_learning_rate, learning_rate),
        )
        self.factor, self.cooldown, self.eps = factor, cooldown, eps
        self.patience, self.mode = require_patience(patience), require_mode(mode)
        self.relative, self.min_delta = threshold_mode == "relative", min_delta
        self.best, self.waited, self.cooling = None, 0, 0

    def learning_rate(self, step):
        return self.current

    def end_epoch(self, metric):
        """Count the epoch, and reduce the rate of the epochs to come when patience has run out."""
        if improves(metric, self.best, self.mode, self.min_delta, self.relative):
            self.best, self.waited = float(metric), 0
        else:
            self.waited += 1
        if self.cooling:
            self.cooling -= 1
            self.waited = 0
        if self.waited >= self.patience:
            reduced = max(self.current * self.factor, self.min_learning_rate)
            if self.current - reduced > self.eps:
                self.current = reduced
            self.waited, self.cooling = 0, self.cooldown

    def state(self):
        return {"learning_rate": self.current, "best": self.best, "waited": self.waited, "cooling": self.cooling}

    def load_state(self, state):
        self.current, self.best = state["learning_rate"], state["best"]
        self.waited, self.cooling = state["waited"], state["cooling"]


class EarlyStopping:
    """Says stop at the end of the `patience`-th epoch in a row without improvement, and keeps the best weights.

    With last=True every epoch's weights take the place of those before, and it never says stop.

    best, best_epoch    the best metric and its epoch, counted from 0; None before the first
    best_state          a copy of layer.state() at that epoch: arrays, so it is saved beside state(), which is JSON

    Raises    ConfigError for settings that cannot work; TrainingError by restore() when there was no best epoch
    """

    def __init__(self, patience, last=False):
        self.patience = require_patience(patience)
        self.best = self.best_epoch = self.best_state = None
        self.epochs, self.last = 0, last

    def end_epoch(self, metric, layer):
        """Count the epoch; return True when training should stop."""
        if self.last or improves(metric, self.best, "max", 0):
            self.best, self.best_epoch = float(metric), self.epochs
            self.best_state = {path: array.copy() for path, array in layer.state().items()}
        self.epochs += 1
        since_best = self.epochs if self.best_epoch is None else self.epochs - 1 - self.best_epoch
        return since_best >= self.patience

    def restore(self, layer):
        """Put the best epoch's weights back into layer."""
        if self.best_state is None:
            raise TrainingError("there are no best weights to restore: no epoch has ended with a finite metric")
        layer.load_state(self.best_state, "the best epoch's state")

    def state(self):
        return {"best": self.best, "best_epoch": self.best_epoch, "epochs": self.epochs}

    def load_state(self, state):
        """Set the counters; best_state is set by whoever loaded its arrays."""
        self.best, self.best_epoch, self.epochs = state["best"], state["best_epoch"], state["epochs"]


def improves(metric, best, mode, min_delta, relative=False):
    """Whether metric is better than best by more than min_delta; a NaN never is, and best=None is worse than all."""
    if best is None:
        best = -math.inf if mode == "max" else math.inf
    margin = min_delta if mode == "max" else -min_delta
    bar = best * (1 + margin) if relative else best + margin
    return metric > bar if mode == "max" else metric < bar


def require_learning_rate(learning_rate):
    """Return rate if it is positive and finite."""
    if not 0 < learning_rate < math.inf:
        raise ConfigError(f"learning_rate is {learning_rate}: it must be positive")
    return learning_rate


def require_floor(min_learning_rate, learning_rate):
    """Return min_learning_rate if it lies between 0 and learning_rate."""
    if not 0 <= min_learning_rate <= learning_rate:
        raise ConfigError(
            f"min_learning_rate is {min_learning_rate}: it must lie between 0 and learning_rate, {learning_rate}"
        )
    return min_learning_rate


def require_patience(patience):
    """Return patience if it is at least one epoch."""
    if patience < 1:
        raise ConfigError(f"patience is {patience}: it must be at least 1, the first epoch without improvement")
    return patience


def require_mode(mode):
    """Return mode if it is known."""
    if mode not in ("max", "min"):
        raise ConfigError(f"unknown mode {mode!r}: choose max (an accuracy) or min (a loss)")
    return mode
