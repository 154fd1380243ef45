"""What faces express over time: for each face its probabilities, one on top of the other."""

from collections import defaultdict

import numpy as np

from minifer.report.canvas import BLUE, GREEN, GREY, INK, ORANGE, SKY, new_figure, plain_frame, write_figure

COLOURS = (ORANGE, "#F0E442", "#CC79A7", GREEN, BLUE, "#E69F00", SKY)  # of Okabe & Ito's palette, as in canvas
MOST_POINTS = 2000  # of a face; twice as many are halved, by the mean of two
MOST_FACES = 6


class Timeline:
    """Probabilities of faces over time, collected row by row, in memory that does not grow with the time."""

    def __init__(self, classes):
        self.classes = classes
        self.points = defaultdict(list)  # of each face: (time, probabilities)

    def add(self, time, faces):
        """Take the rows of a frame, as minifer.video.analyze gives them."""
        for face in faces:
            points = self.points[face["face"]]
            shown = face.get("smoothed", face["probabilities"])
            points.append(np.array([time, *(shown[name] for name in self.classes)], np.float32))
            if len(points) >= 2 * MOST_POINTS:
                points[:] = list(np.array(points).reshape(MOST_POINTS, 2, -1).mean(axis=1))

    def draw(self, path, note=()):
        """Draw the faces seen most often as a PNG file with a note in it; times without an answer stay white."""
        shown = sorted(sorted(self.points, key=lambda face: -len(self.points[face]))[:MOST_FACES])
        figure, axes = new_figure(10, 1 + 1.7 * max(len(shown), 1), rows=max(len(shown), 1), sharex=True)
        # The classes that are seen most have colours of their own.
        means = [np.mean(self.points[face], axis=0)[1:] for face in shown] or [np.zeros(len(self.classes))]
        order = sorted(np.argsort(-np.mean(means, axis=0), kind="stable")[: len(COLOURS)].tolist())
        names = [self.classes[k] for k in order]
        others = len(self.classes) > len(order)
        for face, panel in zip(shown, axes[:, 0], strict=False):
            times, probs = _with_gaps(np.array(self.points[face]))
            parts = [probs[:, k] for k in order] + [1 - probs[:, order].sum(axis=1)] * others
            panel.stackplot(times, parts, colors=[*COLOURS[: len(order)], GREY], labels=[*names, "others"], lw=0)
            panel.set_ylim(0, 1)
            panel.set_yticks([0, 0.5, 1], ["0", "50", "100 %"])
            panel.set_title(f"face {face}", size=9, loc="left", color=INK)
            plain_frame(panel, "x")
        last = axes[-1, 0]
        last.set_xlabel("seconds" if shown else "no face was seen", color=INK)
        if shown:
            figure.legend(*last.get_legend_handles_labels(), loc="outside upper center", ncols=8, frameon=False)
        write_figure(figure, path, metadata={**dict(note), "Software": None})


def _with_gaps(points):
    """Return times (N,) and probabilities (N,classes), with NaN where a face was not seen for long.

    Shapes     points (N, 1 + classes)
    """
    steps = np.diff(points[:, 0])
    usual = np.median(steps) if len(steps) else 0
    gaps = np.flatnonzero(steps > max(4 * usual, 0.25)) + 1
    points = np.insert(points, gaps, np.nan, axis=0)
    points[gaps + np.arange(len(gaps)), 0] = points[gaps + np.arange(len(gaps)) - 1, 0]
    return points[:, 0], points[:, 1:]
