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

from minifer.data.dataset import to_float
from minifer.errors import ConfigError, MiniferError
from minifer.files import replacing
from minifer.interop.onnx_layers import LAYERS
from minifer.interop.tracing import Graph, Value, follow
from minifer.losses import probabilities

OPSET, IR = 17, 8
MOST_DIFFERENCE = 1e-5  # of logits, times the largest of them: what rounding in another order of sums does
SMALL = 0.1  # a largest logit, below which rounding is that of the numbers inside the network
MOST_PROBABILITY = 2e-6  # of probabilities, beside what the logits differ by: softmax moves none by more than that
BATCHES = (3, 5)  # pictures that are followed: two batches must lead to one graph


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

    graph, y = trace(model, input_shape, floats, BATCHES[0])
    other, _ = trace(model, input_shape, floats, BATCHES[1])
    if [*map(str, graph.nodes)] != [*map(str, other.nodes)] or not same_constants(graph.constants, other.constants):
        raise ConfigError("the network computes something else for other pictures, or for more of them at once")
    if len(y.shape) != 2 or y.shape[0] != BATCHES[0]:
        raise ConfigError(f"the network returns {y.shape} for {BATCHES[0]} pictures: logits are (N, classes)")
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


def trace(model, input_shape, floats, batch):
    """Return (graph, the output's Value) of a batch of random pictures."""
    shape = (batch, *input_shape)
    x = np.random.default_rng(batch).uniform(-1, 1, shape).astype(np.float32)
    return follow(model, x, start(shape, floats), LAYERS)


def same_constants(one, other):
    """Say whether two graphs have the same constants."""
    return one.keys() == other.keys() and all(np.array_equal(array, other[name]) for name, array in one.items())


def start(shape, floats):
    """Return a Graph that makes of the input "pictures" what a network reads, and the Value of that."""
    graph = Graph(shape[0])
    name = "pictures"
    if not floats:
        name = graph.node("Cast", name, to=1)  # float32
        name = graph.node("Div", name, graph.constant(np.float32(127.5)))
        name = graph.node("Sub", name, graph.constant(np.float32(1)))
    return graph, Value(name, shape)


def export_onnx(path, model, input_shape, description=None, floats=False):
    """Write a network as an ONNX file, whole or not at all; return compare's result of it.

    Arguments and errors as for to_onnx; MiniferError, and an earlier file stays, where the two do not agree.
    """
    proto = to_onnx(model, input_shape, description, floats)
    with replacing(path) as file:
        file.write(proto.SerializeToString(deterministic=True))
        file.flush()
        result = compare(file.name, model, input_shape, floats)
        if not result["same"]:
            raise MiniferError(
                f"{path} is not written: it would say something else than the network, by {result['logits']:.1e} in "
                f"logits of {result['largest_logit']:.1e}, by {result['probabilities']:.1e} in probabilities"
            )
    return result


def compare(path, model, input_shape, floats=False):
    """Return how far what an ONNX file says is from what the network says, of noise, ramps, black and white.

    {"logits": largest difference, "largest_logit", "probabilities": largest difference, "by": what ran the file,
     "same": whether that is within rounding}
    """
    run, by = runner(path)
    off, wrong, largest = 0.0, 0.0, 0.0
    for pictures in compared(input_shape):
        x = to_float(pictures)
        expected = model.forward(x)
        try:
            logits, probs = run(x if floats else pictures)
        except Exception as error:  # each runtime has its own kinds
            raise MiniferError(f"{by} cannot run the file: {error}") from error
        if logits.shape != expected.shape:
            raise MiniferError(f"{by} returns {logits.shape} for {len(x)} pictures, the network {expected.shape}")
        off = max(off, float(np.abs(logits - expected).max()))
        wrong = max(wrong, float(np.abs(probs - probabilities(expected)).max()))
        largest = max(largest, float(np.abs(expected).max()))
    return {
        "logits": off,
        "largest_logit": largest,
        "probabilities": wrong,
        "by": by,
        "same": off <= MOST_DIFFERENCE * max(SMALL, largest) and wrong <= MOST_PROBABILITY + off,
    }


def compared(input_shape):
    """Return batches of pictures that are unlike each other: one, five and eight of them."""
    rng, (height, width, _) = np.random.default_rng(0), input_shape
    noise = rng.integers(0, 256, (8, *input_shape), np.uint8)
    i, j = np.mgrid[:height, :width][..., np.newaxis]
    ramps = [255 * i / max(height - 1, 1), 255 * j / max(width - 1, 1), 127 + 120 * np.sin(i / 3 + j / 5)]
    smooth = [np.broadcast_to(ramp, input_shape).astype(np.uint8) for ramp in ramps]
    flat = [np.full(input_shape, level, np.uint8) for level in (0, 255)]
    return [noise, np.stack([*smooth, *flat]), np.stack(flat[1:])]


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
