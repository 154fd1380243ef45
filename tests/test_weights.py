"""The weights that ship are the bytes that shipped, and a changed or lost file is noticed."""

import pytest

from minifer import weights


def test_every_file_that_ships_has_its_checksum():
    assert weights.shipped().keys() == {path.name for path in weights.FOLDER.glob("*.npz")}
    assert set(weights.check().values()) == {"as shipped"}


@pytest.mark.parametrize(("content", "state"), [(b"right", "as shipped"), (b"wrong", "changed"), (None, "missing")])
def test_changed_and_missing_files_are_named(content, state, tmp_path, monkeypatch):
    import hashlib

    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    monkeypatch.setattr(weights, "SUMS", tmp_path / "SHA256SUMS")
    weights.SUMS.write_text(f"{hashlib.sha256(b'right').hexdigest()}  net.npz\n")
    if content is not None:
        (tmp_path / "net.npz").write_bytes(content)
    assert weights.check() == {"net.npz": state}
