"""Train the face detector: positives made from aligned faces and portraits, negatives that it has mistaken for faces.

    positives   faces turned, shifted, resized, mirrored, blurred, of lower contrast, with noise: HOG of the window
    round 0     negatives: windows at random places and sizes of scenes without faces;  LinearSVC
    round 1..   add the windows of the scenes that score highest, and fit again (hard-negative mining)
    look        a network with one hidden layer on what passes, with windows that hold only a part of a face as further
                negatives; its inputs are dropped at random, so that it relies on no single one
    calibrate   on pictures held out of all this: Platt's sigmoid

Source     Dalal & Triggs, CVPR 2005 (mining); Platt 1999.
"""

import numpy as np

from minifer.faces.boxes import area, average_precision, box_of_landmarks, intersection, iou, merge
from minifer.faces.detector import FaceDetector
from minifer.faces.hog import block_features
from minifer.faces.pyramid import level_sizes, octaves, resized
from minifer.kernels.hog import gather_windows
from minifer.kernels.resize import affine

CELL, BLOCKS = 4, 7  # 8 x 8 cells of 4 pixels: a window of 32 x 32
WINDOW = CELL * (BLOCKS + 1)
ALIGNED_BOX = (1.9, 1.4, 33.9, 33.4)  # of a face in the 36 x 36 pictures of the Caltech set


def train_detector(faces, scenes, portraits=(), seed=0, rounds=3, hidden=64, epochs=8, copies=(2, 8), log=print):
    """Return a trained FaceDetector.

    Every 8th face, 4th scene and 5th portrait is held out, for the calibration and the report.

    Shapes     faces: list of (36,36) uint8, aligned   scenes: list of (H,W) uint8 without a face
               portraits: list of ((H,W) uint8, landmarks (68,2)), one known face each
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
    for r in range(rounds + 1):
        detector = fit_linear(positives, negatives, seed)
        log(f"round {r}: {len(positives)} positives, {len(negatives)} negatives")
        if r < rounds:
            negatives = np.concatenate([negatives, mined_windows(detector, training_scenes)])
    partial = partial_windows(detector, training_portraits, rng)
    fit_second_look(detector, positives, np.concatenate([negatives, partial]), hidden, epochs, rng, log)
    calibrate(detector, *held_out(faces, scenes, portraits, rng), log)
    return detector


def jittered_windows(known, copies, rng):
    """Return the features of faces, each seen `copies` times a little differently.

    Shapes     known: list of (image (H,W) uint8, box (4,))   features (copies * len(known), 36 BLOCKS BLOCKS)
    """
    side = WINDOW + 2 * CELL  # a cell more on each side, so that the window's own border has true gradients
    windows = [np.zeros((0, 36 * BLOCKS**2), np.float32)]
    for image, box in known:
        pictures = octaves(image, 2 * WINDOW)
        size, centre = box[2] - box[0], (box[:2] + box[2:]) / 2
        for _ in range(copies):
            scale = size / WINDOW * np.exp(rng.normal(0, 0.06))
            angle, mirror = np.deg2rad(rng.normal(0, 6)), rng.choice([-1, 1])
            x, y = centre + rng.uniform(-0.04, 0.04, 2) * size - 0.5
            k = min(max(int(np.log2(scale / 0.75)), 0), len(pictures) - 1)
            turn = scale / 2**k * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            turn[:, 1] *= mirror
            corner = (np.array([y, x]) + 0.5) / 2**k - 0.5 - turn @ np.full(2, (side - 1) / 2)
            patch = worse(affine(pictures[k], np.column_stack([turn, corner]), side, side), rng)
            windows.append(block_features(patch, CELL)[1:-1, 1:-1].reshape(1, -1))
    return np.concatenate(windows)


def worse(picture, rng):
    """Return a picture as a poor camera or scan might give it: perhaps blurred, of lower contrast, with noise.

    Shapes     picture (H,W) float32   returned: the same, whole numbers from 0 to 255
    """
    from scipy.ndimage import gaussian_filter

    if rng.random() < 0.3:
        picture = gaussian_filter(picture, rng.uniform(0.3, 1.0))
    picture = 128 + (picture - 128) * rng.uniform(0.4, 1)
    if rng.random() < 0.5:
        picture = picture + rng.normal(0, rng.uniform(0, 12), picture.shape)
    return np.rint(np.clip(picture, 0, 255)).astype(np.float32)


def random_windows(scenes, count, rng, together=10):
    """Return the features of `count` windows of each scene, at random places, `together` at each random size."""
    features = []
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
    depth = template.size
    nothing = {"hidden": np.zeros((depth, 1), np.float32), "hidden_bias": np.zeros(1, np.float32)}
    return FaceDetector(
        template=template, bias=float(svm.intercept_[0]), pass_score=-0.6, centre=np.zeros(depth, np.float32),
        **nothing, out=np.zeros(1, np.float32), out_bias=0.0, score_weight=1.0, floor=-np.inf, slope=1.0, offset=0.0,
    )  # fmt: skip


def scan(detector, image, min_size=24, scale_step=1.2):
    """Return boxes, features and linear scores of all windows of a picture that pass the linear part."""
    sizes = level_sizes(image.shape, WINDOW, WINDOW / min_size, scale_step)
    pictures = octaves(image, WINDOW)
    empty = (np.zeros((0, 4)), np.zeros((0, detector.template.size), np.float32), np.zeros(0, np.float32))
    levels = [empty, *(detector.scan_level(pictures, size) for size in sizes)]
    return tuple(np.concatenate(parts) for parts in zip(*levels, strict=True))


def mined_windows(detector, scenes, most=100):
    """Return the features of the windows of each scene and its mirror image that look most like faces, wrongly."""
    hard = []
    for scene in scenes:
        for image in (scene, np.ascontiguousarray(scene[:, ::-1])):
            _, features, scores = scan(detector, image)
            hard.append(features[np.argsort(-scores, kind="stable")[:most]])
    return np.concatenate(hard)


def partial_windows(detector, portraits, rng, most=25):
    """Return the features of windows that hold a part of a face, or a face far too large or small, and still pass."""
    hard = [np.zeros((0, detector.template.size), np.float32)]
    for image, box in portraits:
        image, box = shrunk_portrait(image, box, rng)
        boxes, features, scores = scan(detector, image)
        part = intersection(boxes, box[None])[:, 0] / np.minimum(area(boxes), area(box))
        wrong = np.flatnonzero((iou(boxes, box[None])[:, 0] < 0.3) & (part > 0.05))
        hard.append(features[wrong[np.argsort(-scores[wrong], kind="stable")[:most]]])
    return np.concatenate(hard)


def shrunk_portrait(image, box, rng):
    """Return a portrait cut to the face's surroundings, made small and worse, and the face's box in it."""
    size, centre = box[2] - box[0], (box[:2] + box[2:]) / 2
    first = np.maximum(centre - 1.6 * size, 0).astype(int)
    last = (centre + 1.6 * size).astype(int)
    cut = image[first[1] : last[1], first[0] : last[0]]
    scale = min(np.exp(rng.uniform(np.log(24.5), np.log(90))) / size, 1)
    height, width = (max(round(side * scale), 1) for side in cut.shape)
    small = worse(resized(octaves(cut, 1), height, width), rng)
    return small.astype(np.uint8), (box - np.tile(first, 2)) * np.tile([width / cut.shape[1], height / cut.shape[0]], 2)


def fit_second_look(detector, positives, negatives, hidden, epochs, rng, log, dropped=0.2):
    """Train the hidden-layer network on the windows that pass the linear part, and put it into the detector."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    detector.pass_score = -1.2
    template, bias = detector.template.ravel(), detector.bias
    positives = positives[positives @ template + bias > detector.pass_score - 0.5]
    negatives = negatives[negatives @ template + bias > detector.pass_score - 0.3]
    features = np.concatenate([positives, negatives])
    labels = np.arange(len(features)) < len(positives)
    detector.centre = features.mean(axis=0)
    scale = np.float32(features.std(axis=0).mean())
    features -= detector.centre
    features /= scale
    network = MLPClassifier((hidden,), alpha=0.01, batch_size=256, max_iter=1, warm_start=True, random_state=0)
    for epoch in range(epochs):
        kept = rng.random(features.shape, dtype=np.float32) >= dropped
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch at a time is meant
            network.fit(features * kept / np.float32(1 - dropped), labels)
        log(f"second look, epoch {epoch}: loss {network.loss_:.4f}")
    detector.hidden = (network.coefs_[0] / scale).astype(np.float32)
    detector.hidden_bias = network.intercepts_[0].astype(np.float32)
    detector.out = network.coefs_[1][:, 0].astype(np.float32)
    detector.out_bias = float(network.intercepts_[1][0])
    detector.score_weight, detector.floor = 2.0, -7.0


