"""Balancing: the numbers of rows, where each row comes from, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from small_runs import TINY, Silent, assert_same, everything, flags

from minifer import config
from minifer.cli import main
from minifer.data import balance as module
from minifer.data import fer2013, synthetic
from minifer.data.balance import PAPER_ROWS, PAPER_TARGETS, balance, counts, is_synthetic, scaled_targets
from minifer.data.dataset import CLASSES
from minifer.errors import ConfigError, DataError
from minifer.training import Training

ROWS = {"angry": 20, "disgust": 7, "fear": 20, "happy": 40, "sad": 30, "surprise": 12, "neutral": 30}
TARGETS = {"angry": 18, "disgust": 15, "fear": 20, "happy": 16, "sad": 17, "surprise": 14, "neutral": 15}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("MINIFER_CACHE", str(folder))
    return folder


def unequal(rows=ROWS, seed=1):
    """Return drawn faces with so many rows of each class, in random order."""
    faces = synthetic.generate(7 * max(rows.values()), seed)
    rank = np.zeros(len(faces), int)
    for label in range(7):
        rank[faces.labels == label] = np.arange((faces.labels == label).sum())
    return faces.take(rank < np.array([rows[name] for name in CLASSES])[faces.labels])


@pytest.fixture(scope="module")
def faces():
    return unequal()


def assert_equal(a, b):
    for name in ("images", "labels", "names"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.classes, a.split) == (b.classes, b.split)


def test_counts_hit_the_targets(faces):
    result = balance(faces, targets=TARGETS)
    assert result.counts() == TARGETS and result.split == "train" and result.images.dtype == np.uint8
    table = counts(faces, result)
    assert table["happy"] == {"before": 40, "kept": 16, "dropped": 24, "synthetic": 0, "after": 16}
    assert table["disgust"] == {"before": 7, "kept": 7, "dropped": 0, "synthetic": 8, "after": 15}
    assert table["fear"] == {"before": 20, "kept": 20, "dropped": 0, "synthetic": 0, "after": 20}
    assert len(set(result.names.tolist())) == len(result)


def test_real_rows_are_rows_of_the_input(faces):
    result = balance(faces, targets=TARGETS)
    real = result.take(~is_synthetic(result))
    where = {name: row for row, name in enumerate(faces.names.tolist())}
    rows = np.array([where[name] for name in real.names.tolist()])
    assert (np.diff(rows) > 0).all()  # in their order, none twice
    assert_equal(real, faces.take(rows))


def test_synthetic_rows_lie_between_two_real_ones_of_their_class(faces):
    result = balance(faces, targets=TARGETS)
    made = result.take(is_synthetic(result))
    assert len(made) == 8 + 2
    for image, label, name in zip(made.images, made.labels, made.names, strict=True):
        assert name.startswith(f"synthetic/{CLASSES[label]}/")
        parents = faces.images[faces.labels == label].reshape(-1, 48 * 48).astype(float)
        assert any(between(image.ravel().astype(float), x, y) for x in parents for y in parents if (x != y).any())


def between(s, x, y, rounding=0.5001):
    """Whether some u in [0, 1] has |s - (x + u (y - x))| <= rounding in every pixel."""
    fixed = x == y
    ends = (s - x)[~fixed] + np.array([[-rounding], [rounding]])
    ends = np.sort(ends / (y - x)[~fixed], axis=0)  # (2, pixels): what each pixel allows
    return bool((s == x)[fixed].all() and max(ends[0].max(), 0) <= min(ends[1].min(), 1))


def test_nearmiss_keeps_what_its_two_steps_say(faces):
    rows = faces.images.reshape(len(faces), -1).astype(np.float32)
    smallest, happy = rows[faces.labels == 1], rows[faces.labels == 3]
    distance = np.sqrt(((happy[:, np.newaxis] - smallest).astype(float) ** 2).sum(axis=2))  # (40,7)
    m = module.NEARMISS_SHORTLIST
    while len(shortlist := np.unique(np.argsort(distance, axis=0)[:m])) < 16:
        m *= 2
    mean = np.sort(distance[shortlist], axis=1)[:, : module.NEARMISS_NEIGHBOURS].mean(axis=1)
    expected = shortlist[np.argsort(-mean)[:16]]
    assert sorted(module._nearmiss(smallest, happy, 16)) == sorted(expected)


def test_a_shortlist_that_is_too_short_grows(recwarn):
    """All of the smallest class are near to the same few rows: with m = 3 NearMiss would return 3."""
    rng = np.random.default_rng(0)
    smallest = np.zeros((5, 4), np.float32)
    rows = rng.integers(1, 255, (60, 4)).astype(np.float32)
    assert len(set(module._nearmiss(smallest, rows, 50).tolist())) == 50
    assert not recwarn.list


def test_same_seed_same_bits(faces):
    one = balance(faces, seed=3, targets=TARGETS)
    assert_equal(one, balance(faces, seed=3, targets=TARGETS))
    other = balance(faces, seed=4, targets=TARGETS)
    assert not np.array_equal(one.images, other.images)
    assert_equal(one.take(~is_synthetic(one)), other.take(~is_synthetic(other)))  # NearMiss draws nothing


def test_targets_of_the_paper_and_of_other_sizes(faces):
    class Whole:  # the training rows of FER2013, as far as their numbers go
        classes = CLASSES

        def __len__(self):
            return PAPER_ROWS

        def counts(self):
            return dict(zip(CLASSES, (3995, 436, 4097, 7215, 4830, 3171, 4965), strict=True))

    assert scaled_targets(Whole()) == PAPER_TARGETS and sum(PAPER_TARGETS.values()) == 18603
    assert scaled_targets(faces) == {name: round(n * 159 / PAPER_ROWS) for name, n in PAPER_TARGETS.items()}
    assert balance(faces).counts() == scaled_targets(faces)
    even = balance(synthetic.generate(140, 0)).counts()
    assert min(even.values()) == 20 and max(even.values()) == 21


def test_rows_of_other_splits_are_refused(faces, tmp_path):
    splits = {"train": faces, "val": synthetic.generate(14, 0, "val"), "test": synthetic.generate(14, 0, "test")}
    fer2013.save_npz(tmp_path / "faces.npz", splits)
    read = fer2013.load(tmp_path / "faces.npz")
    assert {name: part.split for name, part in read.items()} == {name: name for name in splits}
    for name in ("val", "test"):
        for part in (splits[name], read[name], read[name].take(slice(0, 7))):
            with pytest.raises(ConfigError, match=f"these are {name} rows"):
                balance(part)
    with pytest.raises(ConfigError, match="these are val rows"):
        Training(config.replace(TINY, balance="nearmiss-smote"), splits["val"], splits["val"])
    assert balance(replace(faces, split="")).split == ""


def test_balanced_rows_are_not_balanced_again(faces):
    with pytest.raises(ConfigError, match="balanced before"):
        balance(balance(faces))


@pytest.mark.parametrize(("rows", "message"), [(1, "class 'disgust' has 1 training row"), (0, "no training row")])
def test_too_few_rows_are_one_clear_error(rows, message):
    with pytest.raises(DataError, match=message) as error:
        balance(unequal({**ROWS, "disgust": rows}))
    assert "--limit" in str(error.value) and "\n" not in str(error.value)


def test_two_rows_are_enough():
    few = unequal({**ROWS, "disgust": 2})
    assert balance(few, targets=TARGETS).counts() == TARGETS


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"angry": 3}, "is missing"),
        ({**TARGETS, "bored": 3}, "'bored' is not a class"),
        ({**TARGETS, "happy": 0}, "from 1 on"),
        ({**TARGETS, "happy": 1.5}, "whole numbers"),
        ({**TARGETS, "disgust": 6}, "'disgust' is the smallest class"),
    ],
)
def test_targets_that_cannot_be(faces, targets, message):
    with pytest.raises(ConfigError, match=message):
        balance(faces, targets=targets)


def test_cache(faces, cache, monkeypatch):
    fresh = balance(faces, targets=TARGETS)
    assert not cache.exists()  # so few rows are not worth a file
    monkeypatch.setattr(module, "CACHE_FROM", 0)
    assert_equal(balance(faces, targets=TARGETS), fresh)
    (file,) = cache.iterdir()
    with monkeypatch.context() as context:
        context.setattr(module, "_resample", None)  # called, it would be an error
        assert_equal(balance(faces, targets=TARGETS), fresh)
    balance(faces, seed=1, targets=TARGETS)
    balance(faces, targets={**TARGETS, "happy": 17})
    balance(faces.take(np.arange(len(faces))[::-1]), targets=TARGETS)
    assert len(list(cache.iterdir())) == 4
    whole = file.read_bytes()
    for damage in (b"", whole[:500], b"no zip at all", whole[: len(whole) // 2] + bytes(200) + whole[-900:]):
        file.write_bytes(damage)
        assert_equal(balance(faces, targets=TARGETS), fresh)
        assert file.read_bytes() == whole
    np.savez(file, kept=np.array([10**6]), images=faces.images[:1], labels=faces.labels[:1])
    assert_equal(balance(faces, targets=TARGETS), fresh)


def test_a_resumed_run_sees_the_same_rows(faces, tmp_path):
    settings = config.replace(TINY, balance="nearmiss-smote", epochs=2)
    val = synthetic.generate(14, 0, "val")
    whole = Training(settings, faces, val)
    assert whole.phase.loss.class_weights is None  # weights on top would answer twice
    assert whole.train.counts() == scaled_targets(faces)
    whole.run(Silent())
    first, watcher = Training(settings, faces, val), Silent()
    first.run(watcher, lambda: watcher.steps == 3)
    first.save(tmp_path)
    second = Training(settings, faces, val)
    second.restore(tmp_path)
    assert_equal(second.train, whole.train)
    second.run(Silent())
    assert_same(everything(second), everything(whole))


def test_limit_comes_first(faces):
    training = Training(config.replace(TINY, balance="nearmiss-smote", limit=100), faces, faces.take(slice(0, 7)))
    assert sum(rows["before"] for rows in training.balanced.values()) == 100
    assert training.train.counts() == {name: rows["after"] for name, rows in training.balanced.items()}


def test_command_line(faces, tmp_path, capsys):
    data = tmp_path / "faces.npz"
    fer2013.save_npz(data, {"train": faces, "val": synthetic.generate(14, 0, "val")})
    settings = config.replace(TINY, balance="nearmiss-smote", epochs=1, limit=120)
    assert main(["train", "--data", str(data), *flags(settings), "--out", str(tmp_path / "run")]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().err.splitlines() if " " in line)
    assert lines["before"].endswith("(together 120)")
    assert {"dropped", "synthetic", "classes"} <= lines.keys()
    few = unequal({**ROWS, "disgust": 1})
    fer2013.save_npz(data, {"train": few, "val": few.take(slice(0, 7))})
    code = main(["train", "--data", str(data), *flags(settings), "--limit", "0", "--out", str(tmp_path / "other")])
    error = capsys.readouterr().err
    assert code == 1 and "class 'disgust' has 1 training row" in error and "Traceback" not in error
