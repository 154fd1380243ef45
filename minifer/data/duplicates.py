"""Pictures that are there twice: how many pictures of a test set were seen in training, and under which label.

FER2013 was collected by search engines, and these find the same photograph in several places: scaled, compressed and
cropped a little differently each time, or mirrored. Two steps find such pairs among hundreds of millions:

    hash       64 bits, the signs of the 8x8 lowest frequencies k, l = 1..8 of the cosine transform of S x S pixels
                   X[k,l] = sum_ij  x[i,j] cos(pi k (2i + 1) / 2S) cos(pi l (2j + 1) / 2S)
               They hardly differ in a copy; in another picture they are thrown like coins. Mirroring changes the sign
               where l is odd: hash XOR MIRROR. Moving a picture by two pixels changes several of its bits, therefore
               one of the two is hashed at nine places, and the nearest hash counts. A pair is a candidate when at
               most MOST_BITS bits differ.
    confirm    Faces under one light are alike in their low frequencies but not in their edges. Let the details of a
               picture be d = G(0.7) * x - G(3) * x, where G(sigma) is a Gaussian of so many pixels. Then
                   r = max_s  sum_p d[p] e[p + s] / sqrt(sum_p d[p]^2  sum_p e[p + s]^2)
               is the correlation of the middle of one with a window of the other at the best shift s of up to REACH
               pixels. A pair with r >= LEAST_CORRELATION is near-identical.

LEAST_CORRELATION was chosen by looking at pairs of FER2013: from 0.8 up they are one photograph, between 0.7 and 0.8
there are also two photographs of one person, and below 0.65 mostly two persons. Drawn faces are more alike than that.
MOST_BITS was chosen by an exhaustive search for r over all pairs of training and validation pictures: the hashes find
94 % of the pictures that have a copy, and leave one pair of 6,000 to confirm.

Source: Zauner, *Implementation and Benchmarking of Perceptual Image Hash Functions*, 2010, section 3.2.1. There a bit
compares with the median of the frequencies; without the mean, X[0,0], this is nearly 0.
"""

from collections import defaultdict
from itertools import combinations_with_replacement, product
from typing import NamedTuple

import numpy as np

from minifer.errors import DataError

FREQUENCIES = np.arange(1, 9)
MIRROR = np.packbits(np.tile(FREQUENCIES % 2 == 1, len(FREQUENCIES))).view(np.uint64)[0]
STEP = 2  # pixels from one place of hashing to the next
MOST_BITS = 12
REACH = 4
LEAST_CORRELATION = 0.8
SMALLEST = 32  # pixels: of fewer, the shifts leave too little

HASHES = 1 << 15  # compared at once: 256 KB, which stay in the processor's cache
PICTURES = 512  # computed at once: all of FER2013 in float32 at several stages would not fit every memory


class Pairs(NamedTuple):
    """Arrays (P,): the rows a and b of every pair, their correlation r, and in which way they are alike."""

    a: np.ndarray
    b: np.ndarray
    correlation: np.ndarray
    mirrored: np.ndarray
    identical: np.ndarray


def near_duplicates(a, b=None):
    """Return the Pairs of a picture of a and one of b that are near-identical or have the same pixels, in order.

    b          None for the pairs within a, each of them once (row a < row b)
    Shapes     a (N,H,W) and b (M,H,W) uint8, at least 32x32
    Cost       18 N M comparisons of 64 bits (half of it within a) and one correlation, 0.1 ms, for every candidate
    Raises     DataError when the pictures are no such arrays, or differ in size
    """
    within, b = b is None, a if b is None else b
    _check(a, b)
    details_a = _by_blocks(details, a)
    details_b = details_a if within else _by_blocks(details, b)
    found = {(i, j): (1.0, False, True) for i, j in _same_pixels(a, b) if not within or i < j}  # as in Pairs
    for mirrored in (False, True):
        for rows_a, rows_b in _candidates(a, b, within, mirrored):
            r = _correlations(details_a, details_b, rows_a, rows_b, mirrored)
            for i, j, value in zip(rows_a.tolist(), rows_b.tolist(), r.tolist(), strict=True):
                best, *_ = found.get((i, j), (0.0,))
                if value >= LEAST_CORRELATION and value > best:
                    found[i, j] = (value, mirrored, False)
    types = zip(Pairs._fields, (np.int64, np.int64, np.float32, bool, bool), strict=True)
    table = np.array([(*rows, *kind) for rows, kind in sorted(found.items())], list(types))
    return Pairs(*(table[name] for name in Pairs._fields))


