"""Drawn faces with the seven expressions: a data set that needs no download and that a network learns in a minute.

A face is a stack of soft shapes painted over each other: background, hair, head, eyes, brows, nose, mouth. An
expression is a row of EXPRESSIONS, which says how far brows, eyes, nose and mouth move; everything else about a face
(head pose, proportions, skin, hair, light, blur, noise) is drawn at random and tells nothing about its label.

Coordinates are the head's own: u to the right, v down, the head an ellipse of half height 1 round (0, 0). Shapes
are drawn for a block of pictures at once: pixels are (n,48,48), parameters of a face (n,1,1).
"""

import numpy as np

from minifer.data.dataset import CLASSES, Dataset

SIZE = 48
BLOCK = 12  # pictures drawn at once: an array of them (110 KB) stays in the processor's cache

# What each muscle does, 0 at rest. brow_inner, brow_outer, lip and corner: + is up. frown: brows drawn together.
# lid: + opens the eye wider. jaw: opens the mouth. width: of the mouth. wrinkle: of the nose. teeth: they show.
MUSCLES = ("brow_inner", "brow_outer", "frown", "lid", "corner", "jaw", "width", "lip", "wrinkle", "teeth")
EXPRESSIONS = {
    "angry": (-1.0, 0.5, 1.0, -0.2, -0.3, 0.0, -0.2, 0.0, 0.0, 0.0),
    "disgust": (-0.6, -0.2, 0.4, -0.7, -0.5, 0.2, 0.0, 1.0, 1.0, 0.5),
    "fear": (1.1, 0.1, 0.5, 0.8, -0.5, 0.5, 0.5, 0.0, 0.0, 0.7),
    "happy": (0.1, 0.1, 0.0, -0.3, 1.0, 0.4, 0.5, 0.0, 0.0, 1.0),
    "sad": (0.9, -0.7, 0.2, -0.6, -0.9, 0.0, -0.1, 0.0, 0.0, 0.0),
    "surprise": (1.0, 1.1, 0.0, 0.9, 0.0, 1.2, -0.6, 0.0, 0.0, 0.0),
    "neutral": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
}
STRENGTH = (0.75, 1.15)  # how strongly an expression is shown
TWITCH = 0.08  # standard deviation of every muscle, whatever the expression


def load(seed=0, train=7000, val=1400):
    """Return {"train": Dataset, "val": Dataset} of drawn faces, in the form of fer2013.load."""
    return {"train": generate(train, seed, "train"), "val": generate(val, seed, "val")}


def generate(count, seed, split="train"):
    """Draw count faces, every expression equally often (up to one), in random order.

    Returns    Dataset of 48x48 pictures, the same for the same seed, split and count; another split has other faces
    """
    rng = np.random.default_rng([seed, *split.encode()])
    labels = rng.permutation(np.arange(count, dtype=np.int64) % len(CLASSES))
    images = np.empty((count, SIZE, SIZE), np.uint8)
    for start in range(0, count, BLOCK):
        images[start : start + BLOCK] = draw(labels[start : start + BLOCK], rng)
    names = np.array([f"synthetic-{split}-{seed}-{row:06d}" for row in range(count)])
    return Dataset(images, labels, names, split=split)


# Soft shapes: how much of a pixel they cover, 0 to 1. The edge is about one pixel wide, so nothing looks jagged.


def soft(distance, edge=0.05):
    """Return the coverage for a signed distance from the edge (negative inside): a ramp of width edge."""
    return np.clip(0.5 - distance / edge, 0, 1)


def length(u, v):
    """Return the distance from (0, 0); np.hypot guards against overflow and takes several times as long."""
    return np.sqrt(u * u + v * v)


def ellipse(u, v, width, height, edge=0.05):
    """Return the coverage of an ellipse round (0, 0) with these half axes; exact enough near its edge."""
    return soft((length(u / width, v / height) - 1) * np.minimum(width, height), edge)


