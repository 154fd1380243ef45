"""Is it a face? The detector's opinion and the landmarks' together: on what is none, landmarks do not fit.

    logit(score) = SLOPE * logit(detection) - PER_DOUBT * doubt + OFFSET

The detector alone takes badges, coins and windows of skyscrapers for faces: from the score of 1/2 up it finds one in
every megapixel of scenes without any. Landmarks are fitted anyway, and their doubt (see faces.landmarks) is small only
on what looks like eyes, nose and mouth in their places.

The three numbers are a logistic regression over what `detect` reports in pictures that neither was trained on, faces
and false faces weighing the same; rounded, the offset a little towards fewer false faces. benchmarks/false_faces.py
fits them again, and measures.
"""

import math

SLOPE, PER_DOUBT, OFFSET = 1.25, 19.0, 6.0


def confirmed(detection, doubt):
    """Return the probability of a face, from the detector's and the doubt about the landmarks in its box."""
    detection = min(max(detection, 1e-9), 1 - 1e-9)
    logit = SLOPE * math.log(detection / (1 - detection)) - PER_DOUBT * doubt + OFFSET
    return 1 / (1 + math.exp(-min(max(logit, -50), 50)))
