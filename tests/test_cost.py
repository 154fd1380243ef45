"""The cost formulas beyond multiply-adds: bytes, intensity, the roofline, separable blocks, attention's growth."""

import numpy as np
import pytest

from minifer import layers
from minifer.cost import Pass, attention_growth, cost_rows, count, separable_blocks, training_memory
from minifer.errors import ConfigError, ShapeError
from minifer.models import mobilenet


def test_a_pass_by_hand():
    work = Pass(multiply_adds=60, map_bytes=20, weight_bytes=40)
    assert work.bytes_moved() == 60 and work.bytes_moved(batch=4) == 120
    assert work.intensity() == 2 and work.intensity(batch=4) == 4
    assert work.seconds(operations_per_second=10, bytes_per_second=1000) == 12  # short of arithmetic
    assert work.seconds(operations_per_second=1000, bytes_per_second=10, batch=4) == 12  # short of bandwidth
    assert Pass().intensity() == 0
    assert work + work == Pass(120, 40, 80)


def test_pointwise_by_hand(rng):
    cost = count(layers.PointwiseConv2D(3, 5, rng=rng), (4, 2, 3))
    assert cost.forward == Pass(8 * 15, 4 * (24 + 40), 4 * 15)
    assert cost.backward == Pass(2 * 8 * 15, 2 * 4 * (24 + 40), 2 * 4 * 15)
    assert (cost.parameters, cost.trainable_parameters, cost.activation_bytes) == (15, 15, 4 * 40)


def test_batchnorm_moves_each_map_eight_times():
    cost = count(layers.BatchNorm(3), (4, 2, 3))
    assert (cost.forward.map_bytes, cost.backward.map_bytes) == (3 * 96, 5 * 96)
    assert (cost.parameters, cost.trainable_parameters) == (12, 6)
    frozen = count(layers.BatchNorm(3).freeze(), (4, 2, 3))
    assert (frozen.forward.map_bytes, frozen.backward.map_bytes) == (2 * 96, 3 * 96)
    assert frozen.trainable_parameters == 0


@pytest.mark.parametrize("variant", ["plain", "skip", "mha"])
def test_activation_bytes_are_those_of_the_outputs(variant, rng):
    """What the layers really return, summed; attention is followed into the layers that it is made of."""
    shape = (20, 18, 1)
    net = mobilenet(variant, alpha=1 / 16, input_shape=shape, heads=2, head_units=3)
    seen = []
    for _, layer in net.walk():
        forward = layer.forward

        def watch(*inputs, training=False, layer=layer, forward=forward):
            y = forward(*inputs, training=training)
            parts = isinstance(layer, layers.MultiHeadSelfAttention | layers.Residual)
            if type(layer) is not layers.Sequential and type(layer) is not type(net):
                seen.append(y.nbytes if not parts or type(layer) is layers.Residual else y.nbytes * layer.residual)
            return y

        layer.forward = watch
    net.forward(rng.standard_normal((1, *shape)).astype(np.float32))
    assert sum(seen) == count(net, shape).activation_bytes


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_separable_block_against_the_ordinary_convolution_in_its_place(kernel, stride, rng):
    shape = (7, 6, 4)
    block = layers.Sequential(
        depthwise=layers.DepthwiseConv2D(4, kernel, stride, rng=rng),
        norm=layers.BatchNorm(4),
        pointwise=layers.PointwiseConv2D(4, 10, rng=rng),
    )
    ordinary = count(layers.Conv2D(4, 10, kernel, stride, rng=rng), shape)
    (found,) = separable_blocks(cost_rows(block, shape, "block")[0])
    assert found.path == "block" and (found.kernel, found.channels, found.filters) == (kernel, 4, 10)
    assert found.multiply_adds == count(block, shape).multiply_adds
    assert found.standard_multiply_adds == ordinary.multiply_adds
    assert found.standard_parameters == ordinary.parameters
    assert found.ratio == pytest.approx(1 / 10 + 1 / kernel**2) == found.predicted_ratio


def test_all_thirteen_blocks_are_found_and_projections_are_not():
    for variant in ("plain", "skip", "mha"):
        blocks = separable_blocks(cost_rows(mobilenet(variant, alpha=0.125), (48, 48, 1))[0])
        assert [block.path for block in blocks] == [f"block{n}" for n in range(1, 14)]
        assert all(block.ratio == pytest.approx(block.predicted_ratio) for block in blocks)


