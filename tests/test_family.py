"""MobileNetV2 and V3: built, run without their layers, trained and compared by the commands like the first."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from small_runs import run

from minifer.config import MODELS, TrainConfig
from minifer.cost import cost_rows, count
from minifer.data import synthetic
from minifer.errors import ConfigError
from minifer.inference import InferenceNetwork, ready
from minifer.layers import BatchNorm, Conv2D, Flatten, ReLU, Sequential
from minifer.models import mobilenet_v2, mobilenet_v3
from minifer.models.inverted import divisible
from minifer.networks import build_model
from minifer.report import work


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_built_of_its_settings(model):
    settings = TrainConfig(model=model, alpha=0.25, attention_blocks=(13,), dropout=0.1, seed=3)
    network = build_model(settings, (33, 48, 3), 4)
    x = np.random.default_rng(0).standard_normal((2, 33, 48, 3)).astype(np.float32)
    assert network(x).shape == (2, 4) and not network(x).any()  # at first every class is equally likely
    same = build_model(settings, (33, 48, 3), 4)
    assert all(np.array_equal(a, b) for a, b in zip(network.state().values(), same.state().values(), strict=True))


def test_channels_are_multiples_of_eight():
    assert [divisible(c) for c in (1, 8, 11, 12, 16.9, 18, 19, 33.6, 240)] == [8, 8, 16, 16, 16, 24, 24, 32, 240]


def test_wrong_arguments_are_one_line():
    for make, message in (
        (lambda: mobilenet_v2(alpha=0), "must all be positive"),
        (lambda: mobilenet_v3("medium"), "unknown MobileNetV3 'medium'"),
        (lambda: mobilenet_v3("small", classes=0), "must all be positive"),
    ):
        with pytest.raises(ConfigError, match=message):
            make()


def test_inference_knows_v2_and_lets_v3_compute_its_layers():
    rng, notices = np.random.default_rng(0), []
    x = rng.standard_normal((3, 48, 48, 1)).astype(np.float32)
    for network in (mobilenet_v2(0.25), mobilenet_v3("small", 0.25)):
        network["classifier"].weight.value[...] = rng.standard_normal(network["classifier"].weight.value.shape)
        network(x, training=True)  # moves the running statistics
        fast = ready(network, (48, 48, 1), notices.append)
        np.testing.assert_allclose(fast(x), network(x), rtol=1e-4, atol=1e-4)
    assert len(notices) == 1 and "HardSwish" in notices[0] and "one by one" in notices[0]
    assert isinstance(ready(mobilenet_v2(0.25), (48, 48, 1)), InferenceNetwork)


@pytest.mark.parametrize("model", ["v2", "v3-small"])
def test_trained_by_the_command_line(model, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(synthetic, "load", lambda seed, load=synthetic.load: load(seed, train=32, val=14))
    flags = ("--model", model, "--alpha", "0.1", "--epochs", "2", "--batch-size", "8", "--out", "run")
    code, out, err = run(capsys, "train", "--preset", "demo", *flags)
    assert code == 0 and "top-1 accuracy" in out and f"network   {model}, alpha 0.1" in err
    code, _, err = run(capsys, "train", "--resume", "run", "--model", model)
    assert code == 2 and "the --model of your own" in err
    assert run(capsys, "train", "--resume", "run")[0] == 0


def test_networks_side_by_side(capsys, tmp_path):
    compare = ("cost", "--compare", "v1, v2,v3-small", "--input", "224x224x3")
    code, out, _ = run(capsys, *compare)
    assert code == 0 and [line.split()[:3] for line in out.splitlines()[3:]] == [
        ["v1", "4,231,976", "568,740,352"],
        ["v2", "3,504,872", "300,774,272"],
        ["v3-small", "2,542,856", "56,510,400"],
    ]
    code, out, _ = run(capsys, *compare, "--json")
    networks = json.loads(out)["networks"]
    assert [network["model"] for network in networks] == ["v1", "v2", "v3-small"]
    assert networks[1]["trainable_parameters"] == 3_504_872
    code, out, _ = run(capsys, *compare, "--csv", tmp_path / "a.csv")
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert code == 0 and out == "" and [int(row["multiply-adds"]) for row in rows] == [568740352, 300774272, 56510400]
    code, _, err = run(capsys, "cost", "--compare", "v1,v9")
    assert code == 2 and "model is 'v9'" in err


def test_the_table_of_one_network_as_csv(capsys, tmp_path):
    assert run(capsys, "cost", "--model", "v2", "--csv", tmp_path / "a.csv")[0] == 0
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert rows[0]["layer"] == "stem" and rows[-1]["layer"] == "total"
    assert sum(int(row["multiply-adds"] or 0) for row in rows[:-1]) == int(rows[-1]["multiply-adds"]) == 16_243_584


def test_work_as_a_picture(capsys, tmp_path):
    assert run(capsys, "cost", "--model", "v2", "--draw", tmp_path / "a.png")[0] == 0
    assert Image.open(tmp_path / "a.png").width > 800
    code, _, err = run(capsys, "cost", "--compare", "v1,v2", "--draw", tmp_path / "b.png")
    assert code == 2 and "--draw is of one network" in err


def test_the_bars_of_work_and_weights_add_up_to_the_whole(monkeypatch, tmp_path):
    """Also where a layer without multiply-adds, here BatchNorm, is a part of its own."""
    network, figures = (
        Sequential(conv1=Conv2D(1, 4, rng=np.random.default_rng(0)), norm1=BatchNorm(4), relu1=ReLU(), flat=Flatten()),
        [],
    )
    monkeypatch.setattr(work, "write_figure", lambda figure, path: figures.append(figure))
    work.draw_work(cost_rows(network, (5, 4, 1))[0], tmp_path / "a.png", "all of it")
    drawn = [sum(bar.get_width() for bar in axes.patches) for axes in figures[0].axes]
    total = count(network, (5, 4, 1))
    assert drawn == pytest.approx([total.multiply_adds / 1e6, total.trainable_parameters / 1e3])
    assert [text.get_text() for text in figures[0].axes[0].get_yticklabels()] == ["conv1", "norm1"]
