"""THE reader of .npz, and its writer: weights, checkpoints, data sets and caches are all files of named arrays.

    with Npz("detector.npz", CheckpointError) as file:
        file.headers                                                 # {name: Header}: what it says it holds
        arrays = file.arrays({"template": "f U U 36", "bias": "f"})  # read, once it is what is wanted

Such files come from strangers, and their bytes can say anything. Before memory is taken for an array, what its header
says is compared with the bytes that are there and with what is wanted. Python objects are never unpickled: a pickle is
a program that runs when it is loaded. NaN and infinity are refused, with the array's name.
"""

import io
import math
import re
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minifer.errors import DataError, MiniferError
from minifer.files.guard import guarded
from minifer.files.members import likely_bytes, open_zip
from minifer.files.writing import replacing

FLOATS = {np.dtype(np.float16): np.float32, np.dtype(np.longdouble): np.float64}
MOST_BYTES = 2 << 30  # of all arrays of a file together
MOST_ARRAYS, MOST_HEADER_BYTES = 10_000, 10_000
CHUNK = 1 << 20  # bytes that are read at a time
OTHERS = {  # kinds of arrays that are not read
    "O": "Python objects", "V": "records", "S": "bytes, of which .astype(str) makes texts", "c": "complex numbers",
}  # fmt: skip
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class Header:
    """What a file says of one array, whose numbers begin `start` bytes into a member of the zip."""

    shape: tuple
    dtype: np.dtype
    order: str
    start: int
    member: zipfile.ZipInfo


