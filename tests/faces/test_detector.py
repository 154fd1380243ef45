"""The detector: training on drawn faces, every kind of picture, and the shipped weights on a real one."""

import errno

import numpy as np
import pytest

from minifer.errors import CheckpointError, ConfigError, DataError, MiniferError
from minifer.faces import Detection, FaceDetector
from minifer.faces.boxes import iou
from minifer.faces.detector_training import random_windows, train_detector
from minifer.faces.training_pictures import with_faces
from minifer.files import npz
from minifer.kernels.twin import use_backend


def drawn_face(rng):
    """36 x 36: an oval with eyes, brows and a mouth, in the places where the aligned faces have them."""
    i, j = np.mgrid[:36, :36] + rng.uniform(-0.7, 0.7, (2, 1, 1))
    face = np.where(((i - 17) / 17) ** 2 + ((j - 18) / 13) ** 2 < 1, 190.0, rng.uniform(40, 110))
    for row, column, height, width in (
        (12.7, 12.7, 1.5, 3),
        (12.7, 23.1, 1.5, 3),
        (9, 12.7, 0.8, 4),
        (9, 23.1, 0.8, 4),
        (25, 18, 1.4, 5),
    ):
        face[(np.abs(i - row) < height) & (np.abs(j - column) < width)] = rng.uniform(30, 80)
    return np.clip(face + rng.normal(0, 6, face.shape), 0, 255).astype(np.uint8)


def drawn_scene(rng, height=110, width=130):
    """Boxes of many greys, and noise."""
    scene = np.full((height, width), 120.0)
    for _ in range(60):
        y, x = rng.integers(height), rng.integers(width)
        scene[y : y + rng.integers(3, 40), x : x + rng.integers(3, 40)] = rng.uniform(0, 255)
    return np.clip(scene + rng.normal(0, 5, scene.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(0)
    faces, scenes = [drawn_face(rng) for _ in range(80)], [drawn_scene(rng) for _ in range(8)]
    logged = []
    detector = train_detector(faces, scenes, rounds=1, hidden=4, epochs=2, log=logged.append)
    return detector, logged


@pytest.fixture(scope="module")
def shipped():
    return FaceDetector.load()


def test_training_finds_drawn_faces_in_scenes_it_has_not_seen(trained, rng):
    detector, logged = trained
    assert any("average precision" in line for line in logged)
    found = 0
    for _ in range(5):
        scene, boxes = with_faces(drawn_scene(rng), [drawn_face(rng)], rng)
        detections = detector.detect(scene.astype(np.uint8), threshold=0)
        found += iou(detections[0].box[None], boxes).max() > 0.5
    assert found >= 4


def test_training_twice_gives_the_same_detector(rng):
    faces, scenes = [drawn_face(rng) for _ in range(24)], [drawn_scene(rng) for _ in range(4)]
    settings = {"rounds": 1, "hidden": 2, "epochs": 1, "log": lambda text: None}
    first, second = (train_detector(faces, scenes, **settings) for _ in range(2))
    np.testing.assert_array_equal(first.template, second.template)
    np.testing.assert_array_equal(first.hidden, second.hidden)


def test_scenes_too_small_for_a_window_give_no_negatives(rng):
    scenes = [drawn_scene(rng), np.zeros((20, 200), np.uint8)]
    assert len(random_windows(scenes, 20, rng)) == 20


@pytest.mark.parametrize(("faces", "scenes"), [(1, 4), (2, 1), (2, 0)], ids=["one face", "one scene", "small scenes"])
def test_too_little_to_train_on(rng, faces, scenes):
    scenes = [drawn_scene(rng) for _ in range(scenes)] or [np.zeros((20, 200), np.uint8)] * 3
    with pytest.raises(DataError, match="at least two faces, and at least two scenes"):
        train_detector([drawn_face(rng)] * faces, scenes)


def test_saving_and_loading_changes_nothing(trained, tmp_path, rng):
    detector, _ = trained
    detector.save(tmp_path / "detector.npz")
    loaded = FaceDetector.load(tmp_path / "detector.npz")
    scene = drawn_scene(rng)
    for one, other in zip(detector.detect(scene, 0), loaded.detect(scene, 0), strict=True):
        np.testing.assert_array_equal(one.box, other.box)
        assert one.score == other.score


def test_a_detector_that_cannot_be_written_leaves_the_one_before(trained, tmp_path, monkeypatch):
    def interrupted(file, *_):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    detector, _ = trained
    path = tmp_path / "detector.npz"
    path.write_bytes(b"before")
    monkeypatch.setattr(npz, "write_npz", interrupted)
    with pytest.raises(MiniferError, match=r"cannot write .*detector\.npz: No space left on device"):
        detector.save(path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"before"]


@pytest.mark.parametrize("content", [b"", b"nothing", None])
def test_files_that_are_no_detector(tmp_path, content):
    path = tmp_path / "detector.npz"
    if content is None:
        np.savez(path, template=np.zeros(3))
    else:
        path.write_bytes(content)
    for file, message in ((path, "not a face detector"), (tmp_path / "missing.npz", "no such file: check the path")):
        with pytest.raises(CheckpointError, match=message):
            FaceDetector.load(file)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (10_000, 3), (3, 10_000), (24, 24), (64, 48)])
