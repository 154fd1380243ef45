"""Checkpoints: named arrays and a JSON description in one uncompressed .npz file, written whole or not at all.

A file that is being written is a temporary one beside the target; it takes the target's name only when it is complete
and on the disk. A full disk or a power cut therefore leaves the previous checkpoint as it was. Nothing is ever pickled
or unpickled: a pickle is a program that runs when it is loaded, and weights are downloaded from strangers.
"""

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np

from minifer.errors import CheckpointError
from minifer.files import replacing

VERSION = 1
HEADER = "__minifer__"  # the key of the description; no parameter's path can be called that

SIGNATURE = b"PK\x03\x04"  # how every .npz file begins

# What zipfile raises on damaged bytes, found by damaging every byte of a file in turn.
DAMAGE = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)


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
              checkpoint of minifer, or of another format version
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            if not SIGNATURE.startswith(file.read(4)):  # a shorter beginning of it is a file that was cut short
                raise foreign(path)
            return read_npz(path, file)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}: check the path, or train first") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error


def write_npz(file, members):
    """Write {name: array} as an uncompressed .npz; the same arrays give the same bytes, whatever the time of day."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in members.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_npz(path, file):
    """Return (arrays, meta) from an open .npz file; path is for the messages."""
    damaged = CheckpointError(f"{path} is damaged or was cut short: restore it from a copy, or train again")
    try:
        archive = zipfile.ZipFile(file)
        compressed = any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist())
        # Reading checks every checksum. A few compressed kilobytes can unpack to more than the memory holds.
        contents = {} if compressed else {name: archive.read(name) for name in archive.namelist()}
    except DAMAGE as error:
        raise damaged from error
    if compressed:
        raise foreign(path)
    arrays = {}
    for name, content in contents.items():
        try:
            arrays[name.removesuffix(".npy")] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
        except Exception as error:  # a crafted header gets as far as Python's own parser: anything can come back
            raise foreign(path, f"; {name!r} is none") from error
    if HEADER not in arrays:
        raise CheckpointError(f"{path} is an .npz file of another program: minifer's description is not in it")
    try:
        header = json.loads(str(arrays.pop(HEADER)))
        version, names, meta = header["version"], header.get("names"), header["meta"]
    except (ValueError, KeyError, TypeError) as error:
        raise damaged from error
    if version != VERSION:
        raise CheckpointError(f"{path} is of format {version}, this minifer reads {VERSION}: use the one that wrote it")
    if names != list(arrays):  # the archive's table of contents has no checksum of its own
        raise damaged
    return arrays, meta


def foreign(path, detail=""):
    """Return the error for a file that some other program wrote."""
    return CheckpointError(
        f"{path} is not a checkpoint of minifer: expected an uncompressed .npz of plain arrays{detail} "
        "(minifer never unpickles)"
    )
