"""Markdown → one HTML file that needs nothing beside it: images inside, formulas as MathML, no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin

from pipeline.reporting.render import render

PAGE = "page.html.j2"
DIRECTIONS = {"en": "ltr", "fa": "rtl"}


def page(text: str, language: str, title: str, folder: Path) -> str:
    """A report's markdown as a page; pictures are read from a folder.

    Raises `ValueError` for a formula that can't be set as MathML, and `FileNotFoundError` for a picture that is not
    there.
    """
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    markdown.use(dollarmath_plugin, renderer=mathml, double_inline=True)

    def image(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        token = tokens[index]
        file = folder / unquote(str(token.attrs["src"]))
        encoded = base64.b64encode(file.read_bytes()).decode("ascii")
        token.attrs["src"] = f"data:image/png;base64,{encoded}"
        return renderer.image(tokens, index, options, env)

    markdown.add_render_rule("image", image)
    # Wide tables scroll by themselves instead of widening the page.
    markdown.add_render_rule("table_open", lambda *_: '<div class="table"><table>\n')
    markdown.add_render_rule("table_close", lambda *_: "</table></div>\n")
    content: Mapping[str, Any] = {
        "language": language,
        "direction": DIRECTIONS[language],
        "title": title,
        "body": markdown.render(text),
    }
    return render(PAGE, content)


def mathml(formula: str, options: Mapping[str, Any]) -> str:
    """A LaTeX formula as MathML, always from left to right. Raises `ValueError` for a command that is not known."""
    found = convert(formula, display="block" if options.get("display_mode") else "inline")
    if "\\" in found:
        raise ValueError(f"this formula can't be set as MathML: {formula}")
    return found.replace("<math ", '<math dir="ltr" ', 1)
