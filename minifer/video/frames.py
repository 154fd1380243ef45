"""The frames of a video file, the way a player shows them, each with its time. PyAV decodes.

A time is what the file says of a frame, never its number over a rate: phones record at a rate that varies.
"""

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from minifer.errors import DataError, MiniferError
from minifer.files.images import MEGAPIXELS, check_size, suffixes

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp")
# What a file begins with: an offset, and the bytes there. MP4's brands of still pictures are HEIF's and AVIF's.
SIGNATURES = ((0, b"\x1aE\xdf\xa3"), (8, b"AVI "), (0, b"FLV\1"), (0, b"\0\0\1\xba"), (0, b"\x30\x26\xb2\x75\x8e\x66"))
STILL_BRANDS = (b"avif", b"heic", b"heix", b"mif1", b"msf1")
SPARE = 0.5  # seconds by which a whole file may end before the time that its header tells


def is_video(path):
    """Whether a file is a video: by its first bytes, or where these say nothing, by its suffix."""
    if not path.is_file():
        return path.suffix.lower() in SUFFIXES and not path.exists()
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:  # whoever reads it says why it cannot be read
        head = b""
    if head[4:8] == b"ftyp":
        return head[8:12] not in STILL_BRANDS
    if any(head[offset:].startswith(signature) for offset, signature in SIGNATURES):
        return True
    return path.suffix.lower() in SUFFIXES and not path.name.lower().endswith(suffixes())


def import_av():
    """Return PyAV.

    Raises     MiniferError when it is not installed
    """
    try:
        import av
    except ImportError as error:
        raise MiniferError("video files need PyAV: pip install av brings it") from error
    return av


@dataclass
class Frame:
    """A decoded frame. Its picture is made when it is asked for: frames that nobody looks at cost less."""

    index: int  # from 0
    pts: int
    time_base: Fraction
    decoded: object  # PyAV's
    matrix: np.ndarray | None  # how it is turned, see display_matrix
    aspect: Fraction  # width of a pixel over its height

    @property
    def time(self):
        """Seconds since the beginning of the file, on its own clock."""
        return float(self.pts * self.time_base)

    @cached_property
    def image(self):
        """(H,W,3) uint8, upright, its pixels squares."""
        width, height = square_size(self.decoded.width, self.decoded.height, self.aspect)
        return upright(self.decoded.to_ndarray(format="rgb24", width=width, height=height), self.matrix)


def display_matrix(decoded):
    """Return the first two rows and columns of the matrix that carries a frame to the screen; None where there is none.

    Shapes     matrix (2,2): x, y on the screen = (x, y) @ matrix, both downwards
    """
    data = decoded.side_data.get("DISPLAYMATRIX")
    return None if data is None else np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2]


def upright(image, matrix):
    """Return a picture turned and mirrored as a display matrix says, by quarter turns.

    Shapes     image (H,W,...)   matrix (2,2), or None
    """
    if matrix is None:
        return image
    if abs(matrix[0, 1]) > abs(matrix[0, 0]):
        image, matrix = image.swapaxes(0, 1), matrix[::-1]  # rows and columns change places
    right, down = np.where(np.diag(matrix) < 0, -1, 1)
    return np.ascontiguousarray(image[::down, ::right])


def square_size(width, height, aspect):
    """Return the width and height at which a picture's pixels, as wide as their height times aspect, become squares.

    Camcorders, DVDs and television store wide pictures in few columns; a face in them looks narrow until they are
    shown. The shorter side of a pixel is stretched, so that none is lost.
    """
    return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))


def opened(path):
    """Return PyAV's container of a file, which is always one of this computer.

    To FFmpeg 12:30.mp4 would be an address, as http://... is one.
    """
    return import_av().open(f"file:{path}", metadata_errors="replace")


def beginning(container):
    """Return the second, a Fraction, at which a file begins.

    Broadcasts and camcorders let a clock run on through all recordings: a minute may lie between 36,000 s and 36,060 s,
    which players show from 0.
    """
    runs_on = container.format.name in ("mpegts", "mpeg")
    return Fraction(container.start_time or 0, import_av().time_base) if runs_on else Fraction(0)


def frames(path):
    """Yield the Frames of a video file, in the order of their times.

    Raises     DataError when it is no video, too large, damaged or cut off; after the frames that it still holds
               MiniferError when PyAV is not installed
    """
    av = import_av()
    try:
        container = opened(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, av.FFmpegError) as error:
        raise DataError(f"{path}: not a video that can be read ({reason(error)})") from None
    with container:
        if not container.streams.video:
            raise DataError(f"{path}: no pictures in it: give a file with a video stream")
        stream = container.streams.best("video")
        if stream.codec_context is None:
            raise DataError(f"{path}: FFmpeg does not know how its pictures are stored: convert it to .mp4 first")
        aspect = stream.sample_aspect_ratio or Fraction(1)
        check_size(path, *square_size(stream.width, stream.height, aspect))
        stream.thread_type = "AUTO"
        most = int(MEGAPIXELS * 1e6 * min(aspect, 1 / aspect))
        stream.codec_context.options = {"max_pixels": str(most)}  # frames may differ from the header
        time, matrix, first = None, None, round(beginning(container) / stream.time_base)
        try:
            for index, (pts, decoded) in enumerate(_decoded(container, stream, path)):
                if pts is None:
                    raise DataError(f"{path}: its frames have no times: put it into a container such as .mp4 first")
                if index == 0:  # once: a frame and its side data hold each other, until Python looks for such circles
                    matrix = display_matrix(decoded)
                frame = Frame(index, pts - first, stream.time_base, decoded, matrix, aspect)
                time = frame.time
                yield frame
        except (OSError, ValueError, av.FFmpegError) as error:
            if isinstance(error, DataError):
                raise
            after = "at its first frame" if time is None else f"after {time:.2f} s"
            raise DataError(f"{path}: damaged {after} ({reason(error)}): copy it again") from None
        if time is None:
            raise DataError(f"{path}: no frame in it can be decoded: copy it again")


def _decoded(container, stream, path):
    """Yield (pts, decoded frame) of a stream; raise what ends it early after those that the decoder still holds."""
    av = import_av()
    first, last, damage, begins = None, 0.0, None, beginning(container)
    # AVI only knows in which order frames are stored, at equal steps: the first to be shown has the first such time.
    steps = deque() if container.format.name == "avi" else None
    for packet in container.demux():
        if packet.is_corrupt:
            damage = DataError(f"{path}: damaged after {last:.2f} s: copy it again")
            break
        if packet.pts is not None:
            start = float(packet.pts * packet.time_base - begins)
            first = start if first is None else min(first, start)
            last = max(last, start + float((packet.duration or 0) * packet.time_base))
        if packet.stream is stream:
            if steps is not None and packet.dts is not None:
                steps.append(packet.dts)
            try:
                yield from _timed(packet.decode(), steps)
            except av.FFmpegError as error:
                damage = error
                break
    if damage is not None:
        yield from _timed(stream.codec_context.decode(None), steps)
        raise damage
    length = (container.duration or 0) / av.time_base
    if length - (last - (first or 0.0)) > SPARE:
        raise DataError(f"{path}: cut off: it ends after {last:.2f} s, its header says {length:.2f} s; copy it again")


def _timed(decoded, steps):
    """Yield (pts, frame) of decoded frames; steps are the times that wait for theirs, or None."""
    for frame in decoded:
        yield steps.popleft() if steps else frame.pts, frame


def reason(error):
    """Return what FFmpeg or the system says of an error, in a few words."""
    return getattr(error, "strerror", None) or str(error)
