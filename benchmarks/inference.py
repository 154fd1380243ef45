"""How fast is inference? minifer's InferenceNetwork against ONNX Runtime and PyTorch, each in processes of its own.

python benchmarks/inference.py [--threads 2] [--json] [--rounds 9] [--no-compile]

The plain network at alpha 1 on 48x48 pictures, batch 1 and batch 32. PyTorch exports its twin to ONNX Runtime. Of both
the best setting counts: of PyTorch eager or compiled and OpenMP's, of ONNX Runtime how its threads wait and how many.
Where the processor can multiply bytes, these are compared with minifer's own float32: other numbers, not a rival's.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from contest import OPENMP, Contestant, Worker, WorkerError, contest, settings
from timing import compare, report, start
from train_step import twin_of

PLAIN = ("plain", 1.0, ())


def folded(batch, products="float32"):
    """Return a call of minifer's folded network."""
    from minifer.inference import InferenceNetwork
    from minifer.models import mobilenet

    network = InferenceNetwork(mobilenet("plain"), (48, 48, 1), products=products)
    images = np.random.default_rng(0).standard_normal((batch, 48, 48, 1)).astype(np.float32)
    return {"run": lambda: network(images)}


def onnx_runtime(path, batch, threads, spin):
    """Return a call of the network in an ONNX file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", spin)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).standard_normal((batch, 1, 48, 48)).astype(np.float32)
    return {"run": lambda: session.run(None, {"pictures": images})}


def export(folder, batch):
    """Let a process of PyTorch write the network's ONNX file; return its path."""
    path = str(Path(folder) / f"plain{batch}.onnx")
    arguments = {"network": twin_of(*PLAIN), "batch": batch, "path": path}
    Worker(Contestant("PyTorch", "peers:export_onnx", arguments, threads=1)).close()
    return path


def pytorch(batch, args):
    """Return every setting of PyTorch."""
    programs = {"eager": {}} if args.no_compile else {"eager": {}, "compiled": {"compiled": True}}
    twin = {"network": twin_of(*PLAIN), "batch": batch}
    return settings("PyTorch", "peers:inference", twin, args.threads, programs, OPENMP)


def runtime(batch, path, threads):
    """Return every setting of ONNX Runtime."""
    programs = {"threads spin": {"spin": "1"}, "threads sleep": {"spin": "0"}}
    if threads == os.cpu_count():  # left to itself it takes a thread for each core, and ties it to that core
        programs["threads tied to cores"] = {"spin": "1", "threads": 0}
    arguments = {"path": path, "batch": batch, "threads": threads}
    return settings("ONNX Runtime", "inference:onnx_runtime", arguments, threads, programs)


def of_bytes(batch, args):
    """Return a list of one row, products of bytes against those of float32; of none where they are not to be had."""
    from minifer.kernels.vectors import HAS_OCTETS

    if not HAS_OCTETS:
        return []
    ours = [
        Contestant(name, "inference:folded", {"batch": batch, "products": products}, args.threads)
        for name, products in (("minifer", "int8"), ("minifer, float32", "float32"))
    ]
    with contest(ours) as running:
        return compare(f"inference with products of bytes, batch {batch}", running, "run", args.rounds)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    args = start(parser)
    rows, notes = [], []
    with tempfile.TemporaryDirectory() as folder:
        for batch in (1, 32):
            contestants = [Contestant("minifer", "inference:folded", {"batch": batch}, args.threads)]
            contestants += pytorch(batch, args)
            try:
                contestants += runtime(batch, export(folder, batch), args.threads)
            except WorkerError as error:
                notes.append(f"ONNX Runtime: left out: PyTorch writes no file for it: {error}")
            with contest(contestants) as running:
                rows += compare(f"inference, plain, alpha 1, batch {batch}", running, "run", args.rounds)
            notes += running.notes
            rows += of_bytes(batch, args)
    report(rows, args.threads, args.json, notes)


if __name__ == "__main__":
    main()
