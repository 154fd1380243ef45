"""MobileNet weights that Keras trained on ImageNet, as the start of a network of minifer.

Keras publishes them as mobilenet_{1_0,7_5,5_0,2_5}_{128,160,192,224}_tf.h5, and without the classifier as
..._tf_no_top.h5: an HDF5 file with a group for every layer, whose attribute weight_names lists the arrays in it.

    minifer                    layer of Keras    array of Keras                        shape there
    stem                       conv1             kernel                                (3,3,3,F)
    block3.depthwise           conv_dw_3         depthwise_kernel; kernel in Keras 3   (3,3,C,1)
    block3.pointwise           conv_pw_3         kernel                                (1,1,C,F)
    stem_norm, ..._norm        ..._bn            gamma, beta, moving_mean and _variance   (C,)

The names end in ":0" in files that TensorFlow wrote. Whole models that Keras saved as .h5 have the same one group
further down. Of a MobileNet that is a layer of another model, such as a Sequential, one group holds all arrays, under
names such as conv1/kernel. Long lists of names are parted into weight_names0, weight_names1, ...

Such files come from strangers too: only plain arrays in the file itself are read, of the shape that the model needs.

The pictures go in as in minifer, x / 127.5 - 1. Where Keras halves a map it pads one row below and one column on the
right; padding="same" does so for even sides. The features are therefore the same for sides that are multiples of 32.
Of 48x48 the 3x3 map before block12 becomes 2x2 here and 1x1 there, which is of no matter as a start.

Source: Howard et al., MobileNets, 2017; the layers' names are those of keras.applications.MobileNet.
"""

import math
import re
from itertools import count, islice, takewhile
from pathlib import Path

import numpy as np

from minifer.errors import CheckpointError, ConfigError, MiniferError
from minifer.files.guard import guarded
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
MOST_NAMES = 10_000  # of layers in a file, and of arrays in a layer


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
    if not Path(path).is_file():
        raise CheckpointError(f"there is no file {path}: check the path")
    with guarded(path, CheckpointError, "it is no HDF5 file, or is damaged: download it again"):
        with h5py.File(path, "r") as file:
            state, left = _read(file, path, model)
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
    layers = _member(file, "model_weights")
    layers = layers if isinstance(layers, type(file["/"])) else file
    arrays = _arrays(layers, path)
    if ("conv1", "kernel") not in arrays:
        held = ", ".join(islice(layers, 3)) or "nothing"
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
        dataset = _find(arrays, *where, path)
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
        with np.errstate(over="ignore"):
            array = dataset[()].astype(np.float32)
        if not np.isfinite(array).all() or (name.endswith("running_var") and array.min() < 0):
            raise CheckpointError(
                f"{path} is damaged: {dataset.name} is not finite, or a variance below 0; download it again"
            )
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


def _find(arrays, layer, names, path):
    """Return the data set of a layer that has one of these names."""
    import h5py

    where = next((arrays[layer, name] for name in names if (layer, name) in arrays), None)
    if where is None:
        known = any(layer == other for other, _ in arrays)
        what = f"no {names[0]!r} in layer {layer!r}" if known else f"no layer {layer!r}"
        raise CheckpointError(f"{path} has {what}: it is of another network, or was cut short")
    dataset = _member(*where)
    # HDF5 can point into other files of this machine, which weights from strangers may not, or to nothing at all.
    plain = isinstance(dataset, h5py.Dataset) and not dataset.external and not dataset.is_virtual
    if not plain or dataset.dtype.kind != "f" or not dataset.id.get_storage_size():
        raise CheckpointError(f"{path} is no file of Keras: {layer}/{where[1]} is no plain array of numbers")
    return dataset


def _arrays(layers, path):
    """Return {(layer, array): (group, name in it)} of all arrays; those of a model in a model too."""
    import h5py

    arrays = {}
    for group_name in islice(layers, MOST_NAMES):
        group = _member(layers, group_name)
        for name in _names(group, path) if isinstance(group, h5py.Group) else ():
            *_, layer, array = [group_name, *name.split("/")]
            for key in {(group_name, array.removesuffix(":0")), (layer, array.removesuffix(":0"))}:
                if key[0] == "conv1" and arrays.get(key, (group, name)) != (group, name):
                    raise CheckpointError(f"{path} holds two layers conv1: save the one MobileNet that is wanted")
                arrays.setdefault(key, (group, name))
    return arrays


def _names(group, path):
    """Return the names of a layer's arrays."""
    names = []
    parts = takewhile(group.attrs.__contains__, (f"weight_names{number}" for number in count()))
    for attribute in ["weight_names"] if "weight_names" in group.attrs else parts:
        header = group.attrs.get_id(attribute)  # nothing is read yet, so a header cannot ask for memory
        size = math.prod(header.shape or (0,))
        if size > MOST_NAMES or (size and header.dtype.kind not in "SO") or header.dtype.itemsize > MOST_NAMES:
            raise CheckpointError(f"{path} is no file of Keras: {group.name} has no list of the names of its arrays")
        for name in np.ravel(group.attrs[attribute]).tolist():
            names.append(name.decode() if isinstance(name, bytes) else str(name))
    return names


def _member(group, name):
    """Return what lies in this file under a name such as conv1/kernel:0; None when it is not there, or a link away."""
    import h5py

    for part in name.split("/"):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(part, getlink=True), h5py.HardLink):
            return None
        group = group[part]
    return group
