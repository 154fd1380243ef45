"""FER+: votes become labels by the rules that are written down, and figures of them stay apart from FER2013's."""

import json

import numpy as np
import pytest
from small_runs import run

from minifer import config
from minifer.data import ferplus
from minifer.data.dataset import Dataset
from minifer.data.ferplus import CLASSES, COLUMNS, read_votes, relabelled
from minifer.errors import ConfigError, DataError
from minifer.reading import Reading, load
from minifer.training import Training

# neutral happiness surprise sadness anger disgust fear contempt unknown NF -> label, or None where it is dropped
VOTES = {
    "0,0,0,1,0,0,9,0,0,0": "fear",
    "4,0,0,1,3,2,0,0,0,0": "neutral",  # most votes, no majority: kept for cross-entropy only
    "1,1,1,1,1,1,1,1,1,1": None,  # slips
    "0,0,0,0,0,0,0,0,0,10": None,  # no face
    "3,0,0,0,0,0,0,0,5,2": None,  # nobody knows
    "0,6,0,0,0,0,0,0,4,0": "happiness",
}


OUT = "0,0,0,0,0,0,0,0,0,10"  # of a picture that FER+ took out: it has no name


def table(rows):
    """Return the text of fer2013new.csv with rows (number in the name or None, votes)."""
    names = ["" if number is None else f"fer{number:07d}.png" for number, _ in rows]
    lines = [f"Training,{name},{votes}" for name, (_, votes) in zip(names, rows, strict=True)]
    return "\n".join([",".join(COLUMNS), *lines, ""])


@pytest.fixture
def votes(tmp_path):
    (tmp_path / "new.csv").write_text(table([*enumerate(VOTES), (None, OUT)]))
    return tmp_path / "new.csv"


def rows(count=7):
    images = np.random.default_rng(0).integers(0, 256, (count, 48, 48), np.uint8)
    return Dataset(images, np.arange(count) % 7, np.array([f"fer{n:07d}.png" for n in range(count)]), split="train")


def test_votes_become_labels(votes):
    found = relabelled({"train": rows()}, votes)["train"]
    assert [found.classes[label] for label in found.labels] == ["fear", "neutral", "happiness"]
    assert found.classes == CLASSES and found.names.tolist() == ["fer0000000.png", "fer0000001.png", "fer0000005.png"]
    np.testing.assert_allclose(found.soft[0], np.eye(8)[6])  # a single vote is a slip
    np.testing.assert_allclose(found.soft[1], [4 / 9, 0, 0, 0, 3 / 9, 2 / 9, 0, 0], atol=1e-7)
    np.testing.assert_allclose(found.soft.sum(axis=1), 1, atol=1e-6)
    majority = relabelled({"train": rows()}, votes, "majority")["train"]
    assert [CLASSES[label] for label in majority.labels] == ["fear", "happiness"] and majority.soft is None
    assert found.stamp() != relabelled({"train": rows()}, votes, "majority")["train"].stamp()
    np.testing.assert_array_equal(found.take([1]).soft, found.soft[1:2])


def test_rows_go_together_by_their_place_whatever_the_numbers_in_their_names(tmp_path):
    """In fer2013new.csv a picture that was taken out has a number of its own here, and none there."""
    fear, happy = "0,0,0,0,0,0,9,0,0,0", "0,6,0,0,0,0,0,0,0,0"
    (tmp_path / "new.csv").write_text(table([(0, fear), (None, OUT), (1, happy), (None, OUT), (3, fear), (4, happy)]))
    found = relabelled({"train": rows(6)}, tmp_path / "new.csv")["train"]
    assert found.names.tolist() == [f"fer{n:07d}.png" for n in (0, 2, 4, 5)]
    assert [CLASSES[label] for label in found.labels] == ["fear", "happiness", "fear", "happiness"]
    some = relabelled({"train": rows(6).take([2, 3, 5])}, tmp_path / "new.csv")["train"]  # as `minifer prepare` leaves
    assert [CLASSES[label] for label in some.labels] == ["happiness", "happiness"]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda text: "emotion,pixels,Usage\n", "no column 'Image name': give fer2013new.csv"),
        (lambda text: text.replace(",9,", ",x,"), "line 2: votes are whole numbers from 0 to 10"),
        (lambda text: text.replace(",9,", ",11,"), "line 2: votes are whole numbers from 0 to 10"),
        (lambda text: text.replace(",9,", ","), "line 2: 11 columns, the header has 12"),
        (lambda text: text.replace(",9,", ",9,9,"), "line 2: 13 columns, the header has 12"),
        (lambda text: text.replace("fer0000004", "fer0000003"), "line 6: fer0000003.png stands after fer0000003.png"),
        (lambda text: text.replace("fer0000001", "fer0000008"), "line 4: fer0000002.png stands after fer0000008.png"),
        (lambda text: text.replace("Training", "Test", 1), "line 2, column Usage: 'Test' is none of"),
        (lambda text: text.replace("Training", "PublicTest", 1), "row 1: of val, and in the data's table of train"),
        (lambda text: text.rpartition("Training")[0], "6 rows, and 7 in the data's table"),
        (lambda text: text + f"Training,fer0000006.png,{OUT}\n", "8 rows, and 7 in the data's table"),
    ],
)
def test_a_file_that_is_not_it_is_one_line(change, message, votes):
    votes.write_text(change(votes.read_text()))
    with pytest.raises(DataError, match=message):
        relabelled({"train": rows()}, votes)
    with pytest.raises(DataError, match=r"missing.csv: no such file: give fer2013new.csv"):
        read_votes(votes.with_name("missing.csv"))


