"""Networks of many kinds, built of our layers, have the gradients that PyTorch finds for the same operations."""

import numpy as np
import pytest

from minifer import layers
from minifer.cases import away_from_zero
from minifer.cost import count
from minifer.layers.convolution import resolve_padding
from minifer.losses import SoftmaxCrossEntropy
from minifer.models import mobilenet_v2, mobilenet_v3

torch = pytest.importorskip("torch", reason="PyTorch, the peer of this test, is not installed")
F = torch.nn.functional


def hard_swish(x):
    return x * F.relu6(x + 3) / 6  # F.hardswish takes a sixth for a float32


def interpret(layer, path, x, leaves):
    """Return what PyTorch makes of x (N,C,H,W) with the operation that a layer of ours stands for."""
    kind = type(layer).__name__

    def leaf(name):
        return leaves.get(f"{path}.{name}" if path else name)

    def inner(name, part, x):
        return interpret(part, f"{path}.{name}" if path else name, x, leaves)

    if kind in ("Sequential", "Residual"):
        y = x
        for name, part in layer.layers.items():
            y = inner(name, part, y)
        if kind == "Sequential":
            return y
        return y + (x if layer.projection is None else inner("projection", layer.projection, x))
    if kind == "SqueezeExcitation":
        z = F.relu(inner("reduce", layer.reduce, x.mean(dim=(2, 3))))
        return x * (F.relu6(inner("expand", layer.expand, z) + 3) / 6)[:, :, None, None]
    if kind in ("Conv2D", "DepthwiseConv2D", "MaxPool2D", "AveragePool2D"):
        top, bottom, left, right = resolve_padding(layer.padding, *x.shape[2:], layer.kernel, layer.stride)
        if kind == "MaxPool2D":
            return F.max_pool2d(F.pad(x, (left, right, top, bottom), value=-torch.inf), layer.kernel, layer.stride)
        x = F.pad(x, (left, right, top, bottom))
        if kind == "Conv2D":
            return F.conv2d(x, leaf("weight").permute(3, 2, 0, 1), leaf("bias"), layer.stride)
        return F.conv2d(x, leaf("weight").permute(2, 0, 1)[:, None], stride=layer.stride, groups=x.shape[1])
    if kind == "PointwiseConv2D":
        return F.conv2d(x, leaf("weight").T[:, :, None, None], stride=layer.stride)
    if kind == "BatchNorm":
        y = F.batch_norm(x, None, None, leaf("gamma"), leaf("beta"), training=True, eps=layer.eps)
        return {None: lambda y: y, "relu": F.relu, "relu6": F.relu6}[layer.activation](y)
    if kind == "Linear":
        return x @ leaf("weight") + leaf("bias")
    if kind == "Flatten":
        return x.permute(0, 2, 3, 1).flatten(1)  # our order: channels last
    plain = {"ReLU": F.relu, "HardSwish": hard_swish, "GlobalAveragePool": lambda x: x.mean(dim=(2, 3))}
    return plain[kind](x)


def lenet(rng):
    return layers.Sequential(
        conv1=layers.Conv2D(1, 6, 5, bias=True, rng=rng), relu1=layers.ReLU(), pool1=layers.MaxPool2D(2),
        conv2=layers.Conv2D(6, 16, 5, padding=0, bias=True, rng=rng), relu2=layers.ReLU(), pool2=layers.MaxPool2D(2),
        flat=layers.Flatten(), dense1=layers.Linear(400, 120, rng=rng), relu3=layers.ReLU(),
        dense2=layers.Linear(120, 84, rng=rng), relu4=layers.ReLU(), classifier=layers.Linear(84, 10, rng=rng),
    )  # fmt: skip


def vgg(rng):
    parts, channels = {}, 3
    for number, filters in enumerate((8, 8, 16, 16, 32)):
        parts[f"conv{number}"] = layers.Conv2D(channels, filters, 3, rng=rng)
        parts[f"norm{number}"] = layers.BatchNorm(filters, activation="relu")
        if number % 2:
            parts[f"pool{number}"] = layers.MaxPool2D(2)
        channels = filters
    return layers.Sequential(**parts, flat=layers.Flatten(), classifier=layers.Linear(8 * 8 * 32, 5, rng=rng))


