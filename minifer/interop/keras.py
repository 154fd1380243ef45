"""MobileNet weights that Keras trained on ImageNet, as the start of a network of minifer.

Keras publishes them as mobilenet_{1_0,7_5,5_0,2_5}_{128,160,192,224}_tf.h5, and without the classifier as
..._tf_no_top.h5: an HDF5 file with a group for every layer, whose attribute weight_names lists the arrays in it.

    minifer                    layer of Keras    array of Keras                        shape there
    stem                       conv1             kernel                                (3,3,3,F)
    block3.depthwise           conv_dw_3         depthwise_kernel; kernel in Keras 3   (3,3,C,1)
    block3.pointwise           conv_pw_3         kernel                                (1,1,C,F)
    stem_norm, ..._norm        ..._bn            gamma, beta, moving_mean and _variance   (C,)

The names end in ":0" in files that TensorFlow wrote. Whole models that Keras saved as .h5 have the same one group
further down.

The pictures go in as in minifer, x / 127.5 - 1. Where Keras halves a map it pads one row below and one column on the
right; padding="same" does so for even sides. The features are therefore the same for sides that are multiples of 32.
Of 48x48 the 3x3 map before block12 becomes 2x2 here and 1x1 there, which is of no matter as a start.

Source: Howard et al., MobileNets, 2017; the layers' names are those of keras.applications.MobileNet.
"""

import re

import numpy as np

from minifer.errors import CheckpointError, ConfigError, MiniferError
from minifer.models.mobilenet import STEM_FILTERS, MobileNet

LAYERS = {
    "stem": "conv1",
    "stem_norm": "conv1_bn",
    "depthwise": "conv_dw_{}",
    "depthwise_norm": "conv_dw_{}_bn",
    "pointwise": "conv_pw_{}",
    "pointwise_norm": "conv_pw_{}_bn",
}
ARRAYS = {
    "weight": ("kernel", "depthwise_kernel"),
    "gamma": ("gamma",),
    "beta": ("beta",),
    "running_mean": ("moving_mean",),
    "running_var": ("moving_variance",),
}
EPS = 1e-3  # of Keras' BatchNormalization
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # what h5py raises when bytes are not what they were


def load_keras_mobilenet(path, model):
    """Fill stem and blocks of a MobileNet with Keras' weights; return the names of the parts that were left alone.

    These are skip projections and attention, which Keras' MobileNet does not have, and the classifier, which it has
    for other classes. The stem's kernels see three colours; for grey pictures, (H,W,1), they are summed over the
    colours, which equals showing them the grey picture three times.

        model = mobilenet("skip", alpha=0.5, input_shape=(96, 96, 1))
        load_keras_mobilenet("mobilenet_5_0_128_tf_no_top.h5", model)        # ["block1.projection", ..., "classifier"]

    path       HDF5 weights of keras.applications.MobileNet, of the model's alpha; top or no top
    model      of minifer.models.mobilenet, with its usual padding and bn_eps
    Raises     CheckpointError when the file is missing, damaged, of another network or of another width;
               ConfigError when the model is none that these weights can work in;
               MiniferError when h5py is not installed. The model is then as it was.
    """
    try:
        import h5py
    except ImportError as error:
        raise MiniferError(f"cannot read {path}: files of Keras need h5py, 'pip install h5py' brings it") from error
    _check_model(model)
    try:
        with h5py.File(path, "r") as file:
            state, left = _read(file, path, model)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no file {path}: check the path") from error
    except DAMAGE as error:
        if isinstance(error, MiniferError):
            raise
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} is no HDF5 file, or is damaged: download it again ({reason})") from error
    model.load_state({**model.state(), **state}, str(path))
    return left


