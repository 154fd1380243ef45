"""Training pictures from zips and folders, and every way in which they can be wrong."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from minifer.errors import DataError
from minifer.faces.archives import pictures_below, portraits_below, read_points

POINTS = "\n".join(f"{i} {i + 0.5}" for i in range(68))


def png(value):
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 5), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


FILES = {"faces/b.png": png(2), "faces/a.png": png(1), "scenes/c.png": png(3), "notes.txt": b"", "d.png": png(4)}
FILES |= {"d.pts": f"version: 1\nn_points: 68\n{{\n{POINTS}\n}}\n".encode()}


@pytest.fixture(params=["zip", "folder"])
def source(request, tmp_path):
    if request.param == "zip":
        with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
            for name, content in FILES.items():
                archive.writestr(name, content)
        return tmp_path / "data.zip"
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_pictures_by_name_and_folder(source):
    assert {name: picture[0, 0] for name, picture in pictures_below(source, "faces").items()} == {
        "faces/a.png": 1,
        "faces/b.png": 2,
    }
    assert list(pictures_below(source)) == ["d.png", "faces/a.png", "faces/b.png", "scenes/c.png"]
    with pytest.raises(DataError, match="no pictures in a folder called 'none'"):
        pictures_below(source, "none")


def test_portraits_are_pictures_with_points(source):
    [(picture, points)] = portraits_below(source)
    assert picture[0, 0] == 4
    assert points[67].tolist() == [67, 67.5]


def test_a_folder_without_portraits(tmp_path):
    with pytest.raises(DataError, match=r"\.pts"):
        portraits_below(tmp_path)


@pytest.mark.parametrize("text", ["", "1 2\n3 4", POINTS + "\n1 2", POINTS.replace("5 5.5", "5 nan")])
def test_landmark_files_that_do_not_hold_68_points(text):
    with pytest.raises(DataError, match="expected 68"):
        read_points(text, "face.pts")


@pytest.mark.parametrize("content", [b"", b"PK nothing", png(1)])
def test_what_is_no_archive(tmp_path, content):
    (tmp_path / "data.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"data\.zip: no pictures"):
        pictures_below(tmp_path / "data.zip")
    with pytest.raises(DataError, match="no such file or folder"):
        pictures_below(tmp_path / "missing.zip")


def test_a_damaged_member(tmp_path):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", png(1))
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"data.zip/a.png: cannot be read \(Bad CRC"):
        pictures_below(path)
