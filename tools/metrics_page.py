"""Write the table of metrics in docs/cluster.md from the code.

    python -m tools.metrics_page            # write the table
    python -m tools.metrics_page --check    # exit code 1 when the table is not what the code records

A test fails when a changed metric left the table behind.
"""

from __future__ import annotations

import sys
from pathlib import Path

from protea_ray.cluster.ray_metrics import GROUPS, METRICS, Metric

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cluster.md"
BEGIN = "<!-- metrics: written by `python -m tools.metrics_page` from the code; do not edit -->"
END = "<!-- end of metrics -->"
HEAD = "| in Prometheus | kind | unit | by | tags | what |\n|---|---|---|---|---|---|"


def table() -> str:
    """One row for each metric as Markdown, by the dashboard's rows."""
    return "\n".join([HEAD, *(_row(metric) for group in GROUPS for metric in METRICS if metric.group == group)])


def _row(metric: Metric) -> str:
    name, tags = f"`{metric.exported}`", ", ".join(metric.tags)
    return f"| {name} | {metric.kind} | {metric.unit} | {metric.by} | {tags} | {metric.help} |"


def with_table(text: str) -> str:
    """The page with its table as the code has it; raises ValueError where the page has no place for it."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has no lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Write or check the table; returns the exit code."""
    text = PAGE.read_text(encoding="utf-8")
    wanted = with_table(text)
    if "--check" in arguments:
        print("the metrics of docs/cluster.md are current" if text == wanted
              else "the metrics of docs/cluster.md are old: python -m tools.metrics_page")  # fmt: skip
        return int(text != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
