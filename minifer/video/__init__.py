"""Faces in video files: who is where, when, and what does the face express?

frames      the frames of a file, upright, each with its time
tracking    faces searched on some frames and followed on the others, each under one number
analysis    analyze: a row per face and frame
drawing     an annotated copy of the file
"""

from minifer.video.analysis import analyze

__all__ = ["analyze"]
