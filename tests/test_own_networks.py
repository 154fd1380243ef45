"""Networks of one's own in MobileNet's place: trained, resumed, evaluated, used; and no file chooses the code."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from small_runs import TINY, Silent, assert_same, everything, run

from minifer import Recognizer, checkpoint, config
from minifer.commands.train import work_of
from minifer.data import synthetic
from minifer.data.fer2013 import save_npz
from minifer.errors import CheckpointError, ConfigError, LayerError
from minifer.evaluation import predict
from minifer.layers import (
    Conv2D,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool2D,
    MultiHeadSelfAttention,
    Parameter,
    ReLU,
    Sequential,
)
from minifer.losses import SoftmaxCrossEntropy
from minifer.models import mobilenet
from minifer.networks import build_own, freeze_body, own_name
from minifer.trained import load_weights
from minifer.training import Training, first_bad_layer, fit

NETS = """
from minifer.layers import Conv2D, Flatten, GlobalAveragePool, Layer, Linear, MaxPool2D, ReLU, Sequential

print("imported")


class Doubled(Linear):
    def forward(self, x, training=False):
        return 2 * super().forward(x, training=training)

    def backward(self, dy):
        return super().backward(2 * dy)

    def multiply_adds(self, input_shape):
        return self.weight.value.size


def net(input_shape, classes, rng):
    channels = input_shape[2]
    return Sequential(
        conv=Conv2D(channels, 4, 3, stride=2, rng=rng), relu=ReLU(), pool=GlobalAveragePool(),
        classifier=Doubled(4, classes, rng=rng),
    )


def wider(input_shape, classes, rng):
    return Sequential(pool=GlobalAveragePool(), classifier=Linear(input_shape[2], classes, rng=rng))


def no_layer(input_shape, classes, rng):
    return [Linear(3, classes, rng=rng)]


def breaks(input_shape, classes, rng):
    return Linear(input_shape["channels"], classes, rng=rng)


class Leaves(Doubled):
    def backward(self, dy):
        raise SystemExit(0)


def leaves(input_shape, classes, rng):
    return Sequential(pool=GlobalAveragePool(), classifier=Leaves(input_shape[2], classes, rng=rng))


class Half(Layer):
    def forward(self, x, training=False):
        return 0.5 * x


class Nothing(Half):
    def backward(self, dy):
        0.5 * dy


def half(input_shape, classes, rng, middle=Half):
    flat = Sequential(GlobalAveragePool(), Linear(input_shape[2], 3, rng=rng))
    return Sequential(flat=flat, middle=middle(), classifier=Linear(3, classes, rng=rng))


def nothing(input_shape, classes, rng):
    return half(input_shape, classes, rng, Nothing)
