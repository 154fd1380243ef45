"""THE reader of folder | zip | tar: a data set's files by name, whatever they come packed in.

Nobody else opens one. Members are in order of their names, and hidden files are not among them.

    with open_source("fer2013.zip") as source:
        for name, member in source.members.items():
            data = member.read(most_bytes=1 << 20)

    folder                     its files and those below it; links are followed, except back to a folder above
    .zip, .tar                 their members
    .gz, .bz2, .xz             what is in them: a tar's members, or one file (fer2013.csv.gz)
    any other file             that file
    an archive in one of them  source.inside(), for a reader that finds nothing else
"""

import bz2
import gzip
import lzma
import os
import re
import stat
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from minifer.errors import DataError, one_line
from minifer.files.guard import guarded, reason
from minifer.files.images import is_image_name, left_out
from minifer.files.members import Member, likely_bytes, refused, tar_members, zip_members

MOST_MEMBERS = 200_000  # FER2013 has 35,887
MOST_CHARACTERS = 400  # of a name: in an array of names each takes as much as the longest
MOST_UNPACKED = 2 << 30  # bytes in temporary files, for what is packed twice; fer2013.tar has 300 MB
MOST_DEPTH = 3  # archives in archives

COMPRESSED = {".gz": (b"\x1f\x8b", gzip.open), ".bz2": (b"BZh", bz2.open), ".xz": (b"\xfd7zXZ\0", lzma.open)}
SUFFIX = re.compile(r"\.(zip|tar|tgz|tbz2|txz)$|(\.tar)?\.(gz|bz2|xz)$", re.IGNORECASE)


def open_source(path):
    """Return the Source at a path: a context manager.

    Raises     DataError when nothing is there, or neither a folder nor a file, or it is damaged or far too large
    """
    path = Path(path)
    with guarded(path), _Work() as work:
        if path.is_dir():
            return Source(path, _in_folder(path), work)
        if not path.is_file():
            raise DataError(f"{path}: {'neither a folder nor a file' if path.exists() else 'no such file or folder'}")
        file = work.enter_context(open(path, "rb"))
        return Source(path, _in_file(file, path, path.name, "", work), work)


# What systems and network drives put into folders, beside names with a dot: .DS_Store, ._picture.jpg, .thumbnails.
LEFT_BEHIND = {
    "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin", "system volume information",
    "lost+found", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot",
}  # fmt: skip


def is_hidden(name):
    """Whether a file is hidden, or what systems and viewers leave behind: ._picture.jpg, @eaDir/picture.jpg."""
    return any(part.startswith(".") or part.lower() in LEFT_BEHIND for part in name.split("/"))


class Source:
    """Files in order of their names: members {name: Member}. Hidden ones are left out.

    Raises     DataError when two have one name, or there are more than MOST_MEMBERS
    """

    def __init__(self, path, members, work, depth=0):
        found = {}
        for count, member in enumerate(members):
            if count == MOST_MEMBERS:
                raise DataError(f"{path}: more than {MOST_MEMBERS} files: is it another data set?")
            if is_hidden(member.name):
                continue
            if len(member.name) > MOST_CHARACTERS:
                raise DataError(f"{path}: a file in it has a name of {len(member.name)} characters: pack it again")
            if member.name in found:
                raise DataError(f"{path}: two files in it are called {member.name}: pack it again with one of them")
            found[member.name] = member
        self.path, self.members, self.depth = path, dict(sorted(found.items())), depth
        self.work = work.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.work.close()

    def pictures(self, beside=()):
        """Return the Members that are pictures; say on stderr how many files are none, or none that can be read.

        beside     further suffixes that are not worth a word
        Raises     DataError for what cannot be opened, such as a link to nothing: it may be a folder of pictures
        """
        found, others = [], []
        for name, member in self.members.items():
            if member.problem:
                raise DataError(f"{member.where}: {member.problem}")
            if is_image_name(name):
                found.append(member)
            elif not name.lower().endswith(tuple(beside)):
                others.append(name)
        if found and others:
            print(one_line(f"{self.path}: {left_out(others)}"), file=sys.stderr)
        return found

    def inside(self):
        """Return a Source of what is in the archives among the members; train.zip becomes a folder called train.

        Raises     DataError as open_source
        """
        with guarded(self.path), _Work() as work:
            return Source(self.path, self._inside(work) if self.depth < MOST_DEPTH else (), work, self.depth + 1)

    def _inside(self, work):
        for name, member in self.members.items():
            if SUFFIX.search(name):
                with member.open(MOST_UNPACKED) as stream:
                    file = work.unpacked(stream, member.size, member.where)
                yield from _in_file(file, member.where, name, SUFFIX.sub("/", name), work)


