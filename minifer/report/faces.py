"""A picture with the faces in it marked."""


def mark_faces(image, faces, label, landmarks=True):
    """Return Pillow's picture of an array with a box, its label(face), and landmarks if there are any, per face.

    Shapes     image (H,W) or (H,W,3) uint8
    """
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(image).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for face in faces:
        x1, y1, x2, y2 = face["box"]
        width = max(round((x2 - x1) / 50), 1)
        pen.rectangle([x1, y1, x2, y2], outline="yellow", width=width)
        for x, y in face.get("landmarks", []) if landmarks else []:
            pen.ellipse([x - width, y - width, x + width, y + width], fill="cyan")
        font = ImageFont.load_default(min(max((x2 - x1) / 8, 10), 40))
        left, top, right, bottom = pen.textbbox((0, 0), label(face), font=font)
        # Below the box, or as near to it as the picture's border lets it stay in sight.
        x = max(min(x1, picture.width - right), 0)
        y = max(min(y2 + 1, picture.height - bottom - 1), 0)
        pen.rectangle([x + left - 1, y + top - 1, x + right + 1, y + bottom + 1], fill="black")
        pen.text((x, y), label(face), fill="yellow", font=font)
    return picture
