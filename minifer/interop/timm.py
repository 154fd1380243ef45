"""MobileNet V1 of timm (mobilenetv1_100 and its widths) as safetensors: read into minifer's network, and written.

    minifer                    timm                              shape there
    stem.weight                conv_stem.weight                  (F,C,3,3)
    block4.depthwise.weight    blocks.2.0.conv_dw.weight         (C,1,3,3)
    block4.pointwise.weight    blocks.2.0.conv_pw.weight         (F,C,1,1)
    ..._norm.gamma, .beta,     bn1 of the stem and of depthwise, weight, bias,
    .running_mean, _var        bn2 of pointwise convolutions     running_mean, running_var  (C,)
    classifier.weight, .bias   classifier.weight, .bias          (K,F), (K,)

A stage, the first number, begins where the stride is 2. timm is PyTorch: it pads by 1 on all sides and has an eps of
1e-5, so the network is mobilenet("plain", padding=1, bn_eps=1e-5). With TensorFlow's padding the same weights would be
6 % off, and nothing would say so: another network is refused. Pictures go in as in minifer, x / 127.5 - 1.
"""

import re

import numpy as np

from minifer.errors import CheckpointError, ConfigError
from minifer.interop import safetensors
from minifer.models.mobilenet import BLOCKS, MobileNet

NORM = {"gamma": "weight", "beta": "bias", "running_mean": "running_mean", "running_var": "running_var"}
EPS, PADDING = 1e-5, 1


def load_timm_mobilenet(path, model, classifier=False):
    """Fill stem and blocks of a MobileNet from timm's file; return the names of the parts that were left alone.

    These are skip projections, attention, and the classifier unless it is asked for: then the classes must be as many.
    The stem's kernels see three colours; for grey pictures they are summed, as in interop.keras.

    Raises     CheckpointError when the file is missing, damaged or of another network; ConfigError when the model pads
               or normalizes in another way. The model is then as it was.
    """
    _check_model(model)
    arrays, _ = safetensors.read(path)
    state, left = {}, {}
    for name, mine in model.state().items():
        theirs = timm_name(name)
        if theirs is None or (name.startswith("classifier") and not classifier):
            left[re.match(r"block\d+\.projection|\w+", name)[0]] = None
            continue
        if theirs not in arrays:
            raise CheckpointError(f"{path} has no {theirs}: it is no MobileNet V1 of timm, or was cut short")
        array = arrays[theirs]
        if array.ndim != _turned(name, mine).ndim:
            raise CheckpointError(f"{path} is of another network: {theirs} has the shape {array.shape}")
        with np.errstate(over="ignore"):
            array = _turned(name, array.astype(np.float32), back=True)
        if not np.isfinite(array).all() or (name.endswith("running_var") and array.min() < 0):
            raise CheckpointError(f"{path} is damaged: {theirs} is not finite, or a variance below 0")
        if name == "stem.weight" and array.ndim == 4 and array.shape[2] == 3 and mine.shape[2] == 1:
            array = array.sum(axis=2, keepdims=True)
        if array.shape != mine.shape:
            raise CheckpointError(
                f"{path} is of another network: {theirs} is {name} of shape {array.shape}, this model's has "
                f"{mine.shape}"
            )
        state[name] = array
    model.load_state({**model.state(), **state}, str(path))
    return list(left)


def save_timm_mobilenet(path, model):
    """Write a plain MobileNet under timm's names: timm.create_model("mobilenetv1_100", checkpoint_path=path, ...).

    Raises     ConfigError when timm has no such network
    """
    _check_model(model)
    arrays = {}
    for name, array in model.state().items():
        theirs = timm_name(name)
        if theirs is None:
            part = name.rpartition(".")[0]
            raise ConfigError(f"timm's MobileNet V1 has no {part}: write .onnx, which takes any network")
        arrays[theirs] = _turned(name, array)
        if name.endswith("running_var"):  # what PyTorch counts and does not use
            arrays[theirs.replace("running_var", "num_batches_tracked")] = np.array(0, np.int64)
    safetensors.write(path, arrays)


def timm_name(path):
    """Return timm's name of an array such as "block3.depthwise.weight", or None."""
    match = re.fullmatch(r"(?:block(\d+)\.)?(stem|depthwise|pointwise|classifier)(_norm)?\.(\w+)", path)
    if not match:
        return None
    number, layer, norm, array = match.groups()
    if layer == "classifier":
        return f"classifier.{array}"
    where = ""
    if number:
        strides = [stride for _, stride in BLOCKS[: int(number)]]
        stage = sum(stride > 1 for stride in strides)
        first = max((place for place, stride in enumerate(strides) if stride > 1), default=0)
        where = f"blocks.{stage}.{int(number) - 1 - first}."
    if norm:
        return f"{where}bn{2 if layer == 'pointwise' else 1}.{NORM[array]}"
    return where + {"stem": "conv_stem", "depthwise": "conv_dw", "pointwise": "conv_pw"}[layer] + ".weight"


def _turned(name, array, back=False):
    """Return an array as timm keeps it, or one of timm's as minifer does."""
    if name == "stem.weight":
        return array.transpose(2, 3, 1, 0) if back else array.transpose(3, 2, 0, 1)
    if name.endswith("depthwise.weight"):
        return np.moveaxis(array[:, 0], 0, -1) if back else np.moveaxis(array, -1, 0)[:, np.newaxis]
    if name.endswith("pointwise.weight"):
        return array[:, :, 0, 0].T if back else array.T[:, :, np.newaxis, np.newaxis]
    return array.T


def _check_model(model):
    """Raise ConfigError unless the weights mean the same in this model as in timm's."""
    if not isinstance(model, MobileNet):
        raise ConfigError(f"timm's MobileNet weights fit a MobileNet, not a {type(model).__name__}")
    padding, eps = model["stem"].padding, model["stem_norm"].eps
    if padding != PADDING or eps != EPS:
        raise ConfigError(
            f'timm\'s weights need mobilenet("plain", padding={PADDING}, bn_eps={EPS}); this model has '
            f"padding={padding!r}, bn_eps={eps}, where they would give other answers"
        )
