"""The same networks in PyTorch, as fast as it can: channels last, fused Adam, scaled_dot_product_attention."""

import torch
from torch import nn
from torch.nn import functional as F

from minifer.models.mobilenet import BLOCKS, STEM_FILTERS


def conv_norm(channels, filters, kernel, stride, groups=1, activation=True):
    """Return convolution, normalization and ReLU6."""
    layers = [
        nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(filters, eps=1e-3),
    ]
    return nn.Sequential(*layers, *([nn.ReLU6(inplace=True)] if activation else []))


class Attention(nn.Module):
    """x + attention(normalized x) over the positions of a map."""

    def __init__(self, channels, heads, units):
        super().__init__()
        self.heads, self.units = heads, units
        self.norm = nn.LayerNorm(channels)
        self.into = nn.Linear(channels, 3 * heads * units)
        self.out = nn.Linear(heads * units, channels)

    def forward(self, x):
        """Return x + attention."""
        batch, channels, height, width = x.shape
        tokens = x.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        query, key, value = (
            self.into(self.norm(tokens)).view(batch, -1, 3, self.heads, self.units).permute(2, 0, 3, 1, 4)
        )
        y = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, height * width, -1)
        return x + self.out(y).view(batch, height, width, channels).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Depthwise separable block, with a skip connection unless plain."""

    def __init__(self, channels, filters, stride, skip):
        super().__init__()
        self.body = nn.Sequential(
            conv_norm(channels, channels, 3, stride, groups=channels), conv_norm(channels, filters, 1, 1)
        )
        self.skip = skip
        same = stride == 1 and channels == filters
        self.projection = None if same or not skip else conv_norm(channels, filters, 1, stride, activation=False)

    def forward(self, x):
        """Return the block's output."""
        y = self.body(x)
        if not self.skip:
            return y
        return y + (x if self.projection is None else self.projection(x))


def torch_mobilenet(variant, alpha, attention_blocks=(), heads=8, units=64, classes=7):
    """Return the PyTorch twin of minifer.models.mobilenet for one-channel pictures."""
    channels = int(STEM_FILTERS * alpha)
    layers = [conv_norm(1, channels, 3, 2)]
    for number, (full, stride) in enumerate(BLOCKS, start=1):
        filters = int(full * alpha)
        layers.append(Block(channels, filters, stride, variant != "plain"))
        channels = filters
        if variant == "mha" and number in attention_blocks:
            layers.append(Attention(channels, heads, units))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def torch_step(net, x, labels, compiled=False):
    """Return a function that makes one training step with fused Adam."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    pictures = torch.tensor(x).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    targets = torch.tensor(labels)

    def loss_of(pictures, targets):
        return F.cross_entropy(net(pictures), targets)

    loss_of = torch.compile(loss_of) if compiled else loss_of

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss_of(pictures, targets).backward()
        optimizer.step()

    return step
