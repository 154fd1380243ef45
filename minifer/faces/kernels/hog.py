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

from minifer.kernels.twin import Twin, serial


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


# The compiled twins.


@serial
def _row_votes(up, row, down, cosine, sine, magnitude, orientation):
    """Fill one row of gradient magnitudes and orientation bins.

    The bin is the number of boundary directions (20, 40, ... 160 degrees) that the gradient reaches once it is turned
    to point downwards (gy >= 0): the sign of a cross product each, which vectorises where an arc tangent does not. A
    gy too small to change the angle in float64 counts as 0, except that the angle 180 - 0 falls into no bin.
    """
    width = row.shape[0]
    for j in (0, width - 1):
        magnitude[j], orientation[j] = abs(down[j] - up[j]), 4  # gx = 0: the angle is 90 degrees
    for j in range(1, width - 1):
        gy = down[j] - up[j]
        gx = row[j + 1] - row[j - 1]
        magnitude[j] = np.sqrt(gx * gx + gy * gy)
        flat = abs(gy) < 2.4e-16 * abs(gx)
        if flat and gy < 0 and gx > 0:
            magnitude[j] = 0
        sign = -1 if gy < 0 or (flat and gx < 0) else 1
        y, x = (0 if flat else sign * gy), sign * gx
        o = 0
        for k in range(8):
            o += y * cosine[k] >= x * sine[k]
        orientation[j] = 0 if y == 0 else o


@serial
def hog_cells_numba(image, cell):
    """As hog_cells_numpy."""
    height, width = image.shape
    rows, columns = height // cell, width // cell
    cells = np.zeros((rows, columns, 9), image.dtype)
    cosine, sine = np.empty(8), np.empty(8)
    for k in range(8):
        cosine[k], sine[k] = np.cos((k + 1) * (np.pi / 9)), np.sin((k + 1) * (np.pi / 9))
    magnitude = np.empty(width)
    orientation = np.empty(width, np.int64)
    share = 1.0 / (cell * cell)
    for p in range(rows):
        for i in range(p * cell, (p + 1) * cell):
            inside = 0 < i < height - 1
            up, down = (image[i - 1], image[i + 1]) if inside else (image[i], image[i])
            _row_votes(up, image[i], down, cosine, sine, magnitude, orientation)
            for q in range(columns):
                for j in range(q * cell, (q + 1) * cell):
                    cells[p, q, orientation[j]] += magnitude[j] * share
    return cells


@serial
def hog_blocks_numba(cells, eps, clip):
    """As hog_blocks_numpy."""
    rows, columns = cells.shape[0] - 1, cells.shape[1] - 1
    blocks = np.empty((rows, columns, 36), cells.dtype)
    energy = np.empty(cells.shape[:2])
    for p in range(cells.shape[0]):
        for q in range(cells.shape[1]):
            total = 0.0
            for o in range(9):
                total += cells[p, q, o] * cells[p, q, o]
            energy[p, q] = total
    for p in range(rows):
        for q in range(columns):
            block = blocks[p, q]
            total = energy[p, q] + energy[p, q + 1] + energy[p + 1, q] + energy[p + 1, q + 1]
            scale = 1 / np.sqrt(total + eps * eps)
            clipped = np.zeros(9)
            for corner in range(4):
                corner_cell = cells[p + corner // 2, q + corner % 2]
                for o in range(9):
                    value = min(corner_cell[o] * scale, clip)
                    block[9 * corner + o] = value
                    clipped[o] += value * value
            total = 0.0
            for o in range(9):
                total += clipped[o]
            scale = 1 / np.sqrt(total + eps * eps)
            for c in range(36):
                block[c] *= scale
    return blocks


@serial
def window_scores_numba(blocks, weight):
    """As window_scores_numpy: each block meets all U*V places of the template at once, then adds to U*V windows."""
    height, width, depth = blocks.shape
    template_rows, template_columns = weight.shape[0], weight.shape[1]
    rows, columns = max(height - template_rows + 1, 0), max(width - template_columns + 1, 0)
    scores = np.zeros((rows, columns), blocks.dtype)
    if rows == 0 or columns == 0:
        return scores
    places = template_rows * template_columns
    by_channel = np.empty((depth, places), blocks.dtype)
    for u in range(template_rows):
        for v in range(template_columns):
            for c in range(depth):
                by_channel[c, u * template_columns + v] = weight[u, v, c]
    product = np.empty(places, blocks.dtype)
    for p in range(height):
        for q in range(width):
            block = blocks[p, q]
            product[:] = 0
            for c in range(0, depth, 4):
                b0, b1, b2, b3 = block[c], block[c + 1], block[c + 2], block[c + 3]
                w0, w1, w2, w3 = by_channel[c], by_channel[c + 1], by_channel[c + 2], by_channel[c + 3]
                for t in range(places):
                    product[t] += (b0 * w0[t] + b1 * w1[t]) + (b2 * w2[t] + b3 * w3[t])
            for u in range(max(0, p - rows + 1), min(template_rows, p + 1)):
                for v in range(max(0, q - columns + 1), min(template_columns, q + 1)):
                    scores[p - u, q - v] += product[u * template_columns + v]
    return scores


@serial
def gather_windows_numba(blocks, rows, columns, height, width):
    """As gather_windows_numpy."""
    depth = blocks.shape[2]
    features = np.empty((rows.shape[0], height * width * depth), blocks.dtype)
    for n in range(rows.shape[0]):
        k = 0
        for u in range(height):
            for v in range(width):
                block = blocks[rows[n] + u, columns[n] + v]
                for c in range(depth):
                    features[n, k] = block[c]
                    k += 1
    return features


@serial
def hidden_layer_numba(blocks, rows, columns, hidden, bias):
    """As hidden_layer_numpy; four windows at a time share each row of weights that is read."""
    template_rows, template_columns, depth, width = hidden.shape
    count = rows.shape[0]
    layer = np.empty((count, width), blocks.dtype)
    total = np.empty((4, width), blocks.dtype)
    for first in range(0, count, 4):
        n0, n1 = first, min(first + 1, count - 1)
        n2, n3 = min(first + 2, count - 1), min(first + 3, count - 1)
        t0, t1, t2, t3 = total[0], total[1], total[2], total[3]
        for k in range(width):
            t0[k] = t1[k] = t2[k] = t3[k] = bias[k]
        for u in range(template_rows):
            for v in range(template_columns):
                b0, b1 = blocks[rows[n0] + u, columns[n0] + v], blocks[rows[n1] + u, columns[n1] + v]
                b2, b3 = blocks[rows[n2] + u, columns[n2] + v], blocks[rows[n3] + u, columns[n3] + v]
                for c in range(depth):
                    x0, x1, x2, x3 = b0[c], b1[c], b2[c], b3[c]
                    weight = hidden[u, v, c]
                    for k in range(width):
                        t0[k] += x0 * weight[k]
                        t1[k] += x1 * weight[k]
                        t2[k] += x2 * weight[k]
                        t3[k] += x3 * weight[k]
        for n in range(first, min(first + 4, count)):
            for k in range(width):
                layer[n, k] = max(total[n - first, k], 0)
    return layer


hog_cells = Twin(hog_cells_numpy, hog_cells_numba)
hog_blocks = Twin(hog_blocks_numpy, hog_blocks_numba)
window_scores = Twin(window_scores_numpy, window_scores_numba)
gather_windows = Twin(gather_windows_numpy, gather_windows_numba)
hidden_layer = Twin(hidden_layer_numpy, hidden_layer_numba)
