"""Draw the README's first picture from a run of `minifer train`: the drawn faces, the curves, the confusion matrix.

python examples/first_screen.py runs/demo examples/pictures/first-screen.png
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from minifer.data import synthetic

COLUMNS, ROWS, SIDE, GAP = 7, 6, 72, 6


def faces_sheet():
    """Return a picture with one column of drawn faces for every expression."""
    dataset = synthetic.generate(300, seed=4)
    sheet = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, ROWS * (SIDE + GAP) + 40), "white")
    text = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    for column, name in enumerate(dataset.classes):
        left = GAP + column * (SIDE + GAP)
        text.text((left + SIDE / 2, 18), name, fill="black", font=font, anchor="mm")
        for row, index in enumerate(np.flatnonzero(dataset.labels == column)[:ROWS]):
            face = Image.fromarray(dataset.images[index]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            sheet.paste(face, (left, 36 + row * (SIDE + GAP)))
    return sheet


def beside(*pictures, height):
    """Return the pictures in a row, each scaled to the height."""
    scaled = [p.resize((round(p.width * height / p.height), height), Image.Resampling.LANCZOS) for p in pictures]
    row = Image.new("RGB", (sum(p.width for p in scaled), height), "white")
    left = 0
    for picture in scaled:
        row.paste(picture, (left, 0))
        left += picture.width
    return row


def main(run, target):
    """Put the pictures together and save them with few colours: grey faces and charts need no more."""
    curves, confusion = (Image.open(Path(run) / name).convert("RGB") for name in ("curves.png", "confusion.png"))
    top = beside(faces_sheet(), confusion, height=620)
    bottom = curves.resize((top.width, round(curves.height * top.width / curves.width)), Image.Resampling.LANCZOS)
    picture = Image.new("RGB", (top.width, top.height + bottom.height), "white")
    picture.paste(top, (0, 0))
    picture.paste(bottom, (0, top.height))
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(256).save(target, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
