"""Scaled dot-product attention of A heads over T tokens.

    scores[t,s] = scale * sum_d query[t,d] * key[s,d]          one T x T table for every picture and head
    probs[t,:]  = softmax(scores[t,:])
    y[t,d]      = sum_s probs[t,s] * value[s,d]

    dvalue[s,d] = sum_t probs[t,s] * dy[t,d]
    dprobs[t,s] = sum_d dy[t,d] * value[s,d]
    dscores     = probs * (dprobs - sum_s dprobs * probs)
    dquery[t,d] = scale * sum_s dscores[t,s] * key[s,d]        dkey[s,d] = scale * sum_t dscores[t,s] * query[t,d]

query, key, value and y are (N, T, A, D). The compiled twins take one picture and head at a time and a few query rows of
it, so that no more than BLOCK rows of the tables exist at once; what backward needs of them it computes again from the
logarithm of each row's sum (N, A, T) that forward returns. All products are made of register tiles (kernels/tile.py).
Tokens and width are rounded up to whole tiles with zeros, so that no tile sticks out.

Cost 2 N A T^2 D multiply-adds forward, 5 N A T^2 D backward.
Source: Vaswani et al., Attention Is All You Need, 2017, eq. 1; Dao et al., FlashAttention, 2022, for the recomputation.
"""

import numpy as np
from numba import prange

from minifer.kernels.denormals import flush_denormals, restore
from minifer.kernels.exponentials import exponentials, largest
from minifer.kernels.packing import transpose
from minifer.kernels.tile import PANEL, TILE_ROWS, multiply_tiles, round_up
from minifer.kernels.twin import Twin, parallel, serial

BLOCK = 4 * TILE_ROWS  # query rows whose scores exist at once
PARTS = 32  # pieces of work at most: each of them takes memory for its tables once
LANES = 16  # sums that run side by side


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


@serial
def _copy_rows(source, n, a, first, last, out, length):
    """out[t, d] = source[n, first + t, a, d], rows of `length` numbers; rows from `last` on stay what they are."""
    width = source.shape[3]
    for t in range(last - first):
        row, head = out[t * length : t * length + width], source[n, first + t, a]
        for d in range(width):
            row[d] = head[d]


@serial
def _return_rows(values, length, first, last, target, n, a, totals):
    """target[n, first + t, a, d] = values[t, d] / totals[t]."""
    width = target.shape[3]
    for t in range(last - first):
        row, head = values[t * length : t * length + width], target[n, first + t, a]
        share = values.dtype.type(1) / totals[t]
        for d in range(width):
            head[d] = row[d] * share


