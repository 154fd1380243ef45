"""Scaled dot-product attention of A heads over T tokens.

    scores[t,s] = scale * sum_d query[t,d] * key[s,d]          one T x T table for every picture and head
    probs[t,:]  = softmax(scores[t,:])
    y[t,d]      = sum_s probs[t,s] * value[s,d]

    dvalue[s,d] = sum_t probs[t,s] * dy[t,d]
    dprobs[t,s] = sum_d dy[t,d] * value[s,d]
    dscores     = probs * (dprobs - sum_s dprobs * probs)
    dquery[t,d] = scale * sum_s dscores[t,s] * key[s,d]        dkey[s,d] = scale * sum_t dscores[t,s] * query[t,d]

query, key, value and y are (N, T, A, D). The compiled twins work through one picture and head at a time, one query row
after another, and never hold more than a row of the table; what backward needs of it, it computes again from the
logarithm of each row's sum (N, A, T) that forward returns.

Cost 2 N A T^2 D multiply-adds forward, 5 N A T^2 D backward.
Source: Vaswani et al., Attention Is All You Need, 2017, eq. 1; Dao et al., FlashAttention, 2022, for the recomputation.
"""

import numpy as np
from numba import njit, prange

from minifer.kernels.twin import Twin


def attention_probs_numpy(query, key, scale):
    """Return probs (N, A, T, T) and log_sum (N, A, T)."""
    scores = np.einsum("ntad,nsad->nats", query, key) * scale
    top = scores.max(axis=-1, keepdims=True)
    e = np.exp(scores - top)
    total = e.sum(axis=-1, keepdims=True)
    return (e / total).astype(query.dtype), (top + np.log(total))[..., 0].astype(query.dtype)


def attention_forward_numpy(query, key, value, scale):
    """Return y (N, T, A, D) and log_sum (N, A, T)."""
    probs, log_sum = attention_probs_numpy(query, key, scale)
    return np.einsum("nats,nsad->ntad", probs, value), log_sum


def attention_backward_numpy(dy, query, key, value, y, log_sum, scale):
    """Return dquery, dkey, dvalue (N, T, A, D)."""
    probs, _ = attention_probs_numpy(query, key, scale)
    dvalue = np.einsum("nats,ntad->nsad", probs, dy)
    dprobs = np.einsum("ntad,nsad->nats", dy, value)
    dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True)) * query.dtype.type(scale)
    return np.einsum("nats,nsad->ntad", dscores, key), np.einsum("nats,ntad->nsad", dscores, query), dvalue


@njit(parallel=True, cache=True, error_model="numpy")
def attention_forward_numba(query, key, value, scale):
    """Return y and log_sum; one picture and head per task."""
    batch, tokens, heads, width = query.shape
    y = np.empty_like(query)
    log_sum = np.empty((batch, heads, tokens), query.dtype)
    scale, zero = query.dtype.type(scale), query.dtype.type(0)
    for task in prange(batch * heads):
        n, a = task // heads, task % heads
        key_columns = np.empty((width, tokens), query.dtype)
        for s in range(tokens):
            for d in range(width):
                key_columns[d, s] = key[n, s, a, d] * scale
        row = np.empty(tokens, query.dtype)
        for t in range(tokens):
            row[:] = zero
            for d in range(width):
                q = query[n, t, a, d]
                for s in range(tokens):
                    row[s] += q * key_columns[d, s]
            top = row[0]
            for s in range(1, tokens):
                top = max(top, row[s])
            total = zero
            for s in range(tokens):
                row[s] = np.exp(row[s] - top)
                total += row[s]
            log_sum[n, a, t] = top + np.log(total)
            out = y[n, t, a]
            out[:] = zero
            for s in range(tokens):
                p = row[s] / total
                for d in range(width):
                    out[d] += p * value[n, s, a, d]
    return y, log_sum


@njit(parallel=True, cache=True, error_model="numpy")
def attention_backward_numba(dy, query, key, value, y, log_sum, scale):
    """Return dquery, dkey, dvalue; one picture and head per task, which owns its slices of all three."""
    batch, tokens, heads, width = query.shape
    dquery, dkey, dvalue = np.zeros_like(query), np.zeros_like(query), np.zeros_like(query)
    scale, zero = query.dtype.type(scale), query.dtype.type(0)
    for task in prange(batch * heads):
        n, a = task // heads, task % heads
        key_columns = np.empty((width, tokens), query.dtype)
        value_columns = np.empty((width, tokens), query.dtype)
        for s in range(tokens):
            for d in range(width):
                key_columns[d, s] = key[n, s, a, d] * scale
                value_columns[d, s] = value[n, s, a, d]
        probs, dprobs = np.empty(tokens, query.dtype), np.empty(tokens, query.dtype)
        for t in range(tokens):
            probs[:] = zero
            dprobs[:] = zero
            dot = zero  # sum_s dprobs * probs, which equals sum_d dy * y
            for d in range(width):
                q, g = query[n, t, a, d], dy[n, t, a, d]
                dot += g * y[n, t, a, d]
                for s in range(tokens):
                    probs[s] += q * key_columns[d, s]
                    dprobs[s] += g * value_columns[d, s]
            for s in range(tokens):
                probs[s] = np.exp(probs[s] - log_sum[n, a, t])
            for s in range(tokens):
                p = probs[s]
                dscore = p * (dprobs[s] - dot) * scale
                for d in range(width):
                    dvalue[n, s, a, d] += p * dy[n, t, a, d]
                    dkey[n, s, a, d] += dscore * query[n, t, a, d]
                    dquery[n, t, a, d] += dscore * key[n, s, a, d]
    return dquery, dkey, dvalue


attention_forward = Twin(attention_forward_numpy, attention_forward_numba)
attention_backward = Twin(attention_backward_numpy, attention_backward_numba)
