"""All views of a network's inside for one picture: the figures, and one sentence about each.

What a network does not have is left out: attention, skips, filters, or an order of layers (own networks).
"""

import numpy as np

from minifer.errors import ConfigError
from minifer.report import effects, inside
from minifer.report.canvas import new_figure, show


def views(model, image, classes, probs):
    """Yield (name of a file, Figure, what it shows) of each view that the network has; where it has none, (name, None,
    why).

    Shapes     image (H,W,C) as the network reads it   probs (classes,) that it gives it
    """
    for name, view in VIEWS.items():
        try:
            yield from view(model, image, classes, probs)
        except ConfigError as error:
            yield name, None, str(error)


def picture(model, image, classes, probs):
    """What the network reads, and what it takes it for."""
    best = np.argsort(probs)[::-1][:3]
    said = ", ".join(f"{classes[k]} {100 * probs[k]:.1f} %" for k in best)
    figure, axes = new_figure(2.4, 2.6)
    show(axes[0, 0], image, said.partition(",")[0])
    yield "picture", figure, f"what the network reads, {' x '.join(map(str, image.shape))}; it says {said}"


def filters(model, image, classes, probs):
    """The first filters of each convolution."""
    rows = inside.filters(model)
    figure = inside.draw_filters(model)
    yield "filters", figure, f"the first filters of {listed(rows)}: negative blue, positive red"


def feature_maps(model, image, classes, probs):
    """What comes out of some layers."""
    found = inside.outputs(model, image)
    layers = inside.shown_layers(found)
    alive = found[layers[-1]].reshape(-1, found[layers[-1]].shape[-1]).any(axis=0).mean()
    yield (
        "feature-maps",
        inside.draw_feature_maps(model, image, layers),
        f"what comes out of {listed(layers)}: {alive:.0%} of the channels of {layers[-1]} answer to this picture",
    )


def attention(model, image, classes, probs):
    """Where the heads of each attention layer take from, seen from the middle."""
    if not inside.attention_layers(model):
        raise ConfigError("this network has no attention layers, or is no Sequential")
    for name, weights in inside.attention_maps(model, image).items():
        heads, height, width = weights.shape[:3]
        seen = weights[:, height // 2, width // 2].reshape(heads, -1)
        yield (
            name,
            inside.draw_attention(model, image, name),
            f"where the {heads} heads take from, seen from the middle of {height} x {width} positions: head "
            f"{seen.max(axis=1).argmax() + 1} takes {seen.max():.0%} from one of them (evenly it would be "
            f"{1 / seen.shape[1]:.0%})",
        )


def saliency(model, image, classes, probs):
    """How much each pixel moves the logit of the class that wins."""
    gradient, label = inside.saliency(model, image)
    sizes = np.sort(np.abs(gradient).ravel())[::-1]
    part = sizes[: max(len(sizes) // 10, 1)].sum() / max(sizes.sum(), 1e-30)
    yield (
        "saliency",
        inside.draw_saliency(model, [image], classes),
        f"how much each pixel moves the logit of {classes[label]}: a tenth of the pixels has {part:.0%} of it",
    )


def blocks(model, image, classes, probs):
    """How far the logits move without each block."""
    figure, changes = effects.draw_changes(model, image)
    most = max(changes, key=changes.get)
    yield (
        "effects",
        figure,
        f"how far the logits move without each of {len(changes)} blocks: most without {most}, by {changes[most]:.1f} "
        "times their size",
    )


VIEWS = {
    "picture": picture, "filters": filters, "feature-maps": feature_maps, "attention": attention,
    "saliency": saliency, "effects": blocks,
}  # fmt: skip


def listed(names):
    """Return names in words, the middle ones left out where there are many."""
    names = list(names)
    if len(names) > 6:
        names = [*names[:3], "...", names[-1]]
    return ", ".join(names)
