"""Proteins in, vectors out: windows of all proteins in packs under a token budget, one forward pass for all recipes.

Cost: packs of 1,500 tokens keep one CPU core at 77 % of torch's matrix-product peak with ESM-2 8M and 88 % with 35M.
A GPU wants 16,000 to 64,000.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from protea_ray.config.recipe import EmbeddingConfig
from protea_ray.config.resolution import ModelFacts
from protea_ray.encoder import acceleration, batch, quantize
from protea_ray.encoder.acceleration import ON, choose_compiling, compile_layers
from protea_ray.encoder.attention import Choice, choose
from protea_ray.encoder.batch import PackRecipe, Window
from protea_ray.encoder.budget import default_budget
from protea_ray.encoder.collect import Collector, Embedded, Rejected, Stats
from protea_ray.encoder.forward import Core
from protea_ray.encoder.layout import layout
from protea_ray.encoder.pool import LayerView
from protea_ray.encoder.projections import join_projections
from protea_ray.encoder.rope import scale_rotary
from protea_ray.errors import ApproximationError, EncoderError, numbered
from protea_ray.models.adapters import Adapter, marked
from protea_ray.models.checkpoint import read_config
from protea_ray.models.families.alphabet import Alphabet
from protea_ray.models.families.base import Family, Shape
from protea_ray.plan.pack import micro_batches
from protea_ray.sequences.records import Reason

__all__ = ["Embedded", "Encoder", "Rejected", "Stats"]

IN_FLIGHT = {"cuda": 1}  # packs that are computed while the next is queued: the GPU never waits for Python


@dataclass
class Encoder:
    """A loaded checkpoint under one or more recipes; `load` makes one. Not thread-safe: load one in each process."""

    core: Core
    family: Family
    module: Any
    directory: Path
    alphabet: Alphabet
    facts: ModelFacts
    shape: Shape
    recipes: tuple[EmbeddingConfig, ...]
    token_budget: int
    layers: Choice
    products: Choice
    stats: Stats = field(default_factory=Stats)

    @classmethod
    def load(
        cls, directory: Path, family: Family, recipes: Sequence[EmbeddingConfig], *, device: str = "cpu",
        token_budget: int | None = None, kernel: str = "auto", compiled: str = "auto", products: str = "auto",
        adapter: Adapter | None = None,
    ) -> Encoder:  # fmt: skip
        """Load the checkpoint of `family` in `directory` for recipes that `config.resolution.resolve` has filled.

        `token_budget` is the tokens of one pack (default: 1,536 on a CPU, by free memory on CUDA). `kernel` is auto or
        an attention kernel, `compiled` auto, on or off, `products` auto or torch. `adapter` is what was trained on top
        of the checkpoint. Raises EncoderError when the recipes cannot share a forward pass or the device cannot run
        them, CheckpointError when the files cannot be used.
        """
        directory, first = Path(directory), _require_one_pass(recipes)
        config, place = read_config(directory), _place(device)
        if adapter:
            config = marked(config, adapter.marker)
        shape = family.shape(config)
        chosen = choose(place, first.dtype, family.has_bias, kernel, shape.head_dim, first.variant)
        layers = choose_compiling(place, chosen.name, first.quantization, compiled, first.variant)
        module = quantize.load(family, directory, first, place, adapter)
        alphabet = family.alphabet(directory, first.alphabet or "aa")
        scale_rotary(module, first.scaling, _trained_tokens(family, config, alphabet))
        stack = family.stack(module)
        if adapter:
            stack = replace(stack, contacts=None)  # that head was fitted to the attention of the base model
        multiplied = acceleration.choose_product(place, first.quantization, layers.name == ON, products)
        if multiplied.name == acceleration.ONEDNN:
            acceleration.use_onednn(stack.layers)
        if multiplied.name == acceleration.JOINED:
            join_projections(stack.layers)
        if layers.name == ON:
            compile_layers(stack.layers)
        kept = sum(recipe.width(shape.hidden) for recipe in recipes)
        itemsize = getattr(torch, str(first.dtype)).itemsize
        made = cls(
            core=Core(stack, chosen, first.variant, place), family=family, module=module, layers=layers,
            products=multiplied, directory=directory, alphabet=alphabet,
            facts=family.facts(config), shape=shape, recipes=(),
            token_budget=token_budget or default_budget(place, shape, itemsize, kept, first.variant),
        )  # fmt: skip
        return made.under(recipes)

    @property
    def attention(self) -> Choice:
        """The attention kernel in use, and why; `layers` (compiled or not) and `products` are such choices too."""
        return self.core.choice

    @property
    def peak_gpu_memory(self) -> int:
        """The most bytes that were allocated on this encoder's GPU at one time so far; 0 on a CPU."""
        device = self.core.device
        return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else 0

    def under(self, recipes: Sequence[EmbeddingConfig]) -> Encoder:
        """The same loaded model under other recipes.

        Raises EncoderError for recipes of another dtype, attention, rope, quantization or alphabet, and for a recipe
        with logits when the checkpoint has no language-model head.
        """
        _require_one_pass([*self.recipes, *recipes])
        core = self.core
        if core.head is None and any(recipe.keeps_logits for recipe in recipes):
            core = replace(core, head=self.family.lm_head(self.module, self.directory))
            if core.head is None:
                raise EncoderError(f"{self.directory} has no language-model head over residues, so no logits")
        return replace(self, core=core, recipes=tuple(recipes))

    def embed(self, sequences: Sequence[str]) -> Iterator[Embedded | Rejected]:
        """Embed `sequences`: exactly one result for each and recipe, in any order, as soon as its last window is done.

        `sequences` are normalised letters of the recipes' alphabet: upper-case amino acids, lower-case 3Di. The numbers
        depend on the sequence alone: not on order, neighbours or budget, within 1e-5 in float32 on a CPU.
        """
        windows: list[Window] = []
        for index, sequence in enumerate(sequences):
            yield from self._plan(index, sequence, windows)
        while windows:
            windows = yield from self._packs(windows)

    def _plan(self, index: int, sequence: str, windows: list[Window]) -> Iterator[Rejected]:
        """Append the windows of one protein, each once for all recipes; yields rejects that need no model."""
        ids = self.alphabet.residues(sequence)
        problem = _problem(sequence, ids)
        shared: dict[tuple[int, int], Window] = {}
        for number, recipe in enumerate(self.recipes):
            if problem:
                yield Rejected(index, number, *problem)
                continue
            laid = layout(len(ids), recipe)
            if laid is None:
                detail = f"{len(ids)} residues, max_residues is {recipe.max_residues}"
                yield Rejected(index, number, Reason.TOO_LONG, detail)
                continue
            collector = Collector(index, number, recipe, laid, len(ids))
            for i, (start, end) in enumerate(laid.windows):
                if (start, end) not in shared:
                    shared[start, end] = Window(self.alphabet.window(ids[start:end]), start)
                shared[start, end].users.append((collector, i))
        windows.extend(shared.values())

    def _packs(self, windows: list[Window]) -> Generator[Embedded | Rejected, None, list[Window]]:
        """Run windows in packs; when one runs out of memory, halve the budget and return the windows left.

        Windows in which attention cannot be approximated are rejected; the rest of their pack is returned as well.
        """
        packs = micro_batches([len(window.ids) for window in windows], self.token_budget)
        in_flight: deque[batch.PendingPack] = deque()
        for done, pack in enumerate(packs):
            members = [windows[i] for i in pack]
            outcome = self._try(members)
            if not isinstance(outcome, str | dict):
                in_flight.append(outcome)
                yield from _finished(in_flight, IN_FLIGHT.get(self.core.device.type, 0))
                continue
            yield from _finished(in_flight, 0)
            later = [windows[i] for rest in packs[done + 1 :] for i in rest]
            if isinstance(outcome, str) and len(members) > 1:
                return members + later
            if isinstance(outcome, str):
                outcome = {0: (Reason.OUT_OF_MEMORY, f"a window of {len(members[0].ids)} tokens alone: {outcome}")}
            for number, (reason, detail) in outcome.items():
                yield from _give_up(members[number], reason, detail)
            return [window for number, window in enumerate(members) if number not in outcome] + later
        yield from _finished(in_flight, 0)
        return []

    def _try(self, members: list[Window]) -> batch.PendingPack | str | dict[int, tuple[Reason, str]]:
        """Queue one pack; returns the pending pack, the message when memory ran out, or reasons by window.

        The exception is not kept: it holds the frames, and the frames hold the tensors whose memory must be freed.
        """
        try:
            return self._run(members)
        except torch.OutOfMemoryError as error:
            message = str(error)
        except ApproximationError as error:
            return {number: (Reason.APPROXIMATION_ERROR, why) for number, why in error.windows.items()}
        self._out_of_memory(members)
        return message

    def _run(self, members: list[Window]) -> batch.PendingPack:
        last = LayerView((self.facts.n_layers,), False)
        plans = [
            PackRecipe(
                recipe, LayerView.of(recipe, self.facts.n_layers), len(self.alphabet.before),
                last if recipe.keeps_logits else None,
            )
            for recipe in self.recipes
        ]  # fmt: skip
        pending = batch.run(self.core, plans, members)
        self.stats.forward_passes += 1
        self.stats.windows += len(members)
        self.stats.tokens += sum(len(window.ids) for window in members)
        return pending

    def _out_of_memory(self, members: list[Window]) -> None:
        """Halve the token budget after a pack ran out of memory; a pack of one window does not change it."""
        self.stats.out_of_memory += 1
        if len(members) > 1:
            tokens = sum(len(window.ids) for window in members)
            self.token_budget = max(1, min(self.token_budget, tokens) // 2)
        if self.core.device.type == "cuda":
            torch.cuda.empty_cache()


def _place(device: str) -> torch.device:
    place = torch.device(device)
    if place.type == "cuda" and not torch.cuda.is_available():
        raise EncoderError(f"device {device!r} was asked for, but torch {torch.__version__} sees no GPU; use cpu")
    return place


def _trained_tokens(family: Family, config: Mapping[str, Any], alphabet: Alphabet) -> int | None:
    """Tokens of the longest crop of a checkpoint's training, None where positions are relative."""
    residues = family.trained_length(config)
    return None if residues is None else residues + alphabet.specials


def _finished(in_flight: deque[batch.PendingPack], leave: int) -> Iterator[Embedded | Rejected]:
    """Wait for the oldest packs until at most `leave` are in flight; yields the results that they complete."""
    while len(in_flight) > leave:
        for given in in_flight.popleft().wait():
            yield from _deliver(given)


def _deliver(given: batch.WindowResult) -> Iterator[Embedded | Rejected]:
    """Hand one window to its collector; yields the protein's result if that was its last window."""
    if given.finite:
        given.collector.take(given.window, given.parts, given.cls)
    else:
        given.collector.reject(Reason.NON_FINITE, "the model gave NaN or Inf")
    result = given.collector.result()
    if result is not None:
        yield result


def _give_up(window: Window, reason: Reason, detail: str) -> Iterator[Rejected]:
    """Reject every protein and recipe that needs `window`, which cannot be computed."""
    for collector, _ in window.users:
        collector.reject(reason, detail)
        result = collector.result()
        if isinstance(result, Rejected):
            yield result


def _problem(sequence: str, ids: np.ndarray) -> tuple[Reason, str] | None:
    """Reason and detail of a protein whose letters cannot go through this model; None when they can."""
    if not sequence:
        return Reason.EMPTY_SEQUENCE, "no residues"
    if (ids < 0).any():
        strange = sorted({letter for letter, token in zip(sequence, ids.tolist(), strict=True) if token < 0})
        return Reason.ILLEGAL_LETTER, f"not residues of this model: {' '.join(strange)}"
    return None


def _require_one_pass(recipes: Sequence[EmbeddingConfig]) -> EmbeddingConfig:
    """The first recipe, after a check that all of them fit into one forward pass; raises EncoderError."""
    if not recipes:
        raise EncoderError("no recipe given; pass at least one resolved EmbeddingConfig")
    problems = []
    for name in ("dtype", "attention", "rope", "quantization", "alphabet"):
        values = {getattr(recipe, name) for recipe in recipes}
        if len(values) > 1:
            problems.append(f"{name} differs between recipes ({values}); run them apart")
    if any(recipe.dtype is None for recipe in recipes):
        problems.append("dtype is not set; pass recipes through config.resolution.resolve")
    if problems:
        raise EncoderError(numbered("recipes: several problems", problems))
    return recipes[0]
