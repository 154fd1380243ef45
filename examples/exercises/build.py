"""Write stubs, worked solutions and nbgrader notebooks from source/: one text for each exercise, so that none drifts.

    python build.py                       write them all again
    python build.py --students FOLDER     copy what students need: stubs and tests, no solution

In source/NAME.py a solution stands between two comments; what follows the first is the advice that the stub gives:

    ### BEGIN SOLUTION: return y, and keep in self what backward needs
    ...
    ### END SOLUTION
"""

import argparse
import ast
import json
import re
import shutil
from pathlib import Path

HERE = Path(__file__).parent
ASSIGNMENT = "exercises"  # what nbgrader calls them together
PROJECT = "capstone"  # a competition, whose tests train: no notebook
REGION = re.compile(
    r"^(?P<indent> *)### BEGIN SOLUTION: (?P<advice>.*)\n(?P<answer>(?:.*\n)*?) *### END SOLUTION\n", re.MULTILINE
)
POINTS = json.loads((HERE / "points.json").read_text())  # {exercise: {test: points}}, in the order of the course
FOR_STUDENTS = ("*.py", "points.json", ".gitignore")  # the folders are not
FOR_TEACHERS = ("build.py", "slow_and_fast.py")  # which holds the forward pass of an exercise


def stub(text):
    """Return the file that students get."""
    return REGION.sub(r'\g<indent>raise NotImplementedError("\g<advice>")\n', text)


def solution(text):
    """Return the file with its answers, without the comments round them."""
    return REGION.sub(r"\g<answer>", text)


def notebook(name, text, tests):
    """Return an nbgrader notebook as text: the task, the code with its solution, and a graded cell for each test."""
    code = REGION.sub(
        r"\g<indent># \g<advice>\n\g<indent>### BEGIN SOLUTION\n\g<answer>\g<indent>### END SOLUTION\n", text
    )
    tree = ast.parse(code)
    task = re.sub(r"Check as you go, in this folder:\n\n(    .*\n)+\n", "", ast.get_docstring(tree))
    body = "\n".join(code.splitlines()[tree.body[0].end_lineno :]).strip()
    cells = [
        {"cell_type": "markdown", "id": f"{name}-task", "metadata": {}, "source": f"# {task}"},
        code_cell(f"{name}-answer", body, solution=True),
    ]
    before, graded = parts(tests, name)
    cells.append(code_cell(f"{name}-setup", before, locked=True))
    for test, source in graded.items():
        points = POINTS[name][test]
        cells.append(code_cell(f"{name}-{test.replace('_', '-')}", f"{source}\n\n\n{test}()", True, True, points))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    document = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def code_cell(name, source, locked=False, grade=False, points=None, solution=False):
    """Return a code cell with what nbgrader keeps about it."""
    about = {
        "grade": grade,
        "grade_id": name,
        "locked": locked,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    about |= {"points": points} if grade else {}
    empty = {"execution_count": None, "outputs": []}
    return {"cell_type": "code", "id": name, "metadata": {"nbgrader": about}, "source": source, **empty}


def parts(tests, name):
    """Return (what stands before the tests in a test file, {test: its source}); the code is in the notebook already."""
    lines, tree = tests.splitlines(), ast.parse(tests)
    graded, before = {}, []
    for node in tree.body[1:]:  # without the docstring
        source = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            graded[node.name] = source
        elif not (isinstance(node, ast.ImportFrom) and node.module == name):
            blank = "\n\n\n" if isinstance(node, ast.FunctionDef | ast.ClassDef) else "\n"
            before.append((blank if before else "") + source)
    return "".join(before), graded


def generated():
    """Return {path: text} of all that is written."""
    files = {}
    for path in sorted((HERE / "source").glob("*.py")):
        text, name = path.read_text(), path.stem
        files[HERE / path.name] = stub(text)
        files[HERE / "solutions" / path.name] = solution(text)
        if name != PROJECT:
            tests = (HERE / f"test_{name}.py").read_text()
            files[HERE / "nbgrader" / "source" / ASSIGNMENT / f"{name}.ipynb"] = notebook(name, text, tests)
    return files


def copy_for_students(folder):
    """Copy stubs, tests and what they need."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for pattern in FOR_STUDENTS:
        for path in HERE.glob(pattern):
            if path.name not in FOR_TEACHERS:
                shutil.copy(path, folder)
    students_part, _, _ = (HERE / "README.md").read_text().partition("## For teachers")
    (Path(folder) / "README.md").write_text(students_part.rstrip() + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--students", metavar="FOLDER", help="copy what students need to this folder instead")
    folder = parser.parse_args().students
    if folder:
        copy_for_students(folder)
    else:
        for path, text in generated().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(path.relative_to(HERE))
