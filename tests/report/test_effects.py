"""The effect of a block is what changes in the network without its body."""

import numpy as np
import pytest

from minifer.data.dataset import to_float
from minifer.errors import ConfigError
from minifer.layers import Sequential
from minifer.models import mobilenet
from minifer.report import effects


def test_leaving_out_a_block_that_adds_nothing_changes_nothing(model, rng):
    images, labels = rng.integers(0, 256, (12, 48, 40), dtype=np.uint8), rng.integers(0, 3, 12)
    norm = model.layers["block8"].layers["pointwise_norm"]
    norm.gamma.value[...] = norm.beta.value[...] = 0
    whole, found = effects.block_effects(model, images, labels)
    right = model.forward(to_float(images)).argmax(axis=1) == labels
    assert whole == pytest.approx(right.mean())
    assert found["block8"] == effects.Effect(whole, 0.0)
    blocks = [f"block{number}" for number in range(1, 14)]
    assert list(found) == [*blocks[:11], "attention11", *blocks[11:], "attention13"]


def test_block_effects_are_those_of_the_network_without_the_body(model, rng, monkeypatch):
    monkeypatch.setattr(effects, "BATCH", 5)  # of 12 pictures: two whole batches and a rest
    images, labels = rng.integers(0, 256, (12, 48, 40), dtype=np.uint8), rng.integers(0, 3, 12)
    _, found = effects.block_effects(model, images, labels)
    x = to_float(images)
    whole = model.forward(x)
    for name in ("block2", "block3", "attention13"):
        layers = dict(model.layers)
        if name == "block2":
            layers[name] = layers[name].projection
        else:
            del layers[name]
        logits = Sequential(**layers).forward(x)
        assert found[name].top1 == pytest.approx(np.mean(logits.argmax(axis=1) == labels))
        apart, size = (a - a.mean(axis=1, keepdims=True) for a in (logits - whole, whole))
        assert found[name].change == pytest.approx(np.sqrt((apart**2).sum() / (size**2).sum()), rel=1e-4)


def test_block_effects_need_skips(image):
    plain = mobilenet("plain", alpha=1 / 16)
    with pytest.raises(ConfigError, match="no block of this network has a skip connection"):
        effects.block_effects(plain, image[None], np.zeros(1, int))


def test_bars_are_the_effects(model, rng, tmp_path):
    from matplotlib.colors import to_hex

    images, labels = rng.integers(0, 256, (8, 48, 40), dtype=np.uint8), rng.integers(0, 3, 8)
    _, found = effects.block_effects(model, images, labels)
    figure = effects.draw_block_effects(model, images, labels)
    above, below = figure.axes
    assert [bar.get_height() for bar in above.patches] == [100 * effect.top1 for effect in found.values()]
    assert [bar.get_height() for bar in below.patches] == [effect.change for effect in found.values()]
    colours = {name: to_hex(bar.get_facecolor()) for name, bar in zip(found, below.patches, strict=True)}
    for name, kind in (("block2", "projection"), ("block3", "identity"), ("attention11", "attention")):
        assert colours[name] == effects.COLOURS[kind].lower()
    figure.savefig(tmp_path / "effects.png", dpi=40)
