import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several processes share the cores: a thread that waits sleeps at once. The process that started this one has
    # imported minifer already, which chose for itself alone on the machine.
    os.environ["GOMP_SPINCOUNT"] = "1000"

import minifer.kernels  # noqa: F401  (sets up memory before anything is measured)
from minifer.data import fer2013, synthetic

ROOT = Path(__file__).parents[1]
FER2013 = ROOT.parent / "shared" / "data" / "fer2013.zip"


def pytest_sessionstart(session):
    """Let every core compile a share of the kernels once, before several processes compile each the same ones."""
    workers = getattr(session.config.option, "numprocesses", None)
    if workers and not numba.config.DISABLE_JIT:
        subprocess.run([sys.executable, "-m", "minifer", "warm-up"], capture_output=True, check=False)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keep the user's cache folder out of the tests; real data stays cached for the whole session."""
    if "MINIFER_CACHE" not in os.environ:
        folder = tmp_path_factory.getbasetemp() / "minifer-cache"
        monkeypatch.setenv("MINIFER_CACHE", str(folder))


@pytest.fixture(scope="session")
def fer2013_zip():
    if not FER2013.exists():
        pytest.skip(f"the real archive is not at {FER2013}")
    return FER2013


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """An .npz of drawn faces, with the splits train and val."""
    path = tmp_path_factory.mktemp("data") / "faces.npz"
    fer2013.save_npz(path, synthetic.load(seed=3, train=48, val=30))
    return path
