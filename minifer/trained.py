"""Trained networks: found by name, built from their description, and given the weights of others."""

from pathlib import Path

import numpy as np

from minifer import checkpoint, config, interop, weights
from minifer.allowed import Maybe, Number, Record, Several, Text, Whole
from minifer.calibration import LEAST, MOST
from minifer.cost import count
from minifer.data.dataset import face_side, picture_side
from minifer.data.limits import MOST_CLASSES, MOST_SIDE, check_names
from minifer.errors import CheckpointError, ConfigError, TrainingError
from minifer.files.documents import checked_fields
from minifer.models import MobileNet
from minifer.networks import build_model
from minifer.output import log
from minifer.own_code import is_target

# What every weights file says of its network.
DESCRIPTION = {
    "config": Record(),
    "classes": Several(Text(), most=MOST_CLASSES),
    "image_shape": Several(Whole(1, MOST_SIDE), least=2, most=3),  # that is read: (H, W) if grey, (H, W, C)
    "val_top1": Maybe(Number(0, 1)),
    "temperature": Maybe(Number(LEAST, MOST)),  # that its last layer has taken up, see minifer.calibration
}
MEANING = {"padding": "--padding", "eps": "--bn-eps", "heads": "--heads"}  # of weights, beside their shapes
MOST_MULTIPLY_ADDS = 10**11  # of one picture, which takes some seconds; MobileNet has 6 * 10**8 of 224 x 224 pixels


def find_weights(name):
    """Return the path of a weights file, given a file, a run folder or the name of shipped weights.

    A name that ships means what ships, whatever the current folder holds: ./best is a folder or file of that name.

    Raises     ConfigError when it is a bare name that is none of these; a path is left for its reader to complain about
    """
    name, path = str(name), Path(name)
    if name in weights.NETWORKS:
        shipped = weights.FOLDER / weights.NETWORKS[name]
        if shipped.exists():
            return shipped
        what = f"are missing from {weights.FOLDER}"
    else:
        if path.is_dir():  # of a run, or one that `minifer export` has written
            hub = path / "model.safetensors"
            return hub if hub.exists() and not (path / "best.npz").exists() else path / "best.npz"
        if path.exists() or path.suffix or path.name != name:
            return path
        what = "are neither a file, a run folder nor shipped"
    raise ConfigError(
        f"the weights {name!r} {what} (names that ship: {' and '.join(weights.NETWORKS)}); train a network with "
        "'minifer train --data fer2013.zip --out runs/mine' and give runs/mine instead"
    )


def read_description(meta, path):
    """Return (TrainConfig, classes, image shape (H, W) or (H, W, C)) of a checkpoint's description.

    Raises     CheckpointError when it describes no network, or one that cannot be
    """
    known = checked_fields(meta, DESCRIPTION, path, CheckpointError)
    check_names(known["classes"], path, CheckpointError)
    try:
        settings = config.from_dict(meta["config"], str(path))
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    return settings, known["classes"], known["image_shape"]


def input_shape(image_shape):
    """Return the shape (H, W, C) that a network reads of pictures (H, W) or (H, W, C)."""
    return (*image_shape, 1)[:3]


def read_arrays(path):
    """Return (arrays, meta) of a weights file: minifer's .npz, or .safetensors that `minifer export` has written."""
    if Path(path).suffix.lower() == ".safetensors":
        from minifer.interop import safetensors

        return safetensors.load(path)
    return checkpoint.load(path)


def described(path):
    """Return (TrainConfig, classes, image_shape) of a weights file."""
    is_npz = Path(path).suffix.lower() != ".safetensors"
    return read_description(checkpoint.description(path) if is_npz else read_arrays(path)[1], path)


