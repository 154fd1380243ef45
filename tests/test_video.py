"""Videos: frames as their screenshots, each face under one number, times as the file tells them, damage in one line."""

import csv
import itertools
import json
import os
from dataclasses import replace
from fractions import Fraction

import matplotlib
import numpy as np
import pytest
from PIL import Image
from small_runs import run

import minifer
from minifer.commands.predict import predict
from minifer.errors import ConfigError, DataError
from minifer.faces.boxes import iou
from minifer.recognizer import Recognizer
from minifer.video import frames as reading
from minifer.video.analysis import answers
from minifer.video.drawing import Film
from minifer.video.frames import frames, is_video, upright

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer.load("best")


@pytest.fixture(scope="module")
def faces():
    """Two people, 105 x 110 pixels each, from pictures that come with scikit-image and matplotlib."""
    from skimage import data

    folder = os.path.join(os.path.dirname(matplotlib.__file__), "mpl-data", "sample_data")
    with Image.open(os.path.join(folder, "grace_hopper.jpg")) as picture:
        hopper = picture.convert("RGB").crop((60, 20, 480, 460))
    astronaut = Image.fromarray(data.astronaut()[10:230, 120:330])
    return [np.asarray(person.resize((105, 110))) for person in (astronaut, hopper)]


def write(path, pictures, times=None, sound=False, codec="libx264", aspect=Fraction(0), **options):
    """Write pictures (H,W,3) as a video; times in tenths of a second, the aspect of pixels (0: the file says none)."""
    with av.open(f"file:{path}", "w", options=options) as output:
        stream = output.add_stream(codec, rate=10)
        height, width = pictures[0].shape[:2]
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 10)
        stream.codec_context.sample_aspect_ratio = aspect
        if sound:
            tone = output.add_stream("aac", rate=8000, layout="mono")
            for k in range(8000 * len(pictures) // 10 // 1024):
                samples = np.sin(np.arange(1024, dtype=np.float32) / 20)[None]
                part = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
                part.sample_rate, part.pts, part.time_base = 8000, 1024 * k + 800 * (times or [0])[0], Fraction(1, 8000)
                output.mux(tone.encode(part))
            output.mux(tone.encode(None))
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = number if times is None else times[number], Fraction(1, 10)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def scene(*placed, width=320, height=180):
    """Return a grey picture with faces at places (face, x, y), the last in front."""
    picture = np.full((height, width, 3), 120, np.uint8)
    for face, x, y in placed:
        picture[y : y + face.shape[0], x : x + face.shape[1]] = face
    return picture


@pytest.fixture(scope="module")
def clip(tmp_path_factory, faces):
    """24 frames in which one face moves; 2.4 seconds, with sound; its index is in front, so that it can be cut off."""
    pictures = [scene((faces[0], 40 + 3 * k, 30 + k)) for k in range(24)]
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write(path, pictures, sound=True, movflags="faststart", tune="zerolatency")


@pytest.fixture(scope="module")
def told(clip, recognizer):
    """The rows of the clip, frame by frame."""
    return list(answers(clip, recognizer))


def decoded(path, kind="video"):
    with av.open(str(path)) as container:
        return list(container.decode(**{kind: 0}))


def without_number(rows):
    return [{name: row[name] for name in ("box", "score", "landmarks", "probabilities")} for row in rows]


def test_the_first_frames_and_every_tenth_are_answered_as_their_screenshots(clip, told, recognizer, tmp_path):
    for number, frame in enumerate(decoded(clip)):
        if number < 10 or number == 19:
            frame.to_image().save(tmp_path / f"{number:02}.png")
    rows = {int(row["image"][-6:-4]): row["faces"] for row in predict([tmp_path], recognizer)}
    assert len(rows) == 11 and all(rows.values())
    for number, shown in rows.items():
        assert without_number(told[number][1]) == shown


def test_a_face_is_followed_between_searches(told, recognizer):
    for frame, rows in told:
        (row,), (alone,) = rows, recognizer.predict(frame.image)
        assert row["face"] == 1 and row["prediction"] == max(alone["probabilities"], key=alone["probabilities"].get)
        assert iou(np.array([row["box"]]), np.array([alone["box"]]))[0, 0] > 0.8
        assert np.abs(np.subtract(row["landmarks"], alone["landmarks"])).mean() < 2
        for name, p in alone["probabilities"].items():
            assert row["probabilities"][name] == pytest.approx(p, abs=0.08)
    assert without_number(told[12][1]) != recognizer.predict(told[12][0].image)  # it was followed, not searched


def test_rows_and_which_frames(clip, told, recognizer):
    rows = list(minifer.video.analyze(clip, recognizer, every=5))
    assert [(row["frame"], row["face"]) for row in rows] == [(k, 1) for k in (0, 5, 10, 15, 20)]
    assert list(rows[0]) == ["frame", "time", "face", "box", "score", "landmarks", "prediction", "probabilities"]
    assert [row["time"] for row in rows] == pytest.approx([0, 0.5, 1, 1.5, 2])
    assert [without_number([row]) for row in rows[:2]] == [without_number(told[k][1]) for k in (0, 5)]
    for wrong in ({"every": 0}, {"smooth": 1.0}):
        with pytest.raises(ConfigError):
            list(minifer.video.analyze(clip, recognizer, **wrong))


def test_smoothing_is_the_mean_of_logits(clip, told, recognizer):
    mean = None
    for (_, plain), (_, smooth) in zip(told, answers(clip, recognizer, smooth=0.7), strict=True):
        assert smooth[0]["probabilities"] == plain[0]["probabilities"]
        logits = np.log(list(plain[0]["probabilities"].values()))
        logits -= logits.mean()
        mean = logits if mean is None else 0.7 * mean + 0.3 * logits
        expected = np.exp(mean) / np.exp(mean).sum()
        np.testing.assert_allclose(list(smooth[0]["smoothed"].values()), expected, atol=1e-4)


def test_two_faces_that_cross_keep_their_numbers(faces, recognizer, tmp_path):
    # The first walks to the right behind the second, who walks to the left, and is hidden for about half a second.
    def place(k):
        return 10 + 8 * k, 205 - 8 * k

    pictures = [scene((faces[0], place(k)[0], 20), (faces[1], place(k)[1], 30)) for k in range(25)]
    numbers = [set(), set()]
    seen = 0
    for frame, rows in answers(write(tmp_path / "cross.mp4", pictures), recognizer):
        middles = np.array(place(frame.index)) + 52
        for row in rows:
            away = np.abs((row["box"][0] + row["box"][2]) / 2 - middles)
            if abs(away[0] - away[1]) > 30:
                numbers[away.argmin()].add(row["face"])
                seen += 1
    assert [len(n) for n in numbers] == [1, 1] and numbers[0] != numbers[1] and seen >= 28


def test_a_track_ends_where_its_face_does(faces, recognizer, tmp_path):
    pictures = [scene((faces[0], 40, 30))] * 12 + [scene()] * 9 + [scene((faces[1], 180, 40))] * 3
    rows = list(minifer.video.analyze(write(tmp_path / "ends.mp4", pictures), recognizer))
    assert {row["frame"] for row in rows if row["face"] == 1} == set(range(12))
    assert {row["face"] for row in rows if row["frame"] > 20} <= {2}


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ([[0, 1], [-1, 0]], lambda x: np.rot90(x, -1)),
        ([[0, -1], [1, 0]], np.rot90),
        ([[-1, 0], [0, -1]], lambda x: x[::-1, ::-1]),
        ([[-1, 0], [0, 1]], lambda x: x[:, ::-1]),
    ],
)
def test_display_matrices(matrix, turn):
    image = np.arange(24).reshape(2, 4, 3)
    np.testing.assert_array_equal(upright(image, np.array(matrix) * 65536), turn(image))


