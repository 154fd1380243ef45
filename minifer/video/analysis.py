"""A video file as a table: what each face expresses, frame by frame."""

from collections.abc import Iterator
from pathlib import Path

from minifer.errors import ConfigError
from minifer.recognizer import Recognizer
from minifer.video.frames import frames
from minifer.video.tracking import Tracker


def analyze(
    path: str | Path, recognizer: Recognizer | str | Path = "best", every: int = 1, smooth: float = 0.0
) -> Iterator[dict]:
    """Yield a row for each face in each frame of a video file, as soon as it is known.

        frame     number of the frame, from 0             box             [x1, y1, x2, y2] in pixels
        time      in seconds, by the file's own clock     score           0 to 1, how sure the face is
        face      the same number for the same face       landmarks       68 pairs [x, y]
                  from frame to frame, from 1             prediction      the likeliest class
                                                          probabilities   {class: probability}

    The whole picture is searched in each of the first ten frames and in every tenth afterwards; these give the faces
    that Recognizer.predict gives of the frame saved as a picture, number for number. Between them faces are followed:
    their boxes are those of the landmarks, their probabilities differ by some hundredths from those of a search. A
    searched frame also keeps a face that was there and is not sure any more, until its score falls below 0.2.

        >>> import minifer
        >>> rows = minifer.video.analyze("holiday.mp4", every=5)
        >>> next(rows)
        Traceback (most recent call last):
        minifer.errors.DataError: holiday.mp4: no such file

    recognizer  a Recognizer, or what Recognizer.load takes
    every       N: only frames 0, N, 2N, ... are looked at; faces are then searched at least every tenth frame
    smooth      above 0: rows also have "smoothed" probabilities, of the exponential mean of the face's logits with this
                share of the past, and the prediction is of these
    Raises      DataError when the file is no video, damaged or cut off, after the rows of what could be read
                MiniferError when PyAV is not installed
    """
    for frame, faces in answers(path, recognizer, every, smooth):
        for face in faces:
            yield {"frame": frame.index, "time": frame.time, **face}


def answers(path, recognizer="best", every=1, smooth=0.0):
    """Yield (Frame, list of its faces' rows) for the frames that are looked at; see analyze."""
    if every < 1:
        raise ConfigError(f"every is {every}: look at every frame (1) or at fewer (2, 3, ...)")
    if not 0 <= smooth < 1:
        raise ConfigError(f"smooth is {smooth}: it is a share of the past, 0 to below 1")
    tracker = Tracker(recognizer if isinstance(recognizer, Recognizer) else Recognizer.load(recognizer), smooth)
    for frame in frames(path):
        if frame.index % every == 0:
            yield frame, tracker.answer(frame)
