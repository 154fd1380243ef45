"""Every example runs."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from minifer.cli import main, make_parser

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_first_screen(tmp_path):
    for name in ("curves.png", "confusion.png"):
        Image.new("RGB", (200, 100), "white").save(tmp_path / name)
    target = tmp_path / "first.png"
    subprocess.run([sys.executable, EXAMPLES / "first_screen.py", tmp_path, target], check=True)
    assert Image.open(target).width > 500


def test_python_in_the_readme():
    text = (EXAMPLES.parent / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_the_first_layer():
    told = subprocess.run([sys.executable, EXAMPLES / "first_layer.py"], check=True, capture_output=True, text=True)
    assert "PReLU" in told.stdout and "ok" in told.stdout
    (last,) = re.findall(r"epoch 12: .* right on validation (\d+)%", told.stdout)
    assert int(last) > 22, "one in seven is chance"


def test_every_command_in_the_readme_is_one():
    text = (EXAMPLES.parent / "README.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.partition("#")[0] for block in blocks for line in block.splitlines()]
    commands = [re.sub(r"^.*bin/minifer ", "", line).split() for line in lines if "bin/minifer " in line]
    assert len(commands) > 12
    for command in commands:
        assert make_parser(command).parse_args(command).verb == command[0]


def test_an_own_network_learns_digits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, EXAMPLES / "own_network.py"], check=True)
    target = f"{EXAMPLES / 'own_network.py'}:network"
    arguments = ["--data", "digits.npz", "--model", target, "--no-flip", "--epochs", "20", "--out", "run"]
    assert main(["train", *arguments]) == 0
    assert json.loads(Path("run/evaluation.json").read_text())["top1"] > 0.97


def test_the_depthwise_exercise_slow_and_fast(capsys):
    """Every version computes the same; what they took is printed, and nowhere asserted."""
    slow_and_fast = runpy.run_path(str(EXAMPLES / "exercises" / "slow_and_fast.py"))
    slow_and_fast["main"](["--side", "7", "--channels", "5", "--seconds", "0"])
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(slow_and_fast["VERSIONS"])
    slow_and_fast["VERSIONS"]["wrong"] = lambda x, weight: x
    with pytest.raises(AssertionError, match="wrong is wrong"):
        slow_and_fast["table"](side=5, channels=2, seconds=0)
