import gzip
import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minifer.data import fer2013
from minifer.data.dataset import CLASSES
from minifer.errors import DataError

ARCHIVE = Path(__file__).resolve().parents[3] / "shared" / "data" / "fer2013.zip"
ROWS = [(0, "Training"), (4, "Training"), (5, "PublicTest"), (6, "PrivateTest"), (6, "Training")]
PICTURES = [
    "train/sad/Training_2.jpg",
    "train/surprise/Training_3.jpg",
    "train/neutral/Training_1.jpg",
    "test/happy/PublicTest_4.jpg",
    "test/disgust/PrivateTest_5.jpg",
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("MINIFER_CACHE", str(folder))
    return folder


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (48, 48)).astype(np.uint8)


def csv_text(rows=ROWS, header="emotion,pixels,Usage", order=(0, 1, 2)):
    lines = [header]
    for seed, (emotion, usage) in enumerate(rows):
        fields = [str(emotion), " ".join(map(str, pixels(seed).ravel())), usage]
        lines.append(",".join(fields[k] for k in order))
    return "\n".join(lines) + "\n"


def encoded(image, form="PNG"):
    file = io.BytesIO()
    Image.fromarray(image).save(file, form)
    return file.getvalue()


def write_pictures(folder, names=PICTURES):
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(pixels(seed)))


def write_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def check_csv_rows(splits):
    assert list(splits) == ["train", "val", "test"]
    np.testing.assert_array_equal(splits["train"].images, [pixels(0), pixels(1), pixels(4)])
    assert splits["train"].labels.tolist() == [0, 4, 6] and splits["train"].labels.dtype == np.int64
    assert splits["train"].names.tolist() == ["fer0000000.png", "fer0000001.png", "fer0000004.png"]
    assert splits["val"].labels.tolist() == [5] and splits["test"].labels.tolist() == [6]


def check_pictures(splits, prefix=""):
    assert list(splits) == ["train", "val", "test"]
    train = splits["train"]
    # The alphabet's order of the folders is neutral, sad, surprise; the codes are 6, 4, 5: the name decides.
    assert dict(zip(train.names.tolist(), train.labels.tolist(), strict=True)) == {
        f"{prefix}train/neutral/Training_1.jpg": 6,
        f"{prefix}train/sad/Training_2.jpg": 4,
        f"{prefix}train/surprise/Training_3.jpg": 5,
    }
    np.testing.assert_array_equal(train.images, [pixels(2), pixels(0), pixels(1)])
    # The split follows the file's name: the folder is called test for both.
    assert splits["val"].counts()["happy"] == 1 and splits["test"].counts()["disgust"] == 1


# Layouts.


def test_csv(data):
    (data / "fer2013.csv").write_text(csv_text())
    check_csv_rows(fer2013.load(data / "fer2013.csv"))
    check_csv_rows(fer2013.load(data))


