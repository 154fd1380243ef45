"""What the figures of a network's inside show is what the network computes."""

import io

import numpy as np
import pytest

from minifer.data.dataset import to_float
from minifer.errors import ConfigError
from minifer.models import mobilenet
from minifer.report import inside
from minifer.report.canvas import side_by_side


def test_outputs_end_in_the_logits(model, image):
    found = inside.outputs(model, image)
    np.testing.assert_array_equal(found["classifier"], model.forward(to_float(image[None]))[0])
    assert list(found) == list(model.layers)


def test_attention_maps_are_what_attention_uses(model, image):
    before = inside.outputs(model, image)
    for name, probs in inside.attention_maps(model, image).items():
        layer, block = model.layers[name], name.replace("attention", "block")
        x = before[block][None]
        _, height, width, channels = x.shape
        assert probs.shape == (2, height, width, height, width)
        np.testing.assert_allclose(probs.sum(axis=(3, 4)), 1, rtol=1e-5)
        tokens = layer.norm.forward(x.reshape(-1, channels)) if layer.norm else x.reshape(-1, channels)
        value = layer.value.forward(tokens).reshape(-1, 2, 4)
        attended = np.einsum("ats,sad->tad", probs.reshape(2, height * width, -1), value).reshape(height * width, -1)
        y = layer.output_norm.forward(layer.output.forward(attended).reshape(x.shape)) + x
        np.testing.assert_allclose(y, layer.forward(x), rtol=1e-4, atol=1e-4)


def test_saliency_is_the_gradient_of_the_logit(model, image):
    before = {name: array.copy() for name, array in model.state().items()}
    gradient, label = inside.saliency(model, image, label=2)
    assert gradient.shape == image.shape and label == 2
    wide = model.astype(np.float64)
    x = to_float(image[None]).astype(np.float64)
    for i, j in ((0, 0), (20, 17), (47, 39), (11, 30)):
        probe, h = np.zeros_like(x), 1e-6
        probe[0, i, j] = h
        numeric = (wide.forward(x + probe)[0, 2] - wide.forward(x - probe)[0, 2]) / (2 * h)
        assert gradient[i, j] == pytest.approx(numeric, rel=2e-3, abs=1e-4 * float(np.abs(gradient).max()))
    for name, array in model.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_saliency_leaves_a_model_in_training_as_it_is(model, image, rng):
    expected, _ = inside.saliency(model, image, label=1)
    model.freeze("extraction")
    model.require_input_gradient(False)
    x = to_float(rng.integers(0, 256, (3, 48, 40), dtype=np.uint8))
    model.backward(np.ones_like(model.forward(x, training=True)))

    def everything():
        for path, layer in model.walk():
            yield path, layer.frozen, layer.input_gradient, layer._saved is None
        yield model.layers["dropout"].rng.bit_generator.state
        for path, parameter in model.parameters().items():
            yield path, None if parameter.grad is None else parameter.grad.tobytes()

    before = list(everything())
    gradient, _ = inside.saliency(model, image, label=1)
    assert list(everything()) == before
    assert not np.array_equal(gradient, expected), "the batch above has moved the statistics of the projections"
    assert np.abs(gradient).max() > 0


def test_saliency_takes_the_class_that_wins(model, image):
    assert inside.saliency(model, image)[1] == model.forward(to_float(image[None])).argmax()


def test_every_figure_is_drawn(model, image, rng, tmp_path):
    images = rng.integers(0, 256, (4, 48, 40), dtype=np.uint8)
    figures = {
        "filters": (inside.draw_filters(model, columns=3), 1),
        "maps": (inside.draw_feature_maps(model, image, ("stem", "block11"), columns=3), 2 * 2),
        "attention": (inside.draw_attention(model, image), 3),
        "saliency": (inside.draw_saliency(model, images, ("a", "b", "c")), 2 * 4),
    }
    for name, (figure, panels) in figures.items():
        assert len(figure.axes) == panels, name
        figure.savefig(tmp_path / f"{name}.png", dpi=40)


def test_maps_side_by_side_keep_their_places_and_signs(rng):
    maps = rng.standard_normal((3, 2, 4))
    row = side_by_side(maps, columns=4)
    assert row.shape == (2 * 6, 4 * 24 + 3 * 2)
    for number, values in enumerate(maps):
        np.testing.assert_allclose(
            row[3::6, number * 26 + 3 : number * 26 + 24 : 6], values / np.abs(values).max(), rtol=1e-6
        )
    assert np.isnan(row[:, 24:26]).all() and np.isnan(row[:, 3 * 26 - 2 :]).all()  # gaps, and the map that is not there
    assert not side_by_side(np.zeros((1, 3, 3)), columns=1).any()


def test_attention_is_seen_from_the_position_that_is_asked_for(model, image):
    figure = inside.draw_attention(model, image, "attention11", position=(2, 0))
    shares = inside.attention_maps(model, image)["attention11"][:, 2, 0]
    texts = [[text.get_text() for text in spot.texts] for spot in figure.axes[1:]]
    assert texts == [[f"{share:.0%}" for share in head.ravel() if share >= 0.01] for head in shares]
    with pytest.raises(ConfigError, match=r"no position \(3, 0\) in attention11: its map is 3 x 3"):
        inside.draw_attention(model, image, "attention11", position=(3, 0))


def test_layers_that_are_not_there_are_named(model, image):
    with pytest.raises(ConfigError, match="'block99' is no layer with a map: choose among stem, "):
        inside.draw_feature_maps(model, image, ("block99",))
    with pytest.raises(ConfigError, match="no attention layer 'attention5': this network has attention11, attention13"):
        inside.draw_attention(model, image, "attention5")
    with pytest.raises(ConfigError, match="this network has none"):
        inside.draw_attention(mobilenet("skip", alpha=1 / 16), image)


def test_a_picture_as_the_network_reads_it_is_the_same_picture(model, image):
    x = to_float(image[None])[0]
    for name, y in inside.outputs(model, x).items():
        np.testing.assert_array_equal(y, inside.outputs(model, image)[name])
    np.testing.assert_array_equal(inside.saliency(model, x)[0], inside.saliency(model, image)[0])
    inside.draw_attention(model, x).savefig(io.BytesIO(), dpi=30)
