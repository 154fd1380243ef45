"""Landmarks: geometry by hand, training on drawn faces, the shipped weights on a real face, and held-out portraits."""

import errno
from pathlib import Path

import numpy as np
import pytest

from minifer.errors import CheckpointError, DataError, MiniferError
from minifer.faces import LandmarkPredictor, landmark_training
from minifer.faces.boxes import box_of_landmarks, roll_of_landmarks
from minifer.faces.kernels.resize import affine_points_numpy
from minifer.faces.landmarks import MIRROR, PATCH, SURE, Doubt, Frame, face_patch, surroundings
from minifer.faces.pyramid import octaves
from minifer.files import npz
from minifer.kernels.twin import use_backend

HELEN = Path(__file__).parents[3] / "shared" / "data" / "helen.zip"


def drawn_portrait(rng, side=120):
    """A face of discs whose 68 points are known; its mouth lies now higher, now lower."""
    centre, size = side / 2 + rng.uniform(-6, 6, 2), side / 5 * rng.uniform(0.9, 1.1)
    mouth = rng.uniform(0.5, 1.1)
    turn = np.pi + 2 * np.pi * np.concatenate([np.arange(12) / 12, np.arange(8) / 8])  # outer and inner lip
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    jaw = np.linspace(np.pi, 0, 17)
    points = np.concatenate(
        [
            np.stack([np.cos(jaw), np.sin(jaw) * 1.3], axis=1) * 1.2,
            [(-0.9, -0.8)] * 5 + [(0.9, -0.8)] * 5 + [(0, 0.2)] * 9,
            [(-0.5, -0.4)] * 6 + [(0.5, -0.4)] * 6,
            ring * [0.4, 0.2] + [0, mouth],
        ]
    )
    points = centre + size * points
    y, x = np.mgrid[:side, :side] + 0.5
    image = np.full((side, side), 60.0)
    image[((x - centre[0]) / size / 1.3) ** 2 + ((y - centre[1]) / size / 1.5) ** 2 < 1] = 180
    for part, radius in ((points[36], 0.18), (points[42], 0.18), (points[30], 0.12), (points[48:60].mean(axis=0), 0.3)):
        image[np.hypot(x - part[0], y - part[1]) < radius * size] = 30
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8), points


@pytest.fixture(scope="module")
def portraits():
    rng = np.random.default_rng(0)
    return [drawn_portrait(rng) for _ in range(60)]


@pytest.fixture(scope="module")
def trained(portraits):
    small = {"cascades": 2, "trees": 15, "directions": 8}
    return landmark_training.train_landmarks(portraits[:50], copies=4, fine=small, log=lambda text: None)


@pytest.fixture(scope="module")
def shipped():
    return LandmarkPredictor.load()


def test_mirroring_twice_changes_nothing():
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(68))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.7])
@pytest.mark.parametrize("enlarged", [1, 4])
def test_a_patch_shows_what_its_frame_says(portraits, angle, mirrored, enlarged):
    image, points = portraits[0]
    pictures, points = octaves(np.kron(image, np.ones((enlarged, enlarged), np.uint8)), 56), points * enlarged
    frame = Frame.round_box(box_of_landmarks(points), angle)
    frame = frame.mirrored() if mirrored else frame
    patch = face_patch(pictures, frame)
    assert patch.shape == (PATCH, PATCH)
    _, size, matrix = frame.sampling(pictures)
    assert size == enlarged
    np.testing.assert_allclose(size * affine_points_numpy(frame.to_patch(points), matrix), points)
    x, y = frame.to_patch(points[36]).astype(int)
    assert patch[y, x] < 60  # an eye
    if angle == 0:
        assert (x < frame.to_patch(points[42])[0]) is not mirrored


def test_the_frame_of_landmarks_is_that_of_their_box_turned_upright(portraits):
    points = portraits[0][1] @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    frame = Frame.round_box(box_of_landmarks(points), roll_of_landmarks(points))
    found = Frame.round_landmarks(points)
    for part in ("corner", "across", "down"):
        np.testing.assert_allclose(getattr(found, part), getattr(frame, part))


