"""The arrows between the parts, read from the syntax tree, and what the command line may not import at the start."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "minifer"
# part of minifer: other parts that it may import, those that need least first
ALLOWED = {
    "errors": set(),
    "allowed": {"errors"},
    "files": {"allowed", "errors"},
    "own_code": {"errors"},
    "kernels": set(),
    "initializers": set(),
    "layers": {"errors", "initializers", "kernels"},
    "losses": {"errors", "kernels", "layers"},
    "models": {"errors", "initializers", "layers"},
    "cost": {"errors", "kernels", "layers"},
    "metrics": {"errors"},
    "calibration": {"errors", "layers"},
    "data": {"errors", "files", "kernels"},
    "faces": {"data", "errors", "files", "jobs", "kernels", "process"},
    "reading": {"data", "errors", "faces", "files"},
    "optimizers": {"errors", "kernels"},
    "schedules": {"errors"},
    "averaging": {"data", "errors", "kernels", "layers", "optimizers"},
    "config": {"allowed", "errors", "files"},
    "checkpoint": {"allowed", "errors", "files"},
    "interop": {"checkpoint", "data", "errors", "files", "kernels", "layers", "losses", "models"},
    "weights": set(),
    "networks": {"errors", "layers", "models", "own_code"},
    "trained": {"allowed", "calibration", "checkpoint", "config", "cost", "data", "errors", "files", "interop",
        "models", "networks", "output", "own_code", "weights"},
    "inference": {"errors", "kernels", "layers"},
    "fusion": {"errors", "kernels", "layers"},
    "evaluation": {"calibration", "cost", "data", "errors", "faces", "inference", "layers", "losses", "metrics",
        "networks", "own_code", "trained"},
    "run_folder": {"allowed", "config", "data", "errors", "files", "report"},
    "parallel": {"data", "errors", "evaluation", "layers", "process"},
    "training": {"allowed", "averaging", "calibration", "checkpoint", "config", "data", "errors", "evaluation",
        "faces", "files", "fusion", "kernels", "layers", "losses", "networks", "optimizers", "own_code", "parallel",
        "run_folder", "schedules", "trained"},
    "rate_finder": {"averaging", "errors", "files", "report"},
    "recognizer": {"data", "errors", "faces", "files", "inference", "losses", "networks", "output", "trained"},
    "video": {"errors", "faces", "files", "losses", "output", "recognizer", "report"},
    "sklearn": {"config", "data", "errors", "evaluation", "faces", "layers", "losses", "networks", "own_code",
        "training"},
    "warm_up": {"config", "data", "faces", "fusion", "inference", "kernels", "losses", "models", "own_code", "process",
        "training"},
    "jobs": {"errors", "kernels", "process"},
    "runs": {"config", "data", "errors", "evaluation", "files", "jobs", "output", "own_code", "process", "reading",
        "report", "run_folder", "trained", "training"},
    "sweep": {"allowed", "config", "errors", "files", "jobs", "output", "report", "runs"},
    "counting": {"errors", "gradcheck", "kernels", "layers", "own_code"},
    "cases": {"layers", "losses", "models"},
    "gradcheck": {"errors", "layers", "own_code", "report"},
    "testing": {"errors", "gradcheck", "teaching"},
    "teaching": {"allowed", "config", "cost", "data", "errors", "evaluation", "files", "gradcheck", "kernels",
        "layers", "losses", "networks", "output", "own_code", "report", "training"},
    "report": {"cost", "data", "errors", "files", "layers"},
    "reproduce": {"allowed", "config", "data", "errors", "faces", "files", "losses", "metrics", "models", "networks",
        "output", "report", "run_folder", "runs", "trained"},
    "demo": {"config", "cost", "errors", "faces", "files", "kernels", "layers", "models", "recognizer", "report",
        "video", "warm_up"},
    "output": set(),
    "process": {"errors", "kernels"},
    "commands": None,  # any: the last room before the door
    "cli": {"errors", "output", "own_code", "process"},
    "__main__": {"cli"},
    "__init__": set(),
}  # fmt: skip
HEAVY = {
    "sklearn", "skimage", "imblearn", "matplotlib", "PIL", "tqdm", "scipy", "torch", "onnx", "onnxruntime", "cv2",
    "h5py", "av", "starlette", "uvicorn", "mpi4py", "joblib", "distributed",
}  # fmt: skip
ONLY_FOR = {  # modules that nobody imports who has not got the library
    "sklearn.py": {"sklearn"}, "demo/guard.py": {"starlette"}, "demo/server.py": {"starlette"},
    "demo/serve.py": {"uvicorn"},
}  # fmt: skip


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"minifer.{alias.name}" for alias in node.names) if node.module == "minifer" else (node.module,)


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert part in ALLOWED, f"{part} is new: say what it may import"
    tree = ast.parse(path.read_text())
    if ALLOWED[part] is not None:
        ours = {name.split(".")[1] for name in imports(tree) if name.startswith("minifer.")} - {part, "__version__"}
        assert ours <= ALLOWED[part], f"{part} must not import {ours - ALLOWED[part]}"
    if "kernels" in path.parent.parts:
        outside = {name.split(".")[0] for name in imports(tree)} - {"minifer"} - set(sys.stdlib_module_names)
        assert outside <= {"numpy", "numba", "llvmlite"}


def test_no_arrow_leads_back():
    parts = graphlib.TopologicalSorter({part: others for part, others in ALLOWED.items() if others is not None})
    parts.prepare()  # raises CycleError, which names the circle


def test_nobody_imports_a_command():
    for path in FILES:
        if path.parent.name != "commands":
            assert not [name for name in imports(ast.parse(path.read_text())) if name.startswith("minifer.commands")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_are_imported_where_used(path):
    tree = ast.parse(path.read_text())
    top = {
        name.split(".")[0]
        for node in tree.body
        for name in imports(ast.Module([node], []))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not top & HEAVY - ONLY_FOR.get(str(path.relative_to(PACKAGE)), set())


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