def test_a_turned_video_is_shown_upright(faces, recognizer, tmp_path):
    """As a telephone writes it: the frames lie on their side, and a matrix in the file says so."""
    upright_picture = scene((faces[0], 20, 40), width=180, height=240)
    path = write(tmp_path / "turned.mp4", [np.rot90(upright_picture)] * 3)
    data = bytearray(path.read_bytes())
    place = data.find(b"tkhd") + 44
    data[place : place + 36] = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 180 << 16, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(data)
    found = list(answers(path, recognizer))
    assert all(frame.image.shape == (240, 180, 3) for frame, _ in found)
    (box,) = [row["box"] for row in found[0][1]]
    assert iou(np.array([box]), np.array([[35, 62, 105, 132.0]]))[0, 0] > 0.5


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_wide_pixels_become_squares(faces, recognizer, capsys, tmp_path, suffix):
    """As camcorders and DVDs store pictures: in fewer columns than are shown."""
    shown = scene((faces[0], 60, 30))
    stored = np.asarray(Image.fromarray(shown).resize((240, 180)))
    path = write(tmp_path / f"wide.{suffix}", [stored] * 2, aspect=Fraction(4, 3))
    found = list(answers(path, recognizer))
    assert all(frame.image.shape == shown.shape for frame, _ in found)
    (box,) = [row["box"] for row in found[0][1]]
    assert iou(np.array([box]), np.array([[75, 52, 145, 122.0]]))[0, 0] > 0.5
    assert run(capsys, "predict", path, "--draw", tmp_path / "out")[0] == 0
    assert decoded(tmp_path / "out" / "wide-faces.mp4")[0].width == 320


