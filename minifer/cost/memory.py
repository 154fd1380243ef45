"""The memory of a training step, layer by layer, from formulas alone; and what a network really keeps, to compare.

    fixed         weights (and running statistics) + their gradients + what the optimizer remembers of each
                  4 P bytes each for P parameters; Adam remembers two numbers for each, SGD with momentum one
    stored        what the layers keep of a batch for backward, each array once: grows with the batch
    working       what one layer needs beside that while it works: its input and output, or their gradients, and more
    peak          fixed + the most of stored and working at one moment (training_step.py)

This is a step layer by layer. A training run goes through a fused one (minifer/fusion.py), which keeps fewer maps: the
formulas are an upper bound for it, 1.1 to 1.6 times what it takes.

Left out are the program itself (about 200 MB), what its kernels keep for each thread, the loss, the pictures of later
batches, and what a run keeps beside the step: averaged weights and those of the best epoch, P numbers each.

Source: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016, section 3: memory as a matter of lifetimes.
"""

from dataclasses import dataclass

from minifer.cost.figures import FLOAT_BYTES
from minifer.cost.table import held
from minifer.cost.training_step import TrainingStep, arrays_in, owner
from minifer.errors import ConfigError

REMEMBERED = {"adam": 2, "sgd": 1}  # arrays of the size of the weights that an optimizer keeps


@dataclass(frozen=True)
class LayerMemory:
    """One row of a memory table, in bytes: which layer, what comes out (without the batch axis), and what it takes."""

    path: str
    kind: str
    output_shape: tuple
    weights: int
    gradients: int
    optimizer: int
    stored: int
    working: int


@dataclass(frozen=True)
class Memory:
    """The memory of a training step in bytes.

    weights, gradients, optimizer   they are there all the time
    stored        what all layers keep when forward is through
    activations   the most that activations and their gradients take at one moment
    peak_at       (path of the layer that works at that moment, "forward" or "backward")
    layers        a LayerMemory for every layer
    """

    weights: int
    gradients: int
    optimizer: int
    stored: int
    activations: int
    peak_at: tuple
    layers: tuple

    @property
    def fixed(self):
        """What does not depend on the batch."""
        return self.weights + self.gradients + self.optimizer

    @property
    def peak(self):
        """All that exists at the moment when it is most."""
        return self.fixed + self.activations


def training_memory(layer, input_shape, batch=1, optimizer="adam"):
    """Return the Memory of one training step of a network on `batch` pictures of input_shape.

    Gradients that nobody reads, of the pictures and of frozen parameters, take none: call require_input_gradient(False)
    on the network first, as training does.

        >>> from minifer.models import mobilenet
        >>> network = mobilenet("plain", alpha=0.25)
        >>> network.require_input_gradient(False)
        True
        >>> memory = training_memory(network, (48, 48, 1), batch=32)
        >>> memory.gradients // 4, memory.optimizer // 4
        (214727, 429454)

    Raises   ConfigError for an unknown optimizer; ShapeError where a layer does not fit what comes in
    """
    if optimizer not in REMEMBERED:
        raise ConfigError(f"optimizer is {optimizer!r}: choose {' or '.join(REMEMBERED)}")
    step = TrainingStep(layer, tuple(input_shape), batch)
    remembered, seen, rows = REMEMBERED[optimizer], set(), []
    for path, row in step.rows.items():
        new = {id(array): array.size for array in row.layer.state().values() if id(array) not in seen}
        trained = [p.value for p in row.layer.parameters(trainable_only=True).values() if id(p.value) in new]
        seen |= new.keys()
        weights, gradients = FLOAT_BYTES * sum(new.values()), FLOAT_BYTES * sum(value.size for value in trained)
        # What a Residual holds was counted in the rows of its layers, which come first: its own is the addition.
        kind, shape = type(row.layer).__name__, row.output_shape
        rows.append(LayerMemory(path, kind, shape, weights, gradients, remembered * gradients, row.stored, row.working))
    trained, weights = (FLOAT_BYTES * number for number in held(layer))
    activations, *peak_at = step.peak
    return Memory(weights, trained, remembered * trained, step.stored, activations, tuple(peak_at), tuple(rows))


def largest_batch(layer, input_shape, limit, optimizer="adam"):
    """Return how many pictures a training step can have whose peak is at most `limit` bytes; 0 if not even one fits."""

    def fits(batch):
        return training_memory(layer, input_shape, batch, optimizer).peak <= limit

    low, high = 0, 1
    while fits(high):  # ends, since every picture takes some bytes
        low, high = high, 2 * high
    while high - low > 1:  # low fits, high does not
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def stored_now(layer):
    """Return the bytes of the arrays that a layer and those below it keep for backward at this moment.

    This is the measurement for `stored`: call it between forward(x, training=True) and backward. Arrays are told apart
    by the memory that they are in, and weights, which backward reads too, are not counted.
    """
    weights = {id(owner(array)) for array in layer.state().values()}
    kept = {}
    for _, part in layer.walk():
        own = [value for name, value in vars(part).items() if name != "layers"]
        kept |= {id(owner(array)): owner(array).nbytes for array in arrays_in(own)}
    return sum(size for key, size in kept.items() if key not in weights)