def curve(u, v, half, bend, thickness):
    """Return the coverage of the arc v = bend*(u/half)^2 between u = -half and half, tapering towards its ends."""
    along = np.clip(u / half, -1, 1)
    return soft(length(u - along * half, v - bend * along**2) - thickness * (1 - 0.5 * along**2), 0.06)


def paint(canvas, shade, coverage):
    """Lay a shade over the canvas in place, as far as coverage says."""
    canvas += coverage * (shade - canvas)


# One block of faces.


def draw(labels, rng):
    """Draw one face for each label; return (n,48,48) uint8."""
    count = len(labels)

    def vary(middle, spread):
        """One number per face, uniform within spread of the middle."""
        return rng.uniform(middle - spread, middle + spread, (count, 1, 1)).astype(np.float32)

    table = np.array([EXPRESSIONS[name] for name in CLASSES], np.float32)
    strength = rng.uniform(*STRENGTH, (count, 1)).astype(np.float32)
    pulls = table[labels] * strength + rng.normal(0, TWITCH, (count, len(MUSCLES))).astype(np.float32)
    face = {muscle: pulls[:, k, None, None] for k, muscle in enumerate(MUSCLES)}
    u, v, yaw = pose(vary)
    skin, light, contrast = vary(0.62, 0.2), vary(0, 0.22), vary(0.82, 0.16)

    canvas = vary(0.45, 0.4) + vary(0, 0.2) * u + vary(0, 0.2) * v
    hair, width = skin * vary(0.5, 0.35), vary(0.76, 0.07)
    paint(canvas, skin * 0.8, soft(np.maximum(np.abs(u) - 0.4, 0.5 - v)))  # neck
    paint(canvas, hair, ellipse(u, v + vary(0.15, 0.1), width + vary(0.12, 0.1), vary(1.05, 0.08)))
    paint(canvas, skin + light * u + vary(0, 0.1) * v - 0.25 * u * u, ellipse(u, v, width, 1))
    fringe = v + vary(0.85, 0.12) + vary(0, 0.25) * u + vary(0, 0.3) * u * u
    paint(canvas, hair, soft(fringe, 0.15) * ellipse(u, v, width, 1))

    # Turning the head moves what lies in front (nose, then mouth and eyes) further than its outline.
    u = u - yaw * (1 - np.clip(u * u, 0, 1))
    dark = skin * (1 - contrast)
    brows_and_eyes(canvas, u, v, face, vary, skin, dark)
    nose(canvas, u - 0.3 * yaw, v, face, vary, skin, dark)
    mouth(canvas, u, v, face, vary, skin, dark)
    return develop(canvas, vary, rng)


def pose(vary):
    """Return the head's coordinates u, v of every pixel, (n,48,48), and how far it is turned, (n,1,1)."""
    x = (np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2) / (SIZE / 2)
    roll, size = np.deg2rad(vary(0, 14)), vary(0.86, 0.11)
    x, y = x[None, None, :] - vary(0, 0.13), x[None, :, None] - vary(0, 0.13)
    u, v = (np.cos(roll) * x + np.sin(roll) * y) / size, (np.cos(roll) * y - np.sin(roll) * x) / size
    return u, v, vary(0, 0.16)


def brows_and_eyes(canvas, u, v, face, vary, skin, dark):
    """Paint both sides at once: left and right differ in the sign of u only."""
    outward = np.abs(u) - vary(0.36, 0.04)  # 0 in the middle of an eye, positive towards the temple
    below = v + vary(0.22, 0.05)  # 0 at the eyes
    opening = np.maximum(vary(0.1, 0.015) + 0.075 * face["lid"], 0.012)
    eye = ellipse(outward, below, vary(0.18, 0.02), opening)
    paint(canvas, skin * 0.7, 0.7 * ellipse(outward, below, vary(0.23, 0.03), opening + 0.05, 0.1))
    paint(canvas, np.minimum(skin + 0.3, 1), eye)
    paint(canvas, dark, eye * ellipse(outward, below, vary(0.085, 0.01), 0.085))
    paint(canvas, dark, 0.8 * curve(outward, below + opening, 0.2, 0.6 * opening, vary(0.02, 0.01)))

    inner, outer = 0.13 * face["brow_inner"], 0.13 * face["brow_outer"]
    half, thickness, arch = vary(0.22, 0.02), vary(0.045, 0.015), vary(0.03, 0.02)
    along = (outward + 0.07 * face["frown"]) / half
    height = below + vary(0.25, 0.03) + (inner + outer) / 2 + along * (outer - inner) / 2
    paint(canvas, dark, curve(along * half, height, half, arch, thickness))
    crease = soft(length(np.abs(u) - 0.05, np.maximum(np.abs(below + 0.15) - 0.08, 0)) - 0.012, 0.05)
    paint(canvas, dark, 0.8 * np.clip(face["frown"], 0, 1) * crease)