"""


def ten(input_shape, classes, rng):
    return Sequential(pool=GlobalAveragePool(), classifier=Linear(input_shape[2], 10, rng=rng))


def too_wide(input_shape, classes, rng):
    return Sequential(pool=GlobalAveragePool(), hidden=Sequential(dense=Linear(3, classes, rng=rng)))


def indexes(input_shape, classes, rng):
    class Odd(Linear):
        def forward(self, x, training=False):
            return x[:, 5]

    return Sequential(pool=GlobalAveragePool(), odd=Odd(1, classes, rng=rng))


def exits(input_shape, classes, rng):
    class Odd(Linear):
        def forward(self, x, training=False):
            raise SystemExit

    return Sequential(pool=GlobalAveragePool(), odd=Odd(1, classes, rng=rng))


def small(input_shape, classes, rng):
    """Return a network with everything that a run carries: dropout's generator, an average, two convolutions."""
    height, width, channels = input_shape
    return Sequential(
        conv=Conv2D(channels, 3, 3, stride=2, rng=rng), relu=ReLU(), pool=MaxPool2D(4), flat=Flatten(),
        dropout=Dropout(0.3, rng=np.random.default_rng(1)),
        classifier=Linear(height // 8 * (width // 8) * 3, classes, rng=rng),
    )  # fmt: skip


def pooled(input_shape, classes, rng):
    return Sequential(pool=GlobalAveragePool(), classifier=Linear(input_shape[2], classes, rng=rng))


@pytest.fixture(scope="module")
def faces():
    return synthetic.load(seed=3, train=53, val=30)


@pytest.fixture
def folder(tmp_path, monkeypatch, faces):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    save_npz("faces.npz", faces)
    return tmp_path


def test_fit_takes_a_function_and_resumes_in_the_same_bits(faces, tmp_path):
    whole = Training(TINY, faces["train"], faces["val"], small)
    whole.run(Silent(tmp_path))
    assert whole.settings.model == f"{__name__}:small"
    first = Training(TINY, faces["train"], faces["val"], small)
    observer = Silent()
    first.run(observer, lambda: observer.steps >= 6)
    first.save(tmp_path)
    second = Training(whole.settings, faces["train"], faces["val"], small)
    second.restore(tmp_path)
    second.run(Silent(tmp_path))
    assert_same(everything(second), everything(whole))
    model, meta = load_weights(tmp_path / "best.npz", small)
    assert meta["config"]["model"] == f"{__name__}:small"
    whole.stopping.restore(whole.model)
    images = faces["val"].images
    np.testing.assert_array_equal(predict(model, images), predict(whole.model, images))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (ten, r":ten makes 10 numbers of a picture, and the data has 7 classes: give its last layer as many outputs"),
        (too_wide, r"picture of 48x48 with 1 channel: its layer hidden\.dense: Linear was made for 3 channels, got 1"),
        (indexes, r"its layer odd: IndexError: index 5 is out of bounds .*test_own_networks\.py, line \d+: return x"),
        (exits, r"its layer odd: SystemExit, .*test_own_networks\.py, line \d+: raise SystemExit"),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_told_before_the_first_epoch(faces, network, message):
    with pytest.raises(LayerError, match=message) as error:
        Training(TINY, faces["train"], faces["val"], network)
    assert "\n" not in str(error.value)


def test_what_is_checked_leaves_nothing_behind(faces):
    training = Training(TINY, faces["train"], faces["val"], small)
    assert not any("forward" in vars(layer) for _, layer in training.model.walk())


def test_a_run_that_could_not_begin_leaves_no_folder(capsys, folder):
    code, _, err = run(capsys, "train", "--data", "faces.npz", "--model", "nets.py:breaks", "--out", "runs/new")
    assert code == 1 and "breaks" in err and not (folder / "runs" / "new").exists()


def test_what_leaves_python_in_the_midst_of_training_is_told_with_its_line(capsys, folder):
    code, _, err = run(capsys, "train", "--data", "faces.npz", "--model", "nets.py:leaves", "--out", "run")
    assert code == 1 and re.search(r"^minifer train: SystemExit: 0.*\(nets.py, line \d+: raise SystemExit", err, re.M)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("half", "Half.backward is still to be written"),
        ("nothing", "Linear.backward got NoneType, no array: what does backward of the layer above return?"),
    ],
)
def test_a_backward_that_is_missing_or_returns_nothing_is_one_line(name, message, capsys, folder):
    code, _, err = run(capsys, "train", "--data", "faces.npz", "--model", f"nets.py:{name}", "--out", name)
    assert code == 1 and err.splitlines()[-1] == f"minifer train: {message}"


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (
            "conv=Conv2D(1, 4, rng=rng), dense=Linear(4, classes, rng=rng)",
            "cannot read a picture of 8x8 with 1 channel",
        ),
        ("flat=Flatten(), conv=Conv2D(64, classes, rng=rng)", "cannot read a picture of 8x8 with 1 channel"),
        ("flat=Flatten(), dense=Linear(64, 11, rng=rng)", "makes 11 numbers of a picture"),
    ],
    ids=["no Flatten", "Flatten too early", "another number of classes"],
)
def test_the_cost_of_what_cannot_run_is_refused(layers, said, capsys, tmp_path):
    path, names = tmp_path / "cannot.py", "Conv2D, Flatten, Linear, Sequential"
    path.write_text(
        f"from minifer.layers import {names}\ndef net(shape, classes, rng):\n    return Sequential({layers})\n"
    )
    for more in ((), ("--memory",)):
        code, out, err = run(capsys, "cost", "--model", f"{path}:net", "--input", "8x8x1", "--classes", "10", *more)
        assert code == 1 and out == "" and said in err and err.count("\n") == 1


def test_a_photo_without_a_face_is_no_error_for_a_network_of_ones_own(capsys, folder):
    code, _, _ = run(capsys, "train", "--data", "faces.npz", "--model", "nets.py:net", "--epochs", "1", "--out", "run")
    Image.new("L", (80, 80), 99).save("blank.png")
    code, out, _ = run(capsys, "predict", "blank.png", "--weights", "run", "--model", "nets.py:net")
    assert code == 0 and out.endswith("blank.png: no_face\n")


