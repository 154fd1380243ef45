"""The process that a verb runs in: Numba's settings, folders that cannot be written to, forks, signals, two at once."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from small_runs import SHORT, flags, run

from minifer import checkpoint, config
from minifer.data import fer2013
from minifer.files import claimed

LONG = config.replace(SHORT, epochs=10_000)
NOTICE = "compiling kernels"


def minifer(*arguments, **environment):
    """Run minifer in a process of its own; return (exit code, stdout, stderr)."""
    done = subprocess.run(
        [sys.executable, "-m", "minifer", *map(str, arguments)],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


# Numba's settings.


@pytest.mark.parametrize(
    ("name", "value", "code", "line"),
    [
        ("NUMBA_NUM_THREADS", "0", 2, "Numba cannot start with NUMBA_NUM_THREADS=0: "),
        (
            "NUMBA_NUM_THREADS",
            "x",
            0,
            "'NUMBA_NUM_THREADS' is defined but its associated value 'x' could not be parsed",
        ),
        ("NUMBA_NUM_THREADS", "100000", 2, "at most 1024 threads"),
        ("NUMBA_THREADING_LAYER", "nonsense", 2, "Numba cannot start with NUMBA_THREADING_LAYER=nonsense"),
    ],
)
def test_settings_that_cannot_work(name, value, code, line):
    found, _, said = minifer("cost", **{name: value})
    assert found == code and line in said and said.count("\n") == 1


# Where compiled kernels are kept.

UNWRITABLE = """
import sys
from numba.core import caching
for locator in (caching.InTreeCacheLocator, caching.UserWideCacheLocator):
    locator.ensure_cache_path = lambda self: (_ for _ in ()).throw(OSError(30, "Read-only file system"))
if "nowhere" in sys.argv:
    sys.argv.remove("nowhere")
    import os
    os.access = lambda *_: False
from minifer.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("nowhere", [False, True], ids=["temporary", "none"])
def test_neither_package_nor_home_can_be_written_to(tmp_path, nowhere):
    command = [sys.executable, "-c", UNWRITABLE, *(["nowhere"] if nowhere else []), "doctor"]
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        command, env={**environment, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    folder = next(iter(tmp_path.glob("minifer-kernels-*")), None)
    if nowhere:
        assert lines[0].startswith("compiled kernels are not kept: ")
    else:
        assert lines[0].startswith(f"compiled kernels are kept in {folder}: ")
        assert os.name == "nt" or folder.stat().st_mode & 0o077 == 0
        assert list(folder.rglob("*.nbc"))
    assert lines[1:] == [f"{NOTICE}{'' if nowhere else ', once on this machine'}: this can take a minute"]
    assert ("not kept" if nowhere else str(folder)) in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="owners of POSIX")
def test_a_temporary_folder_that_others_can_write_to_is_not_trusted(tmp_path, monkeypatch):
    from minifer.kernels import cache

    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = tmp_path / f"minifer-kernels-{os.getuid()}"
    assert cache._private_folder() == str(folder)
    folder.chmod(0o777)
    assert cache._private_folder() != str(folder)
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert cache._private_folder() != str(folder)


def test_the_first_start_says_that_it_compiles_and_the_next_does_not(tmp_path):
    for expected in (1, 0):
        code, _, said = minifer("doctor", NUMBA_CACHE_DIR=str(tmp_path))
        assert code == 0 and said.count(NOTICE) == expected == said.count("\n")


# Forks.

