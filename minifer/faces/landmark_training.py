"""Train the landmark predictor: gradient-boosted regression trees, and ridge regression of descriptors.

    samples    each portrait and its mirror image, the box shifted, resized and turned at random, several times; some
               in another light
    trees      for each cascade and tree:  fit the residuals (shape still to go, in the mean shape's frame and a basis
               of its K main directions);  residual -= shrinkage * mean of the leaf
    steps      weight = argmin |D weight + bias - residual|^2 + N * ridge * |weight|^2,  D the descriptors of all
               samples
    doubt      ridge regression too: from the descriptors of what the trained looks find, whether that is astray

Questions are proposed at random: two pixels, the likelier the closer, and a threshold near a value seen in a sample.
Each tree sees a random part of the samples.

Source     Kazemi & Sullivan, CVPR 2014; Xiong & De la Torre, CVPR 2013.
"""

import numpy as np

from minifer.faces.boxes import box_of_landmarks, roll_of_landmarks
from minifer.faces.kernels.descriptors import linear_step, point_descriptors
from minifer.faces.kernels.regression_trees import best_splits, shape_pixels, sum_leaves, walk_trees
from minifer.faces.landmarks import (
    CLIP,
    FACE,
    MIRROR,
    PATCH,
    STARTS,
    Doubt,
    Frame,
    LandmarkPredictor,
    Steps,
    Trees,
    describe,
    face_patch,
    frame_of_start,
)
from minifer.faces.pyramid import octaves
from minifer.faces.training_pictures import worse

FINE = {"cascades": 8, "trees": 400, "directions": 32}
# How far boxes are from true in the first look and in the others: standard deviations.
LOOSE = {"shift": 0.08, "resize": 0.18, "turn": 12.0}
CLOSE = {"shift": 0.025, "resize": 0.045, "turn": 5.0}
ASTRAY = 0.1  # what is further from the truth is to be doubted: mean distance over that of the eye corners
RELIT = 0.3  # the share of the samples in another light