def test_csv_of_the_challenge_has_blanks_in_its_header_and_another_order(data):
    text = csv_text(header="emotion, Usage, pixels", order=(0, 2, 1))
    (data / "icml_face_data.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    check_csv_rows(fer2013.load(data / "icml_face_data.csv"))


def test_zip_with_a_csv_beside_others(data):
    write_zip(data / "a.zip", {"x/fer2013new.csv": "Usage,Image name\n", "x/icml_face_data.csv": csv_text()})
    check_csv_rows(fer2013.load(data / "a.zip"))


@pytest.mark.parametrize("wrapper", ["", "archive/"])
def test_folder_of_pictures(data, wrapper):
    write_pictures(data / wrapper)
    (data / ".DS_Store").write_bytes(b"junk")
    (data / "README.txt").write_text("about")
    check_pictures(fer2013.load(data), wrapper)


@pytest.mark.parametrize("wrapper", ["", "archive/"])
def test_zip_of_pictures(data, wrapper):
    members = {wrapper + name: encoded(pixels(seed)) for seed, name in enumerate(PICTURES)}
    members |= {"train/": b"", "__MACOSX/train/sad/._Training_2.jpg": b"junk", "train/sad/.DS_Store": b"junk"}
    write_zip(data / "a.zip", members)
    check_pictures(fer2013.load(data / "a.zip"), wrapper)


def test_jpeg_and_colour_pictures_become_grey(data):
    colour = np.dstack([np.full((48, 48), value, np.uint8) for value in (90, 90, 90)])
    write_zip(data / "a.zip", {"sad/Training_1.JPG": encoded(colour, "JPEG"), "sad/Training_2.png": encoded(colour)})
    assert (fer2013.load(data / "a.zip")["train"].images == 90).all()


def test_packed_twice_or_by_windows(data):
    members = {name: encoded(pixels(seed)) for seed, name in enumerate(PICTURES)}
    write_zip(data / "a.zip", {name.replace("/", "\\"): content for name, content in members.items()})
    check_pictures(fer2013.load(data / "a.zip"))
    write_zip(data / "b.zip", {"archive.zip": (data / "a.zip").read_bytes(), "README.txt": b""})
    check_pictures(fer2013.load(data / "b.zip"), "archive/")
    (data / "fer2013.csv").write_text(csv_text())
    with tarfile.open(data / "fer2013.tar.gz", "w:gz") as archive:
        archive.add(data / "fer2013.csv", "fer2013/fer2013.csv")
    (data / "fer2013.csv.gz").write_bytes(gzip.compress((data / "fer2013.csv").read_bytes()))
    write_zip(data / "c.zip", {"x/fer2013.tar.gz": (data / "fer2013.tar.gz").read_bytes(), "train.csv": "a,b"})
    for name in ("fer2013.tar.gz", "fer2013.csv.gz", "c.zip"):
        check_csv_rows(fer2013.load(data / name))


def test_splits_that_are_not_there_are_left_out_and_asked_for_in_vain(data):
    (data / "fer2013.csv").write_text(csv_text(ROWS[:3]))
    assert list(fer2013.load(data)) == ["train", "val"]
    assert len(fer2013.load_split(data, "val")) == 1
    with pytest.raises(DataError, match="no split 'test': it has train, val"):
        fer2013.load_split(data, "test")


def test_npz_round_trip_keeps_everything_and_ignores_more(data):
    (data / "fer2013.csv").write_text(csv_text())
    splits = fer2013.load(data)
    fer2013.save_npz(data / "prepared.npz", splits, boxes=np.zeros(3))
    check_csv_rows(fer2013.load(data / "prepared.npz"))
    assert [file.name for file in data.iterdir() if file.suffix == ".tmp"] == []


def npz_arrays(**changes):
    arrays = {
        "images": np.zeros((2, 48, 48), np.uint8),
        "labels": np.array([0, 1]),
        "splits": np.array(["train", "train"]),
        "names": np.array(["a", "b"]),
        "classes": np.array(["neutral", "sad"]),
    }
    return arrays | changes


def test_npz_labels_follow_the_class_names(data):
    np.savez(data / "a.npz", **npz_arrays())
    assert fer2013.load(data / "a.npz")["train"].labels.tolist() == [6, 4]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"classes": np.array(["sad", "bored"])}, "unknown class 'bored'"),
        ({"labels": np.array([0, 2])}, "labels must be integers 0 to 1"),
        ({"labels": np.array([0.0, 1.0])}, "labels holds float64 instead of iu"),
        ({"splits": np.array(["train", "dev"])}, "unknown split 'dev'"),
        ({"images": np.zeros((2, 48, 48))}, "images holds float64 instead of u1"),
        ({"names": np.array(["a"])}, r"names has shape \(1,\) instead of \(2\)"),
        ({"splits": np.array(["train"])}, "a.npz: "),
        ({"names": np.array([{}, {}], object)}, "names holds Python objects"),
        ({"labels": np.array(0)}, r"labels has shape \(\) instead of \(2\)"),
        ({"classes": np.array([["sad", "happy"]])}, r"classes has shape \(1, 2\) instead of \(K\)"),
        ({"images": np.zeros((2, 0, 48), np.uint8)}, "it holds no pictures"),
    ],
)
def test_npz_that_is_not_ours(data, changes, message):
    np.savez(data / "a.npz", **npz_arrays(**changes))
    with pytest.raises(DataError, match=message):
        fer2013.load(data / "a.npz")