def unseen_rows(train, pictures):
    """Return the rows of a Dataset of which train holds no copy: pictures on which nothing can be known by heart.

    They are those that near_duplicates pairs with nothing. But one copy is enough to have been seen, and the others are
    not looked for: among the frames of a video nearly every two pictures are a pair.

    Raises     DataError as near_duplicates
    """
    a, b = train.grey, pictures.grey
    _check(a, b)
    known = {picture.tobytes() for picture in a}
    seen = np.array([picture.tobytes() in known for picture in b], bool)
    details_a, details_b = _by_blocks(details, a), _by_blocks(details, b)
    for mirrored in (False, True):
        for candidates in _candidates(a, b, False, mirrored):
            pairs, most = candidates, 1
            while (pairs := pairs[:, ~seen[pairs[1]]]).size:
                _, first, picture = np.unique(pairs[1], return_index=True, return_inverse=True)
                now = np.arange(len(picture)) - first[picture] < most  # so many candidates of each picture
                rows_a, rows_b = pairs[:, now]
                r = _correlations(details_a, details_b, rows_a, rows_b, mirrored)
                seen[rows_b[r >= LEAST_CORRELATION]] = True
                pairs, most = pairs[:, ~now], 4 * most
    return np.flatnonzero(~seen)


def _check(a, b):
    """Raise DataError unless these are pictures that can be compared."""
    for images in (a, b):
        if images.ndim != 3 or images.dtype != np.uint8 or min(images.shape[1:]) < SMALLEST:
            raise DataError(
                f"duplicates are searched among pictures (N, H, W) uint8 of {SMALLEST}x{SMALLEST} or more, "
                f"got {images.shape} {images.dtype}"
            )
    if a.shape[1:] != b.shape[1:]:
        raise DataError(f"pictures of {a.shape[1:]} are not compared with pictures of {b.shape[1:]}: scale one of them")


def count_duplicates(splits):
    """Count the pictures of every split that are also in it or in a split before it.

    splits     {name: Dataset}, as fer2013.load returns them
    Returns    a dict for every two splits, such as {"split": "val", "among": "train", "pictures": 3589, ...}, with
               the numbers of pictures of split that have, among the others,
                   identical               one with the same pixels
                   identical_other_label   one with the same pixels under another label
                   duplicates              one that is identical or near-identical
                   duplicates_other_label  such a one under another label
                   mirrored                one that is near-identical to their mirror image
    """
    rows = []
    for among, split in combinations_with_replacement(splits, 2):
        others, pictures = splits[among], splits[split]
        pairs = near_duplicates(others.images, None if among == split else pictures.images)
        if among == split:  # both pictures of a pair have another
            pairs = Pairs(*map(np.concatenate, zip(pairs, pairs._replace(a=pairs.b, b=pairs.a), strict=True)))
        differs = others.labels[pairs.a] != pictures.labels[pairs.b]
        masks = {
            "identical": pairs.identical,
            "identical_other_label": pairs.identical & differs,
            "duplicates": np.ones_like(differs),
            "duplicates_other_label": differs,
            "mirrored": pairs.mirrored,
        }
        counts = {name: len(np.unique(pairs.b[mask])) for name, mask in masks.items()}
        rows.append({"split": split, "among": among, "pictures": len(pictures), **counts})
    return rows


def _by_blocks(function, images):
    """Return function(images), computed for PICTURES of them at a time."""
    starts = range(0, max(1, len(images)), PICTURES)
    return np.concatenate([function(images[start : start + PICTURES]) for start in starts])


def _same_pixels(a, b):
    """Yield the rows of a and b that have the same pixels."""
    rows = defaultdict(list)
    for i, picture in enumerate(a):
        rows[picture.tobytes()].append(i)
    for j, picture in enumerate(b):
        for i in rows.get(picture.tobytes(), ()):
            yield i, j