def test_training_beats_the_mean_shape_on_faces_it_has_not_seen(trained, portraits):
    from minifer.faces.landmark_training import measure

    errors = measure(trained, portraits[50:])
    assert errors["error over eye corners"] < 0.5 * errors["mean shape, over eye corners"]
    assert errors["error over eye corners"] == pytest.approx(errors["error over eye centres"])  # drawn eyes are points


def test_training_twice_gives_the_same_predictor(portraits):
    settings = {"copies": 1, "fine": {"cascades": 1, "trees": 3, "directions": 4}, "log": lambda text: None}
    first, second = (landmark_training.train_landmarks(portraits[:6], **settings) for _ in range(2))
    np.testing.assert_array_equal(first.trees.leaves, second.trees.leaves)
    np.testing.assert_array_equal(first.steps.weight, second.steps.weight)


def test_saving_and_loading_changes_nothing(trained, portraits, tmp_path):
    trained.save(tmp_path / "landmarks.npz")
    loaded = LandmarkPredictor.load(tmp_path / "landmarks.npz")
    image, points = portraits[25]
    box = box_of_landmarks(points)
    np.testing.assert_array_equal(loaded.predict(image, box), trained.predict(image, box))


def test_a_predictor_that_cannot_be_written_leaves_the_one_before(trained, tmp_path, monkeypatch):
    def interrupted(file, *_):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "landmarks.npz"
    path.write_bytes(b"before")
    monkeypatch.setattr(npz, "write_npz", interrupted)
    with pytest.raises(MiniferError, match=r"cannot write .*landmarks\.npz: No space left on device"):
        trained.save(path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"before"]


@pytest.mark.parametrize("content", [b"", b"nothing", None])
def test_files_that_are_no_predictor(tmp_path, content):
    path = tmp_path / "landmarks.npz"
    if content is None:
        np.savez(path, mean=np.zeros(3))
    else:
        path.write_bytes(content)
    for file, message in (
        (path, "not a landmark predictor"),
        (tmp_path / "missing.npz", "no such file: check the path"),
    ):
        with pytest.raises(CheckpointError, match=message):
            LandmarkPredictor.load(file)


