"""Pictures that are there twice: planted copies are found, others are not; hash and correlation by their equations."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from minifer.data import duplicates, fer2013
from minifer.data.dataset import Dataset
from minifer.data.duplicates import correlation, count_duplicates, details, hashes, near_duplicates, unseen_rows
from minifer.errors import DataError


def photographs(count, seed):
    """Return pictures (count,56,56) with structure of every size, like those of a camera and unlike each other."""
    rng = np.random.default_rng(seed)
    layers = [gaussian_filter(rng.standard_normal((count, 56, 56)), (0, s, s)) * s * s**0.5 for s in (1, 2, 4, 8)]
    pictures = sum(layers)
    low, high = pictures.min(axis=(1, 2), keepdims=True), pictures.max(axis=(1, 2), keepdims=True)
    return (20 + 200 * (pictures - low) / (high - low)).astype(np.uint8)


def crop(pictures, i=0, j=0):
    """Return the 48x48 middle, moved by i rows and j columns."""
    return np.ascontiguousarray(pictures[:, 4 + i : 52 + i, 4 + j : 52 + j])


def recompressed(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))


def rescaled(picture):
    """Return the middle of a 56x56 picture as another site would show it: 4 % larger."""
    return np.asarray(Image.fromarray(picture).resize((58, 58), Image.Resampling.BICUBIC))[5:53, 5:53]


COPIES = {  # what the internet does to a 56x56 photograph: 48x48 pixels of it
    "recompressed": lambda photograph: recompressed(crop(photograph[None])[0]),
    "shifted": lambda photograph: crop(photograph[None], 0, 1)[0],
    "shifted more": lambda photograph: crop(photograph[None], 2, -2)[0],
    "brighter": lambda photograph: np.clip(crop(photograph[None])[0] * 1.2 + 25.0, 0, 255).astype(np.uint8),
    "rescaled": rescaled,
    "mirrored": lambda photograph: crop(photograph[None])[0, :, ::-1],
    "mirrored and shifted": lambda photograph: recompressed(crop(photograph[None], 2, 1)[0, :, ::-1]),
}


@pytest.fixture(scope="module")
def others():
    return photographs(300, 1)


@pytest.mark.parametrize("name", COPIES)
def test_every_copy_of_a_kind_is_found_and_nothing_else(others, name):
    new = photographs(60, 2)
    new[5:45] = others[100:140]
    b = np.stack([COPIES[name](photograph) for photograph in new])
    pairs = near_duplicates(crop(others), b)
    np.testing.assert_array_equal(pairs.a, np.arange(100, 140))
    np.testing.assert_array_equal(pairs.b, np.arange(5, 45))
    assert (pairs.mirrored == name.startswith("mirrored")).all() and not pairs.identical.any()
    assert (pairs.correlation >= duplicates.LEAST_CORRELATION).all() and (pairs.correlation <= 1).all()


def test_identical_pictures_are_told_from_near_ones(others):
    a, b = crop(others[:4]), crop(others[1:3])
    b[1, 0, 0] ^= 1
    pairs = near_duplicates(a, b)
    assert list(zip(*(array.tolist() for array in (pairs.a, pairs.b, pairs.identical)), strict=True)) == [
        (1, 0, True),
        (2, 1, False),
    ]


def test_within_one_set_every_pair_is_there_once(others):
    a = crop(others[:20])
    a[[3, 11]] = a[7]
    pairs = near_duplicates(a)
    assert list(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)) == [(3, 7), (3, 11), (7, 11)]
    assert pairs.identical.all() and not pairs.mirrored.any()


def test_blocks_do_not_change_the_result(others, monkeypatch):
    a = crop(others[:50])
    b = np.concatenate([crop(others[40:60], 1, 1), a[:2, :, ::-1]])
    expected, within = near_duplicates(a, b), near_duplicates(b)
    assert len(expected.a) == 12
    monkeypatch.setattr(duplicates, "HASHES", 130)
    monkeypatch.setattr(duplicates, "PICTURES", 7)
    for again, pairs in ((near_duplicates(a, b), expected), (near_duplicates(b), within)):
        for name, array in again._asdict().items():
            np.testing.assert_allclose(array, getattr(pairs, name), rtol=1e-5)


def test_blank_pictures_are_duplicates_of_blank_ones_only(others):
    a = crop(others[:6])
    a[2:4] = 0
    a[4] = 255
    pairs = near_duplicates(a)
    assert (pairs.a.tolist(), pairs.b.tolist(), pairs.identical.tolist()) == ([2], [3], [True])


def test_same_low_frequencies_are_not_enough(others):
    """Two pictures under one light: their hashes are near, their edges are not the same."""
    rng = np.random.default_rng(5)
    light = gaussian_filter(crop(others[:40]).astype(float), (0, 3, 3))
    edges = [noise - gaussian_filter(noise, (0, 2, 2)) for noise in rng.standard_normal((2, *light.shape))]
    a, b = (np.clip(light + 20 * edge, 0, 255).astype(np.uint8) for edge in edges)
    assert (np.bitwise_count(hashes(a) ^ hashes(b)) <= duplicates.MOST_BITS).mean() > 0.7
    assert not len(near_duplicates(a, b).a)


def test_no_pictures_no_pairs():
    none, some = np.zeros((0, 48, 48), np.uint8), crop(photographs(2, 3))
    for pairs in (near_duplicates(none, some), near_duplicates(some, none), near_duplicates(none)):
        assert [array.shape for array in pairs] == [(0,)] * 5


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((2, 48, 48), np.float32), None, "float32"),
        (np.zeros((48, 48), np.uint8), None, r"\(48, 48\)"),
        (np.zeros((2, 48, 31), np.uint8), None, "32x32 or more"),
        (np.zeros((2, 48, 48), np.uint8), np.zeros((2, 48, 40), np.uint8), "scale one of them"),
    ],
)
def test_pictures_that_cannot_be_compared(a, b, message):
    with pytest.raises(DataError, match=message):
        near_duplicates(a, b)


def test_counts(others):
    photos = crop(others)

    def dataset(images, labels):
        return Dataset(images, np.array(labels), np.array([f"{n}" for n in range(len(images))]))

    train = dataset(photos[[0, 0, 1, 2, 3]], [0, 1, 2, 2, 3])
    val = dataset(
        np.stack([photos[0], photos[2], crop(others[1:2], 1, 0)[0], photos[3][:, ::-1], photos[9]]), [0, 2, 3, 3, 4]
    )
    names = ("pictures", "identical", "identical_other_label", "duplicates", "duplicates_other_label", "mirrored")
    rows = {
        (row["split"], row["among"]): [row[name] for name in names]
        for row in count_duplicates({"train": train, "val": val})
    }
    assert rows == {
        ("train", "train"): [5, 2, 2, 2, 2, 0],
        ("val", "train"): [5, 2, 1, 4, 2, 1],
        ("val", "val"): [5, 0, 0, 0, 0, 0],
    }


# The equations.


def test_hash_is_the_signs_of_the_cosine_transform(others):
    pictures = crop(others[:20])[:, :, :40]
    signs = dctn(pictures.astype(float), axes=(1, 2))[:, 1:9, 1:9].reshape(20, -1) > 0
    np.testing.assert_array_equal(hashes(pictures), np.packbits(signs, axis=1).view(np.uint64)[:, 0])
    np.testing.assert_array_equal(hashes(pictures[:, :, ::-1]), hashes(pictures) ^ duplicates.MIRROR)


def test_correlation_is_the_best_over_all_shifts(others):
    pictures = np.concatenate([crop(others[:6]), crop(others[:6], -2, 4)])[:, :, :40]
    d = details(pictures)
    blurs = [gaussian_filter(pictures.astype(float), (0, sigma, sigma)) for sigma in (0.7, 3)]
    np.testing.assert_allclose(d, blurs[0] - blurs[1], atol=1e-3)
    r = correlation(d[:6], d[6:])
    for first, second, value in zip(d[:6].astype(float), d[6:].astype(float), r, strict=True):
        x = first[4:-4, 4:-4]
        windows = [second[i : i + 40, j : j + 32] for i in range(9) for j in range(9)]
        expected = max((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()) for y in windows)
        assert value == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
@pytest.mark.data
def test_the_real_archive(fer2013_zip):
    """About one validation picture in five was seen in training."""
    splits = fer2013.load(fer2013_zip)
    pairs = near_duplicates(splits["train"].images, splits["val"].images)
    assert len(np.unique(pairs.b[pairs.identical])) == 280
    assert 690 < len(np.unique(pairs.b)) < 720


def test_unseen_are_those_without_a_copy():
    train, new = photographs(40, 5), photographs(10, 6)
    new[[2, 7]] = train[[30, 3]]
    first, second = (
        Dataset(crop(pictures), np.zeros(len(pictures), int), np.arange(len(pictures)).astype(str))
        for pictures in (train, new)
    )
    assert unseen_rows(first, second).tolist() == [0, 1, 3, 4, 5, 6, 8, 9]


def test_one_copy_is_enough_to_have_been_seen(monkeypatch):
    """Of the frames of a video every two are a pair: thousands for each picture would be compared, and kept."""
    person, other = photographs(2, 7)
    noise = np.random.default_rng(8).integers(-3, 4, (150, 56, 56))
    frames = (person + noise).astype(np.uint8)
    mirrored = frames[100:125, :, ::-1]
    pictures = np.concatenate([frames[125:], mirrored, other[None]])
    train, val = (Dataset(crop(rows), np.zeros(len(rows), int)) for rows in (frames[:100], pictures))
    compared = []
    monkeypatch.setattr(duplicates, "correlation", lambda a, b: compared.append(len(a)) or correlation(a, b))
    assert unseen_rows(train, val).tolist() == [50]
    assert sum(compared) < 300
    pairs = near_duplicates(train.images, val.images)
    assert set(pairs.b.tolist()) == set(range(50)) and len(pairs.b) > 4000
