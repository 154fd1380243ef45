"""Exercise 3: the backward pass of scaled dot-product attention. Forward is given.

    scores[t,s] = query[t] . key[s] / sqrt(D)        probs[t,:] = softmax(scores[t,:])
    y[t]        = sum_s probs[t,s] * value[s]

    Shapes     query, key, value, y, dy and the three gradients (N,T,D)   scores, probs (N,T,T)

Two products with a softmax between them, so three steps backwards: from y to value and probs, from probs to scores,
from scores to query and key.

Check as you go, in this folder:

    pytest test_attention.py
    minifer gradcheck attention.py:Attention --input 2x5x3 --input 2x5x3 --input 2x5x3

Hints
1. Of a product y = a @ b the gradients are da = dy @ b.T and db = a.T @ dy. With a batch axis, .T is .swapaxes(1, 2).
2. Softmax: dscores = probs * (dprobs - sum_s dprobs * probs), the sum over the keys s. keepdims=True keeps the shape.
3. The 1 / sqrt(D) of forward appears once in backward too.
"""

import numpy as np

from minifer.layers import Layer


class Attention(Layer):
    """Attention of one head."""

    def forward(self, query, key, value, training=False):
        scores = query @ key.swapaxes(1, 2) / np.sqrt(query.shape[-1])
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        probs = powers / powers.sum(axis=-1, keepdims=True)
        self.save(training, query, key, value, probs)
        return probs @ value

    def backward(self, dy):
        query, key, value, probs = self.saved()
        ### BEGIN SOLUTION: return dquery, dkey, dvalue; begin with dvalue and dprobs (hint 1)
        # y = probs @ value, a product: each factor's gradient is dy times the other one, transposed.
        dvalue = probs.swapaxes(1, 2) @ dy
        dprobs = dy @ value.swapaxes(1, 2)
        # Softmax: a score raises its own probability and lowers all others in its row.
        dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
        # scores = query @ key^T / sqrt(D), a product again, and the root that forward divided by.
        dscores = dscores / np.sqrt(query.shape[-1])
        return dscores @ key, dscores.swapaxes(1, 2) @ query, dvalue
        ### END SOLUTION
