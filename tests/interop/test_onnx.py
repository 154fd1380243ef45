"""ONNX files say what the network says, of every layer and composition; what has no translation is one line."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from small_runs import run

from minifer import checkpoint, config, layers
from minifer.cases import CASES
from minifer.data import synthetic
from minifer.data.fer2013 import save_npz
from minifer.errors import ConfigError, MiniferError, TrainingError
from minifer.layers import Layer, Parameter, Sequential
from minifer.losses import probabilities
from minifer.models import block_table, mobilenet, mobilenet_v2, mobilenet_v3
from minifer.trained import find_weights, load_weights

onnx = pytest.importorskip("onnx", reason="onnx, which writes the files, is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime, which runs them, is not installed")

from minifer.interop.onnx import MOST_DIFFERENCE, MOST_PROBABILITY, SMALL, compare, export_onnx, to_onnx, trace  # noqa: E402


def lively(model, seed=1):
    """Give every parameter and statistic of a network a value that shows when it is lost."""
    rng = np.random.default_rng(seed)
    for path, array in model.state().items():
        name = path.split(".")[-1]
        if name in ("running_var", "gamma"):
            array[...] = rng.uniform(0.5, 1.5, array.shape)
        elif name in ("beta", "bias", "running_mean", "position"):
            array[...] = rng.normal(0, 0.3, array.shape)
        elif not array.any():  # classifiers and the ends of attention start at 0
            array[...] = rng.normal(0, 0.3, array.shape)
    return model


def agrees(tmp_path, model, shape, **how):
    """Whether the file of a network says what the network says, of 1, 7 and 64 pictures too."""
    result = export_onnx(tmp_path / "net.onnx", lively(model), shape, **how)
    assert result["same"] and result["largest_logit"] > 0.01, result
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, 7, 64):
        pictures = np.random.default_rng(count).integers(0, 256, (count, *shape), np.uint8)
        x = pictures / np.float32(127.5) - 1
        logits, probs = session.run(None, {"pictures": x if how.get("floats") else pictures})
        expected = model.forward(x)
        off = np.abs(logits - expected).max()
        assert logits.shape == expected.shape and off <= MOST_DIFFERENCE * max(SMALL, np.abs(expected).max())
        assert np.abs(probs - probabilities(expected)).max() < MOST_PROBABILITY + off
    return session


MODELS = {
    "plain": (mobilenet("plain", alpha=0.25), (48, 48, 1)),
    "skip, even, linear": (
        mobilenet("skip", alpha=0.25, blocks=block_table("even"), linear=True, stem_stride=1),
        (48, 48, 1),
    ),
    "mha": (mobilenet("mha", alpha=0.25, heads=2, head_units=8, dropout=0.3), (48, 48, 1)),
    "mha everywhere": (
        mobilenet("mha", 0.1, (20, 20, 1), attention_blocks=None, heads=2, head_units=4, attention_positions=True),
        (20, 20, 1),
    ),
    "colour, odd sides": (mobilenet("skip", 0.25, (47, 50, 3), padding=1, bn_eps=1e-5), (47, 50, 3)),
    "v2": (mobilenet_v2(0.35), (48, 48, 1)),
    "v3 small": (mobilenet_v3("small", 0.35), (48, 48, 1)),
    "v3 large": (mobilenet_v3("large", 0.35, (33, 33, 3)), (33, 33, 3)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_models(tmp_path, name):
    model, shape = MODELS[name]
    agrees(tmp_path, model, shape)
    assert (tmp_path / "net.onnx").stat().st_size < 4 * sum(a.size for a in model.state().values()) + 90_000


@pytest.mark.parametrize("name", ["best", "small"])
def test_what_ships(tmp_path, name):
    model, meta = load_weights(find_weights(name))
    result = export_onnx(tmp_path / "net.onnx", model, (48, 48, 1), {"classes": meta["classes"]})
    assert result["same"]
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list(meta["classes"])


@pytest.mark.parametrize("case", [case.name for case in CASES])
def test_every_layer_in_front_of_a_dense_one(tmp_path, case):
    """Every layer of the table of cases that takes one map."""
    case = next(each for each in CASES if each.name == case)
    rng = np.random.default_rng(0)
    inputs = case.inputs(rng)
    if len(inputs) != 1 or inputs[0].ndim != 4:
        pytest.skip("not a layer of one map")
    layer = case.make(rng)
    shape = inputs[0].shape[1:]
    y = layer.forward(inputs[0].astype(np.float32))
    if y.ndim == 4:
        net = Sequential(layer, layers.Flatten(), layers.Linear(int(np.prod(y.shape[1:])), 5, rng=rng))
    elif y.ndim == 2:
        net = Sequential(layer, layers.Linear(y.shape[1], 5, rng=rng))
    else:
        pytest.skip("not a map and not a row")
    agrees(tmp_path, net, shape)


class Scale(Layer):
    """A leaf of one's own: a number for each channel, and a curve."""

    def __init__(self, channels):
        self.scale = Parameter(np.linspace(0.5, 1.5, channels).astype(np.float32))

    def forward(self, x, training=False):
        x = self.check_input(x, "NHWC")
        return np.maximum(x * self.scale.value, 0) / (1 + np.exp(-x))


