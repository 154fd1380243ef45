"""Reading pictures: every mode and orientation, and one clear line for everything that is no picture."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from minifer.errors import DataError
from minifer.files import images

RAMP = np.linspace(0, 255, 12 * 8).astype(np.uint8).reshape(8, 12)


def written(tmp_path, picture, name="picture.png", **options):
    path = tmp_path / name
    picture.save(path, **options)
    return path


def png(width, height, bits, kind, rows):
    """Return a PNG of these bytes, right or not."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


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
    os.mkfifo(tmp_path / "pipe.png")
    assert "a pipe" in one_line(tmp_path / "pipe.png")  # and nobody waits for who might write into it


@pytest.mark.parametrize("size", [(20_000, 6_000), (10**5, 10**5)])
def test_a_picture_over_the_limit_is_refused_before_it_is_decoded(tmp_path, size):
    """A few hundred bytes that claim to be 120 megapixels, or 10,000."""
    path = tmp_path / "large.png"
    path.write_bytes(png(*size, 8, 0, b""))
    assert "40 megapixels" in one_line(path)


# Arrays: what the numbers mean is told by their type and range, or refused.

FACE = np.random.default_rng(3).integers(0, 256, (6, 8)).astype(np.uint8)
FACE[0, :2] = 0, 255
WIDE = FACE.astype(np.int64)


@pytest.mark.parametrize(
    "values",
    [
        FACE,
        FACE.astype(np.int16),
        FACE.astype(np.int64),
        FACE.astype(np.float16),
        FACE.astype(float),
        (FACE / 255).astype(np.float16),
        FACE / np.float32(255),
        FACE / 255,
        FACE / 127.5 - 1,
        WIDE * 257.0,
        (WIDE * 257).astype(np.uint16),
        (WIDE * 257).astype(np.int32),
        (WIDE * 257).astype(np.uint32),
        (WIDE - 128).astype(np.int8),
        np.rint(WIDE * (32767 / 255)).astype(np.int16),
        (WIDE * 257 - 32768).astype(np.int16),
        (WIDE * 8421504).astype(np.int32),
        (WIDE * 16843009 - 2**31).astype(np.int32),
        (WIDE * 16843009).astype(np.uint32),
        FACE[..., None],
        FACE[..., None] / 255,
        np.dstack([FACE] * 3),
        np.dstack([FACE] * 3) / 127.5 - 1,
        np.dstack([FACE, FACE, FACE, np.full_like(FACE, 255)]) / 255,
        np.dstack([(WIDE * 257).astype(np.uint16)] * 3),
        FACE[::-1, ::-1][::-1, ::-1],
        FACE.tolist(),
    ],
    ids=lambda values: f"{np.array(values).dtype}-{np.shape(values)}-{np.max(values):.0f}",
)
def test_a_picture_in_any_type_and_range_is_the_same_picture(values):
    grey = images.check_image(values)
    assert grey.dtype == np.uint8 and grey.flags.c_contiguous
    np.testing.assert_allclose(grey.astype(int), FACE, atol=1)  # half precision rounds, and luminance does


@pytest.mark.parametrize(
    "values, expected",
    [
        (np.array([[True, False]]), [[255, 0]]),
        (np.array([[0, 1]], np.uint8), [[0, 1]]),  # 8 bits say themselves what is white
        (np.array([[0, 1]]), [[0, 1]]),
        (np.array([[0.0, 1.0]]), [[0, 255]]),
        (np.array([[0.0, 0.1]]), [[0, 26]]),
        (np.array([[0, 257, 65535]], ">u2"), [[0, 1, 255]]),
        (np.zeros((1, 2), np.uint16), [[0, 0]]),
        (np.full((1, 2), 76.6), [[77, 77]]),
        (np.array([[[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]]), [[255, 0]]),  # transparent is white
        (np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8), [[76, 150, 29]]),  # luminance
    ],
)
def test_ranges_at_their_ends(values, expected):
    assert images.check_image(values).tolist() == expected


