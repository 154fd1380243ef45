"""The network compiled for inference gives the logits of the network that it was made from."""

import os
import subprocess
import sys

import numpy as np
import pytest

from minifer.errors import ConfigError, DtypeError, ShapeError
from minifer.evaluation import predict
from minifer.inference import InferenceNetwork, fold, ready
from minifer.layers import (
    BatchNorm,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePool,
    GroupNorm,
    Linear,
    MultiHeadSelfAttention,
    PointwiseConv2D,
    ReLU,
    Residual,
    Sequential,
)
from minifer.models import mobilenet

NETWORKS = {
    "plain": ("plain", {"alpha": 0.25}),
    "skip": ("skip", {"alpha": 0.5}),
    "stride 1": ("skip", {"alpha": 0.25, "stem_stride": 1, "dropout": 0.5}),
    "linear": ("skip", {"alpha": 0.25, "linear": True}),
    "odd size": ("skip", {"alpha": 0.25, "input_shape": (35, 27, 3)}),
    "attention": ("mha", {"alpha": 0.25, "attention_blocks": (6, 13), "heads": 2, "head_units": 5}),
    "positions": ("mha", {"alpha": 1.0, "attention_blocks": (12,), "attention_positions": True}),
    "raw tokens": ("mha", {"alpha": 0.25, "attention_blocks": (13,), "attention_normalize": False}),
    "padding 1": ("plain", {"alpha": 1.0, "padding": 1}),
}


def trained(variant, settings, rng):
    """Return a network whose parameters and running statistics are not what they were at the start."""
    net = mobilenet(variant, **settings)
    for parameter in net.parameters().values():
        parameter.value += (0.05 * rng.standard_normal(parameter.value.shape)).astype(np.float32)
    shape = settings.get("input_shape", (48, 48, 1))
    for _ in range(2):
        net.forward(rng.standard_normal((4, *shape)).astype(np.float32), training=True)
    return net, shape


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_the_model(name, rng):
    net, shape = trained(*NETWORKS[name], rng)
    network = InferenceNetwork(net, shape, batch_size=3)
    for count in (1, 3, 7):  # the last in three batches, one of them not full
        images = rng.standard_normal((count, *shape)).astype(np.float32)
        expected = net.forward(images)
        np.testing.assert_allclose(network(images), expected, rtol=2e-4, atol=2e-5 * np.abs(expected).max())


