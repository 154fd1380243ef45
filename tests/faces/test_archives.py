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
    Image.fromarray(np.full((80, 90), value, np.uint8)).save(stream, "PNG")
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


FORMS = {
    "commas": "\n".join(f"{i},{i + 0.5}" for i in range(68)),
    "commas and blanks": "\n".join(f"{i}, {i + 0.5}" for i in range(68)),
    "semicolons": "\n".join(f"{i};{i + 0.5};" for i in range(68)),
    "decimal commas": "\n".join(f"{i},0 {i},5" for i in range(68)),
    "numbered from 0": "\n".join(f"{i} {i} {i + 0.5}" for i in range(68)),
    "numbered from 1, the other way round": "\n".join(f"{i + 1},{i},{i + 0.5}" for i in reversed(range(68))),
    "tabs and blank lines": "\r\n\r\n".join(f"\t{i}\t{i + 0.5}\t" for i in range(68)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_landmark_files_of_many_forms(form, encoding):
    for text in (FORMS[form], f"68\n{FORMS[form]}", f"version: 1\nn_points:  68\n{{\n{FORMS[form]}\n}}\n"):
        expected = [[i, i + 0.5] for i in range(68)]
        np.testing.assert_array_equal(read_points(text.encode(encoding), "face.pts"), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 points, expected 68"),
        ("1 2\n3 4", "2 points, expected 68"),
        (POINTS + "\n1 2", "69 points"),
        (POINTS.replace("5 5.5", "5 5.5 1"), "68 points, expected 68, each x y"),
        ("\n".join(["1 2 3"] * 68), "does not count the points"),
        ("\n".join(["1 2 3 4"] * 68), "each x y"),
        (POINTS.replace("5 5.5", "5 nan"), "or none"),
        (POINTS.replace("5 5.5", "5 1e300"), "further away than 100000 pixels"),
        ("\n".join(["inf 1 2"] * 68), "further away"),
        ("\n".join(["1 2"] * 68), "all in one place"),
    ],
)
def test_landmark_files_that_do_not_hold_68_points(text, message):
    with pytest.raises(DataError, match=message):
        read_points(text.encode(), "face.pts")


@pytest.mark.parametrize("points", [np.arange(68) + 500, np.arange(68) * [0.1]], ids=["beside", "tiny"])
def test_points_of_another_picture_are_refused(tmp_path, points):
    """Kernels would read beyond a picture cut out where there is none."""
    (tmp_path / "a.png").write_bytes(png(0))
    (tmp_path / "a.pts").write_text("\n".join(f"{x} {x}" for x in points))
    with pytest.raises(DataError, match=r"a\.pts: a face of \d+ pixels round .* in a picture of 90 x 80"):
        portraits_below(tmp_path)


def test_suffixes_of_any_case_and_one_picture_a_landmark_file(tmp_path):
    for name in ("a.PTS", "b.Pts", "c.d.pts", "e.pts"):
        (tmp_path / name).write_text(POINTS)
    for number, name in enumerate(("a.JPG", "a.png", "b.png", "c.d.png", "other.png")):
        (tmp_path / name).write_bytes(png(number))
    assert [picture[0, 0] for picture, _ in portraits_below(tmp_path)] == [0, 2, 3]


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


def test_folders_are_read_as_everywhere(tmp_path, capsys):
    """Links are followed, what systems leave behind is not there, and other files are counted."""
    for name in ("a.png", "elsewhere/b.jfif", "._a.png", "@eaDir/a.png", ".thumbnails/c.png", "d.heic"):
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "data" / name).write_bytes(png(7))
    (tmp_path / "data" / "elsewhere").rename(tmp_path / "elsewhere")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "data")
    assert list(pictures_below(tmp_path / "data")) == ["a.png", "linked/b.jfif"]
    assert "1 file that is no known picture was left out (1 .heic)" in capsys.readouterr().err
    (tmp_path / "data" / "gone").symlink_to("nowhere")
    with pytest.raises(DataError, match="gone: a link to nothing"):
        pictures_below(tmp_path / "data")
