"""MobileNets of timm and torchvision: the names, shapes and answers of their PyTorch networks, for which look-alikes
stand here, so that neither library is needed.
"""

import hashlib

import numpy as np
import pytest

from minifer import checkpoint, config, interop
from minifer.cli import main
from minifer.errors import CheckpointError, ConfigError
from minifer.models import BLOCKS, V2_BLOCKS, V3_BLOCKS, mobilenet, mobilenet_v2, mobilenet_v3
from minifer.networks import build_model
from minifer.trained import start_from

library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")

from minifer.interop.pytorch import load_pytorch, save_pytorch  # noqa: E402


def network(variant="plain", **how):
    return mobilenet(variant, **{"alpha": 1 / 16, "input_shape": (40, 40, 3), "padding": 1, "bn_eps": 1e-5, **how})


def later(which, layout, alpha=0.25, **how):
    """Return a MobileNetV2 or V3 that pads and normalizes as a library's does."""
    eps = 1e-3 if layout == "torchvision" and which != "v2" else 1e-5
    how = {"input_shape": (40, 40, 3), "padding": "symmetric", "bn_eps": eps, **how}
    if which == "v2":
        return mobilenet_v2(alpha, **how)
    return mobilenet_v3("large" if which == "v3" else "small", alpha, **how)


# Of timm 1.0.31 and torchvision 0.28, for 7 classes and colour: how many arrays, how many weights, and the first digits
# of the SHA-256 of all lines "name shape", sorted.
REAL = {
    ("timm", "v1"): (164, 3_214_151, "26e0fe9b6f559dfd"),
    ("timm", "v2"): (314, 2_232_839, "c3a89e70d51a9ecf"),
    ("timm", "v3"): (312, 4_210_999, "eb134c4fbd97558c"),
    ("timm", "v3-small"): (244, 1_525_031, "1299d50e2b964a6b"),
    ("torchvision", "v2"): (314, 2_232_839, "5004ce8b5d3dd580"),
    ("torchvision", "v3"): (312, 4_210_999, "4879de195a1ce389"),
    ("torchvision", "v3-small"): (244, 1_525_031, "0c482d9ec525592b"),
}


@pytest.mark.parametrize(("layout", "which"), REAL)
def test_names_and_shapes_are_the_libraries_own(tmp_path, layout, which):
    model = network(alpha=1) if which == "v1" else later(which, layout, alpha=1.0)
    save_pytorch(tmp_path / "net.safetensors", model, layout)
    arrays = library.load_file(tmp_path / "net.safetensors")
    lines = "\n".join(sorted(f"{name} {array.shape}" for name, array in arrays.items()))
    trained = [array.size for name, array in arrays.items() if "running" not in name and "tracked" not in name]
    assert (len(arrays), sum(trained), hashlib.sha256(lines.encode()).hexdigest()[:16]) == REAL[layout, which]


def look_alike(alpha=1 / 16, channels=3, classes=7):
    """Return {name: shape} of timm's network, stage by stage as its definition lists them."""
    stages = ((1, 64), (2, 128), (2, 256), (6, 512), (2, 1024))
    width = int(32 * alpha)
    shapes = {"conv_stem.weight": (width, channels, 3, 3), **norm("bn1", width)}
    for stage, (count, full) in enumerate(stages):
        for block in range(count):
            where, filters = f"blocks.{stage}.{block}", int(full * alpha)
            shapes |= {f"{where}.conv_dw.weight": (width, 1, 3, 3), **norm(f"{where}.bn1", width)}
            shapes |= {f"{where}.conv_pw.weight": (filters, width, 1, 1), **norm(f"{where}.bn2", filters)}
            width = filters
    return {**shapes, "classifier.weight": (classes, width), "classifier.bias": (classes,)}


def norm(where, width):
    names = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{where}.{name}": (width,) for name in names}, f"{where}.num_batches_tracked": ()}