def test_a_picture_does_not_depend_on_its_neighbours_or_on_earlier_calls(rng):
    net, shape = trained("skip", {"alpha": 0.25}, rng)
    network = InferenceNetwork(net, shape)
    images = rng.standard_normal((9, *shape)).astype(np.float32)
    together = network(images)
    network(np.full((5, *shape), 1e6, np.float32))
    np.testing.assert_allclose(network(images[4:5]), together[4:5], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("count", range(1, 14))
def test_any_number_of_pictures(count, rng):
    """Few rows, few columns: no two tasks of a product may write to one place."""
    net, shape = trained("skip", {"alpha": 0.125}, rng)
    network = InferenceNetwork(net, shape)
    images = rng.standard_normal((count, *shape)).astype(np.float32)
    expected = net.forward(images)
    for _ in range(30):
        np.testing.assert_allclose(network(images), expected, rtol=2e-4, atol=2e-5 * np.abs(expected).max())


def test_of_no_pictures_there_are_no_logits():
    network = InferenceNetwork(mobilenet("plain", 0.25), (48, 48, 1))
    assert network(np.zeros((0, 48, 48, 1), np.float32)).shape == (0, 7)


def test_predictions_of_pictures_with_frames():
    images, frames = np.zeros((3, 48, 48), np.uint8), np.tile(np.eye(2, 3), (3, 1, 1))
    network = InferenceNetwork(mobilenet("plain", 0.25, (40, 40, 1)), (40, 40, 1))
    assert predict(network, images, frames).shape == (3, 7)
    assert predict(network, images[:0], frames[:0]).shape == (0, 7)
    with pytest.raises(ShapeError, match="3 pictures have frames"):
        predict(network, images, frames[:2])
    with pytest.raises(ConfigError, match="batch_size=-1"):
        predict(network, images, frames, batch_size=-1)


def test_fold_by_hand():
    norm = BatchNorm(1, eps=0.0)
    norm.gamma.value[:], norm.beta.value[:] = 3, 1
    norm.running_mean.value[:], norm.running_var.value[:] = 2, 4
    weight, bias = fold(np.array([[10.0]]), norm)  # 3 * (10 x - 2) / 2 + 1
    assert weight.item() == 15 and bias.item() == -2


def test_errors(rng):
    network = InferenceNetwork(mobilenet("plain", 0.25), (48, 48, 1))
    with pytest.raises(ShapeError, match="made for pictures of"):
        network(np.zeros((1, 40, 48, 1), np.float32))
    conv = Conv2D(1, 2, rng=rng)
    for layers in ((conv, ReLU()), (conv,), (conv, BatchNorm(2), Conv2D(2, 2, rng=rng), BatchNorm(2)), (ReLU(),)):
        with pytest.raises(ConfigError, match="inference"):
            InferenceNetwork(Sequential(*layers), (4, 4, 1))
    with pytest.raises(ConfigError, match="batch_size=0"):
        InferenceNetwork(mobilenet("plain", 0.25), (48, 48, 1), batch_size=0)


def test_without_the_compiler():
    code = (
        "import numpy as np\n"
        "from minifer.inference import InferenceNetwork\n"
        "from minifer.models import mobilenet\n"
        "net = mobilenet('mha', 0.125, (6, 5, 1), attention_blocks=(3,), heads=1, head_units=2,\n"
        "                blocks=((8, 1), (16, 2), (16, 1)))\n"
        "x = np.random.default_rng(0).standard_normal((2, 6, 5, 1)).astype(np.float32)\n"
        "net['classifier'].weight.value += 0.1\n"
        "np.testing.assert_allclose(InferenceNetwork(net, (6, 5, 1))(x), net.forward(x), rtol=1e-4, atol=1e-6)\n"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, check=True)


def test_pictures_in_whole_numbers_are_no_input():
    """They would be read as numbers up to 255, and the answer would be another one without a word."""
    network = InferenceNetwork(mobilenet("skip", alpha=1 / 16), (48, 48, 1))
    with pytest.raises(DtypeError, match="to_float"):
        network(np.zeros((1, 48, 48, 1), np.uint8))


def point(rng, channels=8, filters=8):
    """A pointwise convolution and its normalization."""
    return PointwiseConv2D(channels, filters, rng=rng), BatchNorm(filters)


def attention(rng, **settings):
    return MultiHeadSelfAttention(8, 2, 4, rng=rng, **settings)


# Layers between a stem of 8 channels on a map of 6x6 and the classifier.
KNOWN = {
    "a Dropout ends a Residual": lambda rng: [Residual(*point(rng), Dropout(0.1, rng=rng))],
    "a Sequential in a Residual": lambda rng: [Residual(Sequential(*point(rng)))],
    "a convolution and its norm apart": lambda rng: [Sequential(point(rng)[0]), Sequential(BatchNorm(8))],
    "attention's norm with an activation": lambda rng: [attention(rng, output_norm=BatchNorm(8, activation="relu"))],
}
UNKNOWN = {
    "attention in a Residual": lambda rng: [Residual(attention(rng, residual=False))],
    "a Residual in a Residual": lambda rng: [Residual(Residual(*point(rng)))],
    "a depthwise convolution ends a Residual": lambda rng: [Residual(DepthwiseConv2D(8, rng=rng), BatchNorm(8))],
    "nothing in a Residual": lambda rng: [Residual(Dropout(0.1, rng=rng))],
    "attention's norm over groups": lambda rng: [attention(rng, output_norm=GroupNorm(8, 2))],
}
WRONG = {
    "too few channels": lambda rng: [*point(rng, 4, 8)],
    "a norm of other channels": lambda rng: [PointwiseConv2D(8, 8, rng=rng), BatchNorm(1)],
    "a shortcut of other channels": lambda rng: [Residual(*point(rng, 8, 4))],
    "positions of another map": lambda rng: [attention(rng, positions=(3, 3))],
    "pooled before": lambda rng: [GlobalAveragePool(), *point(rng)],
}


def around(layers, rng):
    """Return a network of layers, its weights and statistics as if trained."""
    stem = [Conv2D(1, 8, rng=rng), BatchNorm(8, activation="relu6")]
    net = Sequential(*stem, *layers, GlobalAveragePool(), Linear(8, 3, rng=rng))
    net.load_state({path: array + rng.uniform(0, 0.5, array.shape) for path, array in net.state().items()})
    return net


def assert_answers_as(net, network, rng, shape=(6, 6, 1)):
    x = rng.standard_normal((5, *shape)).astype(np.float32)
    np.testing.assert_allclose(network(x), net.forward(x), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", KNOWN)
def test_layers_put_together_in_another_way(name, rng):
    net = around(KNOWN[name](rng), rng)
    assert_answers_as(net, InferenceNetwork(net, (6, 6, 1)), rng)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_it_has_no_step_for_goes_through_the_layers(name, rng):
    net, notices = around(UNKNOWN[name](rng), rng), []
    assert_answers_as(net, ready(net, (6, 6, 1), notices.append), rng)
    assert len(notices) == 1 and notices[0].startswith("inference ")


@pytest.mark.parametrize("name", WRONG)
def test_layers_that_do_not_fit_are_refused_as_the_model_does(name, rng):
    net = around(WRONG[name](rng), rng)
    with pytest.raises((ConfigError, ShapeError)):
        net.forward(np.zeros((1, 6, 6, 1), np.float32))
    with pytest.raises(ConfigError):
        InferenceNetwork(net, (6, 6, 1))


def test_pictures_are_read_by_a_convolution_only(rng):
    first = {
        "pointwise": [*point(rng, 1)],
        "depthwise": [DepthwiseConv2D(1, rng=rng), BatchNorm(1), *point(rng, 1)],
        "a shortcut": [Residual(*point(rng, 1, 1)), *point(rng, 1)],
        "pooling": [GlobalAveragePool(), Linear(1, 8, rng=rng)],
    }
    for layers in first.values():
        end = [] if isinstance(layers[-1], Linear) else [GlobalAveragePool()]
        net = Sequential(*layers, *end, Linear(8, 3, rng=rng))
        with pytest.raises(ConfigError, match="reads pictures by a Conv2D only"):
            InferenceNetwork(net, (6, 6, 1))
        assert_answers_as(net, ready(net, (6, 6, 1)), rng)
    with pytest.raises(ConfigError, match="this network in a map"):
        InferenceNetwork(Sequential(Conv2D(1, 8, rng=rng), BatchNorm(8)), (6, 6, 1))
    with pytest.raises(ConfigError, match="made for 1 channels, inference hands it 3"):
        InferenceNetwork(around([], rng), (6, 6, 3))
