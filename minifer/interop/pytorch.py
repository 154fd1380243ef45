"""MobileNet V1, V2 and V3 of timm and torchvision as safetensors: read into minifer's network, and written.

pytorch_names says what they call each array. Their shapes are PyTorch's:

    minifer                                      there
    stem.weight (3,3,C,F)                        (F,C,3,3)
    block4.depthwise.weight (K,K,C)              (C,1,K,K)
    other convolutions (C,F)                     (F,C,1,1)
    dense layers (C,F)                           (F,C)

PyTorch's networks pad by (K - 1) / 2 on all sides, and their BatchNorm has an eps of 1e-5, or 1e-3 in torchvision's
V3; so has mobilenet(..., padding="symmetric", bn_eps=1e-5). With TensorFlow's padding the same weights would be 6 %
off, and nothing would say so: another network is refused. timm's names that begin with tf_ are of networks that pad as
TensorFlow does. No file tells them from the others: they are not for this reader.

timm's V1 reads pictures as minifer does, x / 127.5 - 1. The others were trained on (x / 255 - mean) / std with
ImageNet's mean (0.485, 0.456, 0.406) and std (0.229, 0.224, 0.225). That does not matter where training goes on from
them; for their own 1000 classes give them such pictures.
"""

import re

import numpy as np

from minifer.checkpoint import impossible
from minifer.errors import CheckpointError, ConfigError
from minifer.interop import safetensors
from minifer.interop.published import check_strides
from minifer.interop.pytorch_names import PUBLISHED, TITLES, member, their_names
from minifer.layers import BatchNorm, Conv2D, DepthwiseConv2D

LAYOUTS = {"timm": "conv_stem.weight", "torchvision": "features.0.0.weight"}  # and what each calls the stem


def load_pytorch(path, model, classifier=False):
    """Fill a MobileNet, V2 or V3 from timm's or torchvision's file; return the names of the parts that were left alone.

    These are skip projections, attention, and the classifier unless it is asked for: then the classes must be as many.
    The stem's kernels see three colours; for grey pictures they are summed, as in interop.keras.

    Raises     CheckpointError when the file is missing, damaged or of another network; ConfigError when the model pads
               or normalizes in another way. The model is then as it was.
    """
    arrays, _ = safetensors.read(path)
    layout = next((name for name, stem in LAYOUTS.items() if stem in arrays), None)
    if layout is None:
        raise CheckpointError(
            f"{path} has neither {' nor '.join(LAYOUTS.values())}: it is no MobileNet of timm or torchvision"
        )
    names = their_names(model, layout)
    _check_conventions(model, layout)
    title = f"{layout}'s {TITLES[member(model)]}"
    if strange := sorted(arrays.keys() - set(names.values())):
        raise CheckpointError(f"{path} is of another network: {title} has no {strange[0]}")
    state, left = {}, {}
    for name, mine in model.state().items():
        theirs = names.get(name)
        if theirs is None or (name.startswith("classifier") and not classifier):
            left[re.match(r"block\d+\.projection|\w+", name)[0]] = None
            continue
        if theirs not in arrays:
            raise CheckpointError(f"{path} has no {theirs}: it is no {title}, or was cut short")
        given = arrays[theirs]
        grey = name == "stem.weight" and mine.shape[2] == 1 and given.ndim == 4 and given.shape[1] == 3
        expected = _shape(name, (*mine.shape[:2], 3, mine.shape[3]) if grey else mine.shape, layout)
        if given.shape != expected:
            raise CheckpointError(
                f"{path} is of another network: {theirs} has the shape {given.shape}, this {title} needs {expected}"
            )
        with np.errstate(over="ignore"):
            array = _turned_back(name, given.astype(np.float32))
        if impossible(name, array):
            raise CheckpointError(f"{path} is damaged: {theirs} is not finite, or a variance below 0")
        state[name] = array.sum(axis=2, keepdims=True) if grey else array
    model.load_state({**model.state(), **state}, str(path))
    return list(left)


def save_pytorch(path, model, layout="timm"):
    """Write a MobileNet, V2 or V3 under the names of "timm" or "torchvision".

        timm.create_model("mobilenetv1_100", num_classes=7, in_chans=1, checkpoint_path="mine.safetensors")
        torchvision.models.mobilenet_v2(num_classes=7).load_state_dict(safetensors.torch.load_file("mine.safetensors"))

    Raises     ConfigError when they have no such network
    """
    names = their_names(model, layout)
    _check_conventions(model, layout)
    arrays = {}
    for name, array in model.state().items():
        if name not in names:
            layer = name.rpartition(".")[0]
            raise ConfigError(
                f"{layout}'s {TITLES[member(model)]} has no {layer}: write .onnx, which takes any network"
            )
        arrays[names[name]] = _turned(name, array).reshape(_shape(name, array.shape, layout))
        if name.endswith("running_var"):  # what PyTorch counts and does not use
            arrays[names[name].replace("running_var", "num_batches_tracked")] = np.array(0, np.int64)
    check_strides(model, PUBLISHED[member(model)](outline=True), f"{layout}'s {TITLES[member(model)]}")
    safetensors.write(path, arrays)


def _turned(name, array):
    """Return an array with its axes in PyTorch's order: filters first."""
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.transpose(2, 0, 1) if array.ndim == 3 else array.T


def _turned_back(name, array):
    """Return an array of PyTorch's with its axes in minifer's order."""
    if name.endswith("depthwise.weight"):
        return array[:, 0].transpose(1, 2, 0)
    if name == "stem.weight":
        return array.transpose(2, 3, 1, 0)
    return array.reshape(array.shape[:2]).T


def _shape(name, shape, layout):
    """Return the shape that an array of minifer's has there."""
    if len(shape) == 4:
        return (shape[3], shape[2], *shape[:2])
    if len(shape) == 3:
        return (shape[2], 1, *shape[:2])
    if len(shape) == 2:
        dense = name.startswith("classifier") or (name.startswith("hidden") and layout == "torchvision")
        return shape[::-1] if dense else (*shape[::-1], 1, 1)
    return shape


def _check_conventions(model, layout):
    """Raise ConfigError unless the weights mean the same in this model as in theirs."""
    eps = 1e-3 if layout == "torchvision" and member(model).startswith("v3") else 1e-5
    for path, layer in model.walk():
        given = None
        if isinstance(layer, Conv2D | DepthwiseConv2D) and layer.padding not in ("symmetric", (layer.kernel - 1) // 2):
            given = f"padding={layer.padding!r}"
        elif isinstance(layer, BatchNorm) and layer.eps != eps:
            given = f"bn_eps={layer.eps}"
        if given:
            raise ConfigError(
                f'{layout}\'s weights need padding="symmetric" and bn_eps={eps} (--padding symmetric --bn-eps {eps}); '
                f"{path} has {given}, where they would give other answers"
            )
