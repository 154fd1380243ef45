"""Train the face detector: positives made from aligned faces and portraits, negatives that it has mistaken for faces.

    positives   faces turned, shifted, resized, mirrored, blurred, of lower contrast, with noise, some cut off by the
                border of the picture, whose last pixels then repeat: HOG of the window
    round 0     negatives: windows at random places and sizes of scenes without faces;  LinearSVC
    round 1..   add the windows of the scenes that score highest, and fit again (hard-negative mining)
    look        a network with one hidden layer on what passes, with windows that hold only a part of a face as further
                negatives; its inputs are dropped at random, so that it relies on no single one; twice, as it has its
                own hard negatives
    calibrate   on pictures held out of all this: Platt's sigmoid

Source     Dalal & Triggs, CVPR 2005 (mining); Platt 1999.
"""

import numpy as np

from minifer.errors import DataError
from minifer.faces.boxes import area, average_precision, box_of_landmarks, intersection, iou, merge
from minifer.faces.detector import FaceDetector
from minifer.faces.hog import block_features
from minifer.faces.kernels.hog import gather_windows
from minifer.faces.kernels.resize import affine
from minifer.faces.pyramid import Picture, level_sizes, octaves, resized
from minifer.faces.training_pictures import ALIGNED_BOX, held_out, shrunk_portrait, tight_cut, worse

CELL, BLOCKS = 4, 7  # 8 x 8 cells of 4 pixels: a window of 32 x 32
WINDOW = CELL * (BLOCKS + 1)
PASS_SCORE = -1.1  # of the linear part; windows with less get no second look


def train_detector(faces, scenes, portraits=(), seed=0, rounds=3, hidden=48, epochs=6, copies=(3, 10), log=print):
    """Return a trained FaceDetector.

    Every 8th face, 4th scene and 5th portrait is held out, for the calibration and the report.

    Shapes     faces: list of (36,36) uint8, aligned   scenes: list of (H,W) uint8 without a face
               portraits: list of ((H,W) uint8, landmarks (68,2)), one known face each
    Raises     DataError when nothing is left to train on
    """
    rng = np.random.default_rng(seed)
    portraits = [(image, box_of_landmarks(points)) for image, points in portraits]
    training_scenes = [scene for i, scene in enumerate(scenes) if i % 4]
    training_portraits = [portrait for i, portrait in enumerate(portraits) if i % 5]
    known = [(face, np.array(ALIGNED_BOX)) for i, face in enumerate(faces) if i % 8]
    positives = np.concatenate(
        [jittered_windows(known, copies[0], rng), jittered_windows(training_portraits, copies[1], rng)]
    )
    negatives = random_windows(training_scenes, 60, rng)
    if not known or not len(negatives):
        raise DataError(
            f"{len(known)} faces and {len(negatives)} windows of scenes to train on: give at least two faces, and at "
            f"least two scenes larger than {WINDOW} x {WINDOW} pixels, since the first of each is held out"
        )
    for r in range(rounds + 1):
        detector = fit_linear(positives, negatives, seed)
        log(f"round {r}: {len(positives)} positives, {len(negatives)} negatives")
        if r < rounds:
            negatives = np.concatenate([negatives, mined_windows(detector, training_scenes)])
    detector.pass_score = PASS_SCORE
    for r in range(2):
        negatives = np.concatenate([negatives, partial_windows(detector, training_portraits, rng)])
        fit_second_look(detector, positives, negatives, hidden, epochs, rng, log)
        if r == 0:
            negatives = np.concatenate([negatives, mined_windows(detector, training_scenes, scale_step=1.11)])
    calibrate(detector, *held_out(faces, scenes, portraits, rng), log)
    return detector


def jittered_windows(known, copies, rng):
    """Return the features of faces, each seen `copies` times a little differently.

    Shapes     known: list of (image (H,W) uint8, box (4,))   features (copies * len(known), 36 BLOCKS BLOCKS)
    """
    side = WINDOW + 2 * CELL  # a cell more on each side, so that the window's own border has true gradients
    windows = [np.zeros((0, 36 * BLOCKS**2), np.float32)]
    for image, whole_box in known:
        for _ in range(copies):
            cut, box = tight_cut(image, whole_box, rng) if rng.random() < 0.4 else (image, whole_box)
            pictures = octaves(cut, 2 * WINDOW)
            size, centre = box[2] - box[0], (box[:2] + box[2:]) / 2
            scale = size / WINDOW * np.exp(rng.normal(0, 0.07))
            angle, mirror = np.deg2rad(rng.normal(0, 8)), rng.choice([-1, 1])
            x, y = centre + rng.uniform(-0.06, 0.06, 2) * size - 0.5
            k = min(max(int(np.log2(scale / 0.75)), 0), len(pictures) - 1)
            turn = scale / 2**k * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            turn[:, 1] *= mirror
            corner = (np.array([y, x]) + 0.5) / 2**k - 0.5 - turn @ np.full(2, (side - 1) / 2)
            patch = worse(affine(pictures[k], np.column_stack([turn, corner]), side, side), rng)
            windows.append(block_features(patch, CELL)[1:-1, 1:-1].reshape(1, -1))
    return np.concatenate(windows)


