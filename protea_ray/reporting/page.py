"""The report as one HTML text: sections, charts, data and scripts put into the template, every value escaped."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from protea_ray.config.libraries import versions
from protea_ray.pictures.store_data import RunFacts
from protea_ray.query.status import SPACE_COLUMNS
from protea_ray.reporting import charts, sections
from protea_ray.reporting.gather import ReportData
from protea_ray.reporting.map_chart import map_chart
from protea_ray.reporting.map_payload import map_payload
from protea_ray.reporting.packed import Values, packed
from protea_ray.reporting.sections import Table

GENERATOR = "protea_ray"


@dataclass(frozen=True)
class _Evaluation:
    title: str
    table: Table
    facts: list[str]


def page(data: ReportData) -> str:
    """The whole report; nothing in it asks for another file."""
    import bokeh
    from bokeh.resources import Resources
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("protea_ray.reporting")
    template = Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("report.html.j2")
    run = _shown_run(data.facts.runs)
    drawn = _charts(data, run)
    scripts = [*Resources(mode="inline", components=["bokeh", "bokeh-gl"]).js_raw, _asset("report.js")]
    return template.render(
        data=data,
        run=run,
        name=sections.store_name(data.facts.uri),
        generator=f"{GENERATOR} {versions(('protea-ray',))['protea-ray']}",
        css=Markup(_asset("report.css")),
        charts=drawn,
        payload=packed({"charts": drawn, **_map_data(data)}),
        scripts=[Markup(source.replace("</script", "<\\/script")) for source in scripts],
        store_lines=sections.store_lines(data.facts),
        contents=_contents(data),
        place=sections.place,
        link=sections.link,
        command=command(data),
        bokeh_version=bokeh.__version__,
        **_run_parts(run),
        **_other_parts(data),
    )


def _map_data(data: ReportData) -> dict[str, Values]:
    return map_payload(data.space_map, data.options.colour) if data.space_map else {}


def command(data: ReportData) -> str:
    """The command that makes this report again."""
    options = data.options
    given = {
        "--space": options.space, "--against": options.against, "--pooling": options.pooling,
        "--method": None if options.method == "pca" else options.method, "--labels": options.labels,
        "--colour": options.colour,
    }  # fmt: skip
    words = ["protea-ray", "report", data.facts.uri]
    for flag, value in given.items():
        words += [] if value is None else [flag, str(value)]
    return shlex.join(words)


@cache
def _asset(name: str) -> str:
    return (files("protea_ray.reporting") / "assets" / name).read_text(encoding="utf-8")


def _shown_run(runs: tuple[RunFacts, ...]) -> RunFacts | None:
    """The newest run that computed vectors, else the newest."""
    computed = [run for run in runs if run.rate]
    return computed[-1] if computed else runs[-1] if runs else None


def _contents(data: ReportData) -> list[tuple[str, str]]:
    drift = [("drift", "Drift")] if data.drift or data.without_drift else []
    return [("run", "Run"), ("proteins", "Lengths"), ("rejects", "Rejects"), ("space", "Space"), *drift,
            ("evaluations", "Evaluations"), ("made", "This page")]  # fmt: skip


def _charts(data: ReportData, run: RunFacts | None) -> dict[str, Any]:
    return charts.chart_items(
        {
            "flow": charts.flow_chart(run.flows) if run else None,
            "rate": charts.rate_chart(run.rate) if run else None,
            "stages": charts.stage_chart(run.stages) if run else None,
            "lengths": charts.length_chart(data.facts.lengths),
            "rejects": charts.reject_chart(data.facts.rejects),
            "map": map_chart(data.space_map) if data.space_map else None,
            "drift": charts.drift_chart(data.drift) if data.drift else None,
        }
    )


def _run_parts(run: RunFacts | None) -> dict[str, Any]:
    """What the template needs of the run."""
    if run is None:
        empty = Table((), ())
        return {"run_lines": [], "flow": empty, "rate": empty, "stages": empty, "settings": [],
                "flow_label": "", "rate_label": "", "stages_label": ""}  # fmt: skip
    records = max((flow.records for flow in run.flows), default=0)
    fastest = max((point.residues_per_second for point in run.rate), default=0.0)
    longest = max(run.stages, key=lambda stage: stage.seconds, default=None)
    return {
        "run_lines": sections.run_lines(run),
        "flow": sections.flow_table(run.flows),
        "flow_label": f"{records:,} records of the inputs: stored, already present, duplicate or rejected.",
        "rate": sections.rate_table(run),
        "rate_label": f"Residues per second over the run, at most {fastest:,.0f}.",
        "stages": sections.stage_table(run),
        "stages_label": "The stages of the run, one after the other"
        + (f"; {longest.name} took longest, {longest.seconds:,.1f} s." if longest else "."),
        "settings": sections.settings(run),
    }


def _other_parts(data: ReportData) -> dict[str, Any]:
    """What the template needs beside the run."""
    facts, found = data.facts, data.drift
    rejected = sum(group.count for group in facts.rejects)
    fullest = max(facts.lengths, key=lambda bin: bin.proteins, default=None)
    most = f"; most have {fullest.first:,} to {fullest.last or fullest.first:,} residues" if fullest else ""
    return {
        "runs": sections.runs_table(facts.runs),
        "lengths": sections.length_table(facts),
        "lengths_label": f"{facts.proteins:,} protein records by length{most}.",
        "rejects_label": f"{rejected:,} rejects by reason.",
        "map_lines": sections.map_sentences(data.space_map) if data.space_map else [],
        "spaces": Table(SPACE_COLUMNS, tuple(data.status.space_rows()), frozenset({2})),
        "drift": sections.drift_table(found) if found else Table((), ()),
        "drift_lines": found.sides() if found else [],
        "drift_label": _drift_label(found) if found else "",
        "evaluations": _evaluations(data),
    }


def _drift_label(found: Any) -> str:
    cosine = found.whole.cosine_mean
    same = "" if cosine is None else f", and the mean cosine is {cosine:.4f} (diamonds)"
    return (
        f"Of a protein's {found.k} nearest neighbours {found.whole.overlap:.1%} are the same in both spaces (bars, by "
        f"length; chance, the dashed line, is {found.chance:.1%}){same}."
    )


def _evaluations(data: ReportData) -> list[_Evaluation]:
    if data.evaluations is None:
        return []
    found: list[_Evaluation] = []
    for table in data.evaluations.of(data.evaluations.found.probes):
        rows = tuple(tuple(row) for row in table.rows())
        found.append(_Evaluation(table.title, Table(tuple(table.columns()), rows), table.facts()))
    return found
