"""Histograms of oriented gradients: cells, normalised blocks, and the score of every window in one pass.

    gradient   gy[i,j] = x[i+1,j] - x[i-1,j]   gx[i,j] = x[i,j+1] - x[i,j-1]   (0 on the border)
    cell       cells[p,q,o]  = 1/cell^2 * sum of |(gx, gy)| over the cell's pixels whose angle (mod 180) is in bin o
    block      b = 2x2 cells;  b /= sqrt(|b|^2 + eps^2);  b = min(b, clip);  b /= sqrt(|b|^2 + eps^2)      (L2-Hys)
    score      scores[p,q]   = sum_uvc  blocks[p+u, q+v, c] * weight[u,v,c]

The features are those of skimage.feature.hog(image, 9, (cell, cell), (2, 2)), computed once for a whole picture. A
window that starts at cell (p, q) then has the features blocks[p:p+U, q:q+V], so that a linear classifier's scores of
all windows are one correlation. (One pixel differs: a window cut out first has zero gradients on its own border.)

Source     Dalal & Triggs, "Histograms of oriented gradients for human detection", CVPR 2005; scikit-image 0.26.
"""

import numpy as np

from minifer.kernels.packing import transpose
from minifer.kernels.tile import FEW_ROWS, PANEL, TILE_ROWS, multiply_few_rows, multiply_tile, round_up
from minifer.kernels.twin import Twin, serial

WINDOWS = 4 * TILE_ROWS  # of the hidden layer at a time


def hog_cells_numpy(image, cell):
    """Return the orientation histograms of a picture's cells.

    Shapes     image (H,W) float32 or float64   cells (H//cell, W//cell, 9), in the image's dtype
    Cost       about 30 operations a pixel
    """
    gy, gx = np.zeros_like(image), np.zeros_like(image)
    gy[1:-1] = image[2:] - image[:-2]
    gx[:, 1:-1] = image[:, 2:] - image[:, :-2]
    gy, gx = gy.astype(np.float64), gx.astype(np.float64)
    magnitude = np.hypot(gx, gy)
    angle = np.rad2deg(np.arctan2(gy, gx)) % 180
    rows, columns = image.shape[0] // cell, image.shape[1] // cell
    cells = np.empty((rows, columns, 9), image.dtype)
    for o in range(9):
        votes = np.where((20 * o <= angle) & (angle < 20 * (o + 1)), magnitude, 0.0)[: rows * cell, : columns * cell]
        cells[:, :, o] = votes.reshape(rows, cell, columns, cell).mean(axis=(1, 3))
    return cells


def hog_blocks_numpy(cells, eps, clip):
    """Return the contrast-normalised 2x2 blocks of cells.

    Shapes     cells (P,Q,9)   blocks (P-1,Q-1,36), the four cells row by row
    """
    blocks = np.concatenate([cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], axis=-1)
    for largest in (clip, np.inf):
        blocks = blocks / np.sqrt((blocks.astype(np.float64) ** 2).sum(axis=-1, keepdims=True) + eps**2)
        blocks = np.minimum(blocks, largest)
    return blocks.astype(cells.dtype)


def window_scores_numpy(blocks, weight):
    """Return the correlation of a block grid with a template: the linear score of every window.

    Shapes     blocks (P,Q,C)   weight (U,V,C)   scores (P-U+1, Q-V+1); empty where the grid is smaller than the
               template
    Cost       P*Q*U*V*C multiply-adds
    """
    rows, columns = max(blocks.shape[0] - weight.shape[0] + 1, 0), max(blocks.shape[1] - weight.shape[1] + 1, 0)
    scores = np.zeros((rows, columns), blocks.dtype)
    for u in range(weight.shape[0]):
        for v in range(weight.shape[1]):
            scores += blocks[u : u + rows, v : v + columns] @ weight[u, v]
    return scores


def gather_windows_numpy(blocks, rows, columns, height, width):
    """Return the features of some windows, one row each.

    Shapes     blocks (P,Q,C)   rows columns (N,), the first block of each window   features (N, height*width*C)
    """
    windows = [blocks[p : p + height, q : q + width].ravel() for p, q in zip(rows, columns, strict=True)]
    return np.array(windows, blocks.dtype).reshape(len(rows), height * width * blocks.shape[2])