def _check_model(model):
    """Raise ConfigError unless the weights mean the same in this model as in Keras'."""
    if not isinstance(model, MobileNet):
        raise ConfigError(f"Keras' MobileNet weights fill a MobileNet, not a {type(model).__name__}")
    if model["stem"].channels not in (1, 3):
        raise ConfigError(
            f"the model takes {model['stem'].channels} channels: Keras' weights need colour (3) or grey (1)"
        )
    padding, eps = model["stem"].padding, model["stem_norm"].eps
    if padding != "same" or eps != EPS:
        raise ConfigError(
            f'Keras\' weights need mobilenet(padding="same", bn_eps={EPS}), which is usual; '
            f"this model has padding={padding!r}, bn_eps={eps}"
        )


def _read(file, path, model):
    """Return ({path in the model: array}, [parts of the model that the file has nothing for])."""
    layers = file.get("model_weights", file)
    if "conv1" not in layers or "conv_dw_1" not in layers:
        held = ", ".join(list(layers)[:3]) or "nothing"
        raise CheckpointError(
            f"{path} is no MobileNet in Keras' older format, which has layers conv1 and conv_dw_1; it has {held}: "
            "take a file such as mobilenet_1_0_224_tf_no_top.h5"
        )
    state, left = {}, {}
    for name, mine in model.state().items():
        where = keras_name(name)
        if where is None:
            left[re.match(r"block\d+\.projection|\w+", name)[0]] = None
            continue
        dataset = _find(layers, *where, path)
        if name == "stem.weight" and dataset.shape[-1:] != mine.shape[-1:]:
            theirs, ours = dataset.shape[-1], mine.shape[-1]
            raise CheckpointError(
                f"{path} has width {theirs / STEM_FILTERS:g} ({theirs} filters in conv1), the model "
                f"{ours / STEM_FILTERS:g} ({ours}): build it with alpha={theirs / STEM_FILTERS:g}"
            )
        # Before anything is read: a few bytes of a crafted file can stand for more than the memory holds.
        if dataset.shape != (expected := keras_shape(name, mine.shape)):
            raise CheckpointError(
                f"{path} is of another network: {dataset.name} has shape {dataset.shape}, this model needs {expected}"
            )
        array = dataset[()]
        if not np.isfinite(array).all():
            raise CheckpointError(f"{path} is damaged: {dataset.name} is not finite; download it again")
        if name == "stem.weight" and mine.shape[2] == 1:
            array = array.sum(axis=2)
        state[name] = array.reshape(mine.shape)
    return state, list(left)


def keras_name(path):
    """Return (layer, possible names of the array in it) for a path such as "block3.depthwise.weight", or None."""
    match = re.fullmatch(r"(?:block(\d+)\.)?(\w+)\.(\w+)", path)
    if not match or match[2] not in LAYERS:
        return None
    return LAYERS[match[2]].format(match[1]), ARRAYS[match[3]]


def keras_shape(path, shape):
    """Return the shape in Keras of an array that has this path and shape in minifer."""
    if path == "stem.weight":
        return (*shape[:2], 3, shape[3])
    if path.endswith("depthwise.weight"):
        return (*shape, 1)
    if path.endswith("pointwise.weight"):
        return (1, 1, *shape)
    return shape


def _find(layers, layer, names, path):
    """Return the data set of a layer that has one of these names."""
    import h5py

    if layer not in layers:
        raise CheckpointError(f"{path} has no layer {layer!r}: it is of another network, or was cut short")
    for name in layers[layer].attrs["weight_names"]:
        key = name.decode() if isinstance(name, bytes) else str(name)
        if key.split("/")[-1].removesuffix(":0") in names:
            dataset = layers[layer][key]
            # HDF5 can point into other files of this machine: weights from strangers may not.
            plain = isinstance(dataset, h5py.Dataset) and dataset.file == layers.file
            if not plain or dataset.external or dataset.is_virtual or dataset.dtype.kind != "f":
                raise CheckpointError(f"{path} is no file of Keras: {layer}/{key} is no plain array of numbers")
            return dataset
    raise CheckpointError(f"{path} has no {names[0]!r} in layer {layer!r}: it is of another network")
