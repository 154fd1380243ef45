"""The command line: what it prints where, exit codes, and one clear line for everything that is wrong."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from small_runs import SHORT, TINY, flags, run

from minifer import checkpoint, config
from minifer.cli import main
from minifer.data import fer2013, synthetic
from minifer.kernels.vectors import HAS_OCTETS


@pytest.fixture(scope="module")
def trained(archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "--data", str(archive), *flags(config.replace(TINY, epochs=2)), "--out", str(folder)]) == 0
    return folder


def test_a_run_folder_holds_everything(trained):
    files = {path.name for path in trained.iterdir()}
    assert files == {
        "config.json", "metrics.csv", "curves.png", "confusion.png", "predictions.csv", "evaluation.json",
        "best.npz", "last.npz",
    }  # fmt: skip
    lines = (trained / "predictions.csv").read_text().splitlines()
    assert lines[0].startswith("name,label,prediction,angry") and len(lines) == 31


def test_evaluate_agrees_with_the_training_log(capsys, trained, archive):
    code, out, err = run(capsys, "evaluate", trained, "--data", archive, "--split", "val", "--json")
    result = json.loads(out)
    rows = (trained / "metrics.csv").read_text().splitlines()
    top1 = max(float(row.split(",")[rows[0].split(",").index("val_top1")]) for row in rows[1:])
    assert code == 0 and err == ""
    assert result["top1"] == top1
    assert result["n"] == 30 and result["split"] == "val"
    for key in ("top1_interval", "balanced_accuracy", "macro_f1", "per_class", "confusion", "binary_accuracy", "model"):
        assert key in result
    assert result["parameters"] > 0
    assert result == json.loads((trained / "evaluation.json").read_text())


def test_evaluate_on_pictures_without_a_copy_in_training(capsys, trained, tmp_path):
    splits = synthetic.load(seed=3, train=60, val=30)
    splits["val"].images[10:20] = splits["train"].images[:10]
    fer2013.save_npz(tmp_path / "copies.npz", splits)
    evaluate = ("evaluate", trained, "--data", tmp_path / "copies.npz", "--split")
    code, out, _ = run(capsys, *evaluate, "val", "--unseen", "--json")
    unseen = json.loads(out)["unseen"]
    assert code == 0 and unseen.keys() == {"n", "top1", "top1_interval"} and unseen["n"] <= 20
    code, out, _ = run(capsys, *evaluate, "val", "--unseen")
    assert code == 0 and f"({unseen['n']} pictures of which training has no copy)" in out
    code, _, err = run(capsys, *evaluate, "train", "--unseen")
    assert code == 2 and "choose another --split" in err


def test_evaluate_as_text_and_with_two_views(capsys, trained, archive, tmp_path):
    code, out, _ = run(
        capsys,
        "evaluate",
        trained / "best.npz",
        "--data",
        archive,
        "--split",
        "val",
        "--tta",
        "--out",
        tmp_path / "new",
    )
    assert code == 0 and "top-1" in out and (tmp_path / "new" / "confusion.png").exists()


@pytest.mark.skipif(not HAS_OCTETS, reason="the processor has no instructions for products of bytes")
def test_evaluate_with_products_of_bytes(capsys, trained, archive):
    evaluate = ("evaluate", trained, "--data", archive, "--split", "val", "--products", "int8")
    code, out, _ = run(capsys, *evaluate, "--json")
    result, exact = json.loads(out), json.loads((trained / "evaluation.json").read_text())
    assert code == 0 and result["products"] == "int8" and "products" not in exact
    assert result["cross_entropy"] == pytest.approx(exact["cross_entropy"], rel=0.05)
    assert result["cross_entropy"] != exact["cross_entropy"]
    code, out, _ = run(capsys, *evaluate)
    assert code == 0 and out.startswith("products of bytes in place of float32\ntop-1")


def test_finished_run_resumed_only_evaluates(capsys, trained):
    before = (trained / "last.npz").read_bytes()
    code, out, err = run(capsys, "train", "--resume", trained)
    assert code == 0 and "top-1" in out and "going on after epoch 2" in err
    assert (trained / "last.npz").read_bytes() == before


def test_cost(capsys):
    code, out, _ = run(capsys, "cost", "--model", "plain", "--input", "224x224x3", "--json")
    document = json.loads(out)
    assert code == 0 and document["classes"] == 1000
    assert document["parameters"] == 4_253_864
    assert round(document["multiply_adds"] / 1e6, 1) == 568.7
    assert sum(layer["multiply_adds"] for layer in document["layers"]) == document["multiply_adds"]
    assert document["backward_multiply_adds"] == 2 * document["multiply_adds"] - document["layers"][0]["multiply_adds"]
    assert document["separable_blocks"][0]["ratio"] == pytest.approx(1 / 64 + 1 / 9)
    assert document["attention_growth"] == []
    code, out, _ = run(capsys, "cost", "--model", "plain", "--input", "224x224x3")
    assert code == 0 and "568.7 million" in out and "4,253,864 parameters" in out and "1000 classes" in out
    code, out, _ = run(capsys, "cost")
    assert code == 0 and "3,213,575" in out and "7 classes" in out


@pytest.mark.parametrize("model", ["plain", "skip", "mha"])
def test_cost_fits_into_a_terminal(capsys, model):
    code, out, _ = run(capsys, "cost", "--model", model)
    assert code == 0 and max(map(len, out.splitlines())) <= 120
    assert ("share of the tables" in out) == (model == "mha")


def test_gradcheck(capsys):
    code, out, _ = run(capsys, "gradcheck", "depthwise", "softmax")
    assert code == 0 and out.count("ok") == 2
    code, _, err = run(capsys, "gradcheck", "nonsense")
    assert code == 2 and "no case is called 'nonsense'" in err


def test_gradcheck_fails_with_exit_code_1(capsys, monkeypatch):
    from minifer.layers import Softmax

    monkeypatch.setattr(Softmax, "backward", lambda self, dy: np.zeros(self.saved()[1]))
    code, out, _ = run(capsys, "gradcheck", "softmax")
    assert code == 1 and "FAIL" in out


def test_doctor(capsys):
    code, out, _ = run(capsys, "doctor")
    assert code == 0
    for fact in ("numba", "threading layer", "threads", "data cache"):
        assert fact in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--preset", "demo", "--epochs", "0"], "epochs is 0"),
        (["train", "--alpha", "wide"], "invalid float value"),
        (["train", "--attention-blocks", "x"], "write all, 6-13 or 12,13"),
        (["train", "--model", "skip", "--shift", "3", "--limit", "7"], "shift is 3.0"),
        (["train", "--resume", "nowhere"], "is missing"),
        (["train", "--resume", "nowhere", "--alpha", "0.5"], "--resume goes on with the settings of its run"),
        (["train", "--threads", "1000"], "threads must be 1 to"),
        (["cost", "--input", "48x48"], "write HxWxC"),
        (["cost", "--alpha", "-1"], "alpha is -1.0: it must be a number from 0.01 to 8"),
        (["cost", "--alpha", "nan"], "alpha is nan"),
        (["cost", "--classes", "0"], "--classes is 0: it must be a whole number from 1 to 1000000"),
        (["cost", "--classes", "2147483648"], "--classes is 2147483648"),
        (["cost", "--input", "99999999999x48x1"], "each from 1 to 10000"),
        (["cost", "--batch", "0"], "--batch is 0"),
        (
            ["cost", "--model", "huge"],
            "model is 'huge': it must be one of plain, skip, mha, v2, v3, v3-small, or file.py:name",
        ),
        (["evaluate", "x.npz", "--data", "y", "--split", "private"], "invalid choice"),
    ],
)
def test_wrong_usage_is_exit_code_2(capsys, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == 2 and message in err


def test_a_new_run_never_writes_over_an_old_one(capsys, trained, archive, tmp_path, monkeypatch):
    code, _, err = run(capsys, "train", "--data", archive, "--out", trained)
    assert code == 2 and f"--resume {trained}" in err
    monkeypatch.chdir(tmp_path)
    for expected in ("runs/quick", "runs/quick-2"):
        assert main(["train", "--data", str(archive), *flags(config.replace(TINY, epochs=1))]) == 0
        assert (tmp_path / expected / "best.npz").exists()


def test_what_a_run_has_found_is_written_over_by_nobody_else(capsys, trained, archive, tmp_path):
    before = {path: path.read_bytes() for path in trained.iterdir()}
    evaluated = tmp_path / "evaluated"
    assert run(capsys, "evaluate", trained, "--data", archive, "--split", "train", "--out", evaluated)[0] == 0
    for arguments, message in (
        (("evaluate", trained, "--data", archive, "--split", "train", "--out", trained), "is the folder of a run"),
        (("export", "small", "--to", trained / "best.npz"), "is the folder of a run"),
        (("train", "--data", archive, "--out", evaluated), "holds evaluation.json, which a run would replace"),
    ):
        code, out, err = run(capsys, *arguments)
        assert code == 2 and out == "" and message in err and err.count("\n") == 1
    assert before == {path: path.read_bytes() for path in trained.iterdir()}


def test_a_run_that_cannot_go_on_does_not_begin_anew(capsys, trained, tmp_path):
    finished = tmp_path / "finished"
    shutil.copytree(trained, finished)
    (finished / "last.npz").unlink()
    code, _, err = run(capsys, "train", "--resume", finished)
    assert code == 2 and "has evaluation.json, but no last.npz to go on from" in err
    assert (finished / "best.npz").read_bytes() == (trained / "best.npz").read_bytes()


def test_a_run_that_failed_before_its_first_epoch_is_in_nobodys_way(capsys, archive, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"data": None, "config": {"model": "plain"}}))
    assert run(capsys, "train", "--data", archive, *flags(config.replace(TINY, epochs=1)), "--out", tmp_path)[0] == 0


def test_a_config_of_something_else_is_not_a_run(capsys, archive, tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["Bert"]}')
    code, _, err = run(capsys, "train", "--data", archive, "--out", tmp_path)
    assert code == 2 and "holds config.json, which a run would replace" in err
    assert (tmp_path / "config.json").read_text() == '{"architectures": ["Bert"]}'


def test_an_evaluation_that_cannot_be_written_is_not_made(capsys, trained, archive, tmp_path):
    (tmp_path / "file").touch()
    code, out, err = run(capsys, "evaluate", trained, "--data", archive, "--split", "val", "--out", tmp_path / "file")
    assert code == 1 and out == "" and "cannot write to" in err
    code, out, err = run(
        capsys, "evaluate", trained, "--data", tmp_path / "none", "--split", "val", "--out", tmp_path / "new"
    )
    assert code == 1 and not (tmp_path / "new").exists()


def test_settings_that_nothing_reads_are_named(capsys, archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = config.replace(TINY, model="skip", epochs=1)
    code, _, err = run(capsys, "train", "--data", archive, *flags(settings))
    assert code == 0 and "--heads changes nothing here: it goes with --model mha" in err and "--warmup" not in err
    code, _, err = run(capsys, "train", "--freeze")
    assert code == 2 and "--freeze keeps what --pretrained brings" in err
    code, _, err = run(capsys, "train", "--teacher", "told.csv", "--balance", "nearmiss-smote")
    assert code == 2 and "no teacher has seen the rows that SMOTE makes" in err


@pytest.mark.parametrize(
    ("name", "value"), [("classes", "happy,sad"), ("labels", "fer2013new.csv"), ("colour", None), ("val-share", 0.3)]
)
def test_drawn_faces_follow_no_setting_about_data(capsys, tmp_path, monkeypatch, name, value):
    """The evaluation would say that its figures are of FER+'s labels."""
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "train", f"--{name}", *[value] * (value is not None))
    assert code == 2 and f"--{name} is about pictures that are read, and without --data faces are drawn" in err
    assert not list(tmp_path.rglob("*.json"))


