"""Damage well-formed files in seeded random ways and read them: success or one MiniferError of one line, nothing else.

    python tests/fuzz.py --count 3000 --seed 1              every kind of file, by turns
    python tests/fuzz.py --count 3000 --kind weights        one kind

The tests do a few of each. A case is (kind, seed): the same one gives the same bytes again. What is wrong is printed
with its case: another exception, a warning, a message of several lines, more than SECONDS, more than MEMORY.
"""

import argparse
import copy
import faulthandler
import io
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
import zipfile
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np

from minifer.errors import MiniferError

SECONDS, MEMORY = 30, 850 << 20  # bytes, beside the 150 MB that NumPy, Numba and the weights take

# What may stand anywhere in a file: edges of kinds and ranges.
VALUES = (
    None, True, False, 0, -1, 1, 3, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "x", "1",
    "a\nb", "\ud800", "a" * 5000, [], {}, [1], [[]], {"a": 1}, ["x", None], [48, 48], [10**9, 10**9],
)  # fmt: skip
NUMBERS = ("0", "-1", "1e400", "nan", str(2**31), str(2**63), str(10**30), "1.5", "")


# Ways to damage bytes.


def raw(data, rng):
    """Return bytes with a few of them changed, taken out, repeated, or all after a place cut off."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        if not data:
            break
        place = int(rng.integers(len(data)))
        length = int(min(rng.integers(1, 2 ** rng.integers(1, 9)), len(data) - place))
        match rng.integers(6):
            case 0:
                data[place] ^= 1 << rng.integers(8)
            case 1:
                data[place] = rng.choice([0, 1, 127, 128, 255])
            case 2:
                data[place : place + length] = rng.bytes(length)
            case 3:
                del data[place : place + length]
            case 4:
                data[place:place] = data[place : place + length]
            case 5:
                if rng.random() < 0.3:
                    del data[place:]
    return bytes(data)


def text(data, rng):
    """Return text with a number, a word or a line replaced."""
    lines = data.split(b"\n")
    row = int(rng.integers(len(lines)))
    words = lines[row].split(b" ")
    words[int(rng.integers(len(words)))] = str(rng.choice(NUMBERS)).encode()
    lines[row] = rng.choice([b",", b" ", b"\t", b";"]).join(words)
    if rng.random() < 0.2:
        lines.insert(row, lines[int(rng.integers(len(lines)))])
    return b"\n".join(lines) if rng.random() < 0.8 else b"\n".join(lines).decode("latin-1").encode("utf-16")


def document(data, rng):
    """Return JSON with a value somewhere in it replaced, taken out or called otherwise."""
    tree = json.loads(data)
    for _ in range(rng.integers(1, 3)):
        place, path = tree, None
        while isinstance(place, dict | list) and place and (path is None or rng.random() < 0.8):
            path = place, rng.choice(list(place)) if isinstance(place, dict) else int(rng.integers(len(place)))
            place = place[path[1]]
        if path is None:
            return json.dumps(VALUES[rng.integers(len(VALUES))]).encode()
        holder, key = path
        match rng.integers(8):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[str(rng.choice(["x", "model", "alpha", "", "a" * 300]))] = holder.pop(key)
            case _:
                holder[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    return json.dumps(tree).encode(str(rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16"])))


def array(data, rng):
    """Return an .npy file whose header says something else, or that holds other numbers."""
    if rng.random() < 0.3:
        header, end = bytearray(data), data.index(b"\n")
        digits = [place for place in range(10, end) if chr(header[place]).isdigit()]
        place = int(rng.choice(digits or [10]))
        header[place : place + 1] = str(rng.choice([*NUMBERS, "(", "O", "{}", "7" * 20])).encode()
        return bytes(header)
    values = np.load(io.BytesIO(data))
    if values.dtype.kind == "U" and not values.ndim and rng.random() < 0.9:
        values = np.array(document(str(values).encode(), rng).decode("utf-8", "replace"))
    else:
        match rng.integers(8):
            case 0:
                values = values[None]
            case 1:
                values = values.reshape(-1)[: rng.integers(values.size + 1)]
            case 2:
                values = values.astype(rng.choice(["f8", "f4", "f2", "i8", "i1", "u1", "?", "U3", "c8", ">f4", "S2"]))
            case 3:
                values = np.asfortranarray(values.T)
            case 4:
                values = np.zeros(rng.choice([0, 1, 7, 48], rng.integers(5)), values.dtype)
            case _:
                flat = values.reshape(-1).copy()
                edges = [np.nan, np.inf, -1, 1e30, 1e300, -(2**31), 255, 127, 0]
                with suppress(ValueError, OverflowError, IndexError):
                    flat[rng.integers(flat.size + 1) :: rng.integers(1, 99)] = rng.choice(edges)
                values = flat.reshape(values.shape)
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(values), allow_pickle=True)
    return file.getvalue()


def packed(data, rng):
    """Return a zip whose checksums are right and in which a member is damaged, missing, there twice or renamed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    chosen = int(rng.integers(len(members)))
    name, content = members[chosen]
    match rng.integers(12):
        case 0:
            del members[chosen]
        case 1:
            members.append((name, content))
        case 2:
            names = ["x", "../x", name + "/", name.replace("/", "\\"), ".x", "a\nb.jpg", name.upper()]
            members[chosen] = str(rng.choice(names)), content
        case _:
            members[chosen] = name, damaged(content, name, rng)
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", int(rng.choice([0, 8, 8, 12, 14]))) as archive:
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def chunks(data, rng):
    """Return a damaged PNG whose chunks have right checksums again, so that what is in them is looked at."""
    data, start = bytearray(raw(data, rng)), 8
    while start + 12 <= len(data):
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        data[end : end + 4] = zlib.crc32(data[start + 4 : end]).to_bytes(4, "big")
        start = end + 4
    return bytes(data)


