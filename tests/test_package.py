"""The wheel, as an index would give it: what is in it, and that it works without the repository beside it."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode and re.search("No matching distribution|Could not find a version|Connection", built.stderr):
        pytest.skip("what builds a wheel cannot be fetched here")
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


def test_what_is_in_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    packaged = subprocess.run(
        ["git", "ls-files", "minifer"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    assert set(packaged) <= set(names)
    assert "minifer/weights/README.md" in names and "minifer/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "examples", "benchmarks"))]
    text = metadata.partition("\n\n")[2]
    assert text.startswith("# minifer")
    assert not re.search(r"<img|\]\((?!https?:)", text)  # an index shows no picture and no link that is relative


def test_it_works_alone(wheel, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path / "site", wheel], check=True
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    script = (
        "from minifer import cli, trained; print(trained.__file__); "
        "trained.load_weights(trained.find_weights('best')); cli.main(['cost', '--model', 'v2'])"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "site"))
    assert "multiply-adds" in done.stdout