class Fork(Layer):
    """A composition of one's own: two ways that are joined, and their mean added."""

    def __init__(self, rng):
        self.left, self.right = layers.Conv2D(3, 4, rng=rng), layers.PointwiseConv2D(3, 4, rng=rng)
        self.pool = layers.MaxPool2D(2)

    def forward(self, x, training=False):
        left, right = self.left(x), self.right(x)
        both = np.concatenate([left, right], axis=-1)
        rows = both.reshape(-1, 8) - 0.25
        both = both + rows.reshape(both.shape) * both.mean(axis=(1, 2))[:, np.newaxis, np.newaxis]
        return self.pool(np.clip(both, -1, 2))


class Sorts(Layer):
    """Something that ONNX's translation does not know."""

    def forward(self, x, training=False):
        return np.sort(x, axis=-1)


def test_layers_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    net = Sequential(
        Fork(rng),
        Scale(8),
        layers.GroupNorm(8, 4),
        layers.GELU(),
        layers.Flatten(),
        layers.Linear(5 * 4 * 8, 6, rng=rng),
    )
    agrees(tmp_path, net, (10, 8, 3))
    agrees(tmp_path, net, (10, 8, 3), floats=True)


def test_what_has_no_translation_is_named(tmp_path):
    net = Sequential(stem=layers.Conv2D(1, 4, rng=np.random.default_rng(0)), sorts=Sorts(), flat=layers.Flatten())
    with pytest.raises(ConfigError, match=r"^sorts \(Sorts\) has no translation to ONNX: "):
        export_onnx(tmp_path / "net.onnx", net, (8, 8, 1))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="logits are"):
        export_onnx(tmp_path / "net.onnx", Sequential(layers.ReLU()), (8, 8, 1))


def test_what_hangs_on_the_number_of_pictures_is_refused():
    class Odd(Layer):
        def forward(self, x, training=False):
            return x * np.float32(len(x))

    net = Sequential(layers.Conv2D(1, 4, rng=np.random.default_rng(0)), Odd(), layers.Flatten())
    with pytest.raises(ConfigError, match="something else for other pictures, or for more of them"):
        to_onnx(net, (6, 5, 1))


def test_ordinary_ways_of_writing_are_followed(tmp_path):
    class Ordinary(Layer):
        def __init__(self):
            self.attention = layers.ScaledDotProductAttention()

        def forward(self, x, training=False):
            e = np.exp(x - x.max(-1, keepdims=True))
            y = np.clip(x.copy() * 2, 0, None) + np.transpose(x, (0, 2, 1, -1)).astype(np.float32)
            buffer = np.full(8, 2, np.float32)
            y = y * buffer
            buffer[:] = 5
            return self.attention(x, y, e) + buffer

    rng = np.random.default_rng(0)
    net = Sequential(layers.Conv2D(1, 8, rng=rng), Ordinary(), layers.Flatten(), layers.Linear(8 * 8 * 8, 4, rng=rng))
    agrees(tmp_path, net, (8, 8, 1))


def test_a_dense_layer_of_ones_own_is_followed(tmp_path):
    """As every course writes it first, in each of NumPy's ways; and layers that are called by the names of inputs."""

    class Dense(Layer):
        def __init__(self, channels, filters, product, rng):
            self.weight = Parameter(rng.normal(0, 0.5, (channels, filters)).astype(np.float32))
            self.bias, self.product = Parameter(np.zeros(filters, np.float32)), product

        def forward(self, x, training=False):
            return self.product(x, self.weight.value) + self.bias.value

    class Named(Layer):
        def __init__(self, rng):
            self.conv, self.attention = layers.Conv2D(1, 4, rng=rng), layers.ScaledDotProductAttention()

        def forward(self, x, training=False):
            x = self.conv.forward(x=x, training=training)
            return self.attention.forward(value=x, key=2 * x, query=x)

    rng = np.random.default_rng(0)
    net = Sequential(
        Named(rng),
        Dense(4, 6, np.matmul, rng),
        layers.GlobalAveragePool(),
        Dense(6, 6, lambda x, w: x.dot(w), rng),
        layers.ReLU(),
        Dense(6, 5, np.dot, rng),
    )
    agrees(tmp_path, net, (6, 5, 1))


