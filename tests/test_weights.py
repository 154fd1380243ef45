"""The weights that ship are the bytes that shipped, and a changed or lost file is noticed."""

import json

import numpy as np
import pytest
from small_runs import run

from minifer import checkpoint, config, weights
from minifer.cases import away_from_zero
from minifer.models import mobilenet
from minifer.trained import load_weights, start_from


def test_every_file_that_ships_has_its_checksum():
    assert weights.shipped().keys() == {path.name for path in weights.FOLDER.glob("*.npz")}
    assert set(weights.check().values()) == {"as shipped"}


@pytest.mark.parametrize(("content", "state"), [(b"right", "as shipped"), (b"wrong", "changed"), (None, "missing")])
def test_changed_and_missing_files_are_named(content, state, tmp_path, monkeypatch):
    import hashlib

    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    monkeypatch.setattr(weights, "SUMS", tmp_path / "SHA256SUMS")
    weights.SUMS.write_text(f"{hashlib.sha256(b'right').hexdigest()}  net.npz\n")
    if content is not None:
        (tmp_path / "net.npz").write_bytes(content)
    assert weights.check() == {"net.npz": state}


def test_export_to_npz_halves_a_network(capsys, tmp_path):
    """What ships is made by it: the same again from 16 bits, half the size from 32."""
    model, meta = load_weights(weights.FOLDER / "small.npz")
    half, whole = tmp_path / "half.npz", tmp_path / "whole.npz"
    state = {name: array * np.float32(1 + 1e-5) for name, array in model.state().items()}
    checkpoint.save(whole, state, meta)
    code, out, _ = run(capsys, "export", whole, "--to", half)
    assert code == 0 and "numbers of 16 bits" in out
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    arrays, described = checkpoint.load(half)
    assert described == json.loads(json.dumps(meta))
    for name, array in arrays.items():
        assert np.abs(array - state[name]).max() <= 2**-11 * np.abs(state[name]).max()
    code, _, _ = run(capsys, "export", half, "--to", tmp_path / "again.npz")
    assert code == 0 and (tmp_path / "again.npz").read_bytes() == half.read_bytes()


def test_export_to_npz_loses_nothing(capsys, tmp_path):
    model, meta = load_weights(weights.FOLDER / "small.npz")
    path = tmp_path / "large.npz"
    checkpoint.save(path, {name: array * np.float32(1e6) for name, array in model.state().items()}, meta)
    before = path.read_bytes()
    code, _, err = run(capsys, "export", path, "--to", tmp_path / "half.npz")
    assert code == 2 and "16 bits cannot hold" in err and not (tmp_path / "half.npz").exists()
    code, _, err = run(capsys, "export", path, "--to", path)
    assert code == 2 and "is what is read" in err and path.read_bytes() == before


def test_weights_from_before_attention_was_normalized_are_read_as_they_were(tmp_path, rng):
    settings = {"alpha": 1 / 16, "attention_blocks": (6, 13), "heads": 2, "head_units": 4}
    old = away_from_zero(mobilenet("mha", **settings), rng)
    for number in (6, 13):
        layer = old[f"attention{number}"]
        layer.output_norm = None
        layer.output.weight.value[...] = rng.normal(0, 0.5, layer.output.weight.value.shape)
    meta = {
        "config": config.to_dict(config.TrainConfig(model="mha", **settings)),
        "classes": list("abcdefg"),
        "image_shape": [48, 48],
    }
    checkpoint.save(tmp_path / "old.npz", old.state(), meta)
    pictures = rng.random((3, 48, 48, 1), np.float32)
    read, _ = load_weights(tmp_path / "old.npz")
    np.testing.assert_allclose(read.forward(pictures), old.forward(pictures), rtol=1e-4, atol=1e-5)
    begun = mobilenet("mha", **settings, seed=1)
    start_from(begun, str(tmp_path / "old.npz"))
    np.testing.assert_array_equal(begun.forward(pictures), read.forward(pictures))
