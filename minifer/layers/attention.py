"""Attention: every position of a map looks at every other and takes what it needs from it."""

import numpy as np

from minifer.errors import ConfigError, ShapeError
from minifer.kernels.attention import attention_backward, attention_forward
from minifer.kernels.elementwise import add
from minifer.layers.base import Layer, Parameter
from minifer.layers.dense import Linear
from minifer.layers.normalization import LayerNorm


class ScaledDotProductAttention(Layer):
    """Attention of A heads over T tokens, without parameters.

    Forward    probs[t,s] = softmax_s( query[t] . key[s] / sqrt(D) )        y[t] = sum_s probs[t,s] * value[s]
    Backward   dvalue[s] = sum_t probs[t,s] dy[t];   dprobs[t,s] = dy[t] . value[s]
               dscores = probs * (dprobs - sum_s dprobs probs) / sqrt(D)
               dquery[t] = sum_s dscores[t,s] key[s];   dkey[s] = sum_t dscores[t,s] query[t]
    Shapes     query, key, value, y (N,T,A,D)
    Cost       2 T^2 A D multiply-adds a picture, backward 5 T^2 A D: four products, and the scores once more
    Saved      query, key, value, y, and the logarithm of each row's sum (N,A,T), from which backward finds probs again
    Raises     ShapeError when query, key and value differ in shape
    Source     Vaswani et al., Attention Is All You Need, 2017, eq. 1
    """

    def forward(self, query, key, value, training=False):
        query, key, value = (self.check_input(x, "NTAD") for x in (query, key, value))
        if not query.shape == key.shape == value.shape:
            raise ShapeError(
                f"ScaledDotProductAttention: query {query.shape}, key {key.shape} and value {value.shape} must be of "
                "one shape"
            )
        y, log_sum = attention_forward(query, key, value, self._scale(query))
        self.save(training, query, key, value, y, log_sum)
        return y

    def backward(self, dy):
        query, key, value, y, log_sum = self.saved()
        dy = self.check_dy(dy, query.shape, query.dtype)
        return attention_backward(dy, query, key, value, y, log_sum, self._scale(query))

    @staticmethod
    def _scale(query):
        return query.shape[-1] ** -0.5


