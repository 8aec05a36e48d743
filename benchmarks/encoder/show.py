"""The benchmark for a person: tables as they come, and one picture with the comparison and the length curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from protea_ray.pictures.style import BLUE, GREY, plain_figure, require_matplotlib

_WIDE = 160  # columns where there is no terminal to ask


def wide_console() -> Console:
    """Standard output, as wide as the terminal, or 160 columns where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE)


def show(found: dict[str, Any], model: str) -> None:
    """Every way on one model. `found` is what benchmarks/encoder/__main__.py prints with --json."""
    console = wide_console()
    records = [r for r in found["records"] if r["model"] == model]
    first = records[0]
    peaks = ", ".join(
        f"{kind} {flops / 1e9:,.0f}{_more(found, kind)} GFLOP/s" for kind, flops in found["peaks"].items()
    )
    console.print(f"\n{model}, {first['depth']}: {first['proteins']} proteins, {first['residues']:,} residues; "
                  f"matrix product on {found['device']}: {peaks}")  # fmt: skip
    table = Table("way", "residues/s", "spread", "times the first", "of the peak", "padding", "memory above", "load",
                  "first use", "difference")  # fmt: skip
    for r in records:
        table.add_row(
            r["way"], f"{r['rate']:,.0f}", f"{r['spread']:.0%}", f"{r['rate'] / first['rate']:.2f}",
            f"{r['share_of_peak']:.0%}", _share(r["padding"]), _mebibytes(r["extra_bytes"]), f"{r['load']:.1f} s",
            f"{r['first_use']:.1f} s", f"{r['difference']:.1e}",
        )  # fmt: skip
    console.print(table)


def show_more(found: dict[str, Any]) -> None:
    """Rates by length, and the pipeline beside the encoder."""
    console = wide_console()
    _buckets(found, console)
    _pipeline(found, console)


def _buckets(found: dict[str, Any], console: Any) -> None:
    lengths = list(dict.fromkeys((b["low"], b["high"]) for b in found["buckets"]))
    table = Table("residues/s by length (share of the peak)", *(f"{low}-{high}" for low, high in lengths))
    for way in dict.fromkeys(b["way"] for b in found["buckets"]):
        mine = [b for b in found["buckets"] if b["way"] == way]
        table.add_row(way, *(f"{b['rate']:,.0f} ({b['share_of_peak']:.0%})" for b in mine))
    console.print(table)


def _pipeline(found: dict[str, Any], console: Any) -> None:
    for p in found["pipeline"]:
        console.print(
            f"pipeline, {p['actors']} actor(s): {p['rate']:,.0f} residues/s with the store written, "
            f"{p['of_the_encoders']:.2f} of as many encoders alone ({p['encoders']:,.0f}); "
            f"start-up {p['startup']:.1f} s apart (load {p['load']:.1f} s, first pass {_seconds(p['first_use'])})"
        )


def _seconds(value: float | None) -> str:
    return "not timed again" if value is None else f"{value:.1f} s"


def _more(found: dict[str, Any], kind: str) -> str:
    return f" (oneDNN {found['oneDNN'][kind] / 1e9:,.0f})" if "oneDNN" in found else ""


def _share(value: float | None) -> str:
    return "?" if value is None else f"{value:.0%}"


def _mebibytes(count: int | None) -> str:
    return "?" if count is None else f"{count / 2**20:,.0f} MiB"


def draw(found: dict[str, Any], path: Path) -> None:
    """Two panels: rates of the first model's ways, and the share of the peak by length.

    Raises ConfigError where matplotlib is not installed.
    """
    require_matplotlib()
    first = found["records"][0]["model"]
    records = [r for r in found["records"] if r["model"] == first]
    figure = plain_figure(12, 5)
    bars, curves = figure.subplots(1, 2)
    names = [r["way"] for r in records] + [f"protea_ray pipeline, {p['actors']} actor(s)" for p in found["pipeline"]]
    rates = [r["rate"] for r in records] + [p["rate"] for p in found["pipeline"]]
    colours = [BLUE if name.startswith("protea_ray") else GREY for name in names]
    bars.bar_label(bars.barh(names, rates, color=colours), fmt="{:,.0f}", padding=3)
    bars.invert_yaxis()
    bars.margins(x=0.15)
    bars.set_xlabel(f"residues/s, {first}, one thread or GPU each")
    for way in dict.fromkeys(b["way"] for b in found["buckets"]):
        mine = [b for b in found["buckets"] if b["way"] == way]
        curves.plot([b["high"] for b in mine], [b["share_of_peak"] for b in mine], marker="o", label=way)
    curves.set_xscale("log", base=2)
    curves.set_ylim(0, 1)
    curves.set_xlabel("residues, upper end of the bucket")
    curves.set_ylabel("useful FLOP/s over a matrix product of the same dtype")
    curves.legend(fontsize="small")
    figure.savefig(path, dpi=120)
