"""Weights as safetensors, the file of named arrays that model hubs and other frameworks read without running anything.

The names and the shapes are minifer's own, {"block3.depthwise.weight": (3,3,C), ...}, and the description that a run's
best.npz has stands in the header's metadata as JSON, under "minifer". A run folder keeps .npz, which has a checksum of
every array; safetensors has none.
"""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from minifer.errors import CheckpointError, MiniferError
from minifer.files import replacing
from minifer.files.guard import guarded

REMEDY = "write it again with minifer export, or fetch it anew"


def save(path, arrays, meta):
    """Write {name: array} and a JSON-able dict, whole or not at all; the same bytes for the same arrays."""
    write(path, arrays, {"minifer": json.dumps(meta)})


def write(path, arrays, metadata=None):
    """Write {name: array} and {name: text}."""
    numpy = _library().numpy
    # The library writes the memory as it lies, also of an array whose axes were turned.
    arrays = {name: np.asarray(array, order="C") for name, array in sorted(arrays.items())}
    with replacing(path) as file:
        file.write(numpy.save(arrays, metadata))


def load(path):
    """Return (arrays, meta) of a file that save has written.

    Raises     CheckpointError when it is missing, damaged or not minifer's
    """
    arrays, metadata = read(path)
    if "minifer" not in metadata:
        raise CheckpointError(f"{path} is of another program: minifer's description is not in it")
    with guarded(path, CheckpointError, REMEDY):
        meta = json.loads(metadata["minifer"])
    if not isinstance(meta, dict):
        raise CheckpointError(f"{path}: minifer's description in it is damaged: {REMEDY}")
    return arrays, meta


def read(path):
    """Return ({name: array}, {name: text}) of any file; arrays of integers, which are no weights, are left out.

    Raises     CheckpointError when it is missing or damaged, or holds numbers that no weights are
    """
    with _opened(path) as file:
        arrays = {name: _numbers(file, name, path) for name in file.keys()}
        return {name: array for name, array in arrays.items() if array is not None}, dict(file.metadata() or {})


def metadata(path):
    """Return {name: text} of any file, without its arrays; raise what read does."""
    with _opened(path) as file:
        return dict(file.metadata() or {})


@contextmanager
def _opened(path):
    library = _library()
    if not Path(path).is_file():
        raise CheckpointError(f"there is no file {path}: check the path")
    with guarded(path, CheckpointError, REMEDY), library.safe_open(str(path), framework="numpy") as file:
        yield file


def _numbers(file, name, path):
    kind = file.get_slice(name).get_dtype()
    if kind[0] in "IU":
        return None
    if kind not in ("F16", "F32", "F64"):
        raise CheckpointError(f"{path}: {name} holds {kind}: save it again as F16, F32 or F64, as weights are")
    array = file.get_tensor(name)
    if not np.isfinite(array).all():
        raise CheckpointError(f"{path}: {name} holds NaN or infinity: {REMEDY}")
    return array


def _library():
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise MiniferError("safetensors files need the library: pip install safetensors brings it") from error
    return safetensors
