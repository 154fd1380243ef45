"""An annotated copy of a video: faces marked, the times of its frames and its sound as they were."""

import contextlib

import numpy as np

from minifer.errors import MiniferError
from minifer.files import replacing
from minifer.output import log
from minifer.report.faces import mark_faces
from minifer.video.frames import beginning, import_av, opened, reason

# About as sharp as the original, and several times as fast as x264's own choice.
ENCODER = {"crf": "20", "preset": "veryfast"}


class Film:
    """Writes an .mp4 (H.264, 4:2:0) of the frames it is given, with the sound of the file at `source`.

    A context: the file is there once it is left, or, after an error, an earlier one of that name. Of frames that are
    left out, the one before is shown longer.

    ending     bytes that are put behind the video in a box that players pass over
    Raises     MiniferError when it cannot be written
    """

    def __init__(self, path, source, ending=b""):
        self.path, self.source, self.ending = path, source, ending
        self.stream, self.pts = None, None

    def __enter__(self):
        av = import_av()
        with contextlib.ExitStack() as stack, self._told():
            self.file = stack.enter_context(replacing(self.path))
            self.output = stack.enter_context(av.open(self.file, "w", format="mp4"))
            self.sound = stack.enter_context(_Sound(self.source, self.output))
            self.stack = stack.pop_all()
        return self

    def __exit__(self, kind, error, trace):
        with self.stack, self._told():
            if kind is None:
                if self.stream is not None:
                    self.output.mux(self.stream.encode(None))
                    self.sound.copy()
                self.output.close()
                size = 8 + len(self.ending)
                self.file.seek(0, 2)
                self.file.write(size.to_bytes(4, "big") + b"free" + self.ending)
            self.stack.pop_all().__exit__(kind, error, trace)

    def write(self, frame, faces, label):
        """Add a Frame with its faces marked."""
        av = import_av()
        picture = np.asarray(mark_faces(frame.image, faces, label, landmarks=False))
        height, width = picture.shape[:2]
        with self._told():
            if self.stream is None:
                self._begin(frame, width + width % 2, height + height % 2)
            # Colours come in fours of pixels: the last row and column of an odd size are doubled.
            picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            encoded = av.VideoFrame.from_ndarray(picture, format="rgb24")
            # Where the file's clock goes back, as in a recording of two broadcasts, ours stands nearly still.
            self.pts = frame.pts if self.pts is None else max(frame.pts, self.pts + 1)
            encoded.pts, encoded.time_base = self.pts, frame.time_base
            self.output.mux(self.stream.encode(encoded.reformat(self.stream.width, self.stream.height, "yuv420p")))
            self.sound.copy(frame.time)

    def _begin(self, frame, width, height):
        self.stream = self.output.add_stream("libx264", options=ENCODER)
        self.stream.width, self.stream.height, self.stream.pix_fmt = width, height, "yuv420p"
        self.stream.codec_context.time_base = self.stream.time_base = frame.time_base

    @contextlib.contextmanager
    def _told(self):
        """Make one line of what FFmpeg or the disk say."""
        av = import_av()
        try:
            yield
        except (OSError, av.FFmpegError) as error:
            raise MiniferError(f"cannot write {self.path}: {reason(error)}") from error


class _Sound:
    """Copies the packets of a file's sound, up to a time that goes on."""

    def __init__(self, source, output):
        self.source, self.output = source, output
        self.packets, self.waiting, self.stream = iter(()), None, None

    def __enter__(self):
        self.container = opened(self.source)
        self.begins = beginning(self.container)
        sound = self.container.streams.best("audio")
        codec = getattr(sound and sound.codec_context, "name", "of an unknown kind")
        if sound is not None and codec in self.output.supported_codecs:
            self.stream = self.output.add_stream_from_template(sound)
            self.packets = self.container.demux(sound)
        elif sound is not None:
            log(f"minifer: {self.source}: its sound ({codec}) is left out: .mp4 cannot hold it")
        return self

    def __exit__(self, *error):
        self.container.close()

    def copy(self, time=float("inf")):
        """Copy what begins up to a time, in seconds; what is damaged is the pictures' to tell."""
        with contextlib.suppress(import_av().InvalidDataError):
            while (packet := self.waiting or next(self.packets, None)) is not None:
                self.waiting = packet
                if packet.dts is not None:
                    if packet.dts * packet.time_base - self.begins > time:
                        return
                    shift = round(self.begins / packet.time_base)
                    packet.dts -= shift
                    packet.pts = None if packet.pts is None else packet.pts - shift
                    packet.stream = self.stream
                    self.output.mux(packet)
                self.waiting = None
