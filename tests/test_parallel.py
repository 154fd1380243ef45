"""Training in blocks: the same bits for any number of ranks, and what becomes of the others when one ends."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numba
import numpy as np
import pytest
from ranks import CASES, whole_list
from small_runs import TINY, Silent, flags, run

from minifer import config
from minifer.data import synthetic
from minifer.layers import BatchNorm, GlobalAveragePool, Linear, Sequential
from minifer.parallel import ALONE
from minifer.training import Training

TESTS = Path(__file__).parent
MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
needs_mpi = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec("mpi4py") is None, reason="needs mpi4py and mpiexec"
)


def start(ranks, *command, **how):
    """Start a command of Python on so many ranks, of one thread each."""
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    settings = {**os.environ, "NUMBA_NUM_THREADS": "1", "PYTHONPATH": paths}
    launcher = [MPIEXEC, "-n", str(ranks)] if ranks else []
    return subprocess.Popen([*launcher, sys.executable, *map(str, command)], env=settings, text=True, **how)


def ended(process):
    """Return (exit code, stdout, stderr) of a process that was started with pipes."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Keep a core for the processes that the tests start."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


@pytest.fixture(scope="module")
def everybody():
    """What every rank ends with, {number of ranks: [for each rank]}; one rank is this process."""
    found = {1: [json.loads(json.dumps(whole_list(ALONE)))]}
    for ranks in (2, 4):
        code, out, err = ended(start(ranks, TESTS / "ranks.py", stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        assert code == 0, err
        found[ranks] = json.loads(out)
    return found


@needs_mpi
@pytest.mark.parametrize("case", ["datasets", *CASES])
def test_every_number_of_ranks_ends_with_the_same_bits(case, everybody):
    alone = everybody[1][0][case]
    for ranks, found in everybody.items():
        assert len(found) == ranks
        assert [one[case] for one in found] == [alone] * len(found)
    if case in CASES:
        assert alone[2] == 20  # steps


# What a block is.


def normalized(input_shape, classes, rng):
    return Sequential(BatchNorm(1), GlobalAveragePool(), Linear(1, classes, rng=rng))


def unnormalized(input_shape, classes, rng):
    return Sequential(GlobalAveragePool(), Linear(1, classes, rng=rng))


@pytest.fixture(scope="module")
def faces():
    return synthetic.load(seed=3, train=19, val=8)


def begun(faces, network, blocks, **changes):
    settings = config.TrainConfig(
        epochs=1, batch_size=16, batch_blocks=blocks, flip=False, schedule="constant", **changes
    )
    return Training(settings, faces["train"], faces["val"], network)


@pytest.mark.parametrize("blocks", [2, 4, 32])
@pytest.mark.parametrize("step", [0, 1])
def test_gradient_and_loss_are_those_of_the_batch_where_nothing_normalizes(faces, blocks, step):
    """Also where the blocks have unlike numbers of rows, or none: the last batch has 3 rows, the others 16."""
    whole, parts = begun(faces, unnormalized, 1), begun(faces, unnormalized, blocks)
    rows = list(whole.batches.steps(0))[step]
    assert len(rows) == (16, 3)[step]
    loss, right = whole.gradients(rows, 0, step)
    loss_of_blocks, right_of_blocks = parts.gradients(rows, 0, step)
    assert right_of_blocks == right
    assert loss_of_blocks == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(parts.optimizer.flat.grad, whole.optimizer.flat.grad, rtol=1e-4, atol=1e-7)


def test_running_statistics_move_once_to_the_mean_over_the_blocks(faces):
    training = begun(faces, normalized, 4)
    rows = next(training.batches.steps(0))
    x, _ = training.batches.read(rows, 0)
    norm = next(layer for _, layer in training.model.walk() if isinstance(layer, BatchNorm))
    training.gradients(rows, 0, 0)
    means = [part.mean() for part in np.split(x, 4)]
    variances = [part.var() for part in np.split(x, 4)]
    np.testing.assert_allclose(norm.running_mean.value, 0.1 * np.mean(means), rtol=1e-5)
    np.testing.assert_allclose(norm.running_var.value, 0.9 + 0.1 * np.mean(variances), rtol=1e-5)
    assert norm.running_var.value != pytest.approx(0.9 + 0.1 * x.var(), rel=1e-5)


def test_dropout_is_another_in_every_block_and_the_same_on_another_day(faces):
    settings = config.replace(TINY, batch_blocks=2, dropout=0.5)
    masks = []
    for _ in range(2):
        training = Training(settings, faces["train"], faces["val"])
        (dropout,) = training.dropouts
        kept, forward = [], dropout.forward

        def noting(x, training, kept=kept, forward=forward):
            y = forward(x, training=training)
            kept.append(y[:1] != 0)
            return y

        dropout.forward = noting
        for step, rows in enumerate(training.batches.steps(0)):
            training.gradients(rows[:2], 0, step)
        masks.append(kept)
    np.testing.assert_array_equal(*masks)
    assert len({mask.tobytes() for mask in masks[0]}) == len(masks[0]) == 4


# Ranks that end.

FLAGS = list(flags(config.replace(TINY, batch_blocks=4)))


@needs_mpi
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the other ranks in /proc")
def test_a_killed_rank_ends_all_and_the_run_goes_on_with_another_number(archive, tmp_path, capsys):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    command = ["train", "--data", archive, *FLAGS, "--out"]
    assert run(capsys, *command, whole)[0] == 0
    process = start(2, "-m", "minifer", *command, broken, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (broken / "last.npz").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    first = int((broken / ".lock").read_text())
    others = [other for other in map(int, filter(str.isdigit, os.listdir("/proc"))) if parent(other) == parent(first)]
    others.remove(first)
    os.kill(*others, signal.SIGKILL)
    assert process.wait(timeout=10) != 0
    assert not Path(f"/proc/{first}").exists()
    code, _, err = ended(start(4, "-m", "minifer", "train", "--resume", broken, stderr=subprocess.PIPE))
    assert code == 0, err
    assert (broken / "best.npz").read_bytes() == (whole / "best.npz").read_bytes()


def parent(process):
    """Return the number of the process that started one, or None where it has ended."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


@needs_mpi
def test_what_is_wrong_is_said_once(tmp_path):
    command = ("-m", "minifer", "train", "--preset", "demo", "--batch-blocks", "4", "--out", tmp_path / "run")
    code, out, err = ended(start(3, *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "3 ranks" in err and "1, 2 or 4" in err
    assert not (tmp_path / "run").exists()


def test_mpiexec_without_mpi4py_is_one_line(monkeypatch, capsys):
    for name, value in {"PMI_RANK": "0", "PMI_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    code, out, err = run(capsys, "train", "--batch-blocks", 2)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "pip install mpi4py mpich" in err
    code, _, err = run(capsys, "cost")
    assert code == 2 and "only minifer train" in err


def test_mpi_is_not_imported_without_mpiexec(faces):
    code = "import sys; from minifer.parallel import find_ranks; find_ranks(); print('mpi4py' in sys.modules)"
    assert ended(start(0, "-c", code, stdout=subprocess.PIPE))[1].strip() == "False"


def test_a_run_in_blocks_stops_at_a_step_and_goes_on_to_the_same_bits(faces, tmp_path):
    settings = config.replace(TINY, batch_blocks=4, batch_size=8)
    whole = Training(settings, faces["train"], faces["val"])
    whole.run(Silent())
    first = Training(settings, faces["train"], faces["val"])
    observer = Silent(tmp_path)
    assert not first.run(observer, lambda: observer.steps >= 5)
    first.save(tmp_path)
    second = Training(settings, faces["train"], faces["val"])
    second.restore(tmp_path)
    second.run(Silent())
    for name, array in whole.model.state().items():
        np.testing.assert_array_equal(second.model.state()[name], array)
