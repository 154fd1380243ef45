"""Kernels that are compiled ahead, shared out over the cores."""

import os
import subprocess
import sys

import numba
import pytest
from PIL import Image

import minifer.training  # noqa: F401  (brings all kernels of training)
from minifer import config, warm_up
from minifer.data import synthetic
from minifer.kernels.twin import TWINS

pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")


def test_every_kernel_of_training_has_its_place():
    named = [name for _, kernels in warm_up.FAMILIES for name in kernels]
    assert set(named) <= {twin.name for twin in TWINS} and len(set(named)) == len(named)
    assert {*named, *warm_up.unnamed()} == {twin.name for twin in TWINS}


def test_the_shares_are_all_kernels_and_meet_nowhere(monkeypatch):
    shares = []
    monkeypatch.setattr(warm_up, "WarmUp", shares.extend)
    monkeypatch.setattr(warm_up, "has_compiled", lambda kernel: False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    warm_up.for_training(config.PRESETS["demo"])
    kernels = [name for share in shares for name in share.args[1]]
    assert len(shares) == 4 and sorted(kernels) == sorted(twin.name for twin in TWINS)


@pytest.mark.parametrize("model", ["skip", "mha", "v3-small"])
def test_a_step_calls_the_references_of_what_is_not_in_its_share(model, monkeypatch):
    called = set()

    def watched(twin):
        return lambda *args: (called.add(twin.name), twin.reference(*args))[1]

    for twin in TWINS:
        monkeypatch.setattr(twin, "compiled", watched(twin))
    warm_up.training_step(config.TrainConfig(model=model), ("normalize", "adam_update"))
    assert called == {"normalize", "adam_update"}


def test_a_process_that_compiles_needs_others():
    assert warm_up.WarmUp([print]).processes == []
    assert warm_up.WarmUp([]).processes == []


@pytest.mark.slow
def test_after_it_predict_compiles_nothing(tmp_path):
    """From an empty cache; a drawn face, and a network with attention."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    code = "from minifer import warm_up; warm_up.for_faces().wait()"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    picture = tmp_path / "face.png"
    Image.fromarray(synthetic.generate(1, seed=1).images[0]).resize((192, 192)).save(picture)
    command = [sys.executable, "-m", "minifer", "predict", str(picture)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ("compiling kernels" in done.stderr) == (os.cpu_count() == 1)
