"""Which control an input is set beside: random vectors for the zero of a scale, a baseline for differences."""

from __future__ import annotations

from collections.abc import Sequence

from protea_ray.config.known_models import TWIN
from protea_ray.errors import ConfigError, did_you_mean
from protea_ray.evaluate.inputs import COMPOSITION, RANDOM, UNTRAINED
from protea_ray.evaluate.tables.estimates import Estimates, InputFacts, TaskFacts


def random_for(found: Estimates, task: TaskFacts, given: InputFacts) -> list[InputFacts]:
    """The random vectors of the input's width; where there are none, as for the composition, those of every width."""
    there = [control for control in found.of_task(task) if control.control == RANDOM]
    return [control for control in there if control.width == given.width] or there


def usual_baseline(there: Sequence[InputFacts], given: InputFacts) -> InputFacts | None:
    """The control of `there` that an input has to beat before it is worth anything; None where there is no control.

    The untrained model of its shape says what training added. Where it is missing the composition, which costs
    nothing, then random vectors; of several of a kind the likest one. The best control would be chosen by the tested
    proteins themselves, so the choice is by kind.
    """
    for kind in (UNTRAINED, COMPOSITION, RANDOM):
        if of_kind := [control for control in there if control.control == kind]:
            return max(of_kind, key=lambda control: _likeness(control, given))
    return None


def _likeness(control: InputFacts, given: InputFacts) -> tuple[bool, ...]:
    """How much a control has in common with an input: width, model, layers, pooling, in this order."""
    layers = [one.recipe.get("layers") for one in (control, given)]
    return (
        control.width == given.width,
        control.model == TWIN + given.model,
        layers[0] == layers[1],
        control.pooling == given.pooling,
    )


def named_input(found: Estimates, name: str) -> InputFacts:
    """The input that a person calls `name`: its name in the tables, its space, or the kind of control it is.

    Raises ConfigError for a name that is unknown, or that several inputs have.
    """
    for same in (lambda i: i.name == name, lambda i: i.space == name, lambda i: i.control == name):
        fitting = [given for given in found.inputs if name and same(given)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            names = ", ".join(given.name for given in fitting)
            raise ConfigError(f"several inputs are {name!r}; name one of {names}", where="baseline")
    known = [given.name for given in found.inputs]
    listed = ", ".join(known) or "none"
    raise ConfigError(f"no input {name!r}{did_you_mean(name, known)}; inputs: {listed}", where="baseline")
