"""What stands where something is to be written: a result of the same kind is replaced, nothing else."""

import numpy as np
import pytest
from PIL import Image
from small_runs import run

from minifer.errors import ConfigError
from minifer.files import check_target
from minifer.files.npz import write_npz


@pytest.fixture
def files(tmp_path):
    """A file of each kind, by its kind, and an empty one."""
    paths = {"table": tmp_path / "a.csv", "PNG picture": tmp_path / "b.png", ".npz file": tmp_path / "c.npz"}
    paths["table"].write_text("name,größe\n" + 5000 * "ä")
    Image.new("L", (3, 3)).save(paths["PNG picture"])
    with open(paths[".npz file"], "wb") as file:
        write_npz(file, {"X": np.zeros(3)})
    (tmp_path / "empty").touch()
    return paths


def test_a_file_of_another_kind_stays(files, tmp_path):
    for kind in files:
        for other, path in files.items():
            if kind == other:
                check_target(path, kind, "--out")
            else:
                with pytest.raises(ConfigError, match=f"--out .* holds something else than a {kind}"):
                    check_target(path, kind, "--out")
        check_target(tmp_path / "empty", kind, "--out")
        check_target(tmp_path / "new", kind, "--out")
        with pytest.raises(ConfigError, match="is a folder"):
            check_target(tmp_path, kind, "--out")


def test_commands_write_over_nothing_else(files, capsys):
    """A shell's *.png after --csv names a picture; a wrong name may be that of a data set."""
    before = {path: path.read_bytes() for path in files.values()}
    picture, table, data = files["PNG picture"], files["table"], files[".npz file"]
    for arguments in (
        ("predict", "--no-detect", "--csv", picture, picture),
        ("cost", "--csv", data),
        ("cost", "--draw", table),
        ("train", "--find-rate", data),
        ("prepare", "--data", table, "--out", data.parent / "a.csv" / "x.npz"),
        ("prepare", "--data", data, "--out", data),
    ):
        code, out, err = run(capsys, *arguments)
        assert code in (1, 2) and out == "" and err.count("\n") == 1, arguments
    assert before == {path: path.read_bytes() for path in files.values()}
