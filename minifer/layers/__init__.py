"""Layers with hand-written forward and backward passes."""

from minifer.layers.activation import GELU, HardSwish, ReLU, ReLU6, SiLU, Softmax
from minifer.layers.attention import MultiHeadSelfAttention, ScaledDotProductAttention
from minifer.layers.base import Layer, Parameter, Statistic
from minifer.layers.containers import Residual, Sequential
from minifer.layers.convolution import Conv2D, DepthwiseConv2D, PointwiseConv2D
from minifer.layers.dense import Dropout, GlobalAveragePool, Linear
from minifer.layers.normalization import BatchNorm, GroupNorm, LayerNorm
from minifer.layers.pooling import AveragePool2D, Flatten, MaxPool2D
from minifer.layers.squeeze import SqueezeExcitation

__all__ = [
    "GELU",
    "AveragePool2D",
    "BatchNorm",
    "Conv2D",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "GroupNorm",
    "HardSwish",
    "Layer",
    "LayerNorm",
    "Linear",
    "MaxPool2D",
    "MultiHeadSelfAttention",
    "Parameter",
    "PointwiseConv2D",
    "ReLU",
    "ReLU6",
    "Residual",
    "ScaledDotProductAttention",
    "Sequential",
    "SiLU",
    "Softmax",
    "SqueezeExcitation",
    "Statistic",
]