FORK = """
import multiprocessing, sys
import numba
import numpy as np
from minifer import layers

def work(value):
    return float(layers.Softmax().forward(np.full((2, 3), value, np.float32)).sum())

def cut(value):
    from minifer.faces.kernels.resize import halve
    return float(halve(np.full((4, 4), value, np.float32)).sum())

if "late" in sys.argv:
    work(1)
with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
    print(pool.map(cut, [1, 2]))
    try:
        print(pool.map(work, [1, 2]))
    except RuntimeError as error:
        print(error)
work(1)
layer = numba.threading_layer()
print(layer == "omp" and numba.np.ufunc.omppool.openmp_vendor == "GNU")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("when", ["late", "early"])
def test_a_pool_of_forked_processes_never_hangs(when):
    command = [sys.executable, "-c", FORK, "fork", when]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout.splitlines()
    assert found[0] == "[4.0, 8.0]"  # kernels of one thread work in any process
    refused = found[2] == "True" and when == "late"
    assert ("get_context('spawn')" in found[1]) if refused else found[1] == "[2.0, 2.0]"


# Two at once, and signals.


def start(*arguments, before=()):
    return subprocess.Popen(
        [*before, sys.executable, "-m", "minifer", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for(process, text):
    for line in process.stderr:
        if line.startswith(text):
            return
    raise AssertionError(f"it ended without a line that starts with {text!r}")


@pytest.mark.parametrize(
    "verb", ["train", "resume", "prepare", "reproduce", "evaluate", "predict", "detect", "train-landmarks"]
)
def test_the_second_that_would_write_there_is_refused(capsys, archive, tmp_path, verb):
    out, data = tmp_path / "out", ["--data", archive]
    out.mkdir()
    commands = {
        "train": ["train", *data, "--out", out],
        "resume": ["train", "--resume", out],
        "prepare": ["prepare", *data, "--out", out / "c.npz"],
        "reproduce": ["reproduce", *data, "--out", out],
        "evaluate": ["evaluate", "small", *data, "--split", "val", "--out", out],
        "predict": ["predict", archive.parent / "p.png", "--no-detect", "--csv", out / "t.csv"],
        "detect": ["detect", archive.parent / "p.png", "--draw", out],
        "train-landmarks": ["train-landmarks", *data, "--out", out / "l.npz"],
    }
    target = {"prepare": out / "c.npz", "predict": out / "t.csv", "train-landmarks": out / "l.npz"}.get(verb, out)
    if verb in ("predict", "detect"):
        from PIL import Image

        Image.fromarray(np.zeros((48, 48), np.uint8)).save(archive.parent / "p.png")
    with claimed(target):
        code, _, said = run(capsys, *commands[verb])
        assert code == 1 and said.count("\n") == 1 and "another minifer is writing there" in said
        assert [path.name for path in out.iterdir()] == [".lock" if target == out else f".{target.name}.lock"]


def test_without_a_name_the_second_takes_the_next_folder(capsys, archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "quick").mkdir(parents=True)
    with claimed("runs/quick"):
        assert run(capsys, "train", "--data", archive, *flags(SHORT))[0] == 0
    assert (tmp_path / "runs" / "quick-2" / "best.npz").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_terminal_that_is_closed_saves_as_a_stop_does(archive, tmp_path):
    folder = tmp_path / "run"
    for leftover in (f".last.npz.{2**22 + 1}-0.tmp", f".best.npz.{2**22 + 1}.tmp"):
        folder.mkdir(exist_ok=True)
        (folder / leftover).write_bytes(b"half")
    process = start("train", "--data", archive, *flags(LONG), "--out", folder)
    wait_for(process, "epoch")
    process.stderr.close()  # the terminal takes nothing any more
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=120) == 130
    _, meta = checkpoint.load(folder / "last.npz")
    assert meta["epoch"] >= 1 and not meta["finished"]
    assert not list(folder.glob(".*"))


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_nohup_is_obeyed(archive, tmp_path):
    process = start("train", "--data", archive, *flags(LONG), "--out", tmp_path / "run", before=["nohup"])
    wait_for(process, "epoch")
    process.send_signal(signal.SIGHUP)
    for _ in range(2):
        wait_for(process, "epoch")
    process.kill()
    process.wait()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("times", [1, 3])
def test_ctrl_c_in_prepare_is_one_line(faces_of_many, tmp_path, times):
    """A terminal sends it to every process of the group; impatient people send it again."""
    process = start("prepare", "--data", faces_of_many, "--out", tmp_path / "c.npz", "--jobs", "2")
    deadline = time.monotonic() + 120
    while not (tmp_path / "c.parts").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(3)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.2)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and said == "minifer prepare: interrupted\n"


@pytest.mark.skipif(os.name == "nt" or os.cpu_count() < 2, reason="signals of POSIX, two processes")
@pytest.mark.parametrize(("way", "said"), [("terminate", "minifer sweep: interrupted\n"), ("kill", "")])
def test_who_stops_one_process_stops_all_that_it_has_started(archive, tmp_path, way, said):
    """Each saves as it would alone, in the middle of an epoch, and none is left behind."""
    grid = {"model": "plain", "alpha": 1 / 16, "epochs": 10_000, "batch_size": 24, "learning_rate": "1e-3,2e-3,3e-3"}
    settings = [part for name, value in grid.items() for part in ("--set", f"{name}={value}")]
    out = tmp_path / "sweep"
    process = start("sweep", "--data", archive, *settings, "--seeds", "1", "--jobs", "2", "--out", out)
    deadline = time.monotonic() + 120
    while len(list(out.glob("*/last.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    getattr(process, way)()
    _, last_words = process.communicate(timeout=120)
    assert process.returncode == (130 if said else -signal.SIGKILL) and last_words.endswith(said)
    with pytest.raises(ProcessLookupError):  # the group has ended
        for _ in range(100):
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    runs = [checkpoint.load(path)[1] for path in out.glob("*/last.npz")]
    assert len(runs) == 2 and not any(run["finished"] for run in runs)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_stop_between_two_pieces_of_work_is_one_line(archive, tmp_path):
    process = start("reproduce", "--data", archive, "--out", tmp_path / "r", "--jobs", "2")
    wait_for(process, "")  # the first stage has begun
    for _ in range(3):
        process.terminate()
        time.sleep(0.1)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and said.splitlines()[-1] == "minifer reproduce: interrupted"
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def faces_of_many(tmp_path_factory):
    from minifer.data import synthetic

    path = tmp_path_factory.mktemp("many") / "faces.npz"
    splits = synthetic.load(seed=3, train=60, val=14)
    fer2013.save_npz(path, {**splits, "train": splits["train"].take(np.arange(6000) % 60)})
    return path
