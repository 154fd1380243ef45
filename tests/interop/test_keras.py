"""Keras' MobileNet weights: the same features as Keras, grey as colour, and one clear line for every wrong file."""

import os
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from minifer.data.dataset import to_float
from minifer.errors import CheckpointError, ConfigError, MiniferError
from minifer.evaluation import predict
from minifer.interop.keras import load_keras_mobilenet, save_keras_mobilenet
from minifer.layers import BatchNorm
from minifer.models import BLOCKS, mobilenet

h5py = pytest.importorskip("h5py", reason="h5py, which reads Keras' files, is not installed")


def random_layers(alpha, rng, top=False):
    """Return {layer: {array: values}} of a Keras MobileNet, drawn so that signals neither fade nor blow up."""
    layers = {}

    def norm(name, filters):
        layers[name] = {
            "gamma": rng.uniform(0.5, 1.5, filters),
            "beta": rng.normal(0.3, 0.5, filters),
            "moving_mean": rng.normal(0, 0.3, filters),
            "moving_variance": rng.uniform(0.5, 2, filters),
        }

    def kernel(*shape, fan_in):
        return rng.normal(0, (2 / fan_in) ** 0.5, shape)

    filters = int(32 * alpha)
    layers["conv1"] = {"kernel": kernel(3, 3, 3, filters, fan_in=27)}
    norm("conv1_bn", filters)
    for number, (wide, _) in enumerate(BLOCKS, start=1):
        channels, filters = filters, int(wide * alpha)
        layers[f"conv_dw_{number}"] = {"depthwise_kernel": kernel(3, 3, channels, 1, fan_in=9)}
        norm(f"conv_dw_{number}_bn", channels)
        layers[f"conv_pw_{number}"] = {"kernel": kernel(1, 1, channels, filters, fan_in=channels)}
        norm(f"conv_pw_{number}_bn", filters)
    if top:
        layers["conv_preds"] = {"kernel": kernel(1, 1, filters, 1000, fan_in=filters), "bias": np.zeros(1000)}
    return {name: {key: array.astype(np.float32) for key, array in arrays.items()} for name, arrays in layers.items()}


def write(path, layers, group=None):
    """Write layers as TensorFlow's Keras did: names are bytes and end in ":0", layers without weights are there too."""
    with h5py.File(path, "w") as file:
        target = file.create_group(group) if group else file
        names = ["input_1", *layers, "conv1_relu"]
        target.attrs["layer_names"] = [name.encode() for name in names]
        target.attrs["backend"], target.attrs["keras_version"] = b"tensorflow", b"2.0.6"
        for name in names:
            arrays = {f"{name}/{key}:0": array for key, array in layers.get(name, {}).items()}
            layer = target.create_group(name)
            layer.attrs["weight_names"] = [key.encode() for key in arrays]
            for key, array in arrays.items():
                layer.create_dataset(key, data=array)
    return path


def write_nested(path, layers, name="mobilenet_0.25_64", end=":0", parts=1):
    """Write layers as Keras does when the MobileNet is a layer of a Sequential, the list of names in so many parts."""
    with h5py.File(path, "a") as file:
        group = file.require_group("model_weights").create_group(name)
        names = [f"{layer}/{key}{end}" for layer, arrays in layers.items() for key in arrays]
        for part in range(parts):
            attribute = "weight_names" if parts == 1 else f"weight_names{part}"
            group.attrs[attribute] = [key.encode() for key in names[part::parts]]
        for key in names:
            layer, array = key.removesuffix(end).split("/")
            group.create_dataset(key, data=layers[layer][array])
        file["model_weights"].require_group("dense").attrs["weight_names"] = [b"dense/kernel:0"]
    return path


def features(model, x):
    """Return the maps after the last block."""
    for name, layer in model.layers.items():
        if name == "pool":
            return x
        x = layer.forward(x)


def copies(model):
    return {name: array.copy() for name, array in model.state().items()}


@pytest.fixture(scope="module")
def layers():
    return random_layers(0.25, np.random.default_rng(3))


@pytest.fixture
def file(tmp_path, layers):
    return write(tmp_path / "mobilenet_2_5_128_tf_no_top.h5", layers)


def colour(**settings):
    return mobilenet(**{"alpha": 0.25, "input_shape": (64, 64, 3), **settings})


# What goes where.


