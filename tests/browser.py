"""What the tests that need a browser share: where Chromium is, and a camera that is no camera."""

import io
import shutil

import pytest
from PIL import Image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


def camera_file(path, pictures):
    """Write pictures of one size as what Chromium takes for a camera, JPEGs one after another; return the path."""
    path.write_bytes(b"".join(encoded(picture, "JPEG", quality=90) for picture in pictures))
    return path


def encoded(image, kind, **how):
    """Return a picture as the bytes of a file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **how)
    return file.getvalue()
