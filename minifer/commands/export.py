"""Write a trained network for other tools. The file's suffix decides: .onnx, .safetensors with minifer's own names, or
.weights.h5 of a plain MobileNet for Keras 3.

What was written is read back and compared with the network on 8 pictures; a difference beyond rounding is an error.
"""

from pathlib import Path

from minifer.commands.common import add_model, as_path, print_json
from minifer.config import from_dict
from minifer.errors import ConfigError, MiniferError


def add_arguments(parser):
    """Add the flags of `minifer export`."""
    parser.add_argument(
        "weights", type=as_path, metavar="WEIGHTS_OR_RUN", help="weights file, run folder, or name of shipped weights"
    )
    parser.add_argument(
        "--to", type=as_path, required=True, metavar="FILE", help="the file: .onnx, .safetensors or .weights.h5"
    )
    parser.add_argument(
        "--input",
        choices=("uint8", "float"),
        help="ONNX: take pictures of 0 to 255, or what the network itself reads, floats from -1 to 1 "
        "(default: uint8; float for a network trained on registered faces)",
    )
    add_model(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args):
    """Run `minifer export`."""
    from minifer.files import claimed, make_folder
    from minifer.trained import find_weights, input_shape, load_weights

    to = Path(args.to)
    writers = {".onnx": write_onnx, ".safetensors": write_safetensors, ".weights.h5": write_keras}
    suffix = next((suffix for suffix in writers if to.name.endswith(suffix)), None)
    if suffix is None:
        raise ConfigError(f"{to}: its suffix says what to write: take {', '.join(writers)}")
    if args.input and suffix != ".onnx":
        raise ConfigError("--input goes with .onnx alone")
    model, meta = load_weights(find_weights(args.weights), args.model)
    make_folder(to.parent)
    with claimed(to):
        result = writers[suffix](to, model, input_shape(meta["image_shape"]), meta, args)
    result = {"file": str(to), "bytes": to.stat().st_size, **result}
    print_json(result) if args.json else print(describe(result))
    if not result["same"]:
        raise MiniferError(f"{to} says something else than the network: see the differences above")


def describe(result):
    """Return what was written and compared as text."""
    lines = [f"{result['file']}: {result['bytes'] / 1e6:.1f} MB"]
    if "by" in result:
        lines.append(
            f"8 pictures by {result['by']}: probabilities differ by {result['probabilities']:.1e}, logits by "
            f"{result['logits']:.1e} of {result['largest_logit']:.1f}"
        )
    else:
        lines.append("read back: the same bits")
    return "\n".join(lines)


def write_onnx(path, model, shape, meta, args):
    """Write and compare an ONNX file."""
    from minifer.interop.onnx import export_onnx

    registered = meta["config"].get("register", False)
    floats = args.input == "float" or (registered and not args.input)
    about = "x / 127.5 - 1" if not floats else "given: x / 127.5 - 1 of the picture"
    if registered:
        about += ", sampled along its face's frame (minifer.faces.registration)"
    description = {name: meta[name] for name in ("classes", "image_shape", "config")}
    return export_onnx(path, model, shape, {**description, "preprocessing": about}, floats)


def write_safetensors(path, model, shape, meta, args):
    """Write a safetensors file and read it back."""
    from minifer.interop import safetensors

    state = model.state()
    safetensors.save(path, state, meta)
    arrays, _ = safetensors.load(path)
    return {"same": arrays.keys() == state.keys() and all((arrays[name] == state[name]).all() for name in state)}


def write_keras(path, model, shape, meta, args):
    """Write Keras' file and read it back into a network that knows nothing."""
    from minifer.interop.keras import load_keras_mobilenet, save_keras_mobilenet
    from minifer.networks import build_model

    save_keras_mobilenet(path, model)
    blank = build_model(from_dict(meta["config"]), shape, len(meta["classes"]))
    load_keras_mobilenet(path, blank, classifier=True)
    state = blank.state()
    return {"same": all((array == state[name]).all() for name, array in model.state().items())}
