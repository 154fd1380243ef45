"""A few damaged files of every kind, and whether the fuzzer would notice if something were wrong."""

import subprocess
import sys
import time
import warnings

import fuzz
import numpy as np
import pytest

from minifer.errors import GradientError

ALONE = ("images", "pictures")  # Pillow's warnings are silenced where no thread is left from other tests


@pytest.mark.parametrize("name", fuzz.KINDS)
def test_damaged_files_are_read_or_refused_in_one_line(name):
    if name == "keras":
        pytest.importorskip("h5py")
    if name == "videos":
        pytest.importorskip("av")
    count = 8 if name == "last" else 25
    if name in ALONE:
        command = [sys.executable, fuzz.__file__, "--kind", name, "--count", str(count), "--seed", "0"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        return
    assert fuzz.run([name], count=count, first_seed=0) == []


def wrong_report(path):
    raise GradientError("two\nlines")


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda path: {}["key"], "KeyError: 'key'"),
        (wrong_report, "a message of several lines"),
        (lambda path: warnings.warn("odd", stacklevel=1), "a warning: odd"),
        (lambda path: time.sleep(5), "TimeoutError: more than 1 seconds"),
        (lambda path: bytearray(50 << 20), "MB of memory"),
    ],
)
def test_what_is_wrong_is_noticed(read, message, monkeypatch):
    monkeypatch.setitem(fuzz.KINDS, "wrong", (".json", lambda: ([b'{"a": 1}'], read)))
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    monkeypatch.setattr(fuzz, "MEMORY", -1)
    ((kind, seed, problem),) = fuzz.run(["wrong"], count=1, first_seed=7)
    assert (kind, seed) == ("wrong", 7) and message in problem


@pytest.mark.parametrize("name", ["config", "portraits", "data"])
def test_a_case_is_the_same_bytes_again(name):
    (data, *_), _ = fuzz.KINDS[name][1]()
    first, second = (fuzz.damaged(data, "a", np.random.default_rng(5)) for _ in range(2))
    assert first == second != data
