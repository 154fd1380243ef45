"""Checkpoints: what goes in comes out; a failed write loses nothing; every kind of bad file has its own clear error."""

import errno
import json
import os
import pickle
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest

from minifer import checkpoint
from minifer.errors import CheckpointError

ARRAYS = {
    "stem.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "steps": np.array(7),
    "file": np.array([1.5]),  # numpy.savez would take this name for its own argument
    "empty": np.zeros((0, 3)),
    "mask": np.array([True, False]),
}
META = {"classes": ["angry", "glücklich"], "epoch": 3, "rate": 0.1, "best": None}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "best.npz"
    checkpoint.save(path, ARRAYS, META)
    return path


def assert_is_intact(path):
    arrays, meta = checkpoint.load(path)
    assert meta == META
    assert arrays.keys() == ARRAYS.keys()
    for name, array in arrays.items():
        assert (array.dtype, array.shape) == (ARRAYS[name].dtype, ARRAYS[name].shape)
        np.testing.assert_array_equal(array, ARRAYS[name])
        assert array.flags.writeable


def complaint(path):
    """The message of loading a bad file: one line that names the file."""
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Writing


def test_round_trip(path):
    assert_is_intact(path)
    assert os.listdir(path.parent) == ["best.npz"]


def test_plain_numpy_reads_it_too(path):
    with np.load(path, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["stem.weight"], ARRAYS["stem.weight"])
        assert json.loads(str(archive[checkpoint.HEADER]))["meta"] == META


def test_same_content_gives_the_same_bytes(path, tmp_path):
    checkpoint.save(tmp_path / "again", ARRAYS, META)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_arrays_in_any_memory_order(tmp_path):
    base = np.arange(24.0).reshape(4, 6)
    arrays = {"transposed": base.T, "strided": base[::2, 1::2], "reversed": base[::-1]}
    checkpoint.save(tmp_path / "c.npz", arrays, {})
    loaded, _ = checkpoint.load(tmp_path / "c.npz")
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].flags.c_contiguous


def test_what_cannot_be_saved_is_refused_before_the_old_file_is_touched(path):
    for arrays, meta in (
        ({"objects": np.array([{}], dtype=object)}, {}),
        ({checkpoint.HEADER: np.zeros(1)}, {}),
        ({}, {"a": np.zeros(1)}),
    ):
        with pytest.raises(CheckpointError, match="cannot save"):
            checkpoint.save(path, arrays, meta)
    assert_is_intact(path)


@pytest.mark.parametrize("fails_at", ["first write", "third array", "fsync", "replace"])
def test_a_full_disk_loses_nothing(path, monkeypatch, fails_at):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    write_array, calls = np.lib.format.write_array, []

    def third_fails(member, array, **options):
        calls.append(array)
        if len(calls) == 3:
            member.write(b"half an array")
            full()
        write_array(member, array, **options)

    if fails_at in ("first write", "third array"):
        monkeypatch.setattr(np.lib.format, "write_array", full if fails_at == "first write" else third_fails)
    else:
        monkeypatch.setattr(os, fails_at, full)
    with pytest.raises(CheckpointError, match=r"cannot write .*best\.npz: No space left on device \(free some space"):
        checkpoint.save(path, ARRAYS, {"epoch": 4})
    monkeypatch.undo()
    assert_is_intact(path)
    assert os.listdir(path.parent) == ["best.npz"]


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files by RLIMIT_FSIZE")
def test_a_disk_that_is_really_full(path):
    """A process that may write no more than 64 KiB to a file saves 400 kB: the kernel itself cuts it short."""
    script = f"""
        import resource, signal, numpy as np
        from minifer import checkpoint
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
        checkpoint.save({str(path)!r}, {{"a": np.ones(50000), "b": np.ones(50000)}}, {{}})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "CheckpointError: cannot write" in done.stderr.splitlines()[-1]
    assert_is_intact(path)
    assert os.listdir(path.parent) == ["best.npz"]


def test_an_interrupted_save_leaves_no_temporary_file(path, monkeypatch):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(np.lib.format, "write_array", interrupt)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, ARRAYS, {})
    monkeypatch.undo()
    assert_is_intact(path)
    assert os.listdir(path.parent) == ["best.npz"]


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot write .*nowhere.*No such file or directory"):
        checkpoint.save(tmp_path / "nowhere" / "best.npz", ARRAYS, META)


# Reading


def test_missing_file(tmp_path):
    assert "no such file" in complaint(tmp_path / "none.npz")


def test_a_folder_is_not_a_checkpoint(tmp_path):
    assert "not a file" in complaint(tmp_path)


def test_cut_short_anywhere(path):
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        assert "cannot be read" in complaint(path)


def test_one_wrong_byte_is_noticed_or_harmless(path):
    """Either the load fails with a CheckpointError or what it returns is right: never wrong numbers, never a crash."""
    whole = path.read_bytes()
    for position in range(0, len(whole), 3):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            assert_is_intact(path)
        except CheckpointError as error:
            assert str(path) in str(error)


def test_damaged_numbers_fail_the_checksum(path):
    whole = path.read_bytes()
    position = whole.index(ARRAYS["stem.weight"].tobytes()) + 10
    path.write_bytes(whole[:position] + b"\xff" + whole[position + 1 :])
    assert "cannot be read (Bad CRC-32 for file 'stem.weight.npy'): restore it from a copy" in complaint(path)


class Bomb:
    def __reduce__(self):
        return os.abort, ()


def test_pickles_are_never_loaded(tmp_path):
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps(Bomb()))
    assert "never unpickles" in complaint(tmp_path / "weights.pkl")
    np.savez(tmp_path / "objects.npz", weights=np.array([Bomb()], dtype=object), allow_pickle=True)
    assert "weights holds Python objects, no plain numbers or texts (minifer never unpickles)" in complaint(
        tmp_path / "objects.npz"
    )
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:  # how torch.save writes
        archive.writestr("model/data.pkl", pickle.dumps(Bomb()))
    assert "model/data.pkl in it is no array (minifer never unpickles)" in complaint(tmp_path / "model.pt")


def test_files_of_other_programs(tmp_path):
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n")
    assert "no .npz file of plain arrays" in complaint(tmp_path / "picture.png")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    assert "another program" in complaint(tmp_path / "other.npz")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(path, wrong):
    bad = ARRAYS["stem.weight"].copy()
    bad[1, 2, 3] = wrong
    checkpoint.save(path, ARRAYS | {"stem.weight": bad}, META)
    assert "stem.weight holds NaN or infinity" in complaint(path)


def test_wrong_format_version_and_broken_description(tmp_path):
    path = tmp_path / "c.npz"
    np.savez(path, **{checkpoint.HEADER: np.array(json.dumps({"version": 99, "meta": {}}))})
    assert "is of format 99, this minifer reads 1" in complaint(path)
    for text, message in (
        ("{", "cannot be read"), ("[]", "instead of an object with version, meta"), ("{}", "'version' is missing"),
        ('{"version": "1", "meta": {}}', "version is '1': it must be a whole number"),
        ('{"version": 1, "meta": {}, "names": ["a"]}', "its table of contents is damaged"),
        ("[" * 200_000 + "]" * 200_000, "cannot be read (maximum recursion depth exceeded"),
    ):  # fmt: skip
        np.savez(path, **{checkpoint.HEADER: np.array(text)})
        assert message in complaint(path)