def random_windows(scenes, count, rng, together=10):
    """Return the features of `count` windows of each scene, at random places, `together` at each random size."""
    features = [np.zeros((0, 36 * BLOCKS**2), np.float32)]
    for scene in scenes:
        pictures = octaves(scene, WINDOW)
        sizes = level_sizes(scene.shape, WINDOW, 1.1, 1.3)
        for k in rng.integers(len(sizes), size=count // together if sizes else 0):
            blocks = block_features(np.rint(resized(pictures, *sizes[k])), CELL)
            rows = rng.integers(blocks.shape[0] - BLOCKS + 1, size=together)
            columns = rng.integers(blocks.shape[1] - BLOCKS + 1, size=together)
            features.append(gather_windows(blocks, rows, columns, BLOCKS, BLOCKS))
    return np.concatenate(features)


def fit_linear(positives, negatives, seed):
    """Return a detector that has only its linear part: every window passes on its linear score."""
    from sklearn.svm import LinearSVC

    features = np.concatenate([positives, negatives])
    labels = np.arange(len(features)) < len(positives)
    svm = LinearSVC(C=0.01, dual=True, tol=1e-3, max_iter=60, random_state=seed).fit(features, labels)
    template = svm.coef_[0].reshape(BLOCKS, BLOCKS, 36).astype(np.float32)
    return FaceDetector(
        template=template, bias=float(svm.intercept_[0]), pass_score=-0.6, score_weight=1.0, floor=-np.inf,
        hidden=np.zeros((*template.shape, 1), np.float32), hidden_bias=np.zeros(1, np.float32),
        out=np.zeros(1, np.float32), out_bias=0.0, slope=1.0, offset=0.0,
    )  # fmt: skip


def scan(detector, image, min_size=24, scale_step=1.2):
    """Return boxes, features and logits of all windows of a picture that get a second look.

    Shapes     image (H,W) uint8   boxes (N,4)   features (N, 36 BLOCKS BLOCKS)   logits (N,)
    """
    sizes = level_sizes(image.shape, WINDOW, WINDOW / min_size, scale_step)
    pictures = octaves(image, WINDOW)
    levels = [(np.zeros((0, 4)), np.zeros((0, detector.template.size), np.float32), np.zeros(0))]
    for size in sizes:
        for boxes, blocks, rows, columns, scores in detector.first_look(pictures, size):
            features = gather_windows(blocks, rows, columns, BLOCKS, BLOCKS)
            levels.append((boxes, features, detector.second_look(blocks, rows, columns, scores)))
    return tuple(np.concatenate(parts) for parts in zip(*levels, strict=True))


def mined_windows(detector, scenes, most=100, scale_step=1.2):
    """Return the features of the windows of each scene and its mirror image that look most like faces, wrongly."""
    hard = []
    for scene in scenes:
        for image in (scene, np.ascontiguousarray(scene[:, ::-1])):
            _, features, logits = scan(detector, image, scale_step=scale_step)
            hard.append(features[np.argsort(-logits, kind="stable")[:most]])
    return np.concatenate(hard)


def partial_windows(detector, portraits, rng, most=25):
    """Return the features of windows that pass wrongly: a part of a face, one too large or small, what is below."""
    hard = [np.zeros((0, detector.template.size), np.float32)]
    for portrait in portraits:
        image, box = shrunk_portrait(*portrait, rng)
        boxes, features, logits = scan(detector, image)
        part = intersection(boxes, box[None])[:, 0] / np.minimum(area(boxes), area(box))
        below = (boxes[:, 1] > box[3]) & (np.abs(boxes[:, ::2].mean(axis=1) - box[::2].mean()) < box[2] - box[0])
        wrong = np.flatnonzero((iou(boxes, box[None])[:, 0] < 0.3) & ((part > 0.05) | below))
        hard.append(features[wrong[np.argsort(-logits[wrong], kind="stable")[:most]]])
    return np.concatenate(hard)


def fit_second_look(detector, positives, negatives, hidden, epochs, rng, log, dropped=0.2):
    """Train the hidden-layer network on the windows that pass the linear part, and put it into the detector."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    template, bias = detector.template.ravel(), detector.bias
    positives = positives[positives @ template + bias > detector.pass_score - 0.5]
    negatives = negatives[negatives @ template + bias > detector.pass_score - 0.3]
    features = np.concatenate([positives, negatives])
    labels = np.arange(len(features)) < len(positives)
    centre, scale = features.mean(axis=0), np.float32(features.std(axis=0).mean())
    features -= centre
    features /= scale
    network = MLPClassifier((hidden,), alpha=0.01, batch_size=256, max_iter=1, warm_start=True, random_state=0)
    for epoch in range(epochs):
        kept = rng.random(features.shape, dtype=np.float32) >= dropped
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch at a time is meant
            network.fit(features * kept / np.float32(1 - dropped), labels)
        log(f"second look, epoch {epoch}: loss {network.loss_:.4f}")
    weight = (network.coefs_[0] / scale).astype(np.float16).astype(np.float32)  # as save() keeps it
    detector.hidden = weight.reshape(*detector.template.shape, hidden)
    detector.hidden_bias = (network.intercepts_[0] - centre @ weight).astype(np.float32)
    detector.out = network.coefs_[1][:, 0].astype(np.float32)
    detector.out_bias = float(network.intercepts_[1][0])
    detector.score_weight, detector.floor = 2.0, -5.0


def calibrate(detector, images, truths, log):
    """Fit the sigmoid that turns z into the probability of a face, and log average precision on the same pictures."""
    from sklearn.linear_model import LogisticRegression

    found = [merge(*detector.windows(Picture(image), 24, 1.15)) for image in images]
    logits = np.concatenate([z for _, z in found])
    hits = np.concatenate(
        [(iou(boxes, truth) > 0.5).any(axis=1) for (boxes, _), truth in zip(found, truths, strict=True)]
    )
    if 0 < hits.sum() < len(hits):
        sigmoid = LogisticRegression(C=1e6).fit(logits[:, None], hits)
        detector.slope, detector.offset = float(sigmoid.coef_[0, 0]), float(sigmoid.intercept_[0])
    for overlap in (0.5, 0.3):
        precision, _ = average_precision(found, truths, overlap)
        log(f"held-out average precision at IoU {overlap}: {precision:.4f}")
