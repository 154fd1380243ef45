"""How many frames of a video are answered in a second, and where does the time go?

    python benchmarks/video.py [--frames 300] [--minutes 10] [--json]

A clip of 640 x 480 pixels is drawn: the astronaut's face of scikit-image moves over a pattern, in H.264 at 30 frames a
second. With --minutes a long clip is answered as well, every 10th frame of it, to see what memory it takes.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from timing import figure, report, start


def write_clip(path, count, width=640, height=480):
    """Write a clip of so many frames."""
    import av
    from skimage import data

    face = data.astronaut()[:220, 110:340]
    rough = np.random.default_rng(0).integers(60, 180, (height // 16, width // 16, 3)).astype(np.uint8)
    pattern = rough.repeat(16, axis=0).repeat(16, axis=1)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for k in range(count):
            picture = pattern.copy()
            x, y = int(200 + 150 * np.sin(k / 25)), int(100 + 60 * np.cos(k / 40))
            picture[y : y + 220, x : x + 230] = face
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))


def write_elsewhere(path, count):
    """Write a clip in a process of its own: an encoder's memory is not what is measured."""
    process = multiprocessing.get_context("spawn").Process(target=write_clip, args=(path, count))
    process.start()
    process.join()


def parts(path, recognizer):
    """Return rows: the milliseconds of each step, the median of its turns, each by itself."""
    from minifer.faces.pyramid import Picture
    from minifer.video.frames import frames

    frame = next(frames(path))
    picture = recognizer.picture(frame.image)
    (face,) = recognizer.faces(picture)
    steps = {
        "decode a frame and make it grey": None,
        "search a frame": lambda: recognizer.faces(Picture(picture.grey)),
        "follow a face": lambda: recognizer.fit(picture, Picture(picture.grey), face.box, face.detection),
        "classify a face": lambda: recognizer.logits([face.input]),
    }
    rows = []
    for name, step in steps.items():
        turns, begun = [], time.perf_counter()
        for _ in frames(path) if step is None else range(20):
            recognizer.picture(_.image) if step is None else step()
            turns.append(time.perf_counter() - begun)
            begun = time.perf_counter()
        rows.append(figure(name, float(np.mean(turns) if step is None else np.median(turns)) * 1e3, None, None, "ms"))
    return rows


def main():
    """Measure and print."""
    from minifer.recognizer import Recognizer
    from minifer.video.analysis import answers

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=0)
    args = start(parser, rounds=3)
    recognizer = Recognizer.load()
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        write_elsewhere(clip, args.frames)
        next(answers(clip, recognizer))  # whatever is compiled
        rates, spent = [], []
        for _ in range(args.rounds):
            begun, used = time.perf_counter(), time.process_time()
            count = sum(1 for _ in answers(clip, recognizer))
            rates.append(count / (time.perf_counter() - begun))
            spent.append((time.process_time() - used) / count)
        rows = [
            figure("frames answered", float(np.median(rates)), None, None, "a second", less=False),
            figure("best round", max(rates), None, None, "a second", less=False),
            figure("time of all cores, a frame", float(np.median(spent)) * 1e3, None, None, "ms"),
            *parts(clip, recognizer),
        ]
        if args.minutes:
            write_elsewhere(clip, round(args.minutes * 60 * 30))
            for _ in answers(clip, recognizer, every=10):
                pass
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append(figure("most memory", most, None, None, "MB"))
    report(rows, args.threads, args.json)


if __name__ == "__main__":
    main()
