import numpy as np
import pytest

from minifer.data.augment import Augmentation, mixup_weights
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


@pytest.mark.parametrize("mixup", [0, 0.3])
@pytest.mark.parametrize("augmentation", [None, Augmentation(erasing=0.5)])
def test_an_epoch_resumed_is_the_same_as_one_never_stopped(dataset, augmentation, mixup):
    def batches():
        return Batches(dataset, batch_size=4, seed=9, augmentation=augmentation, mixup=mixup)

    whole, rest = list(batches().epoch(2)), list(batches().epoch(2, start=3))
    assert len(rest) == len(whole) - 3
    for (x, y), (x_again, y_again) in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(x, x_again)
        np.testing.assert_array_equal(y, y_again)


@pytest.mark.parametrize("mixup", [0, 0.3])
def test_a_row_is_augmented_alike_in_any_batch_size(dataset, mixup):
    def by_row(batch_size):
        batches = Batches(dataset, batch_size, augmentation=Augmentation(), mixup=mixup)
        x = np.concatenate([x for x, _ in batches.epoch(1)])
        return x[np.argsort(batches.order(1))]

    np.testing.assert_array_equal(by_row(1), by_row(7))


def test_augmentation_differs_between_epochs(dataset):
    batches = Batches(dataset, 23, shuffle=False, augmentation=Augmentation())
    assert (next(batches.epoch(0))[0] != next(batches.epoch(1))[0]).any(axis=(1, 2, 3)).all()


def test_mixup_mixes_pictures_and_their_labels_by_the_same_shares(dataset):
    batches = Batches(dataset, 23, seed=3, shuffle=False, mixup=1.0)
    (x, targets), plain = next(batches.epoch(2)), to_float(dataset.images)
    one_hot, partners = np.eye(7)[dataset.labels], batches.partners(2)
    assert sorted(partners) == list(range(23)) and (partners != batches.partners(3)).any()
    share = mixup_weights(3, 2, np.arange(23), 1.0)[:, None]
    np.testing.assert_allclose(targets, (1 - share) * one_hot + share * one_hot[partners], atol=1e-6)
    share = share[:, :, None, None]
    np.testing.assert_allclose(x, (1 - share) * plain + share * plain[partners], atol=1e-6)
    assert x.dtype == targets.dtype == np.float32 and (share > 0.05).any()


def test_mixup_mixes_soft_labels_too(dataset):
    soft = np.random.default_rng(1).dirichlet(np.ones(7), 23).astype(np.float32)
    batches = Batches(dataset, 23, shuffle=False, targets=soft, mixup=1.0)
    share = mixup_weights(0, 0, np.arange(23), 1.0)[:, None]
    (_, targets), partners = next(batches.epoch(0)), batches.partners(0)
    np.testing.assert_allclose(targets, (1 - share) * soft + share * soft[partners], atol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 1, 8])
def test_mixup_shares_follow_the_smaller_side_of_beta(alpha):
    drawn = np.random.default_rng(0).beta(alpha, alpha, 20_000)
    shares = mixup_weights(0, 0, np.arange(20_000), alpha)
    expected = np.quantile(np.minimum(drawn, 1 - drawn), [0.25, 0.5, 0.75, 0.95])
    np.testing.assert_allclose(np.quantile(shares, [0.25, 0.5, 0.75, 0.95]), expected, atol=0.012)
    assert shares.min() >= 0 and shares.max() <= 0.5


def test_what_cannot_work_is_refused(dataset):
    with pytest.raises(ConfigError, match="batch_size is 0"):
        Batches(dataset, batch_size=0)
    with pytest.raises(ConfigError, match="seed is -1"):
        Batches(dataset, seed=-1)
    with pytest.raises(ConfigError, match="no rows"):
        Batches(dataset.take([]))
