"""An exported network in whole numbers of 8 bits, by ONNX Runtime's own quantizer: what it costs in accuracy.

python examples/quantize_onnx.py best --data fer2013.zip        about a minute; needs pip install -e '.[bench]'

The ranges of all maps are measured on 300 training pictures (MinMax), each weight channel has a scale of its own; what
is compared is PublicTest, which has not been used for that. The files read what the network itself reads: numbers from
-1 to 1, of a registered network those along the frame of each face.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from minifer.data.dataset import to_float
from minifer.faces.registration import registered
from minifer.interop.onnx import export_onnx
from minifer.reading import Reading, load
from minifer.trained import check_classes, check_pictures, described, find_weights, input_shape, load_weights


class Pictures(CalibrationDataReader):
    """Hands out training pictures one by one."""

    def __init__(self, pictures):
        self.left = iter(pictures)

    def get_next(self):
        """Return the next picture, or None."""
        picture = next(self.left, None)
        return None if picture is None else {"pictures": picture[np.newaxis]}


def quantize(source, target, pictures):
    """Write a quantized copy of an ONNX file."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.onnx"
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        quantize_static(
            ready, target, Pictures(pictures), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip


def measure(path, pictures, labels):
    """Return (share of right answers, milliseconds of one picture, probabilities) of an ONNX file."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    probs = np.concatenate(
        [session.run(["probabilities"], {"pictures": pictures[k : k + 64]})[0] for k in range(0, len(pictures), 64)]
    )
    times = []
    for k in range(100):
        started = time.perf_counter()
        session.run(["probabilities"], {"pictures": pictures[k % len(pictures)][np.newaxis]})
        times.append(time.perf_counter() - started)
    return (probs.argmax(axis=1) == labels).mean(), 1e3 * float(np.median(times)), probs


def main(weights, data):
    """Export, quantize, and print both."""
    weights = find_weights(weights)
    settings, classes, image_shape = described(weights)
    splits = load(data, Reading.of(settings, image_shape), needed=("train", "val"))
    train, val = splits["train"], splits["val"]
    check_classes(classes, val.classes, weights)
    check_pictures(image_shape, val, settings.register, weights)
    model, _ = load_weights(weights)
    train = train.take(slice(None, None, max(1, len(train) // 300)))
    if settings.register:
        train, val = registered(train), registered(val)
    pictures = to_float(val.images, val.frames)
    with tempfile.TemporaryDirectory() as folder:
        floats, whole = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        export_onnx(floats, model, input_shape(image_shape), floats=True)
        quantize(floats, whole, to_float(train.images, train.frames))
        answers = {}
        for name, path in (("float32", floats), ("int8", whole)):
            right, milliseconds, answers[name] = measure(path, pictures, val.labels)
            size = path.stat().st_size / 1e6
            print(f"{name:8} top-1 {right:.2%}  {milliseconds:.2f} ms a picture  {size:.2f} MB")
    same = (answers["float32"].argmax(axis=1) == answers["int8"].argmax(axis=1)).mean()
    print(f"the same class for {same:.1%} of {len(val)} pictures")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("--data", required=True)
    arguments = parser.parse_args()
    main(arguments.weights, arguments.data)
