"""Checkpoints: named arrays and a JSON description in one uncompressed .npz file, written whole or not at all.

A file that is being written is a temporary one beside the target; it takes the target's name only when it is complete
and on the disk. A full disk or a power cut therefore leaves the previous checkpoint as it was. Nothing is ever pickled
or unpickled: a pickle is a program that runs when it is loaded, and weights are downloaded from strangers.
"""

import json
from pathlib import Path

import numpy as np

from minifer.allowed import Record, Whole
from minifer.errors import CheckpointError
from minifer.files import replacing
from minifer.files.documents import MOST_BYTES, checked_fields
from minifer.files.guard import guarded
from minifer.files.npz import Npz, write_npz

VERSION = 1
HEADER = "__minifer__"  # the key of the description; no parameter's path can be called that
REMEDY = "restore it from a copy, or train again"


def save(path, arrays, meta):
    """Write {name: array} and the JSON-able dict meta to path, replacing what was there in one step.

    Raises    CheckpointError when the file cannot be written (the previous one then survives), when an array holds
              Python objects, or when meta is not JSON-able
    """
    path = Path(path)
    try:
        text = json.dumps({"version": VERSION, "names": list(arrays), "meta": meta})
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"cannot save {path}: its description is not JSON-able ({error})") from error
    members = {HEADER: np.array(text)}
    for name, array in arrays.items():
        if name == HEADER or np.asarray(array).dtype.hasobject:
            raise CheckpointError(f"cannot save {path}: {name!r} is a reserved name or holds Python objects")
        members[name] = np.asarray(array, order="C")
    try:
        with replacing(path) as file:
            write_npz(file, members)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {path}: {error.strerror or error} (free some space or choose another folder; "
            "an earlier checkpoint of this name is untouched)"
        ) from error


def load(path):
    """Return (arrays, meta) as given to save.

    Raises    CheckpointError, naming the file and what to do, when it is missing, unreadable, damaged, not a
              checkpoint of minifer, or of another format version, or when an array holds NaN or infinity
    """
    with Npz(path, CheckpointError, REMEDY) as file:
        meta = _description(file)
        return {name: file.read(name) for name in file.headers if name != HEADER}, meta


def description(path):
    """Return the meta of a checkpoint without reading its arrays; raise what load does."""
    with Npz(path, CheckpointError, REMEDY) as file:
        return _description(file)


def impossible(name, array):
    """Say whether no network has such an array: it is not finite, or a variance below 0."""
    return not np.isfinite(array).all() or (name.endswith("running_var") and array.min() < 0)


def _description(file):
    """Return the meta that an open Npz holds."""
    path = file.path
    if HEADER not in file.headers:
        file.refuse("it is of another program: minifer's description is not in it")
    if file.headers[HEADER].dtype.itemsize > 4 * MOST_BYTES:
        file.refuse("its description is longer than any of minifer")
    text = str(file.arrays({HEADER: "U"})[HEADER])
    with guarded(path, CheckpointError, REMEDY):
        header = json.loads(text)
    checked_fields(header, {"version": Whole(0, 10**6), "meta": Record()}, path, CheckpointError)
    if header["version"] != VERSION:
        raise CheckpointError(
            f"{path} is of format {header['version']}, this minifer reads {VERSION}: use the one that wrote it"
        )
    if header.get("names") != [name for name in file.headers if name != HEADER]:
        file.refuse("its table of contents is damaged")  # the archive's has no checksum of its own
    return header["meta"]
