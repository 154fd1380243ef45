"""What test_parallel.py starts with mpiexec: some short runs, and the bits that each rank ends with, as JSON."""

import hashlib
import json
import sys

import numpy as np

from minifer import config
from minifer.data import synthetic
from minifer.data.dataset import Dataset
from minifer.layers import BatchNorm, Conv2D, Dropout, GlobalAveragePool, Linear, Sequential
from minifer.parallel import find_ranks, share_dataset
from minifer.training import Observer, Training

SHORT = config.TrainConfig(alpha=1 / 16, epochs=4, batch_size=16, batch_blocks=4, heads=2, head_units=4)
CASES = {
    "plain": {"model": "plain", "optimizer": "sgd", "schedule": "constant", "balance": "weights"},
    "skip, dropout": {"model": "skip", "dropout": 0.3, "plateau_patience": 1, "early_stopping": 5},
    "mha, average": {"attention_blocks": (12, 13), "average": 0.9, "calibrate": True, "recalibrate": 40},
    "own": {"model": "ranks.py:own_network"},
}


def own_network(input_shape, classes, rng):
    """Return a network that draws its weights from a generator of its own, and has dropout in two places."""
    rng = np.random.default_rng()  # the ranks' first weights differ, until they are those of the first rank
    return Sequential(
        Conv2D(input_shape[2], 4, 3, stride=4, rng=rng),
        BatchNorm(4, activation="relu"),
        Dropout(0.1, rng=rng),
        Conv2D(4, 8, 3, stride=2, rng=rng),
        BatchNorm(8, activation="relu"),
        GlobalAveragePool(),
        Dropout(0.1, rng=rng),
        Linear(8, classes, rng=rng),
    )


def seeded_network(input_shape, classes, rng):
    """As own_network, the same each time."""
    network = own_network(input_shape, classes, rng)
    rng = np.random.default_rng(5)
    for parameter in network.parameters().values():
        parameter.value[...] = 0.3 * rng.standard_normal(parameter.value.shape)
    return network


def bits(arrays):
    """Return a hash of {name: array}."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()


def run(case, ranks, faces):
    """Return the hash of everything that 20 steps end with, and the rows of metrics.csv."""
    settings = config.replace(SHORT, **CASES[case])
    own = None
    if case == "own":
        own = seeded_network if ranks.first else own_network
    training = Training(settings, *faces, own, ranks=ranks)
    training.run(Observer())
    state = {**training.model.state(), **training.optimizer.state(), **training.stopping.best_state}
    if training.average:
        state |= training.average.state()
    rows = [
        [row[name] for name in ("learning_rate", "train_loss", "train_top1", "val_loss", "val_top1")]
        for row in training.rows
    ]
    return [bits(state), rows, training.step + training.epoch * len(training.batches)]


def datasets(ranks):
    """Return hashes of Datasets of every kind, as this rank gets them."""
    rng = np.random.default_rng(1)
    kinds = (None, None, None)
    if ranks.first:
        images, labels = rng.integers(0, 256, (9, 6, 5)).astype(np.uint8), np.arange(9) % 3
        colour = rng.integers(0, 256, (9, 6, 5, 3)).astype(np.uint8)
        frames, soft = rng.standard_normal((9, 2, 3)), rng.random((9, 3)).astype(np.float32)
        names = np.array([f"glücklich/{row}.png" for row in range(9)])
        kinds = (
            Dataset(images, labels, names, ("a", "b", "c"), "train", frames),
            Dataset(colour, labels, None, ("a", "b", "c"), "val", None, soft),
            Dataset(images[:0], labels[:0], names[:0], ("a", "b", "c")),
        )
    shared = [share_dataset(ranks, kind) for kind in kinds]
    return [
        bits({name: np.asarray(value) for name, value in vars(part).items() if value is not None}) for part in shared
    ]


def whole_list(ranks):
    """Return {what was looked at: what this rank has found}."""
    faces = synthetic.load(seed=3, train=67, val=150) if ranks.first else {"train": None, "val": None}
    faces = faces["train"], faces["val"]
    return {"datasets": datasets(ranks), **{case: run(case, ranks, faces) for case in CASES}}


def main():
    """Print what every rank has found."""
    ranks = find_ranks()
    found = whole_list(ranks)
    everybody = ranks.communicator.allgather(found) if ranks.size > 1 else [found]
    if ranks.first:
        json.dump(everybody, sys.stdout)


if __name__ == "__main__":
    main()
