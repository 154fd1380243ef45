"""Optimizers: how a gradient becomes a step. They know parameters by their dotted paths and nothing about layers.

    optimizer = Adam(layer.parameters(trainable_only=True), learning_rate=1e-3)
    for each batch:   forward, backward,   optimizer.learning_rate = schedule.learning_rate(step),   optimizer.step()

All values live in one stretch of memory and all gradients in another, so that a step is one call of one kernel however
many layers there are. The equations are in kernels/update.py; the numbers equal PyTorch's Adam, AdamW and SGD.
"""

import numpy as np

from minifer.errors import CheckpointError, ConfigError, DtypeError, TrainingError, require
from minifer.kernels.update import adam_update, sgd_update


class Flat:
    """All values of some parameters in one contiguous array, all gradients in another.

    Every parameter.value and parameter.grad becomes a view of its stretch; a backward that assigns to parameter.grad
    then copies into it. Parameters of two or more dimensions come first: these `decayed` elements take weight decay.
    Biases and normalisation vectors follow and take none, since shrinking a BatchNorm's scale regularises nothing.

    Shapes    value, grad (P,)   P = sum of all parameters' sizes
    Raises    ConfigError when there is nothing to train; DtypeError when the parameters' dtypes differ
    """

    def __init__(self, parameters):
        if not parameters:
            raise ConfigError("there is nothing to train: the model has no parameters, or all its layers are frozen")
        dtypes = {path: parameter.value.dtype for path, parameter in parameters.items()}
        first, dtype = next(iter(dtypes.items()))
        for path, other in dtypes.items():
            if other != dtype:
                raise DtypeError(f"{path} is {other} but {first} is {dtype}: convert the model with .astype")
        matrices_first = sorted(parameters, key=lambda path: parameters[path].value.ndim < 2)
        self.parameters = {path: parameters[path] for path in matrices_first}
        size = sum(parameter.value.size for parameter in parameters.values())
        self.decayed = sum(p.value.size for p in parameters.values() if p.value.ndim >= 2)
        self.value, self.grad = np.zeros(size, dtype), np.zeros(size, dtype)
        self.values, self.grads = self.views(self.value), self.views(self.grad)
        for path, parameter in self.parameters.items():
            value, grad = parameter.value, parameter.grad
            parameter.value, parameter.grad = self.values[path], None  # None: else the view would be copied, not kept
            parameter.grad = self.grads[path]
            parameter.value[...] = value
            if grad is not None:
                parameter.grad = grad

    def views(self, flat):
        """Return {path: view of flat in the parameter's shape} for an array laid out like value and grad."""
        views, start = {}, 0
        for path, parameter in self.parameters.items():
            views[path] = flat[start : start + parameter.value.size].reshape(parameter.value.shape)
            start += parameter.value.size
        return views

    def check(self):
        """Raise TrainingError when a parameter no longer lives here: a step would move memory that nobody reads."""
        for path, parameter in self.parameters.items():
            if parameter.value is not self.values[path] or parameter.grad is not self.grads[path]:
                raise TrainingError(
                    f"{path} got a new value or gradient array after the optimizer was made (by .astype, by another "
                    "optimizer, or by a gradient of another shape or dtype): make the optimizer last"
                )


class Optimizer:
    """Base of the optimizers: flat memory, a step count, and one array like the values for each name in `moments`."""

    moments = ()

    def __init__(self, parameters, learning_rate, weight_decay):
        require(learning_rate >= 0, f"learning_rate is {learning_rate}: it must not be negative")
        require(weight_decay >= 0, f"weight_decay is {weight_decay}: it must not be negative")
        self.flat = Flat(parameters)
        self.learning_rate, self.weight_decay, self.steps = learning_rate, weight_decay, 0
        self.memory = {name: np.zeros_like(self.flat.value) for name in self.moments}

    def step(self):
        """Move every parameter once, along the gradient that the latest backward left."""
        self.flat.check()
        self.steps += 1
        self.update()

    def update(self):
        """Call the kernel."""
        raise NotImplementedError(f"{type(self).__name__}.update")

    def state(self):
        """Return copies of what a resumed run needs: {"steps": ..., "mean.blocks.0.weight": ...}.

        The rate is not among them: it is the schedule's, which has a state of its own.
        """
        return {"steps": np.array(self.steps), **{path: view.copy() for path, view in self._views().items()}}

    def load_state(self, state):
        """Go on from state() of an optimizer of the same kind over the same parameters, bit for bit."""
        steps = np.array(0)
        restore({"steps": steps, **self._views()}, state, f"the state of {type(self).__name__}")
        self.steps = int(steps)

    def _views(self):
        return {
            f"{name}.{path}": view
            for name, array in self.memory.items()
            for path, view in self.flat.views(array).items()
        }


