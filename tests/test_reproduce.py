"""The study carried out on drawn faces, small: every stage leaves its result, and the report holds everything."""

import csv
import dataclasses
import json
import re
import shutil

import pytest

from minifer import cli, config
from minifer.data import fer2013, synthetic
from minifer.reproduce import plan

TINY = dataclasses.replace(
    plan.PLANS["quick"],
    rows=126,
    network=config.replace(plan.PLANS["quick"].network, alpha=1 / 16, epochs=1, heads=2, head_units=4),
    arm=config.replace(plan.PLANS["quick"].arm, alpha=1 / 16, epochs=1, heads=2, head_units=4),
    seeds=2,
    everywhere=1,
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "drawn.npz"
    fer2013.save_npz(path, synthetic.load(seed=0, train=160, val=42))
    return path


@pytest.fixture(scope="module")
def tiny_plan():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(plan.PLANS, "quick", TINY)
        yield


@pytest.fixture(scope="module")
def reproduced(drawn, tiny_plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reproduced")
    assert cli.main(["reproduce", "--data", str(drawn), "--out", str(folder), "--jobs", "1"]) == 0
    return folder


pytestmark = pytest.mark.slow


def test_the_report_is_one_file_with_every_table_and_figure(reproduced):
    text = (reproduced / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!#|data:)', text)
    for number in range(1, 5):
        assert f"Table {number}:" in text
    captions = " ".join(re.findall(r"<figcaption>(.*?)</figcaption>", text))
    for number in range(1, 10):
        assert re.search(rf"Figures? (1 and )?{number}\b", captions), number
    assert text.count("data:image/png") >= 10


def test_tables_stand_beside_it(reproduced):
    with open(reproduced / "table3.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["printed accuracy"] for row in rows] == ["91.3", "95.6", "96.0", ""]
    assert rows[3]["network"] == "MobileNet + skips + attention after all 13 blocks, 1 epochs"
    results = json.loads((reproduced / "results.json").read_text())
    assert [float(row["top-1"]) for row in rows] == [
        pytest.approx(100 * run["top1"], abs=0.05) for run in results["networks"].values()
    ]
    assert {len(runs) for runs in results["arms"].values()} == {2}
    with open(reproduced / "table1.csv", newline="") as file:
        together = list(csv.DictReader(file))[-1]
    assert together["rows"] == "126"


def test_the_networks_with_skips_keep_the_plain_extraction(reproduced):
    saved = config.to_dict(config.read(reproduced / "networks" / "mha" / "config.json")[0])
    assert saved["freeze"] and saved["pretrained"].endswith("plain") and saved["balance"] == "nearmiss-smote"
    assert (saved["batch_size"], saved["learning_rate"], saved["plateau_factor"], saved["min_learning_rate"]) == (
        32,
        1e-3,
        0.5,
        0.00025,
    )


def test_what_is_finished_is_not_done_again(reproduced, drawn, capsys):
    again = reproduced / "arms" / "skip-1" / "evaluation.json"
    again.unlink()
    before = {path: path.stat().st_mtime_ns for path in reproduced.rglob("evaluation.json")}
    old = (reproduced / "results.json").read_text()
    assert cli.main(["reproduce", "--data", str(drawn), "--out", str(reproduced)]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (reproduced / "results.json").read_text() == old  # the run that was done again gave the same
    assert "skip-1" in capsys.readouterr().err


def test_two_processes_train_the_same_networks(reproduced, drawn, capsys):
    places = [reproduced / "arms" / name for name in ("plain-0", "mha-1")]
    before = {place: (place / "best.npz").read_bytes() for place in places}
    for place in places:
        shutil.rmtree(place)
    assert cli.main(["reproduce", "--data", str(drawn), "--out", str(reproduced), "--jobs", "2"]) == 0
    assert {place: (place / "best.npz").read_bytes() for place in places} == before
    said = capsys.readouterr().err
    assert all(f"{place.name}: top-1" in said for place in places)


def test_an_interrupted_run_goes_on(reproduced, drawn, monkeypatch, capsys):
    import shutil

    from minifer import runs

    shutil.rmtree(reproduced / "arms" / "plain-0")
    with monkeypatch.context() as patch:
        patch.setattr(runs, "run_to_end", lambda training, folder, quiet: (False, [2]))
        assert cli.main(["reproduce", "--data", str(drawn), "--out", str(reproduced)]) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert cli.main(["reproduce", "--data", str(drawn), "--out", str(reproduced)]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--preset", "full"], 2, "holds the preset quick on"),
        (["--data", "elsewhere.npz"], 2, "give the same, or another --out"),
    ],
)
def test_a_folder_is_for_one_reproduction(arguments, code, message, reproduced, drawn, capsys):
    assert cli.main(["reproduce", "--data", str(drawn), "--out", str(reproduced), *arguments]) == code
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1


def test_a_wrong_path_leaves_the_folder_free(tmp_path, drawn, capsys):
    folder = tmp_path / "study"
    assert cli.main(["reproduce", "--data", str(tmp_path / "typo.zip"), "--out", str(folder)]) == 1
    assert not (folder / "reproduction.json").exists()
    imagenet = ["--imagenet", str(tmp_path / "typo.h5")]
    assert cli.main(["reproduce", "--data", str(drawn), "--out", str(folder), *imagenet]) == 1
    assert "typo.h5" in capsys.readouterr().err.splitlines()[-1] and not list(folder.iterdir())


def test_data_that_was_corrected_is_not_mixed_with_what_it_was(reproduced, drawn, capsys):
    before = drawn.read_bytes()
    splits = fer2013.load(drawn)
    splits["train"].labels[0] = (splits["train"].labels[0] + 1) % 7
    fer2013.save_npz(drawn, splits)
    assert cli.main(["reproduce", "--data", str(drawn), "--out", str(reproduced)]) == 2
    assert "is not what" in capsys.readouterr().err
    drawn.write_bytes(before)


def test_a_run_with_other_settings_is_not_taken_for_ours(reproduced, drawn, tiny_plan, monkeypatch, capsys):
    monkeypatch.setitem(plan.PLANS, "quick", dataclasses.replace(TINY, network=config.replace(TINY.network, epochs=2)))
    assert cli.main(["reproduce", "--data", str(drawn), "--out", str(reproduced)]) == 2
    assert "was trained with other settings" in capsys.readouterr().err


def test_data_without_a_validation_split(tmp_path, tiny_plan, capsys):
    fer2013.save_npz(tmp_path / "train.npz", {"train": synthetic.load(seed=0, train=20, val=20)["train"]})
    assert cli.main(["reproduce", "--data", str(tmp_path / "train.npz"), "--out", str(tmp_path / "out")]) == 1
    assert "no split 'val'" in capsys.readouterr().err
