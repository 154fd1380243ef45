"""The members of a zip or a tar: files with a name and a size that are read with a limit, or refused with a reason.

Archives come from strangers. None is unpacked to where it says, so no member can write anywhere; a size in one is
compared with a limit before anything is read; damage of any kind is one DataError.
"""

import io
import re
import struct
import tarfile
import zipfile

from minifer.errors import DataError
from minifer.files.guard import guarded

MOST_DIRECTORY_BYTES = 24 << 20  # of a zip's table of contents: Python makes about twenty times as much of it
LIKELY_BYTES, LIKELY_RATIO = 64 << 20, 100  # pictures, and tables of them, shrink to a third or a tenth
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


class Member:
    """One file.

    name      below what it was found in, parted by /      where       the same for messages
    size      in bytes, as an archive says                 stamp       changes when a file does; () in an archive
    opener    returns a stream of its bytes                packed      the bytes that it takes, where it is compressed
    problem   why it cannot be opened, or None
    """

    def __init__(self, name, where, size, opener, packed=None, stamp=(), problem=None):
        self.name, self.where, self.size, self.opener = name, where, size, opener
        self.packed, self.stamp, self.problem = packed, stamp, problem

    def open(self, most_bytes):
        """Return a stream of the bytes.

        Raises     DataError, also later while it is read, when there are more than most_bytes or they are damaged
        """
        self._check(most_bytes)
        with guarded(self.where):
            return io.BufferedReader(_Bytes(self.opener(), self.where, most_bytes), 1 << 16)

    def read(self, most_bytes):
        """Return all bytes. Raises DataError as open."""
        self._check(most_bytes)
        with guarded(self.where), self.opener() as stream:
            return stream.read(self.size + 1)  # a byte beyond the last: the checksum is compared where a stream ends

    def _check(self, most_bytes):
        if self.size > most_bytes:
            raise DataError(f"{self.where}: {self.size} bytes, more than the limit of {most_bytes}: remove it")
        if self.packed is not None and self.size > likely_bytes(self.packed):
            raise DataError(f"{self.where}: {self.packed} bytes unpack to {self.size}: no data does that, remove it")


class _Bytes(io.RawIOBase):
    """A stream's bytes: never more than `most`, and whatever its parser raises becomes a DataError."""

    def __init__(self, stream, where, most):
        self.stream, self.where, self.most, self.left = stream, where, most, most

    def readable(self):
        return True

    def readinto(self, buffer):
        with guarded(self.where):
            data = self.stream.read(len(buffer))
        self.left -= len(data)
        if self.left < 0:
            raise DataError(f"{self.where}: more bytes than the limit of {self.most}: remove it")
        buffer[: len(data)] = data
        return len(data)

    def close(self):
        self.stream.close()
        super().close()


def likely_bytes(packed):
    """Return how many bytes so many compressed ones may unpack to before they are a trap."""
    return max(LIKELY_BYTES, LIKELY_RATIO * packed)


def refused(name, where, problem):
    """Return a Member that cannot be opened: only who wants to read it is told why."""

    def refuse():
        raise DataError(f"{where}: {problem}")

    return Member(name, where, 0, refuse, problem=problem)


def zip_members(file, where):
    """Yield the Members of a zip in an open file. Names are parted by /, also those that Windows parted by backslashes.

    Raises     as open_zip
    """
    archive = open_zip(file)
    for info in archive.infolist():
        name, packed = plain(info.filename.replace("\\", "/")), info.compress_size
        place = f"{where}/{name}"
        if name.endswith("/"):
            continue
        if info.flag_bits & 1:
            yield refused(name, place, "it is encrypted: unpack it with its password and pack it again without")
        elif info.compress_type not in METHODS:
            yield refused(name, place, f"packed by method {info.compress_type}, which Python cannot read: pack it anew")
        else:
            yield Member(name, place, info.file_size, lambda info=info: archive.open(info), packed)


def open_zip(file):
    """Return the ZipFile of an open file.

    Raises     whatever zipfile raises on damage; BadZipFile when the table of contents is far too large
    """
    if directory_bytes(file) > MOST_DIRECTORY_BYTES:
        raise zipfile.BadZipFile(f"its table of contents has more than {MOST_DIRECTORY_BYTES} bytes")
    return zipfile.ZipFile(file)


def directory_bytes(file):
    """Return how many bytes a zip says its table of contents has: zipfile reads them all when it opens one."""
    file.seek(max(file.seek(0, io.SEEK_END) - 66_000, 0))  # an end record with the longest comment
    tail, sizes = file.read(), [0]
    for record in re.finditer(rb"(?=PK\x05\x06.{8}(.{4})|PK\x06\x06.{36}(.{8}))", tail, re.DOTALL):
        size = struct.unpack("<I", record[1]) if record[1] else struct.unpack("<Q", record[2])
        sizes += [number for number in size if number != 0xFFFFFFFF]  # which stands for "see the longer record"
    return max(sizes)


def tar_members(file, where):
    """Yield the Members of a tar in an open file.

    Raises     DataError when it is cut short, which tarfile takes for its end; on other damage whatever tarfile raises
    """
    archive = tarfile.open(fileobj=file, mode="r:")
    for info in archive:
        name = plain(info.name)
        place = f"{where}/{name}"
        if info.isdir():
            continue
        if not info.isreg() or info.size < 0:
            yield refused(name, place, "a link or a device, no file: pack the files themselves")
        else:
            yield Member(name, place, info.size, lambda info=info: archive.extractfile(info))
    file.seek(archive.offset)
    if file.read(512) != bytes(512):
        raise DataError(f"{where}: the tar is damaged or cut short: download it again")


def plain(name):
    """Return a member's name without the ./ that some packers begin it with."""
    return re.sub(r"^(\./)+", "", name)