def load_weights(path, model=None):
    """Return (model, description) of a weights file such as best.npz, or of one that `minifer export` has written.

    model      the network of one's own that was trained, see minifer.networks; None for MobileNet
    Raises     CheckpointError when it is damaged, describes no network, or holds the arrays of another one: this
               is known before memory is taken for a MobileNet. And what build_model raises for one's own
    """
    arrays, meta = read_arrays(path)
    settings, classes, image_shape = read_description(meta, path)
    shape = input_shape(image_shape)
    own = is_target(settings.model)
    try:
        network = build_model(settings, shape, len(classes), model, outline=True)
    except ConfigError as error:
        raise (ConfigError if own or model is not None else CheckpointError)(f"{path}: {error}") from error
    source = f"{path}, trained with {settings.model}," if own else str(path)
    trained, given = (str(name).rpartition(":")[2] for name in (settings.model, model))
    if isinstance(model, str) and ".py:" in settings.model and given != trained:
        log(f"{source} is read with {model}: is it the same network?")
    arrays = with_output_norms(arrays, network)
    with np.errstate(over="ignore"):
        network.load_state(arrays, source)
    for name, array in network.state().items():
        if checkpoint.impossible(name, array):
            raise CheckpointError(f"{path}: {name} is infinite, or a variance below 0: {checkpoint.REMEDY}")
    if not own and (work := count(network, shape).multiply_adds) > MOST_MULTIPLY_ADDS:
        raise CheckpointError(
            f"{path}: a picture of {shape[0]} x {shape[1]} would take {work} multiply-adds, "
            f"more than {MOST_MULTIPLY_ADDS}: is its description that of another network?"
        )
    return network, {**meta, "config": config.to_dict(settings), "classes": classes, "image_shape": image_shape}


def with_output_norms(arrays, network):
    """Return the arrays of a weights file, with BatchNorms that change nothing where earlier versions had none."""
    arrays = dict(arrays)
    for path, norm in network.walk():
        before = path.removesuffix("_norm")  # the last projection of attention
        if path.endswith(".output_norm") and f"{before}.weight" in arrays and f"{path}.gamma" not in arrays:
            one, zero = (np.full(norm.channels, number, np.float32) for number in (1, 0))
            identity = {"gamma": one * np.sqrt(one + np.float32(norm.eps)), "beta": zero}
            identity |= {"running_mean": zero, "running_var": one}
            arrays |= {f"{path}.{name}": array for name, array in identity.items()}
    return arrays


def check_classes(trained_for, classes, path):
    """Raise TrainingError unless a weights file was trained for these classes in this order."""
    if tuple(trained_for) != tuple(classes):
        raise TrainingError(
            f"{path} was trained for the classes {', '.join(trained_for)}, "
            f"the data has {', '.join(classes)}: use weights and data of one class list"
        )


def check_pictures(trained_for, dataset, is_registered, path):
    """Raise TrainingError unless a weights file was trained for pictures as those of a Dataset.

    trained_for      its image_shape       is_registered    whether they are sampled along the frames of faces
    """
    (height, width, channels), (high, wide, *_) = input_shape(trained_for), dataset.images.shape[1:]
    sides = (face_side(high), face_side(high)) if is_registered else (high, wide)
    if (*sides, dataset.input_shape[2]) != (height, width, channels):
        if is_registered:
            height = width = picture_side(height)
        kinds = {1: "grey", 3: "colour"}
        raise TrainingError(
            f"{path} was trained for pictures of {height} x {width} in {kinds[channels]}, the data has {high} x {wide} "
            f"in {kinds[dataset.input_shape[2]]}: use weights and data of one size, or resize the pictures"
        )


def start_from(model, path):
    """Give a model what a trained one learned: a weights file, a run folder, or what interop.load reads.

    Of the same network it takes everything, so that training goes on; of another the stem and blocks.

    Raises     what reads the file raises; ConfigError when the model pads, normalizes or parts heads in another way
    """
    path = find_weights(path)
    if interop.is_foreign(path):
        interop.load(path, model)
        return
    arrays, meta = read_arrays(path)
    arrays = with_output_norms(arrays, model)
    same = {name: array.shape for name, array in arrays.items()} == {
        name: array.shape for name, array in model.state().items()
    }
    if not same and not isinstance(model, MobileNet):
        raise CheckpointError(f"{path} holds the arrays of another network: only MobileNet takes a part of another one")
    _check_same_meaning(model, meta, path, same)
    load = model.load_state if same else model.load_extraction
    load(arrays, str(path))


def _check_same_meaning(model, meta, path, whole):
    """Raise ConfigError where weights of a file, or its stem and blocks, would give other answers in a model.

    Their shapes may fit all the same.
    """
    settings, classes, image_shape = read_description(meta, path)
    if is_target(settings.model):
        return
    trained = dict(build_model(settings, input_shape(image_shape), len(classes), outline=True).walk())
    for where, layer in model.walk():
        for name, flag in MEANING.items() if whole or not where.startswith("attention") else ():
            mine, theirs = getattr(layer, name, None), getattr(trained.get(where), name, None)
            if None not in (mine, theirs) and mine != theirs:
                raise ConfigError(
                    f"{path} was trained with {flag} {theirs}, this network has {mine}, where its weights would give "
                    f"other answers: add {flag} {theirs}"
                )
