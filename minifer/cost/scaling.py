"""What a training step takes on N ranks: each computes its share of the batch, then all add up their gradients.

    step(N) = own + (step(1) - own) / N + reduce(N)        own: what every rank does for itself, above all the optimizer

A message of s bytes takes L + s / B: latency L in seconds, bandwidth B in bytes a second. For P bytes of gradients

    doubling    log2(N) (L + P / B)                        every rank swaps all it has with rank XOR 1, 2, 4, ...
    tree        2 log2(N) (L + P / B)                      up to one rank, and down again
    ring        2 (N - 1) (L + P / (N B))                  N - 1 pieces are passed on and added, then N - 1 passed on
    halving     2 log2(N) L + 2 (N - 1) / N * P / B        as doubling, but first with halves, quarters, ...

No way sends less than 2 (N - 1) / N * P from every rank, which is nearly 2 P however many there are: bandwidth stops to
matter, and latency begins to. Where several ranks share a core, N counts the cores in the division, and not the ranks.

Source     Thakur, Rabenseifner & Gropp, Optimization of collective communication operations in MPICH, 2005, section 4;
           Patarasuk & Yuan, Bandwidth optimal all-reduce algorithms, 2009
"""

import math
from dataclasses import dataclass

from minifer.errors import ConfigError


def rounds_and_bytes(algorithm, ranks, size):
    """Return (messages one after another, bytes that a rank sends) of an all-reduce of `size` bytes."""
    levels = math.ceil(math.log2(ranks))
    ways = {
        "doubling": (levels, levels * size),
        "tree": (2 * levels, 2 * levels * size),
        "ring": (2 * (ranks - 1), 2 * (ranks - 1) / ranks * size),
        "halving": (2 * levels, 2 * (ranks - 1) / ranks * size),
    }
    if algorithm not in ways:
        raise ConfigError(f"{algorithm!r} is none of {', '.join(ways)}")
    return ways[algorithm]


ALGORITHMS = ("doubling", "tree", "ring", "halving")


@dataclass(frozen=True)
class Scaling:
    """What is measured of a training on one rank, and of the network between several.

    step, own     seconds of a whole step on one rank, and of its part that every rank has to do
    size          bytes that are added up
    latency, bandwidth    seconds, and bytes a second
    cores         that the ranks share; None: each has one
    """

    step: float
    size: float
    latency: float
    bandwidth: float
    own: float = 0.0
    cores: int | None = None

    def __post_init__(self):
        for name in ("step", "size", "latency", "bandwidth"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be above 0")
        if not 0 <= self.own <= self.step:
            raise ConfigError(f"own is {self.own}: it must lie between 0 and the step, {self.step}")

    def compute(self, ranks):
        """Return the seconds that a rank computes."""
        return self.own + (self.step - self.own) / min(ranks, self.cores or ranks)

    def reduce(self, ranks, algorithm="doubling"):
        """Return the seconds of adding up."""
        rounds, sent = rounds_and_bytes(algorithm, ranks, self.size)
        return rounds * self.latency + sent / self.bandwidth

    def step_of(self, ranks, algorithm="doubling"):
        """Return the seconds of a step."""
        return self.compute(ranks) + self.reduce(ranks, algorithm)

    def speedup(self, ranks, algorithm="doubling"):
        """Return how many times as fast as one rank; divided by the ranks it is the efficiency."""
        return self.step / self.step_of(ranks, algorithm)

    def outweighed_from(self, algorithm="doubling", most=1 << 20):
        """Return the smallest power of two of ranks that spend more time on adding up than on computing, or None."""
        ranks = 2
        while ranks <= most:
            if self.reduce(ranks, algorithm) > self.compute(ranks):
                return ranks
            ranks *= 2
        return None
