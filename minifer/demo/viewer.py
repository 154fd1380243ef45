"""What the page asks for, as plain functions: the faces in a picture, and what a network does with one of them.

The page gives a picture once; what the network reads of each face is kept under a key for a while, so that the panels
of the page ask with the key alone. Nothing is written anywhere.
"""

import base64
import io
import itertools
import math
import time
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from minifer.cost import cost_rows
from minifer.demo.times import timed_rows, whole_time
from minifer.errors import ConfigError, DataError
from minifer.faces.pyramid import Picture
from minifer.files.images import read_image
from minifer.layers import Sequential
from minifer.recognizer import SURE_FROM, Recognizer
from minifer.report.inside import as_used, attention_layers, attention_maps, input_gradient, outputs
from minifer.video.tracking import Tracker

MEGAPIXELS = 1.1  # of a picture: the page sends at most 1024 x 1024 pixels
SMALLEST, LARGEST = 24, 400  # the side of the smallest face that may be asked for, in pixels
MOST_FACES = 600  # of the smallest side that would fill a picture: the time of a search grows with their number
KEPT_BYTES = 16 << 20  # of faces that were found lately: a minute of two faces at 20 pictures a second
CAMERAS = 8  # whose faces are followed at a time: pages that are open, or were lately
MOST_MAPS = 128  # channels of a layer that are shown
MOST_POSITIONS = 1024  # of a map that attention is shown on: its probabilities grow with the square


@dataclass
class CameraFrame:
    """A picture of a camera, as a Tracker takes it."""

    image: np.ndarray
    index: int
    time: float  # in seconds


