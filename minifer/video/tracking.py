"""Faces from frame to frame: searched on some frames, followed on those between, each under one number.

    search     as Recognizer.faces looks at a picture. What is found joins the track that it overlaps and looks like;
               a sure face that joins none begins one
    follow     the landmarks of the frame before, moved on, are where fitting begins: a fiftieth of a search
    hidden     a track that is not found, or whose landmarks lie on what looks unlike it, gives no answers. For two
               seconds a face that looks like it, not far from where it was going, is it again, as when somebody has
               walked past another; then it ends

Two who pass each other keep their numbers; two who meet, hide each other and turn back may exchange them.

The first frames of a clip are all searched, and then every tenth: no face is missing for ten frames because the first
one missed it.
"""

from dataclasses import dataclass, field

import numpy as np

from minifer.faces.boxes import box_of_landmarks, iou
from minifer.faces.pyramid import Picture
from minifer.losses import probabilities
from minifer.recognizer import Face

SEARCH_EVERY = 10  # frames; the first so many are all searched
FLOOR = 0.2  # the score below which a face that was there is there no more
NEAR = 0.2  # the overlap (intersection over union) from which two boxes may be of one face
SAME = 0.4  # from which two tracks follow one face
# The correlation of what the network reads from which it may be one face: from frame to frame it is about .98 for the
# same face, and .3 to .7 for two.
ALIKE = 0.75
PARTLY_ALIKE = 0.3  # where it should be: it may still be half hidden
REMEMBERED, REACH = 2.0, 2.0  # seconds that a hidden track may be found again, and how many of its sides away
STEADY = 0.8  # share of the past in a track's speed and look


@dataclass
class Track:
    """One face over time."""

    number: int  # from 1
    face: Face  # as last seen
    seen: float  # when, in seconds
    look: np.ndarray  # what the network reads of it, in the mean
    speed: np.ndarray = field(default_factory=lambda: np.zeros(2))  # of its middle, in pixels a second
    hidden: bool = False
    logits: np.ndarray | None = None  # their exponential mean

    def box_at(self, time):
        """Return where its box (4,) should be."""
        return self.face.box + np.tile(self.speed * (time - self.seen), 2)

    def may_be(self, face, overlap, time):
        """Whether a face that a search has found may be this one."""
        if not self.hidden:
            return overlap >= NEAR
        away = (self.box_at(time) - face.box).reshape(2, 2).mean(axis=0)
        side = self.face.box[2] - self.face.box[0]
        return np.hypot(*away) <= REACH * side and self.likeness(face) >= (PARTLY_ALIKE if overlap >= NEAR else ALIKE)

    def likeness(self, face):
        """Return the correlation of a face with this one, -1 to 1."""
        a, b = self.look - self.look.mean(), face.input - face.input.mean()
        return float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-6))

    def see(self, face, time):
        """Take a face as this one's."""
        if time > self.seen:
            moved = (face.box - self.face.box).reshape(2, 2).mean(axis=0) / (time - self.seen)
            self.speed = STEADY * self.speed + (1 - STEADY) * moved
        self.look = STEADY * self.look + (1 - STEADY) * face.input
        self.face, self.seen, self.hidden = face, time, False


class Tracker:
    """Answers a clip's frames one after another, with a Recognizer.

    smooth     share of the past in the mean logits of a face, 0 to below 1; 0: each frame by itself
    """

    def __init__(self, recognizer, smooth=0.0):
        self.recognizer, self.smooth = recognizer, smooth
        self.floor = min(FLOOR, recognizer.sure_from)
        self.tracks, self.begun, self.answered, self.searched = [], 0, 0, 0

    def answer(self, frame):
        """Return a dict for each face in a Frame, by number: what Recognizer.predict says, "face" and "prediction".

        The frames of a clip are given in their order. With smooth there are also "smoothed" probabilities, of which the
        prediction is made.
        """
        picture = self.recognizer.picture(frame.image)
        if self.recognizer.detector is None:
            seen = self.join(self.recognizer.faces(picture), frame.time)
        else:
            first = self.answered < SEARCH_EVERY
            if first or frame.index - self.searched >= SEARCH_EVERY:
                seen, self.searched = self.search(picture, frame.time), frame.index
            else:
                seen = self.follow(picture, frame.time)
        self.answered += 1
        seen.sort(key=lambda pair: pair[0].number)
        for track, face in seen:
            track.see(face, frame.time)
        logits = self.recognizer.logits([face.input for _, face in seen])
        return [self.row(track, face, own) for (track, face), own in zip(seen, logits, strict=True)]

    def row(self, track, face, logits):
        """Return the dict of one face."""
        probs = smoothed = probabilities(logits[None])[0]
        if self.smooth:
            past = logits if track.logits is None else track.logits
            track.logits = self.smooth * past + (1 - self.smooth) * logits
            smoothed = probabilities(track.logits[None])[0]
        name = self.recognizer.named
        prediction = self.recognizer.classes[int(smoothed.argmax())]
        row = {"face": track.number, **face.as_dict(), "prediction": prediction, "probabilities": name(probs)}
        return {**row, "smoothed": name(smoothed)} if self.smooth else row

    def search(self, picture, time):
        """Return (track, face) pairs of the faces that a look at the whole picture finds."""
        grey = Picture.of(picture)
        found = (self.recognizer.fit(picture, grey, *one) for one in self.recognizer.search(grey))
        faces = [face for face in found if face.score >= self.floor]
        return self.join(sorted(faces, key=lambda face: -face.score), time)

    def join(self, faces, time):
        """Return (track, face) pairs: the best assignment of faces to tracks, and new tracks of the sure ones left."""
        from scipy.optimize import linear_sum_assignment

        self.tracks = [track for track in self.tracks if time - track.seen <= REMEMBERED or not track.hidden]
        boxes = np.array([track.box_at(time) for track in self.tracks]).reshape(-1, 4)
        overlap = iou(boxes, np.array([face.box for face in faces]).reshape(-1, 4))
        value = np.zeros_like(overlap)
        for (i, k), shared in np.ndenumerate(overlap):
            if self.tracks[i].may_be(faces[k], shared, time):
                value[i, k] = 1 + shared + self.tracks[i].likeness(faces[k])
        pairs = [
            (self.tracks[i], faces[k]) for i, k in zip(*linear_sum_assignment(-value), strict=True) if value[i, k] > 0
        ]
        joined = {id(thing) for pair in pairs for thing in pair}
        for track in self.tracks:
            track.hidden = id(track) not in joined
        for face in faces:
            if id(face) not in joined and (face.score is None or face.score >= self.recognizer.sure_from):
                self.begun += 1
                self.tracks.append(Track(self.begun, face, time, face.input))
                pairs.append((self.tracks[-1], face))
        return pairs

    def follow(self, picture, time):
        """Return (track, face) pairs of the faces whose landmarks still fit."""
        grey, pairs = Picture.of(picture), []
        for track in self.tracks:
            if not track.hidden:
                face = self.recognizer.fit(picture, grey, track.box_at(time), track.face.detection)
                face.box = box_of_landmarks(face.points)
                track.hidden = face.score < self.floor or track.likeness(face) < ALIKE
                if not track.hidden:
                    pairs.append((track, face))
        # Of two on one face, the one that looks less like it is behind the other.
        pairs.sort(key=lambda pair: -pair[0].likeness(pair[1]))
        kept = []
        for track, face in pairs:
            track.hidden = any(iou(face.box[None], other.box[None])[0, 0] > SAME for _, other in kept)
            if not track.hidden:
                kept.append((track, face))
        return kept
