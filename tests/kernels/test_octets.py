"""Products of bytes: the rounding, the kernel against its reference, and networks that multiply them."""

import numpy as np
import numpy.testing as npt
import pytest

from minifer import inference
from minifer.errors import ConfigError
from minifer.inference import InferenceNetwork
from minifer.kernels import threads
from minifer.kernels.octets import UNITS, fours_of_columns, fours_of_rows, octets_forward, quantize, round_to_bytes
from minifer.kernels.pointwise import pointwise_forward
from minifer.kernels.twin import use_kernels
from minifer.kernels.vectors import HAS_OCTETS
from minifer.layers import BatchNorm, Conv2D, GlobalAveragePool, Linear, Sequential
from minifer.models import mobilenet

needed = pytest.mark.skipif(not HAS_OCTETS, reason="the processor has no instructions for products of bytes")
SHAPES = [(1, 1, 1), (2, 3, 5), (13, 4, 33), (7, 6, 9), (50, 129, 70), (40, 1031, 33), (301, 64, 256), (5, 4201, 7)]


def test_bytes_are_the_nearest_ones():
    x = np.float32([0, 0.011, 0.012, 1, 3, 5.99, 6])
    octets = np.full(14, 77, np.uint8)
    round_to_bytes(x, 1, 3, octets, 2, 5, 2, 2)  # of rows of three the first two, into rows of five
    assert octets.tolist() == [77, 77, 0, 1, 77, 77, 77, 128, 255, 77, 77, 77, 77, 77]
    every = np.linspace(0, 6, 10007, dtype=np.float32)
    octets = np.empty(every.size, np.uint8)
    round_to_bytes(every, 0, 1, octets, 0, 1, every.size, 1)
    assert np.abs(octets / UNITS - every).max() <= 0.5001 / UNITS and octets[0] == 0 and octets[-1] == 255


def test_every_column_of_weights_has_a_step_of_its_own():
    weight = np.float32([[1, -0.001, 0], [-2, 0.0005, 0]])
    q, step = quantize(weight)
    assert q.dtype == np.int8 and q.tolist() == [[64, -127, 0], [-127, 64, 0]]  # 63.5 goes to the even one
    npt.assert_allclose(step, [2 / 127, 0.001 / 127, 1], rtol=1e-6)
    assert np.abs(q * step - weight).max() <= step.max() / 2


def test_a_four_that_is_not_full_is_filled_with_zeros():
    octets = np.int8([[1, 2, 3, 4, -5]])
    assert fours_of_columns(octets).view(np.int8).tolist() == [[1, 2, 3, 4, -5, 0, 0, 0]]
    npt.assert_array_equal(fours_of_rows(octets.T), fours_of_columns(octets).T)


@needed
@pytest.mark.parametrize(("rows", "channels", "filters"), SHAPES)
def test_octets_forward(rng, rows, channels, filters):
    x = rng.uniform(0, 6, (rows, channels)).astype(np.float32)
    x[0, 0], x[-1, -1] = 0, 6
    weight = rng.standard_normal((channels, filters)).astype(np.float32)
    got = octets_forward.compiled(x, weight)
    npt.assert_array_equal(got, octets_forward.reference(x, weight))  # sums of integers are exact
    exact = x @ weight
    assert np.abs(got - exact).max() < 0.03 * np.sqrt(channels) * np.abs(weight).max()


@needed
def test_sums_that_are_as_large_as_can_be():
    x, weight = np.full((3, 4096), 6, np.float32), np.ones((4096, 2), np.float32)
    npt.assert_array_equal(octets_forward.compiled(x, weight), octets_forward.reference(x, weight))
    npt.assert_allclose(octets_forward.compiled(x, weight), 6 * 4096, rtol=1e-6)


