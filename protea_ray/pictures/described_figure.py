"""A figure of matplotlib that says in words what is in it, and shows itself in a notebook without pyplot.

Imports matplotlib: only `style.py` imports this module, and only when something is drawn.
"""

from __future__ import annotations

from base64 import b64encode
from html import escape
from io import BytesIO

from matplotlib.figure import Figure


class DescribedFigure(Figure):
    """A figure with a `title` and a `description`, the sentences that stand for it where it cannot be seen."""

    title: str = ""
    description: str = ""

    def _repr_html_(self) -> str:
        """The figure as PNG with its description as alternative text, whatever backend the process uses."""
        from protea_ray.pictures.style import write_figure

        picture = BytesIO()
        write_figure(self, picture, "png")
        encoded = b64encode(picture.getvalue()).decode("ascii")
        alt = escape(self.description, quote=True)
        return f'<img alt="{alt}" src="data:image/png;base64,{encoded}" style="max-width: 100%">'

    def __repr__(self) -> str:
        return f"<{self.title}: {self.description}>" if self.description else super().__repr__()