class _Work(ExitStack):
    """What an open source holds on to: open files, and temporary ones with MOST_UNPACKED bytes at most."""

    left = MOST_UNPACKED

    def unpacked(self, stream, packed, where):
        """Return a temporary file with the bytes of a stream, which takes `packed` bytes itself."""
        file = self.enter_context(tempfile.TemporaryFile())
        most = min(self.left, likely_bytes(packed))
        while data := stream.read(1 << 20):
            self.left, most = self.left - len(data), most - len(data)
            if most < 0:
                raise DataError(f"{where}: its {packed} bytes unpack to far too many: unpack it by hand, and look")
            file.write(data)
        file.seek(0)
        return file


def _in_folder(top):
    """Yield the Members of a folder."""
    waiting = [(os.fspath(top), "", _above(top))]
    for _ in range(MOST_MEMBERS):
        if not waiting:
            return
        folder, prefix, above = waiting.pop()
        if (identity := _identity(folder)) in above:
            continue
        try:
            entries = os.listdir(folder)
        except OSError as error:
            if not prefix:
                raise
            yield refused(prefix[:-1], folder, f"the folder cannot be read ({reason(error)})")
            continue
        for entry in entries:
            name, where = prefix + entry, os.path.join(folder, entry)
            if is_hidden(entry):
                continue
            if os.path.isdir(where):
                linked = _above(where) if os.path.islink(where) else set()
                waiting.append((where, f"{name}/", above | {identity} | linked))
            else:
                yield file_member(name, where)
    raise DataError(f"{top}: more than {MOST_MEMBERS} folders: is it another data set?")


def _identity(folder):
    """Return what a folder is known by, whatever it is called."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _above(folder):
    """Return the identities of the folders that a folder, or what it is a link to, lies in."""
    return frozenset(map(_identity, Path(os.path.realpath(folder)).parents))


def file_member(name, path):
    """Return the file at a path, whatever is in it, as a Member."""
    try:
        status = os.stat(path)
    except OSError as error:
        return refused(name, path, f"a link to nothing ({reason(error)}): put a file in its place")
    if not stat.S_ISREG(status.st_mode):
        return refused(name, path, "a pipe, a device: put a file in its place")
    # A file that is replaced may keep its time, but has another number or at least another time of the change itself.
    stamp = status.st_ino, status.st_mtime_ns, status.st_ctime_ns
    return Member(name, path, status.st_size, lambda: open(path, "rb"), stamp=stamp)


def _in_file(file, where, name, prefix, work, depth=0):
    """Yield the Members in an open file: of an archive what is in it, under prefix, else the file under its name."""
    start, packed = file.read(512), file.seek(0, os.SEEK_END)
    file.seek(0)
    if start[:4] in (b"PK\3\4", b"PK\5\6") or start[257:262] == b"ustar":
        for member in (zip_members if start[:2] == b"PK" else tar_members)(file, where):
            member.name = prefix + member.name
            yield member
        return
    for suffix, (magic, opener) in COMPRESSED.items():
        if start.startswith(magic) and depth < MOST_DEPTH:
            with opener(file) as stream:
                file = work.unpacked(stream, packed, where)  # in which a member is found without reading all before it
            name = name[: -len(suffix)] if name.lower().endswith(suffix) else name
            yield from _in_file(file, where, name, prefix, work, depth + 1)
            return

    def again():
        stream = os.fdopen(os.dup(file.fileno()), "rb")
        stream.seek(0)
        return stream

    yield Member(name, where, packed, again)