def hidden_layer_numpy(blocks, rows, columns, hidden, bias):
    """Return relu(features @ hidden + bias) of some windows, without collecting their features.

    Shapes     blocks (P,Q,C)   rows columns (N,), the first block of each   hidden (U,V,C,K)   bias (K,)   layer (N,K)
    Cost       N*U*V*C*K multiply-adds
    """
    features = gather_windows_numpy(blocks, rows, columns, *hidden.shape[:2])
    return np.maximum(features @ hidden.reshape(-1, hidden.shape[3]) + bias, 0)


def passing_windows_numpy(level, cell, eps, clip, template, bias, least):
    """Return the blocks of a picture, and where its windows of a score above `least` begin, row by row, with scores.

    Shapes     level (H,W)   template (U,V,36)   blocks (P,Q,36)   rows columns scores (N,)
    Cost       that of the three above; in one call, so that threads that each look at a level need not wait for another
    """
    blocks = hog_blocks_numpy(hog_cells_numpy(level, cell), eps, clip)
    scores = window_scores_numpy(blocks, template) + blocks.dtype.type(bias)
    rows, columns = np.nonzero(scores > least)
    return blocks, rows, columns, scores[rows, columns]


# The compiled twins. To the caller their arrays are those of the references, (P,Q,C); in memory the positions of a row
# lie beside each other, (P,C,Q), as vector instructions want them. _planes finds them so without a copy.


@serial
def _planes(grid):
    """Return (P,Q,C) as a contiguous (P,C,Q): a copy only where it was made by something else."""
    return np.ascontiguousarray(grid.transpose((0, 2, 1)))


@serial
def _copy(source, target):
    """Copy numbers to the start of another row: in a loop, since an assignment to a slice takes four times as long."""
    for k in range(source.size):
        target[k] = source[k]


@serial
def _row_votes(up, row, down, cosine, sine, magnitude, orientation):
    """Fill one row of gradient magnitudes and orientation bins.

    The bin is the number of boundary directions (20, 40, ... 160 degrees) that the gradient reaches once it is turned
    to point downwards (gy >= 0): the sign of a cross product each, which vectorises where an arc tangent does not. A
    gy too small to change the angle in float64 counts as 0, except that the angle 180 - 0 falls into no bin. Bins are
    floating-point numbers, as wide as the magnitudes beside them.
    """
    width = row.shape[0]
    real = row.dtype.type
    zero, one, least = real(0), real(1), real(2.4e-16)
    for j in (0, width - 1):
        magnitude[j], orientation[j] = abs(down[j] - up[j]), 4  # gx = 0: the angle is 90 degrees
    for j in range(1, width - 1):
        gy = down[j] - up[j]
        gx = row[j + 1] - row[j - 1]
        flat = abs(gy) < least * abs(gx)
        magnitude[j] = zero if flat and gy < 0 and gx > 0 else np.sqrt(gx * gx + gy * gy)
        sign = -one if gy < 0 or (flat and gx < 0) else one
        y, x = (zero if flat else sign * gy), sign * gx
        o = zero
        for k in range(8):
            o += one if y * cosine[k] >= x * sine[k] else zero
        orientation[j] = zero if y == 0 else o


