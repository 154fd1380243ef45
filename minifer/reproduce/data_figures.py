"""The study's figures about data, drawn from the reader's own: landmarks, rejected pictures, NearMiss and SMOTE."""

import numpy as np

from minifer.report.canvas import BLUE, GREEN, GREY, GRID, INK, ORANGE, SKY, new_figure, show


def landmarks_and_crops(dataset):
    """Figures 1 and 2: 68 landmarks on a picture of each class, and what is cropped by them."""
    from minifer.faces import FaceDetector, LandmarkPredictor
    from minifer.faces.crop import crop_face

    detector, predictor = FaceDetector.load(), LandmarkPredictor.load()
    figure, axes = new_figure(1.55 * len(dataset.classes), 3.5, 2, len(dataset.classes))
    for label, name in enumerate(dataset.classes):
        for row in np.flatnonzero(dataset.labels == label)[:50]:  # the first with a face that is sure
            image = dataset.images[row]
            face = detector.detect_crop(image)
            if face is not None and face.score > 0.5:
                break
        above, below = axes[:, label]
        show(above, image, name)
        show(below, image)
        if face is None:
            continue
        points = predictor.predict(image, face.box)
        above.plot(*(points.T - 0.5), ".", color=SKY, markersize=2.5)  # a pixel's centre is at its number here
        above.set_xlim(-0.5, image.shape[1] - 0.5)
        above.set_ylim(image.shape[0] - 0.5, -0.5)
        show(below, crop_face(image, points))
    axes[0, 0].set_ylabel("68 landmarks", size=9)
    axes[1, 0].set_ylabel("cropped, padded", size=9)
    return figure


def rejected(images, scores, most=12):
    """Figure 2: pictures in which no face was found, with the detector's score, in rows of at most so many.

    Shapes     images (N,H,W) uint8   scores (N,)
    """
    columns, rows = min(len(images), most), -(-len(images) // most)
    figure, axes = new_figure(columns, 1.2 * rows + 0.2, rows, columns)
    for place, spot in enumerate(axes.flat):
        if place < len(images):
            show(spot, images[place], f"{scores[place]:.3f}")
        else:
            spot.axis("off")
    return figure


def nearmiss_in_the_plane(seed=0, near=3, keep=6):
    """Figure 3: NearMiss version 3, step by step, on points in the plane."""
    rng = np.random.default_rng(seed)
    few, many = rng.normal([0.0, 0.0], 0.55, (12, 2)), rng.normal([1.3, 0.7], 0.85, (90, 2))
    distance = np.linalg.norm(few[:, None] - many, axis=2)  # (few, many)
    nearest = np.argsort(distance, axis=1)[:, :near]
    shortlist = np.unique(nearest)
    mean = np.sort(distance[:, shortlist], axis=0)[:near].mean(axis=0)
    kept = shortlist[np.argsort(-mean)[:keep]]
    figure, axes = new_figure(11, 3.6, 1, 3, sharex=True, sharey=True)
    titles = (
        f"a class of {len(many)} and one of {len(few)}",
        f"step 1: the {near} nearest of each small-class point ({len(shortlist)})",
        f"step 2: of these, the {len(kept)} farthest on average",
    )
    for step, (spot, title) in enumerate(zip(axes[0], titles, strict=True)):
        left = [np.arange(len(many)), shortlist, kept][step]
        if step == 1:
            for point, neighbours in zip(few, nearest, strict=True):
                for other in many[neighbours]:
                    spot.plot(*zip(point, other, strict=True), color=GREY, linewidth=0.7, zorder=1)
        spot.scatter(*many.T, s=14, color=GRID, zorder=2)
        spot.scatter(*many[left].T, s=18, color=BLUE, zorder=3)
        spot.scatter(*few.T, s=26, color=GREEN, marker="^", zorder=4)
        spot.set_title(title, size=10, loc="left", color=INK)
        bare(spot)
    return figure


def smote_in_the_plane(seed=0, neighbours=3, new=24):
    """Figure 4: SMOTE: new points on the segments between a point and its nearest neighbours of the same class."""
    rng = np.random.default_rng(seed)
    few, many = rng.normal([0.0, 0.0], 0.7, (12, 2)), rng.normal([1.9, 0.9], 0.8, (60, 2))
    distance = np.linalg.norm(few[:, None] - few, axis=2)
    nearest = np.argsort(distance, axis=1)[:, 1 : neighbours + 1]
    start = rng.integers(len(few), size=new)
    end = nearest[start, rng.integers(neighbours, size=new)]
    made = few[start] + rng.random((new, 1)) * (few[end] - few[start])
    figure, axes = new_figure(8, 3.6, 1, 2, sharex=True, sharey=True)
    for spot, title in zip(axes[0], (f"a class of {len(few)}", f"and {new} new points"), strict=True):
        spot.scatter(*many.T, s=14, color=BLUE, alpha=0.35)
        spot.set_title(title, size=10, loc="left", color=INK)
        bare(spot)
    for point, others in zip(few, nearest, strict=True):
        for other in few[others]:
            axes[0, 1].plot(*zip(point, other, strict=True), color=GREY, linewidth=0.7, zorder=1)
    for spot in axes[0]:
        spot.scatter(*few.T, s=30, color=GREEN, marker="^", zorder=3)
    axes[0, 1].scatter(*made.T, s=26, facecolor="white", edgecolor=ORANGE, zorder=4)
    return figure


def bare(axes):
    """Leave a frameless plane, without ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal")
    axes.spines[:].set_color(GRID)


def nearmiss_faces(before, after, name, columns=12, seed=0):
    """Figure 3, as faces: pictures of a large class that NearMiss kept, and some that it dropped."""
    label = before.classes.index(name)
    mine = np.flatnonzero(before.labels == label)
    stays = np.isin(before.names[mine], after.names)
    rng = np.random.default_rng(seed)
    figure, axes = new_figure(columns, 2.6, 2, columns)
    for spots, rows, what, colour in (
        (axes[0], mine[stays], f"{name}: kept", BLUE),
        (axes[1], mine[~stays], f"{name}: dropped", ORANGE),
    ):
        shown = rng.permutation(rows)[:columns]
        for place, row in enumerate(shown):
            show(spots[place], before.images[row], what if place == 0 else "", colour)
        for spot in spots[len(shown) :]:
            spot.axis("off")
    return figure


def smote_faces(dataset, name, pairs=3, steps=7, seed=0):
    """Figure 9: what SMOTE makes: pictures on the segment between a face and a near one of its class.

    dataset    real training rows, one of the class at least
    """
    rng = np.random.default_rng(seed)
    rows = dataset.images[dataset.labels == dataset.classes.index(name)].astype(np.float64)
    flat, pairs = rows.reshape(len(rows), -1), min(pairs, len(rows))
    figure, axes = new_figure(1.35 * steps, 1.45 * pairs, pairs, steps)
    for line, k in zip(axes, rng.permutation(len(rows))[:pairs], strict=True):
        near = np.argsort(((flat - flat[k]) ** 2).sum(axis=1))[1:6]
        # Pictures that are there twice would make a segment of no length.
        partner = next((n for n in rng.permutation(near) if not np.array_equal(flat[n], flat[k])), k)
        for spot, u in zip(line, np.linspace(0, 1, steps), strict=True):
            title = "a picture" if u == 0 else "a near one" if u == 1 else f"u = {u:.2f}"
            show(spot, rows[k] + u * (rows[partner] - rows[k]), title, INK if u in (0, 1) else ORANGE)
    return figure
