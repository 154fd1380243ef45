"""Boxes round faces: the convention, overlap, suppression of doubles, and average precision.

A box is [x1, y1, x2, y2] in pixels, its corners on the edges of pixels (the whole picture is [0, 0, W, H]). A face's
box is a square round the middle of the face, from the upper forehead to the chin: with e the distance between the
centres of the eyes and m the point midway between them, its side is SIDE * e and its centre lies DOWN * e below m.
This is close to the boxes of the usual frontal detectors and test sets.
"""

import numpy as np

from minifer.faces.kernels.boxes import suppress_boxes

SIDE, DOWN = 3.05, 0.45


def _place_matrix():
    middle, across = np.zeros(68), np.zeros(68)
    middle[36:48] = 1 / 12
    across[36:42], across[42:48] = -1 / 6, 1 / 6
    place = np.zeros((68, 2, 4))
    place[:, 0, 0] = place[:, 1, 1] = middle
    place[:, 1, 0], place[:, 0, 1] = -DOWN * across, DOWN * across  # a quarter turn: towards the mouth
    place[:, 0, 2] = place[:, 1, 3] = SIDE * across
    return place.reshape(136, 4)


_PLACE = _place_matrix()


def place_of_landmarks(points):
    """Return the centre x, y of a face's box and the vector x, y along its upper side, as long as that, to the right.

    All four are sums of the 68 landmarks' coordinates (iBUG order), times fixed weights.

    Shapes     points (68,2) or (N,68,2)   place (4,) or (N,4)
    """
    points = np.asarray(points, np.float64)
    return points.reshape(*points.shape[:-2], 136).dot(_PLACE)


def box_of_landmarks(points):
    """Return the box of a face from its 68 landmarks.

    Shapes     points (68,2) or (N,68,2)   box (4,) or (N,4)
    """
    place = place_of_landmarks(points)
    centre, half = place[..., :2], np.linalg.norm(place[..., 2:], axis=-1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def roll_of_landmarks(points):
    """Return the angle of the line through the eyes, in radians, clockwise; 0 is level.

    Shapes     points (68,2)
    """
    _, _, x, y = place_of_landmarks(points)
    return float(np.arctan2(y, x))


def area(boxes):
    """Return the area of each box.

    Shapes     boxes (...,4)   area (...)
    """
    return np.maximum(boxes[..., 2] - boxes[..., 0], 0) * np.maximum(boxes[..., 3] - boxes[..., 1], 0)


def intersection(a, b):
    """Return the area that each box of a shares with each box of b.

    Shapes     a (N,4)   b (M,4)   shared (N,M)
    """
    corner1 = np.maximum(a[:, None, :2], b[None, :, :2])
    corner2 = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return area(np.concatenate([corner1, corner2], axis=-1))


def iou(a, b):
    """Return intersection over union of each box of a with each box of b.

    Shapes     a (N,4)   b (M,4)   iou (N,M)
    """
    shared = intersection(a, b)
    return shared / np.maximum(area(a)[:, None] + area(b)[None, :] - shared, 1e-9)


def suppress(boxes, scores, overlap=0.3, inside=0.6):
    """Keep the best of every group of boxes that belong to one face; return the indices kept, best first.

    A box is dropped when a better one overlaps it by more than `overlap` (intersection over union), or when more than
    the share `inside` of the smaller of the two lies within the other: a face within a face is a double too.

    Shapes     boxes (N,4)   scores (N,)   kept (K,)
    """
    order = np.argsort(-scores, kind="stable")
    return suppress_boxes(np.asarray(boxes, np.float64), order, overlap, inside)


def merge(boxes, logits, overlap=0.4, temperature=3.0):
    """Make one box of each group of windows that found the same face; return boxes and logits, best first.

    A group is a window kept by suppress() and all windows that overlap it by more than `overlap`. Each weighs
    w = exp((logit - best logit) / temperature): the box is the weighted mean, which places it more finely than the
    windows lie, and the logit is  best + temperature * log(sum of w): a face answers in many windows, a chance hit in
    few.

    Shapes     boxes (N,4)   logits (N,)   returned: (K,4) and (K,)
    """
    merged, evidence = [], []
    for best in suppress(boxes, logits):
        group = iou(boxes[best : best + 1], boxes)[0] > overlap
        weight = np.exp((logits[group] - logits[best]) / temperature)
        merged.append(weight @ boxes[group] / weight.sum())
        evidence.append(logits[best] + temperature * np.log(weight.sum()))
    merged, evidence = np.array(merged).reshape(-1, 4), np.array(evidence)
    kept = suppress(merged, evidence)
    return merged[kept], evidence[kept]


def average_precision(detections, truths, overlap=0.5, ignored=None):
    """Return average precision and the curve (recall, precision, score) over a set of pictures.

    Detections of all pictures are taken best first; each claims the free true face it overlaps most, if by at least
    `overlap`; a second claim on the same face is a false alarm. AP is the area under the curve of precision against
    recall, precision made to fall monotonically (VOC 2010).

    Shapes     detections: per picture (boxes (N,4), scores (N,))   truths: per picture (M,4)
               ignored: per picture (K,4) regions in which an unmatched detection counts neither way
    """
    rows = []
    for i, (boxes, scores) in enumerate(detections):
        rows += [(score, i, box) for box, score in zip(boxes, scores, strict=True)]
    rows.sort(key=lambda row: -row[0])
    taken = [np.zeros(len(truth), bool) for truth in truths]
    hits, score_of = [], []
    for score, i, box in rows:
        overlaps = iou(box[None], truths[i])[0] * ~taken[i] if len(truths[i]) else np.zeros(1)
        hit = overlaps.max() >= overlap
        if hit:
            taken[i][overlaps.argmax()] = True
        elif ignored is not None and len(ignored[i]) and intersection(box[None], ignored[i]).max() > 0.5 * area(box):
            continue
        hits.append(hit)
        score_of.append(score)
    hits = np.array(hits, float)
    recall = hits.cumsum() / max(sum(len(truth) for truth in truths), 1)
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0) * envelope).sum()), (recall, precision, np.array(score_of))