@serial
def hog_cells_numba(image, cell):
    """As hog_cells_numpy, a row of cells at a time: votes[o,j] gathers what column j of the picture says for bin o."""
    height, width = image.shape
    rows, columns = height // cell, width // cell
    real = image.dtype.type
    cells = np.empty((rows, 9, columns), image.dtype)
    cosine, sine = np.empty(8, image.dtype), np.empty(8, image.dtype)
    for k in range(8):
        cosine[k], sine[k] = np.cos((k + 1) * (np.pi / 9)), np.sin((k + 1) * (np.pi / 9))
    magnitude, orientation = np.empty(width, image.dtype), np.empty(width, image.dtype)
    votes = np.empty((9, width), image.dtype)
    zero, share = real(0), real(1.0 / (cell * cell))
    for p in range(rows):
        votes[:] = 0
        for i in range(p * cell, (p + 1) * cell):
            inside = 0 < i < height - 1
            up, down = (image[i - 1], image[i + 1]) if inside else (image[i], image[i])
            _row_votes(up, image[i], down, cosine, sine, magnitude, orientation)
            for o in range(9):
                bin_votes, number = votes[o], real(o)
                for j in range(width):
                    bin_votes[j] += magnitude[j] if orientation[j] == number else zero
        for o in range(9):
            bin_votes, row = votes[o], cells[p, o]
            if cell == 4:  # as for the detector that ships: a step that the compiler knows takes a third of the time
                for q in range(columns):
                    left, right = bin_votes[4 * q] + bin_votes[4 * q + 1], bin_votes[4 * q + 2] + bin_votes[4 * q + 3]
                    row[q] = (left + right) * share
            else:
                for q in range(columns):
                    total = zero
                    for j in range(q * cell, (q + 1) * cell):
                        total += bin_votes[j]
                    row[q] = total * share
    return cells.transpose((0, 2, 1))