def held_out(faces, scenes, portraits, rng):
    """Return pictures nothing was trained on, and the boxes of the faces in each: portraits, and faces put into scenes."""
    images, truths = [], []
    for image, box in portraits[::5]:
        small, box = shrunk_portrait(image, box, rng)
        images.append(small)
        truths.append(box[None])
    for scene in scenes[::4]:
        image, boxes = with_faces(scene, faces[::8], rng)
        images.append(worse(image, rng).astype(np.uint8))
        truths.append(boxes)
    return images, truths


def with_faces(scene, faces, rng):
    """Return a scene with faces put into it at random, their edges blended, and their boxes."""
    scene, boxes = scene.astype(np.float32), np.zeros((0, 4))
    for _ in range(max(scene.size // 60000, 1)):
        side = round(np.exp(rng.uniform(np.log(28), np.log(90))))
        if side + 1 >= min(scene.shape):
            continue
        y, x = rng.integers(scene.shape[0] - side), rng.integers(scene.shape[1] - side)
        box = np.array(ALIGNED_BOX) * side / 36 + np.array([x, y, x, y])
        if iou(box[None], boxes).any():
            continue
        face = resized(octaves(faces[rng.integers(len(faces))], 18), side, side)
        across = (np.arange(side) + 0.5) / side * 2 - 1
        share = np.clip((1.05 - np.hypot(across[:, None], 1.12 * across)) / 0.2, 0, 1).astype(np.float32)
        part = scene[y : y + side, x : x + side]
        part += share * (face - part)
        boxes = np.concatenate([boxes, box[None]])
    return scene, boxes


def calibrate(detector, images, truths, log):
    """Fit the sigmoid that turns z into the probability of a face, and report average precision on the same pictures."""
    from sklearn.linear_model import LogisticRegression

    found = [merge(*detector.windows(image, 24, 1.15)) for image in images]
    logits = np.concatenate([z for _, z in found])
    hits = np.concatenate([(iou(boxes, truth) > 0.5).any(axis=1) for (boxes, _), truth in zip(found, truths, strict=True)])
    if 0 < hits.sum() < len(hits):
        sigmoid = LogisticRegression(C=1e6).fit(logits[:, None], hits)
        detector.slope, detector.offset = float(sigmoid.coef_[0, 0]), float(sigmoid.intercept_[0])
    for overlap in (0.5, 0.3):
        precision, _ = average_precision(found, truths, overlap)
        log(f"held-out average precision at IoU {overlap}: {precision:.4f}")
