"""What the page is told is what minifer computes."""

import base64

import numpy as np
import pytest
from browser import encoded

from minifer import checkpoint, config
from minifer.cost import cost_rows, count
from minifer.data.dataset import CLASSES
from minifer.demo import viewer as parts
from minifer.demo.viewer import Viewer
from minifer.errors import ConfigError, DataError
from minifer.files.images import check_image
from minifer.layers import Layer
from minifer.models import mobilenet
from minifer.networks import build_model
from minifer.report import inside


@pytest.fixture
def seen(viewer, photo_png):
    """(key of the face in the photo, what "best" reads of it)."""
    (face,) = viewer.faces(photo_png, "best", 80)["faces"]
    return face["key"], viewer._input("best", face["key"])


def values(answer, dtype=np.uint8):
    return np.frombuffer(base64.b64decode(answer["values"]), dtype).reshape(answer["shape"])


def test_faces_are_those_of_predict(viewer, photo, photo_png):
    answer = viewer.faces(photo_png, "best", 80)
    one = viewer.networks["best"]
    one.min_size = 80
    (expected,), (face,) = one.predict(photo), answer["faces"]
    assert {name: face[name] for name in expected} == expected and face["face"] == 1
    assert (answer["width"], answer["height"]) == (640, 480) and min(answer["ms"].values()) > 0


def test_a_camera_keeps_the_numbers_of_faces(viewer, photo, photo_png):
    (face,) = viewer.faces(photo_png, "best", 80, "one")["faces"]
    moved = encoded(np.roll(photo, 12, axis=1), "PNG")
    (again,) = viewer.faces(moved, "best", 80, "one")["faces"]
    assert again["face"] == face["face"] and again["key"] != face["key"]
    assert again["box"][0] == pytest.approx(face["box"][0] + 12, abs=8)
    for number in range(parts.CAMERAS + 3):
        viewer.faces(photo_png, "best", 80, f"camera {number}")
    assert len(viewer._trackers) == parts.CAMERAS


def test_maps_attention_and_saliency_are_those_of_the_network(viewer, photo_png, seen):
    key, x = seen
    model = viewer.networks["best"].model
    found = viewer.maps("best", key, "block5")
    expected = inside.outputs(model, x)["block5"].transpose(2, 0, 1)[: parts.MOST_MAPS]
    shown = values(found, np.int8) * np.array(found["largest"])[:, None, None] / 127
    np.testing.assert_allclose(shown, expected, atol=np.abs(expected).max() / 200)
    gradient, label = inside.saliency(model, x)
    answer = viewer.saliency("best", key, None)
    assert answer["label"] == label and answer["largest"] == pytest.approx(np.abs(gradient).max(), rel=1e-3)
    np.testing.assert_allclose(values(answer), 255 * np.abs(gradient) / np.abs(gradient).max(), atol=0.51)
    assert viewer.saliency("best", key, 3)["label"] == 3
    np.testing.assert_allclose(values(viewer.seen("best", key)), (x + 1) * 127.5, atol=0.51)


def test_shapes_are_known_before_anything_is_compiled(viewer, attention_weights):
    for name, described in zip(viewer.networks, viewer.describe(), strict=True):
        one = viewer.networks[name]
        found = inside.outputs(one.model, np.zeros(one.input_shape, np.float32))
        assert described["maps"] == [{"name": n, "shape": y.shape} for n, y in found.items() if y.ndim == 3]
    assert [one["heads"] for one in described["attention"]] == [2, 2]


def test_attention_from_a_position(viewer, attention_weights, photo_png):
    (face,) = viewer.faces(photo_png, attention_weights, 80)["faces"]
    model = viewer.networks[attention_weights].model
    probs = inside.attention_maps(model, viewer._input(attention_weights, face["key"]))["attention12"]
    answer = viewer.attention(attention_weights, face["key"], "attention12", 0, 1)
    assert answer["shape"] == probs[:, 0, 1].shape
    np.testing.assert_allclose(answer["shares"], probs[:, 0, 1].ravel(), atol=1e-4)
    for layer, place in (("attention12", (2, 0)), ("block1", (0, 0))):
        with pytest.raises(DataError):
            viewer.attention(attention_weights, face["key"], layer, *place)


