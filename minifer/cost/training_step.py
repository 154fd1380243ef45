"""A training step followed array by array: which arrays exist together, and when they are most.

    forward    every layer makes y and keeps what its backward reads; nothing kept is freed before its backward
    backward   from the last layer to the first: dy comes in, dx goes out, what the layer kept is freed
    moment     the bytes of all arrays that exist while one layer works, each buffer counted once, however many keep it

The most is therefore not the sum of anything: it is what all layers up to some layer keep, and what this one needs to
work. Nothing is computed: arrays without memory are handed from layer to layer. A composite of one's own runs its
forward on one picture, with the layers in it answering for themselves, and what it keeps is looked up.
"""

import math
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from minifer.cost.figures import FLOAT_BYTES
from minifer.cost.kinds import check_fits
from minifer.cost.storage import KINDS, Storage, output_shape
from minifer.cost.table import below, blank, dtype_of, kinds, structure
from minifer.layers import Layer, MultiHeadSelfAttention, Residual, Sequential, SqueezeExcitation


@dataclass(eq=False)
class Buffer:
    """A piece of memory: two arrays that share it are one buffer."""

    bytes: int


@dataclass
class Row:
    """What one layer adds: bytes that it is the first to keep, and the most that it needs beside what is kept."""

    layer: Layer
    output_shape: tuple
    stored: int = 0
    working: int = 0


