"""safetensors: the same bits back, other tools read them, and one line for every wrong file."""

import json
import struct

import numpy as np
import pytest
from small_runs import run

from minifer import checkpoint
from minifer.errors import CheckpointError
from minifer.models import block_table, mobilenet
from minifer.trained import find_weights, load_weights

library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")

from minifer.interop import safetensors  # noqa: E402


@pytest.fixture
def exported(capsys, tmp_path):
    path = tmp_path / "small.safetensors"
    code, out, _ = run(capsys, "export", "small", "--to", path)
    assert code == 0 and "the same bits" in out
    return path


def test_it_is_used_like_any_weights_file(capsys, exported, tmp_path):
    ours, meta = load_weights(find_weights("small"))
    theirs, described = load_weights(exported)
    assert described == meta
    assert all((theirs.state()[path] == array).all() for path, array in ours.state().items())
    raw = library.load_file(exported)
    assert raw.keys() == ours.state().keys() and raw["stem.weight"].shape == ours.state()["stem.weight"].shape
    code, _, _ = run(capsys, "export", exported, "--to", tmp_path / "again.safetensors")
    assert code == 0 and (tmp_path / "again.safetensors").read_bytes() == exported.read_bytes()


def test_a_folder_for_a_hub_leaves_what_others_wrote(capsys, tmp_path):
    project, hub = tmp_path / "project", tmp_path / "hub"
    project.mkdir()
    (project / "config.json").write_text("mine")
    code, _, err = run(capsys, "export", "small", "--to", project)
    assert code == 2 and "has a config.json of its own" in err and (project / "config.json").read_text() == "mine"
    theirs = {"a": np.zeros(3, np.float32)}
    library.save_file(theirs, project / "model.safetensors")  # with weights it is another program's network
    before = (project / "model.safetensors").read_bytes()
    code, _, err = run(capsys, "export", "small", "--to", project)
    assert code == 2 and "has a model.safetensors of its own" in err
    assert (project / "model.safetensors").read_bytes() == before and (project / "config.json").read_text() == "mine"
    assert run(capsys, "export", "small", "--to", hub)[0] == 0
    (hub / "README.md").write_text("completed")
    code, _, err = run(capsys, "export", "small", "--to", hub)
    assert code == 0 and "stays as it is" in err and (hub / "README.md").read_text() == "completed"


def test_what_is_passed_on_names_no_folder_of_this_computer(capsys, tmp_path):
    model, meta = load_weights(find_weights("small"))
    paths = {"pretrained": "/home/anna/runs/plain/best.npz", "teacher": "/home/anna/a.csv,/home/anna/b.csv"}
    paths["labels"] = "/home/anna/fer2013new.csv"
    checkpoint.save(tmp_path / "net.npz", model.state(), {**meta, "config": {**meta["config"], **paths}})
    assert run(capsys, "export", tmp_path / "net.npz", "--to", tmp_path / "hub")[0] == 0
    assert all(b"anna" not in path.read_bytes() for path in (tmp_path / "hub").iterdir())
    settings = load_weights(tmp_path / "hub" / "model.safetensors")[1]["config"]
    assert {name: settings[name] for name in paths} == {
        "pretrained": "best.npz", "teacher": "a.csv,b.csv", "labels": "fer2013new.csv",
    }  # fmt: skip


def test_a_card_states_only_a_share(capsys, tmp_path):
    model, meta = load_weights(find_weights("small"))
    checkpoint.save(tmp_path / "net.npz", model.state(), {**meta, "val_top1": "best of all"})
    code, _, err = run(capsys, "export", tmp_path / "net.npz", "--to", tmp_path / "hub")
    assert code == 1 and "net.npz: val_top1 is 'best of all': it must be" in err


def test_training_starts_from_it(exported):
    from minifer.trained import start_from

    model = mobilenet("skip", alpha=2, blocks=block_table("even"), stem_stride=1)
    start_from(model, exported)
    np.testing.assert_array_equal(
        model["stem"].weight.value, load_weights("small" and exported)[0]["stem"].weight.value
    )


def test_turned_arrays_keep_their_numbers(tmp_path):
    """The library itself writes the memory of such arrays as it lies."""
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    safetensors.save(tmp_path / "a.safetensors", {"turned": array.T, "part": array[:, ::2]}, {"a": 1})
    arrays, meta = safetensors.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(arrays["turned"], array.T)
    np.testing.assert_array_equal(arrays["part"], array[:, ::2])
    assert meta == {"a": 1}


LARGE = b'{"a": {"dtype": "F32", "shape": [1000000000], "data_offsets": [0, 4]}}'  # four bytes that say four gigabytes


def header(path, text, data=b""):
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path, "there is no file"),
        (lambda path: header(path, b""), "a.safetensors"),
        (lambda path: path.write_bytes(b"\xff" * 20) and path, "a.safetensors"),
        (
            lambda path: header(path, b'{"a": {"dtype": "F32", "shape": [1000000000], "data_offsets": [0, 4]}}'),
            "a.safetensors",
        ),
        (lambda path: library.save_file({"a": np.zeros(3, np.float32)}, path) or path, "of another program"),
        (lambda path: library.save_file({"a": np.zeros(3)}, path, {"minifer": "{"}) or path, "a.safetensors"),
        (lambda path: library.save_file({"a": np.zeros(3)}, path, {"minifer": "[]"}) or path, "a.safetensors"),
        (lambda path: library.save_file({"a": np.zeros(3, bool)}, path, {"minifer": "{}"}) or path, "a holds BOOL"),
        (lambda path: library.save_file({"a": np.array([np.nan])}, path, {"minifer": "{}"}) or path, "NaN or infinity"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, make, message):
    path = make(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=message) as error:
        safetensors.load(path)
    assert "\n" not in str(error.value)


def test_damage_anywhere_is_one_line_or_seen(exported):
    """A thousand files with a changed byte, cut short or longer: an error of ours, or other numbers, never a crash."""
    rng, content = np.random.default_rng(0), exported.read_bytes()
    length = 8 + struct.unpack("<Q", content[:8])[0]
    small = json.loads(content[8:length])
    assert small["__metadata__"]["minifer"]
    for _ in range(1000):
        changed = bytearray(content[: length + 64] if rng.random() < 0.3 else content)
        for _ in range(rng.integers(1, 4)):
            changed[rng.integers(0, min(len(changed), length + 100))] = rng.integers(0, 256)
        exported.write_bytes(changed)
        try:
            safetensors.load(exported)
        except CheckpointError as error:
            assert "\n" not in str(error)


def test_a_folder_for_a_model_hub(capsys, tmp_path):
    code, out, _ = run(capsys, "export", "small", "--to", tmp_path / "my-network")
    assert code == 0 and "the same bits" in out
    folder = tmp_path / "my-network"
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: other\n") and "# my-network" in card
    assert "68.68%" in card and "809,351" in card
    described = json.loads((tmp_path / "my-network" / "config.json").read_text())
    assert described["classes"][0] == "angry" and described["library_name"] == "minifer"
    model, _ = load_weights(tmp_path / "my-network" / "model.safetensors")
    assert (model["stem"].weight.value == load_weights(find_weights("small"))[0]["stem"].weight.value).all()