def test_fit_trains_a_layer_that_is_given_with_a_loss_of_ones_own(faces):
    class Counted(SoftmaxCrossEntropy):
        calls = 0

        def forward(self, logits, targets, training=False):
            Counted.calls += 1
            return super().forward(logits, targets, training=training)

    network = small((48, 48, 1), 7, np.random.default_rng(0))
    before = network["conv"].weight.value.copy()
    training = fit(config.replace(TINY, epochs=2), faces["train"], faces["val"], model=network, loss=Counted())
    assert training.model is network and training.settings.model.endswith(":Sequential")
    assert Counted.calls == 2 * 4 and np.abs(network["conv"].weight.value - before).max() > 0


def test_weights_of_ones_own_network_need_it_named(faces, tmp_path):
    settings = config.replace(TINY, epochs=1)
    Training(settings, faces["train"], faces["val"], small).run(Silent(tmp_path))
    path = tmp_path / "best.npz"
    with pytest.raises(ConfigError, match=r"best.npz: the network is one of your own, .*:small: give it again"):
        load_weights(path)
    with pytest.raises(CheckpointError, match=r"trained with .*:small, is of another model: "):
        load_weights(path, pooled)
    with pytest.raises(ConfigError, match="the network is one of your own"):
        Training(config.replace(settings, model=f"{__name__}:small"), faces["train"], faces["val"])
    (tmp_path / "mobilenet").mkdir()
    Training(settings, faces["train"], faces["val"]).run(Silent(tmp_path / "mobilenet"))
    with pytest.raises(ConfigError, match=r"the network is MobileNet mha: leave the model .*:small out"):
        load_weights(tmp_path / "mobilenet" / "best.npz", small)


def test_networks_are_swept_as_any_setting(capsys, folder):
    """The command line names them, as it does for train."""
    sweep = ("sweep", "--set", "model=nets.py:net,nets.py:wider", "--set", "epochs=1", "--seeds", "1", "--out", "swept")
    code, _, err = run(capsys, *sweep, "--data", "faces.npz")
    assert code == 0 and "model=nets.py:net seed=0: top-1" in err and "failed:" not in err
    assert {path.parent.name for path in folder.glob("swept/*/best.npz")} == {
        "model=nets.py_net_seed=0", "model=nets.py_wider_seed=0"
    }  # fmt: skip


def test_the_whole_way_on_the_command_line(capsys, folder):
    train = ("train", "--data", "faces.npz", "--model", "nets.py:net", "--epochs", "2", "--out", "run", "--calibrate")
    code, _, err = run(capsys, *train)
    assert code == 0 and "nets.py:net: 71 parameters" in err
    assert json.loads((folder / "run" / "config.json").read_text())["config"]["model"] == "nets.py:net"
    evaluate = ("evaluate", "run", "--data", "faces.npz", "--split", "val", "--json")
    code, out, err = run(capsys, *evaluate)
    assert code == 2 and "--model nets.py:net" in err and out == ""  # nothing was imported
    code, out, err = run(capsys, *evaluate, "--model", "nets.py:net")
    result = json.loads(out)  # what a network of one's own prints is no part of the document
    assert code == 0 and "imported" in err and result["parameters"] == 71 and result["alpha"] is None
    code, _, err = run(capsys, *evaluate, "--model", "nets.py:wider")
    assert code == 1 and "trained with nets.py:net, is read with nets.py:wider" in err and "of another model" in err
    code, out, err = run(capsys, "cost", "--model", "nets.py:net", "--json")
    # 24*24*9*4 of the convolution, 4*7 of the classifier
    assert code == 0 and json.loads(out)["multiply_adds"] == 20764
    for flag in (("--alpha", "0.5"), ("--stem-stride", "1")):
        code, out, err = run(capsys, "cost", "--model", "nets.py:net", *flag)
        assert code == 2 and out == "" and "--alpha and --stem-stride are for MobileNets" in err
    code, out, _ = run(capsys, "gradcheck", "nets.py:net", "--input", "2x5x6x1")
    assert code == 0 and "classifier.weight" in out
    code, _, err = run(capsys, "train", "--resume", "run")
    assert code == 2 and "--model nets.py:net" in err
    code, _, err = run(capsys, "train", "--resume", "run", "--model", "nets.py:net")
    assert code == 0 and "going on after epoch 2" in err


