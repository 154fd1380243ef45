"""Write a trained network for other tools. The file's suffix decides: .onnx, .safetensors with minifer's own names, or
timm's or torchvision's (--layout), .weights.h5 of a plain MobileNet for Keras 3, .npz for minifer itself at half the
size: numbers of 16 bits. A name without a suffix is a folder, ready for a model hub: model.safetensors, config.json and
a card.

What was written is read back and compared with the network on some pictures; a difference beyond rounding is an error.
"""

import json
from pathlib import Path

from minifer.commands.common import add_model, as_path, print_json
from minifer.commands.train import PATHS
from minifer.config import from_dict
from minifer.errors import ConfigError, MiniferError
from minifer.interop import is_foreign
from minifer.output import log

HUB = ("model.safetensors", "config.json", "README.md")  # what a folder for a model hub holds
CARD = """---
license: other
license_name: research-and-education-only
library_name: minifer
pipeline_tag: image-classification
tags: [{tags}]
---

# {name}

Classes: {classes}. Pictures: {shape}, x / 127.5 - 1{registered}. {parameters:,} parameters.
{measured}
    from minifer.trained import load_weights
    model, description = load_weights("model.safetensors")

The licence of the pictures that it was trained on holds for the weights, too: say which they were, and what the network
is not for.
"""


def add_arguments(parser):
    """Add the flags of `minifer export`."""
    parser.add_argument(
        "weights", type=as_path, metavar="WEIGHTS_OR_RUN", help="weights file, run folder, or name of shipped weights"
    )
    parser.add_argument(
        "--to",
        type=as_path,
        required=True,
        metavar="FILE|DIR",
        help=".onnx, .safetensors, .weights.h5, .npz, or a folder",
    )
    parser.add_argument(
        "--input",
        choices=("uint8", "float"),
        help="ONNX: take pictures of 0 to 255, or what the network itself reads, floats from -1 to 1 "
        "(default: uint8; float for a network trained on registered faces)",
    )
    parser.add_argument(
        "--layout",
        choices=("minifer", "timm", "torchvision"),
        help="safetensors: whose names the arrays get "
        "(default: minifer; the others for a network trained with --padding symmetric and --bn-eps 1e-5, torchvision's "
        "V3 with 1e-3)",
    )
    add_model(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args):
    """Run `minifer export`."""
    from minifer.files import check_target, claimed, make_folder
    from minifer.run_folder import RESULTS, check_no_run
    from minifer.trained import find_weights, input_shape, load_weights

    to = Path(args.to)
    writers = {  # by suffix, and what is written over of the files that are there
        ".onnx": (write_onnx, "ONNX file"), ".safetensors": (write_safetensors, "safetensors file"),
        ".weights.h5": (write_keras, "file of Keras"), ".npz": (write_half, ".npz file of weights"),
    }  # fmt: skip
    suffix = next((suffix for suffix in writers if to.name.lower().endswith(suffix)), None)
    if suffix and to.is_dir():
        raise ConfigError(f"{to} is a folder: give a file in it, such as {to / f'network{suffix}'}")
    if suffix is None and (to.is_file() or (to / "metrics.csv").exists()):
        what = "a file" if to.is_file() else "the folder of a run"
        raise ConfigError(f"{to} is {what}: choose another folder, or a file with one of {', '.join(writers)}")
    if suffix is None and to.suffix and not to.is_dir():
        raise ConfigError(f"{to}: its suffix says what to write: take {', '.join(writers)}, or a folder")
    if args.input and suffix != ".onnx":
        raise ConfigError("--input goes with .onnx alone")
    if args.layout and suffix != ".safetensors":
        raise ConfigError("--layout goes with .safetensors alone")
    if suffix and to.name in RESULTS:
        check_no_run(to.parent, f"--to {to}:")
    source = find_weights(args.weights)
    if source.resolve() == to.resolve():
        raise ConfigError(f"{to} is what is read: write to another file")
    write, kind = writers.get(suffix, (write_hub, None))
    check_target(to, kind, "--to") if suffix else check_hub(to)
    model, meta = load_weights(source, args.model)
    meta = {**meta, "config": without_folders(meta["config"])}
    make_folder(to.parent if suffix else to)
    with claimed(to):
        result = write(to, model, input_shape(meta["image_shape"]), meta, args)
    written = [to] if suffix else [to / name for name in HUB]
    result = {"file": str(to), "bytes": sum(path.stat().st_size for path in written), **result}
    print_json(result) if args.json else print(describe(result))
    if not result["same"]:
        raise MiniferError(f"{to} says something else than the network: see the differences above")


