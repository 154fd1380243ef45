"""Equal classes for training: NearMiss drops real pictures of large classes, SMOTE makes new ones of small classes.

Both are imbalanced-learn's, on the pixels as they are (0 to 255, Euclidean distance d), in this order:

    NearMiss-3   M the rows of the smallest class, C those of a class to be cut, m and k numbers of neighbours
                 step 1   shortlist S = union over x in M of the m rows of C that are nearest to x
                 step 2   keep the target's number of rows s in S whose mean distance to their k nearest rows of M,
                          (1/k) sum_i d(s, x_i), is largest
    SMOTE        x a row of a class to be enlarged, y one of its k nearest neighbours in that class, u uniform on [0, 1)
                 new row = x + u (y - x), rounded to whole grey values

A shortlist holds |M| m rows at most, and far fewer where the same rows are near to all of M; when it holds fewer rows
than asked for, imbalanced-learn warns and returns what there is. With its usual m = 3 no class of FER2013 would come
near the paper's numbers (happy: 739 of 2,652). Here m starts at 3 and doubles, for each class by itself, until the
shortlist holds the target: at m = |C| it is the whole class, so this always ends and SMOTE never has to replace real
rows that were cut. The training rows of FER2013 end at m = 24 (happy), 96 (surprise) or 48.

Only training rows may be balanced: a network is measured on the classes as they come. Expect a higher balanced
accuracy and a lower top-1: of FER2013 it drops 12,327 of 28,709 real pictures, and five of six disgusts are synthetic.

Sources: Mani & Zhang, *kNN approach to unbalanced data distributions*, 2003; Chawla et al., *SMOTE*, JAIR 16, 2002; the
numbers of rows: Nouisser et al., IAJIT 20(3A), 2023, table 1.
"""

import hashlib
import re
import warnings
from contextlib import suppress

import numpy as np

from minifer.data.dataset import Dataset
from minifer.errors import ConfigError, DataError
from minifer.files.cache import cache_folder, keep_arrays
from minifer.files.npz import Npz

# Rows of each class after balancing the 28,709 training rows of FER2013 (table 1, column "after").
PAPER_TARGETS = {
    "angry": 2701, "disgust": 2657, "fear": 2668, "happy": 2652, "sad": 2677, "surprise": 2554, "neutral": 2694,
}  # fmt: skip
PAPER_ROWS = 28709

NEARMISS_SHORTLIST = 3  # m to begin with, imbalanced-learn's n_neighbors_ver3
NEARMISS_NEIGHBOURS = 3  # k of NearMiss, its n_neighbors
SMOTE_NEIGHBOURS = 5  # k of SMOTE

CACHE_VERSION = 1  # raise it when the same rows are to be balanced differently
CACHE_FROM = 5_000  # rows; fewer are balanced again in a second or two
SYNTHETIC = re.compile(r"synthetic/[^/]+/\d+")


