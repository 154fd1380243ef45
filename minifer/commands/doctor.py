"""Print what decides how minifer runs here: versions, processor, threads, vector width, cache folders."""


def add_arguments(parser):
    """There are no flags."""


def run(args):
    """Print one line per fact."""
    import os
    import platform
    from importlib.metadata import version

    import llvmlite.binding
    import numba
    import numpy as np

    from minifer.data.fer2013 import cache_folder
    from minifer.kernels import elementwise
    from minifer.kernels.memory import keep_freed_pages
    from minifer.kernels.threads import threads
    from minifer.kernels.vectors import VECTOR_BYTES
    from minifer.weights import check

    elementwise.add(np.ones(8, np.float32), np.ones(8, np.float32))  # the threading layer is known after first use
    libraries = ("minifer", "numpy", "numba", "llvmlite", "scipy", "scikit-learn", "scikit-image", "imbalanced-learn")
    facts = {
        "python": platform.python_version(),
        **{name: version(name) for name in libraries},
        "processor": llvmlite.binding.get_host_cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads(),
        "threading layer": numba.threading_layer(),
        "vector width": f"{VECTOR_BYTES} bytes" if VECTOR_BYTES else "plain loops (no fused multiply-add)",
        "freed pages kept": "yes" if keep_freed_pages() else "no (not glibc)",
        "compiled kernels": numba.config.CACHE_DIR or "__pycache__ folders beside the sources",
        "data cache": cache_folder(),
        "shipped weights": ", ".join(f"{name} {state}" for name, state in check().items()),
    }
    for name, value in facts.items():
        print(f"{name:18} {value}")
