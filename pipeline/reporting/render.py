"""Templates and contexts → text. A value that a template names and nobody gives stops the build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.trials import variance_text


def render(template: str, context: Mapping[str, Any]) -> str:
    """Fill a template of `templates/`. Markdown is not HTML: nothing is escaped."""
    environment = Environment(
        loader=PackageLoader("pipeline.reporting"),
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
    )
    environment.filters["variance"] = variance_text
    return environment.get_template(template).render(context)
