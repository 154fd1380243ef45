"""timm's MobileNet V1: the names, shapes and answers of its PyTorch network, which a look-alike here stands for."""

import numpy as np
import pytest

from minifer import interop
from minifer.errors import CheckpointError, ConfigError
from minifer.models import BLOCKS, mobilenet

library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")

from minifer.interop.timm import load_timm_mobilenet, save_timm_mobilenet  # noqa: E402


def network(variant="plain", **how):
    return mobilenet(variant, **{"alpha": 1 / 16, "input_shape": (40, 40, 3), "padding": 1, "bn_eps": 1e-5, **how})


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


def test_its_names_and_sizes():
    shapes = look_alike(alpha=1, channels=1)
    weights = sum(int(np.prod(s)) for name, s in shapes.items() if "running" not in name and "tracked" not in name)
    assert len(shapes) == 164 and weights == 3_213_575  # of timm 1.0's mobilenetv1_100, for 7 classes and grey pictures
    assert [stride for _, stride in BLOCKS].count(2) == 4


def test_answers_are_those_of_pytorch(tmp_path, rng):
    torch = pytest.importorskip("torch", reason="PyTorch, in which timm's network runs, is not installed")
    F = torch.nn.functional
    arrays = drawn(rng, look_alike())
    library.save_file(arrays, tmp_path / "timm.safetensors")
    model = network()
    assert load_timm_mobilenet(tmp_path / "timm.safetensors", model, classifier=True) == []
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


def test_what_is_written_is_what_was_read(tmp_path, rng):
    arrays = drawn(rng, look_alike())
    library.save_file(arrays, tmp_path / "timm.safetensors")
    model = network()
    load_timm_mobilenet(tmp_path / "timm.safetensors", model, classifier=True)
    save_timm_mobilenet(tmp_path / "again.safetensors", model)
    again = library.load_file(tmp_path / "again.safetensors")
    assert again.keys() == arrays.keys()
    for name, array in arrays.items():
        if not name.endswith("tracked"):
            np.testing.assert_array_equal(again[name], array)


def test_grey_pictures_and_what_is_left_alone(tmp_path, rng):
    arrays = drawn(rng, look_alike())
    library.save_file(arrays, tmp_path / "timm.safetensors")
    model = network("skip", input_shape=(40, 40, 1), classes=3)
    left = load_timm_mobilenet(tmp_path / "timm.safetensors", model)
    assert left[0] == "block1.projection" and left[-1] == "classifier"
    np.testing.assert_allclose(
        model["stem"].weight.value[:, :, 0], arrays["conv_stem.weight"].sum(axis=1).transpose(1, 2, 0), rtol=1e-6
    )


@pytest.mark.parametrize("how", [{"padding": "same"}, {"bn_eps": 1e-3}])
def test_a_network_that_pads_or_normalizes_otherwise_is_refused(tmp_path, rng, how):
    library.save_file(drawn(rng, look_alike()), tmp_path / "timm.safetensors")
    for function in (load_timm_mobilenet, save_timm_mobilenet):
        with pytest.raises(ConfigError, match=r"timm's weights need mobilenet\(\"plain\", padding=1, bn_eps=1e-05\)"):
            function(tmp_path / "timm.safetensors", network(**how))


def test_other_networks_are_refused(tmp_path, rng):
    library.save_file(drawn(rng, look_alike(alpha=1 / 8)), tmp_path / "wide.safetensors")
    with pytest.raises(CheckpointError, match=r"wide\.safetensors is of another network: conv_stem\.weight is stem"):
        load_timm_mobilenet(tmp_path / "wide.safetensors", network())
    library.save_file({"conv1.weight": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"has no conv_stem\.weight: it is no MobileNet V1 of timm"):
        load_timm_mobilenet(tmp_path / "other.safetensors", network())
    with pytest.raises(ConfigError, match=r"timm's MobileNet V1 has no block1\.projection"):
        save_timm_mobilenet(tmp_path / "skip.safetensors", network("skip"))


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
        load_timm_mobilenet(tmp_path / "timm.safetensors", network())