@serial
def _columns(rows, length, width, out):
    """Pack the transpose of rows (T, width), T a multiple of PANEL: out[panel, d, v] = rows[panel*PANEL + v, d]."""
    for row in range(0, rows.size // length, PANEL):
        transpose(rows, row * length, length, out, row * width, PANEL, PANEL, width)


@serial
def _dot(row, other, lanes):
    """Return sum_d row[d] * other[d]; lanes is scratch.

    One sum after another would wait for the one before; LANES of them at a time don't, and fit a vector.
    """
    whole = row.size // LANES * LANES
    lanes[:] = 0
    for d in range(0, whole, LANES):
        part, other_part = row[d : d + LANES], other[d : d + LANES]
        for v in range(LANES):
            lanes[v] += part[v] * other_part[v]
    total = row.dtype.type(0)
    for v in range(LANES):
        total += lanes[v]
    for d in range(whole, row.size):
        total += row[d] * other[d]
    return total


@parallel
def attention_forward_numba(query, key, value, scale):
    """Return y and log_sum; some pictures and heads, one after the other, per task."""
    batch, tokens, heads, width = query.shape
    y = np.empty_like(query)
    log_sum = np.empty((batch, heads, tokens), query.dtype)
    scale = query.dtype.type(scale)
    length, table = round_up(width, PANEL), round_up(tokens, PANEL)  # of rows: the arguments', and the scores'
    block = min(BLOCK, round_up(tokens, TILE_ROWS))
    tables = batch * heads
    parts = min(tables, PARTS)
    for part in prange(parts):
        control = flush_denormals()
        key_columns = np.empty(table * width, query.dtype)
        keys, values = np.zeros(table * length, query.dtype), np.zeros(tokens * length, query.dtype)
        queries = np.zeros(block * length, query.dtype)
        scores, out = np.empty(block * table, query.dtype), np.empty(block * length, query.dtype)
        totals = np.empty(block, query.dtype)
        for task in range(tables * part // parts, tables * (part + 1) // parts):
            n, a = task // heads, task % heads
            _copy_rows(key, n, a, 0, tokens, keys, length)
            _copy_rows(value, n, a, 0, tokens, values, length)
            _columns(keys, length, width, key_columns)
            for first in range(0, tokens, block):
                last = min(first + block, tokens)
                rows = round_up(last - first, TILE_ROWS)
                _copy_rows(query, n, a, first, last, queries, length)
                multiply_tiles(
                    queries, length, 1, key_columns, 0, width * PANEL, PANEL, rows, table, width, scores, table, False
                )
                for t in range(last - first):
                    shift = scale * largest(scores, t * table, tokens)
                    totals[t] = exponentials(scores, t * table, tokens, scale, shift)
                    log_sum[n, a, first + t] = shift + np.log(totals[t])
                multiply_tiles(scores, table, 1, values, 0, PANEL, length, rows, length, tokens, out, length, False)
                # A row of y is shorter than one of scores: its sum is divided out here.
                _return_rows(out, length, first, last, y, n, a, totals)
        restore(control)
    return y, log_sum


@parallel
def attention_backward_numba(dy, query, key, value, y, log_sum, scale):
    """Return dquery, dkey, dvalue; some pictures and heads per task, which owns its slices of all three."""
    batch, tokens, heads, width = query.shape
    dquery, dkey, dvalue = np.empty_like(query), np.empty_like(query), np.empty_like(query)
    scale = query.dtype.type(scale)
    length, table = round_up(width, PANEL), round_up(tokens, PANEL)
    tile_tokens = round_up(tokens, TILE_ROWS)
    block = min(BLOCK, tile_tokens)
    table_row = max(table, tile_tokens)  # the tables are read as rows of panels and as columns of tiles
    tables = batch * heads
    parts = min(tables, PARTS)
    for part in prange(parts):
        control = flush_denormals()
        key_columns, value_columns = np.empty(table * width, query.dtype), np.empty(table * width, query.dtype)
        keys, values = np.zeros(table * length, query.dtype), np.zeros(table * length, query.dtype)
        queries, dys = np.zeros(block * length, query.dtype), np.zeros(block * length, query.dtype)
        probs, dprobs = np.zeros(block * table_row, query.dtype), np.zeros(block * table_row, query.dtype)
        dqueries = np.empty(block * length, query.dtype)
        dkeys, dvalues = np.empty(tile_tokens * length, query.dtype), np.empty(tile_tokens * length, query.dtype)
        lanes, ones = np.empty(LANES, query.dtype), np.ones(tokens, query.dtype)
        for task in range(tables * part // parts, tables * (part + 1) // parts):
            n, a = task // heads, task % heads
            _copy_rows(key, n, a, 0, tokens, keys, length)
            _copy_rows(value, n, a, 0, tokens, values, length)
            _columns(keys, length, width, key_columns)
            _columns(values, length, width, value_columns)
            for first in range(0, tokens, block):
                last = min(first + block, tokens)
                count = last - first
                rows = round_up(count, TILE_ROWS)
                _copy_rows(query, n, a, first, last, queries, length)
                _copy_rows(dy, n, a, first, last, dys, length)
                multiply_tiles(
                    queries, length, 1, key_columns, 0, width * PANEL, PANEL, rows, table, width,
                    probs, table_row, False,
                )  # fmt: skip
                multiply_tiles(
                    dys, length, 1, value_columns, 0, width * PANEL, PANEL, rows, table, width,
                    dprobs, table_row, False,
                )  # fmt: skip
                for t in range(count):
                    total = exponentials(probs, t * table_row, tokens, scale, log_sum[n, a, first + t])
                    share = query.dtype.type(1) / total  # about 1; of large scores log_sum has lost the last digits
                    # sum_d dy * y equals sum_s dprobs * probs
                    dot = _dot(dys[t * length : t * length + width], y[n, first + t, a], lanes)
                    p = probs[t * table_row : t * table_row + tokens]
                    dp = dprobs[t * table_row : t * table_row + tokens]
                    for s in range(tokens):
                        p[s] *= share
                        dp[s] = p[s] * (dp[s] - dot) * scale
                more = first > 0
                multiply_tiles(
                    dprobs, table_row, 1, keys, 0, PANEL, length, rows, length, tokens, dqueries, length, False
                )
                multiply_tiles(
                    probs, 1, table_row, dys, 0, PANEL, length, tile_tokens, length, count, dvalues, length, more
                )
                multiply_tiles(
                    dprobs, 1, table_row, queries, 0, PANEL, length, tile_tokens, length, count, dkeys, length, more
                )
                _return_rows(dqueries, length, first, last, dquery, n, a, ones)
            _return_rows(dkeys, length, 0, tokens, dkey, n, a, ones)
            _return_rows(dvalues, length, 0, tokens, dvalue, n, a, ones)
        restore(control)
    return dquery, dkey, dvalue


attention_forward = Twin(attention_forward_numpy, attention_forward_numba)
attention_backward = Twin(attention_backward_numpy, attention_backward_numba)
