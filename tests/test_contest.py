"""benchmarks/contest.py: every contestant in a process of its own, one that fails leaves, the best setting counts."""

import ast
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
FAKES = """
import os, signal, time

def fine(value=1):
    print("a library that prints to stdout")
    return {"step": lambda: value, "flavour": os.environ.get("FLAVOUR", "plain")}

def variables():
    return {"step": lambda: dict(os.environ)}

def slow():
    return {"step": lambda: time.sleep(0.05)}

def raises():
    raise RuntimeError("no compiler works\\nsecond line")

def dies():
    os.write(2, b"first words\\nlast words\\n")
    os.kill(os.getpid(), signal.SIGKILL)

def later():
    calls = []
    def step():
        calls.append(0)
        if len(calls) > 3:
            os._exit(3)
    return {"step": step}

def sleeps():
    time.sleep(60)
"""


@pytest.fixture
def bench(monkeypatch, tmp_path):
    (tmp_path / "fakes.py").write_text(FAKES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import contest
    import timing

    yield contest, timing
    for name in ("contest", "timing"):
        sys.modules.pop(name, None)


def fake(bench, name, make, **further):
    return bench[0].Contestant(name, f"fakes:{make}", {}, threads=1, **further)


def state_of(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return None


def test_workers_take_turns_and_answer(bench):
    contest, _ = bench
    ours, peer, other = (fake(bench, name, "fine", environment={"FLAVOUR": name}) for name in ("minifer", "a", "b"))
    with contest.contest([ours, peer, other, fake(bench, "dumb", "variables")], seconds=0) as running:
        workers = list(running.workers.values())
        times = running.times("step", rounds=2)
        assert list(times) == ["minifer", "a", "b", "dumb"]
        assert all(len(turns) == 2 and min(turns) >= 0 for turns in times.values())
        assert running.results("flavour") == {"minifer": "minifer", "a": "a", "b": "b"}
        assert running.results("step")["a"] == 1
        assert running.times("flavour", rounds=1) == {}  # a result, not a function
        assert len({worker._process.pid for worker in workers}) == 4
    assert running.notes == []
    assert all(worker._process.poll() is not None for worker in workers)


def test_the_best_setting_counts_and_is_named(bench):
    contest, timing = bench
    slow = contest.settings("peer", "fakes:slow", {}, 2)
    fast = contest.settings("peer", "fakes:fine", {}, 2, {"fast": {}, "faster": {"value": 2}}, ({"FLAVOUR": "sweet"},))
    assert [c.setting for c in slow + fast] == ["defaults", "fast, FLAVOUR=sweet", "faster, FLAVOUR=sweet"]
    with contest.contest([fake(bench, "minifer", "slow"), *slow, fast[0]], seconds=0) as running:
        (row,) = timing.compare("one step", running, "step", rounds=2, scale=1)
        assert running.results("flavour") == {"peer": "sweet"}
    assert (row["measure"], row["peer_name"], row["setting"]) == ("one step", "peer", "fast, FLAVOUR=sweet")
    assert row["ratio"] == row["peer"] / row["minifer"]
    assert list(row["tried"]) == ["defaults", "fast, FLAVOUR=sweet"] and row["tried"]["defaults"] >= 50


def test_a_duel_compares_all_functions(bench, monkeypatch):
    contest, _ = bench
    seconds = {"one": {"a": [1, 2, 9], "b": [3, 3, 3]}, "two": {"a": [8, 8, 8], "b": [5, 4, 5]}}  # medians 2 3, 8 5

    class Given:
        def __init__(self, contestant):
            self.contestant, self.functions, self.error, self.closed = contestant, ["one", "two"], None, False

        def close(self):
            self.closed = True

    def turns(workers, function, rounds, seconds_of_a_turn):
        return {worker: seconds[function][worker.contestant.setting] for worker in workers}

    monkeypatch.setattr(contest, "Worker", Given)
    monkeypatch.setattr(contest, "take_turns", turns)
    running = contest.Contest(seconds=1)
    for setting in "ab":
        running.add(fake(bench, "peer", "none", setting=setting))
    assert running.workers["peer"].contestant.setting == "b" and not running.workers["peer"].closed
    assert running.tried["peer"] == pytest.approx({"a": 4000, "b": 1e3 * 15**0.5})
    assert [worker.closed for worker in running._started] == [True, False]


def test_a_worker_inherits_no_setting_of_threads(bench, monkeypatch):
    contest, _ = bench
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "HOMELY"):
        monkeypatch.setenv(name, "77")
    with contest.contest([fake(bench, "minifer", "variables", environment={"OMP_PROC_BIND": "true"})]) as running:
        seen = running.results("step")["minifer"]
    assert "GOMP_SPINCOUNT" not in seen and "OMP_WAIT_POLICY" not in seen
    assert {seen[name] for name in contest.COUNTS} == {"1"}
    assert seen["OMP_PROC_BIND"] == "true" and seen["HOMELY"] == "77"


def test_who_fails_leaves_with_one_line(bench, monkeypatch, capsys):
    contest, _ = bench
    broken = contest.settings("broken", "fakes:raises", {}, 1, environments=contest.OPENMP)
    others = [fake(bench, "dead", "dies"), fake(bench, "absent", "nothing")]
    late = [fake(bench, "late", "later", setting=setting) for setting in ("first", "second")]
    with contest.contest([fake(bench, "minifer", "fine"), *broken, *others, *late], seconds=0) as running:
        with monkeypatch.context() as patch:
            patch.setattr(contest, "LIMIT", 0.5)
            running.add(fake(bench, "slow", "sleeps"))
        running.add(fake(bench, "later", "later"))
        times = running.times("step", rounds=3)
    assert list(times) == ["minifer"] and len(times["minifer"]) == 3
    assert running.notes == [
        "broken, defaults: left out: RuntimeError: no compiler works second line",  # and is not tried again
        f"dead, defaults: left out: ended with exit code {-signal.SIGKILL}: last words",
        "absent, defaults: left out: AttributeError: module 'fakes' has no attribute 'nothing'",
        "late, first: left out: ended with exit code 3",  # in their duel, both
        "late, second: left out: ended with exit code 3",
        "slow, defaults: left out: no answer in 0.5 s",
        "later, defaults: left out: ended with exit code 3",
    ]
    assert [line for line in capsys.readouterr().err.splitlines() if "left out" in line] == running.notes


def test_without_the_first_there_is_no_contest(bench):
    with pytest.raises(SystemExit, match="minifer, defaults: left out: RuntimeError: no compiler works"):
        with bench[0].contest([fake(bench, "minifer", "raises")]):
            pass


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_who_waits_is_stopped_and_goes_with_its_parent(bench):
    contest, _ = bench
    with contest.contest([fake(bench, "minifer", "variables")]) as running:
        (worker,) = running.workers.values()
        assert worker.peak_memory() > 0
        wait_for(lambda: state_of(worker._process.pid) == "T")
        assert running.results("step")
        wait_for(lambda: state_of(worker._process.pid) == "T")
    code = (
        "import contest, sys\n"
        "worker = contest.Worker(contest.Contestant('minifer', 'fakes:variables', {}, 1))\n"
        "print(worker._process.pid, flush=True)\n"
        "sys.stdin.read()"
    )
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    with subprocess.Popen(command, cwd=BENCHMARKS, stdin=pipe, stdout=pipe, text=True) as parent:
        orphan = int(parent.stdout.readline())
        wait_for(lambda: state_of(orphan) == "T")
        parent.kill()
    wait_for(lambda: state_of(orphan) in ("Z", None))


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_row_gives_medians_and_ratios_of_single_turns(bench):
    _, timing = bench
    row = timing.row("step", [2.0, 1.0, 3.0], [9.0, 3.0, 4.0], "PyTorch", setting="eager")
    assert (row["minifer"], row["peer"], row["unit"], row["ratio"], row["setting"]) == (2000, 4000, "ms", 2, "eager")
    assert row["spread"] == [1000, 3000] and row["peer_spread"] == [3000, 9000]
    assert row["ratio_spread"] == [4 / 3, 4.5]


def test_rows_without_a_peer_keep_the_form(bench, capsys):
    contest, timing = bench
    with contest.contest([fake(bench, "minifer", "fine")], seconds=0) as running:
        rows = timing.compare("step", running, "step", rounds=1)
    rows.append(timing.figure("size", 2, 3, "dlib", "MB"))
    rows.append(timing.figure("share", 0.8, 0.4, "Haar", "share", less=False))
    timing.report(rows, 2, as_json=True, notes=["PyTorch: left out"], ceiling={"memory": 1})
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"machine", "threads", "rows", "notes", "ceiling"}
    keys = {"measure", "minifer", "peer", "peer_name", "unit", "ratio"}
    assert all(keys <= set(row) for row in document["rows"])
    assert [row["ratio"] for row in document["rows"]] == [None, 1.5, 2]
    timing.report(rows, 2, as_json=False, notes=["PyTorch: left out"])
    assert capsys.readouterr().out.splitlines()[-1] == "PyTorch: left out"


def test_a_peer_meets_no_minifer():
    """Importing minifer sets GOMP_SPINCOUNT, which PyTorch's OpenMP reads too."""
    files = [path for path in BENCHMARKS.glob("*.py") if "contest" in path.read_text()]
    assert {path.stem for path in files} > {"train_step", "inference", "kernels", "detection", "landmarks", "startup"}
    for path in (*files, BENCHMARKS / "peers.py"):
        for node in ast.parse(path.read_text()).body:
            imported = [alias.name for alias in getattr(node, "names", [])] + [getattr(node, "module", None) or ""]
            assert not any(name.split(".")[0] in ("minifer", "ceilings") for name in imported), path
