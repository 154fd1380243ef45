"""What the figures of a network's inside show is what the network computes."""

import numpy as np
import pytest

from minifer.data.dataset import to_float
from minifer.errors import ConfigError
from minifer.models import mobilenet
from minifer.report import inside

TINY = {"alpha": 1 / 16, "heads": 2, "head_units": 4, "attention_blocks": (11, 13), "classes": 3}


@pytest.fixture
def model(rng):
    """A small network none of whose weights is zero."""
    model = mobilenet("mha", input_shape=(48, 40, 1), dropout=0.5, **TINY)
    for parameter in model.parameters().values():
        parameter.value[...] = rng.normal(0, 0.4, parameter.value.shape)
    return model


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (48, 40), dtype=np.uint8)


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
        y = layer.output.forward(attended).reshape(x.shape) + x
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


def test_saliency_takes_the_class_that_wins(model, image):
    assert inside.saliency(model, image)[1] == model.forward(to_float(image[None])).argmax()


def test_leaving_out_a_block_that_adds_nothing_changes_nothing(model, rng):
    images, labels = rng.integers(0, 256, (12, 48, 40), dtype=np.uint8), rng.integers(0, 3, 12)
    norm = model.layers["block8"].layers["pointwise_norm"]
    norm.gamma.value[...] = norm.beta.value[...] = 0
    whole, effects = inside.block_effects(model, images, labels)
    right = model.forward(to_float(images)).argmax(axis=1) == labels
    assert whole == pytest.approx(right.mean()) and effects["block8"] == whole
    assert list(effects) == [f"block{number}" for number in range(1, 14)]


def test_block_effects_need_skips(image):
    plain = mobilenet("plain", alpha=1 / 16)
    with pytest.raises(ConfigError, match="no block of this network has a skip connection"):
        inside.block_effects(plain, image[None], np.zeros(1, int))


def test_every_figure_is_drawn(model, image, rng, tmp_path):
    images, labels = rng.integers(0, 256, (4, 48, 40), dtype=np.uint8), rng.integers(0, 3, 4)
    figures = {
        "filters": (inside.draw_filters(model, columns=3), 14 * 3),
        "maps": (inside.draw_feature_maps(model, image, ("stem", "block11"), columns=3), 2 * 4),
        "attention": (inside.draw_attention(model, image), 3),
        "saliency": (inside.draw_saliency(model, images, ("a", "b", "c")), 2 * 4),
        "effects": (inside.draw_block_effects(model, images, labels), 1),
    }
    for name, (figure, panels) in figures.items():
        assert len(figure.axes) == panels, name
        figure.savefig(tmp_path / f"{name}.png", dpi=40)


def test_layers_that_are_not_there_are_named(model, image):
    with pytest.raises(ConfigError, match="'block99' is no layer with a map: choose among stem, "):
        inside.draw_feature_maps(model, image, ("block99",))
    with pytest.raises(ConfigError, match="no attention layer 'attention5': this network has attention11, attention13"):
        inside.draw_attention(model, image, "attention5")
    with pytest.raises(ConfigError, match="this network has none"):
        inside.draw_attention(mobilenet("skip", alpha=1 / 16), image)
