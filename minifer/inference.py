"""A trained network ready for inference: batch normalization folded into the convolutions, one call for all layers.

    y = clip(gamma * (conv(x) - mean) / sqrt(var + eps) + beta)
      = clip(conv'(x) + bias)        conv' = conv * gamma / sqrt(var + eps)      bias = beta - mean * gamma / sqrt(...)

    network = InferenceNetwork(model, (48, 48, 1))
    logits = network(images)                         # (N, classes), images (N, 48, 48, 1) float32

Training needs every layer's input again in backward; inference does not, so maps live in a few reused pieces of memory.
"""

import numpy as np

from minifer.errors import ConfigError, DtypeError, ShapeError, require
from minifer.kernels import network as kernel
from minifer.kernels.depthwise import offset_lists
from minifer.kernels.octets import FOUR, LARGEST, UNITS, fours_of_rows, quantize
from minifer.kernels.threads import in_turn
from minifer.kernels.tile import PANEL, TILE_ROWS
from minifer.kernels.vectors import HAS_OCTETS
from minifer.kernels.window import ZEROS, keeps_size
from minifer.layers import (
    BatchNorm,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePool,
    Layer,
    LayerNorm,
    Linear,
    MultiHeadSelfAttention,
    PointwiseConv2D,
    Residual,
    Sequential,
)
from minifer.layers.base import computes_as
from minifer.layers.normalization import CLIPS

NO_CLIP = CLIPS[None]
PRODUCTS = ("float32", "int8")


def _row_length(channels):
    """Return how far apart the rows of a map lie: never a power of two of kilobytes (see kernels/network.py)."""
    return channels + 16 if channels % 512 == 0 else channels


def fold(weight, norm, bias=None):
    """Return (weight, bias) of a convolution without bias and the BatchNorm after it; channels are the last axis."""
    scale = norm.gamma.value / np.sqrt(norm.running_var.value + norm.eps)
    shift = norm.beta.value - norm.running_mean.value * scale
    return weight * scale, shift if bias is None else shift + bias * scale


def _is(layer, kind):
    return computes_as(layer, kind, "forward")


def _in_line(layers):
    """Yield layers, those of a Sequential among them one by one, and no Dropout: it does nothing here."""
    for layer in layers:
        if _is(layer, Sequential):
            yield from _in_line(layer.layers.values())
        elif not _is(layer, Dropout):
            yield layer


class _Map:
    """Where a map lies: a slot of memory and how far into it; its positions, channels, and the length of its rows."""

    def __init__(self, slot, height, width, channels, row=None, offset=0):
        self.slot, self.height, self.width, self.channels, self.offset = slot, height, width, channels, offset
        self.row = row or _row_length(channels)
        self.positions = height * width
        self.octets = None  # the same once more, as bytes
        self.pooled = False  # one row of features for each picture, no map any more


def ready(model: Layer, input_shape: tuple[int, int, int], notice=lambda line: None):
    """Return the fastest function from pictures (N,H,W,C) float32 to logits: an InferenceNetwork, or model.forward.

    notice     is called with one line when the network has a layer that InferenceNetwork knows no step for
    """
    try:
        return InferenceNetwork(model, input_shape)
    except ConfigError as error:
        notice(f"{error}: its layers compute one by one instead of all in one call, with the same answers")
        return model.forward


