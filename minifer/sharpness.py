"""Sharpness-aware minimization: step along the gradient of the worst point nearby, so as to end in a flat valley."""

from contextlib import contextmanager

import numpy as np

from minifer.layers.normalization import lent_norms


@contextmanager
def worst_nearby(layer, flat, radius):
    """Run the body of a with statement on weights moved up the gradient of the latest backward, then move them back.

    w_worst = w + radius * g / |g|          g, |g| over all trained parameters together

        forward, backward;   with worst_nearby(model, optimizer.flat, 0.05): forward, backward;   optimizer.step()

    A step then takes two passes of the same batch. Labels that are wrong are learned by a few sharp turns of the loss,
    which cost much nearby: such labels are believed less. BatchNorm's running statistics stay those of w, bit for bit.

    Shapes    flat.value, flat.grad (P,): see optimizers.Flat
    Source    Foret, Kleiner, Mobahi & Neyshabur, Sharpness-aware minimization, 2021, algorithm 1, rho = radius
    """
    length = np.sqrt(np.sum(np.square(flat.grad, dtype=np.float64)))  # no BLAS: its sum depends on the threads
    start = flat.value.copy()
    flat.value += flat.grad * flat.value.dtype.type(radius / max(length, 1e-12))
    with lent_norms(layer) as norms:
        for norm in norms:
            norm.momentum = 1.0
        try:
            yield
        finally:
            flat.value[...] = start
