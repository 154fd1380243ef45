"""Sweeps and other independent work: the same bits wherever it is done, and what fails does not end the rest."""

import csv
import os
import signal
import time

import numpy as np
import pytest
from small_runs import SHORT, run

from minifer import config, jobs
from minifer.data import fer2013, synthetic
from minifer.errors import ConfigError, MiniferError
from minifer.faces.prepare import process
from minifer.jobs import run_jobs
from minifer.kernels.threads import threads
from minifer.run_folder import is_evaluated, write_settings
from minifer.runs import train_once
from minifer.sweep import parse_changes, train_arm
from minifer.training import Training

START = ["sweep", "--preset", "quick", "--set", "epochs=1", "--set", "alpha=.0625", "--seeds", 2]
GRID = ["--set", "rate=1e-3,3e-3"]
RESULT = {"top1": 0.5, "balanced_accuracy": 0.5}, [1.0]  # what train_once returns


def weights(folder):
    """Return the bytes of all weights of a sweep, by the name of the run."""
    return {path.parent.name: path.read_bytes() for path in folder.glob("*/best.npz")}


@pytest.fixture(scope="module")
def swept(archive, tmp_path_factory):
    """A sweep, one run after the other."""
    from minifer.cli import main

    folder = tmp_path_factory.mktemp("swept")
    assert main([str(a) for a in (*START, *GRID, "--data", archive, "--out", folder)]) == 0
    return folder


