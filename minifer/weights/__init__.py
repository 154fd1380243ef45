"""The trained weights that ship, and whether they are still the bytes that shipped.

SHA256SUMS beside the files is in the format of sha256sum, so that `sha256sum -c SHA256SUMS` checks them as well.
"""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent
SUMS = FOLDER / "SHA256SUMS"
NETWORKS = {"best": "best.npz", "small": "small.npz"}  # a name for the command line: its file


def shipped():
    """Return {file name: checksum} of the weights that ship."""
    lines = (line.split() for line in SUMS.read_text(encoding="utf-8").splitlines())
    return {name: checksum for checksum, name in lines}


def check():
    """Return {file name: "as shipped", "changed" or "missing"}."""
    return {name: _state(FOLDER / name, checksum) for name, checksum in shipped().items()}


def _state(path, checksum):
    if not path.exists():
        return "missing"
    return "as shipped" if hashlib.sha256(path.read_bytes()).hexdigest() == checksum else "changed"
