"""Reading pictures: every mode and orientation, and one clear line for everything that is no picture."""

import io

import numpy as np
import pytest
from PIL import Image

from minifer.errors import DataError
from minifer.faces import images

RAMP = np.linspace(0, 255, 12 * 8).astype(np.uint8).reshape(8, 12)


def written(tmp_path, picture, name="picture.png", **options):
    path = tmp_path / name
    picture.save(path, **options)
    return path


def test_grey_comes_back_as_it_was(tmp_path):
    grey = images.read_image(written(tmp_path, Image.fromarray(RAMP)))
    np.testing.assert_array_equal(grey, RAMP)
    assert grey.dtype == np.uint8


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "P", "RGBA", "LA", "1"])
def test_every_mode_becomes_grey_of_the_same_size(tmp_path, mode):
    name = "picture.jpg" if mode == "CMYK" else "picture.png"
    grey = images.read_image(written(tmp_path, Image.fromarray(RAMP).convert("RGB").convert(mode), name))
    assert grey.shape == RAMP.shape
    if mode != "1":
        assert np.abs(grey.astype(int) - RAMP).mean() < 16  # a web palette has 6 greys


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    path = written(tmp_path, Image.fromarray(RAMP.astype(np.uint16) * 257))
    np.testing.assert_array_equal(images.read_image(path), RAMP)


def test_transparent_is_white(tmp_path):
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, :, 3] = 255
    assert images.read_image(written(tmp_path, Image.fromarray(rgba))).tolist() == [[0, 0], [255, 255]]


def test_a_transparent_palette_is_white_too(tmp_path):
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    path = written(tmp_path, picture, transparency=0)
    assert images.read_image(path)[0, 0] == 255


def test_the_camera_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = images.read_image(written(tmp_path, Image.fromarray(RAMP), exif=exif))
    np.testing.assert_array_equal(grey, np.rot90(RAMP, -1))


def test_streams_are_read(tmp_path):
    stream = io.BytesIO(written(tmp_path, Image.fromarray(RAMP)).read_bytes())
    np.testing.assert_array_equal(images.read_image(stream, "a stream"), RAMP)


def one_line(path):
    with pytest.raises(DataError) as caught:
        images.read_image(path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    return str(caught.value)


def test_a_truncated_file(tmp_path):
    for name in ("picture.png", "picture.jpg"):
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99), np.uint8))
        path = written(tmp_path, noise, name)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert "damaged" in one_line(path)


def test_what_is_no_picture(tmp_path):
    path = tmp_path / "picture.png"
    for content in (b"", b"hello", b"\x89PNG\r\n\x1a\n"):
        path.write_bytes(content)
        assert "not a picture" in one_line(path) or "damaged" in one_line(path)


def test_a_missing_file_and_a_folder(tmp_path):
    assert "no such file" in one_line(tmp_path / "nothing.png")
    (tmp_path / "folder.png").mkdir()
    assert "folder" in one_line(tmp_path / "folder.png")


@pytest.mark.parametrize("size", [(20_000, 6_000), (10**5, 10**5)])
def test_a_picture_over_the_limit_is_refused_before_it_is_decoded(tmp_path, size):
    """A few hundred bytes that claim to be 120 megapixels, or 10,000."""
    import struct
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    path = tmp_path / "large.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    assert "40 megapixels" in one_line(path)


@pytest.mark.parametrize("shape", [(5,), (4, 4, 2), (0, 5), (2, 3, 4, 3)])
def test_arrays_that_are_no_picture(shape):
    with pytest.raises(DataError, match="shape"):
        images.check_image(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("value", [-1.0, 256.0, np.nan])
def test_values_that_are_no_grey(value):
    with pytest.raises(DataError, match="0 to 255"):
        images.check_image(np.full((3, 3), value))


def test_colour_arrays_become_grey():
    assert images.check_image(np.full((2, 2, 3), 77, np.uint8)).tolist() == [[77, 77], [77, 77]]
    assert images.check_image(np.full((2, 2), 76.6)).tolist() == [[77, 77], [77, 77]]


def test_files_of_folders_in_order(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("c.png", "a.JPG", "b/d.pgm", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in images.picture_files([tmp_path])] == ["a.JPG", "d.pgm", "c.png"]
    assert images.picture_files([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"]  # named on purpose: tried
    with pytest.raises(DataError, match="no such file"):
        images.picture_files([tmp_path / "missing"])