def test_every_layer_has_its_multiply_adds_and_its_time(viewer):
    one, answer = viewer.networks["best"], viewer.cost("best")
    table, _ = cost_rows(one.model, one.input_shape)
    assert [row["path"] for row in answer["rows"]] == [row.path for row in table]
    assert sum(row["multiply_adds"] for row in answer["rows"]) == count(one.model, one.input_shape).multiply_adds
    assert all(row["ms"] > 0 for row in answer["rows"] if row["multiply_adds"]) and answer["whole_ms"] > 0
    assert len(answer["blocks"]) == 10
    for block in answer["blocks"]:
        assert min(block["ms"], block["standard_ms"]) > 0
        assert block["ratio"] == pytest.approx(1 / block["filters"] + 1 / 9)
    assert viewer.cost("best") is answer and viewer.cost("best", again=True) is not answer


def test_faces_are_kept_for_a_while_only(viewer, photo_png, monkeypatch):
    keys = [viewer.faces(photo_png, "best", 80)["faces"][0]["key"] for _ in range(3)]
    monkeypatch.setattr(parts, "KEPT_BYTES", 2 * 48 * 48 * 4)
    keys.append(viewer.faces(photo_png, "best", 80)["faces"][0]["key"])
    assert viewer.seen("best", keys[3]) and viewer.seen("best", keys[2])
    for network, key in (("best", keys[1]), ("best", 10**9), (next(reversed(viewer.networks)), keys[3])):
        with pytest.raises(DataError, match="look at the picture again"):
            viewer.seen(network, key)


def test_large_pictures_are_searched_for_larger_faces(viewer):
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000)).astype(np.uint8)
    assert viewer.faces(encoded(noise[:200, :200], "PNG"), "best", 24)["min_size"] == 24
    assert viewer.faces(encoded(np.zeros_like(noise), "PNG"), "best", 24)["min_size"] > 40


def test_the_threshold_is_the_least_score(photo_png):
    assert not Viewer(["small"], threshold=1.0).faces(photo_png, "small", 80)["faces"]


def test_a_camera_shows_unsure_faces_too_if_the_threshold_says_so(photo_png, monkeypatch):
    monkeypatch.setattr("minifer.recognizer.confirmed", lambda detection, doubt: 0.15)
    viewer = Viewer(["small"], threshold=0.1)
    still, camera = (viewer.faces(photo_png, "small", 80, name)["faces"] for name in ("", "one"))
    assert len(still) == len(camera) > 0


class Own(Layer):
    """No Sequential: it calls its layers as it likes."""

    def __init__(self, body):
        self.body = body

    def forward(self, x, training=False):
        return np.tanh(self.body.forward(x, training))


OWN = """
from minifer.layers import Conv2D, GlobalAveragePool, Layer, Linear, Sequential

class Halved(Layer):
    def forward(self, x, training=False):
        return x / 2

def network(input_shape, classes, rng):
    conv = Conv2D(input_shape[2], 4, 3, 2, rng=rng)
    return Sequential(conv, Halved(), GlobalAveragePool(), Linear(4, classes, rng=rng))
"""


def test_a_network_of_ones_own_whose_cost_nobody_knows(tmp_path, photo_png):
    (tmp_path / "own.py").write_text(OWN)
    name = f"{tmp_path / 'own.py'}:network"
    settings = config.TrainConfig(model=name)
    model = build_model(settings, (48, 48, 1), 7, name)
    meta = {"config": config.to_dict(settings), "classes": list(CLASSES), "image_shape": [48, 48], "epoch": 1}
    checkpoint.save(tmp_path / "own.npz", model.state(), meta)
    weights = str(tmp_path / "own.npz")
    viewer = Viewer([weights], name)
    (described,) = viewer.describe()
    assert [one["shape"] for one in described["maps"]] == [(24, 24, 4), (24, 24, 4)]
    (face,) = viewer.faces(photo_png, weights, 80)["faces"]
    assert viewer.maps(weights, face["key"], "1")["shape"] == (4, 24, 24)
    with pytest.raises(ConfigError, match="multiply_adds"):
        viewer.cost(weights)


def test_outputs_of_a_network_that_is_no_sequential(photo):
    model = Own(mobilenet("plain", 1 / 16))
    image = check_image(photo)[100:148, 250:298]
    found = inside.outputs(model, image)
    assert list(found) == ["body"] and inside.attention_layers(model) == []
    np.testing.assert_array_equal(found["body"], inside.outputs(model.body, image)["classifier"])