def balance(dataset, seed=0, targets=None):
    """Return a Dataset with the target's number of rows in every class.

    Real rows come first, in their order and under their names, then SMOTE's under "synthetic/<class>/<number>" (see
    is_synthetic). The neighbours are searched in one thread and from exact sums of whole numbers, so the same rows,
    seed and targets give the same bits whatever the number of threads. The result of a large data set is kept in the
    cache folder: indices of the real rows and the new pictures, not the data.

    dataset    training rows: a Dataset whose split is "train", or "" for one made by hand
    seed       of SMOTE; NearMiss draws nothing
    targets    {class name: rows}, or None for scaled_targets(dataset)
    Shapes     images (N,H,W) uint8 -> (sum of targets,H,W) uint8, in colour likewise
    Raises     ConfigError for rows of another split, rows that were balanced before, and targets that cannot be;
               DataError when a class has too few rows to make others from
    """
    if dataset.split not in ("", "train"):
        raise ConfigError(f"these are {dataset.split} rows: only training rows are balanced, never what is measured on")
    if dataset.soft is not None:
        raise ConfigError("pictures with one label each are balanced: choose another balance, or leave --labels out")
    if is_synthetic(dataset).any():
        raise ConfigError("these rows were balanced before: balance the real ones")
    if seed < 0:
        raise ConfigError(f"seed is {seed}, choose 0 or more")
    before = np.array(list(dataset.counts().values()))
    if missing := [name for name, rows in zip(dataset.classes, before, strict=True) if not rows]:
        raise DataError(f"class {missing[0]!r} has no training row: raise --limit, or choose another --balance")
    after = _checked(scaled_targets(dataset) if targets is None else targets, dataset.classes, before)
    path = _cache_path(dataset, seed, after) if len(dataset) >= CACHE_FROM else None
    result = _read_cache(path, dataset, after) if path else None
    if result is None:
        result = _resample(dataset, seed, before, after)
        if path:
            keep_arrays(path, dict(zip(("kept", "images", "labels"), result, strict=True)))
    kept, images, labels = result
    numbers = np.zeros(len(labels), int)
    for label in np.unique(labels):
        numbers[labels == label] = np.arange((labels == label).sum())
    names = [f"synthetic/{dataset.classes[label]}/{number:05d}" for label, number in zip(labels, numbers, strict=True)]
    real = dataset.take(kept)
    return Dataset(
        np.concatenate([real.images, images]),
        np.concatenate([real.labels, labels]),
        np.concatenate([real.names.astype(str), np.array(names, str)]),
        dataset.classes,
        dataset.split,
    )


def scaled_targets(dataset):
    """Return {class name: rows}: the paper's targets for a data set of another size, such as a limited run.

    target = round(scale * paper's target), scale = max(rows / 28,709, rows of the smallest class / 2,554). The first
    keeps the paper's share of rows; the second, where the smallest class would have to be cut, raises all targets to
    it, so that a data set that is balanced already stays about as it is. The training rows of FER2013 get scale 1.

    The paper has no targets for other classes: each gets its even share of the rows.
    """
    if set(dataset.classes) - set(PAPER_TARGETS):
        return dict.fromkeys(dataset.classes, max(1, round(len(dataset) / len(dataset.classes))))
    smallest = min(dataset.counts().values())
    scale = max(len(dataset) / PAPER_ROWS, smallest / min(PAPER_TARGETS[name] for name in dataset.classes))
    return {name: max(1, round(scale * PAPER_TARGETS[name])) for name in dataset.classes}


def is_synthetic(dataset):
    """Return which rows SMOTE made, (N,) bool, from their names."""
    return np.array([SYNTHETIC.fullmatch(name) is not None for name in dataset.names.tolist()], bool)


def counts(before, after):
    """Return {class name: {"before", "kept", "dropped", "synthetic", "after"}}, rows of what balance took and returned.

    before = kept + dropped (real rows)   after = kept + synthetic
    """
    synthetic = after.take(is_synthetic(after)).counts()
    total = after.counts()
    return {
        name: {
            "before": rows,
            "kept": total[name] - synthetic[name],
            "dropped": rows - (total[name] - synthetic[name]),
            "synthetic": synthetic[name],
            "after": total[name],
        }
        for name, rows in before.counts().items()
    }


def _checked(targets, classes, before):
    """Return the targets in the order of classes, (K,) int."""
    if set(targets) != set(classes):
        odd = sorted(set(targets) ^ set(classes))[0]
        raise ConfigError(f"targets: {odd!r} is {'missing' if odd in classes else 'not a class of the data'}")
    after = np.array([targets[name] for name in classes])
    if after.dtype.kind not in "iu" or after.min() < 1:
        raise ConfigError("targets must be whole numbers from 1 on")
    smallest = before.argmin()
    if after[smallest] < before[smallest]:
        raise ConfigError(
            f"targets: {classes[smallest]!r} is the smallest class, which NearMiss measures the others by, and cannot "
            f"be cut: choose {before[smallest]} or more"
        )
    for name, rows, target in zip(classes, before, after, strict=True):
        if rows < 2 and target > rows:
            raise DataError(
                f"class {name!r} has {rows} training row, SMOTE needs two to make one between them: raise --limit, "
                "or choose another --balance"
            )
    return after