def test_an_earlier_file_stays_where_the_answers_differ(tmp_path, monkeypatch):
    net = lively(mobilenet("skip", alpha=0.1))
    export_onnx(tmp_path / "net.onnx", net, (48, 48, 1))
    before = (tmp_path / "net.onnx").read_bytes()
    monkeypatch.setattr(net, "forward", lambda x: 2 * type(net).forward(net, x))  # which a copy does not have
    monkeypatch.setattr(
        "minifer.interop.onnx.trace", lambda model, *how: trace(lively(mobilenet("skip", alpha=0.1)), *how)
    )
    with pytest.raises(MiniferError, match="is not written: it would say something else"):
        export_onnx(tmp_path / "net.onnx", net, (48, 48, 1))
    assert (tmp_path / "net.onnx").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_a_layer_that_writes_into_its_input_is_not_followed(tmp_path):
    class Halves(Layer):
        def forward(self, x, training=False):
            x = x * 1
            x *= 0.5
            return x

    net = Sequential(layers.Conv2D(1, 4, rng=np.random.default_rng(0)), Halves(), layers.Flatten())
    with pytest.raises(ConfigError, match=r"Halves\) has no translation"):
        export_onnx(tmp_path / "net.onnx", net, (8, 8, 1))


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: x / x.sum(),  # a number made of the pictures is no constant
        lambda x: x - x[:, :1, :1],
        lambda x: x + np.arange(len(x), dtype=np.float32)[:, None, None, None],  # of how many they are
        lambda x: np.where(x > 0, x, x * np.float32(0.1)),
        lambda x: x * (x > 0),
        lambda x: x[::-1],
        lambda x: x - x.mean(),
        lambda x: np.transpose(x, (3, 1, 2, 0)),
        lambda x: np.cumsum(x, axis=-1),
        lambda x: np.add(x, 1, out=x),
        lambda x: x * 2 if x.mean() > 0 else x,
        lambda x: x * float(x.max()),
        lambda x: x / (1 + np.abs(x).max()),
        lambda x: x[:, ::-1],
        lambda x: x[..., [3, 2, 1, 0]],
        lambda x: x - x.mean(axis=0),
        lambda x: np.maximum(x, np.zeros_like(x)),
        lambda x: x * np.sign(x),
        lambda x: np.eye(5, dtype=np.float32) @ x,
        lambda x: x @ x.reshape(-1, 6, 4, 5),
        lambda x: x.dot(np.ones(4, np.float32)),
        lambda x: np.dot(np.ones((4, 5), np.float32), x),
    ],
)
def test_what_hangs_on_the_pictures_in_an_unknown_way_is_never_a_constant(compute):
    class Odd(Layer):
        def forward(self, x, training=False):
            return compute(x)

    rng = np.random.default_rng(0)
    net = Sequential(layers.Conv2D(1, 4, rng=rng), odd=Odd(), flat=layers.Flatten())
    with pytest.raises(ConfigError, match=r"odd \(Odd\) has no translation"):
        to_onnx(net, (6, 5, 1))


def test_the_network_stays_as_it_was_and_the_bytes_are_the_same_twice():
    net = mobilenet("mha", alpha=0.1, heads=2, head_units=4)
    before = {path: array.copy() for path, array in net.state().items()}
    first, second = (to_onnx(net, (48, 48, 1), {"classes": list("abcdefg")}) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert all((before[path] == array).all() for path, array in net.state().items())
    assert "forward" not in vars(net["stem"])
    assert [each.version for each in first.opset_import] == [17] and first.ir_version == 8


def test_a_file_of_another_network_is_told_apart(tmp_path):
    one, other = (lively(mobilenet("skip", alpha=0.1), seed) for seed in (1, 2))
    assert export_onnx(tmp_path / "net.onnx", one, (48, 48, 1))["same"]
    assert not compare(tmp_path / "net.onnx", other, (48, 48, 1))["same"]


def test_without_a_runtime_the_reference_compares(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    net = lively(mobilenet("skip", alpha=1 / 16, input_shape=(16, 16, 1)))
    result = export_onnx(tmp_path / "net.onnx", net, (16, 16, 1))
    assert result["same"] and result["by"].startswith("onnx.reference")


def test_the_command(capsys, tmp_path):
    code, out, _ = run(capsys, "export", "small", "--to", tmp_path / "out" / "small.onnx", "--json")
    result = json.loads(out)
    assert code == 0 and result["same"] and result["bytes"] == (tmp_path / "out" / "small.onnx").stat().st_size
    code, out, _ = run(capsys, "export", "small", "--to", tmp_path / "float.onnx", "--input", "float")
    assert code == 0 and "probabilities differ by" in out
    code, _, err = run(capsys, "export", "small", "--to", tmp_path / "small.pt")
    assert code == 2 and "its suffix says what to write: take .onnx" in err


def test_eight_bits(capsys, tmp_path):
    """ONNX Runtime's quantizer takes what is exported: a quarter of the size, mostly the same answers."""
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "quantize_onnx.py"))
    save_npz(tmp_path / "faces.npz", synthetic.load(seed=1, train=30, val=20))
    example["main"]("small", tmp_path / "faces.npz")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["float32", "int8"]
    assert 2.5 * float(lines[1].split()[-2]) < float(lines[0].split()[-2])
    assert float(lines[2].split()[4].rstrip("%")) > 50
    # Of other classes it would count right answers that are none.
    settings = config.to_dict(config.TrainConfig(model="plain", alpha=1 / 16))
    description = {"config": settings, "classes": ["sad", "happy"], "image_shape": [48, 48]}
    checkpoint.save(tmp_path / "two.npz", mobilenet("plain", alpha=1 / 16, classes=2).state(), description)
    with pytest.raises(TrainingError, match=r"two\.npz was trained for the classes sad, happy, the data has angry"):
        example["main"](tmp_path / "two.npz", tmp_path / "faces.npz")
