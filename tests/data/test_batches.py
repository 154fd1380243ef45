import numpy as np
import pytest

from minifer.data.augment import Augmentation
from minifer.data.batches import Batches
from minifer.data.dataset import Dataset, to_float
from minifer.errors import ConfigError


@pytest.fixture
def dataset():
    images = np.random.default_rng(0).integers(0, 256, (23, 6, 5)).astype(np.uint8)
    return Dataset(images, np.arange(23) % 7, np.array([str(row) for row in range(23)]))


def test_an_epoch_has_every_row_once_and_keeps_the_short_batch(dataset):
    batches = Batches(dataset, batch_size=5)
    steps = list(batches.epoch(0))
    assert len(batches) == len(steps) == 5
    assert [len(x) for x, _ in steps] == [5, 5, 5, 5, 3]
    assert sorted(batches.order(0)) == list(range(23))
    np.testing.assert_array_equal(np.concatenate([y for _, y in steps]), dataset.labels[batches.order(0)])
    assert steps[0][0].dtype == np.float32 and steps[0][0].shape == (5, 6, 5, 1) and steps[0][1].dtype == np.int64


def test_without_shuffle_the_rows_come_as_they_are(dataset):
    steps = list(Batches(dataset, batch_size=8, shuffle=False).epoch(3))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in steps]), to_float(dataset.images))
    np.testing.assert_array_equal(np.concatenate([y for _, y in steps]), dataset.labels)


def test_order_depends_on_seed_and_epoch_only(dataset):
    one, other = Batches(dataset, seed=1), Batches(dataset, seed=2, batch_size=3)
    np.testing.assert_array_equal(one.order(4), Batches(dataset, seed=1, batch_size=3).order(4))
    assert (one.order(4) != one.order(5)).any() and (one.order(4) != other.order(4)).any()


@pytest.mark.parametrize("augmentation", [None, Augmentation(erasing=0.5)])
def test_an_epoch_resumed_is_the_same_as_one_never_stopped(dataset, augmentation):
    def batches():
        return Batches(dataset, batch_size=4, seed=9, augmentation=augmentation)

    whole, rest = list(batches().epoch(2)), list(batches().epoch(2, start=3))
    assert len(rest) == len(whole) - 3
    for (x, y), (x_again, y_again) in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(x, x_again)
        np.testing.assert_array_equal(y, y_again)


def test_a_row_is_augmented_alike_in_any_batch_size(dataset):
    def by_row(batch_size):
        batches = Batches(dataset, batch_size, augmentation=Augmentation())
        x = np.concatenate([x for x, _ in batches.epoch(1)])
        return x[np.argsort(batches.order(1))]

    np.testing.assert_array_equal(by_row(1), by_row(7))


def test_augmentation_differs_between_epochs(dataset):
    batches = Batches(dataset, 23, shuffle=False, augmentation=Augmentation())
    assert (next(batches.epoch(0))[0] != next(batches.epoch(1))[0]).any(axis=(1, 2, 3)).all()


def test_what_cannot_work_is_refused(dataset):
    with pytest.raises(ConfigError, match="batch_size is 0"):
        Batches(dataset, batch_size=0)
    with pytest.raises(ConfigError, match="seed is -1"):
        Batches(dataset, seed=-1)
    with pytest.raises(ConfigError, match="no rows"):
        Batches(dataset.take([]))
