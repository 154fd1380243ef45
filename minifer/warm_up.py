"""Compiling kernels ahead, in several processes at once.

Numba compiles one kernel after another, when it is first called, and keeps it in a cache that other processes read. On
a fresh installation a command would so wait for one core alone. Here every core compiles a share of the kernels: a
process carries out the command's work on something tiny, with NumPy references in the place of the kernels that are not
its share. What it compiles is what the command calls, since it is called in the same way.
"""

import multiprocessing
import os
import sys
from contextlib import suppress
from functools import partial

from minifer import process
from minifer.kernels.cache import has_compiled

# The kernels of a training step by about how many seconds a core takes to compile them, the longest first. Those of a
# line call the same functions, which one process is to compile; the line without names stands for all others.
FAMILIES = (
    (12, ()),
    (11, ("fused_depthwise_backward", "gather_patches", "scatter_patches")),
    (11, ("fused_pointwise_forward", "fused_pointwise_backward")),
    (10, ("attention_forward", "attention_backward")),
    (7, ("fused_depthwise_forward", "depthwise_forward", "depthwise_grad_x", "depthwise_grad_weight")),
    (6, ("batch_moments", "normalize", "normalize_sums", "normalize_grad_x", "kept_sums")),
    (6, ("pointwise_forward", "pointwise_grad_x", "pointwise_grad_weight")),
    (4, ("global_average", "global_average_grad_x")),
)


class WarmUp:
    """Jobs that compile, each in a process of its own; none where they are too few, or nothing can be kept."""

    def __init__(self, jobs):
        from minifer.kernels import TEMPORARY_CACHE

        self.processes = []
        if len(jobs) < 2 or os.cpu_count() == 1 or TEMPORARY_CACHE == "":
            return
        process.say_compiling()
        spawn = multiprocessing.get_context("spawn")
        with process.without_ctrl_c():
            for job in jobs:
                self.processes.append(spawn.Process(target=alone, args=(job,), daemon=True))
                self.processes[-1].start()

    def wait(self):
        """Wait until all have ended, however they did: what they did not compile, the first call does."""
        for other in self.processes:
            other.join()


def for_training(settings):
    """Return the WarmUp of what a training calls; of nothing where that was done before on this machine."""
    from minifer.kernels import fused
    from minifer.own_code import is_target

    if is_target(settings.model) or has_compiled(fused.begin_norm.compiled):
        return WarmUp([])
    shares = [(0, ())] * os.cpu_count()
    for seconds, kernels in FAMILIES:
        least = min(shares)
        shares.remove(least)
        shares.append((least[0] + seconds, least[1] + (kernels or unnamed())))
    return WarmUp([partial(training_step, settings, kernels) for _, kernels in shares if kernels])


def unnamed():
    """Return the names of the kernels that no family names."""
    import minifer.training  # noqa: F401  (with which all kernels that training may call are there)
    from minifer.kernels.twin import TWINS

    named = {name for _, kernels in FAMILIES for name in kernels}
    return tuple(twin.name for twin in TWINS if twin.name not in named)


def for_faces(model="skip", detect=True):
    """Return the WarmUp of what finds, reads and classifies faces in a photo; of nothing where that was done."""
    from minifer.kernels import network

    known = has_compiled(network.run_network)
    return WarmUp([] if known else [partial(find_faces, detect), partial(classify, model)])


def alone(job):
    """Carry out a job in a process of its own, of which nobody hears."""
    with open(os.devnull, "w") as nowhere, suppress(Exception):
        sys.stdout = sys.stderr = nowhere
        job()


def training_step(settings, kernels):
    """Train one step on some drawn faces, as many as a step is fused for; only `kernels` are compiled."""
    from minifer import config
    from minifer.data import synthetic
    from minifer.fusion import FEW_PICTURES
    from minifer.kernels.twin import TWINS, use_kernels
    from minifer.training import fit

    tiny = config.replace(
        settings, alpha=1 / 16, epochs=1, batch_size=FEW_PICTURES, warmup=0.0, end_phase=0.0, limit=0, pretrained="",
        freeze=False, teacher="", register=False, balance="none", recalibrate=0, products="float32",
    )  # fmt: skip
    faces = synthetic.load(seed=0, train=FEW_PICTURES, val=2)
    with use_kernels({twin.name: twin.reference for twin in TWINS if twin.name not in kernels}):
        fit(tiny, faces["train"], faces["val"])


def find_faces(detect):
    """Look for a face, and for landmarks where none is, and read what lies there, for networks of both kinds."""
    import numpy as np

    from minifer.faces.crop import crop_face
    from minifer.faces.detector import FaceDetector
    from minifer.faces.landmarks import LandmarkPredictor
    from minifer.faces.registration import read_face

    picture = np.random.default_rng(0).integers(0, 256, (96, 96)).astype(np.uint8)
    if detect:
        FaceDetector.load().detect(picture)
    points = LandmarkPredictor.load().predict(picture, [16, 16, 80, 80])
    crop_face(picture, points)
    read_face(picture, points, side=8)  # small, so that the face is halved first


def classify(model):
    """Classify a blank face by a network that knows nothing."""
    import numpy as np

    from minifer.inference import InferenceNetwork
    from minifer.losses import probabilities
    from minifer.models import mobilenet

    network = InferenceNetwork(mobilenet(model, alpha=1 / 16), (48, 48, 1))
    probabilities(network(np.zeros((1, 48, 48, 1), np.float32)))
