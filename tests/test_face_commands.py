"""The verbs about faces: rows, drawings, errors, and a preparation that can be interrupted."""

import argparse
import csv
import json
import os

import numpy as np
import pytest
from PIL import Image

from minifer.commands import detect, pictures, prepare, train_detector, train_landmarks
from minifer.data.dataset import Dataset
from minifer.data.fer2013 import load, save_npz
from minifer.errors import ConfigError, DataError, MiniferError
from minifer.faces import prepare as preparing
from minifer.faces.detector import SHIPPED as SHIPPED_DETECTOR
from minifer.faces.landmarks import SHIPPED as SHIPPED_LANDMARKS
from minifer.files import check_target
from minifer.files.members import Member


def parse(command, *arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def face():
    from skimage import data

    return np.asarray(Image.fromarray(data.astronaut()).convert("L"))[60:190, 158:288]


@pytest.fixture
def folder(tmp_path, face):
    Image.fromarray(face).save(tmp_path / "a-face.png")
    Image.fromarray(np.zeros((60, 50), np.uint8)).save(tmp_path / "b-black.png")
    (tmp_path / "c-broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    return tmp_path


def test_detect_gives_a_row_per_picture_and_goes_on_after_a_broken_one(folder, capsys):
    assert detect.run(parse(detect, folder, "--json", "--landmarks")) == 1
    output = capsys.readouterr()
    with_face, black, broken = map(json.loads, output.out.splitlines())
    assert len(with_face["faces"]) == 1
    assert set(with_face["faces"][0]) == {"box", "score", "landmarks"}
    assert np.shape(with_face["faces"][0]["landmarks"]) == (68, 2)
    assert black["faces"] == []
    assert "error" not in black
    assert broken["error"].count("\n") == 0
    assert "c-broken.jpg" in output.err


def test_no_face_is_an_empty_list_and_no_failure(folder, capsys):
    assert detect.run(parse(detect, folder / "b-black.png")) == 0
    assert "no faces" in capsys.readouterr().out


def test_detect_draws(folder, tmp_path):
    rows = list(detect.detect([folder / "a-face.png"], landmarks=True, draw=tmp_path / "drawn"))
    drawn = np.asarray(Image.open(tmp_path / "drawn" / "a-face-faces.png"))
    assert drawn.shape == (130, 130, 3)
    assert (drawn == [255, 255, 0]).all(axis=2).sum() > 100
    assert detect.describe(rows[0]).startswith(f"{folder / 'a-face.png'}: 1 face\n")


def test_a_drawing_has_the_colours_of_its_picture(tmp_path):
    Image.new("RGB", (60, 50), "teal").save(tmp_path / "a.png")
    list(detect.detect([tmp_path / "a.png"], draw=tmp_path / "drawn"))
    assert Image.open(tmp_path / "drawn" / "a-faces.png").getcolors() == [(3000, (0, 128, 128))]


def names(rows):
    return [str(path) for path, _, _ in rows]


def test_pictures_of_folders_in_order_and_files_named_on_purpose(tmp_path, face, monkeypatch, capsys):
    (tmp_path / "b").mkdir()
    for name in ("c.png", "a.JFIF", "b/d.PGM", "notes.txt", "e.heic"):
        Image.fromarray(face).save(tmp_path / name, "PPM")
    monkeypatch.chdir(tmp_path)
    assert names(pictures.read_pictures(["."])) == ["a.JFIF", "b/d.PGM", "c.png"]
    assert "2 files that are no known picture were left out (1 .heic, 1 .txt)" in capsys.readouterr().err
    assert names(pictures.read_pictures(["notes.txt", tmp_path / "b"])) == ["notes.txt", str(tmp_path / "b/d.PGM")]
    assert capsys.readouterr().err == ""
    with pytest.raises(DataError, match="no such file"):
        list(pictures.read_pictures(["c.png", "missing"]))


def test_linked_albums_are_followed_and_what_systems_leave_is_not_read(tmp_path, face, capsys):
    albums = tmp_path / "albums"
    for name in ("albums/a.png", "elsewhere/b.png", "albums/._a.png", "albums/@eaDir/a.png", "albums/__MACOSX/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(face).save(tmp_path / name)
    (albums / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(albums)
    (albums / "self").symlink_to(albums)
    (albums / "c.png").symlink_to("/nowhere/c.png")
    (albums / "gone").symlink_to("/nowhere")
    os.mkfifo(albums / "d.png")
    rows = {path.name: row for path, row, _ in pictures.read_pictures([albums])}
    assert list(rows) == ["a.png", "c.png", "d.png", "b.png"]
    assert [name for name, row in rows.items() if "error" in row] == ["c.png", "d.png"]
    assert "link to nothing" in rows["c.png"]["error"] and "pipe" in rows["d.png"]["error"]
    assert "1 file that is no known picture was left out (1 without a suffix)" in capsys.readouterr().err


@pytest.mark.parametrize("draw", ["marked", "./marked/", "sub/../marked", "link", "."])
def test_drawings_are_no_pictures_to_look_at(tmp_path, face, monkeypatch, capsys, draw):
    monkeypatch.chdir(tmp_path)
    for name in ("sub", "marked"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("marked")
    Image.fromarray(face).save("a.png")
    for _ in range(2):
        assert detect.run(parse(detect, ".", "--draw", draw, "--json")) == 0
        assert [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()] == ["a.png"]
    folder = (tmp_path / draw).resolve()
    assert {path.name for path in folder.iterdir()} - {"a.png", "sub", "marked", "link"} == {"a-faces.png"}
    (folder / "a-faces.png").rename("holiday.jpg")
    assert [row["image"] for row in detect.detect(["."])] == ["a.png"]
    assert "1 of the pictures were left out: --draw wrote them" in capsys.readouterr().err
    with pytest.raises(DataError, match="no pictures there"):
        list(detect.detect(["holiday.jpg"]))


def test_a_drawing_replaces_no_picture(tmp_path, face):
    """A photograph that is called as a drawing would be stays, an earlier drawing does not."""
    for name in ("a.png", "a-faces.png"):
        Image.fromarray(face).save(tmp_path / name)
    photograph = (tmp_path / "a-faces.png").read_bytes()
    for _ in range(2):
        list(detect.detect([tmp_path / "a.png"], draw=tmp_path))
        assert {path.name for path in tmp_path.iterdir()} == {"a.png", "a-faces.png", "a-faces-2.png"}
        assert (tmp_path / "a-faces.png").read_bytes() == photograph


def test_long_names_and_pictures_that_may_not_be_read(tmp_path, face, monkeypatch, capsys):
    """Neither ends the work on the others."""
    paths = [tmp_path / f"{name}.png" for name in ("a" * 249, "b", "c")]
    for path in paths:
        Image.fromarray(face).save(path)

    def read(member, most, itself=Member.read):
        if str(member.where).endswith("b.png"):
            raise PermissionError(13, "Permission denied", member.where)
        return itself(member, most)

    monkeypatch.setattr(Member, "read", read)
    rows = list(detect.detect(paths, draw=tmp_path / "drawn"))
    assert ["error" in row for row in rows] == [False, True, False] and "Permission denied" in rows[1]["error"]
    assert {path.name for path in (tmp_path / "drawn").iterdir()} >= {"a" * 200 + "-faces.png", "c-faces.png"}


def test_a_picture_too_large_for_small_faces_is_one_line_and_the_next_is_done(tmp_path, face, capsys):
    """Searched for faces of 8 pixels it would be enlarged to nine times what is usual, and take gigabytes."""
    Image.new("L", (2600, 2000)).save(tmp_path / "a.png")
    Image.fromarray(face).save(tmp_path / "b.png")
    assert detect.run(parse(detect, tmp_path, "--min-size", "8")) == 1
    output = capsys.readouterr()
    assert "b.png: 1 face" in output.out
    assert len(output.err.splitlines()) == 1 and "a.png: 2600 x 2000" in output.err and "9 pixels or more" in output.err


def test_wrong_settings_of_detect(folder):
    with pytest.raises(ConfigError, match="threshold"):
        detect.run(parse(detect, folder, "--threshold", "1.5"))
    with pytest.raises(ConfigError, match="min_size"):
        detect.run(parse(detect, folder, "--min-size", "0"))
    with pytest.raises(DataError, match="no such file"):
        list(detect.detect([folder / "missing.png"]))


@pytest.fixture
def small_fer(tmp_path, face):
    """Two faces and two black pictures in train, a face and a black picture in val."""
    from minifer.faces.crop import fit_square

    crop, black = fit_square(face), np.zeros((48, 48), np.uint8)
    path = tmp_path / "fer.npz"
    save_npz(
        path,
        {
            "train": Dataset(np.stack([crop, black, crop, black]), np.array([0, 1, 2, 3]), np.array(list("abcd"))),
            "val": Dataset(np.stack([black, crop]), np.array([4, 5]), np.array(["e", "f"])),
        },
    )
    return path


def test_prepare_drops_training_rows_only_and_says_so(small_fer, tmp_path):
    report = preparing.prepare(small_fer, tmp_path / "out.npz", jobs=1)
    assert report["splits"]["train"] == {"pictures": 4, "found": 2, "kept": 2, "dropped": 2}
    assert report["splits"]["val"] == {"pictures": 2, "found": 1, "kept": 2, "dropped": 0}
    assert report["missed_by_class"]["disgust"] == 1
    splits = load(tmp_path / "out.npz")
    assert splits["train"].names.tolist() == ["a", "c"]
    assert splits["train"].labels.tolist() == [0, 2]
    assert splits["val"].names.tolist() == ["e", "f"]
    assert not splits["val"].images[0].any()  # kept as it was
    with np.load(tmp_path / "out.npz") as file:
        assert file["found"].tolist() == [True, True, False, True]
    with open(report["list"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["name"]: row["what"] for row in rows} == {"b": "dropped", "d": "dropped", "e": "kept as it is"}
    assert Image.open(report["sheet"]).size == (25 * 50, 50)
    assert "dropped" in prepare.describe(json.loads((tmp_path / "out-report.json").read_text()))


def test_a_threshold_of_0_makes_no_face_of_nothing(small_fer, tmp_path):
    report = preparing.prepare(small_fer, tmp_path / "out.npz", threshold=0.0, jobs=1)
    assert report["splits"]["train"]["found"] == 2 and report["missed_by_class"]["disgust"] == 1


def test_prepare_can_keep_everything(small_fer, tmp_path):
    report = preparing.prepare(small_fer, tmp_path / "out.npz", keep_all=True, level=True, jobs=1)
    assert report["splits"]["train"]["kept"] == 4


def test_an_interrupted_preparation_goes_on_where_it_was(small_fer, tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "TOGETHER", 2)
    done = []

    def interrupted(images, path, level, threshold, part=preparing.process_part):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(path.name)
        part(images, path, level, threshold)

    monkeypatch.setattr(preparing, "process_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        preparing.prepare(small_fer, tmp_path / "out.npz", jobs=1)
    assert not (tmp_path / "out.npz").exists()
    monkeypatch.undo()
    monkeypatch.setattr(preparing, "TOGETHER", 2)
    first = done.copy()
    part = preparing.process_part
    monkeypatch.setattr(
        preparing, "process_part", lambda images, path, *rest: (done.append(path.name), part(images, path, *rest))
    )
    (tmp_path / "out.parts" / "notes.txt").touch()  # somebody else's
    preparing.prepare(small_fer, tmp_path / "out.npz", jobs=1)
    assert len(done) == 3
    assert done[2] not in first
    assert [path.name for path in (tmp_path / "out.parts").iterdir()] == ["notes.txt"]


def test_wrong_settings_of_prepare(small_fer, tmp_path):
    with pytest.raises(DataError, match="suffix"):
        preparing.prepare(small_fer, tmp_path / "out.csv")
    with pytest.raises(DataError, match="no such file"):
        preparing.prepare(tmp_path / "missing", tmp_path / "out.npz")
    with pytest.raises(MiniferError, match="cannot write"):
        preparing.prepare(small_fer, small_fer / "out.npz")
    with pytest.raises(ConfigError, match="threshold"):
        prepare.run(parse(prepare, "--data", small_fer, "--out", tmp_path / "o.npz", "--threshold", "7"))


def test_training_commands_refuse_what_is_no_data(tmp_path):
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="36 x 36"):
        train_detector.train_detector(tmp_path, tmp_path, out=tmp_path / "d.npz")
    with pytest.raises(DataError, match=r"\.pts"):
        train_landmarks.run(parse(train_landmarks, "--data", tmp_path))
    with pytest.raises(ConfigError, match="rounds"):
        train_detector.run(parse(train_detector, "--faces", "a", "--scenes", "b", "--rounds", "-1"))
    with pytest.raises(ConfigError, match="copies"):
        train_landmarks.run(parse(train_landmarks, "--data", tmp_path, "--copies", "0"))


@pytest.mark.parametrize("command", [train_detector, train_landmarks])
def test_what_is_trained_takes_the_place_of_nothing_else(tmp_path, face, command):
    Image.fromarray(face).save(tmp_path / "a.png")
    data = ("--data", "x") if command is train_landmarks else ("--faces", "x", "--scenes", "x")
    for out, what in ((tmp_path, "is a folder"), (tmp_path / "a.png", "holds something else than a ")):
        with pytest.raises(ConfigError, match=what):
            command.run(parse(command, *data, "--out", out))
    check_target(SHIPPED_DETECTOR, "face detector", "--out")
    check_target(SHIPPED_LANDMARKS, "landmark predictor", "--out")


def test_a_single_portrait_cannot_be_held_out(tmp_path, monkeypatch):
    from minifer.faces import archives

    monkeypatch.setattr(archives, "portraits_below", lambda path: [(np.zeros((9, 9), np.uint8), np.zeros((68, 2)))])
    with pytest.raises(DataError, match="single portrait"):
        train_landmarks.run(parse(train_landmarks, "--data", "x", "--out", tmp_path / "l.npz", "--hold-out", "2"))
