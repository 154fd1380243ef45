import numpy as np
import pytest

from minifer.data.dataset import CLASSES, Dataset, to_float
from minifer.errors import DataError


def dataset(count=5, labels=(0, 6, 6, 4, 5)):
    images = np.arange(count * 12, dtype=np.uint8).reshape(count, 3, 4)
    return Dataset(images, np.array(labels), np.array([f"row{k}" for k in range(count)]))


def test_classes_are_in_the_order_of_the_csv_codes():
    assert CLASSES == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def test_counts_names_every_class():
    assert dataset().counts() == {
        "angry": 1, "disgust": 0, "fear": 0, "happy": 0, "sad": 1, "surprise": 1, "neutral": 2,
    }  # fmt: skip


@pytest.mark.parametrize("rows", [[3, 0], slice(1, 3), np.array([True, False, False, True, False])])
def test_take_keeps_images_labels_and_names_together(rows):
    whole = dataset()
    part = whole.take(rows)
    np.testing.assert_array_equal(part.images, whole.images[rows])
    np.testing.assert_array_equal(part.labels, whole.labels[rows])
    np.testing.assert_array_equal(part.names, whole.names[rows])
    assert len(part) == 2


def test_to_float_is_the_preprocessing_contract():
    x = to_float(np.array([[[0, 51, 255]]], np.uint8))
    assert x.shape == (1, 1, 3, 1) and x.dtype == np.float32
    np.testing.assert_array_equal(x.ravel(), np.float32([-1, np.float32(0.4) - 1, 1]))


@pytest.mark.parametrize(
    "images, labels, names, message",
    [
        (np.zeros((1, 2, 2)), [0], ["a"], r"images must be \(N, H, W\) uint8"),
        (np.zeros((1, 2, 2, 1), np.uint8), [0], ["a"], r"got \(1, 2, 2, 1\)"),
        (np.zeros((2, 2, 2), np.uint8), [0], ["a"], "2 images, 1 labels"),
        (np.zeros((1, 2, 2), np.uint8), [7], ["a"], "labels must be 0 to 6"),
        (np.zeros((1, 2, 2), np.uint8), [-1], ["a"], "labels must be 0 to 6"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(images, labels, names, message):
    with pytest.raises(DataError, match=message):
        Dataset(images, np.array(labels), np.array(names))