@pytest.mark.parametrize(
    "values, message",
    [
        (np.full((3, 3), -1.0), "0 to 255"),
        (np.full((3, 3), 256.0), "0 to 255"),
        (np.full((3, 3), np.nan), "NaN"),
        (np.array([[0.5, np.inf]]), "infinity"),
        (np.array([[-0.1, 0.9]]), "-0.1 to 0.9"),  # 0 to 1 after sharpening, or -1 to 1
        (np.array([[0.0, 1.1]]), "0 to 1.1"),
        (np.array([[-3.0, 260.0]]), "-3 to 260"),
        (np.array([[0, 200]], np.uint16), "uint16 from 0 to 200"),  # 8 bits or 16
        (np.array([[0, 200]], ">u2"), "uint16 from 0 to 200|>u2 from 0 to 200"),
        (np.array([[0, 0.05]]), "0 to 0.05"),  # 13 greys of 8 bits, or a scale of its own
        (np.array([[0, 4000]]), "0 to 4000"),  # 12 bits or 16
        (np.array([[-5, 255]], np.int16), "-5 to 255"),
        (np.array([[0, 0xFFFFFF]]), "1.67772e.07"),  # three colours in a number
        (np.array([[1j]]), "complex"),
        (np.array([["a"]]), "<U1"),
        (np.array([[None]]), "object"),
        ([[1], [2, 3]], "the picture given"),
    ],
)
def test_numbers_that_may_mean_several_pictures_are_refused(values, message):
    with pytest.raises(DataError, match=message) as caught:
        images.check_image(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(5,), (4, 4, 2), (0, 5), (2, 3, 4, 3)])
def test_arrays_that_are_no_picture(shape):
    with pytest.raises(DataError, match="shape"):
        images.check_image(np.zeros(shape, np.uint8))


def test_channels_first_are_refused_with_the_remedy():
    with pytest.raises(DataError, match=r"transpose\(1, 2, 0\)"):
        images.check_image(np.zeros((3, 20, 30), np.uint8))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK", "YCbCr", "F", "I"])
def test_pictures_of_pillow_are_taken_with_what_they_say_of_themselves(mode):
    grey = images.check_image(Image.fromarray(FACE).convert(mode))
    np.testing.assert_allclose(grey.astype(int), FACE, atol=1)


# Files whose numbers have more than 8 bits.


@pytest.mark.parametrize("bright", [1, 1 / 10])
@pytest.mark.parametrize("name", ["deep.png", "deep.pgm", "deep.tif", "inverted.tif"])
def test_sixteen_bits_in_a_file_are_sixteen_bits(tmp_path, name, bright):
    values = (RAMP.astype(int) * 257 * bright).astype(np.uint16)
    options = {"tiffinfo": {262: 0}} if name == "inverted.tif" else {}
    grey = images.read_image(written(tmp_path, Image.fromarray(values), name, **options))
    expected = np.rint(values / 257)
    np.testing.assert_array_equal(grey, 255 - expected if name == "inverted.tif" else expected)


@pytest.mark.parametrize("largest", [255, 1023, 4095])
@pytest.mark.parametrize("name", ["dark.png", "dark.pgm", "dark.tif", "colours.png", "colours.ppm"])
def test_sixteen_bits_too_dark_for_eight_are_refused(tmp_path, name, largest):
    """No face would be found in the 16 greys that are left, without a word."""
    values = np.linspace(0, largest, 96).astype(np.uint16).reshape(8, 12)
    path = tmp_path / name
    colours = np.dstack([values] * 3).astype(">u2")
    if name == "colours.ppm":
        path.write_bytes(b"P6 12 8 65535\n" + colours.tobytes())
    elif name == "colours.png":
        path.write_bytes(png(12, 8, 16, 2, b"".join(b"\0" + row.tobytes() for row in colours)))
    else:
        Image.fromarray(values).save(path)
    assert "scale" in one_line(path)
    black = Image.fromarray(np.zeros((8, 12), np.uint16))
    assert not images.read_image(written(tmp_path, black, "black.png")).any()


