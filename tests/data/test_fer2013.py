import gzip
import io
import os
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minifer.data import fer2013, layouts, tables
from minifer.data.dataset import CLASSES
from minifer.errors import DataError
from minifer.files.cache import cache_folder

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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|", ", "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_as_spreadsheets_write_it(data, encoding, separator, end):
    text = csv_text().replace(",", separator).replace("\n", end)
    (data / "fer2013.csv").write_bytes(text.encode(encoding))
    check_csv_rows(fer2013.load(data / "fer2013.csv"))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "\n\n",
        lambda text: text + ",,\n  ,,\n",
        lambda text: text + '"","",""\n',
        lambda text: "\n\n" + text,
        lambda text: text.replace("\n", ",,\n"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace("\n4,", "\n4.0,").replace("\n6,", "\n 6. ,"),
        lambda text: "\n".join(",".join(f'"{field}"' for field in line.split(",")) for line in text.splitlines()),
        lambda text: text.replace("emotion,pixels,Usage", '" EMOTION ",Pixels,"usage"'),
        lambda text: text.replace("Training", " training ").replace("PublicTest", "PUBLICTEST"),
        lambda text: text.replace(" ", "  "),
        lambda text: text.rstrip("\n"),
    ],
)
def test_csv_with_blanks_and_quotes(data, change):
    (data / "fer2013.csv").write_text(change(csv_text()))
    check_csv_rows(fer2013.load(data / "fer2013.csv"))


@pytest.mark.parametrize("name", ["fer2013.csv", "fer2013.CSV", "data.txt", "data.tsv", "data"])
def test_a_table_under_any_name(data, name):
    (data / name).write_text(csv_text().replace(",", "\t"))
    check_csv_rows(fer2013.load(data / name))
    if name != "data":
        (data / "README.txt").write_text("about the pixels, and more")
        check_csv_rows(fer2013.load(data))


@pytest.mark.parametrize("label", ["3.5", "-1", "7.0", "nan", "1e0", "0_1", "3,5", "٣"])
def test_labels_that_are_no_code(data, label):
    (data / "a.csv").write_text(csv_text([(label, "Training")]).replace(",", ";").replace("3;5", "3,5"))
    with pytest.raises(DataError, match="line 2, column emotion"):
        fer2013.load(data / "a.csv")


def test_a_line_without_an_end_takes_no_memory(data):
    import tracemalloc

    with open(data / "a.csv", "wb") as file:
        file.write(b"emotion,pixels,Usage\n")
        file.seek(200_000_000)
        file.write(b"1")
    tracemalloc.start()
    with pytest.raises(DataError, match=r"a\.csv, line 2: more than \d+ characters"):
        fer2013.load(data / "a.csv")
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


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


def test_two_tables_in_one_archive_are_refused(data):
    write_zip(data / "a.zip", {"fer2013.csv": csv_text(), "copy/fer2013 (1).csv": csv_text(), "train.csv": "a,b"})
    with pytest.raises(DataError, match=r"fer2013 \(1\).csv and .*fer2013.csv may both be it: give one of them"):
        fer2013.load(data / "a.zip")


@pytest.mark.parametrize("top", ["", "images/", "a/b/fer 2013/"])
@pytest.mark.parametrize(
    "folders, split, label",
    [
        ("train/angry", "train", 0),
        ("Training/Anger", "train", 0),
        ("validation/disgusted", "val", 1),
        ("valid/1_disgust", "val", 1),
        ("val/fearful", "val", 2),
        ("PublicTest/2-Fear", "val", 2),
        ("public_test/happiness", "val", 3),
        ("TEST/03. Happy", "test", 3),
        ("private/sadness", "test", 4),
        ("PrivateTest/SAD", "test", 4),
        ("surprised/testing", "test", 5),  # the class above the split
        ("test/neutral/batch 7", "test", 6),  # more folders below
        ("test/train/surprise", "train", 5),  # the nearest decides
    ],
)
def test_folders_name_the_split_and_the_class(data, top, folders, split, label):
    write_pictures(data, [f"{top}{folders}/im0.png"])
    ((found, rows),) = fer2013.load(data).items()
    assert found == split and rows.labels.tolist() == [label]


