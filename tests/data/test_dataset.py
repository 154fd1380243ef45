import numpy as np
import pytest

from minifer.config import TrainConfig
from minifer.data import synthetic
from minifer.data.dataset import CLASSES, Dataset, to_float
from minifer.errors import DataError, MiniferError
from minifer.evaluation import predict
from minifer.networks import build_model
from minifer.training import Training


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
        (np.zeros((1, 2, 2)), [0], ["a"], r"images must be \(N, H, W\) or \(N, H, W, 3\) uint8"),
        (np.zeros((1, 2, 2, 1), np.uint8), [0], ["a"], r"got \(1, 2, 2, 1\)"),
        (np.zeros((2, 2, 2), np.uint8), [0], ["a"], "2 images, 1 labels"),
        (np.zeros((1, 2, 2), np.uint8), [7], ["a"], "labels must be 0 to 6"),
        (np.zeros((1, 2, 2), np.uint8), [-1], ["a"], "labels must be 0 to 6"),
        (np.zeros((1, 2, 2), np.uint8), [1.0], ["a"], "labels must be 0 to 6"),
        (np.zeros((1, 2, 2), np.uint8), [[1]], ["a"], r"one of each per row, \(N,\)"),
        (np.zeros((1, 2, 2), np.uint8), 1, "a", r"one of each per row, \(N,\)"),
        (np.zeros((1, 0, 2), np.uint8), [1], ["a"], r"images must be \(N, H, W\)"),
        ([], [], [], r"images must be \(N, H, W\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(images, labels, names, message):
    with pytest.raises(DataError, match=message):
        Dataset(images, np.array(labels), np.array(names))


def test_a_dataset_may_have_no_rows():
    none = Dataset(np.zeros((0, 48, 48), np.uint8), [], [])
    assert len(none) == 0 and set(none.counts().values()) == {0} and none.labels.dtype == np.int64
    for indices in ([], np.array([]), slice(2, 2), np.zeros(5, bool)):
        assert len(dataset().take(indices)) == len(none.take(slice(5))) == 0
    assert to_float(none.images).shape == (0, 48, 48, 1)


def test_what_needs_a_row_says_so_in_a_line(tmp_path):
    from minifer.data import balance, batches, fer2013

    none = Dataset(np.zeros((0, 48, 48), np.uint8), [], [])
    for need in (
        lambda: batches.Batches(none),
        lambda: balance.balance(none),
        lambda: fer2013.save_npz(tmp_path / "a.npz", {"train": none}),
        lambda: Training(TrainConfig(alpha=1 / 16), none, synthetic.generate(7, 0)),
        lambda: Training(TrainConfig(alpha=1 / 16), synthetic.generate(7, 0), none),
    ):
        with pytest.raises(MiniferError, match=r"no .*rows?") as caught:
            need()
        assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def network():
    return build_model(TrainConfig(alpha=1 / 16), (48, 48, 1), 7)


def test_a_network_takes_pictures_in_any_type_that_tells_what_is_white(network):
    images = synthetic.generate(4, 0).images
    probs = predict(network, images)
    for same in (images / 255, images * np.uint16(257), images[..., None], to_float(images), images.tolist()):
        np.testing.assert_allclose(predict(network, same), probs, atol=1e-6)
    for none in (images[:0], images[:0] / 255, to_float(images[:0])):
        assert predict(network, none).shape == (0, 7)


@pytest.mark.parametrize(
    "images, message",
    [
        (np.full((2, 48, 48, 1), 200.0), "from -1 to 1"),
        (np.full((2, 48, 48, 1), np.nan), "from -1 to 1"),
        (np.full((2, 48, 48), 300.0), "the pictures: float64 from 300 to 300"),
        (np.zeros((48, 48), np.uint8), r"\(N, H, W\)"),
        (np.zeros((2, 48, 48, 2), np.uint8), r"\(N, H, W\)"),
        (np.zeros((2, 48, 48, 3), np.uint8), "made for 1 channels, got 3"),
    ],
)
def test_a_network_refuses_what_may_be_several_pictures(network, images, message):
    with pytest.raises(MiniferError, match=message):
        predict(network, images)