def test_the_largest_value_of_a_pgm_is_white(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 1023\n" + np.array([0, 1023], ">u2").tobytes())
    (tmp_path / "b.pgm").write_bytes(b"P2 2 1 15\n0 15\n")
    for name in "ab":
        assert images.read_image(tmp_path / f"{name}.pgm").tolist() == [[0, 255]]


@pytest.mark.parametrize(
    "values",
    [RAMP / np.float32(255), RAMP / np.float32(127.5) - 1, RAMP.astype(np.float32), RAMP.astype(np.int32) * 257],
)
def test_floats_and_large_integers_in_a_file_are_told_by_their_range(tmp_path, values):
    picture = Image.fromarray(values)
    for name in ("a.tif", "a.pfm") if picture.mode == "F" else ("a.tif",):
        np.testing.assert_array_equal(images.read_image(written(tmp_path, picture, name)), RAMP)


def test_unsigned_and_signed_integers_in_a_tiff(tmp_path):
    for kind, values in ((1, RAMP.astype(np.int64) * 16843009), (2, RAMP.astype(np.int64) * 16843009 - 2**31)):
        picture = Image.fromarray(values.astype(np.uint32 if kind == 1 else np.int32).view(np.int32))
        path = written(tmp_path, picture, f"{kind}.tif")
        data = path.read_bytes()
        entry = b"\x53\x01\x03\x00\x01\x00\x00\x00"  # the tag of the sample format
        assert data.count(entry) == 1
        path.write_bytes(data.replace(entry + b"\2", entry + bytes([kind])))
        np.testing.assert_array_equal(images.read_image(path), RAMP)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -7.0])
def test_a_float_file_in_no_known_range(tmp_path, wrong):
    values = np.array([[0.5, wrong]], np.float32)
    assert (
        "scale or clip" in (line := one_line(written(tmp_path, Image.fromarray(values), "a.tif")))
        or "NaN or infinity" in line
    )


# EXIF: the orientation is taken, and nothing else of it matters.


def exif(orientation=6, **more):
    block = Image.Exif()
    block[0x0112] = orientation
    block.get_ifd(0x8769)[0x829A] = (1, 100)
    for tag, value in more.items():
        block[int(tag[1:], 16)] = value
    return block


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_every_orientation(tmp_path, name, orientation):
    methods = [None, 0, 3, 1, 5, 4, 6, 2]  # Pillow's numbers: flip, turn by 180 degrees, ...
    options = {"lossless": True} if name == "a.webp" else {"quality": 100} if name == "a.jpg" else {}
    stored = Image.fromarray(images.read_image(written(tmp_path, Image.fromarray(RAMP), name, **options)))
    upright = stored if orientation == 1 else stored.transpose(methods[orientation - 1])
    path = written(tmp_path, Image.fromarray(RAMP), name, exif=exif(orientation), **options)
    np.testing.assert_array_equal(images.read_image(path), upright)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_damage_in_exif_beside_the_orientation_costs_nothing(tmp_path, name):
    """Bytes of the block are changed, those of the orientation's entry are not."""
    rng = np.random.default_rng(4)
    block = exif(x011A=72.0, x011B=72.0, x010F="Canon", x0132="2020:01:01 00:00:00")
    whole = written(tmp_path, Image.fromarray(RAMP), name, exif=block).read_bytes()
    start = whole.index(b"MM\0*\0\0\0\x08")
    entry = whole.index(b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06")
    size = len(block.tobytes().removeprefix(b"Exif\0\0"))
    spots = [k for k in range(start + 10, start + size) if not entry <= k < entry + 12]
    expected = images.read_image(io.BytesIO(whole), name)
    assert expected.shape == RAMP.T.shape
    for _ in range(300):
        data = bytearray(whole)
        for spot in rng.choice(spots, rng.integers(1, 6)):
            data[spot] = rng.choice([0, 255, rng.integers(256)])
        if name == "a.png":
            chunk = whole.index(b"eXIf")
            data[start + size : start + size + 4] = zlib.crc32(data[chunk : start + size]).to_bytes(4, "big")
        np.testing.assert_array_equal(images.read_image(io.BytesIO(data), name), expected)


ODD = {  # the type, count and bytes of a resolution
    "-1/0": (10, 1, struct.pack(">ii", -1, 0)),
    "0/0": (5, 1, bytes(8)),
    "text": (2, 12, b"seventy-two\0"),
    "nan": (12, 1, struct.pack(">d", np.nan)),
    "inf": (11, 1, struct.pack(">f", np.inf) + bytes(4)),
    "none": (5, 0, bytes(8)),
    "bytes": (7, 8, b"\xff" * 8),
    "no such type": (99, 1, bytes(8)),
    "far away": (2, 2**31, bytes(8)),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_odd_resolutions_in_exif(tmp_path, name, odd):
    kind, count, value = ODD[odd]
    resolution = struct.pack(">HHI", 0x011A, kind, count)
    entries = [
        resolution[:1] + b"\x0f" + resolution[2:] + struct.pack(">I", 62),  # a maker that is as odd, before the rest
        struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0),
        resolution + struct.pack(">I", 62),
        struct.pack(">HHIHH", 0x0128, 3, 1, 2, 0),
    ]
    block = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 4) + b"".join(entries) + bytes(4) + value
    grey = images.read_image(written(tmp_path, Image.fromarray(RAMP), name, exif=block))
    assert grey.shape == RAMP.T.shape


