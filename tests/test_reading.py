"""A data set of one's own: any class names, sizes, colours and folders, and arrays; FER2013 stays what it is."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut
from small_runs import Silent, run

from minifer import Recognizer, config
from minifer.data import synthetic
from minifer.data.augment import Augmentation, augment_batch
from minifer.data.balance import balance, is_synthetic
from minifer.data.dataset import Dataset, check_images, to_float
from minifer.data.fer2013 import save_npz
from minifer.errors import ConfigError, DataError
from minifer.evaluation import predict
from minifer.faces import LandmarkPredictor
from minifer.faces.crop import crop_face
from minifer.files.images import check_image, luminance
from minifer.models import mobilenet
from minifer.reading import Reading, load, load_split
from minifer.trained import load_weights
from minifer.training import Training, fit

COLOURS = {"red": (220, 20, 30), "green": (20, 200, 40), "blue": (30, 40, 230)}


def picture(name, number, height=20, width=20):
    """Return a picture in a colour, with noise that a number decides."""
    noise = np.random.default_rng(number).integers(-20, 20, (height, width, 3))
    return Image.fromarray(np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8))


def folders(top, layout, count=6, **size):
    """Write pictures; layout is a function of the class and a number that returns a path."""
    for name in COLOURS:
        for number in range(count):
            path = top / layout(name, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(name, number, **size).save(path)
    return top


def test_folders_of_classes_are_parted_always_in_the_same_way(tmp_path):
    folders(tmp_path, lambda name, n: f"all/{name}/{n}.png", count=10)
    first, second = load(tmp_path), load(tmp_path)
    assert first.keys() == {"train", "val"}
    for split, rows in {"train": 8, "val": 2}.items():
        assert first[split].classes == ("blue", "green", "red") and first[split].split == split
        assert first[split].counts() == dict.fromkeys(("blue", "green", "red"), rows)
        assert first[split].images.shape == (3 * rows, 20, 20)
        np.testing.assert_array_equal(first[split].names, second[split].names)
        for name, label in zip(first[split].names, first[split].labels, strict=True):
            assert f"/{first[split].classes[label]}/" in name
    assert not set(first["train"].names) & set(first["val"].names)
    other = load(tmp_path, Reading(seed=1, val_share=0.5))
    assert len(other["val"]) == 15 and set(other["val"].names) != set(first["val"].names)


@pytest.mark.parametrize(
    "order", ["{split}/{name}", "{name}/{split}", "top/{split}/{name}/more", "top/x/{name}/{split}"]
)
def test_splits_that_folders_are_called_after(order, tmp_path):
    splits = ["Training", "Training", "Training", "valid", "private", "private"]
    folders(tmp_path, lambda name, n: f"{order.format(split=splits[n], name=name)}/{n}.png")
    found = load(tmp_path)
    assert {split: len(rows) for split, rows in found.items()} == {"train": 9, "val": 3, "test": 6}
    assert found["test"].classes == ("blue", "green", "red")
    with pytest.raises(ConfigError, match="has validation rows of its own"):
        load(tmp_path, Reading(val_share=0.3))


def test_colour_and_size(tmp_path):
    folders(tmp_path, lambda name, n: f"{name}/{n}.png", height=20, width=40)
    wide = load(tmp_path, Reading(colour=True))["train"]
    assert wide.images.shape == (15, 20, 40, 3)
    red, _, blue = wide.images[wide.labels == 0].mean(axis=(0, 1, 2))
    assert red < 60 and blue > 200
    square = load(tmp_path, Reading(colour=True, size=16))["train"]
    assert square.images.shape == (15, 16, 16, 3)
    assert not square.images[:, :4].any() and not square.images[:, 12:].any()  # padded, not stretched
    assert square.images[:, 5:11].mean() > 50
    assert load(tmp_path, Reading(size=16))["train"].images.shape == (15, 16, 16)


def test_pictures_of_several_sizes_are_fitted(tmp_path, capsys):
    folders(tmp_path, lambda name, n: f"{name}/{n}.png")
    picture("red", 9, 30, 50).save(tmp_path / "red" / "0.png")
    assert load(tmp_path)["train"].images.shape[1:] == (48, 48)
    assert "fitted into 48x48 (--size)" in capsys.readouterr().err


def test_an_archive_with_names_in_any_language(tmp_path):
    folders(tmp_path / "a", lambda name, n: f"{name}/{n}.png")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted((tmp_path / "a").rglob("*.png")):
            archive.write(path, f"Blüten/{path.parent.name} ö/{path.name}")
    assert load(tmp_path / "a.zip")["train"].classes == ("blue ö", "green ö", "red ö")


@pytest.mark.parametrize("reading", [Reading(), Reading(size=16)])
def test_archives_in_a_folder_or_an_archive_are_folders(reading, tmp_path):
    folders(tmp_path / "all", lambda name, n: f"{name}/{n}.png")
    packed = tmp_path / "packed"
    for name in COLOURS:  # blue.zip, green.zip and red.zip
        shutil.make_archive(packed / name, "zip", tmp_path / "all" / name)
    shutil.make_archive(tmp_path / "one" / "whole", "zip", tmp_path / "all")
    for inner in ("packed", "one"):
        shutil.make_archive(tmp_path / "outer" / inner, "zip", tmp_path / inner)
    expected = load(tmp_path / "all", reading)["train"]
    for source in ("packed", "one", "outer/packed.zip", "outer/one.zip"):
        found = load(tmp_path / source, reading)["train"]
        assert found.classes == ("blue", "green", "red")
        np.testing.assert_array_equal(found.images, expected.images)


def test_numbers_sort_as_numbers(tmp_path):
    for name in ("2", "10", "1"):
        folders(tmp_path, lambda colour, n, name=name: f"{name}/{colour}{n}.png")
    assert load(tmp_path)["train"].classes == ("1", "2", "10")


@pytest.mark.parametrize(
    "names, expected",
    [
        (["1.png", "2.png"], "1.png: not in a folder called after its class"),
        (["a/1.png", "a/2.png"], "all pictures are of one class, a"),
        (["train/a/1.png", "train/b/1.png", "c/1.png"], "1.png: in no folder called train, val or test, as others are"),
        (["train/1.png", "test/1.png"], "1.png: not in a folder called after its class"),
        (["a/1.png", "b/1.png", "b/2.png"], "class 'a' has 1 training picture, and at least 2 are needed"),
        (["test/a/1.png", "test/b/1.png"], "no split 'train': it has test"),
        (["train/a/1.png", "train/b/1.png", "val/A/1.png", "val/b/1.png"], "'A' and 'a', which no split has both of"),
        (["train/a/1.png", "train/b/1.png", "val/a /1.png"], "'a' and 'a ', which no split has both of"),
        (["x/a/1.png", "x/b/1.png", "y/a/1.png", "y/b/1.png"], "what are the classes, x, y, or a, b, which are"),
        (["train/x/a/1.png", "test/x/b/1.png", "test/y/a/1.png", "test/y/b/1.png"], "what are the classes, x, y, or a"),
        ([f"{'a' * 101}/1.png", "b/1.png"], "'aaaaaaaaaaaaaaaaaaaa' has a name of 101 characters"),
        (["a\nb/1.png", "b/1.png"], r"another control character is in the class name 'a\\nb'"),
        (["a\x1b[31m/1.png", "b/1.png"], r"another control character is in the class name 'a\\x1b\[31m'"),
    ],
)
def test_folders_that_say_no_class_are_one_line(names, expected, tmp_path):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture("red", 1).save(tmp_path / name)
    with pytest.raises(DataError, match=expected):
        load(tmp_path, needed=["train"])


def test_folders_that_may_look_like_several_things_and_are_one(tmp_path):
    for name in ("a/p/1.png", "a/q/1.png", "b/p/1.png", "b/q/1.png", "b/2.png"):  # a picture says that b is a class
        (tmp_path / "one" / name).parent.mkdir(parents=True, exist_ok=True)
        picture("red", 1).save(tmp_path / "one" / name)
    assert load(tmp_path / "one")["train"].classes == ("a", "b")
    if (tmp_path / "ONE").exists():
        pytest.skip("this file system does not tell a from A")
    for name in ("train/a/1.png", "train/A/1.png", "val/a/1.png", "test/A/1.png"):  # letters
        (tmp_path / "two" / name).parent.mkdir(parents=True, exist_ok=True)
        picture("red", 1).save(tmp_path / "two" / name)
    assert load(tmp_path / "two")["train"].classes == ("A", "a")


def test_a_picture_of_another_size_than_the_others_is_named(tmp_path):
    folders(tmp_path, lambda name, n: f"{name}/{n:03}.png", count=30)
    picture("green", 1, 30, 20).save(tmp_path / "green" / "001.png")
    with pytest.raises(DataError, match=r"001.png: 20x30 pixels instead of 20x20"):
        load(tmp_path)


@pytest.mark.parametrize("names", [("X", "y"), ("images", "labels"), ("x_train", "y_train"), ("data", "targets")])
def test_arrays(names, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (40, 8, 8, 3), np.uint8), np.arange(40)[:, None] % 4  # as CIFAR's labels are, (N,1)
    np.savez(tmp_path / "a.npz", **dict(zip(names, (x, y), strict=True)))
    colour = load(tmp_path / "a.npz", Reading(colour=True))
    assert colour["train"].images.shape == (32, 8, 8, 3) and colour["val"].classes == ("0", "1", "2", "3")
    grey = load(tmp_path / "a.npz")
    np.testing.assert_array_equal(grey["train"].images, luminance(colour["train"].images))
    rows = colour["train"].names.astype(int)
    np.testing.assert_array_equal(colour["train"].images, x[rows])
    np.testing.assert_array_equal(colour["train"].labels, y[rows, 0])


def test_arrays_with_their_own_test_rows_and_class_names(tmp_path):
    x = np.random.default_rng(0).random((20, 6, 6)).astype(np.float32)
    y = np.array(["no", "yes"])[np.arange(20) % 2]
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])
    found = load(tmp_path / "a.npz")
    assert {split: len(rows) for split, rows in found.items()} == {"train": 16, "val": 4, "test": 4}
    assert found["test"].classes == ("no", "yes")
    np.testing.assert_array_equal(found["test"].labels, [0, 1, 0, 1])
    np.savez(tmp_path / "b.npz", X=x, y=np.arange(20) % 2, classes=np.array(["cat", "dog"]))
    assert load(tmp_path / "b.npz")["val"].classes == ("cat", "dog")
    np.savez(tmp_path / "c.npz", X=x, y=y, classes=np.array(["yes", "no"]), x_test=x, y_test=y)
    ordered = load(tmp_path / "c.npz")["test"]
    assert ordered.classes == ("yes", "no") and ordered.labels.tolist() == [1, 0] * 10


def test_pictures_of_another_size_are_fitted_into_that_of_a_network(tmp_path):
    for number, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        for k in range(3):
            Image.new("L", (100, 80), 40 * (2 * number + k)).save(tmp_path / name / f"{k}.png")
    assert load(tmp_path)["val"].images.shape[1:] == (80, 100)
    assert load(tmp_path, Reading(side=48))["val"].images.shape[1:] == (48, 48)


def test_labels_of_several_whole_types_are_of_one_kind(tmp_path):
    x, y = np.zeros((4, 6, 6), np.uint8), np.array([0, 1, 0, 1])
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y.astype(np.uint64), x_val=x, y_val=y)
    assert load(tmp_path / "a.npz")["train"].classes == ("0", "1")


X = np.zeros((4, 8, 8), np.uint8)
Y = np.array([0, 1, 0, 1])
TRAIN = {"x_train": X, "y_train": Y}


@pytest.mark.parametrize(
    "arrays, expected",
    [
        ({"X": np.zeros((4, 8, 8), np.uint8)}, "it holds the arrays X, not X and y"),
        ({"X": np.zeros((4, 3, 8, 8), np.uint8), "y": np.arange(4)}, r"X has shape \(4, 3, 8, 8\) instead of"),
        ({"X": np.zeros((4, 192), np.uint8), "y": np.arange(4)}, r"X has shape \(4, 192\)"),
        ({"X": X, "y": np.arange(4) / 2}, "y holds float64, and labels are whole numbers or texts: give the number or"),
        ({"X": X, "y": Y / 1}, r"y holds float64, and labels are whole numbers or texts: give y.astype\(int\)"),
        ({"X": X, "y": Y > 0}, r"y holds bool, and labels are whole numbers or texts: give y.astype\(int\)"),
        ({"X": X, "y": np.eye(4, dtype=int)}, r"y has shape \(4, 4\) instead of \(N,\): .* y.argmax\(axis=1\)"),
        ({"X": X, "y": np.eye(4)}, r"y has shape \(4, 4\) instead of \(N,\): .* y.argmax\(axis=1\)"),
        ({"X": X, "y": Y[None]}, r"y has shape \(1, 4\) instead of \(N,\)"),
        ({"X": X, "y": np.uint64(2**63) + Y.astype(np.uint64)}, "y holds 9223372036854775809: number the"),
        ({"X": X, "y": np.arange(3)}, "4 pictures in X, 3 labels in y: give one label for each picture"),
        ({"X": X, "y": Y.astype("S1")}, r"y holds bytes, of which .astype\(str\) makes texts"),
        ({"X": X * 1j, "y": Y}, "X holds complex numbers, .* or data of your own with numpy.savez"),
        ({"X": X, "y": 0 * Y}, "all pictures are of one class, 0: there must be two or more"),
        ({"X": X, "y": Y, "images": X, "labels": Y}, "X and images may both be the array that is meant"),
        ({"X": X, "x": X, "y": Y}, "X and x may both be the array that is meant"),
        ({"X": X, "y": Y, **TRAIN}, "x_train and X may both be the train pictures"),
        ({**TRAIN, "x_val": X[:, :6, :6], "y_val": Y}, "pictures of 8 x 8 in train and 6 x 6 in val: give --size"),
        ({**TRAIN, "x_val": X[:0], "y_val": Y[:0]}, r"x_val has shape \(0, 8, 8\): it holds no picture: .* leave x_"),
        ({**TRAIN, "x_val": X, "y_val": Y.astype(str)}, "labels are numbers in one split and texts in another"),
        (
            {"x_train": X, "y_train": np.array(["cat", "dog"] * 2), "x_val": X, "y_val": np.array(["Cat", "dog"] * 2)},
            "'Cat' and 'cat', which no split has both of, look like one class",
        ),
        ({"X": X, "y": Y, "classes": np.array([["a", "b"]] * 2)}, r"classes holds <U1 of shape \(2, 2\) instead of"),
        ({"X": X, "y": Y, "classes": np.array(["a", "a"])}, "the class 'a' is there twice"),
        ({"X": X, "y": Y, "classes": np.array(["a", ""])}, "the class '' has a name of 0 characters"),
        ({"X": X, "y": Y.astype(str), "classes": np.array(["0", "2"])}, "the label '1' is not in classes"),
        ({"X": np.zeros((4, 8, 1025), np.uint8), "y": Y}, "pictures of 8 x 1025, and no side may have more than 1024"),
        ({"X": np.zeros((1001, 1, 1), np.uint8), "y": np.arange(1001)}, "1001 classes, more than 1000"),
        (
            {"X": np.zeros((4, 8, 8), np.uint8), "y": np.arange(4), "classes": np.array(["a", "b"])},
            "labels are 0 to 3, and there are 2 classes",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_one_line(arrays, expected, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=expected):
        load(tmp_path / "a.npz")


def test_python_objects_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.array([{}], object), y=np.arange(1))
    with pytest.raises(DataError, match="never unpickles"):
        load(tmp_path / "a.npz")


def test_classes_are_kept_and_merged(tmp_path):
    save_npz(tmp_path / "faces.npz", synthetic.load(seed=0, train=70, val=14))
    both = load(tmp_path / "faces.npz", Reading(merge=("angry+disgust",), classes=("happy", "angry+disgust")))
    assert both["train"].classes == ("happy", "angry+disgust")
    assert both["train"].counts() == {"happy": 10, "angry+disgust": 20}
    whole = load(tmp_path / "faces.npz")["train"]
    happy = whole.images[whole.labels == whole.classes.index("happy")]
    np.testing.assert_array_equal(both["train"].images[both["train"].labels == 0], happy)
    merged = load_split(tmp_path / "faces.npz", "val", Reading(merge=("angry+disgust", "sad+fear")))
    assert merged.classes == ("angry+disgust", "sad+fear", "happy", "surprise", "neutral")


@pytest.mark.parametrize(
    "wrong, expected",
    [
        ({"classes": ("happy", "bored")}, "classes: 'bored' is none of angry"),
        ({"classes": ("happy",)}, "classes: happy: keep two or more, each once"),
        ({"classes": ("happy", "sad", "happy")}, "keep two or more, each once"),
        ({"merge": ("angry",)}, r"merge: 'angry' is not two or more of angry"),
        ({"merge": ("angry+bored",)}, r"merge: 'angry\+bored' is not two or more"),
        ({"size": 32}, "is FER2013, grey pictures of 48x48 with splits of its own"),
        ({"val_share": 0.2}, "is FER2013"),
    ],
)
def test_a_reading_that_does_not_fit_is_one_line(wrong, expected, tmp_path):
    save_npz(tmp_path / "faces.npz", synthetic.load(seed=0, train=14, val=7))
    with pytest.raises(ConfigError, match=expected):
        load(tmp_path / "faces.npz", Reading(**wrong))


def test_fer2013_in_folders_stays_fer2013(tmp_path):
    faces = synthetic.load(seed=0, train=14, val=7)
    for split, rows in faces.items():
        for number, (image, label) in enumerate(zip(rows.images, rows.labels, strict=True)):
            path = tmp_path / split / rows.classes[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    assert load(tmp_path)["train"].classes == faces["train"].classes
    own = load(tmp_path, Reading(size=24))["train"]  # unless it is asked to be one's own
    assert own.images.shape == (14, 24, 24) and own.classes == tuple(sorted(faces["train"].classes))
    (tmp_path / "train" / "bored").mkdir()
    Image.fromarray(faces["val"].images[0]).save(tmp_path / "train" / "bored" / "1.png")
    with pytest.raises(DataError, match=r"not in a folder named angry, .* or give --size"):
        load(tmp_path)


# Colour in the parts that pictures pass through.


def test_a_dataset_needs_no_names_and_takes_colour():
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)
    dataset = Dataset(images, [0, 1, 1], classes=("a", "b"))
    assert dataset.names.tolist() == ["0", "1", "2"] and dataset.grey.shape == (3, 4, 5)
    assert dataset.take([2]).images.shape == (1, 4, 5, 3)
    with pytest.raises(DataError, match="images must be"):
        Dataset(images[..., :2], [0, 1, 1])


def test_luminance_is_pillows():
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    np.testing.assert_array_equal(luminance(image), np.asarray(Image.fromarray(image).convert("L")))
    np.testing.assert_array_equal(luminance(image), check_image(image))


def test_every_channel_is_augmented_alike():
    images = np.random.default_rng(0).integers(0, 256, (4, 12, 10, 3), np.uint8)
    geometry = Augmentation(brightness=0, contrast=0, erasing=0.5)
    changed = augment_batch(images, np.arange(4), 7, 1, geometry)
    assert changed.shape == images.shape and changed.dtype == np.float32
    for channel in range(3):
        alone = augment_batch(np.ascontiguousarray(images[..., channel]), np.arange(4), 7, 1, geometry)
        np.testing.assert_array_equal(changed[..., channel], alone[..., 0])
    none = Augmentation(flip=False, shift=0, rotation=0, zoom=0, brightness=0, contrast=0)
    np.testing.assert_array_equal(augment_batch(images, np.arange(4), 0, 0, none), to_float(images))
    np.testing.assert_array_equal(to_float(to_float(images)), to_float(images))
    np.testing.assert_array_equal(check_images(images), images)


def test_mobilenet_tells_colours_apart(tmp_path):
    folders(tmp_path, lambda name, n: f"{name}/{n}.png", count=12, height=32, width=32)
    splits = load(tmp_path, Reading(colour=True))
    settings = config.TrainConfig(model="skip", alpha=0.1, epochs=6, batch_size=8, schedule="constant", colour=True)
    training = fit(settings, splits["train"], splits["val"])
    assert training.model["stem"].weight.value.shape[2] == 3
    assert training.rows[-1]["val_top1"] > 0.6  # chance is a third; grey pictures are hardly told apart
    assert predict(training.model, splits["val"].images).shape == (6, 3)
    assert mobilenet(input_shape=(32, 32, 3), alpha=0.1)(to_float(splits["val"].images)).shape == (6, 7)


def test_the_whole_way_with_ones_own_colour_pictures(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders(tmp_path / "data", lambda name, n: f"{name}/{n}.png", count=8, height=30, width=20)
    train = ("train", "--data", "data", "--colour", "--size", "24", "--model", "skip", "--alpha", "0.1")
    code, out, err = run(capsys, *train, "--epochs", "2", "--out", "run")
    assert (
        code == 0 and "blue" in out and "24 training rows" not in err and "18 training rows, 6 validation rows" in err
    )
    code, out, _ = run(capsys, "evaluate", "run", "--data", "data", "--split", "val", "--json")
    result = json.loads(out)
    assert code == 0 and result == json.loads((tmp_path / "run" / "evaluation.json").read_text())
    code, out, _ = run(capsys, "predict", "data", "--no-detect", "--weights", "run", "--json")
    shown = {row["image"]: row["faces"][0]["probabilities"] for row in map(json.loads, out.splitlines())}
    assert code == 0 and len(shown) == 24
    splits = load("data", Reading(colour=True, size=24))
    for rows in splits.values():
        expected = predict(load_weights("run/best.npz")[0], rows.images)
        for name, probs in zip(rows.names, expected, strict=True):
            assert shown[f"data/{name}"].keys() == {"blue", "green", "red"}
            np.testing.assert_allclose(list(shown[f"data/{name}"].values()), probs, atol=2e-5)
    Image.fromarray(astronaut()).save("photo.png")
    code, out, _ = run(capsys, "predict", "photo.png", "--weights", "run", "--json")
    (face, *_) = json.loads(out)["faces"]
    assert code == 0 and face["score"] > 0.9 and face["probabilities"].keys() == {"blue", "green", "red"}
    points = LandmarkPredictor.load().predict(astronaut(), face["box"])
    crop = crop_face(astronaut(), points, side=24, colour=True)
    expected = predict(load_weights("run/best.npz")[0], crop[None])[0]
    np.testing.assert_allclose(list(face["probabilities"].values()), expected, atol=0.02)  # the box is rounded there
    for channel in range(3):
        np.testing.assert_array_equal(crop[..., channel], crop_face(astronaut()[..., channel], points, side=24))
    code, _, err = run(capsys, "train", "--resume", "run")
    assert code == 0 and "going on after epoch 2" in err
    code, _, err = run(capsys, *train, "--register", "--out", "other")
    assert code == 2 and "register needs grey pictures" in err


def test_colour_pictures_of_ones_own_classes_are_balanced(tmp_path):
    """10, 6 and 3 pictures of three classes become 6 each; what SMOTE makes of reds is red."""
    folders(tmp_path, lambda name, n: f"train/{name}/{n}.png", count=12)
    rows = load(tmp_path, Reading(colour=True, val_share=0.1))["train"]
    few = np.concatenate([np.flatnonzero(rows.labels == k)[:n] for k, n in enumerate((10, 6, 3))])
    rows = rows.take(few)
    assert rows.classes == ("blue", "green", "red") and rows.images.ndim == 4
    even = balance(rows)
    assert set(even.counts().values()) == {6} and even.images.shape[1:] == rows.images.shape[1:]
    made = even.take(is_synthetic(even))
    assert made.counts() == {"blue": 0, "green": 0, "red": 3}
    real = rows.images[rows.labels == 2].astype(int)
    assert (made.images >= real.min(axis=0)).all() and (made.images <= real.max(axis=0)).all()


def test_a_recognizer_reads_a_picture_as_training_did(tmp_path):
    folders(tmp_path / "data", lambda name, n: f"{name}/{n}.png", count=8, height=30, width=20)
    reading = Reading(colour=True, size=24)
    splits = load(tmp_path / "data", reading)
    settings = config.TrainConfig(model="skip", alpha=0.1, epochs=1, batch_size=8, colour=True, size=24)
    training = Training(settings, splits["train"], splits["val"])
    training.run(Silent(tmp_path))
    recognizer = Recognizer.load(tmp_path / "best.npz", detect=False)
    training.stopping.restore(training.model)
    expected = predict(training.model, splits["val"].images)
    for name, probs in zip(splits["val"].names, expected, strict=True):
        (face,) = recognizer.predict(tmp_path / "data" / name)
        np.testing.assert_allclose(list(face["probabilities"].values()), probs, atol=2e-5)