BY_CONTENT = {b"PK": packed, b"\x93N": array, b"\x89P": chunks, b'{"': document, b"{\n": document}


def damaged(data, name, rng):
    """Return the bytes of a file, damaged in a way that suits what they are."""
    way = text if name.lower().endswith((".pts", ".csv")) else BY_CONTENT.get(data[:2], raw)
    try:
        return (raw if rng.random() < 0.3 else way)(data, rng)
    except Exception:  # already so damaged that it cannot be understood
        return raw(data, rng)


# Kinds of files: what a well-formed one looks like, and what is done with it.

KINDS = {}


def kind(name, suffix):
    """Register a function that returns ([bytes of well-formed files], function that reads a path)."""

    def register(function):
        KINDS[name] = suffix, cache(function)
        return function

    return register


def written(write, *arguments):
    """Return the bytes that write(path, ...) writes."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "file.npz", *arguments)
        return (Path(folder) / "file.npz").read_bytes()


def small_network(**settings):
    """Return arrays and description of a small network."""
    from minifer import config
    from minifer.data.dataset import CLASSES
    from minifer.networks import build_model

    chosen = config.TrainConfig(
        **{"model": "mha", "alpha": 1 / 16, "attention_blocks": (13,), "heads": 2, "head_units": 4} | settings
    )
    meta = {"config": config.to_dict(chosen), "classes": list(CLASSES), "image_shape": [48, 48]}
    return build_model(chosen, (48, 48, 1), len(CLASSES)).state(), meta


@kind("weights", ".npz")
def weights():
    """Weights of a network, which then says what a picture shows."""
    from minifer import checkpoint
    from minifer.inference import InferenceNetwork
    from minifer.losses import probabilities
    from minifer.trained import load_weights

    def read(path):
        model, meta = load_weights(path)
        shape = (*meta["image_shape"], 1)
        if max(shape) <= 64:
            probabilities(InferenceNetwork(model, shape, batch_size=1)(np.zeros((1, *shape), np.float32)))

    networks = [small_network(), small_network(model="skip", blocks="even", linear=True, attention_positions=True)]
    return [written(checkpoint.save, *network) for network in networks], read


@kind("last", ".npz")
def last():
    """last.npz, from which a training goes on for a step."""
    from minifer import config
    from minifer.data import synthetic
    from minifer.training import Observer, Training

    faces = synthetic.load(seed=3, train=20, val=7)
    _, meta = small_network(epochs=3, batch_size=10, dropout=0.1, average=0.9)
    settings = config.from_dict(meta["config"])

    def start():
        return Training(settings, faces["train"], faces["val"])

    def read(path):
        training = start()
        training.restore(path.parent)
        training.run(Observer(), lambda: True)

    with tempfile.TemporaryDirectory() as folder:
        training = start()
        training.run(Observer(), lambda: training.epoch == 1 and training.step == 1)
        training.save(Path(folder))
        return [(Path(folder) / "last.npz").read_bytes()], read


@kind("config", ".json")
def configs():
    """config.json of a run."""
    from minifer import config
    from minifer.training import build_augmentation

    def read(path):
        settings, _ = config.read(path)
        build_augmentation(settings)

    return [json.dumps({"data": None, "config": config.to_dict(c)}).encode() for c in config.PRESETS.values()], read


@kind("data", ".npz")
def data():
    """A data set in one file."""
    from minifer.data import fer2013, synthetic

    return [written(fer2013.save_npz, synthetic.load(seed=3, train=12, val=7))], fer2013.load


def shipped(module, most=None):
    """Return the bytes of a file of weights that ships, with at most `most` rows of each array, stored and packed."""
    from minifer.files.npz import Npz, write_npz

    with Npz(module.SHIPPED) as file:
        arrays = file.all()
    if most:
        whole = ("mean", "doubt.weight", "doubt.bias")  # these hold no rows
        arrays = {name: values if name.endswith(whole) else values[:most] for name, values in arrays.items()}
    files = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        file = io.BytesIO()
        write_npz(file, arrays, method)
        files.append(file.getvalue())
    return files


@kind("detector", ".npz")
def detectors():
    """The face detector, which then looks at a picture."""
    from minifer.faces import FaceDetector, detector

    picture = np.random.default_rng(1).integers(0, 256, (40, 48)).astype(np.uint8)
    return shipped(detector), lambda path: FaceDetector.load(path).detect(picture)


@kind("landmarks", ".npz")
def predictors():
    """The landmark predictor, which then looks at a picture."""
    from minifer.faces import LandmarkPredictor, landmarks

    picture = np.random.default_rng(1).integers(0, 256, (60, 50)).astype(np.uint8)
    return shipped(landmarks, most=1), lambda path: LandmarkPredictor.load(path).predict(picture, [5, 5, 45, 45])


@kind("keras", ".h5")
def keras():
    """A MobileNet of Keras."""
    import h5py

    from minifer.interop.keras import keras_name, keras_shape, load_keras_mobilenet
    from minifer.models import mobilenet

    model = mobilenet(alpha=1 / 16, input_shape=(32, 32, 3))
    files = []
    for nested in (False, True):
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            names = {}
            for name, values in model.state().items():
                if where := keras_name(name):
                    layer = "model_weights/mobilenet" if nested else where[0]
                    key = f"{where[0]}/{where[1][0]}:0"
                    file[f"{layer}/{key}"] = np.ones(keras_shape(name, values.shape), np.float32)
                    names.setdefault(layer, []).append(key.encode())
            for layer, keys in names.items():
                file[layer].attrs["weight_names"] = keys
        files.append(stream.getvalue())
    return files, lambda path: load_keras_mobilenet(path, model)


def png(value=3, side=48):
    """Return the bytes of a grey picture."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.full((side, side), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def zipped(files):
    """Return the bytes of a zip."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


POINTS = "version: 1\nn_points: 68\n{\n" + "\n".join(f"{i} {i % 9 + 0.5}" for i in range(68)) + "\n}\n"


@kind("portraits", ".zip")
def portraits():
    """Portraits with landmarks, in a zip or in a zip in a zip."""
    from minifer.faces.archives import portraits_below

    inner = zipped({"a.png": png(), "a.pts": POINTS.encode(), "b/c.PNG": png(9), "b/c.PTS": POINTS.encode()})
    return [inner, zipped({"inner.zip": inner})], portraits_below


@kind("pictures", ".zip")
def pictures():
    """A data set of pictures, in a zip, a tar, or a zip in a zip."""
    import tarfile

    from minifer.data import fer2013

    files = {f"train/{name}/Training_{k}.png": png(k) for k, name in enumerate(("angry", "sad", "happy"))}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    tar = io.BytesIO(stream.getvalue())
    with tarfile.open(fileobj=tar) as archive:
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as other:
            for member in archive:
                other.addfile(member, archive.extractfile(member))
    inner = zipped(files)
    return [inner, zipped({"inner.zip": inner}), stream.getvalue(), plain.getvalue()], fer2013.load


def encoded(picture, form, **options):
    """Return the bytes of a picture of Pillow's in a format."""
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


