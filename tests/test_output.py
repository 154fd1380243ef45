"""Output that nobody reads, a full disk takes no more of, or whose encoding lacks a letter: the work is done all the
same, and exit code 1 says that not all of it was seen."""

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from small_runs import flags

from minifer import config
from minifer.cli import main
from minifer.data import fer2013, synthetic

SHORT = [*flags(config.TrainConfig(model="plain", alpha=1 / 16, epochs=1, batch_size=24, schedule="constant"))]
RUN_FILES = {
    "config.json", "metrics.csv", "curves.png", "confusion.png", "predictions.csv", "evaluation.json", "best.npz",
    "last.npz",
}  # fmt: skip


class Deaf(io.StringIO):
    """A stream that takes one line, then none, as a pipe into `head -1` or a full disk does."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, text):
        if "\n" in self.getvalue():
            raise OSError(self.number, os.strerror(self.number))
        return super().write(text)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "faces.npz"
    fer2013.save_npz(path, synthetic.load(seed=3, train=24, val=14))
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for k, image in enumerate(synthetic.generate(4, seed=1).images):
        Image.fromarray(image).save(folder / f"{k}.png")
    return folder


@pytest.mark.parametrize(
    ("deaf", "number"),
    [(("stdout",), errno.ENOSPC), (("stderr",), errno.EPIPE), (("stdout", "stderr"), errno.EPIPE)],
    ids=["results", "log", "both"],
)
def test_a_run_that_nobody_watches_is_finished(capsys, monkeypatch, archive, tmp_path, deaf, number):
    for name in deaf:
        monkeypatch.setattr(sys, name, Deaf(number))
    out = tmp_path / "run"
    assert main(["train", "--data", str(archive), *SHORT, "--out", str(out)]) == 1
    assert {path.name for path in out.iterdir()} == RUN_FILES
    said = capsys.readouterr().err
    assert ("cannot write to standard output: No space left on device" in said) == (number == errno.ENOSPC)


def test_a_table_that_nobody_watches_is_complete(monkeypatch, pictures, tmp_path):
    monkeypatch.setattr(sys, "stdout", Deaf(errno.EPIPE))
    assert main(["predict", str(pictures), "--no-detect", "--csv", str(tmp_path / "t.csv")]) == 1
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 5


def test_what_is_only_printed_stops_with_its_reader(monkeypatch, pictures):
    from minifer.recognizer import Recognizer

    seen, predict = [], Recognizer.predict
    monkeypatch.setattr(Recognizer, "predict", lambda self, image: seen.append(1) or predict(self, image))
    monkeypatch.setattr(sys, "stdout", Deaf(errno.EPIPE))
    assert main(["predict", str(pictures), "--no-detect"]) == 1
    assert len(seen) == 2


@pytest.mark.skipif(os.name == "nt", reason="shells of POSIX")
@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        (">&-", 1, "minifer: cannot write to standard output: Bad file descriptor\n"),
        (">/dev/full", 1, "minifer: cannot write to standard output: No space left on device\n"),
        ("| true", 1, ""),
        ("2>&-", 0, ""),
    ],
)
def test_streams_of_a_shell(redirection, code, said):
    if "/dev/full" in redirection and not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    line = f'"$0" -m minifer cost {redirection}; exit ${{PIPESTATUS[0]}}'
    found = subprocess.run(["bash", "-c", line, sys.executable], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (code, said)


@pytest.mark.skipif(os.name == "nt", reason="shells of POSIX")
def test_a_closed_stream_is_not_mistaken_for_a_file(pictures, tmp_path):
    """The first file to be opened would take the number of a closed stream, and get what C libraries print."""
    table = tmp_path / "t.csv"
    predict = ["predict", str(pictures), "--no-detect", "--csv", str(table)]
    assert main(predict) == 0
    expected = table.read_bytes()
    command = ["bash", "-c", '"$@" <&- >&- 2>&-', "bash", sys.executable, "-m", "minifer", *predict]
    assert subprocess.run(command, check=False).returncode == 1
    assert table.read_bytes() == expected


# Encodings.

NAMES = [os.fsdecode(b"caf\xe9.png"), "\u65e5\u672c.png", "na\xefve.png"]


@pytest.fixture
def odd_names(tmp_path, pictures):
    folder = tmp_path / "odd"
    folder.mkdir()
    try:
        for name in NAMES:
            shutil.copy(pictures / "0.png", folder / name)
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    return folder


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_names_that_the_output_cannot_encode(monkeypatch, odd_names, tmp_path, encoding):
    for verb in ("predict", "detect"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        table = ["--csv", str(tmp_path / "t.csv"), "--no-detect"] if verb == "predict" else []
        assert main([verb, str(odd_names), *table]) == 0
        assert stream.errors == "strict"
        assert len(stream.buffer.getvalue().decode(encoding).splitlines()) >= 3
    with open(tmp_path / "t.csv", encoding="utf-8", newline="") as file:
        names = {os.path.basename(row["picture"]) for row in csv.DictReader(file)}
    assert names == {"caf\\udce9.png", "\u65e5\u672c.png", "na\xefve.png"}


def test_names_that_are_no_text_in_every_table(archive, tmp_path):
    """evaluate writes them, --teacher finds them again, with and without a byte order mark."""
    splits = synthetic.load(seed=3, train=14, val=7)
    for split in splits.values():
        split.names[:] = np.array([os.fsdecode(b"%d\xe9" % k) for k in range(len(split))])
    data, run, told = tmp_path / "odd.npz", tmp_path / "run", tmp_path / "told"
    fer2013.save_npz(data, splits)
    train = ["train", "--data", str(data), *SHORT, "--out"]
    assert main([*train, str(run)]) == 0
    assert main(["evaluate", str(run), "--data", str(data), "--split", "train", "--out", str(told)]) == 0
    assert "\n0\\udce9," in (told / "predictions.csv").read_text(encoding="utf-8")
    for k in range(2):
        assert main([*train, str(tmp_path / f"taught{k}"), "--teacher", str(told / "predictions.csv")]) == 0
        (told / "predictions.csv").write_bytes(b"\xef\xbb\xbf" + (told / "predictions.csv").read_bytes())
    prepared = ["prepare", "--data", str(data), "--out", str(tmp_path / "c.npz"), "--threshold", "1", "--jobs", "1"]
    assert main(prepared) == 0
    assert "0\\udce9," in (tmp_path / "c-missed.csv").read_text(encoding="utf-8")


@pytest.mark.skipif(os.name == "nt", reason="locales of POSIX")
def test_a_locale_without_utf8(odd_names, pictures):
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "minifer", "predict", odd_names, "--no-detect", "--json"]
    done = subprocess.run(command, env={**os.environ, **locale}, capture_output=True, check=True)
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 3 and done.stderr == b""


# What escapes.


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.npz"), "a.npz: No space left on device: free some space"),
        (OSError(errno.EACCES, "Permission denied", "b"), "b: Permission denied"),
        (MemoryError("Unable to allocate 4 TiB"), "not enough memory (Unable to allocate 4 TiB)"),
        (MemoryError(), "not enough memory: "),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid start byte"), "cannot be read or written as utf-8"),
        (KeyError("gamma"), "KeyError: 'gamma'"),
        (SystemExit(0), "SystemExit: 0"),
        (GeneratorExit("no Exception"), "GeneratorExit: no Exception"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_escapes_is_one_line(capsys, monkeypatch, error, line):
    def run(args):
        raise error

    monkeypatch.setattr("minifer.commands.cost.run", run)
    assert main(["cost"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("minifer cost: ") and line in said and said.count("\n") == 1
    assert said.endswith("raise error)\n") and "(test_output.py, line " in said


def test_a_mistake_of_minifers_own_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("minifer.commands.cost.run", len)  # no line of one's own is on the way
    with pytest.raises(TypeError):
        main(["cost"])


def test_a_full_disk_is_named_wherever_it_shows(capsys, monkeypatch, archive, tmp_path):
    """Each file of prepare and of a finished run is the one that does not fit any more; what was there stays."""
    from minifer.files import writing

    run, crops = tmp_path / "run", tmp_path / "c.npz"
    train = ["train", "--data", str(archive), *SHORT, "--out", str(run)]
    prepare = ["prepare", "--data", str(archive), "--out", str(crops), "--jobs", "1"]
    assert main(train) == 0 and main(prepare) == 0
    fsync, before = os.fsync, {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for command, files in (
        (["train", "--resume", str(run)], ("curves.png", "predictions.csv")),
        (prepare, ("000000.npz", "c.npz", "c-missed.png")),
    ):
        for name in files:

            def full(number, name=name):
                if os.readlink(f"/proc/self/fd/{number}").rpartition("/")[2].startswith(f".{name}."):
                    raise OSError(errno.ENOSPC, "No space left on device")
                fsync(number)

            monkeypatch.setattr(writing.os, "fsync", full)
            capsys.readouterr()
            assert main(command) == 1
            said = [line for line in capsys.readouterr().err.splitlines() if "minifer" in line]
            assert len(said) == 1 and name in said[0] and "No space left on device" in said[0]
            assert not list(tmp_path.rglob(".*"))
            assert all(path.read_bytes() == content for path, content in before.items())
