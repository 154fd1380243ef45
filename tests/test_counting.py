"""The formulas of minifer/cost.py against loops that count every multiply-add, and those loops against the layers."""

import copy
import sys

import numpy as np
import pytest

from minifer import layers
from minifer.cases import CASES, SMALL_BLOCKS, away_from_zero
from minifer.cost import count
from minifer.counting import KERNELS, Counter, counted, counting
from minifer.errors import LayerError
from minifer.kernels.pointwise import pointwise_forward
from minifer.kernels.twin import TWINS, use_kernels
from minifer.models import mobilenet

WINDOWS = [  # settings of a convolution, picture (H, W): kernels, strides and paddings of all sorts
    ({"kernel": 3, "stride": 1, "padding": "same"}, (5, 4)),
    ({"kernel": 3, "stride": 2, "padding": "same"}, (6, 5)),
    ({"kernel": 3, "stride": 2, "padding": 1}, (6, 5)),
    ({"kernel": 3, "stride": 1, "padding": 0}, (4, 5)),
    ({"kernel": 2, "stride": 1, "padding": 0}, (3, 5)),
    ({"kernel": 5, "stride": 3, "padding": ((1, 2), (0, 3))}, (5, 6)),
    ({"kernel": 1, "stride": 2, "padding": 0}, (5, 3)),
    ({"kernel": 3, "stride": 1, "padding": "same"}, (1, 1)),
]


def dense(rng, **window):
    return layers.Conv2D(2, 3, **window, rng=rng)


def depthwise(rng, **window):
    return layers.DepthwiseConv2D(3, **window, rng=rng)


def attention(rng, **settings):
    return away_from_zero(layers.MultiHeadSelfAttention(3, rng=rng, **settings), rng)


def examples():
    for window, size in WINDOWS:
        name = f"{window['kernel']}-{window['stride']}-{size[0]}x{size[1]}-{window['padding']}"
        yield pytest.param(dense, window, (*size, 2), id=f"dense-{name}")
        yield pytest.param(depthwise, window, (*size, 3), id=f"depthwise-{name}")
    for stride, shape in ((1, (3, 2)), (2, (5, 4)), (3, (4, 7))):
        yield pytest.param(
            lambda rng, stride: layers.PointwiseConv2D(3, 4, stride, rng=rng),
            {"stride": stride},
            (*shape, 3),
            id=f"pointwise-{stride}",
        )
    for bias in (False, True):
        yield pytest.param(
            lambda rng, bias: layers.Linear(4, 3, bias=bias, rng=rng), {"bias": bias}, (4,), id=f"linear-{bias}"
        )
    for shape in ((1, 1, 3), (5, 2, 3), (4, 3, 1)):
        yield pytest.param(lambda rng: layers.ScaledDotProductAttention(), {}, shape, id=f"attention-{shape}")
    for settings in (
        {"heads": 2, "head_units": 4},
        {"heads": 1, "head_units": 3, "normalize": True},
        {"heads": 2, "head_units": 2, "positions": (3, 2), "residual": False},
    ):
        yield pytest.param(attention, settings, (3, 2, 3), id=f"multi-head-{'-'.join(settings)}")


@pytest.mark.parametrize(("make", "settings", "shape"), list(examples()))
def test_the_formula_is_what_is_executed(make, settings, shape, rng):
    layer = make(rng, **settings)
    cost, executed = count(layer, shape), counted(layer, shape)
    assert executed.forward == cost.forward.multiply_adds > 0
    assert executed.backward == cost.backward.multiply_adds > 0
    layer.require_input_gradient(False)
    assert counted(layer, shape).backward == count(layer, shape).backward.multiply_adds


@pytest.mark.parametrize("layer", [layers.ReLU(), layers.BatchNorm(3), layers.LayerNorm(3), layers.GlobalAveragePool()])
def test_what_is_not_counted_costs_nothing(layer):
    cost, executed = count(layer, (2, 2, 3)), counted(layer, (2, 2, 3))
    assert executed.forward == executed.backward == 0
    assert cost.forward.multiply_adds == cost.backward.multiply_adds == 0
    assert cost.forward.map_bytes > 0 and cost.backward.map_bytes > 0


@pytest.mark.parametrize("variant", ["plain", "skip", "mha"])
@pytest.mark.parametrize("part", [None, "extraction", "all"])
def test_whole_models(variant, part):
    shape = (7, 6, 1)
    small = {"heads": 2, "head_units": 3} if variant == "mha" else {}
    net = mobilenet(variant, alpha=1 / 16, input_shape=shape, classes=3, blocks=SMALL_BLOCKS, **small)
    if part:
        net.freeze(part)
    whole = count(net, shape)
    assert counted(net, shape).backward == whole.backward.multiply_adds > 0
    net.require_input_gradient(False)
    training = count(net, shape)
    executed = counted(net, shape)
    assert (executed.forward, executed.backward) == (training.multiply_adds, training.backward.multiply_adds)
    assert training.backward.multiply_adds < whole.backward.multiply_adds
    assert (training.backward.multiply_adds == 0) == (part == "all")


