"""The summary and the drawing tell of the network that is there."""

import pytest

from minifer.cost import count
from minifer.models import mobilenet
from minifer.report.architecture import draw_architecture, parts, skip, summary
from minifer.report.canvas import SKY


@pytest.mark.parametrize("variant", ["plain", "skip", "mha"])
def test_parts_add_up_to_the_network(variant):
    model = mobilenet(variant, alpha=0.25, stem_stride=1, attention_blocks=(12,) if variant == "mha" else None)
    found, cost = parts(model, (48, 48, 1)), count(model, (48, 48, 1))
    assert sum(part.parameters for part in found) == cost.parameters
    assert sum(part.multiply_adds for part in found) == cost.multiply_adds
    assert [part.name for part in found[:3]] == ["stem", "block1", "block2"]
    assert found[0].shape == (48, 48, 8) and found[-1].shape == (7,)
    strides = {part.name: part.stride for part in found}
    assert (strides["stem"], strides["block1"], strides["block2"], strides["block12"]) == (1, 1, 2, 2)
    skips = {part.name: part.skip for part in found}
    blocks = {skips[name] for name in skips if name.startswith("block")}
    assert blocks == ({""} if variant == "plain" else {"identity", "projection"})
    assert skips.get("attention12", "identity") == "identity" and skips["classifier"] == ""
    assert [part.name for part in found if part.kind == "attention"] == (["attention12"] if variant == "mha" else [])


def test_a_frozen_network_has_the_same_parts():
    model = mobilenet("skip", alpha=0.25)
    before = parts(model, (48, 48, 1))
    assert parts(model.freeze(), (48, 48, 1)) == before


def test_summary_has_a_line_for_each_part():
    model = mobilenet("skip", alpha=0.25)
    lines = summary(model, (48, 48, 1))
    assert len(lines) == 1 + len(parts(model, (48, 48, 1)))
    assert lines[0].split() == ["part", "output", "stride", "skip", "parameters", "multiply-adds"]
    assert any(line.startswith("block2 ") and "12 x 12 x 32" in line and "projection" in line for line in lines)


def test_attention_without_a_residual_path_has_no_skip(rng):
    from minifer.layers import MultiHeadSelfAttention

    assert skip(MultiHeadSelfAttention(4, heads=2, head_units=3, residual=False, rng=rng)) == ""


@pytest.mark.parametrize("side", [48, 224])
def test_drawing_has_a_box_for_each_part_and_a_row_for_each_size(side, tmp_path):
    from matplotlib.colors import to_hex
    from matplotlib.patches import FancyBboxPatch

    model = mobilenet("mha", alpha=0.25, attention_blocks=(12, 13), dropout=0.2, input_shape=(side, side, 1))
    figure = draw_architecture(model, (side, side, 1))
    (spot,) = figure.axes
    assert sum(isinstance(patch, FancyBboxPatch) for patch in spot.patches) == 1 + 1 + 13 + 2 + 2  # no dropout
    texts = [text.get_text() for text in spot.texts]
    assert texts.count("attention") == 2 and texts.count("stride 2") == 5 and "block 13" in texts
    assert f"{side} x {side}" in texts and f"{side // 2}x{side // 2}x8" in texts
    past = [line for line in spot.lines if to_hex(line.get_color()) == SKY.lower()]
    assert len(past) == 13 + 2
    assert sum(line.is_dashed() for line in past) == 5
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "attention between all positions, 8 heads of 64 units" in labels and len(labels) == 4
    figure.savefig(tmp_path / "architecture.png", dpi=40)