def nose(canvas, u, v, face, vary, skin, dark):
    """Paint a ridge, shaded on one side, nostrils, and the wrinkles of disgust across the bridge."""
    tip, side = vary(0.2, 0.05), vary(0, 0.25)
    ridge = np.exp(-((u / 0.1) ** 2) - ((v - tip / 2 + 0.05) / 0.25) ** 2)
    canvas += ridge * (side * np.clip(u / 0.1, -1, 1) + 0.08)
    raised = tip + 0.08 - 0.05 * face["wrinkle"]
    nostril = ellipse(np.abs(u) - vary(0.09, 0.015), v - raised, 0.045, 0.03)
    paint(canvas, dark, 0.8 * nostril)
    # From the nostrils to the corners of the mouth: disgust and a smile both deepen this fold.
    depth = np.clip(0.8 * face["wrinkle"] + 0.5 * face["corner"] - 0.1, 0, 1)
    slope = np.abs(u) - 0.2 - 0.5 * (v - raised)
    fold = soft(np.abs(slope) - 0.015, 0.06) * soft(np.abs(v - raised - 0.1) - 0.15, 0.1)
    paint(canvas, skin * 0.55, depth * fold)
    waves = np.clip(np.cos((v + 0.12) * 45 + 8 * u * u), 0, 1) * ellipse(u, v + 0.12, 0.17, 0.15, 0.1)
    paint(canvas, skin * 0.45, np.clip(face["wrinkle"], 0, 1) * waves)


def mouth(canvas, u, v, face, vary, skin, dark):
    """Paint lips round a line that the corners bend, and between them what an open mouth shows."""
    half = vary(0.3, 0.03) * (1 + 0.35 * face["width"])
    bend = -0.15 * face["corner"]  # v grows downwards: raised corners have the smaller v
    gap = np.maximum(0.15 * face["jaw"], 0)
    lips, along = vary(0.05, 0.015), np.clip(u / half, -1, 1)
    line = v - vary(0.55, 0.04) - 0.5 * gap - bend * (along**2 - 0.5) + 0.07 * face["lip"] * (1 - along**2)
    span = np.sqrt(np.maximum(1 - along**2, 0))
    outside = np.abs(u) - half
    paint(canvas, skin * vary(0.7, 0.12), soft(np.maximum(np.abs(line) - (gap + lips) * span, outside), 0.06))
    inside = soft(np.maximum(np.abs(line) - (gap + 0.018) * span - 0.004, outside), 0.05)
    paint(canvas, dark, inside)
    shown = np.clip(face["teeth"], 0, 1) * soft(line + 0.2 * gap * span)
    paint(canvas, np.minimum(skin + 0.3, 1), inside * shown * np.clip(gap / 0.04, 0, 1))


def develop(canvas, vary, rng):
    """Blur, add noise, and round to uint8, as a camera does."""
    weight = np.clip(vary(0.1, 0.2), 0, None)  # of the two neighbours; half of the pictures or so stay nearly sharp
    for axis in (1, 2):
        before, after = np.roll(canvas, 1, axis), np.roll(canvas, -1, axis)
        canvas = (1 - 2 * weight) * canvas + weight * (before + after)
    noise = rng.standard_normal(canvas.shape, np.float32) * vary(0.025, 0.02)
    return (np.clip(canvas + noise, 0, 1) * 255 + 0.5).astype(np.uint8)
