"""The process that compiles the kernels computes the same bits as a later one that loads them from the cache."""

import pkgutil
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