def without_folders(settings):
    """Return settings whose paths are names alone: whose computer and which folders is nobody's business elsewhere."""
    names = {
        name: ",".join(Path(part).name for part in settings[name].split(",")) for name in (*PATHS, "model")
    }  # teachers are several, parted by commas
    return {**settings, **names}


def describe(result):
    """Return what was written and compared as text."""
    lines = [f"{result['file']}: {result['bytes'] / 1e6:.1f} MB"]
    if "by" in result:
        lines.append(
            f"run by {result['by']}: probabilities differ by {result['probabilities']:.1e}, logits by "
            f"{result['logits']:.1e} of {result['largest_logit']:.1f}"
        )
    elif "rounded" in result:
        lines.append(f"read back: numbers of 16 bits, off by {result['rounded']:.1e} of their array's largest at most")
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
    from minifer.interop.pytorch import load_pytorch, save_pytorch

    if args.layout in ("timm", "torchvision"):
        save_pytorch(path, model, args.layout)
        return _read_back(load_pytorch, path, model, shape, meta)
    state = model.state()
    safetensors.save(path, state, meta)
    arrays, _ = safetensors.load(path)
    return {"same": arrays.keys() == state.keys() and all((arrays[name] == state[name]).all() for name in state)}


def write_keras(path, model, shape, meta, args):
    """Write Keras' file and read it back into a network that knows nothing."""
    from minifer.interop.keras import HALVED, load_keras_mobilenet, save_keras_mobilenet

    save_keras_mobilenet(path, model)
    height, width, _ = shape
    if height % HALVED or width % HALVED:
        log(
            f"{path}: Keras pads maps of odd sides otherwise, so that its answers for {height}x{width} are others than "
            f"minifer's: a start for training there; .onnx answers the same, and sides in steps of {HALVED} do"
        )
    return _read_back(load_keras_mobilenet, path, model, shape, meta)


def write_half(path, model, shape, meta, args):
    """Write minifer's own file in numbers of 16 bits, as those that ship, and read it back."""
    import numpy as np

    from minifer import checkpoint

    state, half = model.state(), np.finfo(np.float16)
    with np.errstate(over="ignore"):
        halves = {name: array.astype(np.float16) for name, array in state.items()}
    large = next((name for name, array in halves.items() if not np.isfinite(array).all()), None)
    if large:
        raise ConfigError(f"{path}: 16 bits cannot hold the numbers of {large}: write .safetensors, which keeps all")
    checkpoint.save(path, halves, meta)
    arrays, _ = checkpoint.load(path)
    off = {name: np.abs(arrays[name] - array) for name, array in state.items()}
    largest = max(float(off[name].max() / max(np.abs(array).max(), half.tiny)) for name, array in state.items())
    return {"same": largest <= half.eps, "rounded": largest}


def _read_back(load, path, model, shape, meta):
    """Read a file into a network that knows nothing, and compare the two."""
    from minifer.networks import build_model

    blank = build_model(from_dict(meta["config"]), shape, len(meta["classes"]))
    load(path, blank, classifier=True)
    state = blank.state()
    return {"same": all((array == state[name]).all() for name, array in model.state().items())}


def check_hub(folder):
    """Raise ConfigError when a folder has weights of another program, or a config.json without weights."""
    weights, settings = (folder / name for name in HUB[:2])
    lost = HUB[1] if settings.exists() else None
    if weights.exists():
        lost = HUB[0] if is_foreign(weights) else None
    if lost:
        raise ConfigError(f"{folder} has a {lost} of its own, which would be lost: choose another folder")


def write_hub(folder, model, shape, meta, args):
    """Write a folder that a model hub takes as it is, its card to be completed by who uploads it.

    A card that is there stays: somebody may have completed it.
    """
    from minifer.cost.table import held
    from minifer.files import write_text

    result = write_safetensors(folder / HUB[0], model, shape, meta, args)
    write_text(folder / HUB[1], json.dumps({"library_name": "minifer", **meta}, indent=2, sort_keys=True))
    settings, top1 = meta["config"], meta.get("val_top1")
    if (folder / HUB[2]).exists():
        log(f"{folder / HUB[2]} stays as it is: see whether it is still true")
        return result
    card = CARD.format(
        tags=", ".join(["minifer", settings["model"].rpartition(":")[2]]),
        name=folder.resolve().name,
        classes=", ".join(meta["classes"]),
        shape=" x ".join(map(str, shape)),
        registered=", sampled along each face's frame" if settings.get("register") else "",
        parameters=held(model)[0],
        measured=f"Top-1 on its validation rows, which chose it: {top1:.2%}.\n" if top1 else "",
    )
    write_text(folder / HUB[2], card)
    return result
