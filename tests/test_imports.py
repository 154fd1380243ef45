"""The arrows between the parts, read from the syntax tree, and what the command line may not import at the start."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "minifer"
# part -> parts of minifer it may import
ALLOWED = {
    "kernels": {"kernels"},
    "layers": {"layers", "kernels", "errors", "initializers"},
    "models": {"models", "layers", "errors", "initializers"},
    "losses": {"layers", "kernels", "errors"},
    "data": {"data", "kernels", "errors", "files"},
    "faces": {"faces", "data", "kernels", "errors", "files"},
    "cost": {"cost", "layers", "errors"},
    "counting": {"layers", "kernels", "gradcheck", "errors"},
    "calibration": {"layers", "errors"},
    "metrics": {"errors"},
    "schedules": {"errors"},
    "checkpoint": {"errors", "files", "allowed"},
    "allowed": {"errors"},
    "files": {"files", "errors", "allowed"},
    "inference": {"layers", "kernels", "errors"},
    "interop": {"interop", "models", "layers", "errors", "files"},
    "gradcheck": {"gradcheck", "layers", "report", "errors"},
    "testing": {"gradcheck", "errors"},
}
HEAVY = {
    "sklearn", "skimage", "imblearn", "matplotlib", "PIL", "tqdm", "scipy", "torch", "onnx", "onnxruntime", "cv2",
    "h5py",
}  # fmt: skip


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    tree = ast.parse(path.read_text())
    if part in ALLOWED:
        ours = {name.split(".")[1] for name in imports(tree) if name.startswith("minifer.")}
        assert ours <= ALLOWED[part], f"{part} must not import {ours - ALLOWED[part]}"
    if part == "kernels":
        outside = {name.split(".")[0] for name in imports(tree)} - {"minifer"} - set(sys.stdlib_module_names)
        assert outside <= {"numpy", "numba", "llvmlite"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_are_imported_where_used(path):
    tree = ast.parse(path.read_text())
    top = {
        name.split(".")[0]
        for node in tree.body
        for name in imports(ast.Module([node], []))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not top & HEAVY


def test_help_imports_nothing_heavy():
    # The modules that hold verbs are loaded by then; what they compute with is not.
    code = (
        "import sys, contextlib, io\n"
        "from minifer.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main(['--help'])\n"
        "print(' '.join(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "numba", *HEAVY} & set(loaded)