@kind("images", ".img")
def images():
    """A picture in each format and depth that is read."""
    from PIL import Image

    from minifer.files.images import formats, read_image

    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24)).astype(np.uint8))
    rgb, deep = Image.merge("RGB", [grey, grey, grey]), np.asarray(grey).astype(np.uint16) * 257
    share, turned = Image.fromarray(np.asarray(grey, np.float32) / 255), grey.rotate(180)
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x010F] = 6, 72.0, "Canon"
    exif.get_ifd(0x8769)[0x829A] = (1, 100)
    files = [
        encoded(grey, "JPEG", exif=exif),
        encoded(rgb, "JPEG", progressive=True, exif=exif),
        encoded(rgb.convert("CMYK"), "JPEG"),
        encoded(rgb, "MPO", save_all=True, append_images=[rgb], exif=exif),
        encoded(grey, "PNG", exif=exif),
        encoded(rgb.convert("RGBA"), "PNG"),
        encoded(rgb.quantize(16), "PNG", transparency=3),
        encoded(Image.fromarray(deep), "PNG"),
        encoded(grey, "PNG", save_all=True, append_images=[turned]),
        encoded(rgb, "WEBP", exif=exif),
        encoded(rgb, "WEBP", lossless=True, save_all=True, append_images=[turned.convert("RGB")]),
        encoded(grey, "GIF", save_all=True, append_images=[turned], transparency=7),
        encoded(rgb, "BMP"),
        encoded(rgb.quantize(16), "BMP"),
        encoded(rgb, "DIB"),
        encoded(grey, "PPM"),
        encoded(grey.convert("1"), "PPM"),
        encoded(share, "PPM"),
        b"P5 6 5 4095\n" + (deep[:5, :6] // 17).astype(">u2").tobytes(),
        b"P3 # words\n2 2\n15\n" + b"1 2 3 " * 4,
        encoded(share, "TIFF"),
        encoded(Image.fromarray(deep.astype(np.int32)), "TIFF"),
        encoded(Image.fromarray(deep), "TIFF", compression="tiff_adobe_deflate"),
        encoded(grey.convert("1"), "TIFF", compression="group4"),
    ]
    files += [encoded(rgb, "TIFF", compression=c, exif=exif) for c in (None, "tiff_lzw", "packbits", "jpeg")]
    files += [encoded(rgb, form) for form in ("JPEG2000", "AVIF") if form in formats()]

    def read(path):
        image = read_image(path)
        assert image.ndim == 2 and image.dtype == np.uint8 and image.size

    return files, read


@kind("arrays", ".npy")
def arrays():
    """An array of any type, shape and range that somebody takes for a picture."""
    from minifer.files.images import check_image

    grey = np.random.default_rng(0).integers(0, 256, (6, 5))
    made = [grey.astype(np.uint8), grey / 255, grey / 127.5 - 1, grey * 257.0, (grey * 257).astype(np.uint16)]
    made += [grey > 127, np.dstack([grey] * 3), np.dstack([grey] * 4) / np.float32(255), grey[..., None] - 128]

    def read(path):
        values = None
        with suppress(Exception), warnings.catch_warnings():  # NumPy's own reader is not what is tried
            warnings.simplefilter("ignore")
            values = np.load(path)
        image = check_image(values)
        assert image.ndim == 2 and image.dtype == np.uint8 and image.size

    files = []
    for values in made:
        stream = io.BytesIO()
        np.save(stream, values)
        files.append(stream.getvalue())
    return files, read


def load_twice(path):
    """Read a data set from its source and from the cache, which must give the same."""
    from minifer.data import fer2013

    first, again = fer2013.load(path), fer2013.load(path)
    for split, rows in first.items():
        np.testing.assert_array_equal(rows.images, again[split].images)
        np.testing.assert_array_equal(rows.labels, again[split].labels)


@kind("tables", ".csv")
def tables():
    """A data set in a table, as it was published and as spreadsheets write it."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 48 * 48))
    usages = ("0", "Training"), ("3.0", "Training"), ("5", "PublicTest"), ('"6"', "PrivateTest")
    rows = [f"{label},{' '.join(map(str, row))},{usage}" for row, (label, usage) in zip(pixels, usages, strict=True)]
    table = "\n".join(["emotion,pixels,Usage", *rows, ",,", ""])
    files = [table.encode(code) for code in ("utf-8", "utf-8-sig", "utf-16", "utf-16-be")]
    files += [table.replace(",", separator).encode() for separator in ";\t|"]
    return [*files, table.replace("\n", "\r").encode(), table.replace("\n", "\r\n").encode()], load_twice


@kind("votes", ".csv")
def votes():
    """FER+'s table, for the pictures that its rows are of."""
    from minifer.data.dataset import Dataset
    from minifer.data.ferplus import COLUMNS, relabelled

    names = np.array([f"fer{number:07d}.png" for number in range(4)])
    rows = {"train": Dataset(np.zeros((4, 8, 8), np.uint8), np.arange(4), names, split="train")}
    lines = [f"Training,{name},8,2,0,0,0,0,0,0,0,0" for name in (*names[:3], "")]
    return ["\n".join([",".join(COLUMNS), *lines, ""]).encode()], lambda path: relabelled(rows, path)


@kind("predictions", ".csv")
def predictions():
    """A teacher's table."""
    from minifer.data.dataset import Dataset
    from minifer.data.predictions import write_predictions
    from minifer.data.soft_labels import soft_labels

    rows = Dataset(np.zeros((3, 8, 8), np.uint8), [0, 1, 1], classes=("cat", "label"))
    table = written(write_predictions, np.array([[0.75, 0.25], [0, 1], [0.5, 0.5]]), rows)
    return [table], lambda path: soft_labels(rows, [path], 0.5)


@kind("folders", ".zip")
def folders():
    """A folder of pictures under odd names, among odd files and links, for predict and as a data set."""
    import shutil

    from minifer.commands.pictures import read_pictures

    right = [
        "train/angry/im0.png",
        "images/validation/1_Happiness/a b.jpg",
        "TEST/sad/Training_1.png",
        "é/train/fear/%.gif",
    ]
    odd = [
        "@eaDir/a.jpg",
        "Thumbs.db",
        "train/sad/._a.png",
        "notes.txt",
        "a.heic",
        "README",
        "train/bored/a.png",
        "x.csv",
    ]
    links = ["train/sad.link", "again.link", "train/angry/up.link", "gone.link", "self.link", "a.png.link"]
    targets = ["angry", "train", "../..", "nowhere", "self", "train/angry/im0.png"]

    def read(path):
        top = path.with_suffix("")
        shutil.rmtree(top, ignore_errors=True)
        with suppress(Exception):  # what cannot be unpacked is the reader's of zips
            with zipfile.ZipFile(path) as archive:
                archive.extractall(top)
        for link in list(top.rglob("*.link")):
            with suppress(OSError, ValueError):
                link.with_suffix("").symlink_to(link.read_text("utf-8", "replace"))
        for row in read_pictures([top]) if top.is_dir() else ():
            assert "\n" not in row[1].get("error", "")
        load_twice(top)

    odd = dict.fromkeys(odd, png())
    return [
        zipped(dict.fromkeys(right, png())),
        zipped(dict.fromkeys(right, png()) | odd),
        zipped(
            dict.fromkeys(right, png()) | {name: target.encode() for name, target in zip(links, targets, strict=True)}
        ),
    ], read


@kind("videos", ".mp4")
def videos():
    """Clips in several containers; they are told apart by what is in them."""
    import av

    from minifer.video.frames import frames

    def clip(container):
        file = io.BytesIO()
        with av.open(file, "w", format=container) as output:
            stream = output.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for k in range(6):
                picture = np.full((48, 64, 3), 40 * k, np.uint8)
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            output.mux(stream.encode(None))
        return file.getvalue()

    def read(path):
        for frame in frames(path):
            assert frame.image.ndim == 3 and np.isfinite(frame.time)

    return [clip(container) for container in ("mp4", "matroska", "avi", "mpegts")], read


# Running.


def hang(*_):
    """Say that a case takes too long."""
    raise TimeoutError(f"more than {SECONDS} seconds")


def case(name, seed, folder):
    """Do one case; return what is wrong, or None."""
    suffix, make = KINDS[name]
    files, read = make()
    rng = np.random.default_rng([seed, *name.encode()])
    path = folder / (f"last{suffix}" if name == "last" else f"file{suffix}")
    path.write_bytes(damaged(files[rng.integers(len(files))], path.name, rng))
    before = memory_peak()
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, hang)
        signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            read(path)
    except MiniferError as error:
        if "\n" in str(error):
            return f"a message of several lines: {error}"
    except Exception:
        return traceback.format_exc()
    finally:
        if hasattr(signal, "SIGALRM"):
            signal.alarm(0)
    if seen:
        return f"a warning: {seen[0].message} ({seen[0].filename}, line {seen[0].lineno})"
    used = memory_peak() - before
    return f"{used >> 20} MB of memory" if used > MEMORY else None


def memory_peak():
    """Return the most bytes that the process has had at a time."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << (0 if sys.platform == "darwin" else 10)


def run(names, count, first_seed, log=None):
    """Do count cases of each kind; return [(kind, seed, what is wrong)]."""
    found = []
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, MINIFER_CACHE=f"{folder}/cache"):
        for number in range(count):
            for name in names:
                if log is not None:
                    log.seek(0)
                    log.write(f"{name} {first_seed + number}\n")  # a crash of the process leaves its case behind
                    log.flush()
                if problem := case(name, first_seed + number, Path(folder)):
                    found.append((name, first_seed + number, problem))
                    if log is not None:
                        print(f"{name} {first_seed + number}: {problem}", flush=True)
    return found


def main():
    """Run from the command line; exit 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="cases of each kind")
    parser.add_argument("--seed", type=int, default=1, help="of the first case; the next has the next")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind")
    args = parser.parse_args()
    faulthandler.enable()
    with open(os.path.join(tempfile.gettempdir(), "minifer-fuzz-case"), "w") as log:
        found = run(args.kind or KINDS, args.count, args.seed, log)
    print(f"{len(found)} of {args.count * len(args.kind or KINDS)} cases went wrong")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
