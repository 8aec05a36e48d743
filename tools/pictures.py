"""Draw the two pictures of the README: docs/map.png and docs/benchmark.png.

    python -m tools.pictures

The map is that of the first 15 families of examples/families.fasta under `small`, embedded here and now, for more than
19 colours cannot be told apart; UMAP's places differ a little from one release of its libraries to the next. The
benchmark's numbers are docs/benchmark.json, what one run of benchmarks.encoder measured (docs/performance.md, the log).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import protea_ray
from protea_ray.pictures.described_figure import DescribedFigure
from protea_ray.pictures.figure_files import write_figure
from protea_ray.pictures.style import BLUE, GREY, count_axis, drawing, named_rows, new_figure

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
OURS = "protea_ray"
FAMILIES = 15


def main() -> None:
    """Write both pictures."""
    write_figure(draw_benchmark(json.loads((DOCS / "benchmark.json").read_text())), DOCS / "benchmark.png", "png")
    draw_families(DOCS / "map.png")


def draw_families(path: Path) -> None:
    """Embed the first families of the examples and draw their map by family."""
    records = (ROOT / "examples" / "families.fasta").read_text().split(">")[1:]
    wanted = {f"family=F{number:04}" for number in range(1, FAMILIES + 1)}
    with tempfile.TemporaryDirectory() as scratch:
        chosen = Path(scratch, "families.fasta")
        chosen.write_text("".join(f">{record}" for record in records if record.splitlines()[0].split()[1] in wanted))
        protea_ray.embed(chosen, f"{scratch}/store")
        protea_ray.open_store(f"{scratch}/store").plot_map(colour="family", method="umap", out=path)


def draw_benchmark(found: dict[str, Any]) -> DescribedFigure:
    """Draw the residues/s of each way on the same proteins, with the spread of its repetitions as written."""
    rows, first = found["records"], found["records"][0]
    times = [f"{row['rate'] / first['rate']:.2f} times the first" for row in rows]
    said = "; ".join(f"{row['way']}: {row['rate']:,} residues/s, {of}" for row, of in zip(rows, times, strict=True))
    title = f"{first['model']}: {first['proteins']:,} proteins, {first['residues']:,} residues; {found['when']}"
    with drawing():
        figure = new_figure(title, said, 8.0, 1.2 + 0.36 * len(rows))
        axes = figure.subplots()
        colours = [BLUE if row["way"].startswith(OURS) else GREY for row in rows]
        bars = axes.barh(range(len(rows)), [row["rate"] for row in rows], color=colours, height=0.7)
        axes.bar_label(
            bars, [f"{row['rate']:,}, {of}" for row, of in zip(rows, times, strict=True)], padding=3, fontsize=8
        )
        named_rows(axes, [row["way"] for row in rows], 60)
        axes.set_xlim(0, 1.4 * max(row["rate"] for row in rows))
        axes.set_xlabel("residues/s of one thread, loading apart; spread of repetitions at most "
                        f"{max(row['spread'] for row in rows):.0%}")  # fmt: skip
        count_axis(axes.xaxis)
    return figure


if __name__ == "__main__":
    main()
