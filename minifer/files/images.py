"""Pictures as grey values: whatever a file or an array holds becomes (H, W) uint8, or one clear error.

What a number means is told by its type and by the range that the numbers fill, and only where these leave no doubt:

    numbers                                                      black           white
    uint8, even where all are 0 or 1                                 0             255
    bool                                                         False            True
    uint16, and files of 16 bits                                     0          65,535
    other whole numbers       0 to 255                               0             255
                              0 to 65,535                            0          65,535
                              0 to the type's largest                0    such as 2^31 - 1
                              from the type's smallest on        -2^31        2^31 - 1
    floats                    0 to 1                                 0               1
                              -1 to 1                               -1               1
                              0 to 255                               0             255
                              0 to 65,535                            0          65,535

The first range that holds all numbers counts. Except for whole numbers from 0 to 255 they must also fill it, to a
sixteenth, or with negative ones to half of these: floats up to 1.1 are neither a picture of 0 to 1 nor one of 0 to 255,
and uint16 up to 200 may be 8 bits or 16, of which next to nothing is left in 8. Such pictures, NaN and infinity are
refused, and the error says what was found.

A picture in colour has its channels last, (H, W, 3) or with transparency (H, W, 4), and becomes luminance; transparent
parts are white. (H, W, 1) is grey. Pillow's own pictures are taken too, and have to be where an array would be
ambiguous: CMYK, palettes.
"""

import io
import logging
import os
import threading
import warnings
from collections import Counter
from contextlib import contextmanager, nullcontext, suppress
from functools import cache

import numpy as np

