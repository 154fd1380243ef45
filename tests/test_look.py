"""`minifer look`: the views that a network has, as pictures, with a true sentence about each."""

import numpy as np
import pytest
from PIL import Image
from small_runs import run

from minifer import checkpoint, config
from minifer.data import synthetic
from minifer.networks import build_model
from minifer.report.inside import filters

OWN = """
from minifer.layers import Conv2D, Flatten, Layer, Linear, ReLU, Sequential

def network(input_shape, classes, rng):
    height, width, channels = input_shape
    return Sequential(conv=Conv2D(channels, 4, rng=rng), relu=ReLU(), flat=Flatten(),
                      out=Linear(height * width * 4, classes, rng=rng))

class Whole(Layer):
    def __init__(self, input_shape, classes, rng):
        self.inner = Linear(input_shape[0] * input_shape[1] * input_shape[2], classes, rng=rng)

    def forward(self, x, training=False):
        self.shape = x.shape
        return self.inner.forward(x.reshape(len(x), -1), training=training)

    def backward(self, dy):
        return self.inner.backward(dy).reshape(self.shape)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, rng):
    """A folder with a drawn face, a picture in colour and a file of own networks, in which a test works."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(synthetic.generate(7, seed=3).images[0]).save("face.png")
    Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save("colours.png")
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path


def weights(shape, own=None, **settings):
    """Write the weights of a fresh network none of whose numbers is zero."""
    settings = config.TrainConfig(**{"alpha": 1 / 16, "model": own or "mha"} | settings)
    network = build_model(settings, shape, 3, own)
    rng = np.random.default_rng(0)
    for parameter in network.parameters().values():
        parameter.value += rng.normal(0, 0.2, parameter.value.shape).astype(np.float32)
    meta = {"config": config.to_dict(settings), "classes": ["a", "b", "c"], "image_shape": list(shape)}
    checkpoint.save("mine.npz", network.state(), meta)
    return network


def views(text):
    """Return {file: sentence} of what was printed, after a look at whether each file is a picture."""
    found = dict(line.split(": ", 1) for line in text.splitlines())
    for path in found:
        with Image.open(path) as picture:
            assert picture.format == "PNG" and len(picture.convert("L").getcolors(100_000)) > 3
    return {path.removeprefix("views/").removesuffix(".png"): said for path, said in found.items()}


def test_a_network_with_attention(folder, capsys):
    weights((48, 48, 1), blocks="32/2,64/2,64", attention_blocks=(2, 3), heads=2, head_units=4)
    code, out, err = run(capsys, "look", "mine.npz", "face.png", "--no-detect", "--out", "views")
    assert (code, err) == (0, "")
    found = views(out)
    assert list(found) == [
        "picture", "filters", "feature-maps", "attention2", "attention3", "saliency", "effects"
    ]  # fmt: skip
    assert "48 x 48 x 1" in found["picture"] and "2 heads" in found["attention2"]
    assert "each of 5 blocks" in found["effects"]


def test_shipped_weights_find_the_face_and_say_what_is_not_there(folder, capsys):
    code, out, err = run(capsys, "look", "small", "face.png", "--no-detect", "--out", "views")
    assert code == 0 and err.startswith("no attention: this network has no attention layers")
    assert list(views(out)) == ["picture", "filters", "feature-maps", "saliency", "effects"]
    code, out, err = run(capsys, "look", "small", "colours.png", "--out", "none")
    assert (code, out) == (1, "") and "colours.png: no face found; --no-detect looks at the whole picture" in err


def test_a_network_of_ones_own_in_colour(folder, capsys):
    network = weights((16, 16, 3), own="own.py:network")
    assert list(filters(network)) == ["conv, red", "conv, green", "conv, blue"]
    given = ("look", "mine.npz", "colours.png", "--no-detect", "--out", "views")
    code, out, err = run(capsys, *given, "--model", "own.py:network")
    assert code == 0 and list(views(out)) == ["picture", "filters", "feature-maps", "saliency"]
    assert "no attention: " in err and "no effects: no block of this network has a skip connection" in err
    code, out, err = run(capsys, *given)
    assert (code, out) == (2, "") and "give it again with --model own.py:network" in err


def test_a_network_that_is_no_sequence(folder, capsys):
    weights((16, 16, 1), own="own.py:Whole")
    given = ("look", "mine.npz", "face.png", "--no-detect", "--out", "views", "--model", "own.py:Whole")
    code, out, err = run(capsys, *given)
    assert code == 0 and list(views(out)) == ["picture", "saliency"]
    missing = [line.partition(":")[0] for line in err.splitlines() if line.startswith("no ")]
    assert missing == ["no filters", "no feature-maps", "no attention", "no effects"]
