"""Data-parallel training: a batch in blocks, and the ranks of MPI that share them.

    gradient of the batch = sum_b rows(b) / rows * gradient of block b        b = 0..K-1, K = settings.batch_blocks

Every block is a small batch of its own: its own mean and variance in BatchNorm, its own random numbers, its own loss.
The blocks are summed in one fixed tree, ((0 + 1) + (2 + 3)) + ..., whose lower levels a rank adds up alone and whose
upper ones it adds up with rank XOR 1, 2, 4, ... So the bits of a run are a function of K, never of the number of ranks
N, as long as N divides K: that is why both are powers of two.

Adding up begins when the last backward pass has ended. Between two ranks of one machine it takes 3 to 4 % of a step
(benchmarks/scaling.py), which is all that hiding it behind the backward pass could gain.

The first rank alone reads data, writes and prints. The others get from it what they need, so that they need neither the
data nor the run folder, only minifer and the file of a network of one's own.

Source     Goyal et al., Accurate, large minibatch SGD, 2017, section 2.3 (statistics of a worker's own rows); Hoffer et
           al., Train longer, generalize better, 2017 (ghost batch normalization); Thakur et al., Optimization of
           collective communication operations in MPICH, 2005 (recursive doubling)
"""

import atexit
import json
import sys
import time
from contextlib import contextmanager

import numpy as np

from minifer.data.dataset import Dataset
from minifer.errors import ConfigError
from minifer.evaluation import predict
from minifer.layers import Statistic
from minifer.layers.holding import find
from minifer.process import placed

BLOCK = 7  # the first word of a generator's seed, see data.batches
PATIENCE = 2  # seconds that a rank which fails leaves to the first one, which may have failed in the same way
NAP = 0.005  # seconds between two looks while the first rank works: MPI's own waiting would keep a core busy


class Ranks:
    """The processes that train one network together; this one is number `rank` of `size`. Alone: rank 0 of 1."""

    def __init__(self, communicator=None, local=1):
        self.communicator, self.local = communicator, local  # local: ranks on this machine
        self.rank, self.size = (communicator.rank, communicator.size) if communicator else (0, 1)
        self.at_end = False  # whether all ranks know that they are to end

    @property
    def first(self):
        """Whether this rank is the one that reads, writes and prints."""
        return self.rank == 0

    def check(self, settings):
        """Raise ConfigError unless the blocks of a TrainConfig can be shared evenly."""
        blocks = settings.batch_blocks
        if blocks % self.size:
            fitting = [str(2**k) for k in range(blocks.bit_length())]
            raise ConfigError(
                f"{self.size} ranks cannot share batches of {blocks} block{'s'[: blocks > 1]}: start "
                f"{', '.join(fitting[:-1])}{' or ' * (blocks > 1)}{fitting[-1]} with mpiexec -n, or choose a multiple "
                f"of {self.size} as --batch-blocks"
            )

    def do_first(self, work):
        """Return work() on the first rank and None on the others, once it is done; if it fails, the others exit."""
        if self.size == 1:
            return work()
        done = failed = None
        if self.first:
            try:
                done = work()
            except BaseException as error:
                failed = error
        state = np.array([failed is not None])
        self._from_first(state)
        self.at_end = bool(state[0])
        if failed is not None:
            raise failed
        if self.at_end:
            raise SystemExit(0)  # the first rank says why, with its exit code
        return done

    def share(self, arrays=None, meta=None):
        """Return ({name: array}, JSON-able meta) of the first rank on every rank; those given by others do not count.

        The arrays of the first rank are its own, not copies.
        """
        if self.size == 1:
            return arrays, meta
        text = b""
        if self.first:
            arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
            kinds = {name: (array.dtype.str, array.shape) for name, array in arrays.items()}
            text = json.dumps([kinds, meta]).encode()
        length = np.array([len(text)])
        self._from_first(length)
        text = np.frombuffer(bytearray(text) or bytearray(length[0]), np.uint8)
        self._from_first(text)
        kinds, meta = json.loads(text.tobytes())
        if not self.first:
            arrays = {name: np.empty(shape, dtype) for name, (dtype, shape) in kinds.items()}
        for array in arrays.values():
            self._from_first(array.reshape(-1).view(np.uint8))
        return arrays, meta

    def _from_first(self, array):
        """Fill an array with the first rank's."""
        request = self.communicator.Ibcast(array, root=0)
        while not request.Test():
            time.sleep(NAP)

    def same_state(self, layer):
        """Give a layer the state that it has on the first rank: weights may come from a file, or be drawn at will."""
        if self.size > 1:
            state, _ = self.share(layer.state())
            if not self.first:
                layer.load_state(state, "the first rank's state")

    def sum(self, array):
        """Add up the arrays of all ranks in place, in the tree that this module describes; return the array."""
        other = np.empty_like(array)
        step = 1
        while step < self.size:
            partner = self.rank ^ step
            self.communicator.Sendrecv(array, partner, recvbuf=other, source=partner)
            array += other  # a + b and b + a are the same bits, so both partners hold the same
            step *= 2
        return array

    def any(self, flag):
        """Whether a flag is set on some rank."""
        return bool(self.sum(np.array([flag], np.int64))[0]) if self.size > 1 else flag

    def predict(self, model, dataset, batch_size=128):
        """Return evaluation.predict of a Dataset; the ranks look at one batch after the other in turn."""
        if self.size == 1:
            return predict(model, dataset.images, dataset.frames, batch_size)
        probs = np.zeros((len(dataset), len(dataset.classes)), np.float32)
        for start in range(self.rank * batch_size, len(dataset), self.size * batch_size):
            rows = dataset.take(slice(start, start + batch_size))
            probs[start : start + batch_size] = predict(model, rows.images, rows.frames, batch_size)
        return self.sum(probs)


