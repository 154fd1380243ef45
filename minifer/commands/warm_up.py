"""Compile the kernels of training, detection and prediction ahead, on every core: once on a machine, within a minute.

Each command compiles by itself what it calls first, and finds it compiled from then on. This does it beforehand, for
the machines of a classroom or the image of a container.
"""


def add_arguments(parser):
    """There are no flags."""


def run(args):
    """Compile, and say how long it took."""
    import time

    from minifer import config, warm_up
    from minifer.errors import MiniferError
    from minifer.kernels import TEMPORARY_CACHE, activation

    if TEMPORARY_CACHE == "":
        raise MiniferError("compiled kernels cannot be kept: no folder for them can be written to")
    started = time.perf_counter()
    for warming in (warm_up.for_training(config.PRESETS["demo"]), warm_up.for_faces("mha")):
        warming.wait()
    folder = activation.softmax_forward.compiled.stats.cache_path
    print(f"kernels are compiled, in {time.perf_counter() - started:.0f} s: {folder}")