def resnet(rng):
    """Return basic blocks of He et al., 2016, figure 5, with the projection of type B where the shape changes."""
    parts, channels = {"stem": layers.Conv2D(3, 8, 3, rng=rng), "stem_norm": layers.BatchNorm(8, activation="relu")}, 8
    for number, (filters, stride) in enumerate(((8, 1), (16, 2), (16, 1), (32, 2))):
        same = stride == 1 and channels == filters
        projection = layers.Sequential(
            pointwise=layers.PointwiseConv2D(channels, filters, stride, rng=rng), norm=layers.BatchNorm(filters)
        )
        parts[f"block{number}"] = layers.Residual(
            conv1=layers.Conv2D(channels, filters, 3, stride, rng=rng),
            norm1=layers.BatchNorm(filters, activation="relu"),
            conv2=layers.Conv2D(filters, filters, 3, rng=rng), norm2=layers.BatchNorm(filters),
            projection=None if same else projection,
        )  # fmt: skip
        parts[f"relu{number}"] = layers.ReLU()
        channels = filters
    return layers.Sequential(**parts, pool=layers.GlobalAveragePool(), classifier=layers.Linear(32, 5, rng=rng))


NETWORKS = {
    "lenet": (lenet, (28, 28, 1)),
    "vgg": (vgg, (32, 32, 3)),
    "resnet": (resnet, (32, 32, 3)),
    "v2": (lambda rng: mobilenet_v2(0.35, (32, 32, 3), 5), (32, 32, 3)),
    "v3-small": (lambda rng: mobilenet_v3("small", 0.35, (32, 32, 3), 5), (32, 32, 3)),
    "v3-large": (lambda rng: mobilenet_v3("large", 0.35, (32, 32, 3), 5), (32, 32, 3)),
}


def gradients(name, dtype, draw):
    """Return {path: (our gradient, PyTorch's)} of one draw, that of the pictures under "x"."""
    rng = np.random.default_rng(draw)
    make, shape = NETWORKS[name]
    net = away_from_zero(make(rng), rng).astype(dtype)
    x, labels = rng.standard_normal((8, *shape)).astype(dtype), rng.integers(0, 5, 8)
    theirs = {path: torch.tensor(item.value.copy()) for path, item in net.parameters().items()}
    theirs["x"] = torch.tensor(x)
    for leaf in theirs.values():
        leaf.requires_grad_()
    logits = interpret(net, "", theirs["x"].permute(0, 3, 1, 2), theirs)
    F.cross_entropy(logits, torch.tensor(labels)).backward()
    loss = SoftmaxCrossEntropy()
    loss.forward(net.forward(x, training=True), labels, training=True)
    ours = {"x": net.backward(loss.backward()), **{path: item.grad for path, item in net.parameters().items()}}
    return {path: (ours[path], leaf.grad.numpy()) for path, leaf in theirs.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_pytorchs_in_float64(name):
    pairs = gradients(name, np.float64, 0)
    # The shift of a linear block's end moves nothing, since the next normalization takes it away: its gradient is 0.
    least = 1e-3 * max(np.abs(theirs).max() for _, theirs in pairs.values())
    for path, (ours, theirs) in pairs.items():
        assert np.abs(ours - theirs).max() < 1e-8 * max(np.abs(theirs).max(), least), path


# In float32 rounding may carry a number across a kink of ReLU6, in PyTorch as here; that happens to some draws, and an
# error in a layer would happen to all.
@pytest.mark.parametrize("name", ["lenet", "vgg", "resnet", "v2", "v3-small"])
def test_gradients_are_pytorchs_in_float32(name):
    def distance(draw):
        """Return how far apart the two gradients of all parameters are, as a share of their length."""
        pairs = gradients(name, np.float32, draw).values()
        ours, theirs = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
        return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)

    assert min(map(distance, range(4))) < 1e-4


@pytest.mark.parametrize(
    "network, weights, multiply_adds, papers",
    [
        (mobilenet_v2, 3_504_872, 300_774_272, 300e6),
        (lambda **how: mobilenet_v3("large", **how), 5_483_032, 216_589_760, 219e6),
        (lambda **how: mobilenet_v3("small", **how), 2_542_856, 56_510_400, 56e6),
    ],
)
def test_published_sizes(network, weights, multiply_adds, papers):
    cost = count(network(input_shape=(224, 224, 3), classes=1000, outline=True), (224, 224, 3))
    assert cost.trainable_parameters == weights  # torchvision's
    assert cost.multiply_adds == multiply_adds and abs(multiply_adds / papers - 1) < 0.012