def test_damage_in_a_list_of_further_pictures(tmp_path):
    path = tmp_path / "b.jpg"
    Image.fromarray(RAMP).save(path, "MPO", save_all=True, append_images=[Image.fromarray(RAMP)], exif=exif())
    data = bytearray(path.read_bytes())
    start = data.index(b"MPF\0")
    for end in range(start + 4, start + 80):
        damaged = data[: start + 4] + bytes(end - start - 4) + data[end:]
        assert images.read_image(io.BytesIO(damaged), "b.jpg").shape == RAMP.T.shape


def test_nothing_is_printed_and_no_warning_given(tmp_path, capfd, recwarn):
    """Neither by Pillow nor by libtiff, which writes to the file descriptor itself."""
    rng = np.random.default_rng(1)
    stream = io.BytesIO()
    Image.fromarray(RAMP).save(stream, "TIFF", compression="tiff_lzw", tiffinfo={65000: "x", 51123: "abc"})
    for _ in range(60):
        data = bytearray(stream.getvalue())
        data[rng.integers(8, len(data))] = rng.integers(256)
        try:
            images.read_image(io.BytesIO(data), "a.tif")
        except DataError as error:
            assert "\n" not in str(error)
    assert capfd.readouterr() == ("", "") and len(recwarn) == 0


@pytest.mark.parametrize("name", ["a.jfif", "a.JPE", "a.apng", "a.webp", "a.tif", "a.dib", "a.pbm", "a.jp2", "a.avif"])
def test_suffixes_that_pillow_reads(tmp_path, name):
    if not images.is_image_name(name):
        pytest.skip("this Pillow has no such format")
    picture = Image.fromarray(np.full((16, 16), 255, np.uint8))
    path = written(tmp_path, picture.convert("1") if name == "a.pbm" else picture, name)
    assert (images.read_image(path) >= 250).all()


@pytest.mark.parametrize("name", ["a.heic", "a.txt", "a.jpg.zip", "jpg", "a.pdf", "a.eps"])
def test_suffixes_that_are_none(name):
    assert not images.is_image_name(name)


def test_what_is_left_out_is_counted():
    assert images.left_out(["a.heic"]) == "1 file that is no known picture was left out (1 .heic)"
    line = images.left_out(["a.HEIC", "b.heic", "Makefile"])
    assert line == "3 files that are no known picture were left out (2 .heic, 1 without a suffix)"
