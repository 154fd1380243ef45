"""One self-contained HTML page: headings, text, tables and figures, with its style and pictures inside the file."""

import base64
import io
from html import escape

STYLE = """
:root { --ink: #222; --soft: #666; --line: #e3e3e3; --accent: #0072b2; --paper: #fff; }
body { margin: 0; background: #f6f6f4; color: var(--ink); font: 16px/1.55 Georgia, "Times New Roman", serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 2rem 4rem; background: var(--paper); }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.35rem; margin: 2.8rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h1, h2, nav, table, figcaption, .lead { font-family: "Segoe UI", Helvetica, Arial, sans-serif; }
p { max-width: 44rem; }
.lead { color: var(--soft); font-size: 1.05rem; }
nav { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; font-size: .9rem; margin: 1.2rem 0; }
nav a { color: var(--accent); text-decoration: none; white-space: nowrap; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; margin: .6rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem; }
th, td { padding: .32rem .7rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; border-bottom: 2px solid #bbb; }
th.text, td.text { text-align: left; }
.wide { font-size: .78rem; }
.wide th, .wide td { padding: .32rem .32rem; }
.wide td:first-child { min-width: 9rem; }
.note { color: var(--soft); font-size: .88rem; margin-top: .2rem; }
figure { margin: 1.4rem 0; }
figure img { max-width: 100%; height: auto; }
figcaption { font-size: .88rem; color: var(--soft); max-width: 46rem; }
code { font-size: .9em; background: #f2f2ef; padding: .05em .3em; border-radius: 3px; }
.numbers { background: #f2f6f9; border-left: 3px solid var(--accent); padding: .6rem 1rem;
           font-size: .86rem; overflow-x: auto; }
@media print { body { background: #fff; } main { padding: 0; } nav { display: none; } }
"""

MOST_COLUMNS = 10  # of a table in large letters


def page(title, lead, sections):
    """Return the text of a page.

    title, lead   plain text
    sections      {heading: HTML from paragraph, table, figure and preformatted}
    """
    names = {heading: f"part{number}" for number, heading in enumerate(sections, 1)}
    links = "".join(f'<a href="#{names[heading]}">{escape(heading)}</a>' for heading in sections)
    body = "".join(
        f'<section id="{names[heading]}"><h2>{escape(heading)}</h2>{content}</section>\n'
        for heading, content in sections.items()
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f'<body><main><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p><nav>{links}</nav>\n{body}</main>'
        "</body></html>\n"
    )


def paragraph(text):
    """Return a paragraph of plain text; words between backticks are code."""
    pieces = escape(text).split("`")
    return f"<p>{''.join(f'<code>{piece}</code>' if k % 2 else piece for k, piece in enumerate(pieces))}</p>"


def preformatted(text):
    """Return lines of numbers, as they are."""
    return f'<pre class="numbers">{escape(text)}</pre>'


def table(title, header, rows, note=""):
    """Return a table; columns of numbers stand on the right, words on the left."""
    columns = [[str(cell) for cell in column] for column in zip(*rows, strict=True)]
    kinds = ["" if all(map(_is_number, column)) else ' class="text"' for column in columns]

    def line(tag, cells):
        pairs = zip(cells, kinds, strict=True)
        return f"<tr>{''.join(f'<{tag}{kind}>{escape(str(cell))}</{tag}>' for cell, kind in pairs)}</tr>"

    wide = ' class="wide"' if len(header) > MOST_COLUMNS else ""
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    return (
        f'<div class="scroll"><table{wide}><caption>{escape(title)}</caption><thead>{line("th", header)}</thead>'
        f"<tbody>{''.join(line('td', row) for row in rows)}</tbody></table></div>{below}"
    )


def _is_number(text):
    """Whether a cell begins as numbers do, or is empty."""
    return not text or text.lstrip("+-")[:1].isdigit()


def figure(drawing, caption):
    """Return a Matplotlib Figure as a picture inside the page, with its caption."""
    file = io.BytesIO()
    drawing.savefig(file, format="png")
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
