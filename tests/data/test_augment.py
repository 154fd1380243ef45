import numba
import numpy as np
import pytest

from minifer.data.augment import (
    DRAWS,
    Augmentation,
    affine_maps,
    augment_batch,
    erased_boxes,
    uniforms,
)
from minifer.data.dataset import to_float
from minifer.errors import ConfigError
from minifer.kernels.augment import augment
from minifer.kernels.twin import use_backend

NOTHING = Augmentation(flip=False, shift=0, rotation=0, zoom=0, brightness=0, contrast=0)
EVERYTHING = Augmentation(shift=0.2, rotation=30, zoom=0.3, brightness=0.3, contrast=0.3, erasing=0.5)


def pictures(count=8, height=9, width=7, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width)).astype(np.uint8)


def only(**changes):
    return Augmentation(**{**vars(NOTHING), **changes})


@pytest.fixture(params=["numpy", "numba"])
def backend(request):
    with use_backend(request.param):
        yield


def kernel_arguments(images, maps=None, contrast=1.0, offset=0.0, box=(0, 0, 0, 0), fill=0.0):
    count = len(images)
    identity = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]] if maps is None else maps
    return (
        images,
        *images.shape[1:],
        np.tile(np.array(identity), (count, 1, 1)),
        np.full(count, contrast, np.float32),
        np.full(count, offset, np.float32),
        np.tile(np.array(box, np.int64), (count, 1)),
        np.full(count, fill, np.float32),
    )


# The kernel, by hand.


@pytest.mark.usefixtures("backend")
def test_half_a_pixel_is_a_cubic_of_four_and_the_border_is_replicated():
    images = np.array([[[0, 32, 64, 160]]], np.uint8)
    y = augment(*kernel_arguments(images, [[1, 0, 0], [0, 1, 0.5]]))
    # The weights half-way are -3/32, 19/32, 19/32, -3/32.
    np.testing.assert_allclose((y.ravel() + 1) * 127.5, [13, 42, 115, 160], rtol=1e-6)
    y = augment(*kernel_arguments(images, [[1, 0, 5], [0, 1, -9]]))
    np.testing.assert_allclose((y.ravel() + 1) * 127.5, 0, atol=1e-5)


@pytest.mark.usefixtures("backend")
def test_contrast_offset_clip_and_box():
    images = np.array([[[0, 255], [51, 204]]], np.uint8)
    y = augment(*kernel_arguments(images, contrast=0.5, offset=0.75, box=(1, 2, 0, 1), fill=-0.25))
    np.testing.assert_allclose(y[0, :, :, 0], [[0.25, 1], [-0.25, 1]], rtol=1e-6)
    assert y.dtype == np.float32 and y.shape == (1, 2, 2, 1)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 48, 48), (3, 5, 4), (2, 1, 7), (5, 13, 48)])
def test_twins_agree(shape):
    images = pictures(*shape)
    with use_backend("numpy"):
        expected = augment_batch(images, np.arange(len(images)), 5, 2, EVERYTHING)
    with use_backend("numba"):
        got = augment_batch(images, np.arange(len(images)), 5, 2, EVERYTHING)
    assert got.dtype == expected.dtype == np.float32 and got.shape == (*shape, 1)
    np.testing.assert_allclose(got, expected, atol=1e-5)


# What each option does.


@pytest.mark.usefixtures("backend")
def test_nothing_is_the_preprocessing_bit_for_bit():
    images = pictures()
    np.testing.assert_array_equal(augment_batch(images, np.arange(8), 0, 0, NOTHING), to_float(images))


@pytest.mark.usefixtures("backend")
def test_flip_mirrors_about_half_of_the_pictures():
    images = pictures(200)
    y = augment_batch(images, np.arange(200), 0, 0, only(flip=True))
    plain = (y == to_float(images)).all(axis=(1, 2, 3))
    mirrored = (y == to_float(images[:, :, ::-1])).all(axis=(1, 2, 3))
    assert (plain ^ mirrored).all() and 70 < mirrored.sum() < 130


def test_shift_moves_by_its_fraction():
    draws = np.full((1, 5), 0.5)
    draws[0, 1], draws[0, 2] = 1.0, 0.75
    maps = affine_maps(draws, 48, 40, only(shift=0.25))
    np.testing.assert_allclose(maps[0], [[1, 0, -12], [0, 1, -5]], atol=1e-12)


def test_rotation_by_a_right_angle_is_rot90():
    draws = np.full((1, 5), 0.5)
    draws[0, 3] = 1.0
    images = pictures(1, 6, 6)
    maps = affine_maps(draws, 6, 6, only(rotation=90))
    y = augment(*kernel_arguments(images, maps[0]))
    np.testing.assert_allclose(y, to_float(np.rot90(images, axes=(1, 2))), atol=1e-5)


