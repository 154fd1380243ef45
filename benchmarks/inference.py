"""How fast is inference? minifer's InferenceNetwork against ONNX Runtime and PyTorch, in turns, on the same network.

python benchmarks/inference.py [--threads 2] [--json] [--rounds 9]

The plain network at alpha 1 on 48x48 pictures, batch 1 and batch 32. PyTorch exports its twin to ONNX Runtime.
"""

import argparse
import io

import numpy as np
from timing import alternate, report, row, start

from minifer.inference import InferenceNetwork
from minifer.models import mobilenet


def onnx_runtime(net, batch, threads):
    """Return a function that runs the PyTorch network in ONNX Runtime, or None where that is not installed."""
    try:
        import onnxruntime
        import torch
    except ImportError:
        return None
    file = io.BytesIO()
    pictures = torch.zeros(batch, 1, 48, 48)
    torch.onnx.export(net.eval(), (pictures,), file, opset_version=17, dynamo=False, input_names=["pictures"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    given = {"pictures": pictures.numpy()}
    return lambda: session.run(None, given)


def torch_eager(net, batch):
    """Return a function that runs the PyTorch network, channels last, without gradients."""
    import torch

    pictures = torch.zeros(batch, 1, 48, 48).contiguous(memory_format=torch.channels_last)

    def run():
        with torch.inference_mode():
            return net(pictures)

    return run


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args, torch = start(parser)
    rng, rows = np.random.default_rng(0), []
    network = InferenceNetwork(mobilenet("plain"), (48, 48, 1))
    for batch in (1, 32):
        images = rng.standard_normal((batch, 48, 48, 1)).astype(np.float32)
        contestants = {"minifer": lambda images=images: network(images)}
        if torch:
            from peers import torch_mobilenet

            peer = torch_mobilenet("plain", 1.0).eval()
            contestants["torch eager"] = torch_eager(peer, batch)
            contestants["onnxruntime"] = onnx_runtime(peer, batch, args.threads)
        times = alternate({name: run for name, run in contestants.items() if run}, args.rounds)
        for name in [name for name in times if name != "minifer"]:
            rows.append(row(f"inference, plain, alpha 1, batch {batch}", times["minifer"], times[name], name))
    report(rows, args.threads, args.json)


if __name__ == "__main__":
    main()