def test_high_pixels_and_pixels_that_cannot_be(tmp_path):
    path = write(tmp_path / "high.mp4", [scene()] * 2, aspect=Fraction(1, 2))
    assert next(frames(path)).image.shape == (360, 320, 3)
    path = write(tmp_path / "thin.mp4", [scene(width=1280, height=720)] * 2, aspect=Fraction(1, 100))
    with pytest.raises(DataError, match="more than the limit of 40 megapixels"):
        next(frames(path))


def test_names_that_look_like_addresses_or_are_very_long(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("12:30.mp4", f"{'n' * 245}.mp4"):
        write(name, [scene()] * 2)
        code, _, err = run(capsys, "predict", name, "--draw", "out")
        assert code == 0 and err == ""
    assert "no such file" in run(capsys, "predict", "http://127.0.0.1:9/clip.mp4")[2]


def test_a_clock_that_runs_on_from_recording_to_recording(capsys, tmp_path):
    """As a broadcast has it: ten hours before its first frame, which the drawn copy would begin with."""
    path = write(tmp_path / "late.ts", [scene()] * 10, times=[360_000 + k for k in range(10)], sound=True)
    assert [frame.time for frame in frames(path)] == pytest.approx([k / 10 for k in range(10)], abs=0.2)
    code, _, err = run(capsys, "predict", path, "--draw", tmp_path / "out")
    assert code == 0 and err == ""
    for kind in ("video", "audio"):
        assert float(decoded(tmp_path / "out" / "late-faces.mp4", kind)[0].time) < 0.3


def test_times_of_a_varying_rate(faces, tmp_path, capsys):
    times = [0, 1, 2, 7, 8, 20]
    path = write(tmp_path / "varying.mp4", [scene((faces[0], 40, 30))] * 6, times=times)
    assert [frame.time for frame in frames(path)] == pytest.approx([t / 10 for t in times])
    code, out, _ = run(capsys, "predict", path, "--json", "--draw", tmp_path / "out")
    assert code == 0 and [json.loads(line)["time"] for line in out.splitlines()] == [t / 10 for t in times]
    drawn = [float(frame.time) for frame in decoded(tmp_path / "out" / "varying-faces.mp4")]
    assert drawn == pytest.approx([t / 10 for t in times])


@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_other_containers_and_odd_sizes(faces, tmp_path, capsys, suffix):
    picture = scene((faces[0], 40, 30), width=201, height=161)
    path = write(tmp_path / f"odd.{suffix}", [picture] * 4, codec="libx264")
    assert [frame.time for frame in frames(path)] == pytest.approx([0, 0.1, 0.2, 0.3])
    code, _, err = run(capsys, "predict", path, "--draw", tmp_path / "out")
    assert code == 0 and err == ""
    drawn = decoded(tmp_path / "out" / "odd-faces.mp4")
    assert (drawn[0].width, drawn[0].height, drawn[0].format.name, len(drawn)) == (202, 162, "yuv420p", 4)


def test_drawn_copy_table_and_picture(clip, told, capsys, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):  # the second time over the first one's
        code, text, err = run(capsys, "predict", clip, "--csv", tmp_path / "t.csv", "--draw", out, "--every", 2)
        assert code == 0 and err == ""
    assert sorted(path.name for path in out.iterdir() if path.suffix in (".mp4", ".png")) == [
        "clip-faces.mp4", "clip-over-time.png",
    ]  # fmt: skip
    with open(tmp_path / "t.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0])[:9] == ["picture", "frame", "time", "face", "x1", "y1", "x2", "y2", "score"]
    assert [(row["frame"], row["face"], row["prediction"]) for row in table] == [
        (str(k), "1", told[k][1][0]["prediction"]) for k in range(0, 24, 2)
    ]
    assert len(text.splitlines()) == 12 and "face 1, box" in text
    drawn, original = decoded(out / "clip-faces.mp4"), decoded(clip)
    assert [float(frame.time) for frame in drawn] == pytest.approx([k / 10 for k in range(0, 24, 2)])
    picture, before = (frame.to_ndarray(format="rgb24").astype(int) for frame in (drawn[0], original[0]))
    x1, y1, x2, y2 = map(round, told[0][1][0]["box"])
    yellow = picture[..., 0] - picture[..., 2] > 40  # a line of one pixel, whose colours the format mixes with others
    assert yellow[y1 + 3 : y2 - 3, x1 - 1 : x1 + 2].any(axis=1).mean() > 0.8
    assert yellow[y1 - 1 : y1 + 2, x1 + 3 : x2 - 3].any(axis=0).mean() > 0.8
    assert np.abs(picture[:20] - before[:20]).mean() < 4  # the rest is the clip
    heard, original = (np.concatenate([f.to_ndarray() for f in decoded(path, "audio")], axis=1) for path in (
        out / "clip-faces.mp4", clip))  # fmt: skip
    np.testing.assert_array_equal(heard, original)
    with Image.open(out / "clip-over-time.png") as plot:
        colours = np.asarray(plot.convert("RGB")).reshape(-1, 3)
    assert (np.abs(colours - np.array([0, 158, 115])).max(axis=1) < 3).mean() > 0.2  # much green: a happy face


def test_the_same_table_with_one_and_two_threads(clip, capsys, tmp_path):
    import numba

    tables = []
    before = numba.get_num_threads()
    try:
        for threads in range(1, min(2, numba.config.NUMBA_NUM_THREADS) + 1):
            run(capsys, "predict", clip, "--every", 3, "--csv", tmp_path / "t.csv", "--threads", threads)
            tables.append((tmp_path / "t.csv").read_bytes())
    finally:
        numba.set_num_threads(before)
    assert len(set(tables)) == 1 and tables[0].count(b"\n") == 9


def test_cut_and_broken_files_keep_what_they_hold(clip, recognizer, capsys, tmp_path):
    data = clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    (tmp_path / "junk.mp4").write_bytes(bytes(range(256)) * 20)
    whole = [row["frame"] for row in minifer.video.analyze(clip, recognizer, every=4)]
    paths = tmp_path / "cut.mp4", tmp_path / "junk.mp4"
    code, out, err = run(capsys, "predict", *paths, "--every", 4, "--json", "--draw", tmp_path / "out")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 1 and len(err.splitlines()) == 2 and "cut.mp4" in err.splitlines()[0]
    kept = [row["frame"] for row in rows if row["image"].endswith("cut.mp4") and row["faces"]]
    assert 2 <= len(kept) < len(whole) and kept == whole[: len(kept)]
    assert len(decoded(tmp_path / "out" / "cut-faces.mp4")) == len(kept)
    assert "error" in rows[-1] and rows[-1]["faces"] == []
    for name in ("cut", "junk"):
        with pytest.raises(DataError, match=f"{name}.mp4"):
            list(frames(tmp_path / f"{name}.mp4"))
    write(tmp_path / "whole.mkv", [scene()] * 20)
    data = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])  # of which FFmpeg says nothing
    with pytest.raises(DataError, match="cut off"):
        list(frames(tmp_path / "cut.mkv"))


