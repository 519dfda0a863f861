"""Templates and contexts → text. A value that a template names and nobody gives stops the build."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.trials import variance_text

NO_BREAK, JOINER = "\N{NO-BREAK SPACE}", "\N{WORD JOINER}"
FIGURE = 32
"""Characters of the longest text that counts as one figure."""


def render(template: str, context: Mapping[str, Any]) -> str:
    """Fill a template of `templates/`. Markdown is not HTML: nothing is escaped."""
    return environment().get_template(template).render(context)


def render_text(text: str, context: Mapping[str, Any]) -> str:
    """Fill a text that is a template itself, such as a written answer."""
    return environment().from_string(text).render(context)


def environment() -> Environment:
    """What templates may use besides their context."""
    found = Environment(
        loader=PackageLoader("pipeline.reporting"),
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
    )
    found.filters |= {"variance": variance_text, "ltr": left_to_right, "cell": in_cell, "persian": persian}
    return found


def left_to_right(text: object) -> str:
    """Figures and names inside Persian prose, kept in their own order; of a figure no part goes to the next line."""
    parts = re.split(r"(; | / )", str(text).replace("×/÷", f"×/{JOINER}÷"))
    for place in range(0, len(parts), 2):  # between the separators
        if len(parts[place]) <= FIGURE:
            parts[place] = parts[place].replace(" ", NO_BREAK)
    return f'<bdi dir="ltr">{"".join(parts)}</bdi>'


def in_cell(text: object) -> str:
    """As `left_to_right`, in a cell of a table: a line may end before a bracket or after a comma, or it is too wide."""
    return left_to_right(text).replace(f"{NO_BREAK}(", " (").replace(f",{NO_BREAK}", ", ")


def persian(number: object) -> str:
    """A number in Persian digits with Persian separators: 12,345.6 → ۱۲٬۳۴۵٫۶."""
    return str(number).translate(str.maketrans("0123456789.,%", "۰۱۲۳۴۵۶۷۸۹٫٬٪"))
