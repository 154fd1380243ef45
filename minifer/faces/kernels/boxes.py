"""Which of many overlapping boxes to keep: the best of every group.

shared(a, b)   the area of the intersection of two boxes
dropped        a box, when a better one was kept with
                   shared > overlap * (area(a) + area(b) - shared)      or      shared > inside * min(area(a), area(b))
"""

import numpy as np

from minifer.kernels.twin import Twin, serial


def suppress_boxes_numpy(boxes, order, overlap, inside):
    """Return the indices of the boxes kept, in the given order.

    Shapes     boxes (N,4) as x1, y1, x2, y2   order (N,), best first   kept (K,)
    Cost       N*K comparisons
    """
    kept = []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while order.size:
        best, order = order[0], order[1:]
        kept.append(best)
        corner1, corner2 = np.maximum(boxes[best, :2], boxes[order, :2]), np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = np.maximum(corner2 - corner1, 0).prod(axis=1)
        union, smaller = area[best] + area[order] - shared, np.minimum(area[best], area[order])
        order = order[(shared <= overlap * union) & (shared <= inside * smaller)]
    return np.array(kept, np.int64)


@serial
def suppress_boxes_numba(boxes, order, overlap, inside):
    """As suppress_boxes_numpy: each box meets those kept before it."""
    kept = np.empty(order.shape[0], np.int64)
    count = 0
    for n in order:
        x1, y1, x2, y2 = boxes[n]
        area = (x2 - x1) * (y2 - y1)
        free = True
        for k in kept[:count]:
            width = min(x2, boxes[k, 2]) - max(x1, boxes[k, 0])
            height = min(y2, boxes[k, 3]) - max(y1, boxes[k, 1])
            if width > 0 and height > 0:
                shared = width * height
                other = (boxes[k, 2] - boxes[k, 0]) * (boxes[k, 3] - boxes[k, 1])
                if shared > overlap * (area + other - shared) or shared > inside * min(area, other):
                    free = False
                    break
        if free:
            kept[count] = n
            count += 1
    return kept[:count].copy()


suppress_boxes = Twin(suppress_boxes_numpy, suppress_boxes_numba)
