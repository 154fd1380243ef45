"""Reading a picture file as grey values: whatever the file holds, a (H, W) uint8 array or one clear error."""

import warnings
from pathlib import Path

import numpy as np

from minifer.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm")
MEGAPIXELS = 40  # a larger picture is refused before it is decoded: finding faces takes about 40 bytes a pixel


def read_image(source, name=None):
    """Return the picture in a file as grey values, the way a viewer shows it.

    The camera's orientation tag is applied; colours (RGB, CMYK, palettes, 1 bit) become luminance; 16-bit values are
    divided by 257; transparent parts are white; of an animation the first frame is taken.

    Shapes     image (H,W) uint8
    Raises     DataError when the file is missing, damaged, no picture, or larger than MEGAPIXELS
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = name or str(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is checked below
            picture = Image.open(source, formats=FORMATS)
        width, height = picture.size
        if width * height > MEGAPIXELS * 1e6:
            size = f"{width} x {height} pixels"
            raise DataError(f"{name}: {size} is more than the limit of {MEGAPIXELS} megapixels; make it smaller first")
        picture.load()
        return _grey(ImageOps.exif_transpose(picture))
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{name}: a folder, not a picture") from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: not a picture in a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise DataError(f"{name}: more than the limit of {MEGAPIXELS} megapixels; make it smaller first") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name}: the picture is damaged ({error})") from None


def _grey(picture):
    from PIL import Image

    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture).astype(np.float64)
        if picture.mode != "F":
            values = values / 257 if picture.mode.startswith("I;16") or values.max(initial=0) > 255 else values
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return np.asarray(picture.convert("RGB").convert("L"))


def check_image(image):
    """Return an array that a caller passed as a picture as (H,W) uint8 grey values; colours become luminance.

    Raises     DataError when it is neither (H,W) nor (H,W,3 or 4), is empty, or its values are not 0 to 255
    """
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[2] in (3, 4):
        image = image[:, :, :3] @ np.array([0.299, 0.587, 0.114])
    if image.ndim != 2 or image.size == 0:
        raise DataError(f"a picture is an array of shape (H, W) or (H, W, 3), got {image.shape}")
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    if image.dtype.kind not in "fiub" or not np.isfinite(image).all() or image.min() < 0 or image.max() > 255:
        raise DataError(f"a picture holds values from 0 to 255 (uint8), got {image.dtype} out of that range")
    return np.rint(image).astype(np.uint8)


def picture_files(paths):
    """Return the files named by a list of files and folders; of a folder, all pictures below it in order of name.

    Raises     DataError when a path does not exist
    """
    files = []
    for path in map(Path, paths):
        if path.is_dir():
            files += sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        elif path.exists():
            files.append(path)
        else:
            raise DataError(f"{path}: no such file or folder")
    return files
