"""What is the same in all notebooks: links to run them elsewhere, the cell that installs minifer, the neighbours.

python examples/links.py        writes these into every notebook; the tests check that nothing is left to do

Whoever puts the course into a repository of his own changes REPOSITORY and BRANCH here, and runs it once.
"""

import re

import nbformat
from run_notebooks import HERE, HIDDEN, NOTEBOOKS, read

REPOSITORY, BRANCH = "minifer/minifer", "main"  # on GitHub, public: Colab and Binder read from there

INSTALL = f'''\
# Runs on Colab and Binder, too: where minifer is missing, it is fetched and installed. Elsewhere nothing happens.
import importlib.util
import os
import subprocess
import sys

if not importlib.util.find_spec("minifer"):
    if not os.path.exists("course.py"):
        address = "https://github.com/{REPOSITORY}"
        subprocess.run(["git", "clone", "-q", "--depth", "1", "-b", "{BRANCH}", address, "minifer-course"], check=True)
        os.chdir("minifer-course/examples")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", "..[test]"], check=True)
    sys.path[:0] = [os.getcwd(), os.path.dirname(os.getcwd())]'''


def badges(path):
    """Return the line of links below a notebook's title."""
    file = f"examples/{path.name}"
    colab = f"https://colab.research.google.com/github/{REPOSITORY}/blob/{BRANCH}/{file}"
    binder = f"https://mybinder.org/v2/gh/{REPOSITORY}/{BRANCH}?urlpath=lab/tree/{file}"
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) "
        f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder})"
    )


def title(notebook):
    """Return the heading of a notebook."""
    return notebook.cells[0].source.splitlines()[0].removeprefix("# ")


def neighbours(path, titles):
    """Return the last cell: the notebooks before and after this one, and the glossary."""
    paths = list(titles)
    place = paths.index(path)
    links = ["[The course](README.md)", "[Glossary](GLOSSARY.md)"]
    if place:
        links.insert(0, f"Before: [{titles[paths[place - 1]]}]({paths[place - 1].name})")
    if place + 1 < len(paths):
        links.append(f"Next: **[{titles[paths[place + 1]]}]({paths[place + 1].name})**")
    return "---\n" + " · ".join(links)


def linked(notebook, path, titles):
    """Give a notebook its links and its first code cell; return it."""
    heading, _, rest = notebook.cells[0].source.partition("\n\n")
    if rest.startswith("[![Open in Colab]"):
        rest = rest.partition("\n\n")[2]
    notebook.cells[0].source = f"{heading}\n\n{badges(path)}\n\n{rest}"

    first = next(k for k, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    if "importlib.util.find_spec(" not in notebook.cells[first].source:
        notebook.cells.insert(first, nbformat.v4.new_code_cell())
    notebook.cells[first].source = INSTALL
    notebook.cells[first].metadata = nbformat.from_dict(HIDDEN)
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(codes if any(cell.execution_count for cell in codes) else (), start=1):
        cell.execution_count = number  # as if the first cell had been there when the others were run

    last = neighbours(path, titles)
    if re.match(r"---\n.*\[The course\]", notebook.cells[-1].source):
        notebook.cells[-1].source = last
    else:
        notebook.cells.append(nbformat.v4.new_markdown_cell(last))
    return notebook


def main():
    """Write what has changed."""
    titles = {path: title(read(path)) for path in NOTEBOOKS}
    for path in NOTEBOOKS:
        before, after = read(path), linked(read(path), path, titles)
        if before != after:
            print(path.relative_to(HERE.parent))
            nbformat.write(after, path)


if __name__ == "__main__":
    main()