# Step 1: hashes.


def cosines(size):
    """Return cos(pi k (2i + 1) / 2S) for the frequencies k and i = 0..S-1, (8,S) float32."""
    return np.cos(np.pi / (2 * size) * np.outer(FREQUENCIES, 2 * np.arange(size) + 1)).astype(np.float32)


def hashes(images):
    """Return the hashes (N,) uint64 of pictures (N,H,W)."""
    frequencies = cosines(images.shape[1]) @ images.astype(np.float32) @ cosines(images.shape[2]).T
    return np.packbits(frequencies.reshape(-1, len(FREQUENCIES) ** 2) > 0, axis=1).view(np.uint64)[:, 0]


def _window(images, i, j):
    """Return the pictures without a rim of STEP pixels, the window moved by i rows and j columns."""
    height, width = images.shape[1:]
    return images[:, STEP + i : height - STEP + i, STEP + j : width - STEP + j]


def _candidates(a, b, within, mirrored):
    """Yield (2,n): rows of a, and the rows of b whose hashes are near to theirs, those of one row of b together."""
    hashes_a = _by_blocks(hashes, _window(a, 0, 0)) ^ (MIRROR if mirrored else np.uint64(0))
    places = product((-STEP, 0, STEP), repeat=2)
    hashes_b = np.stack([_by_blocks(hashes, _window(b, i, j)) for i, j in places])[..., np.newaxis]  # (9,M,1)
    found, step = np.empty((2, 0), int), max(1, HASHES // max(1, len(a)))
    for start in range(0, len(b), step):
        columns = hashes_a[: start + step] if within else hashes_a
        bits = np.minimum.reduce([np.bitwise_count(place[start : start + step] ^ columns) for place in hashes_b])
        rows_b, rows_a = np.divmod(np.flatnonzero(bits <= MOST_BITS), len(columns))
        pairs = np.stack([rows_a, start + rows_b])
        found = np.concatenate([found, pairs[:, pairs[0] < pairs[1]] if within else pairs], axis=1)
        while found.shape[1] >= PICTURES:  # at once: nobody knows how many pairs there will be
            yield found[:, :PICTURES]
            found = found[:, PICTURES:]
    if found.size:
        yield found


# Step 2: correlation.


def _correlations(details_a, details_b, rows_a, rows_b, mirrored):
    """Return the correlation (n,) of each row of a, perhaps mirrored, with the row of b beside it."""
    first = details_a[rows_a, :, ::-1] if mirrored else details_a[rows_a]
    return correlation(first, details_b[rows_b])


def details(images):
    """Return pictures (N,H,W) blurred a little minus the same blurred a lot, float32."""
    from scipy.ndimage import gaussian_filter1d

    def blurred(sigma):
        rows, columns = (gaussian_filter1d(np.eye(size, dtype=np.float32), sigma, axis=0) for size in images.shape[1:])
        return rows @ images.astype(np.float32) @ columns.T

    return blurred(0.7) - blurred(3)


def correlation(first, second):
    """Return r (n,) of details (n,H,W): the best correlation of the middle of first with a window of second.

    The sums of all shifts come at once: the Fourier transform of sum_p d[p] e[p + s] over s is conj(D) E.
    """
    from scipy.fft import irfft2, rfft2

    shape = first.shape[1:]
    height, width = (size - 2 * REACH for size in shape)
    middle, ones = np.zeros_like(first), np.zeros_like(first[:1])
    middle[:, :height, :width] = first[:, REACH:-REACH, REACH:-REACH]
    ones[:, :height, :width] = 1

    def slide(window, picture):
        """Return the sum of products at each of the (2 REACH + 1)^2 places where the window lies inside."""
        return irfft2(np.conj(rfft2(window)) * rfft2(picture), shape)[:, : 2 * REACH + 1, : 2 * REACH + 1]

    energy = (middle**2).sum(axis=(1, 2), keepdims=True) * slide(ones, second**2)
    r = slide(middle, second) / np.sqrt(np.maximum(energy, 1))  # nearly 0 where a picture is blank
    return np.minimum(r.max(axis=(1, 2)), 1)