def test_every_array_finds_its_place(file, layers):
    model = colour()
    assert load_keras_mobilenet(file, model) == ["classifier"]
    state = model.state()
    expected = {"stem.weight": layers["conv1"]["kernel"]}
    norms = {"stem_norm": "conv1_bn"}
    for number in range(1, 14):
        expected[f"block{number}.depthwise.weight"] = layers[f"conv_dw_{number}"]["depthwise_kernel"][:, :, :, 0]
        expected[f"block{number}.pointwise.weight"] = layers[f"conv_pw_{number}"]["kernel"][0, 0]
        norms[f"block{number}.depthwise_norm"] = f"conv_dw_{number}_bn"
        norms[f"block{number}.pointwise_norm"] = f"conv_pw_{number}_bn"
    for mine, theirs in norms.items():
        expected[f"{mine}.gamma"], expected[f"{mine}.beta"] = layers[theirs]["gamma"], layers[theirs]["beta"]
        expected[f"{mine}.running_mean"] = layers[theirs]["moving_mean"]
        expected[f"{mine}.running_var"] = layers[theirs]["moving_variance"]
    assert expected.keys() == state.keys() - {"classifier.weight", "classifier.bias"}
    for path, array in expected.items():
        np.testing.assert_array_equal(state[path], array, err_msg=path)


def test_attention_projections_and_classifier_are_left_alone(file):
    model = colour(variant="mha", attention_blocks=(6, 13), heads=2, head_units=4)
    before = copies(model)
    left = load_keras_mobilenet(file, model)
    strided_or_wider = (1, 2, 4, 6, 12)
    projections = [f"block{number}.projection" for number in strided_or_wider]
    assert sorted(left) == sorted([*projections, "attention6", "attention13", "classifier"])
    for path, array in model.state().items():
        assert np.array_equal(array, before[path]) == path.startswith(tuple(left)), path


def test_top_and_whole_models_are_read_too(tmp_path, layers, file):
    model, again = colour(), colour(seed=1)
    load_keras_mobilenet(file, model)
    with_top = random_layers(0.25, np.random.default_rng(3), top=True)
    assert load_keras_mobilenet(write(tmp_path / "mobilenet_2_5_128_tf.h5", with_top), again) == ["classifier"]
    whole = colour(seed=2)
    load_keras_mobilenet(write(tmp_path / "whole.h5", layers, group="model_weights"), whole)
    for path, array in model.state().items():
        if not path.startswith("classifier"):
            np.testing.assert_array_equal(again.state()[path], array)
            np.testing.assert_array_equal(whole.state()[path], array)


@pytest.mark.parametrize(("end", "parts"), [(":0", 1), ("", 1), (":0", 3)])
def test_a_mobilenet_that_is_a_layer_of_another_model(tmp_path, layers, file, end, parts):
    model, nested = colour(), colour(seed=1)
    load_keras_mobilenet(file, model)
    assert load_keras_mobilenet(write_nested(tmp_path / "a.h5", layers, end=end, parts=parts), nested) == ["classifier"]
    for path, array in model.state().items():
        if not path.startswith("classifier"):
            np.testing.assert_array_equal(nested.state()[path], array)


def test_two_mobilenets_in_one_file(tmp_path, layers):
    for name in ("first", "second"):
        write_nested(tmp_path / "a.h5", layers, name)
    assert "holds two layers conv1" in refused(tmp_path / "a.h5", colour())


def test_grey_is_colour_with_three_equal_channels(file, rng):
    model, grey = colour(), colour(input_shape=(64, 64, 1))
    load_keras_mobilenet(file, model)
    load_keras_mobilenet(file, grey)
    x = to_float(rng.integers(0, 256, (2, 64, 64)).astype(np.uint8))
    ours, theirs = features(grey, x), features(model, np.repeat(x, 3, axis=3))
    assert theirs.std() > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


# Against Keras itself.


@pytest.fixture(scope="module")
def keras(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))  # it writes its settings
        yield pytest.importorskip("keras", reason="Keras with PyTorch, the peer of this test, is not installed")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alpha", "shape", "top"), [(0.25, (96, 96), False), (0.5, (64, 96), False), (0.25, (32, 64), True)]
)
def test_same_features_as_keras(keras, tmp_path, alpha, shape, top):
    rng = np.random.default_rng(4)
    settings = {"alpha": alpha, "input_shape": (*shape, 3), "weights": None, "include_top": top}
    theirs = keras.applications.MobileNet(**settings)
    theirs.load_weights(write(tmp_path / "tensorflow.h5", random_layers(alpha, rng, top)))
    save_weights(theirs, tmp_path / "keras3.h5")

    images = rng.integers(0, 256, (2, *shape, 3)).astype(np.uint8)
    x = np.stack([to_float(images[..., c])[..., 0] for c in range(3)], axis=-1)
    np.testing.assert_allclose(keras.applications.mobilenet.preprocess_input(images.astype(np.float32)), x, atol=1e-6)
    last = keras.Model(theirs.input, theirs.get_layer("conv_pw_13_relu").output)
    expected = np.asarray(last(x).detach())
    assert expected.std() > 0.1

    for file in ("tensorflow.h5", "keras3.h5"):
        ours = mobilenet("plain", alpha=alpha, input_shape=(*shape, 3))
        load_keras_mobilenet(tmp_path / file, ours)
        np.testing.assert_allclose(features(ours, x), expected, atol=5e-5)