def test_the_official_prefix_is_stronger_than_the_folder(data):
    write_pictures(data, ["train/angry/x.png", "test/sad/PublicTest_1.png", "test/sad/other.png"])
    assert {split: len(rows) for split, rows in fer2013.load(data).items()} == {"train": 1, "val": 1, "test": 1}


@pytest.mark.parametrize("name", ["train/sad/a.webp", "train/sad/a.BMP", "train/sad/a.gif", "train/sad/a.jfif"])
def test_pictures_in_other_formats(data, name):
    (data / name).parent.mkdir(parents=True)
    form = {"webp": "WEBP", "BMP": "BMP", "gif": "GIF", "jfif": "JPEG"}[name.split(".")[1]]
    (data / name).write_bytes(encoded(np.full((48, 48), 90, np.uint8), form))
    assert (fer2013.load(data)["train"].images == 90).all()


def test_sixteen_bits_are_read_as_everywhere(data):
    write_zip(data / "a.zip", {"sad/Training_1.png": encoded(pixels(0).astype(np.uint16) * 257)})
    np.testing.assert_array_equal(fer2013.load(data / "a.zip")["train"].images, [pixels(0)])


def test_what_systems_leave_in_folders_is_not_read(data):
    write_pictures(data)
    for name in ("._a.jpg", "@eaDir/a.jpg", ".thumbnails/a.png", "Thumbs.db", "desktop.ini", "lost+found/a.jpg"):
        (data / "train/sad" / name).parent.mkdir(exist_ok=True)
        (data / "train/sad" / name).write_bytes(b"junk")
    check_pictures(fer2013.load(data))


def test_files_that_are_no_known_picture_are_counted(data, capsys):
    write_pictures(data, [*PICTURES, "train/sad/a.heic", "train/sad/b.heic", "README.md"])
    check_pictures(fer2013.load(data))
    line = f"{data}: 3 files that are no known picture were left out (2 .heic, 1 .md)"
    assert capsys.readouterr().err.splitlines() == [line]


# Links in folders are followed.


@pytest.mark.parametrize("linked", ["train", "test", "train/sad", "train/sad/Training_2.jpg", ""])
def test_links_are_followed(data, tmp_path, linked):
    write_pictures(data)
    (data / linked).rename(tmp_path / "elsewhere")
    (data / linked).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back" if linked != "train/sad/Training_2.jpg" else data / "back").symlink_to(data)  # a cycle
    check_pictures(fer2013.load(data))


