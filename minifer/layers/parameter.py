"""The arrays of a layer: those that training moves, and those that are only saved with them."""

import numpy as np

from minifer.errors import DtypeError


class Parameter:
    """One trainable array and the gradient that the latest backward left in it.

    Assigning to `grad` copies into the array that is there already, if there is one of the same shape and dtype: an
    optimizer lays all gradients of a network into one stretch of memory this way (see optimizers.Flat).
    """

    def __init__(self, value):
        self.value = value
        self._grad = None

    @property
    def grad(self):
        """The gradient dloss/dvalue of the latest backward, or None before the first."""
        return self._grad

    @grad.setter
    def grad(self, grad):
        if grad is not None and not isinstance(grad, np.ndarray | np.generic):
            raise DtypeError(f"the gradient of an array of {self.value.shape} is one, too, not a {type(grad).__name__}")
        if grad is None or self._grad is None or self._grad.shape != grad.shape or self._grad.dtype != grad.dtype:
            self._grad = grad
        elif self._grad is not grad:
            self._grad[...] = grad

    def grad_memory(self):
        """Return the array that the last gradient is in, for a kernel to write the next one into, or None."""
        grad, value = self._grad, self.value
        fits = grad is not None and grad.shape == value.shape and grad.dtype == value.dtype and grad.flags.c_contiguous
        return grad if fits else None

    def __repr__(self):
        return f"Parameter{self.value.shape}"


class Statistic:
    """One array that is saved with the weights but not trained, such as BatchNorm's running mean."""

    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return f"Statistic{self.value.shape}"
