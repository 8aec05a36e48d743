"""Pictures of a store for notebooks and files: the methods `plot_...` of Store.

Each returns a figure of matplotlib, which shows itself in a notebook, and writes it to `out` where that is given. What
there is nothing to show of becomes a figure that says so. matplotlib is in the extra `report`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from protea_ray.errors import ConfigError, did_you_mean
from protea_ray.mistakes import Mistakes
from protea_ray.pictures.drift_figure import DriftBin, DriftBins, draw_drift
from protea_ray.pictures.figure_files import FORMATS, write_figure
from protea_ray.pictures.flow_figure import draw_flow
from protea_ray.pictures.lengths_figure import draw_lengths
from protea_ray.pictures.map_data import LENGTH, Method
from protea_ray.pictures.map_figure import draw_map
from protea_ray.pictures.rate_figure import draw_rate
from protea_ray.pictures.rejects_figure import draw_rejects
from protea_ray.pictures.stages_figure import draw_stages
from protea_ray.pictures.store_data import RunFacts
from protea_ray.pictures.style import INSTALL, blank_figure, drawable
from protea_ray.query.view import Pin, View
from protea_ray.store.aliases import CURRENT
from protea_ray.store.location import Location
from protea_ray.store.object_store_errors import outage_as_store_error
from protea_ray.store.spaces import list_spaces

if TYPE_CHECKING:
    from protea_ray.pictures.described_figure import DescribedFigure
    from protea_ray.query.drift import Agreement, Drift
    from protea_ray.query.training.label_table import LabelSource
    from protea_ray.query.training.labels import Labels


class StorePictures:
    """The pictures of the store at `location`."""

    location: Location

    @outage_as_store_error()
    def plot_map(
        self,
        space: str | Pin = CURRENT,
        *,
        colour: str = LENGTH,
        labels: LabelSource | Labels | None = None,
        method: Method = "pca",
        pooling: str | None = None,
        limit: int = 100_000,
        seed: int = 0,
        out: str | Path | None = None,
    ) -> DescribedFigure:
        """Draw the proteins of a space in two dimensions, coloured by `length`, a field of descriptions or a label.

        `labels` are a file or table by id; `method` is pca or umap (extra `umap`); of more than `limit` proteins as
        many are drawn with `seed`. `out` is a .png, .svg or .pdf file. Raises ConfigError with every mistake before a
        vector is read; a single one may be an InputError for the labels, or UnknownSpaceError.
        """
        from protea_ray.query.map_request import MapOptions, map_request
        from protea_ray.query.space_map import space_map

        mistakes = Mistakes("picture")
        mistakes.catch(lambda: check_picture(out))
        if sentence := mistakes.catch(lambda: why_no_map(self.location, space, pooling)):
            mistakes.tell()
            return written(blank_figure("Map", sentence), out)
        options = MapOptions(method, pooling, limit, seed, labels, colour=colour)
        found = space_map(map_request(self.location, space, options, mistakes), neighbours=False)
        return written(draw_map(found, colour), out)

    @outage_as_store_error()
    def plot_lengths(self, *, out: str | Path | None = None) -> DescribedFigure:
        """Draw the lengths of all proteins in residues as a histogram; `out` is a .png, .svg or .pdf file."""
        from protea_ray.query.store_facts import read_store_facts

        check_picture(out)
        return written(draw_lengths(read_store_facts(self.location)), out)

    @outage_as_store_error()
    def plot_rejects(self, *, out: str | Path | None = None) -> DescribedFigure:
        """Draw how many records were rejected for each reason; `out` is a .png, .svg or .pdf file."""
        from protea_ray.query.reject_groups import read_reject_groups

        check_picture(out)
        return written(draw_rejects(read_reject_groups(self.location)), out)

    @outage_as_store_error()
    def plot_flow(self, run: str | None = None, *, out: str | Path | None = None) -> DescribedFigure:
        """Draw where the records of a run went: of `run` by name, or of the last that accounted for its records."""
        check_picture(out)
        return written(draw_flow(flow_run(self._runs(), run)), out)

    @outage_as_store_error()
    def plot_rate(self, run: str | None = None, *, out: str | Path | None = None) -> DescribedFigure:
        """Draw residues/s over a run: of `run` by name, or of the last that recorded them."""
        check_picture(out)
        return written(draw_rate(rate_run(self._runs(), run)), out)

    @outage_as_store_error()
    def plot_stages(self, run: str | None = None, *, out: str | Path | None = None) -> DescribedFigure:
        """Draw where the time of a run went: of `run` by name, or of the last that recorded its stages."""
        check_picture(out)
        return written(draw_stages(stages_run(self._runs(), run)), out)

    @outage_as_store_error()
    def plot_drift(
        self, a: str, b: str, *, sample: int = 2_000, seed: int = 0, pooling: str | None = None,
        out: str | Path | None = None,
    ) -> DescribedFigure:  # fmt: skip
        """Draw how far two spaces (names or aliases) are apart, by length; raises what `Store.drift` raises."""
        from protea_ray.query.drift import drift

        check_picture(out)
        found = drift(self.location, a, b, sample=sample, seed=seed, pooling=pooling)
        return written(draw_drift(drift_bins(found)), out)

    def _runs(self) -> tuple[RunFacts, ...]:
        from protea_ray.query.run_facts import read_run_facts

        return read_run_facts(self.location)


def check_picture(out: str | Path | None) -> None:
    """Raise ConfigError for a missing matplotlib, an ending that is none of FORMATS, and a folder that is not there."""
    problems = [] if drawable() else [f"pictures need matplotlib, which is not installed: {INSTALL}"]
    if out is not None:
        path = Path(out)
        if path.suffix.lower().lstrip(".") not in FORMATS:
            problems.append(f"out is {str(out)!r}; its ending is one of {', '.join(f'.{one}' for one in FORMATS)}")
        if not path.parent.is_dir():
            problems.append(f"out is {str(out)!r}, and there is no folder {str(path.parent)!r}")
    if problems:
        raise ConfigError(problems, where="picture")


def written(figure: DescribedFigure, out: str | Path | None) -> DescribedFigure:
    """The figure, after it was written where `out` says so."""
    if out is not None:
        write_figure(figure, out, Path(out).suffix.lower().lstrip("."))
    return figure


def chosen_run(
    runs: Sequence[RunFacts], name: str | None, recorded: Callable[[RunFacts], bool]
) -> RunFacts | None:  # fmt: skip
    """The run of that name, or without one the last that `recorded` holds for; None where there is none.

    Raises ConfigError for a name that is none.
    """
    if name is None:
        return next((run for run in reversed(runs) if recorded(run)), None)
    for run in runs:
        if run.run == name:
            return run
    names = [run.run for run in runs]
    listed = ", ".join(names[-5:]) or "none"
    raise ConfigError(f"there is no run {name!r}{did_you_mean(name, names)}; the last are {listed}", where="picture")


def flow_run(runs: Sequence[RunFacts], name: str | None = None) -> RunFacts | None:
    """The run of that name, or the last that accounted for its records."""
    return chosen_run(runs, name, lambda one: bool(one.flows))


def rate_run(runs: Sequence[RunFacts], name: str | None = None) -> RunFacts | None:
    """The run of that name, or the last that recorded residues/s."""
    return chosen_run(runs, name, lambda one: len(one.rate) > 1)


def stages_run(runs: Sequence[RunFacts], name: str | None = None) -> RunFacts | None:
    """The run of that name, or the last that recorded its stages."""
    return chosen_run(runs, name, lambda one: bool(one.stages))


def drift_bins(found: Drift) -> DriftBins:
    """A comparison of two spaces as a figure takes it."""
    return DriftBins(found.a.space, found.b.space, found.k, found.chance, _bin(found.whole),
                     tuple(map(_bin, found.buckets)))  # fmt: skip


def _bin(found: Agreement) -> DriftBin:
    return DriftBin(found.residues, found.proteins, found.cosine_mean, found.cosine_low, found.overlap)


def why_no_map(location: Location, space: str | Pin, pooling: str | None) -> str | None:
    """Why a space that was named rightly has no map; None where it has one."""
    if space == CURRENT and not list_spaces(location):
        return "The store has no space yet: nothing was embedded into it."
    view = View.open(location, space)
    if pooling is None and not view.poolings:
        return f"Space {view.pin.space} keeps no vectors of whole proteins, which a map needs."
    return None