def drawn(rng, shapes):
    """Return arrays that let signals through."""
    arrays = {}
    for name, shape in shapes.items():
        if name.endswith("tracked"):
            arrays[name] = np.array(5)
        elif len(shape) == 1:
            arrays[name] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        else:
            arrays[name] = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
    return arrays


def test_answers_of_v1_are_those_of_pytorch(tmp_path, rng):
    torch = pytest.importorskip("torch", reason="PyTorch, in which timm's network runs, is not installed")
    F = torch.nn.functional
    arrays = drawn(rng, look_alike())
    library.save_file(arrays, tmp_path / "timm.safetensors")
    model = network()
    assert load_pytorch(tmp_path / "timm.safetensors", model, classifier=True) == []
    tensors = {name: torch.tensor(array) for name, array in arrays.items()}

    def normed(y, where):
        values = (tensors[f"{where}.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
        return F.relu6(F.batch_norm(y, *values, eps=1e-5))

    x = rng.uniform(-1, 1, (3, 40, 40, 3)).astype(np.float32)
    y = torch.tensor(x).permute(0, 3, 1, 2)
    y = normed(F.conv2d(y, tensors["conv_stem.weight"], stride=2, padding=1), "bn1")
    for stage, count in enumerate((1, 2, 2, 6, 2)):
        for block in range(count):
            where, stride = f"blocks.{stage}.{block}", 2 if stage and not block else 1
            weight = tensors[f"{where}.conv_dw.weight"]
            y = normed(F.conv2d(y, weight, stride=stride, padding=1, groups=len(weight)), f"{where}.bn1")
            y = normed(F.conv2d(y, tensors[f"{where}.conv_pw.weight"]), f"{where}.bn2")
    expected = F.linear(y.mean(dim=(2, 3)), tensors["classifier.weight"], tensors["classifier.bias"]).numpy()
    assert np.abs(model.forward(x) - expected).max() < 1e-6 * np.abs(expected).max()


def rows(which):
    """Return (kernel, expanded or 0, squeeze, stride, filters) of every block, and what the blocks' activations are."""
    if which == "v2":
        return [
            (3, expansion > 1, False, stride if place == 0 else 1, filters, "relu6")
            for expansion, filters, count, stride in V2_BLOCKS
            for place in range(count)
        ]
    table, before, found = V3_BLOCKS["large" if which == "v3" else "small"], 16, []
    for kernel, expanded, filters, squeeze, activation, stride in table:
        found.append((kernel, expanded != before, squeeze, stride, filters, activation.replace("-", "")))
        before = filters
    return found


def answers(torch, tensors, x, which, layout):
    """Return the logits of the library's V2 or V3, written down once more from its definition."""
    F, eps = torch.nn.functional, 1e-3 if layout == "torchvision" and which != "v2" else 1e-5

    def part(y, convolution, norm, activation, stride=1):
        weight = tensors[f"{convolution}.weight"]
        groups = len(weight) if weight.shape[1] == 1 else 1
        y = F.conv2d(y, weight, stride=stride, padding=(weight.shape[2] - 1) // 2, groups=groups)
        values = (tensors[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
        return activate(F.batch_norm(y, *values, eps=eps), activation)

    def activate(y, activation):
        return {"relu6": F.relu6, "relu": F.relu, "hardswish": F.hardswish, None: lambda y: y}[activation](y)

    def gated(y, reduce, expand):
        z = F.relu(F.conv2d(y.mean((2, 3), keepdim=True), tensors[f"{reduce}.weight"], tensors[f"{reduce}.bias"]))
        return y * F.hardsigmoid(F.conv2d(z, tensors[f"{expand}.weight"], tensors[f"{expand}.bias"]))

    def names(number, stage, place, expands, squeezes):
        if layout == "timm":
            kinds = ["conv_pw", "conv_dw", "conv_pwl"] if expands else ["conv_dw", "conv_pw"]
            pairs = [(kind, f"bn{count}") for count, kind in enumerate(kinds, start=1)]
            gate, where = ("se.conv_reduce", "se.conv_expand"), f"blocks.{stage}.{place}"
        else:
            last = 1 + expands + squeezes
            pairs = [(f"{n}.0", f"{n}.1") for n in range(1 + expands)]
            pairs.append((f"{last}", f"{last + 1}") if which == "v2" else (f"{last}.0", f"{last}.1"))
            gate = (f"{1 + expands}.fc1", f"{1 + expands}.fc2")
            where = f"features.{number}.{'conv' if which == 'v2' else 'block'}"
        return [(f"{where}.{a}", f"{where}.{b}") for a, b in [*pairs, gate]]

    smooth = "relu6" if which == "v2" else "hardswish"
    y = torch.tensor(x).permute(0, 3, 1, 2)
    y = part(y, *(("conv_stem", "bn1") if layout == "timm" else ("features.0.0", "features.0.1")), smooth, 2)
    stage, place, before = -1, 0, None
    for number, (_, expands, squeezes, stride, filters, activation) in enumerate(rows(which), start=1):
        stage, place = (stage, place + 1) if filters == before else (stage + 1, 0)
        before, came = filters, y
        *convolutions, (*ending,), gate = names(number, stage, place, expands, squeezes)
        for count, pair in enumerate(convolutions):
            y = part(y, *pair, activation, stride if count == len(convolutions) - 1 else 1)
        y = part(gated(y, *gate) if squeezes else y, *ending, None)
        y = y + came if y.shape == came.shape and stride == 1 else y
    if layout == "torchvision":
        last = (f"features.{number + 1}.0", f"features.{number + 1}.1")
    else:
        last = ("conv_head", "bn2") if which == "v2" else (f"blocks.{stage + 1}.0.conv", f"blocks.{stage + 1}.0.bn1")
    y = part(y, *last, smooth).mean((2, 3))
    if which != "v2":
        hidden = "conv_head" if layout == "timm" else "classifier.0"
        y = F.hardswish(F.linear(y, tensors[f"{hidden}.weight"].flatten(1), tensors[f"{hidden}.bias"]))
    end = "classifier" if layout == "timm" else "classifier.1" if which == "v2" else "classifier.3"
    return F.linear(y, tensors[f"{end}.weight"], tensors[f"{end}.bias"]).numpy()


@pytest.mark.parametrize(("layout", "which"), [case for case in REAL if case[1] != "v1"])
def test_answers_of_v2_and_v3_are_those_of_pytorch(tmp_path, rng, layout, which):
    torch = pytest.importorskip("torch", reason="PyTorch, in which the networks run, is not installed")
    model = later(which, layout)
    save_pytorch(tmp_path / "net.safetensors", model, layout)
    shapes = {name: array.shape for name, array in library.load_file(tmp_path / "net.safetensors").items()}
    arrays = drawn(rng, shapes)
    library.save_file(arrays, tmp_path / "net.safetensors")
    assert interop.load(tmp_path / "net.safetensors", model, classifier=True) == []
    x = rng.uniform(-1, 1, (2, 40, 40, 3))
    tensors = {name: torch.tensor(array).double() for name, array in arrays.items()}
    expected = answers(torch, tensors, x, which, layout)
    model.astype(np.float64)  # so that a wrong term cannot hide in rounding
    assert np.abs(model.forward(x) - expected).max() < 1e-10 * np.abs(expected).max()


def test_what_is_written_is_what_was_read(tmp_path, rng):
    arrays = drawn(rng, look_alike())
    library.save_file(arrays, tmp_path / "timm.safetensors")
    model = network()
    load_pytorch(tmp_path / "timm.safetensors", model, classifier=True)
    save_pytorch(tmp_path / "again.safetensors", model)
    again = library.load_file(tmp_path / "again.safetensors")
    assert again.keys() == arrays.keys()
    for name, array in arrays.items():
        if not name.endswith("tracked"):
            np.testing.assert_array_equal(again[name], array)


def test_grey_pictures_and_what_is_left_alone(tmp_path, rng):
    arrays = drawn(rng, look_alike())
    library.save_file(arrays, tmp_path / "timm.safetensors")
    model = network("skip", input_shape=(40, 40, 1), classes=3)
    left = load_pytorch(tmp_path / "timm.safetensors", model)
    assert left[0] == "block1.projection" and left[-1] == "classifier"
    np.testing.assert_allclose(
        model["stem"].weight.value[:, :, 0], arrays["conv_stem.weight"].sum(axis=1).transpose(1, 2, 0), rtol=1e-6
    )


@pytest.mark.parametrize("how", [{"padding": "same"}, {"bn_eps": 1e-3}])
def test_a_network_that_pads_or_normalizes_otherwise_is_refused(tmp_path, rng, how):
    library.save_file(drawn(rng, look_alike()), tmp_path / "timm.safetensors")
    for function in (load_pytorch, save_pytorch):
        with pytest.raises(ConfigError, match=r"timm's weights need padding=\"symmetric\" and bn_eps=1e-05"):
            function(tmp_path / "timm.safetensors", network(**how))


def test_other_networks_are_refused(tmp_path, rng):
    library.save_file(drawn(rng, look_alike(alpha=1 / 8)), tmp_path / "wide.safetensors")
    with pytest.raises(CheckpointError, match=r"wide\.safetensors is of another network: conv_stem\.weight has"):
        load_pytorch(tmp_path / "wide.safetensors", network())
    library.save_file({"conv1.weight": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"has neither conv_stem\.weight nor features\.0\.0\.weight"):
        load_pytorch(tmp_path / "other.safetensors", network())
    with pytest.raises(ConfigError, match=r"timm's MobileNet V1 has no block1\.projection"):
        save_pytorch(tmp_path / "skip.safetensors", network("skip"))


@pytest.mark.parametrize(
    ("layout", "model"),
    [
        ("timm", network(stem_stride=1)),
        ("timm", network(blocks=tuple((filters, 1) for filters, _ in BLOCKS))),
        ("torchvision", later("v2", "torchvision", stem_stride=1)),
        ("timm", later("v3", "timm", stem_stride=1)),
    ],
)
def test_a_network_of_other_strides_is_not_written(tmp_path, layout, model):
    """Its names and shapes are theirs, and they would load it and answer otherwise without a word."""
    with pytest.raises(ConfigError, match=r"has (stem|block2\.depthwise) with stride 2, this network 1: write \.onnx"):
        save_pytorch(tmp_path / "net.safetensors", model, layout)
    assert list(tmp_path.iterdir()) == []


def test_the_suffix_decides_who_reads(tmp_path, rng):
    library.save_file(drawn(rng, look_alike()), tmp_path / "timm.safetensors")
    assert interop.load(tmp_path / "timm.safetensors", network(), classifier=True) == []
    with pytest.raises(CheckpointError, match=r"net\.pth is pickled, and loading it could run anything"):
        interop.load(tmp_path / "net.pth", network())
    with pytest.raises(ConfigError, match="Keras' weights need"):
        interop.load(tmp_path / "net.keras", network())


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("blocks.0.0.bn1.bias", np.full(2, 1e300)),
        ("blocks.0.0.bn1.running_var", np.full(2, -1, np.float32)),
        ("conv_stem.weight", np.zeros((0, 3), np.float32)),
    ],
)
def test_numbers_that_no_network_has_are_refused(tmp_path, rng, name, values):
    library.save_file(drawn(rng, look_alike()) | {name: values}, tmp_path / "timm.safetensors")
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_pytorch(tmp_path / "timm.safetensors", network())


def test_a_network_is_not_taken_for_a_relative_of_its(tmp_path):
    save_pytorch(tmp_path / "small.safetensors", later("v3-small", "timm"))
    for model in (later("v3", "timm"), later("v2", "timm"), network(alpha=0.25)):
        with pytest.raises(CheckpointError, match=r"small\.safetensors is of another network"):
            load_pytorch(tmp_path / "small.safetensors", model)
    with pytest.raises(ConfigError, match="torchvision has no MobileNet V1: timm has"):
        save_pytorch(tmp_path / "v1.safetensors", network(), "torchvision")
    with pytest.raises(ConfigError, match=r"torchvision's weights need .* bn_eps=0\.001.* has bn_eps=1e-05"):
        save_pytorch(tmp_path / "v3.safetensors", later("v3", "timm"), "torchvision")


def test_training_starts_from_them_if_it_pads_as_they_do(tmp_path):
    save_pytorch(tmp_path / "v2.safetensors", later("v2", "timm", seed=1))
    settings = config.TrainConfig(model="v2", alpha=0.25, padding="symmetric", bn_eps=1e-5)
    model = build_model(settings, (40, 40, 3), 4)
    start_from(model, tmp_path / "v2.safetensors")
    theirs, mine = later("v2", "timm", seed=1).state(), model.state()
    assert all((mine[name] == array).all() for name, array in theirs.items() if not name.startswith("classifier"))
    with pytest.raises(ConfigError, match=r"--padding symmetric --bn-eps 1e-05"):
        start_from(build_model(config.replace(settings, padding="same"), (40, 40, 3), 4), tmp_path / "v2.safetensors")


def test_export_writes_their_names(tmp_path, capsys):
    settings = config.TrainConfig(model="v2", alpha=0.25, padding="symmetric", bn_eps=1e-5)
    model = build_model(settings, (40, 40, 1), 3)
    description = {"config": config.to_dict(settings), "classes": ["a", "b", "c"], "image_shape": [40, 40]}
    checkpoint.save(tmp_path / "net.npz", model.state(), description)
    to = tmp_path / "net.safetensors"
    assert main(["export", str(tmp_path / "net.npz"), "--to", str(to), "--layout", "torchvision"]) == 0
    assert "read back: the same bits" in capsys.readouterr().out
    assert library.load_file(to)["features.18.0.weight"].shape == (1280, 80, 1, 1)
    assert main(["export", str(tmp_path / "net.npz"), "--to", str(tmp_path / "n.onnx"), "--layout", "timm"]) == 2
    assert "--layout goes with .safetensors alone" in capsys.readouterr().err


@pytest.mark.parametrize("side", [32, 48])
def test_export_to_keras_says_where_keras_pads_otherwise(tmp_path, capsys, side):
    pytest.importorskip("h5py", reason="h5py, which writes Keras' files, is not installed")
    settings = config.TrainConfig(model="plain", alpha=1 / 16)
    description = {"config": config.to_dict(settings), "classes": ["a", "b"], "image_shape": [side, side]}
    model = build_model(settings, (side, side, 1), 2)
    checkpoint.save(tmp_path / "net.npz", model.state(), description)
    assert main(["export", str(tmp_path / "net.npz"), "--to", str(tmp_path / "net.weights.h5")]) == 0
    out, err = capsys.readouterr()
    assert "read back: the same bits" in out and ("its answers for 48x48 are others" in err) == (side == 48)


def test_damage_anywhere_is_one_line_or_seen(tmp_path):
    path = tmp_path / "net.safetensors"
    save_pytorch(path, network())
    whole, model, rng = path.read_bytes(), network(), np.random.default_rng(3)
    size = 8 + int.from_bytes(whole[:8], "little")  # of the header
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(0, size if rng.random() < 0.8 else len(whole), rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged[: rng.integers(1, len(whole))] if rng.random() < 0.2 else damaged)
        try:
            load_pytorch(path, model, classifier=True)
        except CheckpointError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 150