def test_black_pictures_of_odd_sizes_have_no_face(shipped, shape):
    assert shipped.detect(np.zeros(shape, np.uint8)) == []
    found = shipped.detect_crop(np.zeros(shape, np.uint8))
    assert found is None or found.score < 0.1


@pytest.mark.parametrize("settings", [{"min_size": 0}, {"min_size": float("nan")}, {"scale_step": 1.0}])
def test_settings_that_cannot_work(shipped, settings):
    with pytest.raises(ConfigError):
        shipped.detect(np.zeros((40, 40), np.uint8), **settings)


def test_what_is_no_picture(shipped):
    with pytest.raises(DataError):
        shipped.detect(np.zeros((4, 4, 7)))


@pytest.fixture(scope="module")
def astronaut():
    from skimage import data

    return np.asarray(data.astronaut())


FACE = np.array([166.0, 67, 281, 182])  # by eye, in the box convention


def test_the_shipped_detector_finds_a_real_face_first(shipped, astronaut):
    detections = shipped.detect(astronaut)
    assert isinstance(detections[0], Detection)
    box, score = detections[0]
    assert score > 0.9
    assert iou(box[None], FACE[None])[0, 0] > 0.6


@pytest.mark.parametrize("share", [2, 3, 4])
def test_the_face_is_found_at_smaller_sizes_too(shipped, astronaut, share):
    detections = shipped.detect(astronaut[::share, ::share])
    assert iou(detections[0].box[None], FACE[None] / share)[0, 0] > 0.5


@pytest.mark.parametrize("degrees", [-35, 35])
def test_a_tilted_face_is_found_where_it_is(shipped, astronaut, degrees):
    import scipy.ndimage

    part = astronaut[20:260, 100:420].mean(axis=2)
    tilted = scipy.ndimage.rotate(part, -degrees, order=1, mode="nearest").clip(0, 255).astype(np.uint8)
    angle, middle = np.deg2rad(degrees), np.array([160.0, 120.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    x, y = turn @ (np.array([223.5 - 100, 124.5 - 20]) - middle) + np.array(tilted.shape[::-1]) / 2
    found = shipped.detect(tilted)[0]
    assert found.score > 0.5
    assert iou(found.box[None], np.array([[x - 57, y - 57, x + 57, y + 57]]))[0, 0] > 0.6


def test_only_pictures_without_a_sure_face_are_looked_at_turned(shipped, astronaut, monkeypatch):
    looks = []
    nothing = np.zeros((0, 4)), np.zeros(0)
    monkeypatch.setattr(FaceDetector, "tilted", lambda self, image, angle, *_: looks.append(angle) or nothing)
    assert shipped.detect(astronaut)[0].score > 0.5
    assert looks == []
    shipped.detect(np.zeros((60, 60), np.uint8))
    np.testing.assert_allclose(np.rad2deg(looks), [-30, 30])


def test_min_size_leaves_out_smaller_faces(shipped, astronaut):
    small = astronaut[::4, ::4]
    assert all(box[2] - box[0] >= 45 for box, _ in shipped.detect(small, threshold=0, min_size=50))


def test_a_higher_threshold_keeps_the_best(shipped, astronaut):
    many, few = (shipped.detect(astronaut, threshold=t) for t in (0.05, 0.95))
    assert 1 <= len(few) <= len(many)
    assert [d.score for d in few] == [d.score for d in many[: len(few)]]


def test_a_face_that_fills_the_picture_is_found_by_its_crop(shipped, astronaut):
    found = shipped.detect_crop(astronaut[74:176, 174:276])
    assert found.score > 0.3
    assert iou(found.box[None], FACE[None] - np.array([174, 74, 174, 74]))[0, 0] > 0.6


def test_both_backends_find_the_same(shipped, astronaut):
    picture = astronaut[40:220:4, 130:320:4]
    compiled = shipped.detect(picture, threshold=0.01)
    with use_backend("numpy"):
        reference = shipped.detect(picture, threshold=0.01)
    assert len(compiled) == len(reference)
    np.testing.assert_allclose(compiled[0].box, reference[0].box, atol=0.05)