def test_a_recognizer_runs_layers_that_inference_has_no_step_for(capsys, folder, faces):
    assert (
        run(capsys, "train", "--data", "faces.npz", "--model", "nets.py:net", "--epochs", "2", "--out", "run")[0] == 0
    )
    image = faces["val"].images[0]
    recognizer = Recognizer.load("run", detect=False, model="nets.py:net")
    assert "one by one" in capsys.readouterr().err
    (face,) = recognizer.predict(image)
    expected = predict(load_weights("run/best.npz", "nets.py:net")[0], image[None])[0]
    np.testing.assert_allclose(list(face["probabilities"].values()), expected, atol=1e-6)


@pytest.mark.parametrize(
    "target, expected",
    [
        ("nets.py:missing", "nets.py has nothing called 'missing': it defines Doubled, net, wider, no_layer, breaks"),
        ("nets.py:no_layer", "nets.py:no_layer made a list, no minifer.layers.Layer"),
        ("nets.py:breaks", "nets.py:breaks cannot be made: TypeError: tuple indices"),
        ("gone.py:net", "there is no file gone.py"),
        ("gone:net", "there is no module 'gone'"),
        ("nets.py", "must be one of plain, skip, mha, v2, v3, v3-small, or file.py:name"),
    ],
)
def test_a_network_that_cannot_be_made_is_one_line(target, expected, capsys, folder):
    code, _, err = run(capsys, "train", "--data", "faces.npz", "--model", target, "--out", "run")
    assert code in (1, 2) and expected in err and len(err.strip().splitlines()) == 1
    assert not (folder / "run" / "config.json").exists()


def test_a_network_without_parameters_is_refused():
    with pytest.raises(LayerError, match="without a Parameter"):
        build_own(lambda input_shape, classes: Sequential(pool=GlobalAveragePool()), (8, 8, 1), 3)


def test_names_of_ones_own():
    assert own_name("a.py:b") == "a.py:b"
    assert own_name(small) == f"{__name__}:small"
    assert own_name(Sequential(ReLU())) == "minifer.layers.containers:Sequential"


def test_freezing_the_body_leaves_the_last_layer_to_train():
    network = small((16, 16, 1), 3, np.random.default_rng(0))
    freeze_body(network)
    assert list(network.parameters(trainable_only=True)) == ["classifier.weight", "classifier.bias"]

    class Scaled(Layer):
        """A layer of layers that has a Parameter itself, and one below it that has, too."""

        def __init__(self, rng):
            self.scale = Parameter(np.ones(4, np.float32))
            self.attention = MultiHeadSelfAttention(4, 2, 2, positions=(8, 8), rng=rng)
            self.classifier = Linear(4, 3, rng=rng)

    composed = Scaled(np.random.default_rng(0))
    freeze_body(composed)
    assert list(composed.parameters(trainable_only=True)) == ["classifier.weight", "classifier.bias"]
    by_ours = mobilenet("skip", alpha=0.25)
    freeze_body(by_ours)
    assert any(".projection" in path for path in by_ours.parameters(trainable_only=True))


def test_weights_of_ones_own_start_another_run(faces, tmp_path):
    settings = config.replace(TINY, epochs=1)
    first = Training(settings, faces["train"], faces["val"], small)
    first.run(Silent(tmp_path))
    path = str(tmp_path / "best.npz")
    second = Training(config.replace(settings, pretrained=path, freeze=True), faces["train"], faces["val"], small)
    np.testing.assert_array_equal(second.model.state()["conv.weight"], checkpoint.load(path)[0]["conv.weight"])
    with pytest.raises(CheckpointError, match="another network: only MobileNet takes a part"):
        Training(config.replace(settings, pretrained=path), faces["train"], faces["val"], pooled)


def test_the_layer_that_diverged_is_named_however_it_is_called():
    class Named(Layer):
        def __init__(self):
            self.classifier = Linear(4, 3, rng=np.random.default_rng(0))

        def forward(self, x, training=False):
            return self.classifier.forward(x=x, training=training)

    x = np.full((2, 4), np.inf, np.float32)
    assert first_bad_layer(Named(), x).endswith("is classifier (Linear)")


def test_a_layer_of_ones_own_trains_without_saying_its_cost(faces):
    class Halved(Layer):
        def forward(self, x, training=False):
            return x / 2

        def backward(self, dy):
            return dy / 2

    network = Sequential(halved=Halved(), **pooled((48, 48, 1), 7, np.random.default_rng(0)).layers)
    training = Training(TINY, faces["train"], faces["val"], network)
    assert "14 parameters; its multiply-adds are not counted" in work_of(training)
