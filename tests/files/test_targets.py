"""What stands where something is to be written: a result of the same kind is replaced, nothing else."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from small_runs import run

from minifer.data import fer2013, synthetic
from minifer.errors import ConfigError
from minifer.files import check_target
from minifer.files.npz import write_npz
from minifer.trained import find_weights


@pytest.fixture
def files(tmp_path):
    """A file of some kinds, by its kind, files of users, and an empty one."""
    paths = {"table of faces": tmp_path / "faces.csv", "table of costs": tmp_path / "costs.csv"}
    paths |= {"PNG picture": tmp_path / "a.png", "prepared .npz file": tmp_path / "a.npz"}
    paths["table of faces"].write_text("picture,face\n" + 5000 * "a")
    paths["table of costs"].write_text("layer,kind\n")
    Image.new("L", (3, 3)).save(paths["PNG picture"])
    fer2013.save_npz(paths["prepared .npz file"], synthetic.load(seed=0, train=7, val=7))
    paths[".npz file of weights"] = tmp_path / "weights.npz"
    paths[".npz file of weights"].write_bytes(find_weights("small").read_bytes())
    return paths


@pytest.fixture
def precious(tmp_path):
    """Files that nobody wants to lose, by their endings."""
    paths = {ending: tmp_path / f"precious.{ending}" for ending in ("csv", "py", "npz", "onnx", "safetensors")}
    paths["csv"].write_text("emotion,pixels,Usage\n0,1 2 3,Training\n")
    paths["py"].write_text("layer = 1\n")
    with open(paths["npz"], "wb") as file:
        write_npz(file, {"X": np.zeros((3, 2, 2), np.uint8), "y": np.arange(3)})
    for ending in ("onnx", "safetensors"):
        paths[ending].write_text("my notes")
    return paths


def test_a_file_of_another_kind_stays(files, precious, tmp_path):
    (tmp_path / "empty").touch()
    for kind, its in files.items():
        for path in (*files.values(), *precious.values()):
            if path == its:
                check_target(path, kind, "--out")
            else:
                with pytest.raises(ConfigError, match=f"--out .* holds something else than a {kind}"):
                    check_target(path, kind, "--out")
        check_target(tmp_path / "empty", kind, "--out")
        check_target(tmp_path / "new", kind, "--out")
        with pytest.raises(ConfigError, match="is a folder"):
            check_target(tmp_path, kind, "--out")


def test_commands_write_over_nothing_else(files, precious, capsys):
    """A shell's *.png after --csv names a picture; a wrong name may be that of a data set."""
    before = {path: path.read_bytes() for path in (*files.values(), *precious.values())}
    picture, faces = files["PNG picture"], files["prepared .npz file"]
    for *arguments, target in (
        ("predict", "--no-detect", picture, "--csv", picture),
        ("predict", "--no-detect", picture, "--csv", precious["csv"]),
        ("cost", "--csv", precious["py"]),
        ("cost", "--draw", files["table of costs"]),
        ("train", "--find-rate", faces),
        ("prepare", "--data", faces, "--out", files[".npz file of weights"]),
        *(("export", "small", "--to", precious[ending]) for ending in ("npz", "onnx", "safetensors")),
    ):
        code, out, err = run(capsys, *arguments, target)
        assert code == 2 and out == "" and err.count("\n") == 1, arguments
        assert f"{target} holds something else than a" in err
    code, _, err = run(capsys, "prepare", "--data", faces, "--out", faces)
    assert code == 1 and "is the data that is read" in err
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="no /dev/stdout")
def test_standard_output_is_written_to_and_never_replaced(tmp_path):
    """As root, /dev/stdout itself would become a file; after > the table and the output would be one heap."""
    link, heap = tmp_path / "stdout", tmp_path / "heap"
    link.symlink_to("/dev/stdout")
    cost = [sys.executable, "-m", "minifer", "cost", "--csv", link]
    piped = subprocess.run(cost, capture_output=True, check=True)
    assert piped.stdout.startswith(b"layer,") and link.is_symlink()
    heap.write_text("layer,of an earlier table\n")
    with open(heap, "a") as file:
        ended = subprocess.run(cost, check=False, stdout=file, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2 and "is the file that the output of this command goes to" in ended.stderr
    assert ended.stderr.count("\n") == 1 and heap.read_text() == "layer,of an earlier table\n" and link.is_symlink()
