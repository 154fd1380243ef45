"""benchmarks/layers.py: what it times, what it predicts from given ceilings, and its picture."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minifer.cases import SMALL_BLOCKS
from minifer.kernels.twin import use_backend
from minifer.layers import Layer, Sequential
from minifer.models import mobilenet

LIMITS = {"arithmetic": 100.0, "memory": 10.0, "cache": 50.0}


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import layers

    yield layers
    for name in ("layers", "ceilings", "roofline", "timing", "contest"):
        sys.modules.pop(name, None)


def test_time_in_inner_layers_is_not_counted_twice(benchmark, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: clock[0])

    class Slow(Layer):
        def forward(self, x, training=False):
            clock[0] += 2
            return x

    class Slower(Sequential):
        def forward(self, x, training=False):
            clock[0] += 3
            return super().forward(x, training)

    net = Sequential(outer=Slower(first=Slow(), second=Slow()))
    watch = benchmark.Stopwatch(net, {"outer", "outer.first", "outer.second"})
    net.forward(np.zeros((1, 2), np.float32))
    assert {path: seconds for (path, _), seconds in watch.times.items()} == {
        "outer.first": [2], "outer.second": [2], "outer": [3]
    }  # fmt: skip


def test_every_layer_is_measured_and_predicted(benchmark, tmp_path):
    shape = (7, 6, 1)
    net = mobilenet(
        "mha", alpha=1 / 16, input_shape=shape, classes=3, blocks=SMALL_BLOCKS, heads=2, head_units=3,
        attention_blocks=(2,),
    )  # fmt: skip
    with use_backend("numpy"):
        times, table = benchmark.measure(net, shape, batch=4, rounds=1)
    assert set(times) == {(line.path, name) for line in table for name in ("forward", "backward")}
    rows = benchmark.compare(times, table, LIMITS, batch=4)
    stem = next(r for r in rows if r["measure"] == "stem forward")
    work = table[0].cost.forward
    seconds = max(8 * work.multiply_adds / 100e9, (4 * work.map_bytes + work.weight_bytes) / 10e9)
    assert stem["peer"] == pytest.approx(1e3 * seconds)
    assert stem["ratio"] == pytest.approx(stem["peer"] / stem["minifer"])
    assert {"measure", "minifer", "peer", "peer_name", "unit", "ratio"} <= set(stem)
    totals = {r["measure"]: r for r in rows if r["measure"].startswith("all")}
    forward = sum(r["minifer"] for r in rows if r["measure"].endswith(" forward") and "all" not in r["measure"])
    assert totals["all layers, forward"]["minifer"] == pytest.approx(forward)
    benchmark.draw_roofline(benchmark.roofline_series(rows), LIMITS, tmp_path / "roof.png", "layers")
    assert Image.open(tmp_path / "roof.png").width > 500