ALONE = Ranks()


def share_dataset(ranks, dataset):
    """Return a Dataset of the first rank on every rank; the others give None."""
    if ranks.size == 1:
        return dataset
    arrays, about = {}, None
    if ranks.first:
        fields = {name: getattr(dataset, name) for name in ("images", "labels", "names", "frames", "soft")}
        arrays = {name: rows for name, rows in fields.items() if rows is not None}
        about = [dataset.classes, dataset.split]
    arrays, (classes, split) = ranks.share(arrays, about)
    return Dataset(**arrays, classes=tuple(classes), split=split)


def find_ranks():
    """Return the Ranks that mpiexec started, or ALONE; MPI is looked for in the environment, and imported only then.

    Raises     ConfigError where mpi4py is missing, or is built for another MPI than mpiexec's
    """
    _, size, local = placed()
    if size == 1:
        return ALONE
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise ConfigError(
            f"mpiexec has started {size} ranks, and they need mpi4py ({error}): pip install mpi4py mpich, "
            "or start minifer without mpiexec"
        ) from None
    if MPI.COMM_WORLD.size != size:
        raise ConfigError(
            f"mpiexec has started {size} ranks, and mpi4py finds {MPI.COMM_WORLD.size}: it is built for another MPI "
            "than this mpiexec belongs to; pip install mpi4py mpich brings both"
        )
    return Ranks(MPI.COMM_WORLD, local)


@contextmanager
def ending_together(ranks):
    """End all ranks when the body of a with statement fails on one, in the middle of what they do together.

    What fails on all in the same way is told by the first rank; what fails on another one alone, by that one.
    """
    try:
        yield
    except BaseException as error:
        if ranks.size > 1 and not ranks.at_end:
            if not ranks.first:
                time.sleep(PATIENCE)
                print(f"minifer, rank {ranks.rank}: {error or type(error).__name__}", file=sys.__stderr__, flush=True)
            atexit.register(ranks.communicator.Abort, 1)  # after the line that says why
        raise


# A training step in blocks.


def gradients(training, rows, epoch, step):
    """Leave the gradients of a batch that is cut into blocks; return its loss and how many of its pictures are right.

    Block b of K has the rows from n b // K to n (b + 1) // K of n, perhaps none in a short last batch. Running
    statistics move once: to the mean of where the blocks would have moved them.
    """
    ranks, blocks, flat = training.ranks, training.settings.batch_blocks, training.optimizer.flat
    statistics = list(find(training.model, Statistic).values())
    before = [item.value.copy() for item in statistics]
    size = flat.grad.size + sum(array.size for array in before) + 2
    sums = []  # (height, vector) of the subtrees that wait for their neighbour, the highest first
    for block in range(blocks * ranks.rank // ranks.size, blocks * (ranks.rank + 1) // ranks.size):
        part = rows[len(rows) * block // blocks : len(rows) * (block + 1) // blocks]
        height, vector = 0, np.zeros(size, flat.grad.dtype)
        if len(part):
            for item, array in zip(statistics, before, strict=True):
                item.value[...] = array
            draw_for(training.model, training.settings.seed, epoch, step, block)
            loss, right = training.block_gradients(part, epoch)
            moved = [item.value.ravel() for item in statistics]
            np.concatenate([flat.grad, *moved, [loss, 0]], out=vector, casting="same_kind")
            vector *= vector.dtype.type(len(part) / len(rows))
            vector[-1] = right
        while sums and sums[-1][0] == height:
            vector += sums.pop()[1]
            height += 1
        sums.append((height, vector))
    total = ranks.sum(sums[0][1])
    flat.grad[...] = total[: flat.grad.size]
    start = flat.grad.size
    for item in statistics:
        value = total[start : start + item.value.size].reshape(item.value.shape)
        item.value[...] = value if item.value.dtype.kind == "f" else np.rint(value)
        start += item.value.size
    return float(total[-2]), int(total[-1])


def draw_for(model, seed, epoch, step, block):
    """Let dropout and whatever else draws random numbers begin where this block of this step begins."""
    for number, rng in enumerate(model.generators().values()):
        kind = type(rng.bit_generator)
        rng.bit_generator.state = kind(np.random.SeedSequence([BLOCK, seed, epoch, step, block, number])).state
