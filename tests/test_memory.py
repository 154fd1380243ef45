"""The memory of a training step: formulas against what layers really keep, and against what the system counts."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minifer import layers
from minifer.cli import main
from minifer.cost import largest_batch, stored_now, training_memory
from minifer.errors import ConfigError
from minifer.models import mobilenet, mobilenet_v2, mobilenet_v3

ROOT = Path(__file__).parents[1]
SHAPE = (20, 18, 1)
NETWORKS = {
    "plain": lambda: mobilenet("plain", 1 / 8, SHAPE, dropout=0.2),
    "skip": lambda: mobilenet("skip", 1 / 8, SHAPE),
    "mha": lambda: mobilenet("mha", 1 / 8, SHAPE, heads=2, head_units=3, attention_positions=True),
    "v2": lambda: mobilenet_v2(1 / 8, SHAPE),
    "v3": lambda: mobilenet_v3("large", 1 / 8, SHAPE),
    "v3-small": lambda: mobilenet_v3("small", 1 / 8, SHAPE),
}


def kept(network, shape, batch):
    """Return what the layers of a network keep of a batch: counted."""
    network.forward(np.ones((batch, *shape), np.float32), training=True)
    return stored_now(network)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_stored_to_the_byte(name, batch):
    network = NETWORKS[name]()
    network.require_input_gradient(False)
    counted = kept(network, SHAPE, batch)
    assert training_memory(network, SHAPE, batch).stored == counted > 0


def small_layers(rng):
    """Every kind of layer that maps (6,5,4), alone between two convolutions."""
    return [
        layers.Conv2D(4, 4, bias=True, rng=rng),
        layers.DepthwiseConv2D(4, stride=2, rng=rng),
        layers.PointwiseConv2D(4, 4, stride=2, rng=rng),
        layers.BatchNorm(4),
        layers.GroupNorm(4, 2),
        layers.LayerNorm(4),
        layers.ReLU(),
        layers.ReLU6(),
        layers.SiLU(),
        layers.GELU(),
        layers.HardSwish(),
        layers.Softmax(),
        layers.MaxPool2D(),
        layers.AveragePool2D(),
        layers.Dropout(0.5, rng=rng),
        layers.SqueezeExcitation(4, 2, rng=rng),
        layers.MultiHeadSelfAttention(4, 2, 3, normalize=True, rng=rng),
        layers.MultiHeadSelfAttention(4, 2, 3, residual=False, positions=(6, 5), rng=rng),
        layers.Residual(layers.ReLU(), layers.BatchNorm(4)),
    ]


@pytest.mark.parametrize("number", range(19))
def test_every_kind_of_layer_to_the_byte(number, rng):
    network = layers.Sequential(
        layers.PointwiseConv2D(3, 4, rng=rng),
        small_layers(rng)[number],
        layers.PointwiseConv2D(4, 2, rng=rng),
        layers.Flatten(),
    )
    assert training_memory(network, (6, 5, 3), 3).stored == kept(network, (6, 5, 3), 3)


def test_two_layers_that_keep_one_array_keep_it_once(rng):
    """By hand: the pointwise keeps x, the first ReLU y, the second what the first made."""
    shape, size = (4, 2, 3), 4 * 7 * 4 * 2
    network = layers.Sequential(layers.PointwiseConv2D(3, 5, rng=rng), layers.ReLU(), layers.ReLU())
    assert training_memory(network, shape, 7).stored == 3 * size + 5 * size + 5 * size
    twice = layers.Residual(layers.PointwiseConv2D(3, 3, rng=rng), projection=layers.PointwiseConv2D(3, 3, rng=rng))
    memory = training_memory(twice, shape, 7)
    assert memory.stored == 3 * size, "body and projection read the same x"
    # dy, the two gradients of x, and their sum, after what was kept is gone; the pictures are there all the time.
    assert memory.activations == (3 + 3 + 3 + 3 + 3) * size


def test_frozen_layers_keep_nothing_and_have_no_gradients():
    network = mobilenet("plain", 1 / 8, SHAPE)
    network.require_input_gradient(False)
    whole = training_memory(network, SHAPE, 4)
    network.freeze("extraction")
    network.require_input_gradient(False)
    part = training_memory(network, SHAPE, 4)
    assert part.gradients == 4 * (128 * 7 + 7) and part.weights == whole.weights
    assert part.stored == kept(network, SHAPE, 4) < whole.stored / 20


def test_fixed_memory_by_hand(rng):
    network = layers.Sequential(layers.Linear(3, 5, rng=rng), layers.BatchNorm(5))
    memory = training_memory(network, (3,), 2, "sgd")
    assert (memory.weights, memory.gradients, memory.optimizer) == (4 * (20 + 20), 4 * 30, 4 * 30)
    assert training_memory(network, (3,), 2, "adam").optimizer == 2 * memory.optimizer
    assert memory.peak == memory.fixed + memory.activations
    assert sum(row.weights for row in memory.layers) == memory.weights
    assert sum(row.gradients for row in memory.layers) == memory.gradients
    with pytest.raises(ConfigError, match="optimizer is 'rmsprop'"):
        training_memory(network, (3,), 2, "rmsprop")


class Gated(layers.Layer):
    """A composite of one's own that says nothing about its memory: it keeps a product's two factors."""

    def __init__(self, rng):
        self.body = [layers.PointwiseConv2D(3, 4, rng=rng), layers.ReLU()]
        self.gate = layers.Sequential(layers.PointwiseConv2D(3, 4, rng=rng), layers.BatchNorm(4))

    def forward(self, x, training=False):
        x = self.check_input(x, "NHWC", 3)
        y = x
        for layer in self.body:
            y = layer.forward(y, training=training)
        gate = self.gate.forward(x, training=training)
        self.save(training, y, gate)
        return y * gate

    def backward(self, dy):
        y, gate = self.saved()
        d = dy * gate
        for layer in self.body[::-1]:
            d = layer.backward(d)
        return d + self.gate.backward(dy * y)


class Remembering(layers.Layer):
    """A leaf as students write it: what backward needs lies in an attribute."""

    def forward(self, x, training=False):
        self.x = np.abs(x)
        return x * self.x

    def backward(self, dy):
        return 2 * dy * self.x


def test_layers_of_ones_own_need_no_method(rng):
    network = layers.Sequential(Gated(rng), Remembering())
    memory = training_memory(network, (5, 6, 3), 4)
    assert memory.stored == kept(network, (5, 6, 3), 4)
    assert [row.path for row in memory.layers] == ["0.body.0", "0.body.1", "0.gate.0", "0.gate.1", "0", "1"]
    network.backward(np.ones((4, 5, 6, 4), np.float32))
    assert network["0"].body[0].weight.grad is not None, "following left the layers as they were"


def test_the_largest_batch_fits_and_one_more_does_not():
    network = mobilenet("skip", 1 / 8, SHAPE, outline=True)
    network.require_input_gradient(False)
    batch = largest_batch(network, SHAPE, 3e6)
    peaks = [training_memory(network, SHAPE, n).peak for n in (batch, batch + 1)]
    assert batch > 1 and peaks[0] <= 3e6 < peaks[1]
    assert largest_batch(network, SHAPE, 1e5) == 0


def test_the_largest_batch_has_no_ceiling_of_its_own():
    network = mobilenet("plain", 1 / 8, SHAPE, outline=True)
    network.require_input_gradient(False)
    batch = largest_batch(network, SHAPE, 1e14)
    assert batch > 2**21
    peaks = [training_memory(network, SHAPE, n).peak for n in (batch, batch + 1)]
    assert peaks[0] <= 1e14 < peaks[1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measured by Linux")
@pytest.mark.parametrize(("name", "alpha", "batch"), [("plain", 1, 16), ("skip", 0.5, 64), ("mha", 0.25, 8)])
def test_the_peak_within_ten_percent_of_what_the_system_counts(name, alpha, batch):
    """In a process of its own; how much larger the peak is than the program, only Linux says."""
    measurement = json.dumps([name, alpha, (48, 48, 1), batch, False])
    command = [sys.executable, ROOT / "benchmarks" / "memory.py", "--child", measurement]
    one_thread = {**os.environ, "NUMBA_NUM_THREADS": "1"}  # two would wait for a core when tests run side by side
    measured = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=one_thread).stdout)
    network = mobilenet(name, alpha, outline=True)
    network.require_input_gradient(False)
    memory = training_memory(network, (48, 48, 1), batch)
    assert measured["stored"] == memory.stored
    assert memory.peak == pytest.approx(measured["peak"], rel=0.1)


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    return code, *capsys.readouterr()


def test_the_command(capsys, tmp_path):
    memory = ("cost", "--memory", "--model", "v3-small", "--batch", 32)
    code, out, _ = run(capsys, *memory, "--fit", 100)
    assert code == 0 and max(map(len, out.splitlines())) <= 120
    network = mobilenet_v3("small", outline=True)
    network.require_input_gradient(False)
    expected = training_memory(network, (48, 48, 1), 32)
    batch = largest_batch(network, (48, 48, 1), 100e6)
    assert f"peak {expected.peak / 1e6:.1f} MB" in out and f"fits into 100 MB: {batch}\n" in out
    code, out, _ = run(capsys, *memory, "--json", "--optimizer", "sgd", "--fit", 100)
    document = json.loads(out)
    assert document["optimizer_bytes"] == document["gradients_bytes"]
    assert document["peak_bytes"] == expected.peak - expected.optimizer // 2 and document["largest_batch"] > batch
    assert sum(row["stored_bytes"] for row in document["layers"]) == document["stored_bytes"] == expected.stored
    assert run(capsys, *memory, "--csv", tmp_path / "a.csv")[:2] == (0, "")
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert rows[-1]["layer"] == "total" and float(rows[-1]["stored"]) == round(expected.stored / 1000, 1)


def test_the_command_side_by_side(capsys, tmp_path):
    code, out, _ = run(capsys, "cost", "--memory", "--compare", "v1, v2", "--fit", 50, "--batch", 4)
    assert code == 0 and [line.split()[0] for line in out.splitlines()[-2:]] == ["v1", "v2"]
    code, out, _ = run(capsys, "cost", "--memory", "--compare", "v1,v2", "--json")
    assert [network["model"] for network in json.loads(out)["networks"]] == ["v1", "v2"]
    assert run(capsys, "cost", "--memory", "--compare", "v1,v2", "--csv", tmp_path / "a.csv")[:2] == (0, "")
    for wrong, message in (
        (("--fit", 0, "--memory"), "--fit is 0"),
        (("--fit", 5), "add --memory"),
        (("--memory", "--draw", tmp_path / "a.png"), "leave out --memory"),
        (("--memory", "--ranks", "1,2"), "--ranks and --memory are two questions"),
        (("--optimizer", "sgd"), "add --memory"),
        (("--compare", "v1,v2", "--ranks", "1,2"), "--ranks is of one network"),
        (("--compare", "v1,v2", "--model", "v1"), "leave --model out"),
        (("--model", "v2", "--blocks", "even"), "others have their own tables"),
        (("--step-ms", 3), "add --ranks"),
    ):
        code, _, err = run(capsys, "cost", *wrong)
        assert code == 2 and message in err and err.count("\n") == 1