def test_a_class_without_a_training_row_is_named(capsys, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (12, 16, 16), np.uint8), np.array(["cat", "dog", "owl"] * 4)
    np.savez(tmp_path / "few.npz", x_train=x[y != "owl"], y_train=y[y != "owl"], x_val=x, y_val=y)
    code, _, err = run(capsys, "train", "--data", tmp_path / "few.npz", *flags(SHORT), "--out", tmp_path / "run")
    assert code == 0 and "no training row is of owl: no picture will be read as that" in err


def test_data_that_cannot_be_read_is_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04 not much of a zip")
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as odd:
        odd.writestr("train/angry/Training_1.jpg", b"this is no picture")
    pixels = " ".join(["0"] * 2304)
    csvs = {
        "short.csv": f"0,{' '.join(['0'] * 2303)},Training",
        "bright.csv": f"0,{pixels[:-1]}300,Training",
        "text.csv": f"angry,{pixels},Training",
    }
    for name, row in csvs.items():
        (tmp_path / name).write_text(f"emotion,pixels,Usage\n{row}\n")
    for name, parts in {
        "missing.csv": ["missing.csv"],
        "empty": ["empty"],
        "cut.zip": ["cut.zip"],
        "odd.zip": ["odd.zip", "Training_1.jpg"],
        "short.csv": ["short.csv", "line 2", "2303"],
        "bright.csv": ["bright.csv", "line 2", "300"],
        "text.csv": ["text.csv", "line 2", "angry"],
    }.items():
        code, out, err = run(capsys, "train", "--data", name, "--out", "run")
        assert code == 1 and out == "", name
        assert len(err.strip().splitlines()) == 1, err
        assert all(part in err for part in parts), err