def save_weights(model, path):
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)


# Wrong files and wrong models.


def refused(path, model, error=CheckpointError):
    """Load, and return the message: one line, and the model is as before."""
    before = copies(model)
    with pytest.raises(error) as caught:
        load_keras_mobilenet(path, model)
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, before[name])
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_another_width_is_named(file):
    message = refused(file, colour(alpha=0.5))
    assert "has width 0.25 (8 filters in conv1), the model 0.5 (16): build it with alpha=0.25" in message


def test_a_file_that_is_not_there(tmp_path):
    assert "there is no file" in refused(tmp_path / "nothing.h5", colour())


@pytest.mark.parametrize("content", [b"", b"no HDF5 at all" * 99, b"PK\x03\x04"])
def test_not_an_hdf5_file(tmp_path, content):
    (tmp_path / "weights.h5").write_bytes(content)
    assert "download it again" in refused(tmp_path / "weights.h5", colour())


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_file_that_was_cut_short(file, share):
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    assert "download it again" in refused(file, colour())


def test_not_a_mobilenet(tmp_path):
    write(tmp_path / "vgg.h5", {"block1_conv1": {"kernel": np.zeros((3, 3, 3, 64), np.float32)}})
    assert "is no MobileNet" in refused(tmp_path / "vgg.h5", colour())
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    assert "it has nothing" in refused(tmp_path / "empty.h5", colour())
    with h5py.File(tmp_path / "model.weights.h5", "w") as new:
        new.create_group("layers/conv2d/vars")
    assert "is no MobileNet of Keras" in refused(tmp_path / "model.weights.h5", colour())


def damaged(layers, layer, array, value):
    """Return layers with one array replaced, or removed for None; the whole layer for array None."""
    layers = {name: dict(arrays) for name, arrays in layers.items()}
    if array is None:
        del layers[layer]
    elif value is None:
        del layers[layer][array]
    else:
        layers[layer][array] = value
    return layers


@pytest.mark.parametrize(
    ("layer", "array", "value", "message"),
    [
        ("conv_pw_7", None, None, "has no layer 'conv_pw_7'"),
        ("conv_dw_13_bn", "moving_variance", None, "has no 'moving_variance' in layer 'conv_dw_13_bn'"),
        ("conv_dw_3", "depthwise_kernel", np.zeros((3, 3, 32, 2), np.float32), "has shape (3, 3, 32, 2)"),
        ("conv_pw_2_bn", "beta", np.full(32, np.nan, np.float32), "is not finite"),
        ("conv_pw_2_bn", "beta", np.zeros(32, "S4"), "is no plain array of numbers"),
        ("conv_pw_2_bn", "beta", np.full(32, 1e300), "is not finite"),
        ("conv_pw_2_bn", "moving_variance", np.full(32, -1.0), "a variance below 0"),
    ],
)
def test_a_layer_that_is_missing_or_wrong(tmp_path, layers, layer, array, value, message):
    path = write(tmp_path / "weights.h5", damaged(layers, layer, array, value))
    assert message in refused(path, colour())


