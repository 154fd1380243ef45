"""Networks as ONNX files, which other tools and other languages run.

    pictures (N,H,W,C) uint8 -> x / 127.5 - 1 -> the network -> logits (N,K) -> softmax -> probabilities (N,K)

The number of pictures is open. What the network is and how its pictures were made stands in the file's metadata, as
JSON. A network trained on registered faces reads faces sampled along their frames (see faces.registration), which is
done before: such a file takes floats from -1 to 1, as data.dataset.to_float returns them.

Opset 17 is what every runtime of the last years reads; it is the first with layer normalization.
"""

import importlib.util
import json

import numpy as np

from minifer.errors import ConfigError, MiniferError
from minifer.files import replacing
from minifer.interop.onnx_layers import LAYERS
from minifer.interop.tracing import BATCH, Graph, Value, follow
from minifer.losses import probabilities

OPSET, IR = 17, 8
MOST_DIFFERENCE = 1e-5  # of logits, times the largest of them or 1: what rounding in another order of sums does
MOST_PROBABILITY = 2e-6
COMPARED = 8  # pictures


def to_onnx(model, input_shape, description=None, floats=False):
    """Return the onnx.ModelProto of a network; the same bytes for the same network.

    model        any Layer from pictures to logits: minifer's layers, and compositions of one's own (see tracing)
    input_shape  (H, W, C) of its pictures
    description  a JSON-able dict for the metadata, {"classes": [...]} for example
    floats       take what the network itself reads, (N,H,W,C) float32 from -1 to 1, in place of uint8
    Raises       ConfigError where something has no translation; MiniferError when onnx is not installed
    """
    onnx = _onnx()
    from onnx import TensorProto, helper, numpy_helper

    shape, rng = (BATCH, *input_shape), np.random.default_rng(0)
    graph, y = follow(model, rng.uniform(-1, 1, shape).astype(np.float32), start(shape, floats), LAYERS)
    if len(y.shape) != 2 or y.shape[0] != BATCH:
        raise ConfigError(f"the network returns {y.shape} for {BATCH} pictures: logits are (N, classes)")
    nodes = [
        *graph.nodes,
        helper.make_node("Identity", [y.name], ["logits"], name="logits"),
        helper.make_node("Softmax", [y.name], ["probabilities"], name="probabilities", axis=-1),
    ]
    kind = TensorProto.FLOAT if floats else TensorProto.UINT8
    used = {name for node in nodes for name in node.input}
    proto = helper.make_model(
        helper.make_graph(
            nodes,
            "minifer",
            [helper.make_tensor_value_info("pictures", kind, ["N", *input_shape])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", y.shape[1]])
                for name in ("logits", "probabilities")
            ],
            [numpy_helper.from_array(array, name) for name, array in graph.constants.items() if name in used],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="minifer",
    )
    if description is not None:
        helper.set_model_props(proto, {name: json.dumps(value) for name, value in description.items()})
    onnx.checker.check_model(proto, full_check=True)
    return proto


def start(shape, floats):
    """Return a Graph that makes of the input "pictures" what a network reads, and the Value of that."""
    graph = Graph()
    name = "pictures"
    if not floats:
        name = graph.node("Cast", name, to=1)  # float32
        name = graph.node("Div", name, graph.constant(np.float32(127.5)))
        name = graph.node("Sub", name, graph.constant(np.float32(1)))
    return graph, Value(name, shape)


def export_onnx(path, model, input_shape, description=None, floats=False):
    """Write a network as an ONNX file, whole or not at all; return compare's result of it.

    Arguments and errors as for to_onnx.
    """
    proto = to_onnx(model, input_shape, description, floats)
    with replacing(path) as file:
        file.write(proto.SerializeToString(deterministic=True))
    return compare(path, model, input_shape, floats)


def compare(path, model, input_shape, floats=False):
    """Return how far what an ONNX file says of random pictures is from what the network says.

    {"logits": largest difference, "largest_logit", "probabilities": largest difference, "by": what ran the file,
     "same": whether that is within rounding}
    """
    pictures = np.random.default_rng(0).integers(0, 256, (COMPARED, *input_shape), np.uint8)
    x = (np.divide(pictures, np.float32(127.5), dtype=np.float32) - np.float32(1)).astype(np.float32)
    run, by = runner(path)
    logits, probs = run(x if floats else pictures)
    expected = model.forward(x)
    off, wrong = np.abs(logits - expected).max(), np.abs(probs - probabilities(expected)).max()
    largest = np.abs(expected).max()
    return {
        "logits": float(off),
        "largest_logit": float(largest),
        "probabilities": float(wrong),
        "by": by,
        "same": bool(off <= MOST_DIFFERENCE * max(1.0, largest) and wrong <= MOST_PROBABILITY),
    }


def runner(path):
    """Return (function from pictures to [logits, probabilities], what runs it).

    That is ONNX Runtime where it is installed, else ONNX's own reference, which takes seconds.
    """
    if importlib.util.find_spec("onnxruntime"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors alone
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = ["logits", "probabilities"]
        return lambda pictures: session.run(names, {"pictures": pictures}), f"onnxruntime {onnxruntime.__version__}"
    import onnx
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path))
    return lambda pictures: evaluator.run(None, {"pictures": pictures}), f"onnx.reference {onnx.__version__}"


def _onnx():
    try:
        import onnx
    except ImportError as error:
        raise MiniferError("ONNX files need onnx: pip install onnx brings it") from error
    import onnx.checker

    return onnx
