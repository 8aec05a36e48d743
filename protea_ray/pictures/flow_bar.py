"""Where the records of a run went, as one bar of HTML and SVG: what a notebook shows without matplotlib.

Words have the colour of the page, light or dark; the bar's colours stand out from both and are named beside it.
"""

from __future__ import annotations

from html import escape

from protea_ray.display import printable
from protea_ray.pictures.flow_figure import PLACES, flow_sentence
from protea_ray.pictures.store_data import Flow

_WIDTH, _HEIGHT = 600, 16


def flow_bar(flow: Flow) -> str:
    """A bar as long as all records with a part for each place, and a legend; empty where there are no records."""
    if not flow.records:
        return ""
    counts = [(words, getattr(flow, name), colour) for name, words, colour in PLACES]
    parts, begins = [], 0.0
    for words, count, colour in counts:
        width = count / flow.records * _WIDTH
        parts.append(f'<rect x="{begins:.2f}" width="{width:.2f}" height="{_HEIGHT}" fill="{colour}">'
                     f"<title>{words}: {count:,}</title></rect>")  # fmt: skip
        begins += width
    said = escape(printable(flow_sentence(flow)), quote=True)
    bar = (f'<svg role="img" aria-label="{said}" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" '
           f'style="width: 100%; max-width: {_WIDTH}px; height: {_HEIGHT}px">{"".join(parts)}</svg>')  # fmt: skip
    legend = " ".join(
        f'<span style="white-space: nowrap; margin-right: 1em"><span style="color: {colour}" aria-hidden="true">'
        f"\N{BLACK SQUARE}</span> {words} {count:,}</span>"
        for words, count, colour in counts
    )
    return f"<div>{escape(printable(flow.space))}<br>{bar}<br>{legend}</div>"