from minifer.errors import DataError, one_line
from minifer.files.guard import guarded, open_file

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "DIB", "GIF", "TIFF", "PPM", "JPEG2000")
MEGAPIXELS = 40  # finding faces takes about 40 bytes a pixel
MOST_BYTES = 256 << 20  # of a file: as many megapixels in 16-bit colours, stored as they are
BITS, PHOTOMETRIC, ORIENTATION, SAMPLE_FORMAT = 258, 262, 274, 339  # tags of TIFF, and of EXIF, which is a TIFF
BYTES = {1: 1, 3: 2, 4: 4}  # of TIFF's types for whole numbers
UPRIGHT = {  # orientation: the picture as the camera stored it -> upright
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x[::-1].swapaxes(0, 1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x.swapaxes(0, 1)[::-1],
}

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its messages go to stderr where nobody logs


@cache
def formats():
    """Return the FORMATS that the Pillow at hand can read."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@cache
def suffixes():
    """Return the suffixes of files in these formats, such as .jpg and .jpeg."""
    from PIL import Image

    known = formats()
    return tuple(suffix for suffix, name in Image.registered_extensions().items() if name in known)


def is_image_name(name):
    """Whether a file is a picture that can be read, by its suffix."""
    return name.lower().endswith(suffixes())


def left_out(names):
    """Return a line that says how many files are no picture that is known, and what they are by their suffixes."""
    kinds = Counter(os.path.splitext(name)[1].lower() or "without a suffix" for name in names)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5)) + (", ..." if len(kinds) > 5 else "")
    files = "file that is no known picture was" if len(names) == 1 else "files that are no known picture were"
    return one_line(f"{len(names)} {files} left out ({listed})")


def read_image(source, name=None, shape=None, colour=False, megapixels=MEGAPIXELS):
    """Return the picture in a file, or a stream of its bytes, as grey values, the way a viewer shows it.

    The camera's orientation tag is applied; colours (RGB, CMYK, palettes, 1 bit) become luminance; transparent parts
    are white; of an animation the first frame is taken. 16 bits are told by the file, 32 bits and floats as in arrays.

    colour     True: red, green and blue, of a grey picture three times the same
    Shapes     image (H,W) uint8, or (H,W,3) with colour; (H,W) must be `shape` if one is given
    Raises     DataError when the file is missing, damaged, no picture, of another shape or of more megapixels
    """
    from PIL import Image, UnidentifiedImageError

    name = name or str(source)
    with guarded(name, remedy="the picture is damaged"), _quiet():
        try:
            with nullcontext(source) if hasattr(source, "read") else open_file(source) as stream:
                picture = _opened(stream)
                check_size(name, *picture.size, shape, megapixels)  # told by the first bytes: nothing is decoded yet
                deep = _has_deep_colours(picture)
                picture.load()
                values = _rgb(picture, name) if colour else _grey(picture, name)
                orientation = _orientation(picture)
                if deep and values.max() <= 16:
                    raise DataError(f"{name}: colours of 16 bits, of which not even a sixteenth is used: scale them")
                return np.array(UPRIGHT[orientation](values) if orientation in UPRIGHT else values, order="C")
        except UnidentifiedImageError:
            raise DataError(f"{name}: not a picture in a known format and depth ({', '.join(formats())})") from None
        except Image.DecompressionBombError:
            raise DataError(f"{name}: {too_large(megapixels)}") from None


def _opened(stream):
    """Return Pillow's picture in a stream, not decoded yet."""
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(stream, formats=formats())
    except UnidentifiedImageError:
        # So it says of a JPEG, too, when it stumbles over a resolution in EXIF or a list of further pictures (MPF).
        stream.seek(0)
        data = stream.read(MOST_BYTES)
        exif = data.find(b"Exif\0\0")
        if exif < 0 and b"MPF\0" not in data:
            raise
        without = data.replace(b"Exif\0\0", bytes(6), 1).replace(b"MPF\0", bytes(4), 1)
        picture = Image.open(io.BytesIO(without), formats=formats())
        if exif >= 0:
            picture.info["exif"] = data[exif : exif + 65536]
        return picture


def read_member(member, most_bytes=MOST_BYTES, shape=None, colour=False):
    """Return the picture in a Member of a source (see minifer.files.archives) as read_image does."""
    return read_image(io.BytesIO(member.read(most_bytes)), member.where, shape, colour)


def check_size(name, width, height, shape=None, megapixels=MEGAPIXELS):
    """Raise DataError when a picture is not of the shape (H, W) that it must have, or too large."""
    if shape is not None and (height, width) != shape:
        raise DataError(f"{name}: {width}x{height} pixels instead of {shape[1]}x{shape[0]}: replace or remove it")
    if width * height > megapixels * 1e6:
        raise DataError(f"{name}: {width} x {height} pixels, {too_large(megapixels)}")


def too_large(megapixels):
    """Return what is said of a picture of more than so many megapixels."""
    return f"more than the limit of {megapixels} megapixels; make it smaller first"


def check_image(image, colour=False):
    """Return what a caller passed as a picture, an array or a picture of Pillow's, as grey values or in colour.

    Shapes     image (H,W), (H,W,1), (H,W,3) or (H,W,4)   returned (H,W) uint8, or (H,W,3) with colour
    Raises     DataError when it has another shape, or when its values leave in doubt what is white (see above)
    """
    if hasattr(image, "getbands"):
        with guarded("the picture given", remedy="it is damaged"), _quiet():
            return np.ascontiguousarray((_rgb if colour else _grey)(image, "the picture given"))
    with guarded("the picture given", remedy="give an array"):
        image = np.asarray(image)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if not image.size or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))):
        raise DataError(
            f"a picture is an array of shape (H, W), (H, W, 3) or (H, W, 4), got {image.shape}; where its channels "
            "come first, give image.transpose(1, 2, 0)"
        )
    image = grey_values(image, "the picture given")
    if image.ndim == 3 or colour:
        from PIL import Image

        image = (_rgb if colour else _grey)(Image.fromarray(image), "the picture given")
    return np.ascontiguousarray(image)


def grey_values(values, name):
    """Return numbers of any type as 0 for black to 255 for white, by the table above; name is the picture's in errors.

    Shapes     values (...)   returned (...) uint8
    Raises     DataError when they leave in doubt what is black and what is white
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values * np.uint8(255)
    if values.dtype.kind not in "iuf":
        raise DataError(f"{name}: {values.dtype} are no numbers of a picture")
    if not values.size:
        return np.zeros(values.shape, np.uint8)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise DataError(f"{name}: NaN or infinity is among its values")
    for black, white in _ranges(values.dtype):
        bits8 = white == 255 and values.dtype.kind != "f"
        filled = low <= black / 2 < high if black else high >= white / 16 or not high or bits8
        if black <= low and high <= white and filled:
            return _scaled(values, black, white)
    raise DataError(
        f"{name}: {values.dtype} from {low:g} to {high:g} may be several pictures or none: scale or clip it, to 0 to "
        "255 (uint8), 0 to 65535 (uint16) or 0 to 1 (floats)"
    )


def _ranges(dtype):
    """Return black and white of each row of the table above for a type."""
    if dtype.kind == "f":
        return [(0, 1), (-1, 1), (0, 255), (0, 65535)]
    if dtype.kind == "u" and dtype.itemsize == 2:
        return [(0, 65535)]
    lowest, largest = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    return [(0, 255), (0, min(65535, largest)), (0, largest), (lowest, largest)]


def _scaled(values, black, white):
    """Return values with black at 0 and white at 255, rounded."""
    scaled = np.multiply(values, 255 / (white - black), dtype=np.float32, casting="unsafe")
    scaled -= np.float32(black * 255 / (white - black))
    return np.rint(np.clip(scaled, 0, 255, out=scaled), out=scaled).astype(np.uint8)


def _grey(picture, name):
    """Return a picture of Pillow's as grey values (H,W) uint8."""
    from PIL import ImageChops

    if picture.mode[0] in "IF":
        return _grey_of_deep(picture, name)
    if not picture.has_transparency_data:
        return np.asarray(picture if picture.mode == "L" else picture.convert("RGB").convert("L"))
    picture = picture.convert("RGBA")
    grey = picture.convert("L")
    grey.paste(255, mask=ImageChops.invert(picture.getchannel("A")))
    return np.asarray(grey)


