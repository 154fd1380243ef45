"""Every example runs."""

import subprocess
import sys
from pathlib import Path

from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_first_screen(tmp_path):
    for name in ("curves.png", "confusion.png"):
        Image.new("RGB", (200, 100), "white").save(tmp_path / name)
    target = tmp_path / "first.png"
    subprocess.run([sys.executable, EXAMPLES / "first_screen.py", tmp_path, target], check=True)
    assert Image.open(target).width > 500
