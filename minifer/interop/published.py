"""Whether a network has the published strides. Files of weights hold none: who reads them takes those of its own table,
and would give other answers for a network with others, without a word.
"""

from minifer.errors import ConfigError


def check_strides(model, published, title):
    """Raise ConfigError unless a network has the convolutions of the published one, each with the same stride.

    title      what the published one is called, such as "Keras' MobileNet"
    """
    mine, theirs = (
        {path: layer.stride for path, layer in network.walk() if hasattr(layer, "stride")}
        for network in (model, published)
    )
    for path in theirs | mine:
        here, there = mine.get(path), theirs.get(path)
        if here != there:
            what = f"{path} with stride {there}, this network {here or 'no such layer'}" if there else f"no {path}"
            raise ConfigError(f"{title} has {what}: write .onnx, which takes any network")