def trained(rng, *args, **settings):
    """Return a network whose parameters and running statistics are not what they were at the start."""
    model = mobilenet(*args, **settings)
    for parameter in model.parameters().values():
        parameter.value += (0.05 * rng.standard_normal(parameter.value.shape)).astype(np.float32)
    for _ in range(3):
        model.forward(rng.standard_normal((8, *args[2])).astype(np.float32), training=True)
    return model


def of_bytes(x, weight):
    """What InferenceNetwork does of a plain network: stem and classifier stay float32."""
    if weight.shape[0] == 9 or weight.shape[1] == 7:
        return pointwise_forward.itself(x, weight)
    return octets_forward.reference(x, weight)


NETWORKS = {
    "plain": ("plain", 0.25, (24, 24, 1)),
    "channels that are no fours": ("plain", 0.16, (20, 28, 1)),
    "wide, so that rows are padded": ("plain", 1.0, (12, 12, 1)),
}


@needed
@pytest.mark.parametrize("name", NETWORKS)
def test_a_plain_network_gives_the_logits_of_its_rounded_layers(rng, name):
    model, shape = trained(rng, *NETWORKS[name]), NETWORKS[name][2]
    network = InferenceNetwork(model, shape, batch_size=4, products="int8")
    for count in (1, 2, 9):
        x = rng.standard_normal((count, *shape)).astype(np.float32)
        with use_kernels({"pointwise_forward": of_bytes}):
            rounded = model(x)
        exact, got = model(x), network(x)
        scale = np.abs(exact).max()
        # A number between two bytes may go to the other one, where batch normalization is folded into the weights.
        assert np.abs(got - rounded).max() < 0.02 * scale
        assert 1e-4 * scale < np.abs(got - exact).max() < 0.2 * scale


@needed
def test_shortcuts_attention_and_projections_stay_what_they_are(rng):
    shape = (24, 24, 1)
    model = trained(rng, "mha", 0.25, shape, attention_blocks=(4, 13), heads=2, head_units=5)
    x = rng.standard_normal((5, *shape)).astype(np.float32)
    exact, got = model(x), InferenceNetwork(model, shape, products="int8")(x)
    assert 1e-4 < np.abs(got - exact).max() / np.abs(exact).max() < 0.2
    assert np.array_equal(InferenceNetwork(model, shape)(x), InferenceNetwork(model, shape, products="float32")(x))


@needed
def test_no_bit_depends_on_the_threads_or_the_neighbours(rng):
    shape = (24, 24, 1)
    network = InferenceNetwork(trained(rng, "skip", 0.5, shape), shape, products="int8")
    x = rng.standard_normal((32, *shape)).astype(np.float32)
    before, together = threads.threads(), network(x)
    threads.threads(1)
    alone = network(x)
    threads.threads(before)
    npt.assert_array_equal(alone, together)
    network(np.full((32, *shape), 1e3, np.float32))  # what it leaves in memory is not read
    npt.assert_array_equal(network(x), together)
    x[3, 5, 5] = np.nan  # which is no byte
    npt.assert_array_equal(np.isnan(network(x)).all(axis=1), np.arange(32) == 3)


def test_what_cannot_be_done_is_said(monkeypatch, rng):
    model = mobilenet("plain", 0.25, (24, 24, 1))
    with pytest.raises(ConfigError, match="products=int4: choose one of float32, int8"):
        InferenceNetwork(model, (24, 24, 1), products="int4")
    monkeypatch.setattr(inference, "HAS_OCTETS", True)
    layers = Sequential(
        Conv2D(1, 4, rng=rng), BatchNorm(4, activation="relu6"), GlobalAveragePool(), Linear(4, 3, rng=rng)
    )
    with pytest.raises(ConfigError, match="no pointwise convolution of this network"):
        InferenceNetwork(layers, (24, 24, 1), products="int8")
    monkeypatch.setattr(inference, "HAS_OCTETS", False)
    with pytest.raises(ConfigError, match="products=int8: this processor cannot"):
        InferenceNetwork(model, (24, 24, 1), products="int8")
