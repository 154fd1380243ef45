"""Products from bfloat16: the rounding, the kernels against their references, and a training that uses them."""

import numpy as np
import numpy.testing as npt
import pytest

from minifer import config
from minifer.data import synthetic
from minifer.errors import ConfigError
from minifer.fusion import fused
from minifer.kernels import bfloat16, threads
from minifer.kernels.bfloat16 import pairs_of_columns, pairs_of_rows, products, round_to_bfloat16
from minifer.kernels.pointwise import pointwise_forward, pointwise_grad_weight
from minifer.losses import SoftmaxCrossEntropy
from minifer.models import mobilenet
from minifer.training import fit

needed = pytest.mark.skipif(not bfloat16.HAS_BFLOAT16, reason="the processor has no instructions for bfloat16")
SHAPES = [(1, 1, 1), (2, 3, 5), (13, 7, 33), (50, 129, 70), (7, 600, 9), (40, 1031, 33), (301, 64, 256), (2, 3, 4200)]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 3.4e38, 1e-42, 1.0, -1 - 2**-8, 1 + 2**-8, 1 + 3 * 2**-8]


def random(*shape):
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


def unpaired(pairs):
    """Return the numbers of pairs, those of one pair side by side in a new last axis."""
    halves = np.stack([pairs << np.uint32(16), pairs & np.uint32(0xFFFF0000)], axis=-1)
    return halves.view(np.float32)


def test_rounding_is_to_the_nearest_and_a_tie_to_the_even_one():
    x = np.float32([1, 1 + 2**-7, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1 - 2**-8, 3.4e38])
    npt.assert_array_equal(round_to_bfloat16(x), np.float32([1, 1 + 2**-7, 1, 1 + 2**-6, 1 + 2**-7, -1, np.inf]))
    every = np.arange(0, 1 << 32, 9973, dtype=np.int64).astype(np.uint32).view(np.float32)  # of all kinds and signs
    rounded, finite = round_to_bfloat16(every), np.isfinite(every)
    npt.assert_array_equal(np.isnan(rounded), np.isnan(every))
    assert not (rounded.view(np.uint32) & 0xFFFF).any()
    normal = finite & (np.abs(every) > 2e-38) & np.isfinite(rounded)
    assert np.abs(rounded[normal] / every[normal].astype(float) - 1).max() <= 2**-8


def test_pairs_hold_what_the_rounding_gives():
    x = np.resize(np.float32([*SPECIAL, *random(50)]), (7, 9))
    columns, rows = unpaired(pairs_of_columns(x)), unpaired(pairs_of_rows(x))
    npt.assert_array_equal(columns.reshape(7, 10), round_to_bfloat16(np.pad(x, ((0, 0), (0, 1)))))
    npt.assert_array_equal(rows.swapaxes(1, 2).reshape(8, 9), round_to_bfloat16(np.pad(x, ((0, 1), (0, 0)))))


@needed
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products(shape):
    """bfloat16_forward, bfloat16_grad_x and bfloat16_grad_weight, which may differ in the order of their sums alone."""
    rows, channels, filters = shape
    x, weight, dy = random(rows, channels), random(channels, filters), random(rows, filters)
    for twin, a, b in (
        (bfloat16.bfloat16_forward, x, weight),
        (bfloat16.bfloat16_grad_x, dy, weight),
        (bfloat16.bfloat16_grad_weight, x, dy),
    ):
        expected, got = twin.reference(a, b), twin.compiled(a, b)
        assert got.dtype == np.float32 and got.shape == expected.shape
        npt.assert_allclose(got, expected, atol=1e-6 * np.abs(expected).max() * np.sqrt(rows + channels + filters))
    for kernel in (bfloat16.bfloat16_grad_weight.reference, bfloat16.bfloat16_grad_weight.compiled):
        out = np.full_like(weight, np.nan)
        assert kernel(x, dy, out) is out and np.isfinite(out).all()


def gradients(name, count=None):
    """Return {parameter: gradient} of a step of a MobileNet, some of whose layers have many weights."""
    model = mobilenet("plain", 0.5, (24, 24, 1))
    model.require_input_gradient(False)
    classifier = model.layers["classifier"].weight  # starts from 0, and would pass nothing on
    classifier.value = random(*classifier.value.shape)
    network, loss, before = fused(model), SoftmaxCrossEntropy(), threads.threads()
    threads.threads(count)
    with products(name):
        loss.forward(network.forward(random(8, 24, 24, 1), training=True), np.arange(8) % 7, training=True)
        network.backward(loss.backward())
    threads.threads(before)
    return {key: parameter.grad for key, parameter in model.parameters().items()}


@needed
def test_gradients_point_where_those_of_float32_do_and_have_equal_bits_for_any_number_of_threads():
    """At the start of training, with noise for pictures, thirteen blocks make 0.3 of a rounding by 0.004."""
    exact, rounded, alone = gradients("float32"), gradients("bfloat16"), gradients("bfloat16", 1)
    for name, gradient in exact.items():
        npt.assert_array_equal(rounded[name], alone[name])
        cosine = np.vdot(rounded[name], gradient) / np.linalg.norm(rounded[name]) / np.linalg.norm(gradient)
        assert 0.8 < cosine < 0.999999, name  # every gradient has passed through a layer of many weights


@needed
def test_small_layers_stay_as_they_are():
    x, weight = random(50, 128), random(128, 256)
    with products("bfloat16"):
        npt.assert_array_equal(pointwise_forward(x, weight), pointwise_forward.compiled(x, weight))
        npt.assert_array_equal(pointwise_grad_weight(x, x), pointwise_grad_weight.compiled(x, x))


TINY = config.TrainConfig(model="plain", alpha=0.5, epochs=2, batch_size=16, products="bfloat16")


@needed
def test_a_training_goes_through_them():
    faces = synthetic.load(seed=0, train=32, val=16)
    losses = [
        fit(config.replace(TINY, products=name), faces["train"], faces["val"]).rows[-1]["train_loss"]
        for name in ("bfloat16", "float32")
    ]
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.2)


def test_a_processor_without_them_is_told_so(monkeypatch):
    monkeypatch.setattr(bfloat16, "HAS_BFLOAT16", False)
    faces = synthetic.load(seed=0, train=16, val=16)
    with pytest.raises(ConfigError, match="products=bfloat16: this processor"):
        fit(TINY, faces["train"], faces["val"])