def train_landmarks(portraits, seed=0, copies=10, fine=None, log=print):
    """Return a trained LandmarkPredictor.

    Shapes     portraits: list of ((H,W) uint8, landmarks (68,2)); copies: samples of each and of its mirror image
    """
    rng = np.random.default_rng(seed)
    faces = [(octaves(image, 56), points) for image, points in portraits]
    patches, shapes = samples(faces, max(copies // 2, 1), LOOSE, rng)
    rough = fit_steps(patches, shapes, rng, cells=(16, 12, 10), ridge=0.05, directions=32, log=log)
    patches, shapes = samples(faces, copies, CLOSE, rng, upright=True)
    steps = fit_steps(patches, shapes, rng, cells=(10, 8, 6), ridge=0.03, directions=48, log=log)
    trees = grow(patches, shapes, rng, log=log, **{**FINE, **(fine or {})})
    predictor = LandmarkPredictor(rough, trees, steps, Doubt(np.zeros(5508, np.float32), np.float32(1)))
    predictor.doubt = learn_doubt(predictor, *samples(faces, max(copies // 3, 1), LOOSE, rng), log)
    return predictor


def measure(predictor, portraits, boxes=None):
    """Return errors on portraits: mean over both distances of the eyes, and the mean shape's, for boxes from the
    landmarks.

    Shapes     portraits: list of ((H,W) uint8, landmarks (68,2))   boxes: list of (4,), instead of those of the
               landmarks
    """
    true = np.array([points for _, points in portraits])
    boxes = [box_of_landmarks(points) for points in true] if boxes is None else boxes
    found = np.array([predictor.predict(image, box) for (image, _), box in zip(portraits, boxes, strict=True)])
    at_box = (predictor.trees.mean - PATCH / 2) / FACE
    mean_shape = np.array([(box[:2] + box[2:]) / 2 + at_box * (box[2] - box[0]) for box in boxes])
    return {
        "error over eye corners": float(errors(found, true).mean()),
        "error over eye centres": float(errors(found, true, "centres").mean()),
        "share of faces over 0.08": float((errors(found, true) > 0.08).mean()),
        "mean shape, over eye corners": float(errors(mean_shape, true).mean()),
        "mean shape, over eye centres": float(errors(mean_shape, true, "centres").mean()),
    }


def learn_doubt(predictor, patches, shapes, log, ridge=0.03):
    """Return Doubt, fitted to whether what a predictor finds in samples, from one start each, is further than ASTRAY
    from the truth.

    Shapes     patches (N,PATCH,PATCH) uint8   shapes (N,68,2)
    """
    edge = (PATCH - FACE) / 2
    box, descriptors, found = np.array([edge, edge, PATCH - edge, PATCH - edge]), [], []
    for i, patch in enumerate(patches):
        pictures = octaves(patch, PATCH // 2)
        points = predictor.look(pictures, frame_of_start(box, STARTS[i % len(STARTS)]))
        descriptors.append(describe(pictures, points))
        found.append(points)
    descriptors, astray = np.stack(descriptors), (errors(found, shapes) > ASTRAY).astype(np.float32)[:, None]
    centre, share = descriptors.mean(axis=0), astray.mean()
    weight = ridge_regression(descriptors - centre, astray - share, ridge)[:, 0]
    log(f"doubt: {share:.1%} of the samples astray, {errors(found, shapes).mean():.4f} error")
    return Doubt(weight, share - centre @ weight)


def samples(faces, copies, spread, rng, upright=False):
    """Return patches round jittered boxes, and the true shapes in them.

    Shapes     faces: list of (octaves, landmarks (68,2))   patches (N,PATCH,PATCH) uint8   shapes (N,68,2)
    """
    patches, shapes = [], []
    for pictures, points in faces:
        box = box_of_landmarks(points)
        side, roll = box[2] - box[0], roll_of_landmarks(points) if upright else 0.0
        for mirrored in (False, True):
            for _ in range(copies):
                centre = (box[:2] + box[2:]) / 2 + rng.normal(0, spread["shift"], 2) * side
                half = side / 2 * np.exp(rng.normal(0, spread["resize"]))
                angle = roll + np.deg2rad(rng.normal(0, spread["turn"]))
                frame = Frame.round_box(np.concatenate([centre - half, centre + half]), angle)
                frame = frame.mirrored() if mirrored else frame
                shape = frame.to_patch(points)
                patch = face_patch(pictures, frame).astype(np.uint8)
                patches.append(relit(patch, rng) if rng.random() < RELIT else patch)
                shapes.append(shape[MIRROR] if mirrored else shape)
    return np.stack(patches), np.stack(shapes)


def relit(patch, rng):
    """Return a patch as if the light came more from one side, with another gamma, and as a poor camera takes it.

    Shapes     patch (PATCH,PATCH) uint8
    """
    angle, slope = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.3)
    across = np.linspace(-1, 1, PATCH, dtype=np.float32)
    light = np.exp(slope * (np.cos(angle) * across + np.sin(angle) * across[:, None]))
    gamma = np.exp(rng.normal(0, 0.2))
    return worse(255 * np.clip(patch * (light / 255), 0, 1) ** np.float32(gamma), rng).astype(np.uint8)


def starts(shapes, rng, share=0.3):
    """Return shapes to start training from: the mean shape, for a share of the samples blended with another's."""
    mean = shapes.mean(axis=0)
    other = shapes[rng.integers(len(shapes), size=len(shapes))]
    blend = ((rng.random(len(shapes)) < share) * rng.random(len(shapes)))[:, None, None]
    return mean + blend * (other - other.mean(axis=1, keepdims=True) + mean.mean(axis=0) - mean)


def grow(
    patches, shapes, rng, cascades, trees, directions,
    depth=4, shrinkage=0.08, pixels=400, proposals=20, part=0.3, log=print,
):  # fmt: skip
    """Return Trees grown on samples.

    Shapes     patches (N,PATCH,PATCH) uint8   shapes (N,L,2)
    """
    mean, current, grown = shapes.mean(axis=0), starts(shapes, rng), []
    for t in range(cascades):
        spread = max(0.2 * 0.8**t, 0.05) * FACE
        anchor = rng.integers(len(mean), size=pixels).astype(np.int16)
        offset = rng.normal(0, spread / 1.5, (pixels, 2)).astype(np.float32)
        values = shape_pixels(patches, current, mean, anchor, offset)
        still = in_mean_frame(shapes - current, current, mean).reshape(len(shapes), -1)
        some = still[rng.choice(len(still), min(len(still), 6000), replace=False)]
        basis = np.linalg.svd(some, full_matrices=False)[2][:directions]
        residual = (still @ basis.T).astype(np.float32)
        close = np.exp(
            -np.linalg.norm((mean[anchor] + offset)[:, None] - (mean[anchor] + offset), axis=2) / (0.12 * FACE)
        )
        np.fill_diagonal(close, 0)
        likelihood = np.cumsum(close.ravel() / close.sum())
        nodes = []
        for _ in range(trees):
            seen = np.sort(rng.choice(len(values), max(int(part * len(values)), 1), replace=False))
            tree = grow_tree(values[seen], residual[seen, :16], depth, likelihood, proposals, rng)
            leaf = walk_trees(values, tree[None])[:, 0]
            means = leaf_means(leaf, residual, 2**depth) * np.float32(shrinkage)
            residual -= means[leaf]
            nodes.append((tree, means))
        questions, leaves = (np.stack(arrays) for arrays in zip(*nodes, strict=True))
        unit = max(np.abs(leaves).max() / 127, 1e-12)
        leaves = np.rint(leaves / unit).astype(np.int8)
        basis = (basis * unit).astype(np.float32)
        grown.append((anchor, offset, questions, leaves, basis))
        total = sum_leaves(walk_trees(values, questions), leaves)
        current = current + from_mean_frame((total @ basis).reshape(current.shape), current, mean)
        log(f"trees, cascade {t}: error on the samples {mean_error(current, shapes):.4f}")
    return Trees(mean, *(np.stack(arrays) for arrays in zip(*grown, strict=True)))


def grow_tree(values, residual, depth, likelihood, proposals, rng):
    """Return the questions of one tree: (2^depth - 1, 3) int16, each a, b, threshold.

    Shapes     values (N,P) int16   residual (N,K) float32   likelihood (P*P,), the running sum over pairs of pixels
    """
    residual, pixels = np.ascontiguousarray(residual), values.shape[1]
    tree = np.zeros((2**depth - 1, 3), np.int16)
    node, everything = np.zeros(len(values), np.int64), np.arange(len(values))
    for level in range(depth):
        first, count = 2**level - 1, 2**level
        pair = np.minimum(np.searchsorted(likelihood, rng.random((count, proposals))), pixels * pixels - 1)
        a, b = (pair // pixels).astype(np.int16), (pair % pixels).astype(np.int16)
        sample = rng.integers(len(values), size=pair.shape)
        threshold = (values[sample, a] - values[sample, b] + rng.integers(-8, 9, pair.shape)).astype(np.int16)
        best = best_splits(values, residual, node, first, count, a, b, threshold)
        tree[first : first + count] = np.stack([a, b, threshold], axis=-1)[np.arange(count), best]
        a, b, threshold = tree[node].T
        node = 2 * node + 1 + (values[everything, a] - values[everything, b] > threshold)
    return tree


def leaf_means(leaf, residual, leaves):
    """Return the mean residual of the samples in each leaf; 0 where there are none.

    Shapes     leaf (N,)   residual (N,K)   means (leaves,K)
    """
    inside = (leaf[None] == np.arange(leaves)[:, None]).astype(np.float32)
    return (inside @ residual) / np.maximum(inside.sum(axis=1), 1)[:, None]


def fit_steps(patches, shapes, rng, cells, ridge, directions, log):
    """Return Steps fitted on samples.

    Shapes     patches (N,PATCH,PATCH) uint8   shapes (N,L,2)   cells: the descriptors' cell in each step, in pixels
    """
    mean, current, fitted = shapes.mean(axis=0), starts(shapes, rng), []
    for cell in cells:
        descriptors = point_descriptors(patches, current, cell, CLIP)
        still = (shapes - current).reshape(len(shapes), -1).astype(np.float32)
        centre, drift = descriptors.mean(axis=0), still.mean(axis=0)
        descriptors -= centre
        weight = ridge_regression(descriptors, still - drift, ridge)
        left, size, right = np.linalg.svd(weight, full_matrices=False)
        weight = left[:, :directions] * size[:directions]
        unit = np.maximum(np.abs(weight).max(axis=0) / 127, 1e-12)
        small, basis = np.rint(weight / unit).astype(np.int8).T.copy(), unit[:, None] * right[:directions]
        bias = drift - linear_step(centre[None], small)[0] @ basis
        descriptors += centre
        current = current + (linear_step(descriptors, small) @ basis + bias).reshape(current.shape)
        fitted.append((cell, small, basis, bias))
        log(f"step, cells of {cell}: error on the samples {mean_error(current, shapes):.4f}")
    return Steps(mean, *(np.stack(arrays) for arrays in zip(*fitted, strict=True)))


def ridge_regression(rows, targets, ridge):
    """Return weight = argmin |rows @ weight - targets|^2 + N * ridge * |weight|^2.

    The smaller of two equal systems is solved:  (X'X + r I)^-1 X'Y = X' (XX' + r I)^-1 Y.

    Shapes     rows (N,D)   targets (N,K)   weight (D,K)
    """
    from scipy.linalg import solve

    count, depth = rows.shape
    gram = rows.T @ rows if depth <= count else rows @ rows.T
    gram[np.diag_indices(len(gram))] += ridge * count
    if depth <= count:
        return solve(gram, rows.T @ targets, assume_a="pos", overwrite_a=True)
    return rows.T @ solve(gram, targets, assume_a="pos", overwrite_a=True)


def in_mean_frame(moves, shapes, mean):
    """Return moves of a shape's points as they are in the frame of the mean shape; undone by from_mean_frame.

    Shapes     moves shapes (N,L,2)   mean (L,2)
    """
    turn = _turn(shapes, mean)
    return _complex_to_points(_points_to_complex(moves) / turn[:, None])


def from_mean_frame(moves, shapes, mean):
    """Return moves in the frame of the mean shape as they are for the shapes in their patches."""
    return _complex_to_points(_points_to_complex(moves) * _turn(shapes, mean)[:, None])


def _points_to_complex(points):
    return points[..., 0] + 1j * points[..., 1]


def _complex_to_points(numbers):
    return np.stack([numbers.real, numbers.imag], axis=-1)


def _turn(shapes, mean):
    """Return the turn and scale, as a complex number, that bring the mean shape closest to each shape."""
    centred = _points_to_complex(mean - mean.mean(axis=0))
    moved = _points_to_complex(shapes - shapes.mean(axis=1, keepdims=True))
    return (moved @ centred.conj()) / (np.abs(centred) ** 2).sum()


def mean_error(found, true, norm="corners"):
    """Return the mean distance of points from the truth over the distance of the eyes, averaged over faces.

    Shapes     found true (N,68,2);   norm: "corners" (of the outer eye corners) or "centres" (of the eyes' centres)
    """
    return float(errors(found, true, norm).mean())


def errors(found, true, norm="corners"):
    """Return each face's mean distance of points from the truth, over the distance of its eyes.

    Shapes     found true (N,68,2)   errors (N,)
    """
    found, true = np.asarray(found), np.asarray(true)
    if norm == "corners":
        first, second = true[:, 36], true[:, 45]
    else:
        first, second = true[:, 36:42].mean(axis=1), true[:, 42:48].mean(axis=1)
    return np.linalg.norm(found - true, axis=2).mean(axis=1) / np.linalg.norm(first - second, axis=1)