@pytest.mark.parametrize("kind", ["link", "storage", "virtual", "group"])
def test_a_file_that_points_into_others(tmp_path, file, layers, kind):
    other = write(tmp_path / "other.h5", layers)
    with h5py.File(file, "r+") as open_file:
        layer = open_file["conv1_bn"]
        del layer["conv1_bn/gamma:0"]
        if kind == "link":
            layer["conv1_bn/gamma:0"] = h5py.ExternalLink(other.name, "conv1_bn/conv1_bn/gamma:0")
        elif kind == "storage":
            layer.create_dataset("conv1_bn/gamma:0", (8,), "f4", external=[(other.name, 0, 32)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((8,), "f4")
            layout[:] = h5py.VirtualSource(other.name, "conv1_bn/conv1_bn/gamma:0", (8,))
            layer.create_virtual_dataset("conv1_bn/gamma:0", layout)
        else:
            layer.create_group("conv1_bn/gamma:0")
    assert "is no plain array of numbers" in refused(file, colour())


@pytest.mark.parametrize("kind", ["external", "soft", "loop", "itself"])
def test_links_instead_of_layers(tmp_path, file, layers, kind):
    other = write(tmp_path / "other.h5", layers)
    with h5py.File(file, "r+") as open_file:
        for name in ("model_weights", "conv1") if kind == "itself" else ("conv1",):
            if name in open_file:
                del open_file[name]
            open_file[name] = {
                "external": h5py.ExternalLink(other.name, "conv1"), "soft": h5py.SoftLink("/conv_pw_1"),
                "loop": h5py.SoftLink("/conv1"), "itself": open_file["/"],
            }[kind]  # fmt: skip
    assert "is no MobileNet" in refused(file, colour())


def test_headers_that_ask_for_memory(tmp_path, file):
    tracemalloc.start()
    with h5py.File(file, "r+") as open_file:
        layer = open_file["conv1_bn"]
        del layer["conv1_bn/gamma:0"]
        layer.create_dataset("conv1_bn/gamma:0", (1 << 40,), "f4", chunks=(8,))[:8] = 1
    assert "has shape (1099511627776,), this model needs (8,)" in refused(file, colour())
    with h5py.File(file, "r+") as open_file:
        del open_file["conv1_bn/conv1_bn/gamma:0"]
        open_file["conv1_bn"].create_dataset("conv1_bn/gamma:0", (8,), "f4")  # of the right shape, and nowhere
    assert "gamma:0 is no plain array of numbers" in refused(file, colour())
    with h5py.File(file, "r+") as open_file:
        open_file["conv1_relu"].attrs.create("weight_names", np.zeros((60_000,), "S1"))
    assert "/conv1_relu has no list of the names" in refused(file, colour())
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    for path in (tmp_path, tmp_path / "pipe.h5"):
        assert "there is no file" in refused(path, colour())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"padding": 1}, "padding=1"),
        ({"bn_eps": 1e-5}, "bn_eps=1e-05"),
        ({"input_shape": (64, 64, 2)}, "2 channels"),
    ],
)
def test_models_in_which_the_weights_would_mean_something_else(file, settings, message):
    assert message in refused(file, colour(**settings), ConfigError)


def test_not_a_model(file):
    with pytest.raises(ConfigError, match="not a BatchNorm"):
        load_keras_mobilenet(file, BatchNorm(8))


