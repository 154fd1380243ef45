"""The same networks in PyTorch, as fast as it can: channels last, fused Adam, its own attention. No word of minifer."""

from contextlib import nullcontext
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "hard-swish": nn.Hardswish}


def conv_norm(channels, filters, kernel, stride, groups=1, activation="relu6"):
    """Return convolution, normalization and an activation, or none."""
    layers = [
        nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(filters, eps=1e-3),
    ]
    return nn.Sequential(*layers, *([ACTIVATIONS[activation](inplace=True)] if activation else []))


class Attention(nn.Module):
    """x + normalized attention(normalized x) over the positions of a map."""

    def __init__(self, channels, heads, units):
        super().__init__()
        self.heads, self.units = heads, units
        self.norm = nn.LayerNorm(channels)
        self.into = nn.Linear(channels, 3 * heads * units)
        self.out = nn.Linear(heads * units, channels)
        self.out_norm = nn.BatchNorm2d(channels, eps=1e-3)

    def forward(self, x):
        """Return x + attention."""
        batch, channels, height, width = x.shape
        tokens = x.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        query, key, value = (
            self.into(self.norm(tokens)).view(batch, -1, 3, self.heads, self.units).permute(2, 0, 3, 1, 4)
        )
        y = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, height * width, -1)
        return x + self.out_norm(self.out(y).view(batch, height, width, channels).permute(0, 3, 1, 2))


class Block(nn.Module):
    """Depthwise separable block, with a skip connection unless plain."""

    def __init__(self, channels, filters, stride, skip):
        super().__init__()
        self.body = nn.Sequential(
            conv_norm(channels, channels, 3, stride, groups=channels), conv_norm(channels, filters, 1, 1)
        )
        self.skip = skip
        same = stride == 1 and channels == filters
        self.projection = None if same or not skip else conv_norm(channels, filters, 1, stride, activation=None)

    def forward(self, x):
        """Return the block's output."""
        y = self.body(x)
        if not self.skip:
            return y
        return y + (x if self.projection is None else self.projection(x))


def mobilenet(variant, alpha, attention_blocks, blocks, stem_filters, stem_stride=2, heads=8, units=64, classes=7):
    """Return the twin of minifer.models.mobilenet, whose table of blocks it is given, for one-channel pictures."""
    channels = int(stem_filters * alpha)
    layers = [conv_norm(1, channels, 3, stem_stride)]
    for number, (full, stride) in enumerate(blocks, start=1):
        filters = int(full * alpha)
        layers.append(Block(channels, filters, stride, variant != "plain"))
        channels = filters
        if variant == "mha" and number in attention_blocks:
            layers.append(Attention(channels, heads, units))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


class SqueezeExcitation(nn.Module):
    """x times gates of its channels."""

    def __init__(self, channels, reduced):
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, reduced, 1), nn.Conv2d(reduced, channels, 1)

    def forward(self, x):
        """Return the gated x."""
        z = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.expand(F.relu(self.reduce(z), inplace=True)), inplace=True)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, squeeze-and-excitation in some, and a linear end."""

    def __init__(self, channels, expanded, filters, kernel, stride, activation, reduced):
        super().__init__()
        self.body = nn.Sequential(
            *([conv_norm(channels, expanded, 1, 1, 1, activation)] if expanded != channels else []),
            conv_norm(expanded, expanded, kernel, stride, expanded, activation),
            *([SqueezeExcitation(expanded, reduced)] if reduced else []),
            conv_norm(expanded, filters, 1, 1, 1, None),
        )
        self.skip = stride == 1 and channels == filters

    def forward(self, x):
        """Return the block's output."""
        return x + self.body(x) if self.skip else self.body(x)


def inverted(stem, blocks, last, hidden, activation, classes=7):
    """Return the twin of minifer's mobilenet_v2 or _v3, whose blocks it is given as InvertedResidual's arguments."""
    layers = [conv_norm(1, stem, 3, 2, 1, activation), *(InvertedResidual(*block) for block in blocks)]
    layers += [conv_norm(blocks[-1][2], last, 1, 1, 1, activation), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if hidden:
        layers += [nn.Linear(last, hidden), nn.Hardswish(inplace=True)]
    layers.append(nn.Linear(hidden or last, classes))
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def build(network):
    """Return the network of a dict of arguments, those of `mobilenet` or of `inverted`."""
    return (inverted if "stem" in network else mobilenet)(**network)


def pictures(batch):
    """Return random pictures, channels last."""
    x = np.random.default_rng(0).standard_normal((batch, 1, 48, 48)).astype(np.float32)
    return torch.tensor(x).contiguous(memory_format=torch.channels_last)


def training(network, batch, compiled=False, math_attention=False):
    """Return a training step with fused Adam, on the attention that PyTorch chooses or on its products and softmax."""
    net = build(network)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    x, labels = pictures(batch), torch.tensor(np.random.default_rng(0).integers(0, 7, batch))

    def loss_of(x, labels):
        return F.cross_entropy(net(x), labels)

    loss_of = torch.compile(loss_of) if compiled else loss_of

    def step():
        optimizer.zero_grad(set_to_none=True)
        with sdpa_kernel(SDPBackend.MATH) if math_attention else nullcontext():
            loss_of(x, labels).backward()
        optimizer.step()

    return {"step": step}


def inference(network, batch, compiled=False):
    """Return a forward pass without gradients; what compiles may fold the weights."""
    net, x = build(network).eval(), pictures(batch)
    if compiled:
        torch._inductor.config.freezing = True
        net = torch.compile(net)

    def run():
        with torch.inference_mode():
            net(x)

    return {"run": run}


def export_onnx(network, batch, path):
    """Write the network as a file that ONNX Runtime reads; nothing is measured."""
    net, x = build(network).eval(), pictures(batch)
    torch.onnx.export(net, (x,), path, opset_version=17, dynamo=False, input_names=["pictures"])
    return {}


def depthwise(cases):
    """Return the passes of depthwise convolutions (batch, side of the map, channels, stride) by name and shape."""
    passes, rng = {}, np.random.default_rng(0)
    for batch, side, channels, stride in cases:
        shape, out = (side, channels, stride), -(-side // stride)
        x, dy = (
            torch.tensor(rng.standard_normal((batch, channels, n, n), np.float32)).contiguous(
                memory_format=torch.channels_last
            )
            for n in (side, out)
        )
        weight = torch.tensor(rng.standard_normal((channels, 1, 3, 3), np.float32))
        weight = weight.contiguous(memory_format=torch.channels_last)
        convolution = ([stride] * 2, [1, 1], [1, 1], False, [0, 0], channels)
        forward, backward = torch.ops.aten.convolution, torch.ops.aten.convolution_backward
        of_x, of_weight = [True, False, False], [False, True, False]
        passes |= {
            f"depthwise forward {shape}": partial(forward, x, weight, None, *convolution),
            f"depthwise grad_x {shape}": partial(backward, dy, x, weight, None, *convolution, of_x),
            f"depthwise grad_weight {shape}": partial(backward, dy, x, weight, None, *convolution, of_weight),
        }
    return passes