def gradients(layer, inputs, dy):
    """Return the output and all gradients of one forward and backward pass on a copy."""
    layer = copy.deepcopy(layer)
    y = layer.forward(*inputs, training=True)
    dx = layer.backward(dy(y))
    results = [y, *(dx if isinstance(dx, tuple) else (dx,))]
    return results + [p.grad for p in layer.parameters(trainable_only=True).values()]


@pytest.mark.parametrize("case", [c for c in CASES if "cross-entropy" not in c.name], ids=lambda case: case.name)
def test_what_counts_is_the_layer(case, rng):
    """Outputs and gradients of the counting loops are those of the fast kernels, over the table of all layers."""
    layer, inputs = case.make(rng).astype(np.float64), case.inputs(rng)

    def dy(y):
        return np.random.default_rng(1).standard_normal(y.shape)

    fast = gradients(layer, inputs, dy)
    with counting():
        slow = gradients(layer, inputs, dy)
    for one, other in zip(fast, slow, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


def test_a_batch_costs_as_many_times_as_it_has_pictures(rng):
    layer = dense(rng, kernel=3, stride=1, padding="same")
    with counting() as counter:
        layer.forward(np.zeros((5, 4, 3, 2), np.float32))
    assert counter.multiply_adds == 5 * count(layer, (4, 3, 2)).multiply_adds


def test_ordinary_convolution_without_matrix_products(rng):
    """Seven loops straight from the equation: the same sums, the same number of them, as through im2col."""
    layer = dense(rng, kernel=3, stride=2, padding=1)
    x = rng.standard_normal((2, 5, 4, 2)).astype(np.float32)
    with counting() as counter:
        y = layer.forward(x)
    direct, loops = np.zeros_like(y), Counter()
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for n, i, j, f, u, v, c in np.ndindex(*y.shape, 3, 3, 2):
        entry = padded[n, 2 * i + u, 2 * j + v, c]
        direct[n, i, j, f] = loops.multiply_add(direct[n, i, j, f], entry, layer.weight.value[u, v, c, f])
    np.testing.assert_allclose(y, direct, rtol=1e-5, atol=1e-6)
    assert loops.multiply_adds == counter.multiply_adds == 2 * count(layer, (5, 4, 2)).multiply_adds


def test_counting_ends_with_its_statement(rng):
    layer = layers.Linear(4, 3, rng=rng)
    with counting() as counter:
        layer.forward(np.zeros((1, 4), np.float32))
    layer.forward(np.zeros((1, 4), np.float32))
    assert counter.multiply_adds == 12
    assert set(KERNELS) <= {twin.name for twin in TWINS}


def test_stand_ins_for_no_kernel_are_refused():
    with pytest.raises(ValueError, match="no kernel is called 'pointless'"), use_kernels({"pointless": print}):
        pass


class DenseInNumpy(layers.Layer):
    """What a student writes: the product is NumPy's, where nobody counts."""

    def __init__(self):
        self.weight = layers.Parameter(np.ones((3, 4), np.float32))

    def forward(self, x, training=False):
        return x @ self.weight.value

    def backward(self, dy):
        return dy @ self.weight.value.T


def product(x, weight):
    return sum(np.multiply(x[:, i : i + 1], weight[i]) for i in range(3))


class DenseInLoops(DenseInNumpy):
    def forward(self, x, training=False):
        return np.array([[sum(a * b for a, b in zip(row, w, strict=True)) for w in self.weight.value.T] for row in x])


class DenseInAFunction(DenseInNumpy):
    def forward(self, x, training=False):
        return product(x, self.weight.value)


class DensePastTheTwin(DenseInNumpy):
    def forward(self, x, training=False):
        return pointwise_forward.reference(x, self.weight.value)


class BackwardInNumpy(DenseInNumpy):
    def forward(self, x, training=False):
        return pointwise_forward(x, self.weight.value)


@pytest.mark.parametrize("kind", [DenseInNumpy, DenseInLoops, DenseInAFunction, DensePastTheTwin, BackwardInNumpy])
def test_products_that_nobody_counts_are_refused(kind):
    method = "backward" if kind is BackwardInNumpy else "forward"
    with pytest.raises(LayerError, match=rf"{kind.__name__}\.{method} multiplies by itself \(.*\.py, line \d+\)"):
        counted(kind(), (3,))
    with pytest.raises(LayerError, match="multiplies by itself"), counting():
        kind().forward(np.ones((2, 3), np.float32))
        kind().backward(np.ones((2, 4), np.float32))


def test_what_is_no_layer_is_refused():
    class Plain:
        def forward(self, x):
            return x

    with pytest.raises(LayerError, match="Plain is no minifer"):
        counted(Plain(), (3,))


def test_a_layer_made_of_layers_is_counted(rng):
    class Two(layers.Layer):
        def __init__(self):
            self.parts = [layers.Linear(3, 4, rng=rng), layers.Linear(4, 2, rng=rng)]

        def forward(self, x, training=False):
            return self.parts[1].forward(self.parts[0].forward(x, training=training) + 1, training=training)

        def backward(self, dy):
            return self.parts[0].backward(self.parts[1].backward(dy))

    before = sys.getprofile()
    assert counted(Two(), (3,)).forward == 12 + 8 and counted(Two(), (3,)).backward == 2 * (12 + 8)
    assert sys.getprofile() is before