class MultiHeadSelfAttention(Layer):
    """Multi-head self-attention over the T = H*W positions of a feature map (not over the batch, not over channels).

    Forward    z = x (+ position), with normalize=True z = LayerNorm(z);   query, key, value = z Wq + bq, z Wk + bk,
               z Wv + bv, each split into A heads
               y = output_norm(attention(query, key, value), heads side by side, Wo + bo) (+ x with residual=True)
    Backward   through the same steps in reverse; dz is the sum of what comes back through query, key and value
    Shapes     x, y (N,H,W,C)   Wq, Wk, Wv (C,A*D)   Wo (A*D,C)   position (T,C)   D = head_units
    Cost       4 T C A D + 2 T^2 A D multiply-adds a picture: the second term grows with the square of the positions
    Saved      in the layers that it is made of
    Raises     ShapeError when the channels, or the map that `positions` was made for, do not fit
    Source     Vaswani et al., 2017, section 3.2.2; Nouisser et al., 2023, equations 2 and 3, with 8 heads of 64 units.
               Normalizing first (Xiong et al., 2020) keeps the scores small however deep the layer stands.

    output_norm is a BatchNorm of the channels, or None. Without one nothing limits what the layer adds to its residual
    path: Wv and Wo grow together, at Adam's usual rate of 0.001 to fifty times what passes by within an epoch, and the
    network ends in the same answer for every picture.

    With a residual path the last factor, gamma of output_norm or Wo, starts at zero: the layer then begins as the
    identity and does not disturb the others (Goyal et al., 2017, section 5.1).
    """

    def __init__(
        self, channels, heads=8, head_units=64, *, residual=True, normalize=False, output_norm=None, positions=None, rng
    ):
        if heads < 1 or head_units < 1:
            raise ConfigError(
                f"MultiHeadSelfAttention: heads and head_units are at least 1, got {heads} and {head_units}"
            )
        self.channels, self.heads, self.head_units = channels, heads, head_units
        self.residual, self.positions = residual, positions
        self.position = None
        if positions is not None:
            self.position = Parameter(
                rng.normal(0, 0.02, (positions[0] * positions[1], channels)).astype(np.float32, copy=False)
            )
        self.norm = LayerNorm(channels) if normalize else None
        self.query, self.key, self.value = (Linear(channels, heads * head_units, rng=rng) for _ in range(3))
        self.attention = ScaledDotProductAttention()
        self.output = Linear(heads * head_units, channels, rng=rng)
        self.output_norm = output_norm
        if residual:
            last = self.output.weight if output_norm is None else output_norm.gamma
            last.value[...] = 0

    def forward(self, x, training=False):
        x = self.check_input(x, "NHWC", self.channels)
        batch, height, width, _ = x.shape
        tokens = height * width
        z = self._tokens(x, training)
        per_head = (batch, tokens, self.heads, self.head_units)
        q, k, v = (
            layer.forward(z, training=training).reshape(per_head) for layer in (self.query, self.key, self.value)
        )
        y = self.attention.forward(q, k, v, training=training).reshape(batch * tokens, -1)
        y = self.output.forward(y, training=training).reshape(x.shape)
        if self.output_norm is not None:
            y = self.output_norm.forward(y, training=training)
        self.save(training, x.shape, x.dtype)
        return add(y, x) if self.residual else y

    def _tokens(self, x, training):
        """Return what query, key and value are made from, one row for each position of each picture."""
        batch, height, width, channels = x.shape
        tokens = height * width
        z = x.reshape(batch * tokens, channels)
        if self.position is not None:
            if (height, width) != tuple(self.positions):
                raise ShapeError(
                    f"MultiHeadSelfAttention: positions are for {self.positions}, the map is {height}x{width}"
                )
            z = (z.reshape(batch, tokens, channels) + self.position.value).reshape(z.shape)
        return z if self.norm is None else self.norm.forward(z, training=training)

    def probabilities(self, x):
        """Return how much each head lets each position (t) look at each other (s), for looking at.

        forward never holds this array: it grows with the square of the positions.

        Shapes     x (N,H,W,C)   probs (N,A,T,T), each row of the last axis adds up to 1
        """
        x = self.check_input(x, "NHWC", self.channels)
        z = self._tokens(x, training=False)
        per_head = (len(x), -1, self.heads, self.head_units)
        query, key = (layer.forward(z).reshape(per_head) for layer in (self.query, self.key))
        scores = np.einsum("ntad,nsad->nats", query, key) / np.sqrt(np.float32(self.head_units))
        probs = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return probs / probs.sum(axis=-1, keepdims=True)

    def backward(self, dy):
        shape, dtype = self.saved()
        dy = self.check_dy(dy, shape, dtype)
        batch, height, width, channels = shape
        rows = batch * height * width
        per_head = (batch, height * width, self.heads, self.head_units)
        dattended = dy if self.output_norm is None else self.output_norm.backward(dy)
        dattended = self.output.backward(dattended.reshape(rows, channels)).reshape(per_head)
        dq, dk, dv = self.attention.backward(dattended)
        dz = [
            layer.backward(dhead.reshape(rows, -1))
            for layer, dhead in ((self.query, dq), (self.key, dk), (self.value, dv))
        ]
        if not self.query.input_gradient:
            return None
        dz = add(add(dz[0], dz[1]), dz[2])
        if self.norm is not None:
            dz = self.norm.backward(dz)
            if dz is None:
                return None
        dz = dz.reshape(shape)
        if self.position is not None and not self.frozen:
            self.position.grad = dz.reshape(batch, height * width, channels).sum(axis=0)
        if not self.input_gradient:
            return None
        return add(dz, dy) if self.residual else dz

    def require_input_gradient(self, required):
        self.input_gradient = required
        below = required or (self.position is not None and not self.frozen)
        if self.norm is not None:
            below = self.norm.require_input_gradient(below)
        for layer in (self.query, self.key, self.value):
            layer.require_input_gradient(below)
        for layer in (self.attention, self.output, self.output_norm):
            if layer is not None:
                layer.require_input_gradient(self.has_backward())
        return self.has_backward()