class InferenceNetwork:
    """A network written down as a program of steps, for at most batch_size pictures at a time.

    Any number of threads may call one: its memory is used by one batch after another, so they wait for each other.

        >>> from minifer.models import mobilenet
        >>> network = InferenceNetwork(mobilenet("skip", alpha=0.25), (48, 48, 1))
        >>> network(np.zeros((5, 48, 48, 1), np.float32)).shape
        (5, 7)

    products    "float32", or "int8": pointwise convolutions of what a depthwise one and ReLU6 have left multiply bytes,
                the logits differ somewhat (see kernels/octets.py)
    Raises      ConfigError for a layer it has no step for, layers that do not fit each other or input_shape, and where
                the processor cannot multiply bytes; ShapeError for pictures of another size than input_shape
    """

    def __init__(
        self, model: Layer, input_shape: tuple[int, int, int], batch_size: int = 32, products: str = "float32"
    ):
        if products not in PRODUCTS:
            raise ConfigError(f"products={products}: choose one of {', '.join(PRODUCTS)}")
        if products == "int8" and not HAS_OCTETS:
            raise ConfigError("products=int8: this processor cannot multiply bytes (VNNI), or nothing is compiled")
        require(batch_size >= 1, f"batch_size={batch_size}: at least one picture is answered at a time")
        self.input_shape, self.batch_size, self.products = tuple(input_shape), batch_size, products
        self._steps, self._starts, self._sources, self._taps = [], [], [], []
        self._pieces, self._pieces_size = [], 0
        self._free, self._slots = [], 0
        self._slot_size = kernel.TASKS * TILE_ROWS * PANEL  # slot 0: scratch for tiles at an edge
        self._take(1, 1, 1)
        self._keep(np.zeros(ZEROS))
        height, width, channels = input_shape
        self._out = self._write(model, _Map(None, height, width, channels))
        require(self._out.pooled, "inference ends in one row of numbers for each picture, this network in a map")
        if products == "int8" and all(step.get("scale", -1) < 0 for step in self._steps):
            raise ConfigError("products=int8: no pointwise convolution of this network reads what ReLU6 has clipped")
        self._memory = np.zeros(self._slots * self._slot_size, np.float32)
        self._weights = np.concatenate(self._pieces)
        self._lists = [np.array(values, np.int64) for values in (self._starts, self._sources, self._taps)]
        self._program = np.zeros(len(self._steps), kernel.STEP)
        for row, step in zip(self._program, self._steps, strict=True):
            for name, value in step.items():
                row[name] = self._place(value) if isinstance(value, _Map) else value
        self._fours = (self._memory.view(np.int32), self._weights.view(np.int32)) if products == "int8" else None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return logits (N, classes) of images (N,H,W,C) float32, as data.dataset.to_float makes them of pictures."""
        if images.dtype.kind != "f":
            raise DtypeError(f"a network reads floats from -1 to 1, got {images.dtype}: give to_float of the pictures")
        if images.shape[1:] != self.input_shape:
            raise ShapeError(f"this network was made for pictures of {self.input_shape}, got {images.shape[1:]}")
        images = np.ascontiguousarray(images, np.float32)
        logits = np.empty((len(images), self._out.channels), np.float32)
        for start in range(0, len(images), self.batch_size):
            pictures = images[start : start + self.batch_size]
            with in_turn:  # until the logits are out of the memory that the next call uses
                self._run(pictures.reshape(-1), len(pictures))
                out = self._memory[self._place(self._out) :][: len(pictures) * self._out.row]
                logits[start : start + len(pictures)] = out.reshape(len(pictures), -1)[:, : self._out.channels]
        if self._fours is not None:  # no byte says that a number is none
            logits[~np.isfinite(images).all(axis=(1, 2, 3))] = np.nan
        return logits

    def _run(self, pictures, batch):
        """Run the whole program on a batch of pictures, one-dimensional."""
        number = 0
        while number < len(self._program):
            number += kernel.run_network(
                self._program[number:], pictures, batch, self._memory, self._weights, *self._lists, self._fours
            )
            if number == len(self._program):
                return
            if self._program[number].operation == kernel.NORMALIZE:
                kernel.normalize(self._memory, self._program, number, batch, self._weights)
            else:
                kernel.attend(self._memory, self._program[number], batch)
            number += 1

    # Memory and weights.

    def _place(self, a_map):
        """Return where a map starts in memory."""
        return a_map.slot * self._slot_size + a_map.offset

    def _take(self, height, width, channels, row=None, copies=1):
        """Return a new map in a slot that is free, which has room for `copies` of it."""
        if not self._free:
            self._free.append(self._slots)
            self._slots += 1
        new = _Map(self._free.pop(), height, width, channels, row)
        # The last tile of rows may be read beyond the last position.
        self._slot_size = max(self._slot_size, (copies * self.batch_size * new.positions + TILE_ROWS) * new.row)
        return new

    def _release(self, a_map):
        """Give back the slots of a map."""
        self._free.append(a_map.slot)
        if a_map.octets is not None:
            self._free.append(a_map.octets.slot)

    def _keep(self, values):
        """Add numbers to the weights; return where they start."""
        values = np.ascontiguousarray(values)  # bytes, in fours, stay what they are
        values = values.view(np.float32) if values.dtype == np.int32 else values.astype(np.float32)
        values, start = values.reshape(-1), self._pieces_size
        padded = np.pad(values, (0, -values.size % 16))  # every piece starts on a cache line
        self._pieces.append(padded)
        self._pieces_size += padded.size
        return start

    def _keep_lists(self, starts, sources, taps):
        """Add a layer's lists of offsets; return where its starts begin."""
        first, offset = len(self._starts), len(self._sources)
        self._starts.extend(int(offset + start) for start in starts)
        self._sources.extend(map(int, sources))
        self._taps.extend(map(int, taps))
        return first

    def _keep_window(self, x, oh, ow, window, row):
        """Add the lists of a window over x, whose rows lie `row` numbers apart; return where its starts begin."""
        starts, positions, taps = offset_lists("output", oh, (x.height, x.width, 1), oh, ow, *window)
        return self._keep_lists(starts, positions * row, taps * x.channels)

    def _step(self, operation, source, target, clips=NO_CLIP, shortcut=None, **fields):
        """Add a step."""
        for a_map in (source, shortcut or source):
            require(a_map.slot is not None or operation == kernel.PATCHES, "inference reads pictures by a Conv2D only")
        if shortcut is not None:
            fits = [(m.height, m.width, m.channels) for m in (target, shortcut)]
            require(fits[0] == fits[1], f"inference cannot add a shortcut of {fits[1]} to {fits[0]}")
        self._steps.append(
            {
                "operation": operation, "source": source if source.slot is not None else -1, "source_row": source.row,
                "target": target, "target_row": target.row, "shortcut": -1 if shortcut is None else shortcut,
                "shortcut_row": 0 if shortcut is None else shortcut.row, "inputs": source.positions,
                "outputs": target.positions, "channels": source.channels, "filters": target.channels,
                "weight": -1, "bias": -1, "scale": -1, "start": -1, "width": 0, "octets": -1, "octets_row": 0,
                "low": clips[0], "high": clips[1], **fields,
            }
        )  # fmt: skip

    # Layers. Each method returns the map that it writes; its caller frees the one that it read.

    def _write(self, layer, x):
        self._check(layer, x, pooled=_is(layer, Linear))
        if _is(layer, Residual):
            shortcut = x if layer.projection is None else self._write(layer.projection, x)
            y = self._write_sequence(layer, x, shortcut)
            if shortcut is not x:
                self._release(shortcut)
            return y
        if _is(layer, Sequential):
            return self._write_sequence(layer, x)
        if _is(layer, GlobalAveragePool):
            y = self._take(1, 1, x.channels)
            y.pooled = True
            self._step(kernel.AVERAGE, x, y)
            return y
        if _is(layer, Linear):
            y = self._write_pointwise(layer.weight.value, self._bias(layer), x)
            y.pooled = True
            return y
        if _is(layer, MultiHeadSelfAttention):
            return self._write_attention(layer, x)
        raise ConfigError(f"inference has no step for {type(layer).__name__} here")

    def _write_sequence(self, sequence, x, shortcut=None):
        """Write layers one after another; the last one, a normalized pointwise convolution, adds the shortcut."""
        layers, given = list(_in_line(sequence.layers.values())), x
        adds = len(layers) > 1 and _is(layers[-2], PointwiseConv2D) and _is(layers[-1], BatchNorm)
        require(shortcut is None or adds, "inference adds a shortcut after a PointwiseConv2D and its BatchNorm only")
        while layers:
            layer = layers.pop(0)
            if any(_is(layer, kind) for kind in (Conv2D, DepthwiseConv2D, PointwiseConv2D)):
                if not layers or not _is(layers[0], BatchNorm):
                    raise ConfigError(f"inference expects a BatchNorm after every {type(layer).__name__}")
                norm = layers.pop(0)
                y = self._write_convolution(layer, norm, x, shortcut if not layers else None)
            else:
                y = self._write(layer, x)
            if x is not given and x is not y:
                self._release(x)
            x = y
        return x

    def _check(self, layer, x, pooled=False):
        """Raise ConfigError unless a layer can read a map."""
        name = type(layer).__name__
        channels = getattr(layer, "channels", x.channels)
        require(x.channels == channels, f"{name} was made for {channels} channels, inference hands it {x.channels}")
        require(x.pooled == pooled or isinstance(layer, Sequential), f"inference has no step for {name} here")

    def _write_convolution(self, layer, norm, x, shortcut):
        self._check(layer, x)
        bias = None if getattr(layer, "bias", None) is None else layer.bias.value
        filters = layer.weight.value.shape[-1]
        require(norm.channels == filters, f"BatchNorm was made for {norm.channels} channels, it gets {filters}")
        weight, bias = fold(layer.weight.value, norm, bias)
        clips = CLIPS[norm.activation]
        if isinstance(layer, PointwiseConv2D):
            if layer.stride == 1:
                return self._write_pointwise(weight, bias, x, clips, shortcut)
            height, width = -(-x.height // layer.stride), -(-x.width // layer.stride)
            seen = np.arange(x.positions).reshape(x.height, x.width)[:: layer.stride, :: layer.stride].reshape(-1)
            chosen = self._take(height, width, x.channels)
            self._step(kernel.SUBSAMPLE, x, chosen, start=len(self._sources))
            self._keep_lists([], seen * x.row, np.zeros_like(seen))
            y = self._write_pointwise(weight, bias, chosen, clips, shortcut)
            self._free.append(chosen.slot)
            return y
        require(x.slot is None or not isinstance(layer, Conv2D), "inference has a step for the first Conv2D only")
        padding, oh, ow = layer.geometry(x.height, x.width)
        window = *weight.shape[:2], layer.stride, padding, layer.dilation
        if isinstance(layer, Conv2D):
            patches = self._take(oh, ow, weight[..., 0].size)
            self._step(kernel.PATCHES, x, patches, start=self._keep_window(x, oh, ow, window, x.channels))
            y = self._write_pointwise(weight.reshape(-1, weight.shape[-1]), bias, patches, clips)
            self._free.append(patches.slot)
            return y
        y = self._take(oh, ow, weight.shape[-1])
        octets = {}
        if self.products == "int8" and clips == (0, LARGEST):
            y.octets = self._take(oh, ow, -(-y.channels // FOUR))
            octets = {"octets": y.octets, "octets_row": y.octets.row}
        if x.row == x.channels and keeps_size(weight.shape[:2], *window[2:], (x.height, x.width)):
            way = {"width": x.width}  # the window slides
        else:
            way = {"start": self._keep_window(x, oh, ow, window, x.row)}
        weight, bias = self._keep(weight), self._keep(bias)
        self._step(kernel.DEPTHWISE, x, y, clips, weight=weight, bias=bias, **way, **octets)
        return y

    def _write_pointwise(self, weight, bias, x, clips=NO_CLIP, shortcut=None, target=None):
        y, scale = target or self._take(x.height, x.width, weight.shape[1]), {}
        if x.octets is not None:
            q, step = quantize(weight)
            x, weight = x.octets, fours_of_rows(q)
            scale = {"scale": self._keep(step / UNITS)}
        steps, filters = weight.shape
        panels = np.pad(weight, ((0, 0), (0, -filters % PANEL))).reshape(steps, -1, PANEL).transpose(1, 0, 2)
        self._step(kernel.POINTWISE, x, y, clips, shortcut, weight=self._keep(panels), bias=self._keep(bias), **scale)
        return y

    def _write_attention(self, layer, x):
        """Normalized tokens; query, key and value behind each other in one slot; attention; the way out."""
        gamma, beta, eps = np.ones(x.channels), np.zeros(x.channels), -1.0
        if layer.norm is not None:
            require(_is(layer.norm, LayerNorm), "inference has a step for attention's LayerNorm only")
            gamma, beta, eps = layer.norm.gamma.value, layer.norm.beta.value, layer.norm.eps
        fits = layer.position is None or tuple(layer.positions) == (x.height, x.width)
        require(fits, f"attention's positions are for {layer.positions}, the map is {x.height}x{x.width}")
        table = -1 if layer.position is None else self._keep(layer.position.value)
        tokens = self._take(x.height, x.width, x.channels)
        self._step(kernel.NORMALIZE, x, tokens, weight=table, bias=self._keep([eps]))
        inner = layer.heads * layer.head_units
        heads = self._take(x.height, x.width, inner, row=inner, copies=3)
        size = self.batch_size * heads.positions * inner
        for i, linear in enumerate((layer.query, layer.key, layer.value)):
            bias = self._bias(linear) + beta @ linear.weight.value
            part = _Map(heads.slot, x.height, x.width, inner, row=inner, offset=i * size)
            self._write_pointwise(gamma[:, None] * linear.weight.value, bias, tokens, target=part)
        attended = self._take(x.height, x.width, inner)
        self._step(kernel.ATTENTION, heads, attended, weight=size, heads=layer.heads)
        shortcut = x if layer.residual else None
        weight, bias, clips = layer.output.weight.value, self._bias(layer.output), NO_CLIP
        if layer.output_norm is not None:
            require(_is(layer.output_norm, BatchNorm), "inference has a step for attention's BatchNorm only")
            weight, bias = fold(weight, layer.output_norm, bias)
            clips = CLIPS[layer.output_norm.activation]
        y = self._write_pointwise(weight, bias, attended, clips, shortcut)
        self._free.extend((tokens.slot, heads.slot, attended.slot))
        return y

    @staticmethod
    def _bias(linear):
        return np.zeros(linear.filters, np.float32) if linear.bias is None else linear.bias.value
