"""Print what decides how minifer runs here: versions, processor, threads, vector width, cache folders."""


def add_arguments(parser):
    """There are no flags."""


def run(args):
    """Print one line per fact."""
    import os
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import llvmlite.binding
    import numba
    import numpy as np

    from minifer import __version__
    from minifer.files.cache import cache_folder
    from minifer.kernels import elementwise
    from minifer.kernels.memory import keep_freed_pages
    from minifer.kernels.threads import threads
    from minifer.kernels.vectors import HAS_BFLOAT16, HAS_OCTETS, VECTOR_BYTES
    from minifer.weights import check

    def installed(name):
        try:
            return version(name)
        except PackageNotFoundError:
            return "not installed"

    elementwise.add(np.ones(8, np.float32), np.ones(8, np.float32))  # the threading layer is known after first use
    libraries = ("numpy", "numba", "llvmlite", "scipy", "scikit-learn", "scikit-image", "imbalanced-learn")
    facts = {
        "python": platform.python_version(),
        "minifer": __version__,
        **{name: installed(name) for name in libraries},
        "processor": llvmlite.binding.get_host_cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads(),
        "threading layer": numba.threading_layer(),
        "vector width": f"{VECTOR_BYTES} bytes" if VECTOR_BYTES else "plain loops (no fused multiply-add)",
        "bfloat16 products": "yes (--products bfloat16)" if HAS_BFLOAT16 else "no",
        "int8 products": "yes (evaluate --products int8)" if HAS_OCTETS else "no",
        "freed pages kept": "yes" if keep_freed_pages() else "no (not glibc)",
        "compiled kernels": "nowhere: the JIT is off" if numba.config.DISABLE_JIT else place_of_kernels(),
        "data cache": cache_folder(),
        "shipped weights": ", ".join(f"{name} {state}" for name, state in check().items()),
    }
    for name, value in facts.items():
        print(f"{name:18} {value}")


def place_of_kernels():
    """Say where compiled kernels are kept; see minifer/kernels/cache.py."""
    from minifer.kernels import TEMPORARY_CACHE, activation

    why = "neither the package nor the home folder can be written to"
    if TEMPORARY_CACHE == "":
        return f"not kept: {why}, nor a temporary one"
    folder = activation.clip_forward.compiled.stats.cache_path
    return f"{folder} (temporary: {why})" if TEMPORARY_CACHE else folder
