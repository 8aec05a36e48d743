"""How the policy does on clusters of hundreds and thousands of GPUs, by the model of cluster_model.py.

    python -m benchmarks.cluster.foretell [--measured FILE] [--proteins 1000000000] [--gpus 256,1024,4096]

`--measured` is what benchmarks/cluster/simulate.py wrote with --json: the same run is foretold first, and the error
said. The cost of a protein is that of ESM-2 650M on one GPU; lengths are drawn, and units are those that the planner
makes of them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from benchmarks.cluster.model import Outcome, Policy, play
from benchmarks.cluster.schedule import Schedule
from benchmarks.cluster.simulate import cost_for, draw, known_lengths
from benchmarks.encoder.show import wide_console
from protea_ray.plan.cost import Cost
from protea_ray.plan.units import SHARES, Sizes, Unit, cut

UNIT_SECONDS, WINDOW = 20.0, 4096  # the package's defaults
SAMPLED_WINDOWS = 64  # windows that are drawn; a larger job repeats them
LOOP = 0.1  # seconds that Ray Data's scheduling loop waits for tasks; it looks at every actor once a turn
COMMIT = (1e-3, 2e-6)  # seconds of a commit, and more for each fragment in the table (1 ms at 100, 101 at 50,000)


def main(
    proteins: Annotated[int, typer.Option(min=1, help="how many proteins")] = 1_000_000_000,
    gpus: Annotated[str, typer.Option(help="sizes of the cluster")] = "256,1024,4096",
    rate: Annotated[float, typer.Option(min=0.01, help="proteins per second of one GPU")] = 800.0,
    driver_ms: Annotated[float, typer.Option(min=0, help="CPU of the driver for one unit")] = 16.0,
    poll_us: Annotated[float, typer.Option(min=0, help="CPU of the driver for each actor in a turn")] = 10.0,
    write_us: Annotated[float, typer.Option(min=0, help="an actor's work for a protein beside computing")] = 100.0,
    startup: Annotated[float, typer.Option(min=0, help="seconds over which actors become ready")] = 60.0,
    failure: Annotated[float, typer.Option(min=0, max=1, help="share of units that kill their actor")] = 0.0,
    lengths: Annotated[str | None, typer.Option(help="input whose lengths are drawn [synthetic ones]")] = None,
    measured: Annotated[
        Path | None, typer.Option(help="a run of benchmarks/cluster/simulate.py to compare with")
    ] = None,
) -> None:
    """Print what is foretold."""
    policy = Policy(driver=driver_ms / 1e3, failure=failure)
    table = Table("GPUs", "units", "s each", "seconds", "ideal", "utilisation", "tail", "driver cores", "units/s")
    if measured is not None:
        compare(json.loads(measured.read_text()), policy, poll_us * 1e-6, table)
    drawn = draw(known_lengths(lengths), SAMPLED_WINDOWS << 16)
    for count in map(int, gpus.split(",")):
        costs = planned(drawn, proteins, count, rate)
        write = write_us * 1e-6 * proteins / len(costs)
        commit = COMMIT[0] + COMMIT[1] * len(costs) / 2
        ready = np.random.default_rng(count).uniform(0.0, startup, count)
        poll = poll_us * 1e-6 * count
        here = replace(policy, write=write, commit=commit, latency=LOOP / 2 + poll)
        add(table, f"{count}", play(costs, ready, here), poll / (LOOP + poll))
    wide_console().print(table)


def planned(lengths: np.ndarray, proteins: int, gpus: int, rate: float) -> np.ndarray:
    """Costs of the units that the planner makes of so many proteins of these lengths, in its order.

    Windows of the sample are cut as they would be far from the end, and repeated; the end, where units shrink, is cut
    in full.
    """
    cost, sizes = cost_for(lengths, len(lengths) / rate), Sizes(UNIT_SECONDS, gpus)
    window = sizes.window(WINDOW, 1 / rate)
    shrinks = sizes.smallest < sizes.largest
    end = min(proteins, int(sizes.largest * gpus * SHARES * rate) if shrinks else 0)
    sample = units_of(lengths, cost, window, Sizes(sizes.largest, 1))
    whole = (len(lengths) - int(sizes.largest * SHARES * rate)) // window  # the windows that did not shrink
    steady = np.array([u.cost for u in sample if u.window < whole])
    repeats, rest = divmod(proteins - end, whole * window)
    last = np.resize(lengths, rest + end)
    return np.concatenate([np.tile(steady, repeats), [u.cost for u in units_of(last, cost, window, sizes)]])


def units_of(lengths: np.ndarray, cost: Cost, window: int, sizes: Sizes) -> list[Unit]:
    """As the package cuts them."""
    return list(cut(lengths, cost.of(lengths), window, sizes))


def compare(run: dict[str, Any], policy: Policy, poll: float, table: Table) -> None:
    """Foretell a run that was measured from its units and its actors' starts."""
    times = {name: np.array(values) for name, values in run["schedule"].items()}
    order = np.argsort(times["began"])
    looks = poll * run["gpus"]
    foretold = play(times["cost"][order], times["ready"], replace(policy, latency=LOOP / 2 + looks))
    add(table, f"{run['gpus']}, foretold", foretold, looks / (LOOP + looks))
    measured = Schedule(**times)
    add(table, f"{run['gpus']}, measured", Outcome(measured, run["driver_cores"] * measured.seconds), 0.0)


def add(table: Table, name: str, outcome: Outcome, looks: float) -> None:
    """One row; `looks` is the share of a core that the driver takes without units."""
    found, units = outcome.schedule, len(outcome.schedule.cost)
    row = [f"{units:,}", f"{found.cost.mean():.1f}", f"{found.seconds:,.0f}", f"{found.ideal_seconds:,.0f}"]
    row += [f"{found.utilisation():.3f}", f"{found.tail:.3f}", f"{outcome.driver_cores + looks:.2f}"]
    table.add_row(name, *row, f"{units / found.seconds:.1f}")


if __name__ == "__main__":
    typer.run(main)
