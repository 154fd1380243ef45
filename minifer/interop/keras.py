"""MobileNet weights that Keras trained on ImageNet, as the start of a network of minifer.

Keras publishes them as mobilenet_{1_0,7_5,5_0,2_5}_{128,160,192,224}_tf.h5, and without the classifier as
..._tf_no_top.h5: an HDF5 file with a group for every layer, whose attribute weight_names lists the arrays in it.

    minifer                    layer of Keras    array of Keras                        shape there
    stem                       conv1             kernel                                (3,3,3,F)
    block3.depthwise           conv_dw_3         depthwise_kernel; kernel in Keras 3   (3,3,C,1)
    block3.pointwise           conv_pw_3         kernel                                (1,1,C,F)
    classifier                 conv_preds        kernel, bias                          (1,1,C,K), (K,)
    stem_norm, ..._norm        ..._bn            gamma, beta, moving_mean and _variance   (C,)

Keras 3 writes .weights.h5, and .keras, a zip that holds one. There a layer is a group of layers/, numbered by its kind
(layers/conv2d_1/vars/0, 1, ...); the name that it has in Keras is an attribute of the group vars. A MobileNet that is a
layer of another model has its own in layers/functional/layers/.

The names end in ":0" in files that TensorFlow wrote. Whole models that Keras saved as .h5 have the same one group
further down. Of a MobileNet that is a layer of another model, such as a Sequential, one group holds all arrays, under
names such as conv1/kernel. Long lists of names are parted into weight_names0, weight_names1, ...

Such files come from strangers too: only plain arrays in the file itself are read, of the shape that the model needs.

The pictures go in as in minifer, x / 127.5 - 1. Where Keras halves a map it pads one row below and one column on the
right; padding="same" does so for even sides. The features are therefore the same for sides that are multiples of 32.
Of 48x48 the 3x3 map before block12 becomes 2x2 here and 1x1 there, which is of no matter as a start; but Keras' answers
for such pictures are others than minifer's.

Source: Howard et al., MobileNets, 2017; the layers' names are those of keras.applications.MobileNet.
"""

import math
import re
from collections import deque
from io import BytesIO
from itertools import count, islice, takewhile
from pathlib import Path

import numpy as np

from minifer.checkpoint import impossible
from minifer.errors import CheckpointError, ConfigError, DataError, MiniferError
from minifer.files import replacing
from minifer.files.archives import open_source
from minifer.files.guard import guarded
from minifer.interop.published import check_strides
from minifer.models.mobilenet import STEM_FILTERS, MobileNet, mobilenet

LAYERS = {
    "stem": "conv1",
    "stem_norm": "conv1_bn",
    "depthwise": "conv_dw_{}",
    "depthwise_norm": "conv_dw_{}_bn",
    "pointwise": "conv_pw_{}",
    "pointwise_norm": "conv_pw_{}_bn",
    "classifier": "conv_preds",
}
ARRAYS = {
    "weight": ("kernel", "depthwise_kernel"),
    "bias": ("bias",),
    "gamma": ("gamma",),
    "beta": ("beta",),
    "running_mean": ("moving_mean",),
    "running_var": ("moving_variance",),
}
EPS = 1e-3  # of Keras' BatchNormalization
HALVED = 32  # sides that can be halved five times are padded alike here and there
MOST_WEIGHTS = 1 << 28  # bytes; MobileNet's are 17 million
MOST_NAMES = 10_000  # of layers in a file, and of arrays in a layer


