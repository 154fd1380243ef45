"""Find a face in a picture, its landmarks, and crop it."""

from importlib import import_module

_WHERE = {
    "Detection": "faces.detector",
    "FaceDetector": "faces.detector",
    "LandmarkPredictor": "faces.landmarks",
    "crop_face": "faces.crop",
    "fit_square": "faces.crop",
    "read_image": "files.images",
}
__all__ = ["Detection", "FaceDetector", "LandmarkPredictor", "crop_face", "fit_square", "read_image"]


def __getattr__(name):
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"minifer.{_WHERE[name]}"), name)


def __dir__():
    return __all__
