"""Augmentation: what may happen to a training picture, and the random numbers that decide what does.

The numbers are a hash of (seed, epoch, row of the data set), not the next ones of a generator. A picture is therefore
changed in the same way whatever batch it is in, in whatever order and on however many threads, and a resumed training
sees what the uninterrupted one would have seen. The pixels are worked on by kernels.augment.
"""

from dataclasses import dataclass, fields

import numpy as np

from minifer.data.dataset import face_side
from minifer.errors import ConfigError
from minifer.kernels.augment import augment

DRAWS = 12  # random numbers per picture and epoch
ERASED_AREA = (0.02, 0.2)  # of the picture
ERASED_ASPECT = (0.3, 3.3)  # height / width


@dataclass(frozen=True)
class Augmentation:
    """How far a picture may be changed; everything is drawn uniformly up to the limit, in both directions.

    flip        mirror left and right, half of the time
    shift       fraction of the height and the width
    whole       shift by whole pixels only, which resamples nothing
    rotation    degrees
    zoom        fraction of the size
    brightness  fraction of the full range from black to white
    contrast    fraction of the contrast round the picture's own mean
    erasing     probability of blanking a rectangle with the picture's mean (Zhong et al., Random Erasing, 2017)
    Raises      ConfigError when a value is out of range
    """

    flip: bool = True
    shift: float = 0.1
    whole: bool = False
    rotation: float = 10.0
    zoom: float = 0.1
    brightness: float = 0.1
    contrast: float = 0.1
    erasing: float = 0.0

    def __post_init__(self):
        largest = {"flip": 1, "whole": 1, "shift": 0.5, "rotation": 180, "zoom": 0.9}
        for field in fields(self):
            value, limit = getattr(self, field.name), largest.get(field.name, 1)
            if not 0 <= value <= limit:
                raise ConfigError(f"augmentation: {field.name} is {value}, choose 0 to {limit}")


def augment_batch(images, indices, seed, epoch, augmentation, frames=None):
    """Return a batch of changed pictures as the network reads them (see to_float).

    indices    (N,) the pictures' rows in the data set, which together with seed and epoch decide what happens to them
    frames     (N,2,3) where the faces lie (see faces.registration): what happens, happens to the registered faces, and
               is sampled together with that at once
    Shapes     images (N,H,W) uint8 -> (N,H,W,1) float32 in [-1, 1], with frames (N,S,S,1), S = face_side(H); in colour
               (N,H,W,3) -> (N,H,W,3), every channel sampled at the same places, its light changed alike
    """
    if images.ndim == 4:
        channels = [
            augment_batch(images[..., channel], indices, seed, epoch, augmentation, frames) for channel in range(3)
        ]
        return np.concatenate(channels, axis=-1)
    height, width = images.shape[1:]
    means = images.sum(axis=(1, 2), dtype=np.int64) / (height * width * 127.5) - 1
    if frames is not None:
        height = width = face_side(height)
    draws = uniforms(seed, epoch, indices, DRAWS)
    geometry, light, erase = draws[:, :5], draws[:, 5:7], draws[:, 7:]
    maps = affine_maps(geometry, height, width, augmentation)
    contrast = 1 + augmentation.contrast * signed(light[:, 0])
    brightness = 2 * augmentation.brightness * signed(light[:, 1])  # the range from -1 to 1 is 2 wide
    return augment(
        np.ascontiguousarray(images),
        height,
        width,
        maps if frames is None else composed(frames, maps),
        contrast.astype(np.float32),
        ((1 - contrast) * means + brightness).astype(np.float32),
        erased_boxes(erase, height, width, augmentation.erasing),
        np.clip(means + brightness, -1, 1).astype(np.float32),
    )


def affine_maps(draws, height, width, augmentation):
    """Return (N,2,3) float64: from (row, column, 1) of the output to (row, column) of the source.

    Going that way round the picture is shifted back, mirrored, rotated back and shrunk, all about its middle.
    """
    middle_i, middle_j = (height - 1) / 2, (width - 1) / 2
    mirror = np.where(augmentation.flip & (draws[:, 0] < 0.5), -1.0, 1.0)
    shift_i = augmentation.shift * height * signed(draws[:, 1])
    shift_j = augmentation.shift * width * signed(draws[:, 2])
    if augmentation.whole:
        shift_i, shift_j = np.rint(shift_i), np.rint(shift_j)
    angle = np.deg2rad(augmentation.rotation) * signed(draws[:, 3])
    scale = 1 + augmentation.zoom * signed(draws[:, 4])
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    maps = np.empty((len(draws), 2, 3))
    maps[:, 0, 0], maps[:, 0, 1] = cos, sin * mirror
    maps[:, 1, 0], maps[:, 1, 1] = -sin, cos * mirror
    for axis, middle in enumerate((middle_i, middle_j)):
        from_i, from_j = maps[:, axis, 0] * (middle_i + shift_i), maps[:, axis, 1] * (middle_j + shift_j)
        maps[:, axis, 2] = middle - (from_i + from_j)
    return maps


def composed(outer, inner):
    """Return outer after inner, both (N,2,3): from (row, column, 1) first by inner, then by outer."""
    maps = outer[:, :, :2] @ inner
    maps[:, :, 2] += outer[:, :, 2]
    return maps


def erased_boxes(draws, height, width, probability):
    """Return (N,4) int64: the rows and columns of the rectangle that is blanked, all 0 for none."""
    area = ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * draws[:, 1]
    aspect = ERASED_ASPECT[0] * (ERASED_ASPECT[1] / ERASED_ASPECT[0]) ** draws[:, 2]
    rows = np.clip(np.rint(height * np.sqrt(area * aspect)), 1, height).astype(np.int64)
    columns = np.clip(np.rint(width * np.sqrt(area / aspect)), 1, width).astype(np.int64)
    top = ((height - rows + 1) * draws[:, 3]).astype(np.int64)
    left = ((width - columns + 1) * draws[:, 4]).astype(np.int64)
    boxes = np.stack([top, top + rows, left, left + columns], axis=1)
    return np.where(draws[:, :1] < probability, boxes, 0)


def mixup_weights(seed, epoch, indices, alpha):
    """Return (N,) float32 in [0, 0.5]: the share of the other picture in each; the larger share is the picture's own.

    They follow Beta(alpha, alpha), folded at one half: with the whole range each pair would be counted as both.
    """
    from scipy.special import betaincinv

    uniform = uniforms(seed, epoch, indices, DRAWS + 1)[:, DRAWS]
    return betaincinv(alpha, alpha, uniform / 2).astype(np.float32)


def signed(uniform):
    """Spread [0, 1) to [-1, 1)."""
    return 2 * uniform - 1


def uniforms(seed, epoch, indices, count):
    """Return (N, count) float64 in [0, 1): number k of row n is a hash of (seed, epoch, indices[n], k), nothing else.

    Source     splitmix64: Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014
    """
    key = _hash(np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64))
    key = _hash(key + np.uint64(epoch))
    key = _hash(key + np.asarray(indices).astype(np.uint64))
    bits = _hash(key[:, None] + np.arange(count, dtype=np.uint64))
    return (bits >> np.uint64(11)) * 2.0**-53


def _hash(x):
    """Scramble the 64 bits of every element so that neighbouring inputs have nothing in common."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