def load_keras_mobilenet(path, model, classifier=False):
    """Fill stem and blocks of a MobileNet with Keras' weights; return the names of the parts that were left alone.

    These are skip projections and attention, which Keras' MobileNet does not have, and the classifier, which it has
    for other classes, unless it is asked for: then the classes must be as many, and be the same in the same order,
    which no file tells. The stem's kernels see three colours; for grey pictures, (H,W,1), they are summed over the
    colours, which equals showing them the grey picture three times.

        model = mobilenet("skip", alpha=0.5, input_shape=(96, 96, 1))
        load_keras_mobilenet("mobilenet_5_0_128_tf_no_top.h5", model)        # ["block1.projection", ..., "classifier"]

    path       .h5, .weights.h5 or .keras of keras.applications.MobileNet, of the model's alpha; top or no top
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
        with h5py.File(_weights_in(path), "r") as file:
            state, left = _read(file, path, model, classifier)
    model.load_state({**model.state(), **state}, str(path))
    return left


def save_keras_mobilenet(path, model):
    """Write a plain MobileNet as .weights.h5, which Keras 3 loads: MobileNet(weights=path), or load_weights(path).

    A network for grey pictures becomes one for grey pictures: MobileNet(input_shape=(H, W, 1), classes=K, alpha=...).

    Raises     ConfigError when Keras has no such network; MiniferError when h5py is not installed
    """
    try:
        import h5py
    except ImportError as error:
        raise MiniferError(f"cannot write {path}: files of Keras need h5py, 'pip install h5py' brings it") from error
    _check_model(model)
    if extra := [name for name in model.state() if keras_name(name) is None]:
        raise ConfigError(
            f"Keras' MobileNet has no {extra[0].rpartition('.')[0]}: write .onnx, which takes any network"
        )
    check_strides(model, mobilenet("plain", outline=True), "Keras' MobileNet")
    numbers, held = {}, {}
    for name, array in model.state().items():
        layer, arrays = keras_name(name)
        if layer not in held:
            kind = (
                "batch_normalization" if layer.endswith("_bn") else "depthwise_conv2d" if "_dw_" in layer else "conv2d"
            )
            number = numbers[kind] = numbers.get(kind, -1) + 1
            held[layer] = f"layers/{kind}_{number}/vars" if number else f"layers/{kind}/vars", {}
        shape = keras_shape(name, array.shape) if name != "stem.weight" else array.shape
        held[layer][1][str(numbered(layer).index(arrays[0]))] = array.reshape(shape)
    whole = BytesIO()
    with h5py.File(whole, "w") as file:
        for layer, (where, arrays) in held.items():
            group = file.create_group(where)
            group.attrs["name"] = layer
            for number, array in arrays.items():
                group.create_dataset(number, data=array, track_times=False)
    with replacing(path) as file:
        file.write(whole.getvalue())


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


def _weights_in(path):
    """Return the path of an HDF5 file, or what a .keras file holds, as a file."""
    with open(path, "rb") as file:
        if file.read(4) != b"PK\3\4":
            return path
    try:
        with open_source(path) as source:
            member = source.members.get("model.weights.h5")
            if member is None:
                raise CheckpointError(f"{path} is no .keras file of Keras 3, which holds model.weights.h5")
            return BytesIO(member.read(MOST_WEIGHTS))
    except DataError as error:
        raise CheckpointError(str(error)) from error


def _read(file, path, model, classifier):
    """Return ({path in the model: array}, [parts of the model that the file has nothing for])."""
    found = {name: _member(file, name) for name in ("layers", "model_weights")}
    groups = {name: group for name, group in found.items() if isinstance(group, type(file["/"]))}
    layers = next(iter(groups.values()), file)
    arrays = (_numbered_arrays if "layers" in groups else _arrays)(layers, path)
    if ("conv1", "kernel") not in arrays:
        held = ", ".join(islice(layers, 3)) or "nothing"
        raise CheckpointError(
            f"{path} is no MobileNet of Keras, which has layers conv1 and conv_dw_1; it has {held}: "
            "take a file such as mobilenet_1_0_224_tf_no_top.h5"
        )
    state, left = {}, {}
    for name, mine in model.state().items():
        where = keras_name(name)
        if where is None or (name.startswith("classifier") and not classifier):
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
        grey = name == "stem.weight" and dataset.shape == mine.shape  # of a network that Keras built for grey pictures
        if dataset.shape != (expected := keras_shape(name, mine.shape)) and not grey:
            raise CheckpointError(
                f"{path} is of another network: {dataset.name} has shape {dataset.shape}, this model needs {expected}"
            )
        with np.errstate(over="ignore"):
            array = dataset[()].astype(np.float32)
        if impossible(name, array):
            raise CheckpointError(
                f"{path} is damaged: {dataset.name} is not finite, or a variance below 0; download it again"
            )
        if name == "stem.weight" and mine.shape[2] == 1 and not grey:
            array = array.sum(axis=2)
        state[name] = array.reshape(mine.shape)
    return state, list(left)


def keras_name(path):
    """Return (layer, possible names of the array in it) for a path such as "block3.depthwise.weight", or None."""
    match = re.fullmatch(r"(?:block(\d+)\.)?(\w+)\.(\w+)", path)
    if not match or match[2] not in LAYERS:
        return None
    return LAYERS[match[2]].format(match[1]), ARRAYS[match[3]]


def numbered(layer):
    """Return the names of the arrays of a layer of Keras in the order in which Keras 3 numbers them."""
    return ("gamma", "beta", "moving_mean", "moving_variance") if layer.endswith("_bn") else ("kernel", "bias")


def keras_shape(path, shape):
    """Return the shape in Keras of an array that has this path and shape in minifer."""
    if path == "stem.weight":
        return (*shape[:2], 3, shape[3])
    if path.endswith("depthwise.weight"):
        return (*shape, 1)
    if path.endswith(("pointwise.weight", "classifier.weight")):
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


def _numbered_arrays(layers, path):
    """Return {(layer, array): (group, name in it)} of a file of Keras 3."""
    import h5py

    arrays = {}
    for layer in islice(_layers_below(layers), MOST_NAMES):
        group = _member(layer, "vars")
        name = group.attrs.get("name") if isinstance(group, h5py.Group) else None
        if not isinstance(name, str):
            continue
        for number, array in enumerate(numbered(name)):
            if str(number) in group:
                if name.startswith("conv") and (name, array) in arrays:
                    raise CheckpointError(f"{path} holds two layers {name}: save the one MobileNet that is wanted")
                arrays.setdefault((name, array), (group, str(number)))
    return arrays


def _layers_below(layers):
    """Yield the group of every layer of a file of Keras 3, those of models in the model too; without end in a loop."""
    import h5py

    ahead = deque([layers])
    while ahead:
        parent = ahead.popleft()
        for name in parent:
            layer = _member(parent, name)
            yield layer
            inner = _member(layer, "layers")
            if isinstance(inner, h5py.Group):
                ahead.append(inner)


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