def _rgb(picture, name):
    """Return a picture of Pillow's in colour (H,W,3) uint8; transparent parts are white."""
    from PIL import Image

    if picture.mode[0] in "IF":
        return np.repeat(_grey_of_deep(picture, name)[..., np.newaxis], 3, axis=2)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return np.asarray(picture.convert("RGB"))


def luminance(images):
    """Return pictures in colour (...,3) uint8 as grey values (...) uint8, as Pillow does: ITU-R 601-2."""
    weights = np.array([19595, 38470, 7471], np.uint32)  # of 65536: .299, .587 and .114
    return ((images.astype(np.uint32) @ weights + 32768) >> 16).astype(np.uint8)


def _has_deep_colours(picture):
    """Whether a file has colours of 16 bits, of which Pillow keeps the upper 8; told before it is decoded."""
    arguments = [tile.args if isinstance(tile.args, tuple) else (tile.args,) for tile in picture.tile]
    if picture.format == "PPM":
        return picture.mode == "RGB" and any(max(a[1:], default=0) > 255 for a in arguments)  # the largest value
    return picture.mode[0] not in "IF" and any(";16" in str(a[0]) for a in arguments)


def _grey_of_deep(picture, name):
    """Return a picture of more than 8 bits as grey values (H,W) uint8."""
    values, tags = np.asarray(picture), getattr(picture, "tag_v2", {})  # of a TIFF
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM")):
        declared = np.uint16
    else:  # Pillow has but one mode for whole numbers, in which half of uint32's are negative
        bits, kind = tags.get(BITS, (32,))[0], tags.get(SAMPLE_FORMAT, (2,))[0]
        declared = {(1, 32): np.uint32, (2, 16): np.int16}.get((kind, bits), values.dtype)
    if tags.get(BITS) == (12,):
        values = values << 4
    grey = grey_values(values.astype(declared), name)
    return 255 - grey if tags.get(PHOTOMETRIC) == 0 else grey  # 0 is "white is zero"


def _orientation(picture):
    """Return the number 1 to 8 of how the camera was held, 1 where the picture does not say.

    It stands in EXIF's table of entries of 12 bytes: tag, type, count, value. Pillow's reader stops at the first entry
    that is damaged; here the others do not matter. It is asked where there is no such table, for XMP or a TIFF's own.
    """
    block = picture.info.get("exif", b"")
    start, order = max((block.find(b"MM\0*"), "big"), (block.find(b"II*\0"), "little"))

    def number(offset, size):
        return int.from_bytes(block[start + offset : start + offset + size], order)

    if start >= 0:
        table = number(4, 4)
        for entry in range(table + 2, min(table + 2 + 12 * number(table, 2), len(block)), 12):
            if number(entry, 2) == ORIENTATION and number(entry + 2, 2) in BYTES:
                return number(entry + 8, BYTES[number(entry + 2, 2)])
    with suppress(Exception):  # whatever Pillow stumbles over: nothing else of EXIF is of use here
        return picture.getexif().get(ORIENTATION, 1)
    return 1


@contextmanager
def _quiet():
    """Silence Pillow's warnings, and the messages that libtiff writes to file descriptor 2 itself.

    Both are the whole process's, therefore only while no other thread could have something to say.
    """
    threads = {type(thread).__name__ for thread in threading.enumerate()}
    if not threads <= {"_MainThread", "TMonitor"}:  # the second is tqdm's and writes nothing
        yield
        return
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere:
        warnings.simplefilter("ignore")
        stderr = None
        with suppress(OSError):  # there is no file descriptor 2
            stderr = os.dup(2)
            os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            if stderr is not None:
                os.dup2(stderr, 2)
                os.close(stderr)