@serial
def hog_blocks_numba(cells, eps, clip):
    """As hog_blocks_numpy, a row of blocks at a time: their corner (i,j) is row p + i of the cells from column j on."""
    planes = _planes(cells)
    rows, columns = planes.shape[0] - 1, planes.shape[2] - 1
    real = cells.dtype.type
    blocks = np.empty((rows, 36, columns), cells.dtype)
    scale, total = np.empty(columns, cells.dtype), np.empty(columns, cells.dtype)
    limit, one, least = real(clip), real(1), real(eps * eps)
    for p in range(rows):
        total[:] = least
        for corner in range(4):
            for o in range(9):
                votes = planes[p + corner // 2, o, corner % 2 :]
                for q in range(columns):
                    total[q] += votes[q] * votes[q]
        for q in range(columns):
            scale[q], total[q] = one / np.sqrt(total[q]), least
        for corner in range(4):
            for o in range(9):
                votes, out = planes[p + corner // 2, o, corner % 2 :], blocks[p, 9 * corner + o]
                for q in range(columns):
                    value = votes[q] * scale[q]
                    value = limit if value > limit else value
                    out[q] = value
                    total[q] += value * value
        for q in range(columns):
            scale[q] = one / np.sqrt(total[q])
        for c in range(36):
            out = blocks[p, c]
            for q in range(columns):
                out[q] *= scale[q]
    return blocks.transpose((0, 2, 1))


@serial
def window_scores_numba(blocks, weight):
    """As window_scores_numpy, in register tiles: row p of the blocks times row u of the template adds to row p - u.

    For each column v of the template a tile takes FEW_ROWS of its rows and PANEL windows, which begin at neighbouring
    blocks. Sums have rows above and below the scores for what windows that stick out would get.
    """
    planes = _planes(blocks)
    height, depth, width = planes.shape
    template_rows, template_columns = weight.shape[0], weight.shape[1]
    rows, columns = max(height - template_rows + 1, 0), max(width - template_columns + 1, 0)
    scores = np.empty((rows, columns), blocks.dtype)
    if rows == 0 or columns == 0:
        return scores
    tall, length = round_up(template_rows, FEW_ROWS), round_up(columns, PANEL)
    template = np.zeros((template_columns, tall, depth), blocks.dtype)
    for u in range(template_rows):
        for v in range(template_columns):
            _copy(weight[u, v], template[v, u])
    template, planes = template.reshape(-1), planes.reshape(-1)
    line = np.zeros(depth * width + PANEL + template_columns, blocks.dtype)  # a tile may read beyond a row's end
    above = tall - 1
    sums = np.zeros((height + above) * length, blocks.dtype)
    for p in range(height):
        _copy(planes[p * depth * width : (p + 1) * depth * width], line)
        for column in range(0, length, PANEL):
            for u in range(0, tall, FEW_ROWS):
                out = (p - u + above) * length + column
                for v in range(template_columns):
                    a = (v * tall + u) * depth
                    multiply_few_rows(template, a, depth, 1, line, column + v, width, sums, out, -length, depth, True)
    for p in range(rows):
        _copy(sums[(p + above) * length : (p + above) * length + columns], scores[p])
    return scores


@serial
def passing_windows_numba(level, cell, eps, clip, template, bias, least):
    """As passing_windows_numpy."""
    blocks = hog_blocks_numba(hog_cells_numba(np.ascontiguousarray(level), cell), eps, clip)
    scores = window_scores_numba(blocks, template)
    bias = level.dtype.type(bias)
    count = 0
    for p in range(scores.shape[0]):
        for q in range(scores.shape[1]):
            scores[p, q] += bias
            count += scores[p, q] > least
    rows, columns, passing = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, level.dtype)
    n = 0
    for p in range(scores.shape[0]):
        for q in range(scores.shape[1]):
            if scores[p, q] > least:
                rows[n], columns[n], passing[n] = p, q, scores[p, q]
                n += 1
    return blocks, rows, columns, passing


@serial
def _gather(planes, rows, columns, turned, held, features):
    """features[n] = the blocks of window n, row by row, the channels of each beside each other.

    turned     (U, Q*C) keeps the rows of blocks that were read last, channels innermost; held (U,) says which they are.
               Windows that follow each other share rows, so that few are turned twice.
    """
    _, depth, width = planes.shape
    template_rows = held.shape[0]
    steps = features.shape[1] // template_rows
    for n in range(rows.shape[0]):
        for u in range(template_rows):
            p = rows[n] + u
            blocks = turned[p % template_rows]
            if held[p % template_rows] != p:
                held[p % template_rows] = p
                transpose(planes.reshape(-1), p * depth * width, width, blocks, 0, depth, depth, width)
            _copy(blocks[columns[n] * depth : columns[n] * depth + steps], features[n, u * steps : (u + 1) * steps])


@serial
def gather_windows_numba(blocks, rows, columns, height, width):
    """As gather_windows_numpy."""
    depth = blocks.shape[2]
    features = np.empty((rows.shape[0], height * width * depth), blocks.dtype)
    turned, held = np.empty((height, blocks.shape[1] * depth), blocks.dtype), np.full(height, -1)
    _gather(_planes(blocks), rows, columns, turned, held, features)
    return features


@serial
def hidden_layer_numba(blocks, rows, columns, hidden, bias):
    """As hidden_layer_numpy in register tiles; a row of the template meets WINDOWS windows before the next one does."""
    planes = _planes(blocks)
    template_rows, template_columns, depth, units = hidden.shape
    steps, length = template_columns * depth, round_up(units, PANEL)
    size = template_rows * steps
    weights = hidden.reshape(-1)
    if units < length:
        wide = np.zeros((size, length), blocks.dtype)
        wide[:, :units] = hidden.reshape(size, units)
        weights = wide.reshape(-1)
    turned, held = np.empty((template_rows, planes.shape[2] * depth), blocks.dtype), np.full(template_rows, -1)
    features, sums = np.zeros((WINDOWS, size), blocks.dtype), np.empty(WINDOWS * length, blocks.dtype)
    layer = np.empty((rows.shape[0], units), blocks.dtype)
    zero = blocks.dtype.type(0)
    for first in range(0, rows.shape[0], WINDOWS):
        last = min(first + WINDOWS, rows.shape[0])
        _gather(planes, rows[first:last], columns[first:last], turned, held, features)
        for start in range(0, size, steps):
            for unit in range(0, length, PANEL):
                b = start * length + unit
                for n in range(0, last - first, TILE_ROWS):
                    a, out = n * size + start, n * length + unit
                    multiply_tile(
                        features.reshape(-1), a, size, 1, weights, b, length, sums, out, length, steps, start > 0
                    )
        for n in range(first, last):
            for k in range(units):
                value = sums[(n - first) * length + k] + bias[k]
                layer[n, k] = value if value > zero else zero
    return layer


hog_cells = Twin(hog_cells_numpy, hog_cells_numba)
hog_blocks = Twin(hog_blocks_numpy, hog_blocks_numba)
window_scores = Twin(window_scores_numpy, window_scores_numba)
passing_windows = Twin(passing_windows_numpy, passing_windows_numba)
gather_windows = Twin(gather_windows_numpy, gather_windows_numba)
hidden_layer = Twin(hidden_layer_numpy, hidden_layer_numba)