def test_npz_without_an_array(data):
    np.savez(data / "a.npz", images=np.zeros((1, 48, 48), np.uint8))
    with pytest.raises(DataError, match=r"a.npz: .*labels.* minifer prepare"):
        fer2013.load(data / "a.npz")


# Rows and files that are not right: one line that says where, what and how to go on.


def damage(text, line, old, new):
    lines = text.split("\n")
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    return "\n".join(lines)


@pytest.mark.parametrize(
    "line, old, new, message",
    [
        (3, "4,", "4,1 ", "line 3, column pixels: 2305 values instead of 2304"),
        (2, "0,", "0,300 ", "line 2, column pixels: "),
        (4, "5,", "5,x", "line 4, column pixels: 'x"),
        (4, "5,", "5,1.", "line 4, column pixels: '1."),
        (4, "5,", "5,-", "line 4, column pixels: the value -"),
        (6, "6,", "7,", "line 6, column emotion: '7' is not a code 0 to 6"),
        (6, "6,", "neutral,", "line 6, column emotion: 'neutral' is not a code"),
        (6, "6,", ",", "line 6, column emotion: ''"),
        (5, "PrivateTest", "Test", "line 5, column Usage: 'Test' is none of Training, PublicTest, PrivateTest"),
        (5, ",PrivateTest", "", "line 5: 2 columns, the header has 3"),
    ],
)
def test_csv_row_that_is_wrong(data, line, old, new, message):
    (data / "fer2013.csv").write_text(damage(csv_text(), line, old, new))
    with pytest.raises(DataError, match=message) as caught:
        fer2013.load(data / "fer2013.csv")
    assert str(caught.value).startswith(str(data / "fer2013.csv")) and "\n" not in str(caught.value)
    with pytest.raises(DataError, match=message):
        fer2013.load(data)


@pytest.mark.parametrize(
    "values, message",
    [
        (["7"] * 2303, "2303 values instead of 2304"),
        (["7"] * 2303 + ["300"], "the value 300 is not in 0 to 255"),
        (["7"] * 2303 + ["9" * 30], "is not in 0 to 255"),
        ([], "0 values"),
    ],
)
def test_csv_pixels_out_of_range_or_number(data, values, message):
    (data / "a.csv").write_text(f"emotion,pixels,Usage\n0,{' '.join(values)},Training\n")
    with pytest.raises(DataError, match=f"line 2, column pixels: .*{message}"):
        fer2013.load(data / "a.csv")


