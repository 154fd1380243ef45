"""Prediction: rows, tables and errors, and the very probabilities of the network on the very crops of training."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import run

from minifer import checkpoint, config, weights
from minifer.commands import predict
from minifer.commands.predict import describe, table_rows
from minifer.data import synthetic
from minifer.data.dataset import CLASSES
from minifer.evaluation import predict as forward
from minifer.faces import FaceDetector, LandmarkPredictor, crop_face, fit_square, read_image
from minifer.faces.prepare import find_and_crop
from minifer.faces.registration import read_face, registered
from minifer.networks import build_model
from minifer.recognizer import SURE_FROM, Recognizer
from minifer.trained import find_weights, load_weights

HELEN = Path(__file__).parents[2] / "shared" / "data" / "helen.zip"
TINY = config.TrainConfig(model="skip", alpha=1 / 16)
SCORES = dict.fromkeys(CLASSES, 0.0)


def save_network(path, side=48, settings=TINY, **meta):
    """Write a small network that has seen a few drawn faces, so that its normalization is not the identity."""
    rng = np.random.default_rng(5)
    model = build_model(TINY, (side, side, 1), len(CLASSES))
    for parameter in model.parameters().values():
        parameter.value += (0.1 * rng.standard_normal(parameter.value.shape)).astype(np.float32)
    model.forward(rng.standard_normal((8, side, side, 1)).astype(np.float32), training=True)
    described = {"config": config.to_dict(settings), "classes": list(CLASSES), "image_shape": [side, side]}
    checkpoint.save(path, model.state(), described | meta)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    save_network(folder / "best.npz")
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder of three drawn faces of 48x48."""
    folder = tmp_path_factory.mktemp("drawn")
    for k, image in enumerate(synthetic.generate(3, seed=1).images):
        Image.fromarray(image).save(folder / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def portrait():
    """The one face in scikit-image's picture of an astronaut, without much round it."""
    from skimage import data

    return np.asarray(Image.fromarray(data.astronaut()).convert("L"))[20:230, 120:330]


@pytest.fixture
def folder(tmp_path, portrait):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(portrait).save(folder / "a-face.png")
    Image.fromarray(np.zeros((60, 50), np.uint8)).save(folder / "b-black.png")
    (folder / "c-broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    return folder


def read_table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_whole_pictures_get_the_probabilities_of_the_network(capsys, run_folder, drawn):
    code, out, err = run(capsys, "predict", drawn, "--weights", run_folder, "--no-detect", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and err == ""
    assert [row["image"] for row in rows] == [str(drawn / f"{k}.png") for k in range(3)]
    images = np.stack([read_image(row["image"]) for row in rows])
    expected = forward(load_weights(run_folder / "best.npz")[0], images)
    assert expected.max() - expected.min() > 0.01  # the network has an opinion
    for row, probs in zip(rows, expected, strict=True):
        (face,) = row["faces"]
        assert set(row) == {"image", "faces"} and set(face) == {"box", "score", "probabilities"}
        assert face["box"] == [0, 0, 48, 48] and face["score"] is None
        assert tuple(face["probabilities"]) == CLASSES
        assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(list(face["probabilities"].values()), probs, atol=1e-5)


def test_a_face_is_cropped_as_for_training(capsys, run_folder, folder):
    code, out, err = run(capsys, "predict", folder, "--weights", run_folder / "best.npz", "--json")
    with_face, black, broken = map(json.loads, out.splitlines())
    assert code == 1
    assert len(err.strip().splitlines()) == 1 and "c-broken.jpg" in err
    assert black["faces"] == [] and "error" not in black
    assert broken["faces"] == [] and "c-broken.jpg" in broken["error"]
    (face,) = with_face["faces"]
    assert set(face) == {"box", "score", "landmarks", "probabilities"}
    assert np.shape(face["landmarks"]) == (68, 2) and 0.2 <= face["score"] <= 1
    image = read_image(folder / "a-face.png")
    detector, landmarks = FaceDetector.load(), LandmarkPredictor.load()
    (found,) = detector.detect(image)
    crop = crop_face(image, landmarks.predict(image, found.box))
    expected = forward(load_weights(run_folder / "best.npz")[0], crop[None])[0]
    np.testing.assert_allclose(list(face["probabilities"].values()), expected, atol=1e-5)
    # What `minifer prepare` cuts out of the same picture: its detector may put the box elsewhere by some pixels.
    prepared, _ = find_and_crop(image, detector, landmarks)
    assert np.corrcoef(crop.ravel(), prepared.ravel())[0, 1] > 0.9


def test_badges_and_patches_are_no_faces(tmp_path):
    """The detector finds three more faces in the astronaut's picture and some among coins; landmarks fit none."""
    from skimage import data

    recognizer, detector = Recognizer.load("best"), FaceDetector.load()
    for name, count in (("astronaut", 1), ("coins", 0)):
        picture = getattr(data, name)()
        Image.fromarray(picture).save(tmp_path / "photo.png")
        faces = recognizer.predict(tmp_path / "photo.png")
        found = detector.detect(read_image(tmp_path / "photo.png"), SURE_FROM)
        assert len(faces) == count < len(found)
        assert all(face["score"] > 0.99 for face in faces)


def test_registered_networks_see_registered_faces(capsys, tmp_path, drawn, folder):
    """Whole pictures as evaluate registers them; a face in a photo along its landmarks, through the one function."""
    save_network(tmp_path / "net.npz", side=40, settings=config.replace(TINY, register=True))
    model, _ = load_weights(tmp_path / "net.npz")
    _, out, _ = run(capsys, "predict", drawn, "--weights", tmp_path / "net.npz", "--no-detect", "--json")
    shown = [list(json.loads(line)["faces"][0]["probabilities"].values()) for line in out.splitlines()]
    faces = registered(synthetic.generate(3, seed=1))
    np.testing.assert_allclose(shown, forward(model, faces.images, faces.frames), atol=1e-5)
    assert np.abs(shown - forward(model, faces.images)).max() > 1e-3
    _, out, _ = run(capsys, "predict", folder / "a-face.png", "--weights", tmp_path / "net.npz", "--json")
    (face,) = json.loads(out)["faces"]
    image = read_image(folder / "a-face.png")
    points = LandmarkPredictor.load().predict(image, FaceDetector.load().detect(image)[0].box)
    expected = forward(model, read_face(image, points, 40)[None])[0]
    np.testing.assert_allclose(list(face["probabilities"].values()), expected, atol=1e-5)


def test_table_and_text(capsys, run_folder, folder, tmp_path):
    table = tmp_path / "table.csv"
    code, out, _ = run(capsys, "predict", folder, "--weights", run_folder, "--csv", table, "--draw", tmp_path / "out")
    assert code == 1
    header = table.read_text().splitlines()[0]
    assert header == "picture,face,x1,y1,x2,y2,score,prediction," + ",".join(CLASSES)
    face, black, broken = read_table(table)
    scores = {name: float(face[name]) for name in CLASSES}
    assert face["picture"] == str(folder / "a-face.png") and face["face"] == "1"
    assert face["prediction"] == max(scores, key=scores.get)
    assert sum(scores.values()) == pytest.approx(1, abs=1e-4)
    assert black["prediction"] == "no_face" and black["face"] == black["score"] == black["happy"] == ""
    assert broken["prediction"] == "not_read"
    first, second, third = out.splitlines()
    best, runner_up = sorted(scores, key=scores.get, reverse=True)[:2]
    assert first.startswith(f"{folder / 'a-face.png'}: face 1 of 1, box ")
    assert first.index(f": {best} ") < first.index(f" then {runner_up} ")
    assert second == f"{folder / 'b-black.png'}: no_face"
    assert third == f"{folder / 'c-broken.jpg'}: not_read"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a-face-faces.png", "b-black-faces.png"}
    marked = np.asarray(Image.open(tmp_path / "out" / "a-face-faces.png"))
    assert (marked == [255, 255, 0]).all(axis=2).sum() > 100


def test_pictures_of_one_name_are_drawn_into_different_files(capsys, run_folder, tmp_path):
    for place in ("x", "y"):
        (tmp_path / place).mkdir()
        Image.fromarray(np.zeros((40, 30), np.uint8)).save(tmp_path / place / "same.png")
    arguments = (tmp_path / "x", tmp_path / "y" / "same.png", "--no-detect", "--draw", tmp_path / "out")
    code, out, _ = run(capsys, "predict", *arguments, "--weights", run_folder)
    assert code == 0 and out.count("whole picture") == 2
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"same-faces.png", "same-faces-2.png"}


def test_several_faces_are_numbered():
    faces = [
        {"box": [1.0, 2, 3, 4], "score": 0.9, "probabilities": SCORES | {"sad": 0.7, "fear": 0.3}},
        {"box": [5.0, 6, 7, 8], "score": 0.5, "probabilities": SCORES | {"happy": 1.0}},
    ]
    row = {"image": "two.png", "faces": faces}
    assert predict.describe(row).splitlines() == [
        "two.png: face 1 of 2, box 1 2 3 4, score 0.90: sad 70.0 % then fear 30.0 %",
        "two.png: face 2 of 2, box 5 6 7 8, score 0.50: happy 100.0 % then angry 0.0 %",
    ]
    lines = predict.table_rows(row)
    assert [(line["face"], line["prediction"]) for line in lines] == [(1, "sad"), (2, "happy")]
    assert all(set(CLASSES) < set(line) for line in lines)


def test_a_network_of_another_size_gets_crops_of_its_size(tmp_path, portrait):
    save_network(tmp_path / "small.npz", side=32)
    recognizer = Recognizer(tmp_path / "small.npz", detect=False)
    (face,) = recognizer.predict(portrait)
    expected = forward(load_weights(tmp_path / "small.npz")[0], fit_square(portrait, 32)[None])[0]
    np.testing.assert_allclose(list(face["probabilities"].values()), expected, atol=1e-5)


def test_no_faces_have_no_probabilities(run_folder):
    recognizer = Recognizer(run_folder / "best.npz", detect=False)
    assert recognizer.probabilities([]).shape == (0, 7)


@pytest.mark.parametrize("verb", [("predict", "x.png", "--weights"), ("evaluate", "--data=x.zip", "--split=val")])
@pytest.mark.parametrize(("name", "what"), [("best", "are missing from"), ("huge", "neither a file, a run folder")])
def test_missing_names_of_weights_are_one_line(capsys, tmp_path, monkeypatch, verb, name, what):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "weights")  # nothing ships there
    (tmp_path / "x.png").write_bytes(b"")
    monkeypatch.setattr("minifer.data.fer2013.load_split", lambda path, split: None)
    code, out, err = run(capsys, *verb, name)
    assert code == 2 and out == ""
    assert len(err.strip().splitlines()) == 1
    assert all(part in err for part in (repr(name), what, "best and small", "minifer train")), err


def test_shipped_names_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "weights")
    monkeypatch.chdir(tmp_path)
    shipped = tmp_path / "weights" / weights.NETWORKS["small"]
    shipped.parent.mkdir()
    shipped.write_bytes(b"")
    assert find_weights("small") == shipped
    (tmp_path / "small").mkdir()  # one's own run of that name needs a path
    assert find_weights("small") == shipped
    assert str(find_weights("./small")) == "small/best.npz"