def test_votes_that_are_far_too_many_are_not_read(votes, monkeypatch):
    monkeypatch.setattr(ferplus, "MOST_BYTES", 100)
    with pytest.raises(DataError, match=r"no such table has more than 100: give fer2013new.csv"):
        read_votes(votes)


def test_pictures_that_have_no_place_in_the_table(votes):
    named = Dataset(rows().images, rows().labels, np.array([f"train/{n}.jpg" for n in range(7)]))
    with pytest.raises(DataError, match=r"train/0.jpg stands is not known: give fer2013.csv as --data"):
        relabelled({"train": named}, votes)


def test_merged_emotions_count_together(votes, tmp_path):
    pictures = ["emotion,pixels,Usage"]
    pictures += [
        f"{n % 7},{' '.join([str(n)] * 2304)},{usage}" for n, usage in enumerate(["Training"] * 7 + ["PublicTest"])
    ]
    (tmp_path / "fer2013.csv").write_text("\n".join(pictures))
    votes.write_text(votes.read_text() + "PublicTest,fer0000006.png,9,0,0,0,0,0,0,0,0,0")
    reading = Reading(labels=str(votes), merge=("anger+disgust",), classes=("neutral", "anger+disgust", "happiness"))
    found = load(tmp_path / "fer2013.csv", reading)["train"]
    assert found.labels.tolist() == [1, 2]  # 4 votes for neutral, 5 for the two together
    np.testing.assert_allclose(found.soft, [[4 / 9, 5 / 9, 0], [0, 0, 1]], atol=1e-6)


def test_training_aims_at_the_votes_and_figures_say_so(votes, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = relabelled({"train": rows()}, votes)["train"]
    settings = config.TrainConfig(model="plain", alpha=1 / 16, epochs=1, batch_size=2, end_phase=0.5)
    training = Training(settings, found, found)
    for phase in training.phases:
        np.testing.assert_array_equal(phase.batches.targets, found.soft)
    with pytest.raises(ConfigError, match="choose another balance"):
        Training(config.replace(settings, balance="nearmiss-smote"), found, found)
    pictures = ["emotion,pixels,Usage"]
    rng = np.random.default_rng(0)
    lines = [",".join(COLUMNS)]
    for n in range(24):
        usage = "Training" if n < 16 else "PublicTest"
        pictures.append(f"{n % 7},{' '.join(map(str, rng.integers(0, 256, 2304)))},{usage}")
        lines.append(f"{usage},fer{n:07d}.png,{','.join('9' if k == n % 8 else '0' for k in range(10))}")
    (tmp_path / "fer2013.csv").write_text("\n".join(pictures))
    (tmp_path / "new.csv").write_text("\n".join(lines))
    flags = ("--model", "plain", "--alpha", "0.07", "--epochs", "2", "--warmup", "0.5", "--out", "run")
    code, out, _ = run(capsys, "train", "--data", "fer2013.csv", "--labels", "new.csv", *flags)
    assert code == 0 and out.startswith("labels of FER+") and "contempt" in out
    code, out, _ = run(capsys, "evaluate", "run", "--data", "fer2013.csv", "--split", "val", "--json")
    assert code == 0 and json.loads(out)["labels"] == "FER+" and json.loads(out)["n"] == 8
    (tmp_path / "new.csv").rename(tmp_path / "moved.csv")
    evaluate = ("evaluate", "run", "--data", "fer2013.csv", "--split", "val", "--json")
    code, _, err = run(capsys, *evaluate)
    assert code == 1 and "new.csv" in err and "--labels" in err
    code, again, _ = run(capsys, *evaluate, "--labels", "moved.csv")
    assert code == 0 and again == out
    code, _, err = run(capsys, "evaluate", "best", *evaluate[2:], "--labels", "moved.csv")
    assert code == 2 and "best was not trained on FER+'s votes" in err