def test_a_pointwise_stride_is_no_separable_block(rng):
    pair = layers.Sequential(layers.DepthwiseConv2D(4, rng=rng), layers.PointwiseConv2D(4, 10, stride=2, rng=rng))
    assert separable_blocks(cost_rows(pair, (6, 6, 4))[0]) == []


def test_attention_grows_with_the_square_of_the_tokens(rng):
    layer = layers.MultiHeadSelfAttention(8, heads=2, head_units=3, rng=rng)
    for side, (tokens, projections, tables) in zip((2, 4, 8), attention_growth(8, 6, (2, 4, 8)), strict=True):
        assert tokens == side**2
        assert projections + tables == count(layer, (side, side, 8)).multiply_adds
        assert (tables > projections) == (tokens > 16), "from T = 2 C on the tables cost more"


class Gate(layers.Layer):
    """A composite of one's own: two branches, one of them through a list, and a product that nobody counts."""

    def __init__(self, rng):
        self.body = [layers.PointwiseConv2D(3, 4, rng=rng), layers.ReLU()]
        self.gate = layers.Sequential(layers.PointwiseConv2D(3, 4, rng=rng), layers.BatchNorm(4))

    def forward(self, x, training=False):
        y = x
        for layer in self.body:
            y = layer.forward(y, training=training)
        return y * self.gate.forward(x, training=training)


class Scale(layers.Layer):
    """A leaf of one's own."""

    def __init__(self, channels):
        self.factor = layers.Parameter(np.ones(channels, np.float32))

    def forward(self, x, training=False):
        return x * self.factor.value


class KnownScale(Scale):
    """The same, and it says what it costs."""

    def multiply_adds(self, input_shape):
        return int(np.prod(input_shape))


def test_a_composite_of_ones_own_costs_what_its_layers_cost(rng):
    gate = Gate(rng)
    rows, shape = cost_rows(layers.Sequential(gate, KnownScale(4)), (5, 6, 3))
    assert shape == (5, 6, 4)
    assert [row.path for row in rows] == ["0.body.0", "0.body.1", "0.gate.0", "0.gate.1", "1"]
    assert [row.cost.multiply_adds for row in rows] == [30 * 12, 0, 30 * 12, 0, 30 * 4]
    cost = count(gate, (5, 6, 3))
    assert (cost.parameters, cost.trainable_parameters) == (12 + 12 + 16, 12 + 12 + 8)
    assert gate.forward(np.ones((1, 5, 6, 3), np.float32)).any(), "counting left the layer as it was"


def test_a_subclass_costs_what_the_class_costs_whose_forward_it_runs(rng):
    class Named(layers.PointwiseConv2D):
        pass

    class Twice(layers.Sequential):
        def forward(self, x, training=False):
            return super().forward(super().forward(x))

    assert count(Named(3, 4, rng=rng), (2, 2, 3)).multiply_adds == 48
    assert count(layers.ReLU6(), (2, 2, 3)).forward.map_bytes == 4 * 24
    assert count(Twice(layers.PointwiseConv2D(3, 3, rng=rng)), (2, 2, 3)).multiply_adds == 2 * 36


def test_a_leaf_that_does_not_say_its_cost_is_refused():
    with pytest.raises(ConfigError, match=r"0.Scale: its cost is not known; .* multiply_adds\(self, input_shape\)"):
        count(layers.Sequential(Scale(3)), (2, 2, 3))


@pytest.mark.parametrize("follow", [count, training_memory])
def test_layers_that_cannot_follow_each_other_are_refused(follow, rng):
    conv, dense = layers.Conv2D(2, 4, rng=rng), layers.Linear(4, 3, rng=rng)
    with pytest.raises(ShapeError, match=r"^dense reads rows \(C,\), and \(6, 5, 4\) comes in: put Flatten"):
        follow(layers.Sequential(conv=conv, dense=dense), (6, 5, 2))
    with pytest.raises(ShapeError, match=r"^conv reads maps \(H,W,C\), and \(2,\) comes in"):
        follow(layers.Sequential(pool=layers.GlobalAveragePool(), conv=conv), (6, 5, 2))


def test_a_skip_to_another_shape_is_refused(rng):
    with pytest.raises(ShapeError, match=r"^res adds \(6, 5, 2\) to \(6, 5, 4\)"):
        count(layers.Sequential(res=layers.Residual(conv=layers.Conv2D(2, 4, rng=rng))), (6, 5, 2))


def test_what_does_not_fit_is_refused(rng):
    with pytest.raises(ShapeError, match="0 was made for 4 channels"):
        count(layers.Sequential(layers.PointwiseConv2D(4, 3, rng=rng)), (2, 2, 3))