def test_the_table_has_a_row_for_every_arm_with_mean_and_spread(swept):
    with open(swept / "table.csv", newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert {row["learning_rate"] for row in rows} == {"0.001", "0.003"}
    assert len(weights(swept)) == 4
    for row in rows:
        found = []
        for seed in (0, 1):
            name = f"learning_rate={row['learning_rate']}_seed={seed}"
            settings, _ = config.read(swept / name / "config.json")
            assert (settings.seed, settings.alpha, settings.epochs) == (seed, 0.0625, 1)
            with open(swept / name / "metrics.csv", newline="", encoding="utf-8-sig") as file:
                found.append(100 * float(list(csv.DictReader(file))[-1]["val_top1"]))
        top1, spread = float(row["top-1 %"]), float(row["spread of top-1 %"])
        assert top1 == pytest.approx(np.mean(found), abs=0.006)
        assert spread == pytest.approx(np.std(found, ddof=1), abs=0.006)
    assert (swept / "arms.png").stat().st_size > 5000


def test_two_processes_make_the_same_files(swept, archive, tmp_path, capsys):
    code, out, _ = run(capsys, *START, *GRID, "--data", archive, "--out", tmp_path, "--jobs", 2)
    assert code == 0 and len(out.splitlines()) == 3
    assert weights(tmp_path) == weights(swept)
    assert (tmp_path / "table.csv").read_bytes() == (swept / "table.csv").read_bytes()


def test_what_fails_is_named_and_ends_nothing_else(archive, tmp_path, capsys):
    grid = ["--set", "pretrained=,/there/is/none.npz", "--data", archive, "--out", tmp_path]
    code, _, err = run(capsys, *START, *grid)
    assert code == 1
    assert len(weights(tmp_path)) == 2
    assert err.count("pretrained=/there/is/none.npz") == 2 and "2 of 4 runs failed" in err
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/best.npz")}
    assert run(capsys, *START, *grid)[0] == 1
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/best.npz")}  # not trained again


def test_the_runs_of_a_sweep_are_those_of_train(archive, tmp_path, capsys, monkeypatch):
    """What train refuses is refused before the first run; paths are read as train reads them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    code, _, err = run(capsys, *START, "--set", "freeze=no,yes", "--data", archive, "--out", "swept")
    assert code == 2 and "--freeze keeps what --pretrained brings" in err and not list(tmp_path.glob("swept/*/*"))
    teachers = "--set", "teacher=~/told.csv;here/told.csv"
    monkeypatch.setattr("minifer.sweep.train_once", lambda folder, settings, *_, **__: seen.append(settings) or RESULT)
    seen = []
    assert run(capsys, *START, *teachers, "--data", archive, "--out", "taught")[0] == 0
    assert {s.teacher for s in seen} == {str(tmp_path / "told.csv"), str(tmp_path / "here" / "told.csv")}


@pytest.mark.filterwarnings("error::UserWarning")  # such as that of a picture with no room beside its names
def test_a_long_value_makes_no_folder_that_cannot_be(archive, tmp_path, capsys, monkeypatch):
    """Each of the two has a folder of its own."""
    monkeypatch.setattr("minifer.sweep.train_once", lambda folder, *_, **__: folders.append(folder) or RESULT)
    folders, long = [], "/".join(["a-teacher-in-a-deep-folder"] * 12)
    grid = ["--set", f"teacher={long}/a.csv;{long}/b.csv"]
    assert run(capsys, *START, *grid, "--data", archive, "--out", tmp_path)[0] == 0
    assert len({folder.name for folder in folders}) == 4 and max(len(folder.name) for folder in folders) < 200


def test_an_evaluation_that_lacks_a_figure_is_that_of_a_run_that_failed(tmp_path, archive):
    write_settings(tmp_path, SHORT, archive)
    (tmp_path / "evaluation.json").write_text('{"top1": 0.5}')
    (tmp_path / "metrics.csv").write_text("train_loss\n1.5\n")
    assert train_arm(tmp_path, SHORT, archive).endswith("evaluation.json: 'balanced_accuracy' is missing")


def test_a_run_of_other_settings_or_data_is_not_taken_for_this_one(swept, archive, tmp_path, capsys):
    table = (swept / "table.csv").read_bytes()
    other = tmp_path / "other.npz"
    fer2013.save_npz(other, synthetic.load(seed=4, train=24, val=12))
    longer = [argument if argument != "epochs=1" else "epochs=2" for argument in START]
    for begin, data in ((longer, archive), (START, other)):
        code, _, err = run(capsys, *begin, *GRID, "--data", data, "--out", swept)
        assert code == 2 and err.count("\n") == 1 and "was trained with other settings or data" in err
        assert (swept / "table.csv").read_bytes() == table


def test_settings_are_read_as_what_they_are():
    changes = parse_changes(["rate=1e-3,.003", "min-rate=0", "blocks=even", "flip=no,yes,no", "epochs=3"])
    assert changes == {
        "learning_rate": [0.001, 0.003],
        "min_learning_rate": [0.0],
        "blocks": ["even"],
        "flip": [False, True],
        "epochs": [3],
    }
    blocks = "32,64/2,128/2*3"
    assert parse_changes([f"blocks={blocks};"]) == {"blocks": [blocks]}
    assert parse_changes([f"blocks={blocks};even", "merge=a+b"]) == {"blocks": [blocks, "even"], "merge": ["a+b"]}
    assert parse_changes(["blocks=published,even"]) == {"blocks": ["published", "even"]}
    with pytest.raises(ConfigError, match="part several by semicolons"):
        parse_changes([f"blocks={blocks}"])
    with pytest.raises(ConfigError, match="learning_rate is set twice"):
        parse_changes(["rate=1", "learning-rate=2"])
    for wrong in (
        "alpha",
        "alpha=",
        "alpha=wide",
        "epochs=1.5",
        "optimizer=magic",
        "flip=perhaps",
        "seed=1",
        "width=2",
    ):
        with pytest.raises(ConfigError, match=wrong.split("=")[0]):
            parse_changes([wrong])


# Where the work is done.


def test_a_signal_in_the_last_epoch_lets_the_run_end_and_no_other_begin(archive, tmp_path, monkeypatch):
    run = Training.run

    def run_then_signal(*args):
        finished = run(*args)
        signal.raise_signal(signal.SIGINT)
        return finished

    monkeypatch.setattr(Training, "run", run_then_signal)
    with pytest.raises(KeyboardInterrupt):
        list(run_jobs(train_once, [(tmp_path / name, SHORT, archive, archive, True) for name in "ab"]))
    assert is_evaluated(tmp_path / "a") and not (tmp_path / "b").exists()


def end_own_process(number):
    """Be stopped by a signal that the process at the head has not had."""
    signal.raise_signal(signal.SIGTERM)
    return number


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_process_that_is_stopped_alone_is_told():
    with pytest.raises(MiniferError, match="a process was ended from outside"):
        list(run_jobs(end_own_process, [(k,) for k in range(3)], 2))


def fail_or_save(number, folder):
    """Fail once the other has begun, or wait until a signal comes, and save."""
    if number == 0:
        while not (folder / "begun").exists():
            time.sleep(0.01)
        raise MiniferError("the disk is full")
    try:
        (folder / "begun").touch()
        time.sleep(60)
    except KeyboardInterrupt:
        (folder / "saved").touch()
        raise


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.skipif(os.cpu_count() == 1, reason="wants two processes")
def test_when_one_fails_the_others_save_and_the_error_is_told(tmp_path):
    with pytest.raises(MiniferError, match="the disk is full") as told:
        list(run_jobs(fail_or_save, [(k, tmp_path) for k in range(3)], 2))
    assert (tmp_path / "saved").exists()
    assert "in fail_or_save" in str(told.value.__cause__)


def fail(number):
    raise MiniferError(f"no number is right, {number} least of all")


def three_halves(number):
    return number * 3 / 2


def test_jobs_give_every_result_with_its_number():
    assert dict(run_jobs(three_halves, [(k,) for k in range(5)], 1)) == {k: k * 1.5 for k in range(5)}


def threads_there(number):
    return threads()


def test_processes_share_the_threads_that_this_one_may_have(monkeypatch):
    """--threads 1 is for a machine that others use, too."""
    before = threads()
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    try:
        threads(1)
        assert dict(run_jobs(threads_there, [(k,) for k in range(2)], 2)) == {0: 1, 1: 1}
    finally:
        threads(before)


@pytest.fixture(scope="module")
def cluster():
    """The address of a Dask scheduler with two workers, processes of their own."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, worker_dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address


def test_a_cluster_sweeps_to_the_same_files(cluster, swept, archive, tmp_path, capsys):
    code, _, err = run(capsys, *START, *GRID, "--data", archive, "--out", tmp_path, "--scheduler", cluster)
    assert code == 0, err
    assert weights(tmp_path) == weights(swept)
    assert (tmp_path / "table.csv").read_bytes() == (swept / "table.csv").read_bytes()


def test_a_cluster_prepares_the_same_crops(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("minifer.faces.prepare.TOGETHER", 6)
    images = synthetic.load(seed=1, train=12, val=1)["train"].images
    crops, scores = process(images, tmp_path / "here", False, 0.02, 1)
    crops_there, scores_there = process(images, tmp_path / "there", False, 0.02, 1, cluster)
    np.testing.assert_array_equal(crops_there, crops)
    np.testing.assert_array_equal(scores_there, scores)


def test_no_scheduler_is_one_line(tmp_path, capsys, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(jobs, "PATIENCE", "1s")
    code, _, err = run(capsys, *START, "--out", tmp_path / "run", "--scheduler", "tcp://127.0.0.1:9")
    assert code == 2 and err.count("\n") == 1 and "127.0.0.1:9" in err


def test_what_fails_on_a_cluster_is_told(cluster):
    with pytest.raises(MiniferError, match="no number is right"):
        list(run_jobs(fail, [(k,) for k in range(3)], 1, cluster))