def test_a_file_of_an_older_version_is_refused(trained, tmp_path):
    trained.save(tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as file:
        arrays = dict(file)
    questions = arrays.pop("trees.questions")
    arrays.update({f"trees.{name}": questions[..., i] for i, name in enumerate(("a", "b", "threshold"))})
    np.savez(tmp_path / "old.npz", **arrays)
    with pytest.raises(CheckpointError, match=r"old\.npz: .*trees\.questions: not a landmark predictor of this"):
        LandmarkPredictor.load(tmp_path / "old.npz")


def test_both_backends_find_the_same(trained, portraits):
    image, points = portraits[22]
    box = box_of_landmarks(points)
    with use_backend("numpy"):
        reference = trained.predict(image, box)
    np.testing.assert_allclose(trained.predict(image, box), reference, atol=0.05)


@pytest.mark.parametrize("box", [[0, 0, 0, 10], [5, 5, 1, 9], [0, 0, 1], [0, 0, np.nan, 5], [[0, 0, 5, 5]]])
def test_boxes_that_are_none(trained, box):
    with pytest.raises(DataError, match="x1 < x2"):
        trained.predict(np.zeros((20, 20), np.uint8), box)


@pytest.mark.parametrize("box", [[-50, -50, -10, -10], [90, 90, 300, 300], [0, 0, 1e-3, 1e-3], [-1e4, -1e4, 1e4, 1e4]])
@pytest.mark.parametrize("shape", [(1, 1), (48, 48), (3, 200)])
def test_boxes_outside_or_beyond_a_picture_still_give_68_points(trained, shape, box):
    points = trained.predict(np.zeros(shape, np.uint8), box)
    assert points.shape == (68, 2)
    assert np.isfinite(points).all()


@pytest.fixture(scope="module")
def astronaut():
    from skimage import data

    return np.asarray(data.astronaut())


def test_the_shipped_predictor_finds_the_eyes_of_a_real_face(shipped, astronaut):
    points = shipped.predict(astronaut, [166, 67, 281, 182])
    np.testing.assert_allclose(points[36:42].mean(axis=0), [205, 102], atol=3)
    np.testing.assert_allclose(points[42:48].mean(axis=0), [247, 104], atol=3)
    np.testing.assert_allclose(points[48:].mean(axis=0), [223, 145], atol=4)


def test_the_box_may_be_off(shipped, astronaut):
    near, far = (shipped.predict(astronaut, box) for box in ([166, 67, 281, 182], [175, 82, 271, 178]))
    assert np.linalg.norm(near - far, axis=1).mean() < 4


@pytest.mark.parametrize("degrees", [-40, 30, 50])
def test_a_tilted_head_in_an_upright_box(shipped, astronaut, degrees):
    import scipy.ndimage

    box, middle = np.array([166.0, 67, 281, 182]), np.array([223.5, 124.5])
    part = astronaut[4:246, 103:345].mean(axis=2)  # round the box's middle
    tilted = scipy.ndimage.rotate(part, -degrees, reshape=False, order=1, mode="nearest").clip(0, 255).astype(np.uint8)
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    expected = (shipped.predict(astronaut, box) - middle) @ [[cosine, sine], [-sine, cosine]] + 121
    found = shipped.predict(tilted, box - [103, 4, 103, 4])
    assert np.linalg.norm(found - expected, axis=1).mean() < 4


def test_landmarks_beside_the_face_are_doubted(shipped, astronaut):
    pictures = octaves(astronaut[20:240, 110:340].mean(axis=2).astype(np.uint8), PATCH // 2)
    points = shipped.predict(astronaut, [166, 67, 281, 182]) - [110, 20]
    assert shipped.doubt.of(pictures, points) < SURE < shipped.doubt.of(pictures, points + np.array([25, 25]))


def test_other_starts_are_tried_only_in_doubt_and_the_least_doubtful_wins(trained, portraits, monkeypatch):
    image, points = portraits[3]
    box = box_of_landmarks(points)
    for doubts, tried in (([0.1], 1), ([0.9, 0.2], 2), ([0.9] * 4 + [0.5] + [0.9] * 6, 11)):
        found, left = [], list(doubts)
        look = lambda self, *_, found=found: found.append(np.full((68, 2), len(found))) or found[-1]  # noqa: E731
        monkeypatch.setattr(LandmarkPredictor, "look", look)
        monkeypatch.setattr(Doubt, "of", lambda self, *_, left=left: left.pop(0))
        result = trained.predict(image, box)
        assert (len(found), left) == (tried, [])
        np.testing.assert_array_equal(result, found[int(np.argmin(doubts))] + surroundings(image, *box)[1])


@pytest.mark.data
@pytest.mark.slow
def test_a_predictor_trained_on_part_of_helen_finds_the_rest():
    if not HELEN.exists():
        pytest.skip(f"the portraits are not at {HELEN}")
    from minifer.faces.archives import portraits_below
    from minifer.faces.landmark_training import measure

    portraits = portraits_below(HELEN)[:240]
    small = {"cascades": 3, "trees": 60, "directions": 24}
    predictor = landmark_training.train_landmarks(portraits[40:], copies=3, fine=small, log=lambda text: None)
    assert measure(predictor, portraits[:40])["error over eye corners"] < 0.07


@pytest.mark.parametrize("count", [3, 9])
def test_ridge_regression_is_the_same_from_either_system(count, rng):
    rows, targets = rng.normal(size=(count, 5)), rng.normal(size=(count, 2))
    expected = np.linalg.solve(rows.T @ rows + 0.1 * count * np.eye(5), rows.T @ targets)
    np.testing.assert_allclose(landmark_training.ridge_regression(rows, targets, 0.1), expected, rtol=1e-9)


def test_leaf_means_by_hand():
    means = landmark_training.leaf_means(np.array([0, 2, 2]), np.array([[1.0], [2], [4]], np.float32), 4)
    np.testing.assert_allclose(means, [[1], [0], [3], [0]])


def test_moves_go_to_the_mean_frame_and_back(rng):
    mean, moves = rng.normal(size=(6, 2)), rng.normal(size=(3, 6, 2))
    shapes = 2 * mean @ np.array([[0.0, 1], [-1, 0]]) + rng.normal(0, 0.1, (3, 6, 2))
    back = landmark_training.from_mean_frame(landmark_training.in_mean_frame(moves, shapes, mean), shapes, mean)
    np.testing.assert_allclose(back, moves)
