"""Layers with hand-written forward and backward passes."""

from minifer.layers.activation import ReLU, ReLU6, Softmax
from minifer.layers.attention import MultiHeadSelfAttention, ScaledDotProductAttention
from minifer.layers.base import Layer, Parameter, Statistic
from minifer.layers.containers import Residual, Sequential
from minifer.layers.convolution import Conv2D, DepthwiseConv2D, PointwiseConv2D
from minifer.layers.dense import Dropout, GlobalAveragePool, Linear
from minifer.layers.normalization import BatchNorm, LayerNorm

__all__ = [
    "BatchNorm",
    "Conv2D",
    "DepthwiseConv2D",
    "Dropout",
    "GlobalAveragePool",
    "Layer",
    "LayerNorm",
    "Linear",
    "MultiHeadSelfAttention",
    "Parameter",
    "PointwiseConv2D",
    "ReLU",
    "ReLU6",
    "Residual",
    "ScaledDotProductAttention",
    "Sequential",
    "Softmax",
    "Statistic",
]