class TrainingStep:
    """Follows a network's forward and backward on `batch` pictures of a shape.

    rows       {path: Row} in the order of forward
    stored     bytes that are kept when forward is through
    peak       (bytes of activations and gradients of activations at their most, path of the layer at work, its pass)
    """

    def __init__(self, layer, shape, batch):
        self.batch, self.rows, self.peak = batch, {}, (0, "", "forward")
        self._buffers, self._alive = {}, []  # {id of an array that owns memory: Buffer}, and these arrays
        self._kept, self._bytes, self._frames = Counter(), 0, []
        for array in layer.state().values():
            self._own(array, Buffer(0))  # weights are counted elsewhere
        x = self._array(shape)
        with self._held(x):
            y, back = self.follow(layer, (x,), "")
            self.stored = self._bytes
            if layer.has_backward():
                back(self._array(y.shape[1:]))

    # Arrays and the memory that they are in.

    def _array(self, shape, size=None):
        """Return an array (1,*shape) that takes no memory, and stands for a new one of the batch."""
        array = blank(shape, np.float32)
        self._own(array, Buffer(FLOAT_BYTES * self.batch * math.prod(shape) if size is None else size))
        return array

    def _own(self, array, buffer):
        root = owner(array)
        self._alive.append(root)  # so that its id stays its own
        self._buffers[id(root)] = buffer

    def _buffer(self, array):
        """Return the Buffer of an array; one that nobody knows was made by a forward of one's own, for one picture."""
        root = owner(array)
        if id(root) not in self._buffers:
            self._own(root, Buffer(self.batch * root.nbytes))
        return self._buffers[id(root)]

    @contextmanager
    def _held(self, *arrays):
        """While the body runs, a caller's variables keep these arrays."""
        self._frames.append([self._buffer(array) for array in arrays if array is not None])
        yield
        self._frames.pop()

    def _keep(self, path, arrays):
        for buffer in map(self._buffer, arrays):
            if not self._kept[buffer]:
                self._bytes += buffer.bytes
                self.rows[path].stored += buffer.bytes
            self._kept[buffer] += 1

    def _free(self, arrays):
        for buffer in map(self._buffer, arrays):
            self._kept[buffer] -= 1
            if not self._kept[buffer]:
                self._bytes -= buffer.bytes
                del self._kept[buffer]

    def _moment(self, path, arrays, more=0, direction="forward"):
        """Take note of what exists while a layer works: what is kept, what frames hold, these arrays, and more."""
        live = {self._buffer(array) for array in arrays if array is not None}.union(*self._frames)
        working = more + sum(buffer.bytes for buffer in live if buffer not in self._kept)
        self.rows[path].working = max(self.rows[path].working, working)
        self.peak = max(self.peak, (self._bytes + working, path, direction), key=lambda moment: moment[0])

    # Following layers: each method returns (y, a function that follows backward from dy and returns dx).

    def follow(self, layer, inputs, path):
        for kind in kinds(layer):
            if kind in KINDS:
                return self._leaf(layer, kind, inputs, path)
            if kind in COMPOSITES:
                return COMPOSITES[kind](self, layer, *inputs, path)
        return self._own_layer(layer, inputs, path)

    def _row(self, layer, path, y_shape):
        """Return the Row of a path; parts of attention and of squeeze-and-excitation count in that of the whole."""
        return self.rows.setdefault(path, Row(layer, tuple(y_shape)))

    def _leaf(self, layer, kind, inputs, path):
        shape = inputs[0].shape[1:]
        check_fits(layer, shape, path)
        storage = KINDS[kind](layer, shape, self.batch)
        y_shape = output_shape(layer, kind, shape)
        y = inputs[0].reshape(1, *y_shape) if storage.view else self._array(y_shape)
        own = [self._array((), storage.own)] if storage.own else []
        self._row(layer, path, y_shape)
        self._moment(path, [*inputs, y, *own], storage.forward)
        kept = [*own, *(inputs if storage.x else ()), *([y] if storage.y else ())] if layer.has_backward() else []
        self._keep(path, kept)
        return y, lambda dy: self._back(layer, inputs, dy, kept, path, storage)

    def _back(self, layer, inputs, dy, kept, path, storage):
        """Follow one layer's own backward."""
        gradients = []
        if layer.input_gradient:
            gradients = [dy.reshape(x.shape) if storage.view else self._array(x.shape[1:]) for x in inputs]
        self._moment(path, [dy, *gradients], storage.backward, "backward")
        self._free(kept)
        return gradients if len(inputs) > 1 else (gradients[0] if layer.input_gradient else None)

    def _sequential(self, layer, x, path):
        backs = []
        for name, part in layer.layers.items():
            with self._held(x):
                y, back = self.follow(part, (x,), below(path, name))
            backs.append((part, back))
            x = y

        def backward(dy):
            for part, back in reversed(backs):
                if not part.has_backward():
                    return None
                with self._held(dy):
                    dx = back(dy)
                dy = dx
            return dy

        return x, backward

    def _residual(self, layer, x, path):
        with self._held(x):
            y, body = self._sequential(layer, x, path)
            shortcut, projection = x, None
            if layer.projection is not None:
                with self._held(y):
                    shortcut, projection = self.follow(layer.projection, (x,), below(path, "projection"))
            total = self._array(y.shape[1:])
            self._row(layer, path, y.shape[1:])
            self._moment(path, [y, shortcut, total])

        def backward(dy):
            with self._held(dy):
                dx, through = body(dy), dy
                if projection is not None and layer.projection.has_backward():
                    with self._held(dx):
                        through = projection(dy)
                if not layer.input_gradient:
                    return None
                added = self._array(x.shape[1:])
                self._moment(path, [dx, through, added], direction="backward")
            return added

        return total, backward

    def _multi_head_attention(self, layer, x, path):
        height, width, channels = x.shape[1:]
        tokens, inner = height * width, layer.heads * layer.head_units
        per_head, rows = (1, tokens, layer.heads, layer.head_units), (1, tokens, channels)
        z, norm, output_norm = x.reshape(rows), None, None
        self._row(layer, path, x.shape[1:])
        if layer.position is not None:
            z = self._array(rows[1:])
            self._moment(path, [x, z])
        if layer.norm is not None:
            with self._held(x, z):
                z, norm = self.follow(layer.norm, (z,), path)
        made, backs = [], []
        for part in (layer.query, layer.key, layer.value):
            with self._held(x, z, *made):
                y, back = self.follow(part, (z,), path)
            made.append(y.reshape(per_head))
            backs.append(back)
        with self._held(x, z, *made):
            mixed, attention = self.follow(layer.attention, made, path)
            mixed, output = self.follow(layer.output, (mixed.reshape(1, tokens, inner),), path)
            if layer.output_norm is not None:
                mixed, output_norm = self.follow(layer.output_norm, (mixed.reshape(x.shape),), path)
            y = mixed.reshape(x.shape)
            if layer.residual:
                y = self._array(x.shape[1:])
                self._moment(path, [mixed, y])

        def backward(dy):
            with self._held(dy):
                dbranch = dy if output_norm is None else output_norm(dy)
                with self._held(dbranch):
                    dattended = output(dbranch)
                with self._held(dattended):
                    heads = attention(dattended)
                dz = []
                for back, dhead in zip(backs, heads, strict=True):
                    with self._held(dattended, *heads, *dz):
                        dz.append(back(dhead))
                if not layer.query.input_gradient:
                    return None
                added = self._array(rows[1:])
                with self._held(dattended, *heads):
                    self._moment(path, [*dz, self._array(rows[1:]), added], direction="backward")
                    if norm is not None:
                        added = norm(added)
                    dx = self._array(x.shape[1:]) if layer.residual and layer.input_gradient else added
                    self._moment(path, [added, dx], direction="backward")
            return dx if layer.input_gradient else None

        return y, backward

    def _squeeze(self, layer, x, path):
        """The two products with the gates are arrays of the size of x; what lies between them is small."""
        y = self._array(x.shape[1:])
        self._row(layer, path, x.shape[1:])
        with self._held(x):
            z, backs = x, []
            for part in (layer.pool, layer.reduce, layer.relu, layer.expand):
                z, back = self.follow(part, (z,), path)
                backs.append(back)
            gates = [self._array(z.shape[1:]), self._array(z.shape[1:])]
            self._moment(path, [z, *gates, y])
        kept = [x, *gates] if layer.has_backward() else []
        self._keep(path, kept)

        def backward(dy):
            product, d, dx = self._array(x.shape[1:]), self._array(z.shape[1:]), self._array(x.shape[1:])
            self._moment(path, [dy, product, d], direction="backward")
            with self._held(dy, *kept):
                for back in reversed(backs):
                    d = back(d)
                self._moment(path, [d, product, dx], direction="backward")
            self._free(kept)
            return dx

        return y, backward

    def _own_layer(self, layer, inputs, path):
        """Run a forward that nobody here knows, and see what it keeps in its attributes."""
        twin, calls = structure(layer), []
        before = {id(owner(array)) for array in arrays_in(vars(twin))}
        for name, part in twin.children():
            part.forward = Following(self, part, below(path, name), calls, dtype_of(layer))
        with self._held(*inputs):
            y = twin.forward(*(self.real(x, dtype_of(layer)) for x in inputs), training=True)
        self._row(layer, path, y.shape[1:])
        self._moment(path, [*inputs, y])
        kept = [array for array in arrays_in(vars(twin)) if id(owner(array)) not in before]
        kept = kept if layer.has_backward() else []
        self._keep(path, kept)

        def backward(dy):
            with self._held(dy):
                for part, back, shape in reversed(calls):
                    if part.has_backward():
                        back(self._array(shape))
            return self._back(layer, inputs, dy, kept, path, Storage())

        return y, backward

    def real(self, array, dtype):
        """Return zeros in the place of an array: one picture, which a forward of one's own may compute with."""
        zeros = np.zeros(array.shape, dtype)
        self._own(zeros, self._buffer(array))
        return zeros


class Following:
    """Stands in for the forward of a layer in a composite of one's own: the layer is followed instead of run."""

    def __init__(self, step, layer, path, calls, dtype):
        self.step, self.layer, self.path, self.calls, self.dtype = step, layer, path, calls, dtype

    def __call__(self, *inputs, training=False):
        del self.layer.forward  # so that a composite in it runs its own
        y, back = self.step.follow(self.layer, inputs, self.path)
        self.layer.forward = self
        self.calls.append((self.layer, back, y.shape[1:]))
        return self.step.real(y, self.dtype)


def owner(array):
    """Return the array that owns the memory of an array."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def arrays_in(values):
    """Return the arrays in a dict, list or tuple, however deeply nested."""
    items = values.values() if isinstance(values, dict) else values
    found = []
    for item in items:
        if isinstance(item, np.ndarray):
            found.append(item)
        elif isinstance(item, dict | list | tuple):
            found += arrays_in(item)
    return found


COMPOSITES = {
    Sequential: TrainingStep._sequential,
    Residual: TrainingStep._residual,
    MultiHeadSelfAttention: TrainingStep._multi_head_attention,
    SqueezeExcitation: TrainingStep._squeeze,
}