@pytest.mark.parametrize(
    "text, message",
    [
        ("emotion,pixels\n0,1\n", "no column 'usage'.*splits are not invented"),
        ("emotion,pixels,Usage\n", "a header and no rows"),
        ("emotion,pixels,Usage\n0," + "1" * 200_000 + ",Training\n", "line 2: field larger"),
    ],
)
def test_csv_without_its_columns_or_rows(data, text, message):
    (data / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        fer2013.load(data / "a.csv")


def test_folder_and_zip_with_another_csv(data):
    (data / "train.csv").write_text("emotion,pixels\n0,1\n")
    with pytest.raises(DataError, match=r"train.csv: no columns emotion, pixels, Usage"):
        fer2013.load(data)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("sad/Training_1.jpg", b"no picture", "sad/Training_1.jpg: no readable JPEG or PNG"),
        ("sad/Training_1.jpg", encoded(pixels(0))[:1000], "sad/Training_1.jpg: no readable"),
        ("sad/Training_1.jpg", encoded(pixels(0), "BMP"), "sad/Training_1.jpg: no readable"),
        ("sad/Training_1.jpg", encoded(np.zeros((48, 49), np.uint8)), "49x48 pixels instead of 48x48"),
        ("sad/Training_1.jpg", bytes(1_100_000), "1100000 bytes"),
        ("sad/im0.png", encoded(pixels(0)), "sad/im0.png: the name starts with none of Training"),
        ("bored/Training_1.jpg", encoded(pixels(0)), "bored/Training_1.jpg: not in a folder named angry"),
        ("notes.txt", b"hello", "unknown layout, it holds notes.txt"),
    ],
)
def test_picture_that_is_wrong(data, name, content, message):
    write_zip(data / "a.zip", {name: content})
    with pytest.raises(DataError, match=message):
        fer2013.load(data / "a.zip")
    (data / "folder" / name).parent.mkdir(parents=True)
    (data / "folder" / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        fer2013.load(data / "folder")


def test_zip_that_is_cut_short_or_changed(data):
    write_zip(data / "a.zip", {name: encoded(pixels(0)) for name in PICTURES})
    whole = (data / "a.zip").read_bytes()
    (data / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut.zip: cannot be read .*download it again"):
        fer2013.load(data / "cut.zip")
    (data / "changed.zip").write_bytes(whole.replace(b"IDAT", b"IDAX"))
    with pytest.raises(DataError, match=r"changed.zip/test/.*: cannot be read .*CRC.*download it again"):
        fer2013.load(data / "changed.zip")


def test_missing_empty_and_unknown(data):
    with pytest.raises(DataError, match="no such file or folder"):
        fer2013.load(data / "nowhere")
    with pytest.raises(DataError, match="unknown layout, it is empty"):
        fer2013.load(data)
    for content in (b"", b"\0\1\2", b"hello\n"):
        (data / "file.bin").write_bytes(content)
        with pytest.raises(DataError, match=r"file\.bin: unknown layout"):
            fer2013.load(data / "file.bin")


# The cache.


def test_second_read_comes_from_the_cache(data, cache, monkeypatch):
    write_pictures(data)
    fer2013.load(data)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(fer2013, "_read", None)  # whoever reads the source now fails
    check_pictures(fer2013.load(data))


def test_source_that_changed_is_read_again(data):
    file = data / "fer2013.csv"
    file.write_text(csv_text(ROWS[:2]))
    assert len(fer2013.load(file)["train"]) == 2
    file.write_text(csv_text())
    check_csv_rows(fer2013.load(file))
    same_size = csv_text().replace("\n0,", "\n3,", 1)
    file.write_text(same_size)
    os.utime(file, ns=(1, 1))
    assert fer2013.load(file)["train"].labels.tolist() == [3, 4, 6]


@pytest.mark.parametrize("wreck", [lambda whole: b"", lambda whole: whole[:3000], lambda whole: b"junk" * 99])
def test_damaged_cache_is_rebuilt(data, cache, wreck):
    (data / "fer2013.csv").write_text(csv_text())
    fer2013.load(data)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(wreck(whole))
    check_csv_rows(fer2013.load(data))
    assert len(file.read_bytes()) == len(whole)


def test_cache_folder_that_cannot_be_written_does_not_matter(data, cache):
    (data / "fer2013.csv").write_text(csv_text())
    cache.write_text("a file where the folder should be")
    check_csv_rows(fer2013.load(data))


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    assert fer2013.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("MINIFER_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert fer2013.cache_folder() == tmp_path / "xdg" / "minifer"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert fer2013.cache_folder() == Path.home() / ".cache" / "minifer"
    monkeypatch.setattr("sys.platform", "darwin")
    assert fer2013.cache_folder() == Path.home() / "Library" / "Caches" / "minifer"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert fer2013.cache_folder() == tmp_path / "local" / "minifer"


def test_moved_source_does_not_find_the_cache_of_another(data, tmp_path):
    write_pictures(data)
    fer2013.load(data)
    shutil.rmtree(data / "train" / "sad")
    write_pictures(tmp_path / "other")
    check_pictures(fer2013.load(tmp_path / "other"))
    assert len(fer2013.load(data)["train"]) == 2


@pytest.mark.data
@pytest.mark.skipif(not ARCHIVE.exists(), reason=f"{ARCHIVE} is not there")
def test_the_real_archive():
    splits = fer2013.load(ARCHIVE)
    train = dict(zip(CLASSES, (3995, 436, 4097, 7215, 4830, 3171, 4965), strict=True))
    val = dict(zip(CLASSES, (467, 56, 496, 895, 653, 415, 607), strict=True))
    assert {split: part.counts() for split, part in splits.items()} == {"train": train, "val": val}
    again = fer2013.load(ARCHIVE)
    np.testing.assert_array_equal(again["val"].images, splits["val"].images)
