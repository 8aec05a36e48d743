"""Draw the two pictures of the README: docs/map.png and docs/benchmark.png.

    python -m tools.pictures                    # both, the benchmark from docs/benchmark.json
    python -m tools.pictures --measured FILE    # first take what `python -m benchmarks.encoder --json` printed last

The map is that of the first 15 families of examples/families.fasta under `small`, embedded here and now: more than 19
colours cannot be told apart. UMAP places points a little differently from one release of its libraries to the next. The benchmark's numbers are what one
run of benchmarks.encoder measured; nothing else is drawn.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

import protea_ray
from protea_ray.pictures.described_figure import DescribedFigure
from protea_ray.pictures.style import BLUE, GREY, count_axis, drawing, named_rows, new_figure, write_figure

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
MEASURED = DOCS / "benchmark.json"
OURS = "protea_ray"
FAMILIES = 15


def main(
    measured: Annotated[Path | None, typer.Option(help="output of `python -m benchmarks.encoder --json`")] = None,
) -> None:
    """Write both pictures."""
    if measured is not None:
        found = json.loads(measured.read_text().splitlines()[-1])
        MEASURED.write_text(json.dumps(found, indent=1) + "\n")
    write_figure(draw_benchmark(json.loads(MEASURED.read_text())), DOCS / "benchmark.png", "png")
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
    """Draw the residues/s of each way of the first model, and of the pipeline where it was measured."""
    model = found["records"][0]["model"]
    records = [record for record in found["records"] if record["model"] == model]
    rows = [(record["way"], record["rate"]) for record in records]
    rows += [(f"{OURS} pipeline, {one['actors']} actor(s)", one["rate"]) for one in found["pipeline"]]
    first = rows[0][1]
    said = "; ".join(f"{name}: {rate:,.0f} residues/s, {rate / first:.1f} times the first" for name, rate in rows)
    with drawing():
        title = f"{model}: {records[0]['proteins']:,} proteins, {records[0]['residues']:,} residues, one run"
        figure = new_figure(title, said, 8.0, 1.2 + 0.36 * len(rows))
        axes = figure.subplots()
        colours = [BLUE if name.startswith(OURS) else GREY for name, _ in rows]
        bars = axes.barh(range(len(rows)), [rate for _, rate in rows], color=colours, height=0.7)
        axes.bar_label(bars, [f"{rate:,.0f} ({rate / first:.1f}×)" for _, rate in rows], padding=3, fontsize=8)
        named_rows(axes, [name for name, _ in rows], 60)
        axes.margins(x=0.18)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"residues/s, one thread each ({found['device']})")
        count_axis(axes.xaxis)
    return figure


if __name__ == "__main__":
    typer.run(main)