class Viewer:
    """Networks and the faces that were seen lately. One thread may use it at a time.

    names      of weights: shipped ones, files, run folders
    own        the network of one's own that the first of them was trained with
    min_size   side of the smallest face's box, in pixels, where the page does not say
    Raises     what Recognizer.load raises
    """

    def __init__(self, names, own=None, threshold=SURE_FROM, min_size=80):
        self.min_size = min_size
        self.networks = {
            str(name): Recognizer.load(name, model=own if number == 0 else None) for number, name in enumerate(names)
        }
        self._keys, self._faces, self._kept_bytes = itertools.count(1), OrderedDict(), 0
        self._copies, self._costs, self._trackers = {}, {}, OrderedDict()
        for one in self.networks.values():
            one.sure_from = threshold

    def describe(self):
        """Return a dict for each network: what the page offers to choose from."""
        found = []
        for name, one in self.networks.items():
            maps = {layer: shape for layer, shape in output_shapes(one).items() if len(shape) == 3}
            found.append(
                {
                    "name": name, "classes": one.classes, "input": one.input_shape, "registered": one.register,
                    "maps": [{"name": layer, "shape": shape} for layer, shape in maps.items()],
                    "attention": [
                        {"name": layer, "heads": one.model.layers[layer].heads, "shape": maps[layer][:2]}
                        for layer in attention_layers(one.model)
                    ],
                }
            )  # fmt: skip
        return found

    def faces(self, data, network, min_size, camera=""):
        """Return the faces in the bytes of a picture, as Recognizer.predict does, and how long it took.

        Each has a number under "face", and a key under which the panels ask for it.

        camera     name of the camera that the picture is from: faces then keep their numbers from picture to picture,
                   are searched in every tenth and followed in between (see minifer.video)
        Raises     DataError when the bytes are no picture, or one that is too large
        """
        one, started = self.networks[network], time.perf_counter()
        image = read_image(io.BytesIO(data), "the picture", colour=one.colour, megapixels=MEGAPIXELS)
        read = time.perf_counter()
        height, width = image.shape[:2]
        one.min_size = max(min_size, math.ceil(math.sqrt(height * width / MOST_FACES)))
        rows, inputs = self._follow(one, image, network, camera) if camera else self._search(one, image)
        ms = {"read": _ms(read - started), "look": _ms(time.perf_counter() - read)}
        for row, x in zip(rows, inputs, strict=True):
            row["key"] = self._keep(network, x)
        return {"width": width, "height": height, "min_size": one.min_size, "faces": rows, "ms": ms}

    def _search(self, one, image):
        """Return (rows, what the network reads) of the faces in a picture by itself."""
        faces = one.faces(one.picture(image))
        probs = one.probabilities([face.input for face in faces])
        rows = [
            {"face": number, **face.as_dict(), "probabilities": one.named(own)}
            for number, (face, own) in enumerate(zip(faces, probs, strict=True), start=1)
        ]
        return rows, [face.input for face in faces]

    def _follow(self, one, image, network, camera):
        """Return (rows, what the network reads) of the faces in a picture of a camera."""
        tracker = self._trackers.pop((network, camera), None) or Tracker(one)
        self._trackers[network, camera] = tracker
        while len(self._trackers) > CAMERAS:
            self._trackers.popitem(last=False)
        rows = tracker.answer(CameraFrame(image, tracker.answered, time.monotonic()))
        inputs = {track.number: track.face.input for track in tracker.tracks}
        return rows, [inputs[row["face"]] for row in rows]

    def seen(self, network, key):
        """Return what the network reads of a face, as the panels draw it: values 0 to 255."""
        x = self._input(network, key)
        return {"shape": x.shape, "values": _packed(np.clip((x + 1) * 127.5, 0, 255).round().astype(np.uint8))}

    def maps(self, network, key, layer):
        """Return the first maps of a layer, each scaled by its largest entry to -127 to 127.

        Raises     DataError when the layer does not exist or gives no map
        """
        found = outputs(self.networks[network].model, self._input(network, key)).get(layer)
        if found is None or found.ndim != 3:
            raise DataError(f"{layer!r} is no layer with a map")
        maps = found[..., :MOST_MAPS].transpose(2, 0, 1)
        largest = np.abs(maps).max(axis=(1, 2))
        scaled = np.rint(127 * maps / np.maximum(largest, 1e-12)[:, None, None]).astype(np.int8)
        return {
            "channels": found.shape[2], "shape": maps.shape, "largest": [round(float(each), 3) for each in largest],
            "values": _packed(scaled),
        }  # fmt: skip

    def attention(self, network, key, layer, row, column):
        """Return how much each head takes from each position, seen from one.

        Raises     DataError when there is no such layer or position, or its map has more than MOST_POSITIONS
        """
        one = self.networks[network]
        x = self._input(network, key)
        if layer not in attention_layers(one.model):
            raise DataError(f"{layer!r} is no attention layer")
        height, width = outputs(one.model, x)[layer].shape[:2]
        if height * width > MOST_POSITIONS:
            raise DataError(f"the map of {layer} has {height * width} positions, more than the {MOST_POSITIONS} shown")
        if not (0 <= row < height and 0 <= column < width):
            raise DataError(f"no position {row}, {column}: the map of {layer} is {height} x {width}")
        shares = attention_maps(one.model, x, (layer,))[layer][:, row, column]
        return {"shape": shares.shape, "shares": shares.round(4).reshape(-1).tolist()}

    def saliency(self, network, key, label):
        """Return how much each pixel moves the logit of a class: the largest of its colours, 0 to 255.

        label      number of the class; None takes the one that the network takes the face for
        Raises     DataError when there is no such class
        """
        one = self.networks[network]
        if label is not None and not 0 <= label < len(one.classes):
            raise DataError(f"no class {label}: there are {len(one.classes)}")
        if network not in self._copies:
            self._copies[network] = as_used(one.model)
        gradient, label = input_gradient(self._copies[network], self._input(network, key), label)
        size = np.abs(gradient).max(axis=2)
        largest = float(size.max())
        scaled = np.rint(255 * size / max(largest, 1e-12)).astype(np.uint8)
        return {"shape": size.shape, "label": label, "largest": round(largest, 4), "values": _packed(scaled)}

    def cost(self, network, again=False):
        """Return multiply-adds and milliseconds of each layer of a network, for one picture; measured once, or again.

        whole_ms   of the whole network in one call, as predict runs it
        """
        if again or network not in self._costs:
            one = self.networks[network]
            rows, blocks = timed_rows(one.model, one.input_shape)
            whole = round(1000 * whole_time(one.network, one.input_shape), 3)
            self._costs[network] = {"rows": rows, "blocks": blocks, "whole_ms": whole}
        return self._costs[network]

    def try_faces(self):
        """Use everything that faces() uses once, so that it is compiled."""
        for one in self.networks.values():
            noise = np.random.default_rng(0).integers(0, 256, (96, 96, *[3] * one.colour)).astype(np.uint8)
            picture = one.picture(noise)
            one.faces(picture)
            face = one.fit(picture, Picture.of(noise), np.array([16.0, 16, 80, 80]), 1.0)
            one.probabilities([face.input])

    def try_panels(self):
        """Use everything that the panels use once, so that it is compiled."""
        for name, one in self.networks.items():
            key = self._keep(name, np.zeros(one.input_shape, np.float32))
            self.saliency(name, key, None)
            self.maps(name, key, next(iter(outputs(one.model, self._input(name, key)))))

    def _keep(self, network, x):
        """Keep what a network reads of a face; forget the oldest ones. Return its key."""
        key = next(self._keys)
        self._faces[key] = network, x
        self._kept_bytes += x.nbytes
        while self._kept_bytes > KEPT_BYTES and len(self._faces) > 1:
            self._kept_bytes -= self._faces.popitem(last=False)[1][1].nbytes
        return key

    def _input(self, network, key):
        """Return what a network read of a face.

        Raises     DataError when that is long ago, or was for another network
        """
        kept, x = self._faces.get(key, (None, None))
        if kept != network:
            raise DataError("this face was seen too long ago: look at the picture again")
        return x


def output_shapes(one):
    """Return {layer: shape of its output} of a Recognizer's network; it need not run for that if its cost is known."""
    shapes, shape = {}, one.input_shape
    try:
        for name, layer in one.model.layers.items() if isinstance(one.model, Sequential) else ():
            _, shape = cost_rows(layer, shape, name)
            shapes[name] = shape
    except ConfigError:
        shapes = {}
    if not shapes:
        found = outputs(one.model, np.zeros(one.input_shape, np.float32))
        shapes = {layer: y.shape for layer, y in found.items()}
    return shapes


def _packed(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _ms(seconds):
    return round(1000 * seconds, 2)
