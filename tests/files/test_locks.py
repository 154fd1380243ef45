"""One writer at a time, and what a killed one leaves half written: real processes, since a lock is the system's."""

import os
import subprocess
import sys

import pytest

from minifer.errors import BusyError, ConfigError
from minifer.files import claimed, replacing, user_path
from minifer.files import locks as module

HOLD = """
import sys, time
from minifer.files import claimed, replacing
with claimed(sys.argv[1]), replacing(sys.argv[2]) as file:
    file.write(b"half")
    file.flush()
    print("here", flush=True)
    time.sleep(600)
"""
DEAD = 2**22 + 1  # more than Linux gives away


@pytest.fixture
def held(tmp_path):
    """A process that has claimed a folder and is in the middle of a file in it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path, tmp_path / "last.npz"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "here\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_is_refused_until_the_first_is_gone(tmp_path, held):
    with pytest.raises(BusyError, match=rf"another minifer is writing there \(process {held.pid}\)"):
        with claimed(tmp_path):
            raise AssertionError("it was let in")
    (leftover,) = tmp_path.glob(".last.npz.*.tmp")
    module.remove_leftovers(tmp_path, ".*.tmp")
    assert leftover.exists()  # its writer lives
    held.kill()
    held.wait()
    with claimed(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert not list(tmp_path.iterdir())


def test_one_file_in_a_folder_is_claimed_alone(tmp_path):
    with claimed(tmp_path / "a.npz"), claimed(tmp_path / "b.npz"):
        with pytest.raises(BusyError), claimed(tmp_path / "a.npz"):
            pass
    assert not list(tmp_path.iterdir())


def test_a_link_is_what_it_leads_to(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with claimed(tmp_path / "run"), pytest.raises(BusyError), claimed(tmp_path / "link"):
        pass


def test_leftovers_of_the_dead_alone_are_removed(tmp_path):
    stay = {f".best.npz.{os.getpid()}-3.tmp", ".notes.tmp", "last.npz.tmp", f"last.npz.{DEAD}.tmp"}
    for name in (*stay, f".last.npz.{DEAD}.tmp", f".last.npz.{DEAD}-17.tmp"):
        (tmp_path / name).write_bytes(b"half")
    with claimed(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == stay


def test_a_file_that_is_written_again_sweeps_its_own_leftovers(tmp_path):
    """As in a cache folder, which nobody claims."""
    for name in (f".a.npz.{DEAD}-0.tmp", f".b.npz.{DEAD}-0.tmp"):
        (tmp_path / name).write_bytes(b"half")
    with replacing(tmp_path / "a.npz") as file:
        file.write(b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", f".b.npz.{DEAD}-0.tmp"}


def test_where_nothing_can_be_locked(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(module.fcntl or module.msvcrt, "flock" if module.fcntl else "locking", unsupported)
    with claimed(tmp_path), claimed(tmp_path), replacing(tmp_path / "a") as file:
        file.write(b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    with claimed(tmp_path / "no" / "such" / "folder"):  # whoever writes there says what is wrong
        pass


@pytest.mark.skipif(os.name == "nt", reason="devices of POSIX")
def test_devices_are_for_as_many_as_like():
    with claimed(os.devnull), claimed(os.devnull):
        pass
    assert not os.path.exists("/dev/.null.lock")


def test_home_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert user_path("~") == str(tmp_path)
    assert user_path("~/a b") == f"{tmp_path}/a b"
    assert user_path("a~") == "a~" and user_path("./~") == "./~"
    for wrong in ("", " ", "~nobody-of-this-name/x"):
        with pytest.raises(ConfigError):
            user_path(wrong)