class Adam(Optimizer):
    """Adam: a step of about the rate for every element, whatever the size of its gradient.

    mean <- beta1 mean + (1 - beta1) grad      square <- beta2 square + (1 - beta2) grad^2
    value <- value - learning_rate * m_hat / (sqrt(s_hat) + eps)      m_hat, s_hat corrected for starting at zero

    Weight decay shrinks the values directly (AdamW); added to the gradient, Adam's division would undo much of it.

    Raises    ConfigError for settings that cannot work; and what Flat raises
    Source    Kingma & Ba 2015; Loshchilov & Hutter 2019
    """

    moments = ("mean", "square")

    def __init__(self, parameters, learning_rate=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
        require(0 <= beta1 < 1 and 0 <= beta2 < 1, f"beta1, beta2 are {beta1}, {beta2}: both must lie in [0, 1)")
        least = float(np.finfo(np.float32).tiny)
        require(eps >= least, f"eps is {eps}: it must be at least {least:.2g}, it guards a division by zero")
        super().__init__(parameters, learning_rate, weight_decay)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps

    def update(self):
        adam_update(
            self.flat.value,
            self.memory["mean"],
            self.memory["square"],
            self.flat.grad,
            float(self.learning_rate),
            float(self.beta1),
            float(self.beta2),
            float(self.eps),
            float(self.weight_decay),
            self.flat.decayed,
            self.steps,
        )


class SGD(Optimizer):
    """Gradient descent with momentum: velocity <- momentum * velocity + grad.

    value <- value - learning_rate * (grad + momentum * velocity) with nesterov, one step ahead;
    value <- value - learning_rate * velocity without. Weight decay is added to the gradient.

    Raises    ConfigError for settings that cannot work; and what Flat raises
    Source    Sutskever et al. 2013
    """

    moments = ("velocity",)

    def __init__(self, parameters, learning_rate=0.01, momentum=0.9, nesterov=True, weight_decay=0.0):
        require(0 <= momentum < 1, f"momentum is {momentum}: it must lie in [0, 1)")
        super().__init__(parameters, learning_rate, weight_decay)
        self.momentum, self.nesterov = momentum, nesterov

    def update(self):
        sgd_update(
            self.flat.value,
            self.memory["velocity"],
            self.flat.grad,
            float(self.learning_rate),
            float(self.momentum),
            self.nesterov,
            float(self.weight_decay),
            self.flat.decayed,
        )


def restore(arrays, state, name):
    """Copy every array of state into the one of the same key in arrays; raise CheckpointError when they do not fit."""
    differ = sorted(arrays.keys() ^ state.keys())
    if differ:
        raise CheckpointError(f"{name} is of another model: {differ[0]!r} is in only one ({len(differ)} such names)")
    for key, array in arrays.items():
        if state[key].shape != array.shape:
            raise CheckpointError(
                f"{name} is of another model: {key} has shape {state[key].shape}, expected {array.shape}"
            )
        if state[key].dtype.kind not in "fiu":
            raise CheckpointError(f"{name} is damaged: {key} holds {state[key].dtype}, no numbers")
        if array.dtype.kind == "i" and not (state[key].dtype.kind in "iu" and np.all(state[key] >= 0)):
            raise CheckpointError(f"{name} is damaged: {key} is {state[key]}, no count")
    for key, array in arrays.items():
        array[...] = state[key]