def test_zoom_enlarges_about_the_middle():
    draws = np.full((1, 5), 0.5)
    draws[0, 4] = 1.0
    maps = affine_maps(draws, 5, 5, only(zoom=0.25))
    np.testing.assert_allclose(maps[0], [[0.8, 0, 0.4], [0, 0.8, 0.4]], atol=1e-12)


def test_brightness_and_contrast_keep_to_their_limits():
    images = np.full((50, 4, 4), 128, np.uint8)
    images[:, 0] = 100
    images[:, 1] = 156
    means = to_float(images).mean(axis=(1, 2, 3))
    bright = augment_batch(images, np.arange(50), 0, 0, only(brightness=0.2)).mean(axis=(1, 2, 3)) - means
    assert 0.3 < np.abs(bright).max() <= 0.4 and bright.min() < 0 < bright.max()
    contrasted = augment_batch(images, np.arange(50), 0, 0, only(contrast=0.5))
    np.testing.assert_allclose(contrasted.mean(axis=(1, 2, 3)), means, atol=1e-5)
    ratio = contrasted.std(axis=(1, 2, 3)) / to_float(images).std(axis=(1, 2, 3))
    assert 0.5 <= ratio.min() < 0.6 and 1.4 < ratio.max() <= 1.5 + 1e-5


def test_erasing_blanks_a_rectangle_with_the_mean_as_often_as_asked():
    images = pictures(400, 20, 20)
    y = augment_batch(images, np.arange(400), 0, 0, only(erasing=0.25))
    changed = (y != to_float(images)).any(axis=(1, 2, 3))
    assert 70 < changed.sum() < 130
    n = np.flatnonzero(changed)[0]
    values = y[n][y[n] != to_float(images)[n]]
    np.testing.assert_allclose(values, to_float(images)[n].mean(), atol=1e-5)


def test_erased_boxes_stay_inside():
    boxes = erased_boxes(uniforms(0, 0, np.arange(500), 5), 13, 7, 1.0)
    top, bottom, left, right = boxes.T
    assert (top >= 0).all() and (bottom > top).all() and (bottom <= 13).all()
    assert (left >= 0).all() and (right > left).all() and (right <= 7).all()
    assert not erased_boxes(uniforms(0, 0, np.arange(5), 5), 13, 7, 0.0).any()


# Randomness.


def test_a_picture_is_changed_the_same_way_in_any_batch():
    images, rows = pictures(30), np.arange(30)
    whole = augment_batch(images, rows, 7, 3, EVERYTHING)
    order = np.random.default_rng(0).permutation(30)
    np.testing.assert_array_equal(augment_batch(images[order], order, 7, 3, EVERYTHING), whole[order])
    np.testing.assert_array_equal(augment_batch(images[4:5], rows[4:5], 7, 3, EVERYTHING), whole[4:5])


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one thread only")
def test_the_thread_count_does_not_matter():
    images, before = pictures(31), numba.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            results.append(augment_batch(images, np.arange(31), 0, 0, EVERYTHING))
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("seed, epoch, first", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_seed_epoch_and_row_all_count(seed, epoch, first):
    base = uniforms(0, 0, np.arange(50), DRAWS)
    assert not np.intersect1d(base[:1], uniforms(seed, epoch, np.array([first]), DRAWS)).size


def test_uniforms_are_uniform_and_independent():
    draws = uniforms(0, 0, np.arange(20_000), DRAWS)
    assert 0 <= draws.min() and draws.max() < 1
    np.testing.assert_allclose(draws.mean(axis=0), 0.5, atol=0.01)
    np.testing.assert_allclose(draws.var(axis=0), 1 / 12, atol=0.002)
    assert np.abs(np.corrcoef(draws.T) - np.eye(DRAWS)).max() < 0.03
    assert np.abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.03


def test_splitmix64_gives_its_published_first_number():
    # The first output of splitmix64 with state 0 is 0xE220A8397B1DCDAF.
    from minifer.data.augment import _hash

    assert int(_hash(np.zeros(1, np.uint64))[0]) == 0xE220A8397B1DCDAF


def test_negative_and_large_seeds_work():
    assert uniforms(-1, 0, np.arange(2), 3).shape == uniforms(2**80, 0, np.arange(2), 3).shape == (2, 3)


# Settings.


@pytest.mark.parametrize(
    "setting",
    [{"shift": 0.6}, {"shift": -0.1}, {"zoom": 1.0}, {"erasing": 2}, {"rotation": float("nan")}],
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        Augmentation(**setting)
