"""Folders, zips and tars give the same files; what is wrong with one is a line, and takes neither memory nor time."""

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import tracemalloc
import zipfile

import pytest

from minifer.errors import DataError
from minifer.files import archives, members
from minifer.files.archives import open_source

FILES = {"b/2.jpg": b"two", "a.csv": b"one,1", "b/c/3.pts": b"", "b/.DS_Store": b"junk", "__MACOSX/b/2.jpg": b"junk"}
SEEN = {"a.csv": b"one,1", "b/2.jpg": b"two", "b/c/3.pts": b""}


def write_folder(path, files=FILES):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_zip(path, files=FILES, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("b/", b"")
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path, files=FILES, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def contents(path):
    with open_source(path) as source:
        assert list(source.members) == sorted(source.members)
        return {name: member.read(1000) for name, member in source.members.items()}


def refusal(path, inside=False, most_bytes=1000):
    """Read everything; return the line that comes instead."""
    with pytest.raises(DataError) as caught, open_source(path) as source:
        for member in (source.inside() if inside else source).members.values():
            member.read(most_bytes)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


# The same files from everything.


@pytest.mark.parametrize("method", members.METHODS)
def test_zip(tmp_path, method):
    assert contents(write_zip(tmp_path / "a.zip", method=method)) == SEEN


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_by_what_is_in_it(tmp_path, mode):
    assert contents(write_tar(tmp_path / "a.dat", mode=mode)) == SEEN


def test_folder_and_a_single_file(tmp_path):
    assert contents(write_folder(tmp_path)) == SEEN
    assert contents(tmp_path / "a.csv") == {"a.csv": b"one,1"}


@pytest.mark.parametrize("packer", [gzip, bz2, lzma])
def test_one_compressed_file(tmp_path, packer):
    path = tmp_path / ("a.csv" + {gzip: ".gz", bz2: ".bz2", lzma: ".xz"}[packer])
    path.write_bytes(packer.compress(b"one,1"))
    assert contents(path) == {"a.csv": b"one,1"}


def test_names_with_backslashes_and_dots_before_them(tmp_path):
    files = {"data\\train\\sad\\1.jpg": b"1", "data\\empty\\": b"", "data\\__MACOSX\\x": b"junk"}
    assert contents(write_zip(tmp_path / "windows.zip", files)) == {"data/train/sad/1.jpg": b"1"}
    assert contents(write_tar(tmp_path / "dots.tar", {"./a/1": b"1", "./.hidden/2": b"2"})) == {"a/1": b"1"}


def test_archives_in_archives(tmp_path):
    inner = write_zip(tmp_path / "inner.zip").read_bytes()
    tar = write_tar(tmp_path / "inner.tar.gz", mode="w:gz").read_bytes()
    files = {"train.zip": inner, "x/Test.TAR.GZ": tar, "README": b"", "f.csv.gz": gzip.compress(b"1,2")}
    write_folder(tmp_path / "folder", files)
    for outer in (write_zip(tmp_path / "o.zip", files), write_tar(tmp_path / "o.tar", files), tmp_path / "folder"):
        with open_source(outer) as source:
            assert list(source.members) == sorted(files)
            with source.inside() as inside:
                found = {name: member.read(1000) for name, member in inside.members.items()}
        expected = {f"{folder}/{name}": content for folder in ("train", "x/Test") for name, content in SEEN.items()}
        assert found == expected | {"f.csv": b"1,2"}


def test_links_are_followed_but_never_round_and_round(tmp_path):
    write_folder(tmp_path / "elsewhere", {"1.jpg": b"1"})
    top = write_folder(tmp_path / "top", {"sad/2.jpg": b"2"})
    (top / "angry").symlink_to(tmp_path / "elsewhere")
    (top / "sad" / "up").symlink_to(top)
    (top / "3.jpg").symlink_to(tmp_path / "elsewhere" / "1.jpg")
    assert contents(top) == {"angry/1.jpg": b"1", "sad/2.jpg": b"2", "3.jpg": b"1"}


@pytest.mark.parametrize("link, target", [("up", ".."), ("sad/up", "../.."), ("sad/root", "/"), ("away/up", "..")])
def test_a_link_to_a_folder_above_adds_nothing(tmp_path, link, target):
    """Also to one above the folder that is read, or above one that a link led to: what lies beside it is other data."""
    write_folder(tmp_path, {"top/sad/2.jpg": b"2", "others/away/1.jpg": b"1", "others/3.jpg": b"3"})
    (tmp_path / "top" / "away").symlink_to(tmp_path / "others" / "away")
    (tmp_path / "top" / link).symlink_to(target)
    assert contents(tmp_path / "top") == {"sad/2.jpg": b"2", "away/1.jpg": b"1"}
    (tmp_path / "linked").symlink_to("top/sad")  # and the folder that is read may itself be a link
    assert "2.jpg" in contents(tmp_path / "linked") and "away/1.jpg" not in contents(tmp_path / "linked")


# What is wrong with a folder or an archive is one line.


def test_what_is_not_there_or_no_file(tmp_path):
    assert "no such file or folder" in refusal(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    assert "neither a folder nor a file" in refusal(tmp_path / "pipe")
    assert "a pipe, a device" in refusal(tmp_path)  # and does not wait for who might write into it
    (tmp_path / "pipe").unlink()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert "a link to nothing" in refusal(tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for content in "1234":
            archive.writestr("x.jpg", content)
    assert "two files in it are called x.jpg" in refusal(tmp_path / "a.zip")
    assert "called b/x" in refusal(write_zip(tmp_path / "b.zip", {"b/x": b"", "b\\x": b""}))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("x", "./x"):
            archive.addfile(tarfile.TarInfo(name))
    assert "called x" in refusal(tmp_path / "a.tar")


def change(path, old, new, which=0):
    """Write `new` over a place of a file: the first where `old` is, or another."""
    data, at = bytearray(path.read_bytes()), -1
    for _ in range(which + 1):
        at = data.index(old, at + 1)
    data[at : at + len(new)] = new
    path.write_bytes(data)
    return path


def test_members_that_cannot_be_read_are_refused_and_the_others_are_not(tmp_path):
    for field, value, message in ((8, b"\x01", "encrypted"), (10, b"\x63", "method 99")):  # flags, method
        path = write_zip(tmp_path / "a.zip", {"1": b"one", "2": b"two"})
        at = path.read_bytes().index(b"PK\1\2", path.read_bytes().index(b"PK\1\2") + 1)  # the one after b/
        data = bytearray(path.read_bytes())
        data[at + field : at + field + 1] = value
        path.write_bytes(data)
        assert f"{path}/1: " in refusal(path) and message in refusal(path)
        with open_source(path) as source:
            assert source.members["2"].read(1000) == b"two"


def test_a_name_that_is_no_utf8(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"ä.jpg": b"1"})
    assert "cannot be read" in refusal(change(path, "ä".encode(), b"\xff\xff", 1))


def test_line_breaks_in_names_stay_in_one_line(tmp_path):
    assert "x\\ny" in refusal(write_zip(tmp_path / "a.zip", {"x\ny": bytes(2000)}))


@pytest.mark.parametrize("method", members.METHODS)
def test_wrong_bytes_in_a_zip(tmp_path, method):
    good = write_zip(tmp_path / "a.zip", {"a.csv": bytes(range(256)) * 3}, method).read_bytes()
    for place in range(len(good)):
        (tmp_path / "a.zip").write_bytes(good[:place] + bytes([good[place] ^ 255]) + good[place + 1 :])
        try:
            contents(tmp_path / "a.zip")
        except DataError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_cut_short_anywhere(tmp_path, mode):
    good = write_tar(tmp_path / "good.tar", {"1": b"1" * 600, "2": b"2"}, mode).read_bytes()
    needed = 4 * 512 + 512 if mode == "w" else len(good)  # and a block that says that it is the end
    for length in range(1, needed, 7 if mode == "w" else 1):
        (tmp_path / "cut").write_bytes(good[:length])
        try:
            found = contents(tmp_path / "cut")
        except DataError as error:
            assert "\n" not in str(error)
        else:
            assert set(found) == {"cut"}  # too little is left to know it for an archive


def test_links_in_a_tar(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind, target in (("1", tarfile.SYMTYPE, "1"), ("2", tarfile.LNKTYPE, "/etc/passwd")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    assert "a link or a device" in refusal(tmp_path / "a.tar")


# Limits.


@pytest.fixture
def peak():
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def test_more_bytes_than_asked_for(tmp_path, peak):
    path = write_zip(tmp_path / "a.zip", {"x": bytes(20 << 20)})
    assert "20971520 bytes, more than the limit of 1000" in refusal(path)
    data = path.read_bytes()
    lying = data.replace(struct.pack("<I", 20 << 20), struct.pack("<I", 900))
    path.write_bytes(lying)
    assert "cannot be read" in refusal(path)  # it ends where it says, and the checksum is of more
    assert peak() < 25 << 20


def test_a_bomb_is_known_by_its_size(tmp_path, peak, monkeypatch):
    monkeypatch.setattr(members, "LIKELY_BYTES", 1 << 20)
    path = write_zip(tmp_path / "a.zip", {"x": bytes(2 << 20)})
    assert "unpack to 2097152: no data does that" in refusal(path, most_bytes=1 << 30)
    write_tar(tmp_path / "a.tgz", {"x": bytes(2 << 20)}, "w:gz")
    assert "unpack to far too many" in refusal(tmp_path / "a.tgz")
    write_zip(tmp_path / "b.zip", {"a.zip": (tmp_path / "a.zip").read_bytes()})
    assert "no data does that" in refusal(tmp_path / "b.zip", inside=True, most_bytes=1 << 30)
    assert peak() < 12 << 20


def test_an_archive_of_itself_ends(tmp_path):
    data = b"end"
    for _ in range(6):
        data = write_zip(tmp_path / "a.zip", {"a.zip": data}).read_bytes()
    with open_source(tmp_path / "a.zip") as source:
        depth = 0
        while source.members:
            source, depth = source.inside(), depth + 1  # noqa: PLW2901
    assert depth == archives.MOST_DEPTH + 1


def test_too_many_files(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    files = {str(number): b"" for number in range(4)}
    write_folder(tmp_path / "folder", files)
    for path in (write_zip(tmp_path / "a.zip", files), write_tar(tmp_path / "a.tar", files), tmp_path / "folder"):
        assert "more than 3 files" in refusal(path)
    write_folder(tmp_path / "deep", {"1/2/3/4/5": b""})
    assert "more than 3 folders" in refusal(tmp_path / "deep")


def test_a_very_long_name(tmp_path):
    assert "has a name of 401 characters" in refusal(write_zip(tmp_path / "a.zip", {"x" * 401: b""}))


def test_a_zip_of_a_million_members_is_not_listed(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "a.zip", {f"{number:03d}": b"" for number in range(100)})
    monkeypatch.setattr(members, "MOST_DIRECTORY_BYTES", 3000)
    assert "its table of contents has more than 3000 bytes" in refusal(path)
    end = path.read_bytes().rindex(b"PK\5\6")
    zip64 = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 101, 101, 4955, 0)
    zip64 += b"PK\6\7" + struct.pack("<IQI", 0, end, 1)
    data = path.read_bytes()
    path.write_bytes(data[:end] + zip64 + data[end : end + 12] + b"\xff" * 4 + data[end + 16 :])
    assert "its table of contents has more than 3000 bytes" in refusal(path)
