"""The summary and the drawing tell of the network that is there."""

import pytest

from minifer.cost import count
from minifer.models import mobilenet
from minifer.report.architecture import draw_architecture, parts, summary


@pytest.mark.parametrize("variant", ["plain", "skip", "mha"])
def test_parts_add_up_to_the_network(variant):
    model = mobilenet(variant, alpha=0.25, stem_stride=1, attention_blocks=(12,) if variant == "mha" else None)
    found, cost = parts(model, (48, 48, 1)), count(model, (48, 48, 1))
    assert sum(part.parameters for part in found) == cost.trainable_parameters
    assert sum(part.multiply_adds for part in found) == cost.multiply_adds
    assert [part.name for part in found[:3]] == ["stem", "block1", "block2"]
    assert found[0].shape == (48, 48, 8) and found[-1].shape == (7,)
    strides = {part.name: part.stride for part in found}
    assert (strides["stem"], strides["block1"], strides["block2"], strides["block12"]) == (1, 1, 2, 2)
    skips = {part.name: part.skip for part in found if part.kind == "block"}
    assert set(skips.values()) == ({""} if variant == "plain" else {"identity", "projection"})
    assert [part.name for part in found if part.kind == "attention"] == (["attention12"] if variant == "mha" else [])


def test_summary_has_a_line_for_each_part():
    model = mobilenet("skip", alpha=0.25)
    lines = summary(model, (48, 48, 1))
    assert len(lines) == 1 + len(parts(model, (48, 48, 1)))
    assert lines[0].split() == ["part", "output", "stride", "skip", "parameters", "multiply-adds"]
    assert any(line.startswith("block2 ") and "12 x 12 x 32" in line and "projection" in line for line in lines)


def test_drawing_has_a_box_for_each_part_and_an_arrow_for_each_skip(tmp_path):
    from matplotlib.patches import FancyArrowPatch, Rectangle

    model = mobilenet("mha", alpha=0.25, attention_blocks=(12, 13), dropout=0.2)
    figure = draw_architecture(model, (48, 48, 1))
    patches = figure.axes[0].patches
    assert sum(isinstance(patch, Rectangle) for patch in patches) == 1 + 13 + 2 + 2  # dropout changes no shape
    assert sum(isinstance(patch, FancyArrowPatch) for patch in patches) == 13
    figure.savefig(tmp_path / "architecture.png", dpi=40)
