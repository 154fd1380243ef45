"""Run notebooks from top to bottom and keep their outputs, without traces of the machine. The tests use it, too.

python examples/run_notebooks.py [NOTEBOOK ...]        without a name: all of them
"""

import base64
import io
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
NOTEBOOKS = sorted(HERE.glob("[0-9]*.ipynb"))
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

# A cell that only draws: its code is folded away, in JupyterLab by the second and in a Jupyter Book by the first.
HIDDEN = {"tags": ["hide-input"], "jupyter": {"source_hidden": True}}


def read(path):
    """Return a notebook."""
    return nbformat.read(path, as_version=4)


def execute(notebook):
    """Run all cells in a new kernel of this very interpreter, outputs into the notebook; raise where a cell does."""
    # Without folders to look in, what is left is the kernel of the interpreter that runs this.
    kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(
        notebook, km=kernel, timeout=600, record_timing=False, resources={"metadata": {"path": str(HERE)}}
    )
    with tempfile.TemporaryDirectory() as no_settings:
        environment = {**os.environ, "IPYTHONDIR": no_settings}
        environment.pop("MPLBACKEND", None)  # pictures belong into the notebook
        path = (str(HERE.parent), os.environ.get("PYTHONPATH"))
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        client.execute(env=environment)


def clean(notebook):
    """Drop what differs from run to run and from machine to machine, and join what was printed in pieces."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(HIDDEN if "hide-input" in cell.metadata.get("tags", []) else {})
        joined = []
        for output in cell.get("outputs", []):
            output.pop("transient", None)
            if "image/png" in output.get("data", {}):
                output["data"]["image/png"] = with_few_colours(output["data"]["image/png"])
            if output.output_type == "stream" and joined and joined[-1].get("name") == output.name:
                joined[-1].text += output.text
            else:
                joined.append(output)
        if "outputs" in cell:
            cell.outputs = joined


def with_few_colours(png):
    """Return a picture (PNG in base64) with at most 256 colours: a third of the size, and no difference to be seen."""
    picture, smaller = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(smaller, "png", optimize=True)
    return base64.b64encode(smaller.getvalue()).decode()


def main(names):
    """Run the notebooks and write them back."""
    for path in map(Path, names or NOTEBOOKS):
        print(path.name, flush=True)
        notebook = read(path)
        execute(notebook)
        clean(notebook)
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main(sys.argv[1:])