def test_what_cannot_work_is_one_line(capsys, run_folder, drawn, tmp_path):
    weights = ("--weights", run_folder)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for code, message, *arguments in (
        (1, "no such file", tmp_path / "gone.png", *weights),
        (1, "no pictures there", tmp_path / "empty", *weights),
        (1, "no such file", drawn, "--weights", tmp_path / "empty"),
        (1, "cannot write", drawn, *weights, "--no-detect", "--csv", tmp_path / "gone" / "t.csv"),
        (1, "cannot write", drawn, *weights, "--no-detect", "--draw", tmp_path / "file"),
        (2, "not allowed with", drawn, *weights, "--json", "--csv", tmp_path / "t.csv"),
    ):
        got, out, err = run(capsys, "predict", *arguments)
        assert got == code and out == "" and message in err, err
        assert len(err.strip().splitlines()) == 1 or code == 2, err


def test_an_earlier_table_survives_a_wrong_path(capsys, run_folder, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("picture,what was found before")
    code, _, _ = run(capsys, "predict", tmp_path / "gone.png", "--weights", run_folder, "--csv", table)
    assert code == 1 and table.read_text() == "picture,what was found before"


def test_names_that_break_lines_and_classes_called_like_columns():
    face = {"box": [0, 0, 1, 1], "score": None, "probabilities": {"face": 0.75, "sad": 0.25}}
    row = {"image": "a\nb.png", "faces": [face]}
    (line,) = table_rows(row)
    assert line["face"] == 1 and line["class face"] == "0.75000" and line["sad"] == "0.25000"
    assert describe(row) == r"a\nb.png: whole picture: face 75.0 % then sad 25.0 %"


def test_a_network_for_oblong_pictures_is_refused(capsys, drawn, tmp_path):
    save_network(tmp_path / "oblong.npz", image_shape=[48, 40])
    code, _, err = run(capsys, "predict", drawn, "--weights", tmp_path / "oblong.npz")
    assert code == 2 and "a face's crop is a square" in err


@pytest.mark.data
def test_portraits_have_one_row_per_face(capsys, run_folder, tmp_path):
    import zipfile

    if not HELEN.exists():
        pytest.skip(f"the portraits are not at {HELEN}")
    with zipfile.ZipFile(HELEN) as archive:
        for name in [name for name in archive.namelist() if name.endswith(".jpg")][:3]:
            archive.extract(name, tmp_path)
    code, out, _ = run(capsys, "predict", tmp_path, "--weights", run_folder, "--csv", tmp_path / "table.csv")
    rows = read_table(tmp_path / "table.csv")
    assert code == 0 and len(rows) == len(out.splitlines())
    assert len({row["picture"] for row in rows if row["prediction"] in CLASSES}) == 3