def _resample(dataset, seed, before, after):
    """Return kept (R,) indices of real rows, and images (S,H,W) or (S,H,W,3) and labels (S,) of SMOTE's rows."""
    from imblearn.over_sampling import SMOTE
    from threadpoolctl import threadpool_limits

    rows = dataset.images.reshape(len(dataset), -1).astype(np.float32)
    with threadpool_limits(1):  # pictures that are there twice are equally near: threads would choose between them
        smallest = np.flatnonzero(dataset.labels == before.argmin())
        kept = [
            members if len(members) <= target else members[_nearmiss(rows[smallest], rows[members], target)]
            for members, target in ((np.flatnonzero(dataset.labels == label), n) for label, n in enumerate(after))
        ]
        kept = np.sort(np.concatenate(kept))
        labels = dataset.labels[kept]
        if not (grow := np.flatnonzero(before < after)).size:
            return kept, dataset.images[:0], labels[:0]
        smote = SMOTE(
            sampling_strategy={int(label): int(after[label]) for label in grow},
            k_neighbors=min(SMOTE_NEIGHBOURS, before[grow].min() - 1),
            random_state=int(np.random.SeedSequence(seed).generate_state(1)[0]),
        )
        all_rows, all_labels = smote.fit_resample(rows[kept], labels)
    images = np.rint(all_rows[len(kept) :]).astype(np.uint8).reshape(-1, *dataset.images.shape[1:])
    return kept, images, all_labels[len(kept) :]


def _nearmiss(smallest, rows, target):
    """Return the indices (target,) of the rows (n,P) that NearMiss-3 keeps; smallest (|M|,P) is the smallest class."""
    from imblearn.under_sampling import NearMiss

    # Among two classes of equal size imbalanced-learn takes the one that comes first for the smallest.
    both, labels = np.concatenate([smallest, rows]), np.repeat([0, 1], [len(smallest), len(rows)])
    shortlist = NEARMISS_SHORTLIST
    while True:
        nearmiss = NearMiss(
            version=3,
            sampling_strategy={1: int(target)},
            n_neighbors=min(NEARMISS_NEIGHBOURS, len(smallest)),
            n_neighbors_ver3=min(shortlist, len(rows)),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the shortlist is too short: it is made longer
            nearmiss.fit_resample(both, labels)
        kept = nearmiss.sample_indices_[labels[nearmiss.sample_indices_] == 1] - len(smallest)
        if len(kept) == target:
            return kept
        shortlist *= 2


def _cache_path(dataset, seed, after):
    key = hashlib.sha256(repr((CACHE_VERSION, seed, after.tolist(), dataset.classes, dataset.images.shape)).encode())
    key.update(np.ascontiguousarray(dataset.images))
    key.update(np.ascontiguousarray(dataset.labels))
    return cache_folder() / f"balance-{key.hexdigest()[:32]}.npz"


def _read_cache(path, dataset, after):
    """Return what _resample did, or None when the file is not there, damaged or not what it should be."""
    shape = "S H W" if dataset.images.ndim == 3 else "S H W 3"
    with suppress(DataError, IndexError, ValueError), Npz(path) as file:
        kept, images, labels = file.arrays({"kept": "iu R", "images": f"u1 {shape}", "labels": "iu S"}).values()
        rows = np.bincount(np.concatenate([dataset.labels[kept], labels]), minlength=len(after))
        if images.shape[1:] == dataset.images.shape[1:] and np.array_equal(rows, after):
            return kept, images, labels
    return None