@pytest.mark.parametrize("target", ["/nowhere", "sad"])
def test_a_link_to_nothing_is_not_a_class_without_pictures(data, target):
    write_pictures(data)
    shutil.rmtree(data / "train/sad")
    (data / "train/sad").symlink_to(target)  # to nothing, or to itself
    with pytest.raises(DataError, match="train/sad: a link to nothing"):
        fer2013.load(data)


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
    with pytest.raises(DataError, match=r"a.npz: no array labels .* minifer prepare: FER2013 is needed here"):
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
        ("emotion,pixels,pixels,Usage\n", "two columns 'pixels'"),
        ("emotion,pixels,Usage\n0," + "1" * 200_000 + ",Training\n", "line 2: field larger"),
    ],
)
def test_csv_without_its_columns_or_rows(data, text, message):
    (data / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        fer2013.load(data / "a.csv")


def test_folder_and_zip_with_another_csv(data):
    (data / "train.csv").write_text("emotion,pixels\n0,1\n")
    with pytest.raises(DataError, match=r"train.csv: no column 'usage': expected emotion, pixels, Usage"):
        fer2013.load(data)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("sad/Training_1.jpg", b"no picture", "sad/Training_1.jpg: not a picture in a known format"),
        ("sad/Training_1.jpg", encoded(pixels(0))[:1000], "sad/Training_1.jpg: cannot be read .* damaged"),
        ("sad/Training_1.jpg", encoded(np.zeros((48, 49), np.uint8)), "49x48 pixels instead of 48x48"),
        ("sad/Training_1.jpg", bytes(1_100_000), "1100000 bytes"),
        ("sad/im0.png", encoded(pixels(0)), "sad/im0.png: the name starts with none of Training"),
        ("bored/Training_1.jpg", encoded(pixels(0)), "bored/Training_1.jpg: not in a folder named angry"),
        ("notes.txt", b"hello", "notes.txt: unknown layout, it names no columns emotion, pixels, Usage"),
        ("data_batch_1", pickle.dumps({"data": [0]}), "pickled Python, .* is never read: write its arrays X and y"),
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
    columns = "it names no columns emotion, pixels, Usage"
    for content, held in ((b"", "it is empty"), (b"\0\1\2", columns), (b"0,1 2 3,Training\n", columns)):
        for name in ("file.bin", "fer2013.csv"):
            (data / name).write_bytes(content)
            with pytest.raises(DataError, match=rf"{name}: unknown layout, {held}"):
                fer2013.load(data / name)


# The cache.


def test_second_read_comes_from_the_cache(data, cache, monkeypatch):
    write_pictures(data)
    fer2013.load(data)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(fer2013, "read_source", None)  # whoever reads the source now fails
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


def swap(first, second):
    first.rename(first.with_name("other"))
    second.rename(first)
    first.with_name("other").rename(second)


def replace_keeping_its_time(path, content):
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    "correct",
    [
        lambda top: (top / "train/sad/a.bmp").rename(top / "train/angry/a.bmp"),
        lambda top: (top / "train/sad/a.bmp").rename(top / "val/sad/a.bmp"),
        lambda top: swap(top / "train/sad", top / "train/angry"),
        lambda top: swap(top / "train", top / "val"),
        lambda top: replace_keeping_its_time(top / "train/sad/a.bmp", encoded(pixels(9), "BMP")),
        lambda top: ((top / "train/sad/a.bmp").unlink(), shutil.copy2(top / "val/sad/c.bmp", top / "train/sad/a.bmp")),
        lambda top: (top / "train/sad").replace(top / "train/fear"),
        lambda top: (
            (top / "train/sad").rename(top / "../sad"),
            (top / "train/sad").symlink_to(top / "val/sad", target_is_directory=True),
        ),
    ],
    ids=["class", "split", "swapped classes", "swapped splits", "replaced", "deleted and copied", "renamed", "linked"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_every_correction_of_a_folder_is_seen(data, packed, correct):
    """All pictures have one size and one time, so that neither tells anything."""
    top, names = data / "fer", ["train/sad/a.bmp", "train/angry/b.bmp", "val/sad/c.bmp", "val/angry/d.bmp"]
    for seed, name in enumerate(names):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(encoded(pixels(seed), "BMP"))
        os.utime(top / name, ns=(10**18, 10**18))

    def source():
        if packed:
            path = data / "fer.tar"
            with tarfile.open(path, "w", dereference=True) as archive:
                archive.add(top, "fer")
            os.utime(path, ns=(10**18, 10**18))
            return path
        return top

    def rows(splits):
        return {
            split: sorted(zip(part.labels.tolist(), map(bytes, part.images), strict=True))
            for split, part in splits.items()
        }

    before = rows(fer2013.load(source()))
    correct(top)
    after = rows(fer2013.load(source()))
    assert after != before
    shutil.rmtree(os.environ["MINIFER_CACHE"])
    assert after == rows(fer2013.load(source()))


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
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("MINIFER_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "minifer"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "minifer"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "minifer"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local" / "minifer"


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


def test_more_rows_than_fer2013_could_have(data, monkeypatch):
    monkeypatch.setattr(layouts, "MOST_ROWS", 4)
    monkeypatch.setattr(tables, "MOST_ROWS", 4)
    (data / "fer2013.csv").write_text(csv_text())
    with pytest.raises(DataError, match=r"fer2013.csv, line 6: more than 4 rows"):
        fer2013.load(data / "fer2013.csv")
    write_pictures(data / "pictures")
    with pytest.raises(DataError, match=r"pictures: 5 pictures, more than 4"):
        fer2013.load(data / "pictures")