def test_split_that_is_not_there(capsys, trained, archive):
    code, _, err = run(capsys, "evaluate", trained, "--data", archive, "--split", "test")
    assert code == 1 and "test" in err and "train" in err


def test_weights_that_cannot_be_used(capsys, trained, archive, tmp_path):
    arrays, meta = checkpoint.load(trained / "best.npz")
    cut, pickled, other, strange = (tmp_path / f"{name}.npz" for name in ("cut", "pickled", "other", "strange"))
    cut.write_bytes((trained / "best.npz").read_bytes()[:5000])
    np.savez(pickled, weights=np.array([{"a": 1}], dtype=object))
    checkpoint.save(other, arrays, {**meta, "classes": ["cat", "dog", *meta["classes"][2:]]})
    checkpoint.save(strange, {k: v for k, v in arrays.items() if "block1." not in k}, meta)
    for path, message in (
        (cut, "cut"), (pickled, "pickle"), (other, "cat, dog"), (strange, "another model"),
        (tmp_path / "none.npz", "no such file"),
    ):  # fmt: skip
        code, out, err = run(capsys, "evaluate", path, "--data", archive, "--split", "val")
        assert code == 1 and out == ""
        assert message in err and len(err.strip().splitlines()) == 1, err


def test_out_that_cannot_be_written(capsys, archive, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "train", "--data", archive, "--out", tmp_path / "file" / "run")
    assert code == 1 and "choose another folder" in err


def test_full_disk_keeps_the_old_checkpoint(capsys, trained, tmp_path, monkeypatch):
    """The disk fills up in the middle of the save at the end of an epoch."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    arrays, meta = checkpoint.load(folder / "last.npz")
    meta |= {"finished": False, "epoch": 1, "rows": meta["rows"][:1]}
    checkpoint.save(folder / "last.npz", arrays, meta)
    before = (folder / "last.npz").read_bytes()

    def write_half(file, members):
        file.write(b"PK\x03\x04 half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_npz", write_half)
    code, _, err = run(capsys, "train", "--resume", folder)
    assert code == 1 and "No space left on device" in err
    assert (folder / "last.npz").read_bytes() == before
    assert not list(folder.glob(".*tmp"))
