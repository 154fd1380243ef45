"""What timm and torchvision, which run in PyTorch, call the layers of the MobileNets that minifer has, too.

    minifer                  timm                          torchvision (V2, then V3)
    stem, stem_norm          conv_stem, bn1                features.0.0, .0.1         features.0.0, .0.1
    block4.expand, _norm     blocks.S.B.conv_pw, .bn1      features.4.conv.0.0, .0.1  features.4.block.0.0, .0.1
    block4.depthwise, _norm  blocks.S.B.conv_dw, .bn2      features.4.conv.1.0, .1.1  features.4.block.1.0, .1.1
    block4.squeeze.reduce    blocks.S.B.se.conv_reduce                                features.4.block.2.fc1
    block4.project, _norm    blocks.S.B.conv_pwl, .bn3     features.4.conv.2, .3      features.4.block.3.0, .3.1
    last, last_norm          V2 conv_head, bn2             features.18.0, .1
                             V3 blocks.6.0.conv, .bn1                                 features.16.0, .1
    hidden                   conv_head                                                classifier.0
    classifier               classifier                    classifier.1               classifier.3

S is timm's stage, which begins where the published table grows wider, and B counts the blocks in it. A block that does
not expand has two layers, conv_dw and conv_pw, with bn1 and bn2 in timm: so are all blocks of V1, which torchvision
does not have. What a block leaves out, torchvision does not count.
"""

from functools import partial

from minifer.errors import ConfigError
from minifer.models import BLOCKS, V2_BLOCKS, V3_BLOCKS, MobileNet, mobilenet, mobilenet_v2, mobilenet_v3

ARRAYS = {
    "weight": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "running_mean": "running_mean",
    "running_var": "running_var",
}
TITLES = {"v1": "MobileNet V1", "v2": "MobileNetV2", "v3": "MobileNetV3 large", "v3-small": "MobileNetV3 small"}
# The published width of every block.
WIDTHS = {
    "v1": [filters for filters, _ in BLOCKS],
    "v2": [filters for _, filters, count, _ in V2_BLOCKS for _ in range(count)],
    "v3": [row[2] for row in V3_BLOCKS["large"]],
    "v3-small": [row[2] for row in V3_BLOCKS["small"]],
}
PUBLISHED = {
    "v1": mobilenet,
    "v2": mobilenet_v2,
    "v3": partial(mobilenet_v3, "large"),
    "v3-small": partial(mobilenet_v3, "small"),
}


def member(model):
    """Return which of the family a network is: v1, v2, v3 or v3-small.

    Raises     ConfigError when it is none of them
    """
    if isinstance(model, MobileNet):
        return "v1"
    state = model.state().keys()
    for name in ("v2", "v3", "v3-small"):
        if state == PUBLISHED[name](outline=True).state().keys():
            return name
    raise ConfigError(
        f"timm's and torchvision's weights are of MobileNet, V2 or V3: a network of one's own, {type(model).__name__}, "
        "is none of these"
    )


def their_names(model, layout):
    """Return {minifer's path of an array: its name in "timm" or "torchvision"}.

    Skip projections and attention have none.

    Raises     ConfigError when they have no such network
    """
    which = member(model)
    if layout == "torchvision" and which == "v1":
        raise ConfigError("torchvision has no MobileNet V1: timm has")
    name_ends, name_block = (_timm_ends, _timm_block) if layout == "timm" else (_torchvision_ends, _torchvision_block)
    paths = [path.rpartition(".") for path in model.state()]
    layers = name_ends(which)
    for number in range(1, len(WIDTHS[which]) + 1):
        start = f"block{number}."
        inside = dict.fromkeys(path.removeprefix(start) for path, _, _ in paths if path.startswith(start))
        layers |= {start + layer: name for layer, name in name_block(which, number, inside).items()}
    return {f"{path}.{array}": f"{layers[path]}.{ARRAYS[array]}" for path, _, array in paths if path in layers}


def _timm_ends(which):
    stages = _stage(which, len(WIDTHS[which]))[0] + 1
    ends = {"stem": "conv_stem", "stem_norm": "bn1", "classifier": "classifier"}
    if which == "v1":
        return ends
    if which == "v2":
        return {**ends, "last": "conv_head", "last_norm": "bn2"}
    return {**ends, "last": f"blocks.{stages}.0.conv", "last_norm": f"blocks.{stages}.0.bn1", "hidden": "conv_head"}


def _timm_block(which, number, inside):
    stage, place = _stage(which, number)
    if "expand" in inside:
        convolutions = {"expand": "conv_pw", "depthwise": "conv_dw", "project": "conv_pwl"}
    else:
        convolutions = {"depthwise": "conv_dw", "pointwise" if which == "v1" else "project": "conv_pw"}
    names = {"squeeze.reduce": "se.conv_reduce", "squeeze.expand": "se.conv_expand"}
    for count, (layer, name) in enumerate(convolutions.items(), start=1):
        names |= {layer: name, f"{layer}_norm": f"bn{count}"}
    return {layer: f"blocks.{stage}.{place}.{name}" for layer, name in names.items() if layer in inside}


def _stage(which, number):
    """Return timm's stage of a block, and the block's place in it."""
    widths = WIDTHS[which][:number]
    begins = [place for place in range(number) if place == 0 or widths[place] != widths[place - 1]]
    return len(begins) - 1, number - 1 - begins[-1]


def _torchvision_ends(which):
    last = f"features.{len(WIDTHS[which]) + 1}"
    ends = {"stem": "features.0.0", "stem_norm": "features.0.1", "last": f"{last}.0", "last_norm": f"{last}.1"}
    if which == "v2":
        return {**ends, "classifier": "classifier.1"}
    return {**ends, "hidden": "classifier.0", "classifier": "classifier.3"}


def _torchvision_block(which, number, inside):
    parts = [part for part in ("expand", "depthwise", "squeeze.reduce", "project") if part in inside]
    names = {}
    for place, part in enumerate(parts):
        if part == "squeeze.reduce":
            names |= {"squeeze.reduce": f"{place}.fc1", "squeeze.expand": f"{place}.fc2"}
        elif part == "project" and which == "v2":
            names |= {part: f"{place}", f"{part}_norm": f"{place + 1}"}
        else:
            names |= {part: f"{place}.0", f"{part}_norm": f"{place}.1"}
    where = f"features.{number}.{'conv' if which == 'v2' else 'block'}"
    return {layer: f"{where}.{name}" for layer, name in names.items()}