class Npz:
    """An open .npz: headers {name: Header}, in the file's order. A context manager.

    error      what is raised, in one line, when there is no such file, when it is damaged, when it holds anything but
               plain arrays, or more bytes than most_bytes
    remedy     what such a line ends with
    """

    def __init__(self, path, error=DataError, remedy="restore it from a copy", most_bytes=MOST_BYTES):
        self.path, self.error, self.remedy = Path(path), error, remedy
        with guarded(path, error, remedy), ExitStack() as stack:
            if not self.path.is_file():
                what = "not a file" if self.path.exists() else "no such file"
                raise self.error(f"{self.path}: {what}: check the path")
            file = stack.enter_context(open(path, "rb"))
            if not b"PK\3\4".startswith(file.read(4)):  # a shorter beginning of it is a file that was cut short
                self.refuse("no .npz file of plain arrays (minifer never unpickles)")
            self.archive = open_zip(file)
            members = self.archive.infolist()
            if len(members) > MOST_ARRAYS:
                self.refuse(f"it says that it holds {len(members)} arrays")
            total, size = sum(member.file_size for member in members), self.path.stat().st_size
            if total > min(most_bytes, likely_bytes(size)):
                self.refuse(f"its {size} bytes say that they hold {total}, more than such a file can")
            self.headers = {}
            for member in members:
                name = member.filename.removesuffix(".npy")
                if name in self.headers:
                    self.refuse(f"it holds two arrays called {name}")
                self.headers[name] = self._header(name, member)
            self.stack = stack.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stack.close()

    def refuse(self, what):
        """Raise the error."""
        raise self.error(f"{self.path}: {what}: {self.remedy}")

    def arrays(self, wanted, prefix="", largest=math.inf):
        """Return {name: array} of the wanted arrays; the file may hold others.

        Floats that kernels do not compute with, half precision and long ones, become float32 and float64.

        wanted     {name: "KINDS AXIS AXIS ..."}: letters of NumPy's kinds, and perhaps bytes, as in "f", "iu" or "u1";
                   and for each axis its length, or a letter that stands for the same length wherever it is used
        prefix     of the names in the file
        largest    no float may be further from 0
        Raises     the error, before anything is read, when one is missing, of another kind or of another shape
        """
        lengths = {}
        for name, rule in wanted.items():
            kinds, *axes = rule.split()
            header = self.headers.get(prefix + name) or self.refuse(f"it has no array {prefix + name}")
            letters, size = re.fullmatch(r"([a-zA-Z]+)(\d*)", kinds).groups()
            if header.dtype.kind not in letters or size not in ("", str(header.dtype.itemsize)):
                self.refuse(f"{prefix + name} holds {header.dtype} instead of {kinds}")
            expected = ", ".join(str(lengths.get(axis, axis)) for axis in axes)
            if len(axes) != len(header.shape) or not all(
                length == (int(axis) if axis.isdigit() else lengths.setdefault(axis, length))
                for axis, length in zip(axes, header.shape, strict=True)
            ):
                self.refuse(f"{prefix + name} has shape {header.shape} instead of ({expected})")
        found = {name: self.read(prefix + name, largest) for name in wanted}
        return {name: array.astype(FLOATS.get(array.dtype, array.dtype), copy=False) for name, array in found.items()}

    def all(self):
        """Return {name: array} of all arrays."""
        return {name: self.read(name) for name in self.headers}

    def read(self, name, largest=math.inf):
        """Return one array, in this machine's byte order.

        Raises     the error when its bytes are damaged, or it holds NaN, infinity, a float beyond largest, or a
                   character that does not exist
        """
        header = self.headers[name]
        content = np.empty(header.member.file_size - header.start, np.uint8)
        with guarded(f"{self.path}: {name}", self.error, self.remedy), self.archive.open(header.member) as stream:
            stream.read(header.start)
            for first in range(0, len(content), CHUNK):
                part = memoryview(content)[first : first + CHUNK]
                if stream.readinto(part) != len(part):
                    raise EOFError("it ends too early")
        if header.dtype.kind == "U" and (content.view(header.dtype.str[0] + "u4") > 0x10FFFF).any():
            self.refuse(f"{name} holds characters that do not exist")
        with guarded(f"{self.path}: {name}", self.error, self.remedy):
            array = content.view(header.dtype) if len(content) else np.zeros(math.prod(header.shape), header.dtype)
            array = array.reshape(header.shape, order=header.order)
            array = array.astype(header.dtype.newbyteorder("="), copy=False)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            self.refuse(f"{name} holds NaN or infinity")
        if array.dtype.kind == "f" and float(np.abs(array).max(initial=0)) > largest:
            self.refuse(f"{name} holds numbers beyond {largest:g}")
        return array

    def _header(self, name, member):
        """Return the Header of a member that holds what it says."""
        if not member.filename.endswith(".npy"):
            self.refuse(f"{member.filename} in it is no array (minifer never unpickles)")
        with self.archive.open(member) as stream:
            start = io.BytesIO(stream.read(MOST_HEADER_BYTES))
        read_header = HEADERS[np.lib.format.read_magic(start)]
        shape, fortran, dtype = read_header(start)
        first = start.tell()
        if dtype.kind not in "biufU" or dtype.subdtype:
            what = OTHERS.get(dtype.kind, dtype)
            self.refuse(f"{name} holds {what}, no plain numbers or texts (minifer never unpickles)")
        if min(shape, default=0) < 0 or first + math.prod(shape) * dtype.itemsize != member.file_size:
            self.refuse(f"{name} says that it has shape {shape} of {dtype}, which is not what is there")
        return Header(shape, dtype, "F" if fortran else "C", first, member)


def write_npz(file, arrays, method=zipfile.ZIP_STORED):
    """Write {name: array} as an .npz; the same arrays give the same bytes, whatever the time of day."""
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = method
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def write_arrays(path, arrays):
    """Replace an .npz by a compressed one that holds {name: array}, in one step; MiniferError when it cannot be."""
    try:
        with replacing(path) as file:
            write_npz(file, arrays, zipfile.ZIP_DEFLATED)
    except OSError as error:
        raise MiniferError(f"cannot write {path}: {error.strerror or error}") from error
