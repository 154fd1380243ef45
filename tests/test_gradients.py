"""Every layer and the three small models against central differences, and values worked by hand."""

import numpy as np
import pytest

from minifer import layers, losses
from minifer.cases import CASES
from minifer.errors import ConfigError
from minifer.gradcheck import TOLERANCE, check_gradients
from minifer.kernels.twin import use_backend


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_backward_agrees_with_central_differences(case, rng):
    report = check_gradients(case.make(rng), *case.inputs(rng), rng=rng)
    assert report.error < TOLERANCE == 1e-6


@pytest.mark.parametrize("case", [c for c in CASES if "mobilenet" not in c.name], ids=lambda case: case.name)
def test_references_pass_too(case, rng):
    with use_backend("numpy"):
        check_gradients(case.make(rng), *case.inputs(rng), rng=rng)


def subclasses(kind):
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def test_every_layer_has_a_case(rng):
    covered = {type(layer) for case in CASES for _, layer in case.make(rng).walk()}
    ours = {kind for kind in subclasses(layers.Layer) if kind.__module__.startswith("minifer.")}
    ours = {kind for kind in ours if not kind.__module__.startswith("minifer.teaching.")}  # made of a student's layers
    public = {kind for kind in ours if kind.__name__[0] != "_" and kind.forward is not layers.Layer.forward}
    assert public - covered == set()


# Worked by hand.


def test_depthwise_by_hand():
    layer = layers.DepthwiseConv2D(1, kernel=2, padding=0, rng=np.random.default_rng(0))
    layer.weight.value = np.array([[[1.0], [2.0]], [[3.0], [4.0]]])
    x = np.arange(6.0).reshape(1, 2, 3, 1)  # 0 1 2 / 3 4 5
    y = layer.forward(x, training=True)
    np.testing.assert_array_equal(y.ravel(), [0 + 2 + 9 + 16, 1 + 4 + 12 + 20])
    dx = layer.backward(np.array([1.0, 10.0]).reshape(1, 1, 2, 1))
    np.testing.assert_array_equal(dx[0, :, :, 0], [[1, 12, 20], [3, 34, 40]])
    np.testing.assert_array_equal(layer.weight.grad[:, :, 0], [[0 + 10, 1 + 20], [3 + 40, 4 + 50]])


def test_pointwise_with_stride_by_hand():
    layer = layers.PointwiseConv2D(2, 1, stride=2, rng=np.random.default_rng(0))
    layer.weight.value = np.array([[1.0], [10.0]])
    x = np.arange(12.0).reshape(1, 2, 3, 2)
    y = layer.forward(x, training=True)
    np.testing.assert_array_equal(y.ravel(), [0 + 10, 4 + 50])
    dx = layer.backward(np.array([1.0, 2.0]).reshape(1, 1, 2, 1))
    np.testing.assert_array_equal(dx.ravel(), [1, 10, 0, 0, 2, 20, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(layer.weight.grad.ravel(), [0 + 8, 1 + 10])


def test_tensorflow_same_padding_is_asymmetric():
    from minifer.layers.convolution import resolve_padding

    assert resolve_padding("same", 48, 48, 3, 2) == (0, 1, 0, 1)
    assert resolve_padding("same", 47, 48, 3, 2) == (1, 1, 0, 1)
    assert resolve_padding("same", 3, 5, 3, 1) == (1, 1, 1, 1)
    assert resolve_padding(1, 48, 48, 3, 2) == (1, 1, 1, 1)
    assert resolve_padding(((0, 1), (2, 3)), 9, 9, 3, 2) == (0, 1, 2, 3)


def test_batchnorm_by_hand():
    layer = layers.BatchNorm(1, momentum=0.75, eps=0.0)
    layer.astype(np.float64)
    x = np.array([[1.0], [3.0]])
    np.testing.assert_allclose(layer.forward(x, training=True), [[-1], [1]])
    np.testing.assert_allclose(layer.running_mean.value, [0.25 * 2])
    np.testing.assert_allclose(layer.running_var.value, [0.75 + 0.25 * 1])
    # With two rows x_hat is -1 and 1 whatever x is, so nothing comes back; gamma and beta do get gradients.
    np.testing.assert_allclose(layer.backward(np.array([[5.0], [2.0]])), [[0], [0]], atol=1e-12)
    assert layer.gamma.grad == -3 and layer.beta.grad == 7
    np.testing.assert_allclose(layer.forward(x), (x - 0.5) / 1.0)


def test_relu6_by_hand():
    layer = layers.ReLU6()
    x = np.array([-1.0, 0.0, 3.0, 6.0, 7.0], np.float32)
    np.testing.assert_array_equal(layer.forward(x, training=True), [0, 0, 3, 6, 6])
    np.testing.assert_array_equal(layer.backward(np.ones(5, np.float32)), [0, 0, 1, 0, 0])


def test_attention_by_hand():
    # One head, two tokens. Query 0 is orthogonal to both keys (equal shares); query 1 looks at key 1 only.
    query = np.array([[0.0, 0.0], [0.0, 1000.0]]).reshape(1, 2, 1, 2)
    key = np.array([[1.0, 0.0], [0.0, 1.0]]).reshape(1, 2, 1, 2)
    value = np.array([[2.0, 4.0], [6.0, 8.0]]).reshape(1, 2, 1, 2)
    y = layers.ScaledDotProductAttention().forward(query, key, value)
    np.testing.assert_allclose(y.reshape(2, 2), [[4, 6], [6, 8]])


def test_cross_entropy_by_hand():
    loss = losses.SoftmaxCrossEntropy()
    logits = np.log(np.array([[0.25, 0.75], [0.5, 0.5]]))
    assert loss.forward(logits, np.array([1, 0]), training=True) == pytest.approx(-(np.log(0.75) + np.log(0.5)) / 2)
    np.testing.assert_allclose(loss.backward(), [[0.125, -0.125], [-0.25, 0.25]])
    soft = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert loss.forward(logits, soft) == loss.forward(logits, np.array([1, 0]))
    smooth = losses.SoftmaxCrossEntropy(label_smoothing=0.5)
    assert smooth.forward(logits, soft) == pytest.approx(loss.forward(logits, [[0.25, 0.75], [0.75, 0.25]]))
    weighted = losses.SoftmaxCrossEntropy(class_weights=[3.0, 1.0])
    assert weighted.forward(logits, np.array([1, 0])) == pytest.approx(-(np.log(0.75) + 3 * np.log(0.5)) / 4)
    with pytest.raises(ConfigError, match="do not fit logits"):
        losses.SoftmaxCrossEntropy(class_weights=[3.0, 1.0, 1.0]).forward(logits, np.array([1, 0]))