def test_a_film_that_breaks_off_leaves_the_old_one(clip, tmp_path):
    target = tmp_path / "film.mp4"
    target.write_bytes(b"the old one")
    with pytest.raises(KeyboardInterrupt), Film(target, clip) as film:
        film.write(next(frames(clip)), [], str)
        raise KeyboardInterrupt
    assert target.read_bytes() == b"the old one" and [path.suffix for path in tmp_path.iterdir()] == [".mp4"]
    with Film(target, clip) as film:
        for frame in itertools.islice(frames(clip), 3):
            film.write(replace(frame, pts=5), [], str)  # a clock that stands still
    assert len(decoded(target)) == 3


def test_what_is_a_video(clip, faces, tmp_path):
    (tmp_path / "no-suffix").write_bytes(clip.read_bytes())
    Image.fromarray(faces[0]).save(tmp_path / "picture.avif" if Image.registered_extensions().get(".avif") else "x.png")
    assert is_video(clip) and is_video(tmp_path / "no-suffix")
    assert not any(is_video(path) for path in tmp_path.glob("*.avif")) and not is_video(tmp_path)


def test_without_pyav_the_remedy_is_named(clip, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    code, out, err = run(capsys, "predict", clip)
    assert code == 1 and out == "" and len(err.splitlines()) == 1 and "pip install av" in err
    assert run(capsys, "predict", reading.__file__, "--every", 2)[0] == 2  # no video: what should --every do?
    assert run(capsys, "predict", clip, "--every", 0)[0] == 2
