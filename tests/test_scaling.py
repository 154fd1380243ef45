"""The formulas of scaling, against the algorithms themselves: carried out on arrays, their messages counted."""

import json
import math

import numpy as np
import pytest
from small_runs import run

from minifer.cost.scaling import ALGORITHMS, Scaling, rounds_and_bytes
from minifer.errors import ConfigError

SIZE = 64  # elements of an array, a multiple of every number of ranks below


class Counted:
    """Arrays of ranks that send parts of them to each other, and count the rounds and the most bytes of a rank."""

    def __init__(self, ranks):
        rng = np.random.default_rng(0)
        self.arrays = [rng.integers(0, 9, SIZE).astype(np.float64) for _ in range(ranks)]
        self.total = sum(self.arrays)
        self.rounds, self.sent = 0, [0] * ranks

    def round(self, messages, add):
        """Let every (sender, receiver, part) of messages happen at the same time."""
        copies = [self.arrays[sender][part].copy() for sender, _, part in messages]
        for (sender, receiver, part), copy in zip(messages, copies, strict=True):
            self.arrays[receiver][part] = self.arrays[receiver][part] + copy if add else copy
            self.sent[sender] += copy.nbytes
        self.rounds += 1


WHOLE = slice(0, SIZE)


def doubling(counted, ranks):
    for k in range(int(math.log2(ranks))):
        counted.round([(rank, rank ^ 2**k, WHOLE) for rank in range(ranks)], add=True)


def tree(counted, ranks):
    levels = range(int(math.log2(ranks)))
    for k in levels:
        counted.round([(rank, rank - 2**k, WHOLE) for rank in range(2**k, ranks, 2 ** (k + 1))], add=True)
    for k in reversed(levels):
        counted.round([(rank - 2**k, rank, WHOLE) for rank in range(2**k, ranks, 2 ** (k + 1))], add=False)


def ring(counted, ranks):
    def part(number):
        return slice(number % ranks * SIZE // ranks, (number % ranks + 1) * SIZE // ranks)

    for add, ahead in ((True, 0), (False, 1)):
        for k in range(ranks - 1):
            counted.round([(rank, (rank + 1) % ranks, part(rank + ahead - k)) for rank in range(ranks)], add)


def halving(counted, ranks):
    mine = [WHOLE] * ranks
    levels = range(int(math.log2(ranks)))
    for k in levels:
        halves = []
        for rank, part in enumerate(mine):
            middle = (part.start + part.stop) // 2
            lower, upper = slice(part.start, middle), slice(middle, part.stop)
            halves.append((upper, lower) if rank & 2**k else (lower, upper))
        counted.round([(rank, rank ^ 2**k, away) for rank, (_, away) in enumerate(halves)], add=True)
        mine = [kept for kept, _ in halves]
    for k in reversed(levels):
        counted.round([(rank, rank ^ 2**k, part) for rank, part in enumerate(mine)], add=False)
        mine = [
            slice(min(part.start, mine[rank ^ 2**k].start), max(part.stop, mine[rank ^ 2**k].stop))
            for rank, part in enumerate(mine)
        ]


@pytest.mark.parametrize("ranks", [2, 4, 8, 16])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_rounds_and_bytes_are_those_of_the_algorithm(algorithm, ranks):
    counted = Counted(ranks)
    {"doubling": doubling, "tree": tree, "ring": ring, "halving": halving}[algorithm](counted, ranks)
    for array in counted.arrays:
        np.testing.assert_array_equal(array, counted.total)
    rounds, sent = rounds_and_bytes(algorithm, ranks, SIZE * 8)
    assert counted.rounds == rounds
    if (
        algorithm == "tree"
    ):  # the time is of the longest way, on which the messages of different ranks follow each other
        assert sent == counted.rounds * SIZE * 8
    else:
        assert set(counted.sent) == {sent}


def test_a_step_is_its_parts():
    scaling = Scaling(step=0.1, size=4e6, latency=50e-6, bandwidth=125e6, own=0.02)
    assert scaling.step_of(1) == pytest.approx(0.1)
    assert scaling.speedup(1) == pytest.approx(1)
    assert scaling.step_of(4) == pytest.approx(0.02 + 0.02 + 2 * (50e-6 + 0.032))
    assert scaling.reduce(4, "ring") == pytest.approx(6 * (50e-6 + 0.008))
    assert Scaling(0.1, 4e6, 50e-6, 125e6, cores=2).compute(4) == pytest.approx(0.05)
    first = scaling.outweighed_from("ring")
    assert scaling.reduce(first, "ring") > scaling.compute(first)
    assert scaling.reduce(first // 2, "ring") <= scaling.compute(first // 2)
    assert Scaling(1e9, 1, 1e-9, 1e12, own=1e9).outweighed_from() is None


def test_what_cannot_be_is_refused():
    for wrong in ({"step": 0}, {"latency": -1}, {"bandwidth": float("nan")}, {"own": 2}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Scaling(**{"step": 1, "size": 1, "latency": 1, "bandwidth": 1, **wrong})


def test_the_command_prints_what_the_model_says(capsys):
    network = ["cost", "--model", "skip", "--alpha", 0.25, "--ranks", "1,2,1000", "--step-ms", 100]
    code, out, _ = run(capsys, *network, "--bandwidth", 10, "--json")
    document = json.loads(out)
    scaling = Scaling(0.1, document["bytes"], 50e-6, 1.25e9)
    assert code == 0 and [row["ranks"] for row in document["ranks"]] == [1, 2, 1000]
    assert document["ranks"][2]["step_ms"] == pytest.approx(1e3 * scaling.step_of(1000))
    assert document["ranks"][0]["speedup"] == 1
    code, out, _ = run(capsys, *network)
    assert code == 0 and len([line for line in out.splitlines() if line.startswith(("1 ", "2 ", "1000 "))]) == 3
    for wrong in ("0", "two", "1,,2"):
        assert run(capsys, "cost", "--ranks", wrong, "--step-ms", 1)[0] == 2
    assert run(capsys, "cost", "--ranks", "2")[0] == 2


@pytest.mark.parametrize("flag", ["--step-ms", "--latency", "--bandwidth"])
@pytest.mark.parametrize("value", ["-1", "nan"])
def test_a_flag_that_cannot_be_is_named_with_its_own_value(capsys, flag, value):
    flags = {"--step-ms": "100", flag: value}
    code, _, err = run(capsys, "cost", "--ranks", "2", *(part for pair in flags.items() for part in pair))
    assert code == 2 and f"{flag} is {float(value)}: " in err
