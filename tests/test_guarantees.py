"""What README guarantees: every sentence of its section has a test here or names where it is."""

import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from minifer import config
from minifer.data import synthetic
from minifer.training import Observer, Training, fit, predict

TESTS = Path(__file__).parent


def in_threads(*functions):
    """Run functions at the same time, a thread each; return their results."""
    results, ready = {}, threading.Barrier(len(functions))

    def run(k):
        ready.wait()
        results[k] = functions[k]()

    started = [threading.Thread(target=run, args=(k,)) for k in range(len(functions))]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return [results[k] for k in range(len(functions))]


LAYERS = {"omp": "omppool", "workqueue": "workqueue"}


def test_any_number_of_threads_get_the_answers_of_one_with_every_threading_layer():
    found = {}
    for layer, module in LAYERS.items():
        if find_spec(f"numba.np.ufunc.{module}"):
            run = subprocess.run(
                [sys.executable, TESTS / "many_threads.py", "110"],  # twice 522 calls, from 4 threads and from 16
                env={**os.environ, "NUMBA_THREADING_LAYER": layer}, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert run.returncode == 0, run.stderr
            used, found[layer] = run.stdout.split()
            assert used == layer
    assert len(set(found.values())) == 1, "every layer computes the same bits"


TINY = config.replace(config.PRESETS["demo"], alpha=1 / 16, epochs=1, heads=2, head_units=4)


def test_two_threads_train_two_networks_to_the_bits_of_one():
    splits = synthetic.load(seed=0, train=96, val=32)

    def train(seed):
        return fit(config.replace(TINY, seed=seed), splits["train"], splits["val"]).model.state()

    for seed, state in zip((1, 2), in_threads(lambda: train(1), lambda: train(2)), strict=True):
        for path, array in train(seed).items():
            np.testing.assert_array_equal(state[path], array, err_msg=path)


def test_other_threads_may_predict_with_a_network_in_training():
    """They see weights of some step, and neither they nor the training are disturbed."""
    splits = synthetic.load(seed=0, train=96, val=32)
    alone = fit(TINY, splits["train"], splits["val"]).model.state()
    training = Training(TINY, splits["train"], splits["val"])
    done = threading.Event()

    def train():
        try:
            training.run(Observer())
            training.stopping.restore(training.model)
        finally:
            done.set()

    def watch():
        probs = []
        while not done.is_set():
            probs.append(predict(training.model, splits["val"].images[:5]))
        return probs

    _, *seen = in_threads(train, watch, watch)
    assert all(np.isfinite(p).all() and p.shape == (5, 7) for probs in seen for p in probs) and all(seen)
    for path, array in alone.items():
        np.testing.assert_array_equal(training.model.state()[path], array, err_msg=path)
