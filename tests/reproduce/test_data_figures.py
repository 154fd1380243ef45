"""The figures of the study's data where there is little of it."""

import io

import numpy as np
import pytest

from minifer.data import synthetic
from minifer.reproduce import data_figures


def drawn_axes(figure):
    figure.savefig(io.BytesIO(), dpi=20)
    return sum(axes.axison for axes in figure.axes)


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_smote_of_a_class_of_few(rows):
    faces = synthetic.load(seed=0, train=70, val=7)["train"]
    some = faces.take(np.flatnonzero(faces.labels == 1)[:rows])
    assert drawn_axes(data_figures.smote_faces(some, some.classes[1])) == 7 * min(rows, 3)


@pytest.mark.parametrize("count", [1, 12, 14])
def test_rejected_pictures_leave_no_hole(count):
    images = synthetic.load(seed=0, train=14, val=7)["train"].images[:count]
    figure = data_figures.rejected(images, np.zeros(count))
    assert drawn_axes(figure) == count and len(figure.axes) < count + 12


def test_kept_and_dropped_faces_of_a_small_class():
    faces = synthetic.load(seed=0, train=70, val=7)["train"]
    happy = np.flatnonzero(faces.labels == 3)
    figure = data_figures.nearmiss_faces(faces.take(happy), faces.take(happy[:4]), "happy")
    assert drawn_axes(figure) == len(happy)
