"""Sphinx configuration: Markdown pages of the repository, and an API page from the docstrings (`make docs`).

The source folder is the repository itself, so that a link works on the website, in an editor and on a code host alike.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

project = "protea_ray"
author = copyright = "The protea_ray authors"
version = release = installed("protea-ray")
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "docs/index"
include_patterns = ["docs/**", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
exclude_patterns = ["**/.*", "build"]
html_theme = "furo"
html_title = "protea_ray"
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
nitpicky = False  # types of pyarrow, lance and torch are not linked

_CODE = re.compile(r"(`[^`]+`)")


def public_names() -> list[str]:
    """An autodoc directive for every name of `protea_ray.__all__`, lazy ones included."""
    import protea_ray

    blocks = []
    for name in protea_ray.__all__:
        value = getattr(protea_ray, name)
        kind = "class" if isinstance(value, type) else "function" if callable(value) else "data"
        members = "\n   :members:\n   :exclude-members: __init__, model_config" if kind == "class" else ""
        blocks.append(f"## {name}\n\n```{{eval-rst}}\n.. auto{kind}:: protea_ray.{name}{members}\n```\n")
    return blocks


def fill_in(app: Any, page: str, source: list[str]) -> None:
    """Put the public names where the API page says PUBLIC NAMES."""
    if page == "docs/api":
        source[0] = source[0].replace("<!-- PUBLIC NAMES -->", "\n".join(public_names()))


def plain_to_rst(app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with `code`: mark code, keep stars and bars, and keep lists and indented blocks."""
    lines[:] = [text for i, line in enumerate(lines) for text in _rst(line, lines[i - 1] if i else "")]


def _rst(line: str, before: str) -> list[str]:
    if line.startswith("    "):
        return [line] if before.strip() else ["::", "", line]
    bullet = re.match(r"\s*(\* )?", line)
    start = bullet.group() if bullet else ""
    opens_list = start.endswith("* ") and before.strip() and not before.startswith((" ", "*"))
    parts = _CODE.split(line[len(start) :])
    return [""] * bool(opens_list) + [
        start + "".join(f"`{p}`" if _CODE.fullmatch(p) else re.sub(r"([*|_])", r"\\\1", p) for p in parts)
    ]


def setup(app: Any) -> None:
    """Connect the two steps above."""
    app.connect("source-read", fill_in)
    app.connect("autodoc-process-docstring", plain_to_rst)
