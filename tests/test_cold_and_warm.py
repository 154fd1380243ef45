"""The process that compiles the kernels computes the same bits as a later one that loads them from the cache."""

import os
import pkgutil
import subprocess
import sys
from importlib import import_module

import numba
import pytest

import minifer


def kernels():
    """Return {module.function: compiled function} of the package."""
    found = {}
    for module in pkgutil.walk_packages(minifer.__path__, "minifer."):
        if ".kernels" in module.name:
            for name, value in vars(import_module(module.name)).items():
                if isinstance(value, numba.core.registry.CPUDispatcher):
                    found[f"{module.name}.{name}"] = value
    return found


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
def test_no_kernel_lets_the_compiler_reorder_sums():
    assert len(kernels()) > 50
    assert not [name for name, kernel in kernels().items() if kernel.targetoptions.get("fastmath")]


LANDMARKS = """
import hashlib
from minifer.data import synthetic
from minifer.faces import LandmarkPredictor
predictor, found = LandmarkPredictor.load(), hashlib.sha256()
for image in synthetic.generate(20, seed=1).images:
    found.update(predictor.predict(image, [0, 0, 48, 48]).tobytes())
print(found.hexdigest())
"""


@pytest.mark.slow
def test_two_processes_find_the_same_landmarks(tmp_path):
    """The first one compiles, the second one loads: once these kernels summed in another order when loaded."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    cold, warm = (
        subprocess.run(
            [sys.executable, "-c", LANDMARKS], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    )
    assert list(tmp_path.rglob("*.nbc"))
    assert cold == warm
