"""The network: counts that are published, variants, tables, refusals."""

import numpy as np
import pytest
from small_runs import Silent

from minifer.config import TrainConfig
from minifer.cost import cost_rows, count
from minifer.data import synthetic
from minifer.errors import ConfigError
from minifer.models import EVEN_BLOCKS, TABLES, block_table, mobilenet
from minifer.trained import load_weights
from minifer.training import Training


def test_published_counts():
    plain = count(mobilenet(), (48, 48, 1))
    assert plain.trainable_parameters == 3_213_575
    assert plain.parameters == 3_235_463
    imagenet = count(mobilenet(input_shape=(224, 224, 3), classes=1000), (224, 224, 3))
    assert imagenet.parameters == 4_253_864
    assert round(imagenet.multiply_adds / 1e6, 1) == 568.7


def test_cost_counts_what_is_there():
    for variant in ("plain", "skip", "mha"):
        net = mobilenet(variant, alpha=0.125)
        cost = count(net, (48, 48, 1))
        assert cost.trainable_parameters == sum(p.value.size for p in net.parameters().values())
        assert cost.parameters == sum(array.size for array in net.state().values())


def test_cost_shapes_are_the_real_ones(rng):
    net = mobilenet("mha", alpha=0.125, input_shape=(30, 26, 1), attention_blocks=(4, 13), heads=2, head_units=4)
    x = rng.standard_normal((2, 30, 26, 1)).astype(np.float32)
    table, shape = cost_rows(net, (30, 26, 1))
    assert net.forward(x).shape == (2, *shape)
    outputs = {row.path: row.output_shape for row in table}
    for path, layer in net.walk():
        if path in outputs:
            forward = layer.forward

            def watch(*inputs, training=False, forward=forward, path=path):
                y = forward(*inputs, training=training)
                assert y.shape[1:] == outputs[path], path
                return y

            layer.forward = watch
    net.forward(x)


def test_even_blocks_cost_the_same_at_every_size():
    net = mobilenet("skip", stem_stride=1, blocks=EVEN_BLOCKS)
    table, _ = cost_rows(net, (48, 48, 1))
    pointwise = {row.path: row.cost.multiply_adds for row in table if row.path.endswith("pointwise")}
    kept = {pointwise[f"block{n}.pointwise"] for n, (_, stride) in enumerate(EVEN_BLOCKS, 1) if stride == 1}
    halved = {pointwise[f"block{n}.pointwise"] for n, (_, stride) in enumerate(EVEN_BLOCKS, 1) if stride == 2}
    assert kept == {48 * 48 * 32 * 32}
    assert halved == {48 * 48 * 32 * 32 // 2}


def test_only_linear_blocks_can_take_away_from_what_passes_by(rng):
    x = np.abs(rng.standard_normal((2, 6, 6, 8))).astype(np.float32)
    taken = {}
    for linear in (False, True):
        net = mobilenet("skip", alpha=0.25, linear=linear, blocks=((32, 1),))
        y = net["block1"].forward(x, training=True)
        taken[linear] = bool((y < x).any())
        assert net.parameters().keys() == mobilenet("skip", alpha=0.25, blocks=((32, 1),)).parameters().keys()
    assert taken == {False: False, True: True}


def test_tables_are_chosen_or_written_down():
    assert [block_table(name) for name in TABLES] == list(TABLES.values())
    assert block_table("32,64/2, 128/2*3") == ((32, 1), (64, 2), (128, 2), (128, 1), (128, 1))
    assert block_table("16*2") == ((16, 1), (16, 1)) and len(block_table("8*64")) == 64


@pytest.mark.parametrize("text", ["", "wide", "32,", "0", "32/3", "32*0", "8*65", "8*60,8*5", "99999", "32;64", "٣"])
def test_a_table_that_is_none_is_one_line(text):
    with pytest.raises(ConfigError, match="is no table: write published, even, or rows such as 32,64/2,128/2"):
        block_table(text)


def test_a_table_of_ones_own_is_trained_and_found_in_the_weights(tmp_path):
    settings = TrainConfig(model="skip", alpha=0.25, blocks="16,32/2*2", epochs=1, batch_size=8, schedule="constant")
    faces = synthetic.load(seed=0, train=16, val=7)
    training = Training(settings, faces["train"], faces["val"])
    training.run(Silent(tmp_path))
    assert [path for path in training.model.layers if path.startswith("block")] == ["block1", "block2", "block3"]
    model, meta = load_weights(tmp_path / "best.npz")
    assert meta["config"]["blocks"] == "16,32/2*2"
    assert count(model, (48, 48, 1)).forward == count(training.model, (48, 48, 1)).forward


def test_attention_on_early_maps_costs_sixteen_times_the_rest():
    shape = (48, 48, 1)
    skip, all_blocks = (count(mobilenet(v), shape).multiply_adds for v in ("skip", "mha"))
    late = count(mobilenet("mha", attention_blocks=range(4, 14)), shape).multiply_adds
    assert 14 < (all_blocks - late) / skip < 18


def test_attention_blocks_and_positions():
    net = mobilenet("mha", alpha=0.125, attention_blocks=(6, 13), attention_positions=True)
    assert [name for name in net.layers if "attention" in name] == ["attention6", "attention13"]
    assert net["attention6"].position.value.shape == (9, 64)
    assert net["attention13"].position.value.shape == (4, 128)


def test_what_attention_adds_is_limited_however_large_its_weights_grow(rng):
    layer = mobilenet("mha", alpha=0.125, attention_blocks=(6,), heads=2, head_units=8)["attention6"]
    x = rng.random((8, 3, 3, 64), np.float32)
    np.testing.assert_array_equal(layer.forward(x, training=True), x)  # it begins as the identity
    layer.output_norm.gamma.value[...] = 0.1
    for linear in (layer.value, layer.output):
        linear.weight.value *= 50
    added = layer.forward(x, training=True) - x
    assert np.std(added) == pytest.approx(0.1, rel=1e-3)


def test_variants_share_the_paths_of_the_extraction():
    plain, mha = (set(mobilenet(v, alpha=0.125).state()) for v in ("plain", "mha"))
    assert plain < mha


def test_same_seed_same_network():
    a, b, c = (mobilenet("skip", alpha=0.125, seed=s).state() for s in (1, 1, 2))
    assert all(np.array_equal(a[path], b[path]) for path in a)
    assert not np.array_equal(a["stem.weight"], c["stem.weight"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "huge"}, "unknown model 'huge'"),
        ({"variant": "mha", "attention_blocks": (14,)}, "there is no block 14"),
        ({"variant": "plain", "attention_blocks": (3,)}, 'need the "mha" model'),
        ({"alpha": 0}, "must all be positive"),
        ({"variant": "plain", "linear": True}, "linear blocks need skip connections"),
    ],
)
def test_refusals(settings, message):
    with pytest.raises(ConfigError, match=message):
        mobilenet(**settings)


def test_unknown_part_to_freeze():
    with pytest.raises(ConfigError, match="extraction"):
        mobilenet(alpha=0.125).freeze("head")
