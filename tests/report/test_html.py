"""The page: everything inside it, nothing unescaped."""

import base64
import re

from minifer.report import html


def test_page_links_to_its_sections_and_to_nothing_else():
    text = html.page("A <title>", "a & b", {"First": html.paragraph("one"), "Second & last": html.paragraph("two")})
    assert "A &lt;title&gt;" in text and "a &amp; b" in text
    targets = re.findall(r'href="#(\w+)"', text)
    assert targets == re.findall(r'<section id="(\w+)">', text) == ["part1", "part2"]
    assert not re.search(r'(src|href)="(?!#|data:)', text)
    assert "http" not in text


def test_paragraph_makes_code_of_backticks():
    assert html.paragraph("run `a < b` now") == "<p>run <code>a &lt; b</code> now</p>"


def test_columns_of_words_stand_on_the_left():
    text = html.table("t", ["name", "n", "or"], [["<x>", "12", "1"], ["y", "+1.5 (p 0.2)", "no"]], note="n <")
    assert text.count('<td class="text">') == 4 and text.count('<th class="text">') == 2
    assert "<td>+1.5 (p 0.2)</td>" in text and "&lt;x&gt;" in text and "n &lt;" in text


def test_figure_is_inside_the_page():
    from matplotlib.figure import Figure

    text = html.figure(Figure(figsize=(1, 1)), 'a "caption"')
    data = re.search(r"data:image/png;base64,([^\"]+)", text)[1]
    assert base64.b64decode(data).startswith(b"\x89PNG")
    assert "a &quot;caption&quot;" in text
