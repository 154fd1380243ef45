"""Find a learning rate: train some steps, each at a higher rate than the one before, and look where the loss falls.

    rate(k)  = low * (high / low)^(k / (K - 1))                    a geometric ramp, k = 0..K-1
    m(k)     = beta m(k-1) + (1 - beta) loss(k),   smooth(k) = m(k) / (1 - beta^(k+1))
    suggested  the rate at which smooth falls fastest over log(rate), before it is lowest

Too low a rate learns nothing within the ramp, too high a one throws the weights about: between the two lies a slope.
The ramp ends early where smooth exceeds four times its lowest value. The training is put back as it was.

Source     Smith, Cyclical learning rates for training neural networks, 2017, section 3.3
"""

from dataclasses import dataclass
from itertools import count

import numpy as np

from minifer.averaging import copies
from minifer.errors import ConfigError, TrainingError

BETA = 0.9
DIVERGED = 4  # times the lowest smoothed loss


@dataclass(frozen=True)
class Ramp:
    """What a ramp of learning rates showed.

    rates, losses, smooth    (K,) the rate of each step, its loss, and the losses smoothed
    suggested                the rate where they fall fastest
    """

    rates: np.ndarray
    losses: np.ndarray
    smooth: np.ndarray
    suggested: float


def find_rate(training, low=1e-6, high=1.0, steps=100):
    """Return the Ramp of a Training that has not begun, or has: it goes on afterwards as if nothing had happened.

    Raises     ConfigError for a ramp that does not rise; TrainingError when the loss does not fall anywhere
    """
    if not 0 < low < high or steps < 10:
        raise ConfigError(f"a ramp from {low} to {high} in {steps} steps: it must rise, in 10 steps or more")
    generators = {rng: rng.bit_generator.state for _, rng in training.model.generators().items()}
    model, optimizer = copies(training.model.state()), training.optimizer.state()
    try:
        rates, losses = _run(training, low * (high / low) ** np.linspace(0, 1, steps))
    finally:
        training.model.load_state(model, "the state before the ramp")
        training.optimizer.load_state(optimizer)
        for rng, state in generators.items():
            rng.bit_generator.state = state
    return Ramp(rates, losses, smooth := smoothed(losses), suggestion(rates, smooth))


def _run(training, rates):
    """Return (rates, losses) of one step at each rate, as far as it goes."""
    losses, lowest = [], np.inf
    places = ((rows, epoch, step) for epoch in count() for step, rows in enumerate(training.batches.steps(epoch)))
    for rate, place in zip(rates, places, strict=False):
        try:
            loss, _ = training.gradients(*place)
        except TrainingError:  # it is infinite, which is what a ramp is to find
            break
        losses.append(loss)
        latest = smoothed(losses)[-1]
        lowest = min(lowest, latest)
        if latest > DIVERGED * lowest:
            break
        training.optimizer.learning_rate = rate
        training.optimizer.step()
    return rates[: len(losses)], np.array(losses)


def smoothed(losses):
    """Return the exponential mean of losses, without the pull towards its start at zero."""
    mean, found = 0.0, []
    for k, loss in enumerate(losses, start=1):
        mean = BETA * mean + (1 - BETA) * loss
        found.append(mean / (1 - BETA**k))
    return np.array(found)


def suggestion(rates, smooth):
    """Return the rate at which a smoothed loss falls fastest over the logarithm of the rate, before it is lowest."""
    lowest = int(np.argmin(smooth))
    if lowest < 2:
        raise TrainingError(f"the loss falls at no rate from {rates[0]:g} to {rates[-1]:g}: is the data in order?")
    slopes = np.gradient(smooth[: lowest + 1], np.log(rates[: lowest + 1]))
    return float(rates[int(np.argmin(slopes))])


def draw_ramp(ramp, path):
    """Draw the losses over the rates, the smoothed ones and the suggestion, as a PNG file."""
    from minifer.report.canvas import BLUE, GREY, INK, ORANGE, new_figure, write_figure

    figure, ((axes,),) = new_figure(8, 4.5)
    axes.semilogx(ramp.rates, ramp.losses, color=GREY, linewidth=1)
    axes.semilogx(ramp.rates, ramp.smooth, color=BLUE, linewidth=2)
    at = float(np.interp(np.log(ramp.suggested), np.log(ramp.rates), ramp.smooth))
    axes.plot(ramp.suggested, at, "o", color=ORANGE, markersize=9)
    axes.annotate(
        f"falls fastest at {ramp.suggested:.1e}", (ramp.suggested, at), (12, 12), textcoords="offset points", color=INK
    )
    axes.set_ylim(0, min(axes.get_ylim()[1], 2 * ramp.smooth[0]))
    axes.set_title("Loss while the learning rate rises: each step, and smoothed", loc="left", color=INK)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss (cross-entropy)")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    write_figure(figure, path)
