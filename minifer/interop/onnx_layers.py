"""Each layer as nodes of ONNX, opset 17: functions of (graph, layer, *values) that return (name, channels first?).

Weights turn as ONNX wants them: convolutions (F,C,KH,KW), depthwise ones (C,1,KH,KW) with a group for every channel.
Padding is written as numbers, from the layer's own geometry: "same" of other tools means other sides.
"""

from math import prod

import numpy as np

from minifer import layers
from minifer.layers.normalization import CLIPS


def convolution(graph, layer, x):
    """Conv2D and DepthwiseConv2D."""
    (top, bottom, left, right), _, _ = layer.geometry(*x.shape[1:3])
    depthwise, weight = isinstance(layer, layers.DepthwiseConv2D), layer.weight.value
    weight = weight.transpose(2, 0, 1)[:, np.newaxis] if depthwise else weight.transpose(3, 2, 0, 1)
    inputs = [graph.first(x), graph.constant(weight, "weight")]
    if getattr(layer, "bias", None) is not None:
        inputs.append(graph.constant(layer.bias.value, "bias"))
    name = graph.node(
        "Conv", *inputs, kernel_shape=[layer.kernel] * 2, strides=[layer.stride] * 2, pads=[top, left, bottom, right],
        dilations=[layer.dilation] * 2, group=layer.channels if depthwise else 1,
    )  # fmt: skip
    return name, True


def pointwise(graph, layer, x):
    """PointwiseConv2D."""
    weight = graph.constant(layer.weight.value.T[:, :, np.newaxis, np.newaxis], "weight")
    return graph.node("Conv", graph.first(x), weight, kernel_shape=[1, 1], strides=[layer.stride] * 2), True


def batch_norm(graph, layer, x):
    """BatchNorm, and the activation that it holds."""
    held = [
        graph.constant(item.value, name)
        for name, item in (
            ("gamma", layer.gamma), ("beta", layer.beta), ("mean", layer.running_mean), ("variance", layer.running_var)
        )
    ]  # fmt: skip
    if len(x.shape) in (2, 4):
        first = len(x.shape) == 4
        source = graph.first(x) if first else x.name
    else:  # channels come second in ONNX
        first, source = False, graph.node("Reshape", x.name, graph.constant(np.array([-1, x.shape[-1]], np.int64)))
    name = graph.clip(graph.node("BatchNormalization", source, *held, epsilon=layer.eps), *CLIPS[layer.activation])
    if len(x.shape) not in (2, 4):
        name = graph.node("Reshape", name, graph.constant(np.array([-1, *x.shape[1:]], np.int64)))
    return name, first


def layer_norm(graph, layer, x):
    """LayerNorm over the last axis."""
    held = graph.constant(layer.gamma.value, "gamma"), graph.constant(layer.beta.value, "beta")
    return graph.node("LayerNormalization", graph.last(x), *held, axis=-1, epsilon=layer.eps), False


def group_norm(graph, layer, x):
    """GroupNorm: each group is one instance; the node of that name came later, with another meaning of its weights."""
    _, h, w, c = x.shape
    rows = graph.node("Reshape", graph.first(x), graph.constant(np.array([0, layer.groups, -1], np.int64)))
    one, zero = np.ones(layer.groups, np.float32), np.zeros(layer.groups, np.float32)
    name = graph.node(
        "InstanceNormalization", rows, graph.constant(one, "one"), graph.constant(zero, "zero"), epsilon=layer.eps
    )
    name = graph.node("Reshape", name, graph.constant(np.array([0, c, h, w], np.int64)))
    gamma, beta = (array.value[:, np.newaxis, np.newaxis] for array in (layer.gamma, layer.beta))
    return graph.node(
        "Add", graph.node("Mul", name, graph.constant(gamma, "gamma")), graph.constant(beta, "beta")
    ), True


def clipped(graph, layer, x):
    """ReLU and ReLU6."""
    return graph.clip(x.name, layer.low, layer.high), x.first


def silu(graph, layer, x):
    """SiLU."""
    return graph.node("Mul", x.name, graph.node("Sigmoid", x.name)), x.first


def gelu(graph, layer, x):
    """GELU, with the error function."""
    half, one, root = (graph.constant(np.float32(number)) for number in (0.5, 1, np.sqrt(2)))
    erf = graph.node("Erf", graph.node("Div", x.name, root))
    return graph.node("Mul", graph.node("Mul", x.name, half), graph.node("Add", erf, one)), x.first


def hard_swish(graph, layer, x):
    """HardSwish."""
    return graph.node("HardSwish", x.name), x.first


def softmax(graph, layer, x):
    """Softmax over the last axis."""
    return graph.node("Softmax", graph.last(x), axis=-1), False


def pool(graph, layer, x):
    """MaxPool2D and AveragePool2D, which leaves out what lies beyond the border."""
    (top, bottom, left, right), _, _ = layer.geometry(*x.shape[1:3])
    kind = "MaxPool" if isinstance(layer, layers.MaxPool2D) else "AveragePool"
    how = {"kernel_shape": [layer.kernel] * 2, "strides": [layer.stride] * 2, "pads": [top, left, bottom, right]}
    return graph.node(kind, graph.first(x), **how), True


def global_average(graph, layer, x):
    """GlobalAveragePool."""
    return graph.node("Flatten", graph.node("GlobalAveragePool", graph.first(x))), False


def flatten(graph, layer, x):
    """Flatten, channels innermost."""
    return graph.reshape(x, (x.shape[0], prod(x.shape[1:]))).name, False


def linear(graph, layer, x):
    """Linear."""
    inputs = [x.name, graph.constant(layer.weight.value, "weight")]
    if layer.bias is not None:
        inputs.append(graph.constant(layer.bias.value, "bias"))
    return graph.node("Gemm", *inputs), False


def dropout(graph, layer, x):
    """Dropout does nothing once a network is trained."""
    return x.name, x.first


def attention(graph, layer, query, key, value):
    """ScaledDotProductAttention of (N,T,A,D): a product for each head."""
    scale = graph.constant(np.float32(query.shape[-1] ** -0.5))
    q, v = (graph.node("Transpose", graph.last(part), perm=[0, 2, 1, 3]) for part in (query, value))
    k = graph.node("Transpose", graph.last(key), perm=[0, 2, 3, 1])
    scores = graph.node("Mul", graph.node("MatMul", q, k), scale)
    y = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), v)
    return graph.node("Transpose", y, perm=[0, 2, 1, 3]), False


LAYERS = {
    layers.Conv2D: convolution,
    layers.DepthwiseConv2D: convolution,
    layers.PointwiseConv2D: pointwise,
    layers.BatchNorm: batch_norm,
    layers.LayerNorm: layer_norm,
    layers.GroupNorm: group_norm,
    layers.ReLU: clipped,
    layers.ReLU6: clipped,
    layers.SiLU: silu,
    layers.GELU: gelu,
    layers.HardSwish: hard_swish,
    layers.Softmax: softmax,
    layers.MaxPool2D: pool,
    layers.AveragePool2D: pool,
    layers.GlobalAveragePool: global_average,
    layers.Flatten: flatten,
    layers.Linear: linear,
    layers.Dropout: dropout,
    layers.ScaledDotProductAttention: attention,
}
