"""With NUMBA_DISABLE_JIT=1 the compiled twins are plain Python: all must still run, and coverage tools see it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.mark.slow
def test_gradients_and_kernels_without_the_compiler():
    # Drawn shapes (any_...) take minutes in plain Python, and now and then half an hour; the small listed ones stay.
    large = "1000 or 3000 or 1100 or 1030 or 600 or 1024 or 1500 or 4200 or 256 or 70 or 10001 or 2000 or cancel"
    large += " or attention-normalized or attention-positions or squeezed"  # what the plain ones go through, and more
    selected = f"not mobilenet and not any_ and not threads and not linear and not second and not ({large})"
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-k", selected]
    files = [TESTS / "test_gradients.py", TESTS / "kernels" / "test_twins.py", TESTS / "kernels" / "test_fused.py"]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    run = subprocess.run([*command, *files], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:]
    assert " passed" in run.stdout
