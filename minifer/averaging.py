"""An exponential moving average of a network: the average of the last weights is often better than the last weights.

And BatchNorm's statistics measured anew for such weights, which no training step has seen.
"""

from contextlib import contextmanager

import numpy as np

from minifer.data.dataset import to_float
from minifer.errors import ConfigError
from minifer.kernels.update import average_update
from minifer.layers import BatchNorm, Dropout
from minifer.optimizers import restore


class Average:
    """Follows everything in layer.state(), running statistics too: average += (1 - decay) * (value - average).

    With warmup the decay starts small, min(decay, (1 + t) / (10 + t)) at update t = 0, 1, ..., so that the average
    forgets the random start within a few updates instead of 1 / (1 - decay).

        average = Average(layer)          with flat=optimizer.flat all parameters move in one call
        after every optimizer step:   average.update()
        with average.applied():       evaluate(layer)

    Source    Polyak & Juditsky 1992; the warm-up is TensorFlow's ExponentialMovingAverage with num_updates
    """

    def __init__(self, layer, decay=0.999, warmup=True, flat=None):
        if not 0 <= decay < 1:
            raise ConfigError(f"decay is {decay}: it must lie in [0, 1)")
        self.layer, self.decay, self.warmup, self.updates = layer, decay, warmup, 0
        self.flat, self.arrays = flat, copies(layer.state())
        if flat:
            self.flat_average = flat.value.copy()
            self.arrays |= flat.views(self.flat_average)

    def update(self):
        """Move the average towards the layer's present state."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.warmup else self.decay
        self.updates += 1
        if self.flat:
            average_update(self.flat_average, self.flat.value, float(decay))
        for path, value in self.layer.state().items():
            if not self.flat or path not in self.flat.parameters:
                average_update(self.arrays[path].reshape(-1), value.reshape(-1), float(decay))

    @contextmanager
    def applied(self):
        """Run the body of a with statement on the averaged weights, then put the trained ones back bit for bit.

        The arrays are copied, not exchanged: the optimizer holds on to the memory of the trained ones.
        """
        trained = copies(self.layer.state())
        self.layer.load_state(self.arrays, "the average")
        try:
            yield self.layer
        finally:
            self.layer.load_state(trained, "the trained state")

    def state(self):
        """Return copies of what a resumed run needs: {"updates": ..., "average.blocks.0.weight": ...}."""
        return {"updates": np.array(self.updates), **copies(self._named())}

    def load_state(self, state):
        """Go on from state() of an average over the same model, bit for bit."""
        updates = np.array(0)
        restore({"updates": updates, **self._named()}, state, "the saved average")
        self.updates = int(updates)

    def _named(self):
        return {f"average.{path}": array for path, array in self.arrays.items()}


def recalibrate(layer, dataset, batch_size=128):
    """Measure BatchNorm's running statistics anew: the mean over batches of pictures as they are, weights unmoved.

    Those of the training are of augmented pictures, which are softer than real ones, since every turn and zoom
    interpolates; and those of averaged weights were measured on other weights. Frozen layers keep theirs.

    dataset   a Dataset, its rows in random order: batches of one class would mislead. Rows beyond the last whole batch
              are left out, unless there is no whole one
    Source    Izmailov et al., Averaging weights leads to wider optima, 2018, section 3.2; Wu & Johnson, Rethinking
              "batch" in BatchNorm, 2021
    """
    with _measuring(layer) as norms:
        for norm in norms:
            if not norm.frozen:  # the first batch replaces all before: the difference from zero is the value itself
                norm.running_mean.value[...] = norm.running_var.value[...] = 0
        for number in range(max(len(dataset) // batch_size, 1)):
            for norm in norms:
                norm.momentum = number / (number + 1)  # the mean of all batches so far
            batch = dataset.take(slice(number * batch_size, (number + 1) * batch_size))
            layer.forward(to_float(batch.images, batch.frames), training=True)


@contextmanager
def _measuring(layer):
    """Yield all BatchNorms in a layer, whose momentum the body of a with statement may change; no Dropout drops there.

    A frozen Dropout does not draw either: what training draws later does not depend on the measurement.
    """
    parts = [part for _, part in layer.walk()]
    momenta = {part: part.momentum for part in parts if isinstance(part, BatchNorm)}
    frozen = {part: part.frozen for part in parts if isinstance(part, Dropout)}
    for dropout in frozen:
        dropout.frozen = True
    try:
        yield list(momenta)
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum
        for dropout, was in frozen.items():
            dropout.frozen = was


def copies(state):
    """Return {path: contiguous copy} of {path: array}."""
    return {path: np.array(array, order="C") for path, array in state.items()}
