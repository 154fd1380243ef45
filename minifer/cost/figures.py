"""The figures of a cost: of one direction, of a layer, and of one row in the table of a network."""

from dataclasses import dataclass, fields

FLOAT_BYTES = 4  # of a float32


class _Sum:
    """Adds dataclasses field by field."""

    def __add__(self, other):
        return type(self)(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Pass(_Sum):
    """The work of one direction, forward or backward.

    multiply_adds  for one picture
    map_bytes      of the activations and their gradients that are read or written for one picture
    weight_bytes   of the weights that are read and the gradients of weights that are written, once for a whole batch
    """

    multiply_adds: int = 0
    map_bytes: int = 0
    weight_bytes: int = 0

    def bytes_moved(self, batch=1):
        """Return the bytes that a batch moves if every array crosses the memory bus once."""
        return batch * self.map_bytes + self.weight_bytes

    def intensity(self, batch=1):
        """Return the arithmetic intensity: floating-point operations (two a multiply-add) per byte moved."""
        moved = self.bytes_moved(batch)
        return 2 * batch * self.multiply_adds / moved if moved else 0.0

    def seconds(self, operations_per_second, bytes_per_second, batch=1):
        """Return the least time that a machine can take, the roofline: it is short of arithmetic or of bandwidth."""
        arithmetic = 2 * batch * self.multiply_adds / operations_per_second
        return max(arithmetic, self.bytes_moved(batch) / bytes_per_second)


@dataclass(frozen=True)
class Cost(_Sum):
    """The cost of a layer or network for one picture.

    forward, backward     a Pass each. backward is that of the layer as it stands: gradients that nobody reads, of
                          frozen parameters or, after require_input_gradient(False), of the pictures, cost nothing
    trainable_parameters  what an optimizer would move
    parameters            all of them and the running statistics, which is what Keras calls the total
    activation_bytes      of the outputs in float32
    """

    forward: Pass = Pass()
    backward: Pass = Pass()
    trainable_parameters: int = 0
    parameters: int = 0
    activation_bytes: int = 0

    @property
    def multiply_adds(self):
        """Those of the forward pass, the figure that is quoted for networks."""
        return self.forward.multiply_adds


@dataclass(frozen=True)
class LayerCost:
    """One row of a cost table: which layer, what goes in and comes out (without the batch axis), and its Cost."""

    path: str
    kind: str
    input_shape: tuple
    output_shape: tuple
    cost: Cost
