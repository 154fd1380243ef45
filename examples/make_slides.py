"""Make slides of a notebook, for a lesson: questions, pictures and answers one after another, long code left out.

    python examples/make_slides.py --out slides/            lessons 2 and 3; or name other notebooks

Slides fetch reveal.js and MathJax from the web. For a room without a network, say in their folder

    npm install reveal.js@4 mathjax@2 requirejs@2 jquery@2          and add   --modules node_modules

The notebooks stay as they are: which cell becomes which slide follows from what the course is made of. A heading begins
a slide; down from it follow the question (Predict), what the cell shows, and the answer.
"""

import argparse
import re
from pathlib import Path

import nbformat

HERE = Path(__file__).parent
LESSONS = ("02_depthwise_separable.ipynb", "03_chain_rule_and_gradient_check.ipynb")
MOST_CHARACTERS = 650  # of text on a slide
MOST_LINES, WIDEST = 12, 88  # of code on a slide; a cell with more, or one that draws, shows only what it puts out
STYLE = """<style>
.reveal .slides { text-align: left; font-size: 28px }
.reveal .slides section h1 { font-size: 1.7em; text-transform: none }
.reveal .slides section h2 { font-size: 1.4em; text-transform: none }
.reveal .slides pre, .reveal .slides table { font-size: 0.62em }
.reveal .slides img { max-height: 58vh; margin: 0 auto; display: block }
.jp-InputPrompt, .jp-OutputPrompt { display: none }
</style>"""


def slides_of(cells):
    """Return the cells of a notebook as cells of slides, each with its place in metadata.slideshow."""
    slides = []
    for cell in cells:
        if cell.cell_type == "markdown":
            slides += [text_slide(part) for part in parts_of(cell.source)]
        elif cell.outputs:  # what only imports or defines is not shown
            new = nbformat.from_dict(cell)
            lines = cell.source.splitlines()
            hidden = len(lines) > MOST_LINES or max(map(len, lines)) > WIDEST or "plt." in cell.source
            hidden |= "hide-input" in cell.metadata.get("tags", [])
            new.metadata = {"slideshow": {"slide_type": "subslide"}, "tags": ["hide"] if hidden else []}
            slides.append(new)
    return slides


def text_slide(text):
    """Return a markdown cell: a slide if it begins with a heading, else one below the slide before."""
    kind = "slide" if text.startswith("#") else "subslide"
    return nbformat.v4.new_markdown_cell(text, metadata={"slideshow": {"slide_type": kind}})


def parts_of(text):
    """Return a cell's text in parts that fit on slides: headings, questions and answers each begin one."""
    text = re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)
    parts = [""]
    for paragraph in re.split(r"\n\n+(?!\s)", text.strip()):
        begins = paragraph.startswith(("#", "**Predict.**", "**Answer.**"))
        heading_alone = re.fullmatch(r"#+ .*", parts[-1].strip())
        if parts[-1] and (begins or (len(parts[-1]) + len(paragraph) > MOST_CHARACTERS and not heading_alone)):
            parts.append("")
        parts[-1] += paragraph + "\n\n"
    return [part.strip() for part in parts if part.strip()]


def make(path, folder, modules=""):
    """Write a notebook's slides as HTML into a folder; return the file.

    modules    where reveal.js and the others are, seen from there; "": on the web, as nbconvert has it
    """
    from nbconvert.exporters import SlidesExporter
    from traitlets.config import Config

    notebook = nbformat.read(path, as_version=4)
    notebook.cells = slides_of(notebook.cells)
    tags = {"enabled": True, "remove_input_tags": {"hide"}}
    exporter = SlidesExporter(config=Config({"TagRemovePreprocessor": tags}))
    if modules:
        exporter.reveal_url_prefix = f"{modules}/reveal.js"
        exporter.require_js_url = f"{modules}/requirejs/require.js"
        exporter.jquery_url = f"{modules}/jquery/dist/jquery.min.js"
        exporter.mathjax_url = f"{modules}/mathjax/MathJax.js?config=TeX-AMS_CHTML-full,Safe"
    html, _ = exporter.from_notebook_node(notebook)
    file = Path(folder) / f"{Path(path).stem}.slides.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(html.replace("</head>", f"{STYLE}</head>", 1), encoding="utf-8")
    return file


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, default=[HERE / name for name in LESSONS])
    parser.add_argument("--out", type=Path, default=Path("slides"), metavar="FOLDER")
    parser.add_argument("--modules", default="", metavar="PATH", help="a folder with reveal.js and the others")
    arguments = parser.parse_args()
    for path in arguments.notebooks:
        print(make(path, arguments.out, arguments.modules))
