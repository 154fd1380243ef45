"""Paths as users give them: an empty one is refused, ~ is a home folder, a name that ships means what ships."""

import os

import pytest
from small_runs import SHORT, flags, run

from minifer import config
from minifer.files.cache import cache_folder


@pytest.mark.parametrize("value", ["", " "], ids=["empty", "blank"])
@pytest.mark.parametrize(
    "command",
    [
        ["train", "--resume"], ["train", "--out"], ["train", "--data"], ["train", "--pretrained"],
        ["train", "--teacher"], ["predict"], ["predict", "x.png", "--csv"], ["predict", "x.png", "--draw"],
        ["predict", "x.png", "--weights"], ["detect"], ["detect", "x.png", "--draw"],
        ["evaluate", "--data", "x", "--split", "val"], ["evaluate", "small", "--split", "val", "--data"],
        ["evaluate", "small", "--split", "val", "--data", "x", "--out"], ["prepare", "--data", "x", "--out"],
        ["prepare", "--out", "x", "--data"], ["reproduce", "--data", "x", "--out"],
        ["reproduce", "--out", "x", "--data"], ["reproduce", "--out", "x", "--data", "x", "--imagenet"],
        ["train-landmarks", "--data"], ["train-landmarks", "--data", "x", "--out"],
        ["train-detector", "--scenes", "x", "--faces"], ["train-detector", "--faces", "x", "--scenes"],
        ["train-detector", "--faces", "x", "--scenes", "x", "--portraits"],
        ["train-detector", "--faces", "x", "--scenes", "x", "--out"], ["gradcheck"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_empty_path_is_an_unset_variable(capsys, tmp_path, monkeypatch, command, value):
    monkeypatch.chdir(tmp_path)
    code, out, said = run(capsys, *command, value)
    assert code == 2 and "the path is empty" in said and said.count("\n") == 1 and out == ""
    assert not list(tmp_path.iterdir())


def test_a_tilde_is_the_home_folder_wherever_it_stands(capsys, archive, tmp_path, monkeypatch):
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir(), here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("MINIFER_CACHE", "~/cache")
    (home / "faces.npz").write_bytes(archive.read_bytes())
    assert run(capsys, "train", "--data=~/faces.npz", *flags(SHORT), "--out=~/run")[0] == 0
    evaluate = ("evaluate", "~/run", "--data=~/faces.npz", "--split", "train", "--out=~/told")
    assert run(capsys, *evaluate)[0] == 0
    told = "--teacher=~/told/predictions.csv,~/told/predictions.csv"
    assert run(capsys, "train", "--data=~/faces.npz", *flags(SHORT), told, "--pretrained=~/run", "--out=~/b")[0] == 0
    assert run(capsys, "train", "--resume=~/b")[0] == 0
    assert cache_folder() == home / "cache"
    assert not list(here.iterdir())
    code, _, said = run(capsys, "train", "--resume=~nobody-of-this-name/b")
    assert code == 2 and "no user has this home folder" in said


def test_a_folder_called_best_is_not_the_network_that_ships(archive, tmp_path, monkeypatch):
    from minifer import weights
    from minifer.trained import find_weights

    monkeypatch.chdir(tmp_path)
    for name in weights.NETWORKS:
        (tmp_path / name).mkdir()
        assert find_weights(name) == weights.FOLDER / weights.NETWORKS[name]
        assert (
            find_weights(f"./{name}")
            == find_weights(f"{name}/.")
            == (tmp_path / name / "best.npz").relative_to(tmp_path)
        )


def test_training_that_diverges_says_so(capsys, archive, tmp_path):
    for rate in ("1e9", "1e30"):
        command = ["train", "--data", archive, *flags(config.replace(SHORT, epochs=2)), f"--learning_rate={rate}"]
        code, _, said = run(capsys, *command, "--out", tmp_path / rate)
        if code == 2:  # the range of the setting
            continue
        assert code == 1 and "training has diverged" in said and "lower --learning-rate" in said


@pytest.mark.skipif(os.name == "nt", reason="devices of POSIX")
@pytest.mark.parametrize("what", ["device", "pipe", "folder", "name"])
def test_a_teacher_that_is_no_file(capsys, archive, tmp_path, what):
    os.mkfifo(tmp_path / "pipe")
    path = {"device": "/dev/zero", "pipe": tmp_path / "pipe", "folder": tmp_path, "name": "x" * 300}[what]
    code, _, said = run(capsys, "train", "--data", archive, *flags(SHORT), "--teacher", path, "--out", tmp_path / "r")
    assert code == 1 and str(path) in said and said.count("\n") == 1