def test_without_h5py(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "pip install h5py" in refused(file, colour(), MiniferError)


def test_a_training_can_start_from_the_file(file):
    from minifer.trained import start_from

    filled, started = (mobilenet("skip", alpha=0.25, seed=1) for _ in range(2))
    load_keras_mobilenet(file, filled)
    start_from(started, file)
    for name, array in filled.state().items():
        np.testing.assert_array_equal(started.state()[name], array)


# Keras 3: files/mobilenet.keras and what it says of files/mobilenet.npz's pictures were written by Keras 3.15.

FILES = Path(__file__).parent / "files"


def keras_3(**changes):
    return mobilenet(**{"variant": "plain", "alpha": 1 / 16, "input_shape": (64, 64, 3), **changes})


@pytest.fixture
def weights_h5(tmp_path):
    with zipfile.ZipFile(FILES / "mobilenet.keras") as file:
        (tmp_path / "mobilenet.weights.h5").write_bytes(file.read("model.weights.h5"))
    return tmp_path / "mobilenet.weights.h5"


@pytest.mark.parametrize("packed", [True, False], ids=[".keras", ".weights.h5"])
def test_probabilities_are_those_of_keras_3(weights_h5, packed):
    known, model = np.load(FILES / "mobilenet.npz"), keras_3()
    assert load_keras_mobilenet(FILES / "mobilenet.keras" if packed else weights_h5, model, classifier=True) == []
    found = predict(model, known["pictures"])
    assert np.abs(found - known["probabilities"]).max() < 1e-6
    assert np.ptp(known["probabilities"], axis=0).max() > 0.05  # they tell the pictures apart


def test_a_mobilenet_that_is_a_layer_of_another_model_of_keras_3(tmp_path, weights_h5):
    """As Sequential([MobileNet(include_top=False), ..., Dense(3)]).save_weights of Keras 3.15 writes it."""
    alone, nested = keras_3(), keras_3(seed=1)
    load_keras_mobilenet(weights_h5, alone)
    with h5py.File(weights_h5) as whole, h5py.File(tmp_path / "net.weights.h5", "w") as file:
        whole.copy("layers", file.create_group("layers/functional"))
        file.create_group("layers/dense/vars").attrs["name"] = "dense"
        file["layers/dense/vars/0"] = np.zeros((64, 3), np.float32)
    assert load_keras_mobilenet(tmp_path / "net.weights.h5", nested) == ["classifier"]
    assert all((array == nested.state()[path]).all() for path, array in alone.state().items())
    with h5py.File(tmp_path / "net.weights.h5", "a") as file:
        file.copy("layers/functional", "layers/functional_1")
    assert "holds two layers conv1" in refused(tmp_path / "net.weights.h5", nested)


def test_a_model_that_holds_itself_comes_to_an_end(tmp_path):
    with h5py.File(tmp_path / "net.weights.h5", "w") as file:
        layer = file.create_group("layers/a")
        layer["layers"] = file["layers"]
    assert "is no MobileNet of Keras" in refused(tmp_path / "net.weights.h5", keras_3())


def test_without_being_asked_the_classifier_is_left_alone(weights_h5):
    model = keras_3(variant="skip", classes=3)
    left = load_keras_mobilenet(weights_h5, model)
    assert left[-1] == "classifier" and not model["classifier"].weight.value.any()
    with pytest.raises(CheckpointError, match=r"layers/conv2d_14/vars/0 has shape \(1, 1, 64, 7\), this model needs"):
        load_keras_mobilenet(weights_h5, model, classifier=True)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_comes_back(tmp_path, rng, channels):
    """tests by hand: Keras 3.15 loads the file, and its probabilities differ from these by 3e-8."""
    model, other = keras_3(input_shape=(64, 64, channels)), keras_3(input_shape=(64, 64, channels), seed=1)
    for array in model.state().values():
        array[...] = rng.uniform(0.5, 1.5, array.shape)
    save_keras_mobilenet(tmp_path / "net.weights.h5", model)
    assert load_keras_mobilenet(tmp_path / "net.weights.h5", other, classifier=True) == []
    assert all((array == other.state()[path]).all() for path, array in model.state().items())
    first = (tmp_path / "net.weights.h5").read_bytes()
    save_keras_mobilenet(tmp_path / "net.weights.h5", model)
    assert (tmp_path / "net.weights.h5").read_bytes() == first


def test_only_a_plain_network_is_written(tmp_path):
    with pytest.raises(ConfigError, match=r"Keras' MobileNet has no block1\.projection\.\w+: write \.onnx"):
        save_keras_mobilenet(tmp_path / "net.weights.h5", keras_3(variant="skip"))
    with pytest.raises(ConfigError, match="padding=1"):
        save_keras_mobilenet(tmp_path / "net.weights.h5", keras_3(padding=1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"stem_stride": 1}, "Keras' MobileNet has stem with stride 2, this network 1: write .onnx"),
        ({"blocks": BLOCKS[:4]}, "block5.depthwise with stride 1, this network no such layer"),
        ({"blocks": (*BLOCKS, (1024, 1))}, "Keras' MobileNet has no block14.depthwise: write .onnx"),
    ],
)
def test_a_network_that_keras_would_build_otherwise_is_not_written(tmp_path, how, message):
    """Its weights have names and shapes of Keras', which would load them and answer otherwise without a word."""
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        save_keras_mobilenet(tmp_path / "net.weights.h5", keras_3(**how))
    assert list(tmp_path.iterdir()) == []


def test_a_zip_without_weights(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as file:
        file.writestr("config.json", "{}")
    with pytest.raises(CheckpointError, match=r"net\.keras is no \.keras file of Keras 3"):
        load_keras_mobilenet(tmp_path / "net.keras", keras_3())


def test_damage_of_keras_3s_files_is_one_line(weights_h5):
    """Files with changed bytes or an end that is missing: an error of ours, or other numbers."""
    rng, content, model = np.random.default_rng(0), weights_h5.read_bytes(), keras_3()
    for _ in range(120):
        changed = bytearray(content[: rng.integers(1, len(content))] if rng.random() < 0.2 else content)
        for _ in range(rng.integers(1, 5)):
            most = min(len(changed), 4096 if rng.random() < 0.5 else len(changed))  # the headers as often as the rest
            changed[rng.integers(0, most)] = rng.integers(0, 256)
        weights_h5.write_bytes(changed)
        try:
            load_keras_mobilenet(weights_h5, model, classifier=True)
        except CheckpointError as error:
            assert "\n" not in str(error)
